//! One trial: an owner goes, and the client is asked what that cost.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::client::EVERY;
use super::power;
use super::report::{Counts, Drain, Family, PowerOff};
use super::stage::Stage;
use crate::bench::Seconds;
use crate::cluster::Node;
use crate::load::outside::Outside;
use crate::program::wait_for;
use fairlead_lab::outage::{Outage, lost, outage};

const RECOVERS_WITHIN: Duration = Duration::from_mins(3);
const READY_LIMIT: Duration = Duration::from_mins(4);
const DRAIN_LIMIT: Duration = Duration::from_mins(3);
/// Requests that each client makes before a drain, and again after it.
const ENOUGH: u64 = 50;

/// Turns an owner off and on again. Every address that it owned is one result.
pub(super) fn power_off(stage: &Stage, number: u32) -> Result<Vec<PowerOff>> {
    let probers = stage.probe()?;
    let owners = stage.settle(&probers)?;
    // Each family in turn, should they have different owners.
    let turn = usize::try_from(number).unwrap_or_default() % owners.len();
    let owner = stage.nodes.iter().find(|node| node.name == owners[turn]);
    let owner = owner.context("the owner is not a node of the cluster")?;
    let container = stage.announcers()?.remove(&owner.name);

    let off_at = Instant::now();
    power::off(owner)?;
    let affected: Vec<_> = (0..owners.len()).filter(|nth| owners[*nth] == owner.name).collect();
    let outages = wait_for("answers from another node", RECOVERS_WITHIN, || {
        let outages = affected.iter().map(|nth| {
            let now = Instant::now();
            outage(&probers[*nth].probes(), off_at, now)
        });
        let outages: Vec<_> = outages.collect();
        Ok((!outages.contains(&Outage::Unknown)).then_some(outages))
    })?;
    let successors = stage
        .owners(&stage.macs(Some(&owner.name))?)?
        .context("the client is answered by a node that is not of the cluster")?;

    let on_at = Instant::now();
    power::on(stage.cluster, owner)?;
    returned(stage, owner, container.as_deref())?;
    let at_last = stage.settle(&probers)?;
    let now = Instant::now();

    let results = affected.into_iter().zip(outages).map(|(nth, outage)| {
        let family = Family::of(stage.addresses()[nth]);
        let Outage::Took(outage) = outage else {
            bail!("the client did not miss {}, which had the address", owner.name);
        };
        let lost = u32::try_from(lost(&probers[nth].probes(), on_at, now)).unwrap_or(u32::MAX);
        eprintln!(
            "  trial {number}: {} of {} moved to {} after {}; {} lost at its return",
            stage.addresses()[nth],
            owner.name,
            successors[nth],
            Seconds::from(outage),
            Seconds::from(EVERY * lost),
        );
        Ok(PowerOff {
            trial: number,
            family,
            owner: owner.name.clone(),
            successor: successors[nth].clone(),
            outage: outage.into(),
            lost_at_return: (EVERY * lost).into(),
            is_returned: at_last[nth] == owner.name,
        })
    });
    results.collect()
}

/// Drains an owner, shuts it down in order, as somebody does who has to work on it, and lets it be used again.
pub(super) fn drain(stage: &Stage) -> Result<Drain> {
    let probers = stage.probe()?;
    let owners = stage.settle(&probers)?;
    let owner = stage.nodes.iter().find(|node| owners.first() == Some(&node.name));
    let owner = owner.context("the owner is not a node of the cluster")?;
    let container = stage.announcers()?.remove(&owner.name);
    let outside = stage.client.run(|| Ok(Outside::start(&stage.targets())))?;
    asked(&outside)?;

    let drain = ["drain", &owner.name, "--ignore-daemonsets", "--delete-emptydir-data"];
    let drained = stage
        .cluster
        .kubectl(drain)
        .args(["--timeout=120s"])
        .within(DRAIN_LIMIT);
    drained.run()?;
    let at_shutdown = stage.settle(&probers)?;
    asked(&outside)?;
    let before_shutdown = counted(&outside);

    let off_at = Instant::now();
    power::shut_down(owner)?;
    let outages = wait_for("answers from another node", RECOVERS_WITHIN, || {
        let now = Instant::now();
        let outages: Vec<_> = probers
            .iter()
            .map(|prober| outage(&prober.probes(), off_at, now))
            .collect();
        Ok((!outages.contains(&Outage::Unknown)).then_some(outages))
    })?;
    asked(&outside)?;
    let in_all = counted(&outside);
    outside.stop();

    power::on(stage.cluster, owner)?;
    stage.cluster.kubectl(["uncordon", &owner.name]).run()?;
    returned(stage, owner, container.as_deref())?;
    stage.settle(&probers)?;

    let mut moves = owners
        .iter()
        .zip(&at_shutdown)
        .filter(|(before, _)| **before == owner.name);
    let outages = outages.into_iter().map(|outage| match outage {
        Outage::Took(outage) => outage,
        Outage::None | Outage::Unknown => Duration::ZERO,
    });
    let drain = Drain {
        owner: owner.name.clone(),
        is_moved: moves.all(|(before, now)| before != now),
        established: u64::try_from(owners.len()).unwrap_or_default(),
        before_shutdown,
        in_shutdown: in_all.since(before_shutdown),
        outage: outages.max().unwrap_or_default().into(),
    };
    eprintln!(
        "  drain of {}: its addresses {}; {before_shutdown}; its shutdown: {} without an answer; {}",
        drain.owner,
        if drain.is_moved { "moved" } else { "stayed" },
        drain.outage,
        drain.in_shutdown,
    );
    Ok(drain)
}

/// Waits until a product runs again on a node that was off.
fn returned(stage: &Stage, node: &Node, before: Option<&str>) -> Result<()> {
    wait_for("the product on the node that is back", READY_LIMIT, || {
        let now = stage.announcers()?.remove(&node.name);
        Ok((now.is_some() && now.as_deref() != before).then_some(()))
    })
}

fn counted(outside: &Outside) -> Counts {
    let [new, established] = outside.counts();
    Counts {
        connections: new.requests,
        failed_connections: new.failed,
        broken: established.failed,
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            failed_connections,
            broken,
        } = self;
        write!(
            f,
            "{failed_connections} of {connections} new connections failed, {broken} established ones broke"
        )
    }
}

impl Counts {
    fn since(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            failed_connections: self.failed_connections - earlier.failed_connections,
            broken: self.broken - earlier.broken,
        }
    }
}

/// Waits until each client has asked some times more.
fn asked(outside: &Outside) -> Result<()> {
    let before = outside.slowest();
    wait_for("the clients to ask", READY_LIMIT, || {
        Ok((outside.slowest() >= before + ENOUGH).then_some(()))
    })
}
