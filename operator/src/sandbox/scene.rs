//! What there is to plan with: the lab's facts, the cluster as each node's agent sees it, and the notes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use fairlead_model::select::Here;
use fairlead_model::{Cluster, Family, Selection, Service, ServiceName, ServicePort, select};

use super::ground::Ground;
use super::notes::Notes;
use super::plan::Plan;

/// Everything that a decision of the sandbox depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    /// The lab's facts.
    pub(super) ground: &'a Ground,
    /// The cluster as node-1, node-2, … see it: they differ in their own Node.
    pub(super) clusters: &'a [Cluster],
    /// The nodes that answer for addresses of pools.
    pub(super) owners: &'a BTreeMap<IpAddr, u8>,
    /// Notes on the manifests.
    pub(super) notes: &'a Notes,
}

impl<'a> Scene<'a> {
    /// The Services that are served, in the order of the manifests.
    pub(super) fn services(&self) -> Vec<&'a Arc<Service>> {
        let mut services: Vec<_> = self.clusters[0].services().collect();
        let place = |name: &ServiceName| self.notes.services().position(|note| note.name == *name);
        services.sort_by_key(|service| (place(&service.name).unwrap_or(usize::MAX), service.name.clone()));
        services
    }

    /// Every Service that may have slices, ignored ones too.
    pub(super) fn service_names(&self) -> BTreeSet<ServiceName> {
        let served = self.clusters[0].services().map(|service| service.name.clone());
        served
            .chain(self.notes.services().map(|note| note.name.clone()))
            .collect()
    }

    /// The cluster as a node sees it.
    pub(super) fn cluster(&self, node: u8) -> &'a Cluster {
        &self.clusters[usize::from(node) - 1]
    }

    /// The endpoints of a Service port, for a node.
    pub(super) fn selection(&self, node: u8, service: &Service, port: &ServicePort, family: Family) -> Selection {
        let cluster = self.cluster(node);
        let zone = cluster.node().and_then(|node| node.zone.as_deref());
        let here = Here {
            node: &self.ground.node(node).name,
            zone,
        };
        select(cluster.slices(&service.name), &port.name, port.protocol, family, here)
    }

    /// The name that is shown for an endpoint: that of the workload at its address.
    pub(super) fn name_of(&self, plan: &Plan, address: IpAddr) -> String {
        plan.name_of(address)
            .map(str::to_owned)
            .or_else(|| self.notes.pod_name(address).map(str::to_owned))
            .unwrap_or_else(|| address.to_string())
    }
}
