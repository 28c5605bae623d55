//! What the security groups of targets have to let in.
//!
//! They belong to nodes and pods and serve all Services, and each can have only so many rules. So they let in one security group that all
//! load balancers share, with one range of ports for each protocol.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_model::{Family, Protocol};
use ipnet::IpNet;

use crate::contract::{HealthCheckPort, ListenerProtocol, Settings, TargetType, value};

use super::{
    Group, LoadBalancer, Rule, RuleProtocol, RuleSource, SecurityGroups, Surroundings, Target, TargetGroup,
    backend_group_name, security_groups,
};

/// One load balancer needs this of one security group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendNeed {
    /// The targets' security group.
    pub group: String,
    /// What is to be let in.
    pub protocol: Protocol,
    /// To which port.
    pub port: u16,
    /// From where.
    pub source: RuleSource,
}

/// The rules that security groups of targets shall have of ours, by the group's id.
pub type BackendRules = BTreeMap<String, BTreeSet<Rule>>;

/// What a load balancer needs of its targets' security groups.
pub fn backend_needs(
    load_balancer: &LoadBalancer,
    settings: &Settings,
    around: Surroundings<'_>,
) -> BTreeSet<BackendNeed> {
    let mut needs = BTreeSet::new();
    for target_group in load_balancer.target_groups.values() {
        let sources = Sources::of(load_balancer, target_group, settings, around);
        for target in &target_group.targets {
            let Some(groups) = around.cluster.interface_groups.get(&target.id) else {
                continue;
            };
            let Some(group) = group_of_interface(groups, around) else {
                continue;
            };
            for (protocol, port, sources) in openings(target_group, target, &sources) {
                needs.extend(sources.iter().map(|source| BackendNeed {
                    group: group.to_owned(),
                    protocol,
                    port,
                    source: source.clone(),
                }));
            }
        }
    }
    needs
}

fn known(id: Option<&String>, name: impl FnOnce() -> String) -> Group {
    id.map_or_else(|| Group::Named(name()), |id| Group::Id(id.clone()))
}

/// Where connections and health checks come from.
struct Sources {
    clients: Vec<RuleSource>,
    health_checks: Vec<RuleSource>,
}

impl Sources {
    fn of(
        load_balancer: &LoadBalancer,
        target_group: &TargetGroup,
        settings: &Settings,
        around: Surroundings<'_>,
    ) -> Self {
        let groups = match &load_balancer.security_groups {
            _ if load_balancer.adopted.is_some() => {
                let groups = around
                    .existing
                    .map(|existing| existing.security_groups.clone())
                    .unwrap_or_default();
                if groups.is_empty() {
                    return Self::of_addresses(load_balancer, target_group, settings, around);
                }
                groups.into_iter().map(Group::Id).collect()
            }
            SecurityGroups::Managed { with_backend: true, .. } | SecurityGroups::Own { with_backend: true, .. } => {
                let name = || backend_group_name(&around.defaults.cluster);
                vec![known(around.cluster.backend_group.as_ref(), name)]
            }
            SecurityGroups::Managed { group, .. } => {
                let id = around.existing.and_then(|existing| existing.managed_group.as_ref());
                vec![known(id, || group.name.clone())]
            }
            SecurityGroups::Own { .. } => return Self::none(),
            SecurityGroups::None if !settings.security.manages_backend_rules => return Self::none(),
            SecurityGroups::None => return Self::of_addresses(load_balancer, target_group, settings, around),
        };
        let sources: Vec<_> = groups.into_iter().map(RuleSource::Group).collect();
        Self {
            clients: sources.clone(),
            health_checks: sources,
        }
    }

    const fn none() -> Self {
        Self {
            clients: Vec::new(),
            health_checks: Vec::new(),
        }
    }

