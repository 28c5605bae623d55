//! A lab of two nodes with pods, and an API server on its LAN.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) use fairlead_e2e::control_plane::API_PORT;
use fairlead_e2e::control_plane::{Proxy, Setup, Store, Tools, User};
use fairlead_lab::{Addresses, Answer, Family, Lab, Pod, Probe, Protocol, Server, wait_for};

use crate::objects::{POD_PORT, PORT};

/// How long a change may take until packets follow it, on a busy machine.
pub(crate) const FOLLOWS_WITHIN: Duration = Duration::from_mins(1);
/// Long enough for an answer in the lab, short enough to wait for one that does not come.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// So many questions to a Service with two endpoints meet both, but for one time in a billion.
const QUESTIONS: usize = 30;

/// Both nodes, and a pod that asks.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) visitor: Pod,
    pub(crate) lab: Lab,
}

/// A pod that answers over TCP and UDP.
pub(crate) struct Workload {
    pub(crate) pod: Pod,
    _servers: [Server; 2],
}

impl World {
    pub(crate) fn new(tools: &Tools) -> Self {
        let lab = Lab::with_nodes(2).unwrap();
        let store = Store::start(&lab, tools).unwrap();
        let visitor = lab.node(1).add_pod("visitor").unwrap();
        Self { store, visitor, lab }
    }

    pub(crate) fn workload(&self, node: u8, name: &str) -> Workload {
        let pod = self.lab.node(node).add_pod(name).unwrap();
        let servers = [Protocol::Tcp, Protocol::Udp].map(|protocol| pod.listen(protocol, POD_PORT).unwrap());
        Workload { pod, _servers: servers }
    }

    /// Starts the agent of a node. The second speaks IPv6 with the API server.
    pub(crate) fn agent(&self, node: u8) -> Proxy {
        let family = if node == 2 { Family::V6 } else { Family::V4 };
        let kubeconfig = self.store.kubeconfig(User::Agent, family, API_PORT).unwrap();
        start_agent(&Setup::new(self.lab.node(node), &kubeconfig, self.store.folder()))
    }

    /// Waits until the Service is answered by exactly these workloads, over both families and protocols.
    pub(crate) fn wait_for_servers(&self, service: Addresses, expected: &[&Workload]) {
        let expected: BTreeSet<_> = expected.iter().map(|workload| workload.pod.name().to_owned()).collect();
        for probe in probes(service) {
            let started = Instant::now();
            loop {
                let tally = probe.burst(&self.visitor, QUESTIONS);
                if tally.failed() == 0
                    && tally.servers().into_iter().map(str::to_owned).collect::<BTreeSet<_>>() == expected
                {
                    break;
                }
                assert!(
                    started.elapsed() < FOLLOWS_WITHIN,
                    "{} {} should be answered by {expected:?}: {:?} {:?}",
                    probe.protocol,
                    probe.target,
                    tally.replies,
                    tally.failures
                );
            }
        }
    }

    /// Waits until the Service is answered like this, over both families and protocols.
    pub(crate) fn wait_for_answer(&self, service: Addresses, expected: &Answer) {
        for probe in probes(service) {
            let mut last = None;
            let found = wait_for(FOLLOWS_WITHIN, "the answer", || {
                last = Some(probe.send(&self.visitor).answer);
                (last.as_ref() == Some(expected)).then_some(())
            });
            assert!(
                found.is_ok(),
                "{} {} should be {expected:?}: {last:?}",
                probe.protocol,
                probe.target
            );
        }
    }
}

/// Starts an agent.
pub(crate) fn start_agent(setup: &Setup<'_>) -> Proxy {
    Proxy::start_fairlead(env!("CARGO_BIN_EXE_fairlead").as_ref(), setup).unwrap()
}

/// The waits that the agent has announced in lines with this text, in seconds.
pub(crate) fn waits(agent: &Proxy, text: &str) -> Vec<f64> {
    let announced = agent.log_lines(text);
    let waits = announced.iter().filter_map(|line| {
        let wait = line.split_once("retry_in=")?.1.split(' ').next()?;
        match wait.strip_suffix("ms") {
            Some(milliseconds) => Some(milliseconds.parse::<f64>().ok()? / 1000.0),
            None => wait.strip_suffix('s')?.parse().ok(),
        }
    });
    waits.collect()
}

/// Questions to a Service over both families and protocols.
pub(crate) fn probes(service: Addresses) -> impl Iterator<Item = Probe> {
    let targets = service.both().into_iter();
    targets.flat_map(|address: IpAddr| {
        [Protocol::Tcp, Protocol::Udp].map(|protocol| Probe::new(protocol, (address, PORT)).within(ANSWERS_WITHIN))
    })
}

/// Waits for a condition.
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    fairlead_lab::wait_until(FOLLOWS_WITHIN, what, condition).unwrap();
}
