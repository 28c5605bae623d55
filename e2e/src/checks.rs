//! Our own tests on a cluster. Each leaves the cluster as it found it, prints what it measured, and fails where a guarantee does
//! not hold.

mod announce;
mod faults;
mod install;
mod leader;
mod load_balancer;
mod migration;
mod names;

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::cluster::Cluster;
use crate::dump::dump;
use crate::load::Counts;

/// A test.
struct Check {
    name: &'static str,
    /// What it shows.
    promise: &'static str,
    run: fn(&Cluster) -> anyhow::Result<Vec<String>>,
}

/// In the order in which they run. The first finds the cluster with kube-proxy, or with nothing.
const CHECKS: &[Check] = &[
    Check {
        name: "migration",
        promise: "a live cluster changes from kube-proxy to Fairlead without a failed connection",
        run: migration::run,
    },
    Check {
        name: "install",
        promise: "from helm install to an answering node port in less than a minute, on a cluster without any proxy",
        run: install::run,
    },
    Check {
        name: "names",
        promise: "Services are found by environment variables and DNS names, and answer",
        run: names::run,
    },
    Check {
        name: "leader",
        promise: "one replica of the operator leads, and another does within two seconds when it is told to end",
        run: leader::run,
    },
    Check {
        name: "load-balancer",
        promise: "a Service of type LoadBalancer has addresses of a pool in no time, is reached at them, and leaves nothing",
        run: load_balancer::run,
    },
    Check {
        name: "announce",
        promise: "nodes answer for addresses of a pool, hand them over without a failed connection, and take over from one that dies",
        run: announce::run,
    },
    Check {
        name: "roll-out",
        promise: "a roll-out of all agents costs no connection",
        run: faults::roll_out,
    },
    Check {
        name: "kill",
        promise: "agents killed with -9 cost no connection",
        run: faults::kill,
    },
    Check {
        name: "api-server",
        promise: "a restart of the API server costs no connection",
        run: faults::api_server,
    },
    Check {
        name: "drain",
        promise: "a node that is drained costs no new connection",
        run: faults::drain,
    },
    Check {
        name: "owned-table",
        promise: "others cannot delete an owned table",
        run: faults::owned_table,
    },
    Check {
        name: "shared-table",
        promise: "a shared table that others delete is back within a second",
        run: faults::shared_table,
    },
];

/// Runs those whose name contains the filter, all of them without one.
pub fn run(cluster: &Cluster, filter: Option<&str>) -> anyhow::Result<()> {
    let is_chosen = |check: &&Check| filter.is_none_or(|filter| check.name.contains(filter));
    let mut failed = Vec::new();
    let mut chosen = 0;
    for check in CHECKS.iter().filter(is_chosen) {
        chosen += 1;
        println!("{}: {}", check.name, check.promise);
        let began = Instant::now();
        match (check.run)(cluster) {
            Ok(lines) => {
                for line in lines {
                    println!("    {line}");
                }
                println!("    ok, {} s", began.elapsed().as_secs());
            }
            Err(error) => {
                println!("    FAILED after {} s: {error:#}", began.elapsed().as_secs());
                println!("    traces: {}", dump(cluster, check.name)?.display());
                failed.push(check.name);
            }
        }
    }
    if chosen == 0 {
        let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        bail!("no test's name contains that; there are {}", names.join(", "));
    }
    if !failed.is_empty() {
        bail!("{} of {chosen} tests failed: {}", failed.len(), failed.join(", "));
    }
    Ok(())
}

/// The guarantee of most of them.
fn expect_no_failure(counts: &Counts) -> anyhow::Result<()> {
    if counts.failed_new() + counts.failed_established() > 0 {
        bail!("connections failed: {counts}");
    }
    Ok(())
}

/// Something took so long.
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
