//! Brings the lab's workloads in line with the plan.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use fairlead_lab::{Error, Lab, Namespace, Pod, Server};

use super::plan::{Home, Listener, Plan, Workload};
use super::traffic::lab_protocol;
use crate::chain::Chain;

/// The workloads that run.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    // Servers go before the pods that they are in.
    servers: BTreeMap<(Home, Listener), Server>,
    pods: BTreeMap<Home, Pod>,
}

impl Workloads {
    /// Starts what the plan has and is not there. Returns what cannot be started: a pod whose address another one still
    /// has, a port that is in use on a node.
    pub(super) fn start(&mut self, lab: &Lab, plan: &Plan) -> Vec<String> {
        let mut complaints = Vec::new();
        for (home, workload) in &plan.workloads {
            if let Err(error) = self.start_workload(lab, *home, workload) {
                complaints.push(format!("{}: {}", workload.name, Chain(&error)));
            }
        }
        complaints
    }

    fn start_workload(&mut self, lab: &Lab, home: Home, workload: &Workload) -> Result<(), Error> {
        let node = lab.node(home.node());
        let namespace: &Namespace = match home {
            Home::Node(_) => node,
            Home::Pod(_, addresses) => match self.pods.entry(home) {
                Entry::Occupied(pod) => pod.into_mut(),
                Entry::Vacant(place) => place.insert(node.add_pod_at(&workload.name, addresses)?),
            },
        };
        for listener in &workload.listeners {
            let key = (home, *listener);
            if self
                .servers
                .get(&key)
                .is_some_and(|server| server.name() == workload.name)
            {
                continue;
            }
            // A workload with another name must let go of the address first.
            self.servers.remove(&key);
            let address = (lab_protocol(listener.protocol), listener.address);
            match namespace.serve(&workload.name, &[address]) {
                Ok(server) => drop(self.servers.insert(key, server)),
                // Nothing is sent by a protocol that the kernel lacks, and the table says so.
                Err(Error::Unsupported { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends what the plan does not have.
    pub(super) fn end_others(&mut self, plan: &Plan) {
        self.servers.retain(|(home, listener), _| {
            plan.workloads
                .get(home)
                .is_some_and(|workload| workload.listeners.contains(listener))
        });
        self.pods.retain(|home, _| plan.workloads.contains_key(home));
    }

    /// How many pods run.
    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }
}
