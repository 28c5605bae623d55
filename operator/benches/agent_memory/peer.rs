//! The same API server, the same Services, the same kernel: first the real kube-proxy, then the agent.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fairlead_lab::{Addresses, Lab, Node, wait_for};

use crate::agent::Agent;
use crate::cluster::{self, SERVICES};
use crate::harness::{ApiServer, Store, User};
use crate::measure::{cpu_time, memory};
use crate::tools::Tools;

const API_PORT: u16 = 6443;
/// kube-proxy loads about the square of the number of Services.
const STARTS_WITHIN: Duration = Duration::from_mins(10);
const FOLLOWS_WITHIN: Duration = Duration::from_secs(30);
/// Changes, one after the other.
const CHANGES: u16 = 20;

pub(crate) const HEAD: &str = "\
| 10,000 Services × 2 endpoints, one API server | start → first sync | one change, request → synced, p50 | CPU per change | RSS |
|---|---|---|---|---|";

struct Figures {
    start: Duration,
    change: Duration,
    cpu: Duration,
    memory: f64,
}

/// Two rows and their ratio.
pub(crate) fn compare(tools: &Tools) -> String {
    let lab = Lab::with_nodes(2).expect("a lab");
    let router = Addresses {
        v4: [172, 30, 0, 1].into(),
        v6: [0xfd00, 0x172, 0x30, 0, 0, 0, 0, 1].into(),
    };
    let store = Store::start(lab.lan(), router, tools);
    let server = store.serve(API_PORT);
    cluster::create_all(server.client());
    let kubeconfig = store.kubeconfig(User::Admin, router.v4.into(), API_PORT);
    for node in lab.nodes() {
        server.client().apply(&cluster::node(node));
    }

    let proxy = tools.kube_apiserver.with_file_name("kube-proxy");
    let kube_proxy = figures(&server, 1, || {
        let node = lab.node(1);
        let mut command = Command::new(&proxy);
        command
            .args([
                "--proxy-mode=nftables",
                "--cluster-cidr=10.244.0.0/16",
                "--conntrack-max-per-core=0",
            ])
            .args([
                "--conntrack-tcp-timeout-established=0s",
                "--conntrack-tcp-timeout-close-wait=0s",
            ])
            .arg(format!("--hostname-override={}", node.name()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()));
        Agent::run(node, command, store.folder())
    });
    let ours = figures(&server, 2, || {
        let node: &Node = lab.node(2);
        Agent::start(node, &kubeconfig, store.folder())
    });
    let row = |name: &str, it: &Figures| {
        format!(
            "| {name} | {:.2?} | {:.1?} | {:.2?} | {:.0} MiB |",
            it.start, it.change, it.cpu, it.memory
        )
    };
    let times = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    format!(
        "{}\n{}\n| ratio | {:.0}× | {:.0}× | {:.0}× | {:.1}× |",
        row("kube-proxy 1.37, nftables", &kube_proxy),
        row("fairlead agent", &ours),
        times(kube_proxy.start, ours.start),
        times(kube_proxy.change, ours.change),
        times(kube_proxy.cpu, ours.cpu),
        kube_proxy.memory / ours.memory,
    )
}

fn figures(server: &ApiServer, generation: u16, start: impl FnOnce() -> Agent) -> Figures {
    let started = SystemTime::now();
    let mut agent = start();
    let synced = wait_for(STARTS_WITHIN, "the first sync", || synced_after(&agent, started)).unwrap_or_else(|error| {
        let log = agent.log();
        panic!("{error}: {}", log.lines().rev().take(20).collect::<Vec<_>>().join("\n"))
    });
    let id = agent.process().id();
    let cpu = cpu_time(id);
    let mut took: Vec<Duration> = (0..CHANGES)
        .map(|number| {
            let asked = SystemTime::now();
            server.client().apply(&cluster::slice(number * 31, generation));
            let synced = wait_for(FOLLOWS_WITHIN, "the change", || synced_after(&agent, asked)).expect("a sync");
            synced.duration_since(asked).expect("clocks go forward")
        })
        .collect();
    took.sort_unstable();
    Figures {
        start: synced.duration_since(started).expect("clocks go forward"),
        change: took[took.len() / 2],
        cpu: cpu_time(id).saturating_sub(cpu) / u32::from(CHANGES),
        memory: memory(id, "VmRSS"),
    }
}

/// When the rules were last written, if that is after `moment`, with everything in them that was known. Both programs have
/// this metric; every Service is programmed by then, since both wait for complete lists.
fn synced_after(agent: &Agent, moment: SystemTime) -> Option<SystemTime> {
    let synced = agent.metric("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}")?;
    let at = UNIX_EPOCH + Duration::from_secs_f64(synced);
    (at > moment).then_some(at)
}

const _: () = assert!(SERVICES == 10_000, "the table's head says so");
