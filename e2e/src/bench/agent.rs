//! `cargo e2e bench agent`: what an agent costs that follows a large cluster from a real API server.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use fairlead_lab::{Family, Lab, wait_for};

use super::cluster::{CLUSTER_CIDR, Cluster, Size};
use super::usage::{memory, usage};
use super::{Mebibytes, Seconds, build_fairlead};
use crate::control_plane::{API_PORT, ApiServer, Etcd, Proxy, Setup, Store, Tools, User};

const STARTS_WITHIN: Duration = Duration::from_mins(2);
const FOLLOWS_WITHIN: Duration = Duration::from_secs(10);
/// Long enough for the allocator to give back what the start needed. Nothing tells when it has.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// Endpoint changes that are timed one by one, and those whose CPU time is taken together.
const TIMED: usize = 99;
const COUNTED: u32 = 300;

const HEAD: &str = "\
| lists | RSS at the first commit | RSS later | highest RSS | start → first commit | heard → committed (mean) | \
API request → committed p50 / p99 | CPU per change |
|---|---|---|---|---|---|---|---|";

/// How the agent reads its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lists {
    /// As a stream, from an API server on an etcd of today.
    Streamed,
    /// In pages, from one on Debian's etcd.
    Pages,
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the agent reads its lists. Both, one after the other, if it is not said.
    #[arg(value_enum)]
    lists: Vec<Lists>,
    /// The cluster to measure with: Services, and endpoints of each.
    #[arg(long, value_name = "SERVICESxENDPOINTS", default_value = "10000x2")]
    size: Size,
}

impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Streamed => "streamed",
            Self::Pages => "in pages",
        })
    }
}

/// Measures, and prints a table. The process must not have started a thread yet.
pub fn run(args: &Args) -> Result<()> {
    let lists = match args.lists.as_slice() {
        [] => &[Lists::Streamed, Lists::Pages],
        chosen => chosen,
    };
    let tools: Vec<Tools> = lists
        .iter()
        .map(|lists| {
            Tools::find(match lists {
                Lists::Streamed => Etcd::Current,
                Lists::Pages => Etcd::Debian,
            })
        })
        .collect::<Result<_>>()?;
    let fairlead = build_fairlead()?;
    fairlead_lab::enter_user_namespace().context("the benchmark needs network namespaces")?;
    println!("{HEAD}");
    for (lists, tools) in lists.iter().zip(&tools) {
        println!("{}", measure(*lists, args.size, tools, &fairlead)?);
    }
    Ok(())
}

/// One row of the table.
fn measure(lists: Lists, size: Size, tools: &Tools, fairlead: &Path) -> Result<String> {
    let lab = Lab::with_nodes(1)?;
    let store = Store::start(&lab, tools)?;
    let server = store.serve(API_PORT)?;
    let began = Instant::now();
    let mut cluster = Cluster::create(size, server.client())?;
    eprintln!("{size} created in {}", Seconds::from(began.elapsed()));

    let kubeconfig = store.kubeconfig(User::Admin, Family::V4, API_PORT)?;
    let setup = Setup {
        cluster_cidr: CLUSTER_CIDR,
        ..Setup::new(lab.node(1), &kubeconfig, store.folder())
    };
    let started = SystemTime::now();
    let mut agent = Proxy::start_fairlead(fairlead, &setup)?;
    let committed = wait_for(STARTS_WITHIN, "the first commit", || agent.synced_at())?;
    let start = committed.duration_since(started).unwrap_or_default();
    let process = agent.process().id();
    let resident = |field| memory(process, field).context("the agent has ended");
    let at_first = resident("VmRSS")?;
    thread::sleep(SETTLES_WITHIN);
    let (later, highest) = (resident("VmRSS")?, resident("VmHWM")?);

    let event = |part: &str| {
        let metric = agent.metric(&format!("fairlead_event_to_commit_seconds_{part}"));
        metric.context("the agent has no such metric")
    };
    let before = (event("sum")?, event("count")?);
    let mut took = Vec::new();
    for _ in 0..TIMED {
        took.push(timed_change(&server, &mut cluster, &agent)?);
    }
    took.sort_unstable();
    let heard = (event("sum")? - before.0) / (event("count")? - before.1);

    let cpu = usage(process)?.cpu;
    let mut committed = transactions(&agent);
    for _ in 0..COUNTED {
        server.client().replace(&cluster.change())?;
    }
    wait_for(FOLLOWS_WITHIN, "the agent to rest", || {
        let now = transactions(&agent);
        let rests = now > committed && rests(&agent);
        committed = now;
        rests.then_some(())
    })?;
    let cpu = usage(process)?.cpu.saturating_sub(cpu) / COUNTED;
    let [start, p50, p99, cpu] = [start, took[took.len() / 2], took[took.len() * 99 / 100], cpu].map(Seconds::from);
    let [at_first, later, highest] = [at_first, later, highest].map(|Mebibytes(value)| format!("{value:.1} MiB"));
    Ok(format!(
        "| {lists} | {at_first} | {later} | {highest} | {start} | {} | {p50} / {p99} | {cpu} |",
        Seconds(heard),
    ))
}

/// From before the request to the agent's commit.
fn timed_change(server: &ApiServer, cluster: &mut Cluster, agent: &Proxy) -> Result<Duration> {
    let object = cluster.change();
    let asked = SystemTime::now();
    server.client().replace(&object)?;
    let committed = wait_for(FOLLOWS_WITHIN, "the change", || {
        agent.synced_at().filter(|at| *at > asked)
    })?;
    Ok(committed.duration_since(asked).unwrap_or_default())
}

/// Whether everything that was heard is committed.
fn rests(agent: &Proxy) -> bool {
    let time = |name: &str| agent.metric(&format!("kubeproxy_sync_proxy_rules_{name}"));
    time("last_timestamp_seconds") >= time("last_queued_timestamp_seconds")
}

fn transactions(agent: &Proxy) -> f64 {
    agent.metric("fairlead_transactions_total").unwrap_or_default()
}
