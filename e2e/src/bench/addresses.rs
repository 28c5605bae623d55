//! `cargo e2e bench addresses`: how soon an address is another node's when its owner loses its power, how soon it is one node's alone after a
//! partition, and how soon it is there after its Service is created.
//!
//! Everything runs in network namespaces of the lab: a real kube-apiserver on etcd, the operator, an agent on each node, and a client on the
//! LAN. What is measured is the client's view: its connections, and the answers to its ARP and NDP requests. That a node is a namespace
//! here makes trials cheap, so there can be many; [`super::failover`] has fewer of them on nodes that are whole.

pub mod absence;
mod arp;
mod creation;
mod partition;
mod power_off;
mod report;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{build_fairlead, document};
use crate::control_plane::{Etcd, Tools};
use crate::program::{out, repository};
use report::{Report, Results};
use world::World;

/// In the folder of results.
const RESULTS: &str = "bench-addresses.json";
const DOCUMENT: &str = "docs/performance.md";
/// What writes the tables there.
const COMMAND: &str = "cargo e2e bench addresses --write";
/// The majority that is left when one is off.
const FEWEST_NODES: u8 = 2;
/// The lab has room for so many, one of which has the pods.
const MOST_NODES: u8 = 80;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many nodes may own addresses; one more has the pods. Several numbers are measured one after the other.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [3, 10])]
    nodes: Vec<u8>,
    /// How often an address of each family loses its owner.
    #[arg(long, default_value_t = 100)]
    trials: usize,
    /// How often the nodes are parted, in each way.
    #[arg(long, default_value_t = 20)]
    partitions: usize,
    /// How many Services are created.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(..=100))]
    services: u8,
    /// A build of fairlead to try this out with, in place of a release build that is made first.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Puts the tables into docs/performance.md.
    #[arg(long)]
    write: bool,
    /// Measures nothing: takes what an earlier run has left in e2e/out/bench-addresses.json.
    #[arg(long, conflicts_with_all = ["nodes", "trials", "partitions", "services", "program"])]
    again: bool,
}

/// Measures, prints tables, and keeps the figures in `e2e/out/bench-addresses.json`.
///
/// The process must not have started a thread yet: where it is not root, it enters a user namespace.
pub fn run(args: &Args) -> Result<()> {
    let results = out().join(RESULTS);
    let report = if args.again {
        let text = fs::read_to_string(&results).with_context(|| format!("cannot read {}", results.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", results.display()))?
    } else {
        measure(args, &results)?
    };
    println!("{}", report.to_markdown());
    if args.write {
        document::write(&repository().join(DOCUMENT), COMMAND, &report.to_markdown())?;
    }
    Ok(())
}

/// The figures are kept after each part, since the next may fail.
fn measure(args: &Args, file: &Path) -> Result<Report> {
    ensure!(
        args.nodes
            .iter()
            .all(|nodes| (FEWEST_NODES..MOST_NODES).contains(nodes)),
        "there may be {FEWEST_NODES} to {} nodes",
        MOST_NODES - 1
    );
    let tools = Tools::find(Etcd::Current)?;
    let fairlead = args.program.clone().map_or_else(build_fairlead, Ok)?;
    fairlead_lab::enter_user_namespace().context("the benchmark needs network namespaces")?;
    let mut report = Report {
        is_release_build: args.program.is_none(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        results: Vec::new(),
    };
    for &nodes in &args.nodes {
        eprintln!("{nodes} nodes");
        let mut world = World::start(nodes, &tools, &fairlead)?;
        let mut results = Results::new(nodes);
        let keep = |results: &Results| {
            let mut report = report.clone();
            report.results.push(results.clone());
            save(file, &report)
        };
        let mut number = 0;
        while results.fewest_power_offs() < args.trials {
            number += 1;
            let trial = power_off::measure(&mut world, results.rarer()).with_context(|| format!("trial {number}"))?;
            results.power_offs.extend(trial);
            keep(&results)?;
        }
        for kind in partition::Kind::ALL {
            for number in 1..=args.partitions {
                let parted = partition::measure(&world, kind).with_context(|| format!("partition {number}"))?;
                results.partitions.push(parted);
                keep(&results)?;
            }
        }
        // Last, since all other addresses are there from then on.
        results.creations = creation::measure(&world, args.services)?;
        keep(&results)?;
        report.results.push(results);
    }
    Ok(report)
}

fn save(file: &Path, report: &Report) -> Result<()> {
    let text = serde_json::to_string_pretty(report).context("cannot write the report down")?;
    document::save(file, &format!("{text}\n"))
}
