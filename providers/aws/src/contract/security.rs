use ipnet::IpNet;

use super::reader::Reader;
use super::settings::{choices, on_or_off};
use super::{Defaults, IpAddressType, annotation};

/// Who may reach a load balancer, and whether its targets let it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Security groups of the user's own, by id or by the value of their tag `Name`; empty: one is made.
    pub groups: Vec<String>,
    /// Where clients may be; empty: everywhere, or only where `prefix_lists` says. Without effect if the user brings groups.
    pub source_ranges: Vec<IpNet>,
    /// Lists of further such ranges.
    pub prefix_lists: Vec<String>,
    /// Whether the targets' security groups are to let the load balancer in.
    pub manages_backend_rules: bool,
    /// It has no security groups at all.
    pub is_disabled: bool,
    /// Whether the rules hold for what comes by `PrivateLink` too; `None` without a word about it.
    pub applies_to_private_link: Option<bool>,
    /// Whether the ICMP messages are let in by which clients find the path's MTU.
    pub allows_path_mtu_discovery: bool,
}

impl Security {
    pub(super) fn read(reader: &mut Reader<'_>, defaults: &Defaults, kind: IpAddressType) -> Self {
        let groups = reader.list(annotation::SECURITY_GROUPS);
        Self {
            source_ranges: if groups.is_empty() {
                source_ranges(reader, kind)
            } else {
                Vec::new()
            },
            prefix_lists: reader.list(annotation::PREFIX_LISTS),
            manages_backend_rules: manages_backend_rules(reader, defaults, !groups.is_empty()),
            is_disabled: reader.boolean(annotation::DISABLE_SECURITY_GROUPS).unwrap_or_default(),
            applies_to_private_link: private_link(reader),
            allows_path_mtu_discovery: reader.text(annotation::PATH_MTU_DISCOVERY) == Some("on"),
            groups,
        }
    }
}

const SPEC_SOURCE_RANGES: &str = "spec.loadBalancerSourceRanges";

/// The field wins over the annotation.
fn source_ranges(reader: &mut Reader<'_>, kind: IpAddressType) -> Vec<IpNet> {
    let written = &reader.service.source_ranges;
    let (place, texts) = if written.is_empty() {
        let place = format!("annotation {}{}", annotation::PREFIX, annotation::SOURCE_RANGES);
        (place, reader.list(annotation::SOURCE_RANGES))
    } else {
        let texts = written.iter().map(|text| text.trim().to_owned());
        (SPEC_SOURCE_RANGES.to_owned(), texts.collect())
    };
    let mut ranges = Vec::new();
    for text in texts {
        match text.parse::<IpNet>() {
            Ok(IpNet::V6(_)) if kind == IpAddressType::Ipv4 => {
                reader.fault_at(&place, format!("unsupported v6 cidr {text} when lb is not dualstack"));
            }
            Ok(range) if ranges.contains(&range.trunc()) => {}
            Ok(range) => ranges.push(range.trunc()),
            Err(_) => reader.fault_at(&place, format!("{text} is not a CIDR")),
        }
    }
    ranges
}

fn manages_backend_rules(reader: &mut Reader<'_>, defaults: &Defaults, has_own_groups: bool) -> bool {
    let asked = reader.boolean(annotation::MANAGE_BACKEND_RULES);
    if !has_own_groups {
        return asked.unwrap_or(true);
    }
    let is_wanted = asked.unwrap_or(defaults.manages_backend_rules);
    if is_wanted && !defaults.has_backend_group {
        reader.fault(
            annotation::MANAGE_BACKEND_RULES,
            "backendSG feature is required to manage worker node SG rules when frontendSG is manually specified",
        );
    }
    is_wanted
}

fn private_link(reader: &mut Reader<'_>) -> Option<bool> {
    let text = reader.text(annotation::PRIVATE_LINK_RULES)?;
    let is_on = on_or_off(text);
    if is_on.is_none() {
        reader.fault(
            annotation::PRIVATE_LINK_RULES,
            format!(
                "Invalid value for securityGroupsInboundRulesOnPrivateLink status: {text}, value must be one of {}",
                choices(&["on", "off"])
            ),
        );
    }
    is_on
}
