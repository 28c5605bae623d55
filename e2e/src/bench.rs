//! What Fairlead costs, measured against a real API server without a cluster around it; and what a client loses when a node does,
//! on a cluster ([`failover`]).
//!
//! [`proxy`] compares the agent with the real kube-proxy, [`agent`] looks closer at the agent alone. These two create a
//! [`cluster::Cluster`] on a [control plane](crate::control_plane), print Markdown, and measure a release build of the agent, which
//! they make first. [`addresses`] has several nodes and an operator on such a control plane. CPU time and memory are the kernel's own account of a process and its children (`usage`).

pub mod addresses;
pub mod agent;
pub mod cluster;
mod distribution;
mod document;
pub mod failover;
pub mod proxy;
mod quantity;
mod sys;
mod usage;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::program::repository;
pub use quantity::{Mebibytes, Seconds};

/// The benchmarks.
#[derive(Debug, clap::Subcommand)]
pub enum Bench {
    /// Compares the agent with the real kube-proxy in nftables mode, on one API server.
    Proxy(proxy::Args),
    /// Looks at the agent's memory and at its reaction to changes, in the two ways in which it can read lists.
    Agent(agent::Args),
    /// Measures how soon addresses move when a node loses its power, are one node's again after a partition, and come into being, in
    /// network namespaces.
    Addresses(addresses::Args),
    /// Counts what a client loses while the API server is away, all agents are killed and a node loses its power, in network namespaces.
    Absence(addresses::absence::Args),
    /// Compares the time that a client loses when the owner of an address loses its power, with MetalLB, on a running cluster.
    Failover(failover::Args),
}

/// Runs a benchmark. The process must not have started a thread yet, since it may have to enter a user namespace.
pub fn run(cluster: &crate::cluster::Cluster, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Proxy(args) => proxy::run(args),
        Bench::Agent(args) => agent::run(args),
        Bench::Addresses(args) => addresses::run(args),
        Bench::Absence(args) => addresses::absence::run(args),
        Bench::Failover(args) => failover::run(cluster, args),
    }
}

/// Builds the program in its release profile, and says where it is.
fn build_fairlead() -> Result<PathBuf> {
    eprintln!("building the release profile of fairlead");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--package=fairlead", "--bin=fairlead"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo build failed ({})", output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut executables = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    executables.next_back().context("cargo told no path of the program")
}
