//! Frontends and the claims on them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::{Family, Protocol, ServicePortName};

/// What a connection asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Frontend {
    /// A cluster IP, an external IP or a load balancer's address, with a port of the Service.
    Address(IpAddr, Protocol, u16),
    /// A node port, on every accepted address of the node.
    NodePort(Family, Protocol, u16),
}

/// Which endpoints a frontend leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// All that may be chosen: policy Cluster.
    Cluster,
    /// Those of this node: a cluster IP with `internalTrafficPolicy: Local`.
    InternalLocal,
    /// Those of this node, but all for connections from local pods and from the host: external, policy Local.
    ExternalLocal,
}

impl Route {
    /// Whether any connection may go to every chosen endpoint.
    pub(super) const fn uses_cluster_set(self) -> bool {
        matches!(self, Self::Cluster | Self::ExternalLocal)
    }

    /// Whether any connection may only go to local endpoints.
    pub(super) const fn uses_local_set(self) -> bool {
        matches!(self, Self::InternalLocal | Self::ExternalLocal)
    }
}

/// Which connections to a frontend are masqueraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Masquerade {
    /// All that no local pod began: cluster IPs.
    ClusterIp,
    /// All: external frontends with policy Cluster.
    Always,
    /// Those that the host itself began: external frontends with policy Local.
    Host,
}

/// The endpoints of one Service port in one family.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) owner: ServicePortName,
    pub(super) family: Family,
    /// The set of policy Cluster, by slot.
    pub(super) cluster: Vec<SocketAddr>,
    /// The set of policy Local, by slot.
    pub(super) local: Vec<SocketAddr>,
    pub(super) affinity: Option<Duration>,
    /// Which of the two sets some frontend leads to.
    pub(super) uses_cluster_set: bool,
    pub(super) uses_local_set: bool,
}

/// What a Service port wants done with connections to a frontend.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) frontend: Frontend,
    pub(super) target: Arc<Target>,
    pub(super) route: Route,
    pub(super) masquerade: Masquerade,
    /// The only sources that may connect, as disjoint ranges; none: all may.
    pub(super) sources: Option<Arc<[(IpAddr, IpAddr)]>>,
}

impl Claim {
    /// A Service has one claim for each of these.
    pub(super) fn key(&self) -> (Frontend, &ServicePortName) {
        (self.frontend, &self.target.owner)
    }
}
