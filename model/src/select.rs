//! The choice of endpoints for one port of a Service, in one family, on one node.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{Endpoint, EndpointSlice, Family, Protocol};

#[cfg(test)]
mod tests;

/// Address and port that a connection can be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend {
    /// The endpoint's address.
    pub address: IpAddr,
    /// The endpoint's port.
    pub port: u16,
    /// Whether it runs on this node.
    pub is_local: bool,
}

/// Why an endpoint is in a set or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is in the set.
    Chosen,
    /// It is in the set because no ready endpoint is there: it is terminating but still serving.
    ChosenTerminating,
    /// Not ready, nor serving while it terminates.
    NotReady,
    /// Not ready, terminating and still serving, but ready endpoints exist.
    Terminating,
    /// Its hints name other nodes, and this node has endpoints of its own.
    OtherNode,
    /// Its hints name other zones, and this zone has endpoints of its own.
    OtherZone,
    /// It runs on another node, and the policy is Local.
    NotLocal,
}

/// One endpoint with its standing in the two sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Address, port, locality.
    pub backend: Backend,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// The zone it runs in.
    pub zone: Option<Arc<str>>,
    /// Its `serving` condition: UDP conntrack entries to endpoints that serve are kept.
    pub is_serving: bool,
    /// Its `ready` condition: counts for the health check node port if it is local.
    pub is_ready: bool,
    /// Its standing in the set of policy Cluster.
    pub cluster: Standing,
    /// Its standing in the set of policy Local.
    pub local: Standing,
}

/// The endpoints of one Service port in one family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Every endpoint once, sorted by address and port.
    pub candidates: Vec<Candidate>,
}

impl Selection {
    /// The endpoints of policy Cluster. Empty only if nothing is ready and nothing is serving while it terminates.
    pub fn cluster(&self) -> impl Iterator<Item = Backend> {
        self.candidates
            .iter()
            .filter(|c| c.cluster.is_chosen())
            .map(|c| c.backend)
    }

    /// The endpoints of policy Local.
    pub fn local(&self) -> impl Iterator<Item = Backend> {
        self.candidates
            .iter()
            .filter(|c| c.local.is_chosen())
            .map(|c| c.backend)
    }
}

impl Standing {
    /// Whether the endpoint is in the set.
    pub const fn is_chosen(self) -> bool {
        matches!(self, Self::Chosen | Self::ChosenTerminating)
    }
}

/// The node that the choice is made for.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Its name.
    pub node: &'a str,
    /// Its zone, if it has one.
    pub zone: Option<&'a str>,
}

