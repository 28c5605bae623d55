//! The nodes are parted, with the owner of an address in the smaller part, and come together again.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fairlead_lab::Lab;

use super::arp::{Asker, several_answered};
use super::report::{IpFamily, Partition};
use super::world::{PATIENCE, World};

/// How long the parts do not hear each other: ten times what it takes to find that out.
const LASTS: Duration = Duration::from_secs(3);
/// How long it is watched afterwards, and then a last time, in which nothing may be left of it.
const WATCHED: Duration = Duration::from_secs(3);
const IN_THE_END: Duration = Duration::from_secs(1);

pub(super) use super::report::Cut as Kind;

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::BetweenNodes, Self::Everything];
}

/// Parts the nodes once. Both addresses are watched, whichever part has them.
pub(super) fn measure(world: &World, kind: Kind) -> Result<Partition> {
    drop(world.open_connections()?);
    let [v4, v6] = world.addresses.both();
    let owner = world.wait_for_owner(v4)?;
    // The largest minority with the owner in it; the node with the pods stays with the client.
    let members = world.owners + 1;
    let others = (1..=world.owners).filter(|node| *node != owner);
    let smaller: Vec<u8> = std::iter::once(owner)
        .chain(others)
        .take(usize::from((members - 1) / 2))
        .collect();
    let askers = [
        (IpFamily::V4, Asker::start(world.lab.client(), v4)?),
        (IpFamily::V6, Asker::start(world.lab.client(), v6)?),
    ];
    let splits = world.splits();
    let parted = Instant::now();
    cut(&world.lab, &smaller, kind)?;
    thread::sleep(LASTS);
    let healed = Instant::now();
    heal(&world.lab)?;
    thread::sleep(WATCHED);
    let nearly = Instant::now();
    thread::sleep(IN_THE_END);
    let ended = Instant::now();
    let mut partition = Partition {
        kind,
        doubled_meanwhile: Vec::new(),
        doubled_afterwards: Vec::new(),
        doubled_in_the_end: 0,
        counted_by_agents: world.splits() - splits,
    };
    for (family, asker) in &askers {
        let questions = asker.questions();
        let mut lately = questions.iter().filter(|question| question.asked >= nearly);
        ensure!(
            lately.any(|question| !question.answered.is_empty()),
            "nobody answers for the {family} address in the end"
        );
        partition
            .doubled_meanwhile
            .push(several_answered(&questions, parted, healed).into());
        partition
            .doubled_afterwards
            .push(several_answered(&questions, healed, ended).into());
        let in_the_end = several_answered(&questions, nearly, ended);
        partition.doubled_in_the_end += usize::from(!in_the_end.is_zero());
    }
    eprintln!("  {partition}");
    Ok(partition)
}

/// Frames between the parts are dropped; of what is cut off from everything, those from and to the client and the API server as well.
fn cut(lab: &Lab, smaller: &[u8], kind: Kind) -> Result<()> {
    let names: Vec<_> = smaller
        .iter()
        .map(|number| format!("\"{}\"", lab.node(*number).name()))
        .collect();
    let (client, router) = match kind {
        Kind::BetweenNodes => ("iifname \"client\" accept; oifname \"client\" accept;", ""),
        Kind::Everything => (
            "",
            "chain input { type filter hook input priority 0; iifname @smaller drop; }\n\
             chain output { type filter hook output priority 0; oifname @smaller drop; }\n",
        ),
    };
    nft(
        lab,
        &format!(
            "table bridge parted {{\n\
             set smaller {{ type ifname; elements = {{ {} }}; }}\n\
             chain forward {{ type filter hook forward priority 0; {client} \
             iifname @smaller oifname != @smaller drop; iifname != @smaller oifname @smaller drop; }}\n\
             {router}}}\n",
            names.join(", ")
        ),
    )
}

fn heal(lab: &Lab) -> Result<()> {
    nft(lab, "delete table bridge parted\n")
}

fn nft(lab: &Lab, rules: &str) -> Result<()> {
    let mut command = Command::new("nft");
    command.arg(rules).stdin(Stdio::null());
    let mut process = lab.lan().spawn(command).context("this needs nft")?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "nft does not take the rules ({status})");
    Ok(())
}
