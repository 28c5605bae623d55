//! The choice of endpoints for one port of a Service, in one family, on one node.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{Endpoint, EndpointSlice, Family, Protocol};

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
    /// Not ready, and not serving either.
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
        self.candidates.iter().filter(|c| c.cluster.is_chosen()).map(|c| c.backend)
    }

    /// The endpoints of policy Local.
    pub fn local(&self) -> impl Iterator<Item = Backend> {
        self.candidates.iter().filter(|c| c.local.is_chosen()).map(|c| c.backend)
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
/// *Local set*: the same among the endpoints of this node, without hints; the two fallbacks are independent. If an address
/// and port comes twice, an endpoint that is not terminating beats one that is.
pub fn select<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    port_name: &str,
    protocol: Protocol,
    family: Family,
    here: Here<'_>,
) -> Selection {
    let _: Option<&Endpoint> = None;
    let _ = (slices.count(), port_name, protocol, family, here);
    todo!()
}
