//! Services.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;

use crate::parse::Subject;
use crate::{Family, ParseError, Protocol, ServiceName};

#[cfg(test)]
mod tests;

/// Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const DEFAULT_AFFINITY: Duration = Duration::from_hours(3);
/// The longest one that the API accepts.
const LONGEST_AFFINITY_SECONDS: i32 = 86_400;

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

/// A health check port of a Service of type `LoadBalancer` with `externalTrafficPolicy: Local`; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HealthCheckNodePort(pub u16);

/// A Service that a proxy serves. Headless Services, `ExternalName` Services and those that belong to another proxy
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
    /// The health check port, for type `LoadBalancer` with external policy Local.
    pub health_check_node_port: Option<HealthCheckNodePort>,
    /// Its UID, by which an event tells which object it is about. Kept only with a health check port, since nothing else of a
    /// Service makes events.
    pub uid: Option<Arc<str>>,
}

impl Service {
    /// Reads what a proxy needs of a Service: `None` if the Service is none of a proxy's business.
    ///
    /// Addresses and CIDRs with leading zeros are read as decimal, and white space around source ranges is cut, as
    /// kube-proxy does.
    pub fn from_resource(service: &core::Service) -> Result<Option<Self>, ParseError> {
        let Some(spec) = service.spec.as_ref().filter(|spec| is_served(service, spec)) else {
            return Ok(None);
        };
        let subject = Subject::in_namespace("Service", &service.metadata);
        let name = subject.service_name()?;
        let exposure = Exposure::read(subject, spec)?;
        let external_policy = match policy(
            subject,
            format_args!("spec.externalTrafficPolicy"),
            spec.external_traffic_policy.as_deref(),
        )? {
            // Without an external frontend there is nothing for the policy to rule over.
            _ if exposure == Exposure::ClusterIp && spec.external_ips.as_ref().is_none_or(Vec::is_empty) => {
                TrafficPolicy::Cluster
            }
            policy => policy,
        };
        let health_check_node_port = match (exposure, external_policy) {
            (Exposure::LoadBalancer, TrafficPolicy::Local) => subject
                .optional_port(format_args!("spec.healthCheckNodePort"), spec.health_check_node_port)?
                .map(HealthCheckNodePort),
            _ => None,
        };
        let uid = health_check_node_port.and(service.metadata.uid.as_deref());
        Ok(Some(Self {
            name,
            cluster_ips: cluster_ips(subject, spec)?,
            external_ips: external_ips(subject, spec)?,
            load_balancer_ips: match exposure {
                Exposure::LoadBalancer => load_balancer_ips(subject, service)?,
                Exposure::ClusterIp | Exposure::NodePort => Vec::new(),
            },
            source_ranges: source_ranges(subject, spec)?,
            ports: ports(subject, spec, exposure)?,
            affinity: affinity(subject, spec)?,
            internal_policy: policy(
                subject,
                format_args!("spec.internalTrafficPolicy"),
                spec.internal_traffic_policy.as_deref(),
            )?,
            external_policy,
            health_check_node_port,
            uid: uid.map(Arc::from),
        }))
    }

    /// The cluster IP of a family. The Service counts for a family only if it has one.
    pub fn cluster_ip(&self, family: Family) -> Option<IpAddr> {
        self.cluster_ips
            .iter()
            .copied()
            .find(|address| Family::of(*address) == family)
    }
}

/// Whether a Service has a selector. Kubernetes makes the slices of one that has by itself and mirrors Endpoints only
/// for one that has none (see [`EndpointSlice::from_endpoints`](crate::`EndpointSlice`::from_endpoints)).
pub fn has_selector(service: &core::Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .is_some_and(|selector| !selector.is_empty())
}

/// The types of Services that a proxy serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exposure {
    ClusterIp,
    NodePort,
    LoadBalancer,
}

impl Exposure {
    fn read(subject: Subject<'_>, spec: &core::ServiceSpec) -> Result<Self, ParseError> {
        match spec.type_.as_deref() {
            None | Some("" | "ClusterIP") => Ok(Self::ClusterIp),
            Some("NodePort") => Ok(Self::NodePort),
            Some("LoadBalancer") => Ok(Self::LoadBalancer),
            Some(other) => Err(subject.error(format_args!("spec.type"), format!("{other:?} is not a type of Service"))),
        }
    }
}

/// Whether the Service is a proxy's business, and this proxy's.
fn is_served(service: &core::Service, spec: &core::ServiceSpec) -> bool {
    let is_another_proxys = service
        .metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key("service.kubernetes.io/service-proxy-name"));
    let is_external_name = spec.type_.as_deref() == Some("ExternalName");
    let is_headless = cluster_ip_texts(spec)
        .next()
        .is_none_or(|(_, text)| matches!(text, "" | "None"));
    !is_another_proxys && !is_external_name && !is_headless
}

/// `clusterIPs` or, where there are none, `clusterIP`, as clients older than dual stack write it; with the place in
/// the list.
fn cluster_ip_texts(spec: &core::ServiceSpec) -> impl Iterator<Item = (Option<usize>, &str)> {
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    let only = spec.cluster_ip.as_deref().filter(|_| all.is_empty());
    all.iter()
        .enumerate()
        .map(|(i, text)| (Some(i), text.as_str()))
        .chain(only.map(|text| (None, text)))
}

fn cluster_ips(subject: Subject<'_>, spec: &core::ServiceSpec) -> Result<Vec<IpAddr>, ParseError> {
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(1);
    for (i, text) in cluster_ip_texts(spec) {
        let read = |field: std::fmt::Arguments<'_>| {
            let address = subject.address(field, text)?;
            let family = Family::of(address);
            if addresses.iter().any(|earlier| Family::of(*earlier) == family) {
                return Err(subject.error(field, format!("{text:?} is a second {family} address")));
            }
            Ok(address)
        };
        let address = match i {
            Some(i) => read(format_args!("spec.clusterIPs[{i}]")),
            None => read(format_args!("spec.clusterIP")),
        }?;
        addresses.push(address);
    }
    addresses.shrink_to_fit();
    Ok(addresses)
}

