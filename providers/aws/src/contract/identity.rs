use std::collections::BTreeMap;

use super::reader::Reader;
use super::{Defaults, Exposure, IpAddressType, Scheme, TargetType, annotation};

/// What a load balancer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that it shall have when it is made.
    pub name: Option<String>,
    /// Where it shall be reachable from; `None`: as it is, or by default.
    pub scheme: Option<Scheme>,
    /// The addresses that it has.
    pub ip_address_type: IpAddressType,
    /// What it sends to.
    pub target_type: TargetType,
    /// The Service's tags and the provider's for all that is made.
    pub tags: BTreeMap<String, String>,
    /// Other clusters have targets in its target groups too.
    pub is_shared_by_clusters: bool,
}

impl Identity {
    pub(super) fn read(reader: &mut Reader<'_>, defaults: &Defaults) -> Self {
        Self {
            name: name(reader),
            scheme: scheme(reader),
            ip_address_type: ip_address_type(reader),
            target_type: target_type(reader, defaults.target_type),
            tags: tags(reader, defaults),
            is_shared_by_clusters: reader.boolean(annotation::MULTI_CLUSTER).unwrap_or_default(),
        }
    }
}

const LONGEST_NAME: usize = 32;

fn name(reader: &mut Reader<'_>) -> Option<String> {
    let name = reader.text(annotation::NAME).filter(|name| !name.is_empty())?;
    if name.chars().count() > LONGEST_NAME {
        let message = format!("load balancer name cannot be longer than {LONGEST_NAME} characters");
        reader.fault(annotation::NAME, message);
    }
    let is_of_letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_of_letters || name.starts_with('-') || name.ends_with('-') || name.starts_with("internal-") {
        reader.fault(
            annotation::NAME,
            format!(
                "load balancer name {name} must have letters, digits and hyphens only, no hyphen at its ends, and not begin with internal-"
            ),
        );
    }
    Some(name.to_owned())
}

fn scheme(reader: &mut Reader<'_>) -> Option<Scheme> {
    if let Some(text) = reader.text(annotation::SCHEME) {
        return match text {
            "internal" => Some(Scheme::Internal),
            "internet-facing" => Some(Scheme::InternetFacing),
            other => {
                reader.fault(annotation::SCHEME, format!("unknown scheme: {other}"));
                None
            }
        };
    }
    let is_internal = reader.boolean(annotation::INTERNAL)?;
    Some(if is_internal {
        Scheme::Internal
    } else {
        Scheme::InternetFacing
    })
}

fn ip_address_type(reader: &mut Reader<'_>) -> IpAddressType {
    match reader.text(annotation::IP_ADDRESS_TYPE) {
        None | Some("ipv4") => IpAddressType::Ipv4,
        Some("dualstack") => IpAddressType::Dualstack,
        Some(other) => {
            reader.fault(annotation::IP_ADDRESS_TYPE, format!("unknown IPAddressType: {other}"));
            IpAddressType::Ipv4
        }
    }
}

/// The type of targets, with what each needs of the Service.
fn target_type(reader: &mut Reader<'_>, default: TargetType) -> TargetType {
    let target_type = match (reader.text(annotation::TARGET_TYPE), reader.text(annotation::TYPE)) {
        // The oldest form of the annotation says both.
        (Some("ip"), _) | (None, Some("nlb-ip")) => TargetType::Ip,
        (Some("instance"), _) => TargetType::Instance,
        (None, _) => default,
        (Some(other), _) => {
            reader.fault(annotation::TARGET_TYPE, format!("unknown target type: {other}"));
            return default;
        }
    };
    if target_type == TargetType::Ip {
        return target_type;
    }
    let service = reader.service;
    if service.exposure == Exposure::ClusterIp {
        reader.fault(
            annotation::TARGET_TYPE,
            format!(
                r#"unsupported service type "{}" for load balancer target type "instance""#,
                service.exposure.word()
            ),
        );
    } else if service.ports.iter().any(|port| port.node_port.is_none()) {
        let message = if service.allocates_node_ports {
            "TargetGroup port is empty. When using Instance targets, your service be must of type 'NodePort' or 'LoadBalancer'"
        } else {
            "unable to support instance target type with an unallocated NodePort"
        };
        reader.fault(annotation::TARGET_TYPE, message);
    }
    target_type
}

fn tags(reader: &mut Reader<'_>, defaults: &Defaults) -> BTreeMap<String, String> {
    let mut tags = reader.map(annotation::TAGS);
    for key in tags.keys().filter(|key| defaults.external_managed_tags.contains(*key)) {
        let message = format!("external managed tag key {key} cannot be specified on Service");
        reader.fault(annotation::TAGS, message);
    }
    tags.extend(defaults.tags.clone());
    tags
}
