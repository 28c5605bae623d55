//! The command line.

use std::io::IsTerminal;

use clap::{Parser, Subcommand};

use crate::agent::flags::AgentFlags;
use crate::operator::flags::OperatorFlags;
use crate::trace::TraceFlags;
use crate::{agent, cleanup, migrate, operator, plan, sandbox, status, trace};

/// Services for Kubernetes: an nftables dataplane in place of kube-proxy.
#[derive(Debug, Parser)]
#[command(name = "fairlead", version, about, max_term_width = 110)]
pub struct Cli {
    /// How logs are written, to standard error. Which ones: RUST_LOG, `info` by default.
    #[arg(long, value_enum, default_value = "text", global = true, value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep this node's rules in step with the Services.
    Agent(Box<AgentFlags>),
    /// Turn Services of type LoadBalancer into load balancers; one of the replicas leads.
    Operator(Box<OperatorFlags>),
    /// Show providers, pools, load balancers, agents and who leads, in one screen.
    Status(status::StatusFlags),
    /// Show what the operator would do for Services of files, or now, and change nothing.
    Plan(plan::PlanFlags),
    /// Print another load balancer's configuration as Fairlead's, and say what differs.
    Migrate(migrate::MigrateFlags),
    /// Show where a connection goes, and why.
    Trace(Box<TraceFlags>),
    /// Remove our rules, or what kube-proxy left behind.
    Cleanup(cleanup::CleanupFlags),
    /// Try Services out on a virtual network of three nodes on this machine.
    Sandbox(sandbox::SandboxFlags),
}

impl Cli {
    /// Runs the command. Must be called while the process has one thread: the sandbox enters a user namespace.
    pub fn run(self) -> anyhow::Result<()> {
        self.start_logs();
        match self.command {
            Command::Agent(flags) => runtime()?.block_on(agent::run::run(*flags)),
            Command::Operator(flags) => runtime()?.block_on(operator::run::run(*flags)),
            Command::Status(flags) => runtime()?.block_on(status::run(flags)),
            Command::Plan(flags) => runtime()?.block_on(plan::run(flags)),
            Command::Migrate(flags) => runtime()?.block_on(migrate::run(flags)),
            Command::Trace(flags) => runtime()?.block_on(trace::run(*flags)),
            Command::Cleanup(flags) => {
                cleanup::cleanup(&flags, &mut |outcome| println!("{outcome}")).map_err(Into::into)
            }
            Command::Sandbox(flags) => sandbox::run(flags),
        }
    }

    fn start_logs(&self) {
        let default = match self.command {
            // The source says itself what its client library would repeat.
            Command::Agent(_) | Command::Operator(_) => "info,kube_client=off,kube_runtime=off",
            Command::Status(_) | Command::Trace(_) | Command::Cleanup(_) => "warn,kube_client=off,kube_runtime=off",
            // They say themselves what is wrong with pools.
            Command::Plan(_) | Command::Migrate(_) => "warn,kube_client=off,kube_runtime=off,fairlead::operator=off",
            // The sandbox shows by itself what is wrong with its manifests.
            Command::Sandbox(_) => "warn,fairlead::source=off",
        };
        let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into());
        let is_terminal = std::io::stderr().is_terminal();
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(is_terminal)
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => logs.with_target(false).init(),
            LogFormat::Json => logs.json().init(),
        }
    }
}

/// Two threads: the agent's loop may wait for the kernel while its servers answer.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}
