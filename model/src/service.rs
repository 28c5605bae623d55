//! Services.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;

use crate::{ParseError, Protocol, ServiceName};

/// `internalTrafficPolicy` or `externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TrafficPolicy {
    /// Endpoints on every node.
    #[default]
    Cluster,
    /// Endpoints on the node that the connection arrives at.
    Local,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty if it has none.
    pub name: Arc<str>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port of the cluster IPs, external IPs and load balancer addresses; never 0.
    pub port: u16,
    /// The port of the node's addresses, if it has one; never 0.
    pub node_port: Option<u16>,
}

/// A health check port of a Service of type LoadBalancer with `externalTrafficPolicy: Local`; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HealthCheckNodePort(pub u16);

/// A Service that a proxy serves. Headless Services, ExternalName Services and those that belong to another proxy
/// (label `service.kubernetes.io/service-proxy-name`) never become one.
///
/// Addresses are of both families; a port belongs to a family only where the Service has a cluster IP of that family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ServiceName,
    /// `clusterIPs`, at least one.
    pub cluster_ips: Vec<IpAddr>,
    /// `externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Addresses of `status.loadBalancer.ingress` with `ipMode: VIP` or none; without those of mode Proxy and without
    /// host names.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `loadBalancerSourceRanges`, host bits cleared.
    pub source_ranges: Vec<IpNet>,
    /// Its ports, in the order of the object.
    pub ports: Vec<ServicePort>,
    /// How long a client stays with its endpoint, where `sessionAffinity` is `ClientIP`.
    pub affinity: Option<Duration>,
    /// Policy of the cluster IPs.
    pub internal_policy: TrafficPolicy,
    /// Policy of node ports, external IPs and load balancer addresses.
    pub external_policy: TrafficPolicy,
    /// The health check port, for type LoadBalancer with external policy Local.
    pub health_check_node_port: Option<HealthCheckNodePort>,
}

impl Service {
    /// Reads what a proxy needs of a Service: `None` if the Service is none of a proxy's business.
    ///
    /// Addresses and CIDRs with leading zeros are read as decimal, and white space around source ranges is cut, as
    /// kube-proxy does.
    pub fn from_resource(service: &core::Service) -> Result<Option<Self>, ParseError> {
        let _ = service;
        todo!()
    }
}
