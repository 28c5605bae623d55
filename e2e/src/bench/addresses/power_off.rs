//! The owner of an address loses its power.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use fairlead_lab::outage::{Outage, lost, outage};
use fairlead_lab::{Family, Opener, wait_for};

use super::report::{IpFamily, PowerOff};
use super::world::{EVERY, PATIENCE, World};
use crate::bench::Seconds;

/// Turns off the owner of the address of this family; the other address may be its, too.
pub(super) fn measure(world: &mut World, family: IpFamily) -> Result<Vec<PowerOff>> {
    let openers = world.open_connections()?;
    let mut owners = Vec::new();
    for address in world.addresses.both() {
        owners.push(world.wait_for_owner(address)?);
    }
    let node = owners[family as usize];
    ensure!(node <= world.owners, "the node with the pods has an address");
    let off = Instant::now();
    world.power_off(node)?;
    let outages = outages_since(&openers, off)?;
    let mut successors = Vec::new();
    for address in world.addresses.both() {
        successors.push(world.wait_for_owner(address)?);
    }
    let on = Instant::now();
    world.power_on(node)?;
    drop(world.open_connections()?);
    let now = Instant::now();
    let mut trials = Vec::new();
    for (nth, family) in [IpFamily::V4, IpFamily::V6].into_iter().enumerate() {
        if owners[nth] != node {
            continue;
        }
        let Outage::Took(took) = outages[nth] else {
            bail!(
                "{} lost nothing when node-{node} lost its power",
                world.addresses.of(family.into())
            );
        };
        let lost_at_return = u32::try_from(lost(&openers[nth].attempts(), on, now)).unwrap_or(u32::MAX);
        trials.push(PowerOff {
            family,
            owner: node,
            successor: successors[nth],
            outage: took.into(),
            lost_at_return: Seconds::from(EVERY * lost_at_return),
        });
        eprintln!(
            "  power-off of node-{node}: {family} by node-{} after {}",
            successors[nth],
            Seconds::from(took)
        );
    }
    Ok(trials)
}

/// What the client has lost since then, once another node answers.
pub(super) fn outages_since(openers: &[Opener], off: Instant) -> Result<Vec<Outage>> {
    let outages = wait_for(PATIENCE, "another node to answer", || {
        let now = Instant::now();
        let all: Vec<_> = openers
            .iter()
            .map(|opener| outage(&opener.attempts(), off, now))
            .collect();
        (!all.contains(&Outage::Unknown)).then_some(all)
    })?;
    Ok(outages)
}

impl From<IpFamily> for Family {
    fn from(family: IpFamily) -> Self {
        match family {
            IpFamily::V4 => Self::V4,
            IpFamily::V6 => Self::V6,
        }
    }
}
