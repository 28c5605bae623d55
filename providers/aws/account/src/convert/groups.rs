//! Security groups and their rules.
//!
//! In security groups of others a rule of ours bears its mark in its description, since a rule has no tags where groups are described.

use std::collections::BTreeSet;

use aws_sdk_ec2::types as ec2;
use fairlead_aws::desired::{CLUSTER_TAG, Group, Rule, RuleProtocol, RuleSource};
use fairlead_aws::plan::ObservedSecurityGroup;
use ipnet::IpNet;

use super::{tags_of_ec2, text};

/// What marks the rules of a cluster. Not every character of a name may be in it.
pub(crate) fn mark(cluster: &str) -> String {
    let is_taken = |letter: &char| letter.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(*letter);
    let name = cluster
        .chars()
        .map(|letter| if is_taken(&letter) { letter } else { '_' });
    format!("{CLUSTER_TAG}={}", name.collect::<String>())
}

/// A security group.
pub(crate) fn security_group(found: &ec2::SecurityGroup) -> Option<ObservedSecurityGroup> {
    Some(ObservedSecurityGroup {
        id: found.group_id()?.to_owned(),
        name: text(found.group_name()),
        rules: rules(found).into_iter().map(|(rule, _)| rule).collect(),
        is_full: false,
        is_in_use: false,
        tags: tags_of_ec2(found.tags()),
    })
}

/// The rules of a group with a mark, and those without.
pub(crate) fn split_rules(found: &ec2::SecurityGroup, mark: &str) -> (BTreeSet<Rule>, BTreeSet<Rule>) {
    let (ours, others): (Vec<_>, Vec<_>) = rules(found)
        .into_iter()
        .partition(|(_, description)| description == mark);
    let all = |rules: Vec<(Rule, String)>| rules.into_iter().map(|(rule, _)| rule).collect();
    (all(ours), all(others))
}

/// Rules with their descriptions. What can be none of ours, such as all protocols at once, is left out.
fn rules(found: &ec2::SecurityGroup) -> Vec<(Rule, String)> {
    found.ip_permissions().iter().flat_map(rules_of_permission).collect()
}

fn rules_of_permission(permission: &ec2::IpPermission) -> Vec<(Rule, String)> {
    let Some(protocol) = protocol(permission) else {
        return Vec::new();
    };
    let range = |text: Option<&str>| Some(RuleSource::Range(text?.parse::<IpNet>().ok()?));
    let ipv4 = permission
        .ip_ranges()
        .iter()
        .map(|it| (range(it.cidr_ip()), it.description()));
    let ipv6 = permission
        .ipv6_ranges()
        .iter()
        .map(|it| (range(it.cidr_ipv6()), it.description()));
    let lists = permission.prefix_list_ids().iter().map(|it| {
        let list = it.prefix_list_id().map(str::to_owned);
        (list.map(RuleSource::PrefixList), it.description())
    });
    let groups = permission.user_id_group_pairs().iter().map(|it| {
        let id = it.group_id().map(str::to_owned);
        (id.map(|id| RuleSource::Group(Group::Id(id))), it.description())
    });
    let all = ipv4.chain(ipv6).chain(lists).chain(groups);
    all.filter_map(|(source, description)| {
        let source = source?;
        Some((Rule { protocol, source }, text(description)))
    })
    .collect()
}

fn protocol(permission: &ec2::IpPermission) -> Option<RuleProtocol> {
    let (from, to) = (permission.from_port()?, permission.to_port()?);
    let ports = || Some((u16::try_from(from).ok()?, u16::try_from(to).ok()?));
    match permission.ip_protocol()? {
        "tcp" | "6" => ports().map(|(from, to)| RuleProtocol::Tcp(from, to)),
        "udp" | "17" => ports().map(|(from, to)| RuleProtocol::Udp(from, to)),
        "icmp" | "1" if (from, to) == FRAGMENTATION_NEEDED => Some(RuleProtocol::IcmpFragmentationNeeded),
        "icmpv6" | "58" if (from, to) == PACKET_TOO_BIG => Some(RuleProtocol::Icmpv6PacketTooBig),
        _ => None,
    }
}

/// Type and code, in the place of ports.
const FRAGMENTATION_NEEDED: (i32, i32) = (3, 4);
const PACKET_TOO_BIG: (i32, i32) = (2, 0);

