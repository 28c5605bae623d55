//! What was seen of the cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fairlead_model::Protocol;

use crate::contract::Service;

/// The parts of a cluster that matter to a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// The endpoints of Services in the namespace.
    pub endpoints: BTreeMap<PortKey, Vec<Endpoint>>,
    /// The other Services of the namespace that listeners can send to, by name.
    pub services: BTreeMap<String, Service>,
    /// The security groups of the interfaces that targets have, by the instance's id or by the address.
    pub interface_groups: BTreeMap<String, Vec<String>>,
    /// The shared security group of all load balancers, once it is there.
    pub backend_group: Option<String>,
}

/// One port of a Service of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// The Service's name.
    pub service: String,
    /// The port's name; empty for the only port without one.
    pub port: String,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `spec.providerID`
    pub provider_id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Whether it is being deleted.
    pub is_deleting: bool,
}

/// A taint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its effect.
    pub effect: String,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whether it is ready, or waits only for the load balancer to find it healthy.
    pub is_ready: bool,
    /// Whether it is going.
    pub is_terminating: bool,
    /// The pod's QUIC server id, if it has one.
    pub quic_server_id: Option<String>,
}