fn external_ips(subject: Subject<'_>, spec: &core::ServiceSpec) -> Result<Vec<IpAddr>, ParseError> {
    let texts = spec.external_ips.iter().flatten();
    distinct(
        texts
            .enumerate()
            .map(|(i, text)| subject.address(format_args!("spec.externalIPs[{i}]"), text)),
    )
}

fn load_balancer_ips(subject: Subject<'_>, service: &core::Service) -> Result<Vec<IpAddr>, ParseError> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status
        .into_iter()
        .flat_map(|status| status.ingress.iter().flatten())
        .enumerate();
    distinct(ingress.filter_map(|(i, entry)| {
        // An entry with a host name only is for clients outside; nothing can be captured for it.
        let text = entry.ip.as_deref().filter(|text| !text.is_empty())?;
        match entry.ip_mode.as_deref() {
            None | Some("VIP") => Some(subject.address(format_args!("status.loadBalancer.ingress[{i}].ip"), text)),
            Some("Proxy") => None,
            Some(other) => Some(Err(subject.error(
                format_args!("status.loadBalancer.ingress[{i}].ipMode"),
                format!("{other:?} is not VIP or Proxy"),
            ))),
        }
    }))
}

fn source_ranges(subject: Subject<'_>, spec: &core::ServiceSpec) -> Result<Vec<IpNet>, ParseError> {
    let texts = spec.load_balancer_source_ranges.iter().flatten();
    distinct(
        texts
            .enumerate()
            .map(|(i, text)| subject.net(format_args!("spec.loadBalancerSourceRanges[{i}]"), text.trim())),
    )
}

fn ports(subject: Subject<'_>, spec: &core::ServiceSpec, exposure: Exposure) -> Result<Vec<ServicePort>, ParseError> {
    let written = spec.ports.as_deref().unwrap_or_default();
    let mut ports: Vec<ServicePort> = Vec::with_capacity(written.len());
    for (i, port) in written.iter().enumerate() {
        let name = subject.port_name(
            format_args!("spec.ports[{i}].name"),
            port.name.as_deref().unwrap_or_default(),
        )?;
        let protocol = subject.protocol(format_args!("spec.ports[{i}].protocol"), port.protocol.as_deref())?;
        let number = subject.port(format_args!("spec.ports[{i}].port"), port.port)?;
        let node_port = match exposure {
            Exposure::ClusterIp => None,
            Exposure::NodePort | Exposure::LoadBalancer => {
                subject.optional_port(format_args!("spec.ports[{i}].nodePort"), port.node_port)?
            }
        };
        for earlier in ports.iter().filter(|earlier| earlier.protocol == protocol) {
            if earlier.name == name {
                return Err(subject.error(
                    format_args!("spec.ports[{i}].name"),
                    format!("{name:?} is the name of another {protocol} port of this Service"),
                ));
            }
            if earlier.port == number {
                return Err(subject.error(
                    format_args!("spec.ports[{i}].port"),
                    format!("{number} is another {protocol} port of this Service"),
                ));
            }
            if node_port.is_some_and(|node_port| earlier.node_port == Some(node_port)) {
                return Err(subject.error(
                    format_args!("spec.ports[{i}].nodePort"),
                    format!(
                        "{} is another {protocol} port of this Service",
                        node_port.unwrap_or_default()
                    ),
                ));
            }
        }
        ports.push(ServicePort {
            name,
            protocol,
            port: number,
            node_port,
        });
    }
    if ports.is_empty() {
        return Err(subject.error(
            format_args!("spec.ports"),
            "a Service with a cluster IP needs at least one port",
        ));
    }
    Ok(ports)
}

fn affinity(subject: Subject<'_>, spec: &core::ServiceSpec) -> Result<Option<Duration>, ParseError> {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => return Ok(None),
        Some("ClientIP") => {}
        Some(other) => {
            return Err(subject.error(
                format_args!("spec.sessionAffinity"),
                format!("{other:?} is not ClientIP or None"),
            ));
        }
    }
    let config = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref());
    let Some(seconds) = config.and_then(|config| config.timeout_seconds) else {
        return Ok(Some(DEFAULT_AFFINITY));
    };
    match u64::try_from(seconds) {
        Ok(timeout) if (1..=LONGEST_AFFINITY_SECONDS).contains(&seconds) => Ok(Some(Duration::from_secs(timeout))),
        _ => Err(subject.error(
            format_args!("spec.sessionAffinityConfig.clientIP.timeoutSeconds"),
            format!("{seconds} is not from 1 to {LONGEST_AFFINITY_SECONDS}"),
        )),
    }
}

fn policy(
    subject: Subject<'_>,
    field: std::fmt::Arguments<'_>,
    text: Option<&str>,
) -> Result<TrafficPolicy, ParseError> {
    match text {
        None | Some("" | "Cluster") => Ok(TrafficPolicy::Cluster),
        Some("Local") => Ok(TrafficPolicy::Local),
        Some(other) => Err(subject.error(field, format!("{other:?} is not Cluster or Local"))),
    }
}

/// Each value once, in the order of its first appearance.
fn distinct<T: PartialEq>(values: impl Iterator<Item = Result<T, ParseError>>) -> Result<Vec<T>, ParseError> {
    let mut kept = Vec::new();
    for value in values {
        let value = value?;
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept.shrink_to_fit();
    Ok(kept)
}
