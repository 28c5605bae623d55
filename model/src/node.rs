//! Nodes.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;

use crate::ParseError;

/// What a proxy needs to know of its own node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// The first address of each family, InternalIP before ExternalIP: what `--nodeport-addresses primary` means.
    pub primary_ips: Vec<IpAddr>,
    /// False while it is being deleted or has taint `ToBeDeletedByClusterAutoscaler`: load balancers should not send it
    /// new connections.
    pub is_eligible: bool,
}

impl Node {
    /// Reads a Node.
    pub fn from_resource(node: &core::Node) -> Result<Self, ParseError> {
        let _ = node;
        todo!()
    }
}
