//! `cargo e2e bench proxy`: the agent beside the real kube-proxy, on one API server in one run.

mod measure;
mod plot;
mod report;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cluster::Size;
use super::{build_fairlead, document};
use crate::control_plane::{Etcd, Tools};
use crate::program::{out, repository};
use measure::{Effort, Programs};
use report::Report;

/// In the folder of results.
const RESULTS: &str = "bench-proxy.json";
const DOCUMENT: &str = "docs/performance.md";
/// What writes the tables there.
const COMMAND: &str = "cargo e2e bench proxy --write";
const PLOT: &str = "docs/performance/proxy.svg";
/// Those with two endpoints are the plot's line.
const SIZES: [&str; 5] = ["100x2", "1000x2", "3000x2", "10000x2", "5000x50"];

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A cluster to measure, such as 10000x2: Services, and endpoints of each. Can be given more than once.
    #[arg(long = "size", value_name = "SERVICESxENDPOINTS", default_values = SIZES)]
    sizes: Vec<Size>,
    /// How many changes are timed, one by one.
    #[arg(long, default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// Minutes that a proxy may take for its first sync, and for the changes.
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Puts the tables into docs/performance.md and draws docs/performance/proxy.svg.
    #[arg(long)]
    write: bool,
    /// Measures nothing: takes what an earlier run has left in e2e/out/bench-proxy.json.
    #[arg(long, conflicts_with_all = ["sizes", "changes", "limit"])]
    again: bool,
}

/// Measures, prints the tables, and keeps the figures in `e2e/out/bench-proxy.json`.
///
/// The process must not have started a thread yet: where it is not root, it enters a user namespace.
pub fn run(args: &Args) -> Result<()> {
    let results = out().join(RESULTS);
    let report = if args.again {
        let text = fs::read_to_string(&results).with_context(|| format!("cannot read {}", results.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", results.display()))?
    } else {
        measure_all(args, &results)?
    };
    println!("{}", report.to_markdown());
    if args.write {
        let plot = repository().join(PLOT);
        save(&plot, &plot::draw(&report))?;
        document::write(&repository().join(DOCUMENT), COMMAND, &report.to_markdown())?;
    }
    Ok(())
}

/// The results are kept after each size, since the next may take long.
fn measure_all(args: &Args, results: &Path) -> Result<Report> {
    let tools = Tools::find(Etcd::Current)?;
    let programs = Programs {
        fairlead: build_fairlead()?,
        kube_proxy: tools.kube_proxy()?,
    };
    fairlead_lab::enter_user_namespace().context("the benchmark needs network namespaces")?;
    let effort = Effort {
        changes: args.changes,
        limit: Duration::from_secs(args.limit * 60),
    };
    let mut report = Report::new(&programs.kube_proxy, effort)?;
    for &size in &args.sizes {
        eprintln!("{size}");
        report
            .comparisons
            .push(measure::compare(size, &tools, &programs, effort)?);
        let text = serde_json::to_string_pretty(&report).context("cannot write the report down")?;
        save(results, &format!("{text}\n"))?;
    }
    Ok(report)
}

fn save(file: &Path, text: &str) -> Result<()> {
    document::save(file, text)?;
    eprintln!("wrote {}", file.display());
    Ok(())
}
