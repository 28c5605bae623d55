//! The measurement: start an agent, look at its memory, change endpoints.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fairlead_lab::{Addresses, Lab, wait_for};

use crate::agent::Agent;
use crate::cluster::{self, SERVICES};
use crate::harness::{Store, User};
use crate::tools::Tools;

const API_PORT: u16 = 6443;
const STARTS_WITHIN: Duration = Duration::from_mins(2);
const FOLLOWS_WITHIN: Duration = Duration::from_secs(10);
/// Long enough for the allocator to give back what the start needed.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// Endpoint changes that are timed one by one, and those whose CPU time is taken together.
const TIMED: u16 = 100;
const COUNTED: u16 = 300;

/// `USER_HZ` is 100 on every architecture that Linux has today.
const MILLISECONDS_PER_TICK: u64 = 10;

pub(crate) const HEAD: &str = "\
| lists | RSS at the first commit | RSS later | highest RSS | start → first commit | heard → committed (mean) | \
API request → committed p50 / p99 | CPU per change |
|---|---|---|---|---|---|---|---|";

/// One row of the table.
pub(crate) fn measure(name: &str, tools: &Tools) -> String {
    let lab = Lab::with_nodes(1).expect("a lab");
    let router = Addresses {
        v4: [172, 30, 0, 1].into(),
        v6: [0xfd00, 0x172, 0x30, 0, 0, 0, 0, 1].into(),
    };
    let store = Store::start(lab.lan(), router, tools);
    let server = store.serve(API_PORT);
    let began = Instant::now();
    cluster::create_all(server.client());
    eprintln!("{SERVICES} Services and their slices created in {:?}", began.elapsed());

    let kubeconfig = store.kubeconfig(User::Admin, router.v4.into(), API_PORT);
    let started = SystemTime::now();
    let mut agent = Agent::start(lab.node(1), &kubeconfig, store.folder());
    let committed = wait_for(STARTS_WITHIN, "the first commit", || committed_at(&agent)).expect("a commit");
    let start = committed.duration_since(started).expect("clocks go forward");
    let id = agent.process().id();
    let at_first = memory(id, "VmRSS");
    let settled = Instant::now();
    // Nothing tells when an allocator has given memory back.
    wait_for(SETTLES_WITHIN * 2, "time to pass", || {
        (settled.elapsed() >= SETTLES_WITHIN).then_some(())
    })
    .expect("time passes");
    let (later, highest) = (memory(id, "VmRSS"), memory(id, "VmHWM"));

    let event = |part: &str| {
        agent
            .metric(&format!("fairlead_event_to_commit_seconds_{part}"))
            .expect("a metric")
    };
    let before = (event("sum"), event("count"));
    let mut took: Vec<Duration> = (0..TIMED).map(|number| timed_change(&server, &agent, number)).collect();
    took.sort_unstable();
    let heard = (event("sum") - before.0) / (event("count") - before.1);

    let cpu = cpu_time(id);
    let mut committed = transactions(&agent);
    for number in 0..COUNTED {
        server.client().apply(&cluster::slice(5000 + number, 2));
    }
    wait_for(FOLLOWS_WITHIN, "the agent to rest", || {
        let now = transactions(&agent);
        let rests = now > committed && agent_rests(&agent);
        committed = now;
        rests.then_some(())
    })
    .expect("an end of changes");
    let cpu = cpu_time(id).saturating_sub(cpu) / u32::from(COUNTED);
    eprintln!(
        "log of the agent:\n{}",
        agent.log().lines().take(12).collect::<Vec<_>>().join("\n")
    );
    format!(
        "| {name} | {at_first:.1} MiB | {later:.1} MiB | {highest:.1} MiB | {start:.2?} | {:.2?} | {:.1?} / {:.1?} | {cpu:.2?} |",
        Duration::from_secs_f64(heard),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
    )
}

/// From before the request to the agent's commit.
fn timed_change(server: &crate::harness::ApiServer, agent: &Agent, number: u16) -> Duration {
    let before = transactions(agent);
    let asked = SystemTime::now();
    server.client().apply(&cluster::slice(number * 7, 1));
    wait_for(FOLLOWS_WITHIN, "the change", || {
        (transactions(agent) > before).then_some(())
    })
    .expect("a commit");
    let committed = committed_at(agent).expect("a commit");
    committed.duration_since(asked).expect("clocks go forward")
}

/// Whether everything that was heard is committed.
fn agent_rests(agent: &Agent) -> bool {
    let time = |name: &str| agent.metric(&format!("kubeproxy_sync_proxy_rules_{name}"));
    time("last_timestamp_seconds") >= time("last_queued_timestamp_seconds")
}

fn transactions(agent: &Agent) -> f64 {
    agent.metric("fairlead_transactions_total").unwrap_or_default()
}

/// When the agent last committed. The metric has a label for each family, and both are the same.
fn committed_at(agent: &Agent) -> Option<SystemTime> {
    let seconds = agent.metric("kubeproxy_sync_proxy_rules_last_timestamp_seconds")? / 2.0;
    (seconds > 0.0).then(|| UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// A field of a process's status, in MiB.
pub(crate) fn memory(id: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a running process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .expect("a field of the status");
    let kibibytes: f64 = line
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kibibytes / 1024.0
}

/// The CPU time that a process has used.
pub(crate) fn cpu_time(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("a running process");
    // The name of the program, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    let ticks: u64 = [11, 12]
        .iter()
        .map(|&field: &usize| fields[field].parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * MILLISECONDS_PER_TICK)
}