/// A rule as it is asked for. The groups in it have ids.
pub(crate) fn permission(rule: &Rule, mark: Option<&str>) -> ec2::IpPermission {
    let (word, (from, to)) = match rule.protocol {
        RuleProtocol::Tcp(from, to) => ("tcp", (from.into(), to.into())),
        RuleProtocol::Udp(from, to) => ("udp", (from.into(), to.into())),
        RuleProtocol::IcmpFragmentationNeeded => ("icmp", FRAGMENTATION_NEEDED),
        RuleProtocol::Icmpv6PacketTooBig => ("icmpv6", PACKET_TOO_BIG),
    };
    let mark = mark.map(str::to_owned);
    let permission = ec2::IpPermission::builder()
        .ip_protocol(word)
        .from_port(from)
        .to_port(to);
    let permission = match &rule.source {
        RuleSource::Range(range @ IpNet::V4(_)) => {
            let range = ec2::IpRange::builder().cidr_ip(range.to_string());
            permission.ip_ranges(range.set_description(mark).build())
        }
        RuleSource::Range(range @ IpNet::V6(_)) => {
            let range = ec2::Ipv6Range::builder().cidr_ipv6(range.to_string());
            permission.ipv6_ranges(range.set_description(mark).build())
        }
        RuleSource::PrefixList(list) => {
            let list = ec2::PrefixListId::builder().prefix_list_id(list);
            permission.prefix_list_ids(list.set_description(mark).build())
        }
        RuleSource::Group(Group::Id(id) | Group::Named(id)) => {
            let group = ec2::UserIdGroupPair::builder().group_id(id);
            permission.user_id_group_pairs(group.set_description(mark).build())
        }
    };
    permission.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> BTreeSet<Rule> {
        let protocols = [
            RuleProtocol::Tcp(80, 90),
            RuleProtocol::Udp(53, 53),
            RuleProtocol::IcmpFragmentationNeeded,
            RuleProtocol::Icmpv6PacketTooBig,
        ];
        let sources = [
            RuleSource::Range("10.0.0.0/8".parse().unwrap()),
            RuleSource::Range("2001:db8::/32".parse().unwrap()),
            RuleSource::PrefixList("pl-1".to_owned()),
            RuleSource::Group(Group::Id("sg-1".to_owned())),
        ];
        let rules = protocols.iter().flat_map(|protocol| {
            sources.iter().map(|source| Rule {
                protocol: *protocol,
                source: source.clone(),
            })
        });
        rules.collect()
    }

    fn group(rules: &BTreeSet<Rule>, mark: Option<&str>) -> ec2::SecurityGroup {
        let permissions = rules.iter().map(|rule| permission(rule, mark)).collect();
        ec2::SecurityGroup::builder()
            .group_id("sg-2")
            .set_ip_permissions(Some(permissions))
            .build()
    }

    #[test]
    fn what_is_asked_for_is_read_again() {
        let found = security_group(&group(&all(), None)).unwrap();
        assert_eq!(found.rules, all());
    }

    #[test]
    fn a_mark_tells_our_rules_from_others() {
        let marked = group(&all(), Some(&mark("production")));
        assert_eq!(split_rules(&marked, &mark("production")), (all(), BTreeSet::new()));
        assert_eq!(split_rules(&marked, &mark("staging")), (BTreeSet::new(), all()));
        let unmarked = group(&all(), None);
        assert_eq!(split_rules(&unmarked, &mark("production")), (BTreeSet::new(), all()));
    }

    #[test]
    fn a_mark_has_only_what_descriptions_may_have() {
        assert_eq!(mark("a.b-c/d"), "fairlead.io/cluster=a.b-c/d");
        assert_eq!(mark("ü<x>"), "fairlead.io/cluster=__x_");
    }

    #[test]
    fn a_rule_for_everything_is_none_of_ours() {
        let everything = ec2::IpPermission::builder()
            .ip_protocol("-1")
            .ip_ranges(ec2::IpRange::builder().cidr_ip("0.0.0.0/0").build());
        let found = ec2::SecurityGroup::builder()
            .group_id("sg-1")
            .ip_permissions(everything.build());
        assert_eq!(security_group(&found.build()).unwrap().rules, BTreeSet::new());
    }
}