/// Chooses the endpoints for the Service port with this name and protocol (kube-proxy's rules: KEP-1669 for terminating
/// endpoints, KEP-2433 and KEP-3015 for hints).
///
/// *Cluster set*: the ready endpoints that hints allow; where none is ready, all that are serving while they terminate.
/// *Local set*: the same among the endpoints of this node, without hints; the two fallbacks are independent. If an
/// address and port comes twice, an endpoint that is not terminating beats one that is.
///
/// *Hints*: if every ready endpoint has node hints and one of them names this node, those that name it; else if every
/// ready endpoint has zone hints and one of them names this zone, those that name it; else all. Only hints count:
/// neither `spec.trafficDistribution` nor the zones of the endpoints do. What made the hints is not asked.
///
/// `spec.publishNotReadyAddresses` needs nothing here: for such a Service the controller that writes the slices says
/// `ready: true` of every endpoint, even of a terminating one, and only that condition is looked at.
///
/// The result does not depend on the order of the slices, except between two endpoints that differ in nothing but
/// hints, zone or another node's name; there the first one wins.
pub fn select<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    port_name: &str,
    protocol: Protocol,
    family: Family,
    here: Here<'_>,
) -> Selection {
    let mut endpoints = Vec::new();
    for slice in slices.filter(|slice| slice.family == family) {
        let ports = slice
            .ports
            .iter()
            .filter(|port| *port.name == *port_name && port.protocol == protocol);
        for port in ports.map(|port| port.port) {
            endpoints.extend(slice.endpoints.iter().map(|endpoint| (endpoint, port)));
        }
    }
    endpoints.sort_by_key(|(endpoint, port)| {
        (
            endpoint.address,
            *port,
            endpoint.is_terminating,
            !endpoint.is_ready,
            !endpoint.is_serving,
            !here.is_home_of(endpoint),
        )
    });
    endpoints.dedup_by_key(|(endpoint, port)| (endpoint.address, *port));

    let is_any_ready = endpoints.iter().any(|(endpoint, _)| endpoint.is_ready);
    let is_any_local_ready = endpoints
        .iter()
        .any(|(endpoint, _)| endpoint.is_ready && here.is_home_of(endpoint));
    let reach = Reach::from_hints(&endpoints, here);
    let candidates = endpoints.iter().map(|(endpoint, port)| {
        let is_local = here.is_home_of(endpoint);
        Candidate {
            backend: Backend {
                address: endpoint.address,
                port: *port,
                is_local,
            },
            node: endpoint.node.clone(),
            zone: endpoint.zone.clone(),
            is_serving: endpoint.is_serving,
            is_ready: endpoint.is_ready,
            cluster: match standing(endpoint, is_any_ready) {
                Standing::Chosen => reach.standing(endpoint, here),
                other => other,
            },
            local: if is_local {
                standing(endpoint, is_any_local_ready)
            } else {
                Standing::NotLocal
            },
        }
    });
    Selection {
        candidates: candidates.collect(),
    }
}

/// Where an endpoint stands by its conditions alone, in a set where some endpoint is ready or none is.
fn standing(endpoint: &Endpoint, is_any_ready: bool) -> Standing {
    match (
        endpoint.is_ready,
        endpoint.is_serving && endpoint.is_terminating,
        is_any_ready,
    ) {
        (true, _, _) => Standing::Chosen,
        (false, true, false) => Standing::ChosenTerminating,
        (false, true, true) => Standing::Terminating,
        (false, false, _) => Standing::NotReady,
    }
}

impl Here<'_> {
    fn is_home_of(self, endpoint: &Endpoint) -> bool {
        endpoint.node.as_deref() == Some(self.node)
    }

    fn is_hinted_by_node(self, endpoint: &Endpoint) -> bool {
        endpoint.node_hints.iter().any(|node| **node == *self.node)
    }

    fn is_hinted_by_zone(self, endpoint: &Endpoint) -> bool {
        self.zone
            .is_some_and(|here| endpoint.zone_hints.iter().any(|zone| **zone == *here))
    }
}

/// How far hints let this node's connections go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// To the endpoints that name this node.
    Node,
    /// To the endpoints that name this zone.
    Zone,
    /// To all.
    Everywhere,
}

impl Reach {
    fn from_hints(endpoints: &[(&Endpoint, u16)], here: Here<'_>) -> Self {
        let ready = || {
            endpoints
                .iter()
                .map(|(endpoint, _)| *endpoint)
                .filter(|endpoint| endpoint.is_ready)
        };
        if ready().any(|endpoint| here.is_hinted_by_node(endpoint)) && ready().all(|e| !e.node_hints.is_empty()) {
            Self::Node
        } else if ready().any(|endpoint| here.is_hinted_by_zone(endpoint)) && ready().all(|e| !e.zone_hints.is_empty())
        {
            Self::Zone
        } else {
            Self::Everywhere
        }
    }

    /// The standing of a ready endpoint.
    fn standing(self, endpoint: &Endpoint, here: Here<'_>) -> Standing {
        match self {
            Self::Node if !here.is_hinted_by_node(endpoint) => Standing::OtherNode,
            Self::Zone if !here.is_hinted_by_zone(endpoint) => Standing::OtherZone,
            Self::Node | Self::Zone | Self::Everywhere => Standing::Chosen,
        }
    }
}
