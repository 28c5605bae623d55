//! `cargo e2e bench failover`: a client's lost time when the owner of a load balancer's address loses its power, with Fairlead and
//! with the real MetalLB, on one cluster in one run.
//!
//! A Service with an IPv4 and an IPv6 address has its servers on the control plane, which is never turned off and, by the label that
//! kubeadm gives it, never owns an address. So a trial measures only how long the address takes to move. Who the owner is, is what the
//! client's neighbour table says, not what the product says of itself.

mod client;
mod power;
mod product;
mod report;
mod stage;
mod trial;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::document;
use crate::cluster::Cluster;
use crate::program::{out, repository};
pub use product::Product;
use report::{Report, Results};
use stage::Stage;

/// In the folder of results.
const RESULTS: &str = "bench-failover.json";
const DOCUMENT: &str = "docs/performance.md";
/// What writes the tables there.
const COMMAND: &str = "cargo e2e bench failover --write";
/// So that there is an owner, a successor, and a majority of them when one is off.
const FEWEST_WORKERS: usize = 2;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure this product alone [default: MetalLB, then Fairlead]
    #[arg(long, value_enum, value_name = "PRODUCT")]
    only: Option<Product>,
    /// How often an owner loses its power.
    #[arg(long, default_value_t = 20)]
    trials: u32,
    /// How often an owner is drained and shut down.
    #[arg(long, default_value_t = 3)]
    drains: u32,
    /// Puts the tables into docs/performance.md.
    #[arg(long)]
    write: bool,
    /// Measures nothing: takes what an earlier run has left in e2e/out/bench-failover.json.
    #[arg(long, conflicts_with_all = ["only", "trials", "drains"])]
    again: bool,
}

/// Measures, prints tables and a plot, and keeps the figures in `e2e/out/bench-failover.json`.
pub fn run(cluster: &Cluster, args: &Args) -> Result<()> {
    let results = out().join(RESULTS);
    let report = if args.again {
        let text = fs::read_to_string(&results).with_context(|| format!("cannot read {}", results.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", results.display()))?
    } else {
        measure(cluster, args, &results)?
    };
    println!("{}\n{}", report.to_markdown(), report.to_plot());
    if args.write {
        document::write(&repository().join(DOCUMENT), COMMAND, &report.to_markdown())?;
    }
    Ok(())
}

/// The figures are kept after each trial, since the next may fail.
fn measure(cluster: &Cluster, args: &Args, file: &Path) -> Result<Report> {
    let nodes = cluster.nodes()?;
    let workers = nodes.len().saturating_sub(1);
    ensure!(
        workers >= FEWEST_WORKERS,
        "this needs a cluster with {FEWEST_WORKERS} workers at least: `cargo e2e up --workers 3`"
    );
    let mut report = Report {
        workers,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        results: Vec::new(),
    };
    let products = args
        .only
        .map_or(vec![Product::Metallb, Product::Fairlead], |only| vec![only]);
    for product in products {
        let stage = Stage::set(cluster, product)?;
        report.results.push(Results {
            product,
            version: product.version(cluster)?,
            power_offs: Vec::new(),
            drains: Vec::new(),
        });
        for number in 1..=args.trials {
            let trial = trial::power_off(&stage, number).with_context(|| format!("{product}, trial {number}"))?;
            last(&mut report).power_offs.extend(trial);
            save(file, &report)?;
        }
        for number in 1..=args.drains {
            let drain = trial::drain(&stage).with_context(|| format!("{product}, drain {number}"))?;
            last(&mut report).drains.push(drain);
            save(file, &report)?;
        }
        stage.clear()?;
    }
    Ok(report)
}

fn last(report: &mut Report) -> &mut Results {
    report.results.last_mut().expect("a product is being measured")
}

fn save(file: &Path, report: &Report) -> Result<()> {
    let text = serde_json::to_string_pretty(report).context("cannot write the report down")?;
    document::save(file, &format!("{text}\n"))
}
