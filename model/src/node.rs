//! Nodes.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;

use crate::address::parse_address;
use crate::parse::Subject;
use crate::{Family, ParseError, intern};

#[cfg(test)]
mod tests;

/// What a proxy needs to know of its own node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNet>,
    /// The first address of each family, `InternalIP` before `ExternalIP`: what `--nodeport-addresses primary` means.
    pub primary_ips: Vec<IpAddr>,
    /// False while it is being deleted or has taint `ToBeDeletedByClusterAutoscaler`: load balancers should not send it
    /// new connections.
    pub is_eligible: bool,
}

impl Node {
    /// Reads a Node. Addresses of its status that are no IP addresses are skipped: the API does not check them.
    pub fn from_resource(node: &core::Node) -> Result<Self, ParseError> {
        let subject = Subject::in_cluster("Node", &node.metadata);
        let name = subject.subdomain_name()?;
        let labels = node.metadata.labels.as_ref();
        let zone = labels
            .and_then(|labels| labels.get("topology.kubernetes.io/zone"))
            .filter(|zone| !zone.is_empty());
        let spec = node.spec.as_ref();
        let taints = spec.into_iter().flat_map(|spec| spec.taints.iter().flatten());
        let is_tainted = taints
            .into_iter()
            .any(|taint| taint.key == "ToBeDeletedByClusterAutoscaler");
        Ok(Self {
            name,
            zone: zone.map(|zone| intern::text(zone)),
            pod_cidrs: spec.map_or_else(|| Ok(Vec::new()), |spec| pod_cidrs(subject, spec))?,
            primary_ips: primary_ips(node),
            is_eligible: node.metadata.deletion_timestamp.is_none() && !is_tainted,
        })
    }
}

/// `podCIDRs` or, where there are none, `podCIDR`, as objects older than dual stack have it.
fn pod_cidrs(subject: Subject<'_>, spec: &core::NodeSpec) -> Result<Vec<IpNet>, ParseError> {
    let all = spec.pod_cidrs.as_deref().unwrap_or_default();
    if all.is_empty() {
        let only = spec.pod_cidr.as_deref().filter(|text| !text.is_empty());
        return only
            .map(|text| subject.net(format_args!("spec.podCIDR"), text))
            .into_iter()
            .collect();
    }
    all.iter()
        .enumerate()
        .map(|(i, text)| subject.net(format_args!("spec.podCIDRs[{i}]"), text))
        .collect()
}

/// The first address, then the first one of the other family; every internal address counts before any external one.
fn primary_ips(node: &core::Node) -> Vec<IpAddr> {
    let written = node
        .status
        .as_ref()
        .and_then(|status| status.addresses.as_deref())
        .unwrap_or_default();
    let of_type = |type_: &'static str| {
        written
            .iter()
            .filter(move |address| address.type_ == type_)
            .filter_map(|address| parse_address(&address.address))
    };
    let mut primary: Vec<IpAddr> = Vec::new();
    for address in of_type("InternalIP").chain(of_type("ExternalIP")) {
        if primary
            .iter()
            .all(|earlier| Family::of(*earlier) != Family::of(address))
        {
            primary.push(address);
        }
    }
    primary
}
