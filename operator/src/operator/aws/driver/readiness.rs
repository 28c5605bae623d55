//! Readiness gates of pods that wait for load balancers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairlead_aws::account::{Account, Known};
use fairlead_aws::contract::TargetType;
use fairlead_model::ServiceName;
use tokio::time::Instant;

use super::super::gates::{self, Condition, Group};
use super::{Done, Driver};
use crate::chain::Chain;

/// Between two looks at the health of targets that pods wait for.
pub(super) const GATES_PAUSE: Duration = Duration::from_secs(15);

/// Readiness gates.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// Services whose pods wait, and when to look.
    pub(super) due: BTreeMap<ServiceName, Instant>,
    pub(super) busy: BTreeSet<ServiceName>,
    /// What was written, by the pod's UID and the gate.
    pub(super) written: BTreeMap<(String, String), Condition>,
}

pub(super) struct WaitingPod {
    pub(super) name: ServiceName,
    pub(super) uid: String,
    pub(super) gates: Vec<String>,
    pub(super) addresses: BTreeSet<std::net::IpAddr>,
}

impl<A: Account + 'static> Driver<A> {
    /// The target groups of a Service whose targets are pods, by name.
    pub(super) fn groups_of_pods(&self, key: &ServiceName) -> BTreeMap<String, String> {
        let owner = self.owner(key);
        let groups = self.hands.account.read(|snapshot| {
            let observed = snapshot.observed(&owner, Known::default());
            observed.target_groups
        });
        let of_pods = groups.into_iter().filter(|group| group.target_type == TargetType::Ip);
        of_pods.map(|group| (group.name, group.arn)).collect()
    }

    /// The pods of a Service that wait for its load balancer, with the gates that are closed.
    pub(super) fn waiting_pods(&self, key: &ServiceName) -> Vec<WaitingPod> {
        let pods = self.inputs.gated_pods(key);
        if pods.is_empty() || self.entries.get(key).is_none_or(|entry| entry.service.is_none()) {
            return Vec::new();
        }
        let groups = self.groups_of_pods(key);
        let waiting = pods.into_iter().filter_map(|(name, (pod, addresses))| {
            let closed = pod.gates.iter().filter(|(_, is_open)| !**is_open).map(|(gate, _)| gate);
            let gates: Vec<_> = closed
                .filter(|gate| gates::may_concern(gate, &key.name, groups.keys()))
                .cloned()
                .collect();
            (!gates.is_empty()).then(|| WaitingPod {
                name,
                uid: pod.uid.clone().unwrap_or_default(),
                gates,
                addresses,
            })
        });
        waiting.collect()
    }

    pub(super) fn rest(&mut self, key: &ServiceName, now: Instant) {
        if !self.waiting_pods(key).is_empty() && !self.gates.busy.contains(key) {
            self.gates.due.entry(key.clone()).or_insert(now);
        }
    }

    pub(super) fn open_gates(&mut self, now: Instant) {
        let due: Vec<_> = self
            .gates
            .due
            .iter()
            .filter(|(_, due)| **due <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.gates.due.remove(&key);
            let (pods, groups) = (self.waiting_pods(&key), self.groups_of_pods(&key));
            if pods.is_empty() || groups.is_empty() {
                continue;
            }
            let hands = self.hands.clone();
            let written = self.gates.written.clone();
            self.gates.busy.insert(key.clone());
            let service = key.name.to_string();
            self.running.spawn(async move {
                let mut found = Vec::new();
                for (name, arn) in groups {
                    match hands.account.health(&arn).await {
                        Ok(health) => found.push(Group { name, health }),
                        Err(error) => {
                            hands.counters.failed(error.reason);
                            tracing::warn!(target_group = name, error = %Chain(&error), "cannot ask for the health of targets");
                        }
                    }
                }
                let mut done = Vec::new();
                for pod in pods {
                    for gate in &pod.gates {
                        let concerns = gates::concerns(gate, &service, &found);
                        let condition = gates::condition(&concerns, &pod.addresses);
                        let id = (pod.uid.clone(), gate.clone());
                        if written.get(&id) == Some(&condition) {
                            continue;
                        }
                        if hands.write_gate(&pod.name, Some(&pod.uid), gate, &condition).await {
                            done.push((id.0, id.1, condition));
                        }
                    }
                }
                Done::Gates(key, done)
            });
        }
    }
}
