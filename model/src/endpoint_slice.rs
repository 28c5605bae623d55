//! `EndpointSlices`, and Endpoints mirrored into them.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::parse::Subject;
use crate::{Family, ParseError, Protocol, ServiceName, intern};

mod mirror;
#[cfg(test)]
mod tests;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
const LAST_CHANGE_TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Namespace and name of an `EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SliceName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name within it.
    pub name: Arc<str>,
}

/// One port of a slice; ports without a number or without a name are left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlicePort {
    /// Name of the Service port it is for; empty for the port without a name.
    pub name: Arc<str>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The endpoints' port; never 0.
    pub port: u16,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The first of its addresses; further ones are ignored, as kube-proxy does.
    pub address: IpAddr,
    /// `conditions.ready`; true where it is absent.
    pub is_ready: bool,
    /// `conditions.serving`; true where it is absent.
    pub is_serving: bool,
    /// `conditions.terminating`; false where it is absent.
    pub is_terminating: bool,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// The zone it runs in. Only shown to people, never used to choose.
    pub zone: Option<Arc<str>>,
    /// `hints.forNodes`; empty where there are none.
    pub node_hints: Arc<[Arc<str>]>,
    /// `hints.forZones`; empty where there are none.
    pub zone_hints: Arc<[Arc<str>]>,
}

/// An `EndpointSlice` of a Service that a proxy serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub name: SliceName,
    /// The Service of label `kubernetes.io/service-name`.
    pub service: ServiceName,
    /// Family of its addresses.
    pub family: Family,
    /// Its ports.
    pub ports: Vec<SlicePort>,
    /// Its endpoints, in the order of the object; those of mirrored Endpoints by address.
    pub endpoints: Vec<Endpoint>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time` as microseconds since 1970.
    pub last_change_trigger_micros: Option<i64>,
}

impl EndpointSlice {
    /// Reads what a proxy needs of a slice: `None` for a slice without a Service, of address type FQDN, or with label
    /// `service.kubernetes.io/headless`.
    ///
    /// As kube-proxy does, it skips a port whose `name` is absent, which is not the same as empty. The API server fills
    /// the empty name in, so no slice that comes from one has such a port; a slice that comes from elsewhere needs
    /// [`default_port_names`] first.
    pub fn from_resource(slice: &discovery::EndpointSlice) -> Result<Option<Self>, ParseError> {
        let Some(service) = label(&slice.metadata, SERVICE_NAME).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        if label(&slice.metadata, HEADLESS).is_some() {
            return Ok(None);
        }
        let subject = Subject::in_namespace("EndpointSlice", &slice.metadata);
        let family = match slice.address_type.as_str() {
            "IPv4" => Family::V4,
            "IPv6" => Family::V6,
            "FQDN" => return Ok(None),
            other => {
                return Err(subject.error(
                    format_args!("addressType"),
                    format!("{other:?} is not IPv4, IPv6 or FQDN"),
                ));
            }
        };
        let namespace = subject.namespace()?;
        let service = subject.label(format_args!("metadata.labels[{SERVICE_NAME}]"), service)?;
        Ok(Some(Self {
            name: SliceName {
                namespace: Arc::clone(&namespace),
                name: subject.subdomain_name()?,
            },
            service: ServiceName {
                namespace,
                name: service,
            },
            family,
            ports: ports(subject, slice.ports.as_deref().unwrap_or_default())?,
            endpoints: endpoints(subject, family, &slice.endpoints)?,
            last_change_trigger_micros: last_change_trigger(&slice.metadata),
        }))
    }

    /// The slices that Kubernetes' mirroring controller makes of an Endpoints object: one per family and set of ports;
    /// none where label `endpointslice.kubernetes.io/skip-mirror` is true, for the Endpoints of a headless Service, and
    /// for those that only hold a leader election.
    ///
    /// The controller mirrors them only if the Service exists and has no selector; that is for the caller to know
    /// ([`has_selector`](crate::service::has_selector)). Unlike the controller, this one does not stop after 1000
    /// addresses. As there, an address that is not ready counts as serving, and the trigger time is not taken over.
    ///
    /// The slices' names hold a `~`, so they can never be the name of an object of its own.
    pub fn from_endpoints(endpoints: &core::Endpoints) -> Result<Vec<Self>, ParseError> {
        mirror::mirror(endpoints)
    }
}

/// Does to a slice's port names what the API server does when it stores the slice: an absent name becomes the empty
/// one.
pub fn default_port_names(slice: &mut discovery::EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        port.name.get_or_insert_default();
    }
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(key))
        .map(String::as_str)
}

fn last_change_trigger(metadata: &ObjectMeta) -> Option<i64> {
    let text = metadata.annotations.as_ref()?.get(LAST_CHANGE_TRIGGER_TIME)?;
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

fn ports(subject: Subject<'_>, written: &[discovery::EndpointPort]) -> Result<Vec<SlicePort>, ParseError> {
    let mut ports = Vec::with_capacity(written.len());
    for (i, port) in written.iter().enumerate() {
        let Some(name) = &port.name else { continue };
        let Some(number) = subject.optional_port(format_args!("ports[{i}].port"), port.port)? else {
            continue;
        };
        ports.push(SlicePort {
            name: subject.port_name(format_args!("ports[{i}].name"), name)?,
            protocol: subject.protocol(format_args!("ports[{i}].protocol"), port.protocol.as_deref())?,
            port: number,
        });
    }
    ports.shrink_to_fit();
    Ok(ports)
}

fn endpoints(
    subject: Subject<'_>,
    family: Family,
    written: &[discovery::Endpoint],
) -> Result<Vec<Endpoint>, ParseError> {
    let mut endpoints = Vec::with_capacity(written.len());
    for (i, endpoint) in written.iter().enumerate() {
        let Some(text) = endpoint.addresses.first() else {
            continue;
        };
        let address = subject.address(format_args!("endpoints[{i}].addresses[0]"), text)?;
        if Family::of(address) != family {
            return Err(subject.error(
                format_args!("endpoints[{i}].addresses[0]"),
                format!("{text:?} is not an {family} address, as addressType says"),
            ));
        }
        let conditions = endpoint.conditions.as_ref();
        let hints = endpoint.hints.as_ref();
        let nodes = hints.into_iter().flat_map(|hints| hints.for_nodes.iter().flatten());
        let zones = hints.into_iter().flat_map(|hints| hints.for_zones.iter().flatten());
        endpoints.push(Endpoint {
            address,
            is_ready: conditions.and_then(|conditions| conditions.ready).unwrap_or(true),
            is_serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(true),
            is_terminating: conditions
                .and_then(|conditions| conditions.terminating)
                .unwrap_or(false),
            node: endpoint.node_name.as_deref().map(intern::text),
            zone: endpoint.zone.as_deref().map(intern::text),
            node_hints: intern::list(nodes.map(|node| node.name.as_str())),
            zone_hints: intern::list(zones.map(|zone| zone.name.as_str())),
        });
    }
    endpoints.shrink_to_fit();
    Ok(endpoints)
}
