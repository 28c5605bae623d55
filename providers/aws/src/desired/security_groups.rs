//! Who may reach a load balancer.

use std::collections::BTreeSet;

use fairlead_model::Family;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::contract::annotation::{DISABLE_SECURITY_GROUPS, SECURITY_GROUPS};
use crate::contract::reader::Reader;
use crate::contract::value::go_list;
use crate::contract::{IpAddressType, Scheme, Settings};

use super::{ManagedGroup, Rule, RuleProtocol, RuleSource, SecurityGroups, Surroundings, names, tags};

const CONFLICT: &str = "conflicting security groups configuration";

pub(super) fn build(
    reader: &mut Reader<'_>,
    settings: &Settings,
    scheme: Scheme,
    around: Surroundings<'_>,
) -> SecurityGroups {
    let security = &settings.security;
    if settings.adoption.load_balancer.is_some() {
        return SecurityGroups::None;
    }
    // One that is to be replaced says nothing about the next.
    let existing = around.existing.filter(|existing| existing.scheme == scheme);
    if security.is_disabled {
        if existing.is_some_and(|existing| !existing.security_groups.is_empty()) {
            reader.fault(DISABLE_SECURITY_GROUPS, CONFLICT);
        }
        return SecurityGroups::None;
    }
    if existing.is_some_and(|existing| existing.security_groups.is_empty()) {
        if !security.groups.is_empty() {
            reader.fault(SECURITY_GROUPS, CONFLICT);
        }
        return SecurityGroups::None;
    }
    if security.groups.is_empty() {
        return SecurityGroups::Managed {
            group: ManagedGroup {
                name: names::security_group(reader.service, &around.defaults.cluster),
                rules: rules(reader, settings, scheme, around),
                tags: tags::of(reader.service, settings, around.defaults, "ManagedLBSecurityGroup"),
            },
            with_backend: around.defaults.has_backend_group,
        };
    }
    SecurityGroups::Own {
        groups: resolve(reader, &security.groups, around),
        with_backend: security.manages_backend_rules,
    }
}

fn resolve(reader: &mut Reader<'_>, named: &[String], around: Surroundings<'_>) -> Vec<String> {
    let mut groups = Vec::new();
    for text in named {
        let mut all = around.vpc.security_groups.iter();
        let found = all.find(|group| {
            if text.starts_with("sg-") {
                group.id == *text
            } else {
                group.tags.get("Name") == Some(text)
            }
        });
        groups.extend(found.map(|group| group.id.clone()));
    }
    if groups.len() != named.len() {
        let message = format!(
            "couldn't find all security groups, want: {}, found: {}",
            go_list(named),
            go_list(&groups)
        );
        reader.fault(SECURITY_GROUPS, message);
    }
    groups
}

/// Where clients may be. Without a word about it: everywhere, or in the VPC if the load balancer is internal.
pub(super) fn source_ranges(settings: &Settings, scheme: Scheme, around: Surroundings<'_>) -> Vec<IpNet> {
    let security = &settings.security;
    if !security.source_ranges.is_empty() {
        return security.source_ranges.clone();
    }
    if !security.prefix_lists.is_empty() {
        return Vec::new();
    }
    let has_ipv6 = settings.identity.ip_address_type == IpAddressType::Dualstack;
    let all = match scheme {
        Scheme::Internal => around.vpc.ranges.clone(),
        Scheme::InternetFacing => vec![Ipv4Net::default().into(), Ipv6Net::default().into()],
    };
    all.into_iter()
        .filter(|range| has_ipv6 || Family::of_net(range) == Family::V4)
        .collect()
}

fn rules(reader: &Reader<'_>, settings: &Settings, scheme: Scheme, around: Surroundings<'_>) -> BTreeSet<Rule> {
    let ranges = source_ranges(settings, scheme, around);
    let lists = settings
        .security
        .prefix_lists
        .iter()
        .cloned()
        .map(RuleSource::PrefixList);
    let sources: Vec<_> = ranges.iter().copied().map(RuleSource::Range).chain(lists).collect();
    let mut rules = BTreeSet::new();
    for port in &reader.service.ports {
        let Some(protocol) = RuleProtocol::of_ports(port.protocol, port.port, port.port) else {
            continue;
        };
        rules.extend(sources.iter().map(|source| Rule {
            protocol,
            source: source.clone(),
        }));
    }
    if settings.security.allows_path_mtu_discovery {
        rules.extend(ranges.iter().map(|range| Rule {
            protocol: match Family::of_net(range) {
                Family::V4 => RuleProtocol::IcmpFragmentationNeeded,
                Family::V6 => RuleProtocol::Icmpv6PacketTooBig,
            },
            source: RuleSource::Range(*range),
        }));
    }
    rules
}
