//! `fairlead sandbox`: Services on a virtual network of three nodes, with one real agent on each.
//!
//! ```text
//!   folder of manifests
//!            │
//!            ▼
//!      control plane (adds what an operator would write)
//!            │
//!            ├──► manifests (as each agent sees it) ──► plan ──► workloads in the lab
//!            │                              │             │
//!            └──► agents (real processes)   └─► question ◄┘ ◄── announced (who answers by ARP and NDP)
//!                        │                          │   what is asked, and what must become of it
//!                        ▼                          ▼
//!                  rules in each node ◄──────── traffic ──► judge ──► report ──► text, or JSON
//! ```
//!
//! What is planned and what is expected is pure and follows from the manifests alone; the rules come from the agents.
//! `session` holds everything that runs, `hold` follows edits. When it ends, the namespaces end with their last
//! process and descriptor, and the scratch folder is removed.

mod agents;
mod announced;
mod control_plane;
mod expected;
mod ground;
mod health;
mod hold;
mod http;
mod instructions;
mod judge;
mod manifests;
mod notes;
mod output;
mod plan;
mod power_off;
mod question;
mod report;
mod scene;
mod session;
mod signals;
#[cfg(test)]
mod testing;
mod text;
mod traffic;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use fairlead_lab::Lab;
use tokio::runtime::Runtime;

use crate::terminal::Screen;
use control_plane::ControlPlane;
use instructions::Privilege;
use manifests::Follower;
use output::Output;
use report::Report;
use session::{Extent, Session};
use signals::Signals;

/// Flags of `fairlead sandbox`.
#[derive(Debug, Clone, Args)]
pub struct SandboxFlags {
    /// Folder of manifests [default: ./examples, or the built-in examples where there is none].
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Stay after the table, follow edits of the manifests, and end with Ctrl-C.
    #[arg(long)]
    hold: bool,
    /// Print JSON in place of tables: one document, and with --hold one more for each edit.
    #[arg(long)]
    json: bool,
    /// Show what becomes of clients when something fails, in place of the table.
    #[arg(long, value_enum, value_name = "SCENARIO", conflicts_with_all = ["hold", "requests"])]
    scenario: Option<Scenario>,
    /// How often each address is asked from each place.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1000))]
    requests: u16,
}

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// The node that answers for an address of a pool loses its power.
    PowerOff,
}

/// Runs the sandbox. The process must have one thread, since it may enter a user namespace.
///
/// An error is everything that kept it from running, and traffic that did not do as the manifests say.
#[expect(clippy::needless_pass_by_value, reason = "a subcommand owns its flags")]
pub fn run(flags: SandboxFlags) -> anyhow::Result<()> {
    let privilege = become_root()?;
    let output = if flags.json {
        Output::Json
    } else {
        Output::Text(Screen::of_stdout())
    };
    // Dropped last, when nobody uses it any more.
    let scratch = tempfile::Builder::new().prefix("fairlead-sandbox-").tempdir();
    let scratch = scratch.context("cannot make a folder for logs")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let mut signals = Signals::start(&runtime)?;
    let mut session = start(&flags, scratch.path(), &runtime, &signals, output)?;
    let result = show(&flags, privilege, &mut session, &runtime, &mut signals, output);
    session.end();
    result?;
    scratch.close().context("cannot remove the folder for logs")
}

/// Enters a user namespace unless this process is root already.
fn become_root() -> anyhow::Result<Privilege> {
    let user_namespace = || fs::read_link("/proc/self/ns/user");
    let before = user_namespace().context("cannot look at /proc/self/ns/user")?;
    fairlead_lab::enter_user_namespace().context("cannot start the sandbox")?;
    Ok(if user_namespace()? == before {
        Privilege::Root
    } else {
        Privilege::UserNamespace
    })
}

fn start(
    flags: &SandboxFlags,
    scratch: &Path,
    runtime: &Runtime,
    signals: &Signals,
    output: Output,
) -> anyhow::Result<Session> {
    let folder = manifests::folder(flags.manifests.as_deref(), scratch)?;
    let logs = scratch.join("logs");
    fs::create_dir(&logs).with_context(|| format!("cannot make {}", logs.display()))?;

    let started = Instant::now();
    let lab = Lab::new().context("cannot build the virtual network")?;
    let names: Vec<_> = lab.nodes().iter().map(|node| node.name().to_owned()).collect();
    let copy = scratch.join("cluster");
    fs::create_dir(&copy).with_context(|| format!("cannot make {}", copy.display()))?;
    let control_plane = ControlPlane::start(&folder, &copy, runtime.handle())?;
    let follower = runtime.block_on(Follower::start(&copy, &folder, &names))?;
    let mut session = Session::start(
        lab,
        follower,
        control_plane,
        &folder,
        &logs,
        usize::from(flags.requests),
        signals.flag(),
    )?;
    let nodes = names.len();
    output.say(&format!(
        "A virtual network of {nodes} nodes with {} pods, and a client outside, made in {:.1?}.\n",
        session.pods(),
        started.elapsed()
    ))?;
    if flags.scenario == Some(Scenario::PowerOff) {
        // They come first, so that one of them answers for the addresses.
        let hosts = power_off::Target::choose(&session)?.hosts;
        session.start_agents(|node| !hosts.contains(&node))?;
        session.find_owners()?;
    }
    session.start_agents(|_| true)?;
    let commits: Vec<_> = session
        .agents()
        .iter()
        .map(|agent| format!("{} {:.0?}", agent.name(), agent.first_commit()))
        .collect();
    output.say(&format!(
        "Agents, from their start until their rules were in the kernel: {}.\n",
        commits.join(", ")
    ))?;
    session.find_owners()?;
    Ok(session)
}

fn show(
    flags: &SandboxFlags,
    privilege: Privilege,
    session: &mut Session,
    runtime: &Runtime,
    signals: &mut Signals,
    output: Output,
) -> anyhow::Result<()> {
    if flags.scenario == Some(Scenario::PowerOff) {
        return power_off::run(session, output);
    }
    if let Output::Text(screen) = output {
        let outline = session.outline();
        output.say(&text::services(&outline, screen))?;
        output.say(&text::announced(&outline.announced, screen))?;
    }
    let report: Report = session.report(Extent::All, None)?;
    output.first(&report, flags.requests)?;
    if flags.hold {
        return hold::hold(session, report, privilege, runtime, signals, output);
    }
    if !report.passed {
        bail!("not everything was as the manifests say");
    }
    Ok(())
}