    /// Without security groups, only addresses tell who comes.
    fn of_addresses(
        load_balancer: &LoadBalancer,
        target_group: &TargetGroup,
        settings: &Settings,
        around: Surroundings<'_>,
    ) -> Self {
        let is_of_family = |range: &IpNet| Family::of_net(range) == target_group.family;
        let adopted = around.existing.filter(|_| load_balancer.adopted.is_some());
        let is_in = |id: &String| match adopted {
            Some(existing) => existing.subnets.contains(id),
            None => load_balancer.subnets.iter().any(|mapping| mapping.subnet == *id),
        };
        let subnets = around.vpc.subnets.iter().filter(|subnet| is_in(&subnet.id));
        let ranges = subnets.flat_map(|subnet| {
            let ipv6 = subnet.ipv6.iter().copied().map(IpNet::from);
            subnet.ipv4.map(IpNet::from).into_iter().chain(ipv6)
        });
        let health_checks: Vec<_> = ranges.filter(is_of_family).map(RuleSource::Range).collect();
        let clients = if preserves_client_ip(target_group) {
            let ranges = security_groups::source_ranges(settings, load_balancer.scheme, around);
            let ranges = ranges.into_iter().filter(is_of_family).map(RuleSource::Range);
            let lists = settings
                .security
                .prefix_lists
                .iter()
                .cloned()
                .map(RuleSource::PrefixList);
            ranges.chain(lists).collect()
        } else {
            health_checks.clone()
        };
        Self { clients, health_checks }
    }
}

fn preserves_client_ip(group: &TargetGroup) -> bool {
    let said = group
        .attributes
        .get("preserve_client_ip.enabled")
        .and_then(|text| value::boolean(text));
    let is_tcp_only = matches!(group.protocol, ListenerProtocol::Tcp | ListenerProtocol::Tls);
    // AWS' defaults; with datagrams it cannot be switched off.
    !is_tcp_only || said.unwrap_or(group.target_type == TargetType::Instance)
}

/// What one target is to be reached at.
fn openings<'a>(group: &TargetGroup, target: &Target, sources: &'a Sources) -> Vec<(Protocol, u16, &'a [RuleSource])> {
    let transports = group.protocol.transports().iter();
    let mut openings: Vec<_> = transports
        .map(|protocol| (*protocol, target.port, &*sources.clients))
        .collect();
    let port = match group.health_check.port {
        HealthCheckPort::Traffic => target.port,
        HealthCheckPort::Number(port) => port,
    };
    openings.push((Protocol::Tcp, port, &*sources.health_checks));
    openings
}

/// The security group of an interface that gets the rules: the one that is tagged for the cluster, and if that does not say which, the
/// first by id.
fn group_of_interface<'a>(groups: &'a [String], around: Surroundings<'_>) -> Option<&'a str> {
    let tag = format!("kubernetes.io/cluster/{}", around.defaults.cluster);
    let is_tagged = |id: &&String| {
        let mut all = around.vpc.security_groups.iter();
        all.any(|group| group.id == **id && group.tags.contains_key(&tag))
    };
    let tagged = groups.iter().filter(is_tagged).min();
    tagged.or_else(|| groups.iter().min()).map(String::as_str)
}

/// The rules that come of all load balancers' needs: one range of ports for each group, protocol and source.
pub fn backend_rules<'a>(needs: impl IntoIterator<Item = &'a BackendNeed>) -> BackendRules {
    let mut ranges: BTreeMap<(&String, Protocol, &RuleSource), (u16, u16)> = BTreeMap::new();
    for need in needs {
        let key = (&need.group, need.protocol, &need.source);
        let range = ranges.entry(key).or_insert((need.port, need.port));
        *range = (range.0.min(need.port), range.1.max(need.port));
    }
    let mut rules = BackendRules::new();
    for ((group, protocol, source), (from, to)) in ranges {
        if let Some(protocol) = RuleProtocol::of_ports(protocol, from, to) {
            let source = source.clone();
            rules
                .entry(group.clone())
                .or_default()
                .insert(Rule { protocol, source });
        }
    }
    rules
}
