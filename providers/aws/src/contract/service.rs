use std::collections::BTreeMap;

use fairlead_model::{Family, Protocol, ServiceName, TrafficPolicy};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The type of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// It has cluster IPs only.
    ClusterIp,
    /// It has node ports.
    NodePort,
    /// It asks for a load balancer.
    LoadBalancer,
}

impl Exposure {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// The port of the pods behind a Service's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// The same for all pods.
    Number(u16),
    /// Each pod says which port has this name.
    Name(String),
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
    /// The pods' port.
    pub target: TargetPort,
    /// The nodes' port, if it has one.
    pub node_port: Option<u16>,
}

/// What the contract reads of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ServiceName,
    /// Its UID, which goes into names.
    pub uid: String,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its type.
    pub exposure: Exposure,
    /// Its ports, in the order of the object.
    pub ports: Vec<Port>,
    /// Its IP families.
    pub families: Vec<Family>,
    /// `loadBalancerSourceRanges`, as written.
    pub source_ranges: Vec<String>,
    /// `externalTrafficPolicy`.
    pub external_policy: TrafficPolicy,
    /// `healthCheckNodePort`, if it has one.
    pub health_check_node_port: Option<u16>,
    /// `allocateLoadBalancerNodePorts`.
    pub allocates_node_ports: bool,
}

impl Service {
    /// Reads a Service as the API server gives it: `None` where it is of type `ExternalName` or has no name, UID or ports.
    pub fn from_resource(service: &core::Service) -> Option<Self> {
        let metadata = &service.metadata;
        let spec = service.spec.as_ref()?;
        let ports: Vec<_> = spec.ports.iter().flatten().filter_map(port).collect();
        let families = spec.ip_families.iter().flatten();
        Some(Self {
            name: ServiceName::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?),
            uid: metadata.uid.clone()?,
            annotations: metadata.annotations.clone().unwrap_or_default(),
            exposure: match spec.type_.as_deref() {
                None | Some("" | "ClusterIP") => Exposure::ClusterIp,
                Some("NodePort") => Exposure::NodePort,
                Some("LoadBalancer") => Exposure::LoadBalancer,
                Some(_) => return None,
            },
            families: families
                .map(|family| match family.as_str() {
                    "IPv6" => Family::V6,
                    _ => Family::V4,
                })
                .collect(),
            source_ranges: spec.load_balancer_source_ranges.clone().unwrap_or_default(),
            external_policy: match spec.external_traffic_policy.as_deref() {
                Some("Local") => TrafficPolicy::Local,
                _ => TrafficPolicy::Cluster,
            },
            health_check_node_port: spec.health_check_node_port.and_then(number),
            allocates_node_ports: spec.allocate_load_balancer_node_ports.unwrap_or(true),
            ports: Some(ports).filter(|ports| !ports.is_empty())?,
        })
    }

    /// The port of this name or number.
    pub fn port(&self, name_or_number: &str) -> Option<&Port> {
        let by_name = self
            .ports
            .iter()
            .find(|port| !port.name.is_empty() && port.name == name_or_number);
        by_name.or_else(|| self.ports.iter().find(|port| port.port.to_string() == name_or_number))
    }
}

fn port(port: &core::ServicePort) -> Option<Port> {
    let number_of_port = number(port.port)?;
    Some(Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        port: number_of_port,
        target: match &port.target_port {
            Some(IntOrString::Int(target)) if *target != 0 => TargetPort::Number(number(*target)?),
            Some(IntOrString::String(name)) if !name.is_empty() => TargetPort::Name(name.clone()),
            _ => TargetPort::Number(number_of_port),
        },
        node_port: port.node_port.and_then(number),
    })
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}
