//! The command line of `cargo e2e`.

use anyhow::bail;
use clap::{Parser, Subcommand};

use crate::bench::{self, Bench};
use crate::cluster::{Cluster, Shape};
use crate::proxy::{self, Proxy};
use crate::upstream::{self, Suite};
use crate::{checks, conformance, dump};

/// A real cluster from nothing, and what is asked of Fairlead on it.
///
/// Everything that is built is kept in ~/.cache/fairlead; results and the traces of failures are in e2e/out.
#[derive(Debug, Parser)]
#[command(name = "cargo e2e")]
pub struct Cli {
    /// Name of the cluster.
    #[arg(long, global = true, default_value = "fairlead", value_name = "NAME")]
    cluster: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up a cluster of three or more nodes; its kubeconfig's path is printed
    Up {
        #[command(flatten)]
        shape: Shape,
        /// Remove a cluster of this name that is there, instead of leaving it as it is.
        #[arg(long)]
        fresh: bool,
    },
    /// Remove the cluster
    Down,
    /// Build the image, install the Helm chart, and take kube-proxy away where it is
    Deploy {
        /// Who is to serve the Services.
        #[arg(long, value_enum, default_value = "fairlead")]
        proxy: Proxy,
        /// A value of the chart, as Helm's --set.
        #[arg(long = "set", value_name = "NAME=VALUE")]
        settings: Vec<String>,
    },
    /// Run our own tests
    Test {
        /// Only those whose name contains this.
        filter: Option<String>,
    },
    /// Measure what Fairlead costs, without a cluster, and how fast an address moves, on one
    #[command(subcommand)]
    Bench(Bench),
    /// Write down pods, events, logs and every node's rules
    Logs,
    /// Run Kubernetes' own network tests with the proxy that the cluster has
    Upstream {
        /// Which of them [default: all]
        #[arg(value_enum)]
        suites: Vec<Suite>,
        /// Only tests whose full name matches this regular expression; the result is not kept.
        #[arg(long, value_name = "REGEX")]
        filter: Option<String>,
        /// Make docs/conformance.md of all results that are kept.
        #[arg(long)]
        write: bool,
    },
    /// Make docs/conformance.md of the results that earlier runs left
    Conformance,
}

impl Cli {
    /// Does what it says.
    pub fn run(self) -> anyhow::Result<()> {
        let cluster = Cluster::named(&self.cluster);
        match self.command {
            Command::Up { shape, fresh } => {
                cluster.up(&shape, fresh)?;
                println!("{}", cluster.kubeconfig().display());
                Ok(())
            }
            Command::Down => cluster.down(),
            Command::Deploy { proxy, settings } => proxy::change_to(&cluster, proxy, &settings),
            Command::Test { filter } => checks::run(&cluster, filter.as_deref()),
            Command::Bench(bench) => bench::run(&cluster, &bench),
            Command::Logs => {
                println!("{}", dump::dump(&cluster, "logs")?.display());
                Ok(())
            }
            Command::Conformance => conformance::write(),
            Command::Upstream { suites, filter, write } => {
                let suites = if suites.is_empty() { Suite::ALL.to_vec() } else { suites };
                let ran = run_suites(&cluster, &suites, filter.as_deref());
                if write {
                    conformance::write()?;
                }
                ran
            }
        }
    }
}

fn run_suites(cluster: &Cluster, suites: &[Suite], filter: Option<&str>) -> anyhow::Result<()> {
    let mut failed = 0;
    for suite in suites {
        let results = upstream::run(cluster, *suite, filter)?;
        println!(
            "{}: {} tests, {}, {}",
            suite.name(),
            results.tests.len(),
            results.family,
            results.proxy
        );
        for name in results.failed() {
            println!("  failed: {name}");
            failed += 1;
        }
    }
    if failed > 0 {
        bail!(
            "{failed} tests failed; logs are in {}",
            upstream::Results::folder().display()
        );
    }
    Ok(())
}
