//! `cargo e2e bench absence`: the API server is away for minutes, and meanwhile all agents are killed and the owner of an address loses its power.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fairlead_lab::outage::{Outage, lost};

use super::power_off::outages_since;
use super::world::World;
use super::{DOCUMENT, build_fairlead, document};
use crate::bench::Seconds;
use crate::control_plane::{Etcd, Tools};
use crate::program::repository;

/// What writes the table into the document.
const COMMAND: &str = "cargo e2e bench absence --write";
const HEAD: &str = "\
| the API server is away for | nodes | owners that changed | new connections that failed, of which while all agents were dead or starting | then power-off of the owner |
|---|--:|--:|---|---|
";
/// Between two looks at whether all is as it was.
const LOOK: Duration = Duration::from_secs(10);
/// The owner and two that are left.
const FEWEST_NODES: u8 = 3;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many nodes may own addresses; one more has the pods.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(i64::from(FEWEST_NODES)..=20))]
    nodes: u8,
    /// How many seconds the API server is away.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    away: u64,
    /// A build of fairlead to try this out with, in place of a release build that is made first.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Puts the table into docs/performance.md.
    #[arg(long)]
    write: bool,
}

/// Measures, and prints a table.
///
/// The process must not have started a thread yet: where it is not root, it enters a user namespace.
pub fn run(args: &Args) -> Result<()> {
    let tools = Tools::find(Etcd::Current)?;
    let fairlead = args.program.clone().map_or_else(build_fairlead, Ok)?;
    fairlead_lab::enter_user_namespace().context("the benchmark needs network namespaces")?;
    let mut world = World::start(args.nodes, &tools, &fairlead)?;
    let row = measure(&mut world, Duration::from_secs(args.away))?;
    let table = format!("{HEAD}{row}\n");
    println!("{table}");
    if args.write {
        document::write(&repository().join(DOCUMENT), COMMAND, &table)?;
    }
    Ok(())
}

fn measure(world: &mut World, away: Duration) -> Result<String> {
    let openers = world.open_connections()?;
    let mut owners = Vec::new();
    for address in world.addresses.both() {
        owners.push(world.wait_for_owner(address)?);
    }
    world.stop_api_server()?;
    let gone = Instant::now();
    eprintln!("the API server is away; the owners are {owners:?}");
    let mut changes = watch(world, &owners, gone + away / 2)?;
    let killed = Instant::now();
    world.restart_agents()?;
    let back = Instant::now();
    eprintln!(
        "all agents were killed, and hear each other again after {:?}",
        back - killed
    );
    changes += watch(world, &owners, gone + away)?;
    let end = Instant::now();
    let count = |since| -> usize { openers.iter().map(|opener| lost(&opener.attempts(), since, end)).sum() };
    let (failed, since_the_kill, since_they_are_back) = (count(gone), count(killed), count(back));
    let tried: usize = openers.iter().map(|opener| opener.attempts().len()).sum();

    // What was counted is long, and would be copied with each look.
    drop(openers);
    let openers = world.open_connections()?;
    let node = owners[0];
    let off = Instant::now();
    world.power_off(node)?;
    let outages = outages_since(&openers, off)?;
    let mut lost = Vec::new();
    for (nth, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
        match outages[nth] {
            Outage::Took(took) => lost.push(format!("{family} {}", Seconds::from(took))),
            _ if owners[nth] == node => bail!("{family} lost nothing when its owner lost its power"),
            _ => {}
        }
    }
    world.start_api_server()?;
    world.power_on(node)?;
    drop(world.open_connections()?);
    Ok(format!(
        "| {} | {} | **{changes}** | **{failed}** of {tried}, {} | **{}** |",
        Seconds::from(away),
        world.owners,
        since_the_kill - since_they_are_back,
        lost.join(", ")
    ))
}

/// Looks until then how often an address has another owner.
fn watch(world: &World, owners: &[u8], until: Instant) -> Result<usize> {
    let mut changes = 0;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        for (address, owner) in world.addresses.both().into_iter().zip(owners) {
            changes += usize::from(world.wait_for_owner(address)? != *owner);
        }
        std::thread::sleep(left.min(LOOK));
    }
    Ok(changes)
}
