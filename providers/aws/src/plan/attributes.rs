//! Attributes, and what AWS has where nobody says anything.

use std::collections::BTreeMap;

use crate::contract::{ListenerProtocol, TargetType};

type Attributes = BTreeMap<String, String>;

/// Whoever switches this on has a reason, and only a Service that says so switches it off.
pub(super) const DELETION_PROTECTION: &str = "deletion_protection.enabled";

/// The defaults of attributes that are the same everywhere.
const LOAD_BALANCER: [(&str, &str); 7] = [
    (DELETION_PROTECTION, "false"),
    ("access_logs.s3.enabled", "false"),
    ("access_logs.s3.prefix", ""),
    ("load_balancing.cross_zone.enabled", "false"),
    ("dns_record.client_routing_policy", "any_availability_zone"),
    ("zonal_shift.config.enabled", "false"),
    ("secondary_ips.auto_assigned.per_subnet", "0"),
];

const TARGET_GROUP: [(&str, &str); 11] = [
    ("deregistration_delay.timeout_seconds", "300"),
    ("stickiness.enabled", "false"),
    ("stickiness.type", "source_ip"),
    ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration"),
    ("proxy_protocol_v2.enabled", "false"),
    ("target_group_health.dns_failover.minimum_healthy_targets.count", "1"),
    (
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        "off",
    ),
    (
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
    ),
    (
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
    ),
    ("target_health_state.unhealthy.connection_termination.enabled", "true"),
    ("target_health_state.unhealthy.draining_interval_seconds", "0"),
];

const LISTENER: [(&str, &str); 1] = [("tcp.idle_timeout.seconds", "350")];

fn of_table<'a>(table: &'a [(&str, &'a str)], key: &str) -> Option<&'a str> {
    table.iter().find(|(named, _)| *named == key).map(|(_, value)| *value)
}

/// What is to be set so that a load balancer's attributes are those that are wanted, and others at their defaults.
pub(super) fn of_load_balancer(wanted: &Attributes, found: &Attributes) -> Attributes {
    let mut changes = changes(wanted, found, |key| of_table(&LOAD_BALANCER, key));
    if !wanted.contains_key(DELETION_PROTECTION) {
        changes.remove(DELETION_PROTECTION);
    }
    changes
}

/// The same of a target group.
pub(super) fn of_target_group(
    wanted: &Attributes,
    found: &Attributes,
    protocol: ListenerProtocol,
    target_type: TargetType,
) -> Attributes {
    let is_tcp_only = matches!(protocol, ListenerProtocol::Tcp | ListenerProtocol::Tls);
    changes(wanted, found, |key| match key {
        "preserve_client_ip.enabled" if is_tcp_only && target_type == TargetType::Ip => Some("false"),
        "preserve_client_ip.enabled" => Some("true"),
        "deregistration_delay.connection_termination.enabled" if is_tcp_only => Some("false"),
        _ => of_table(&TARGET_GROUP, key),
    })
}

/// The same of a listener.
pub(super) fn of_listener(wanted: &Attributes, found: &Attributes, protocol: ListenerProtocol) -> Attributes {
    // Others have none.
    if protocol != ListenerProtocol::Tcp {
        return Attributes::new();
    }
    changes(wanted, found, |key| of_table(&LISTENER, key))
}

/// An attribute whose default nobody knows is left as it is.
fn changes<'a>(wanted: &Attributes, found: &Attributes, default: impl Fn(&str) -> Option<&'a str>) -> Attributes {
    let is_at = |key: &str, value: &str| match found.get(key) {
        Some(found) => found == value,
        None => default(key) == Some(value),
    };
    let set = wanted.iter().filter(|(key, value)| !is_at(key, value));
    let mut changes: Attributes = set.map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, value) in found.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
        if let Some(default) = default(key).filter(|default| default != value) {
            changes.insert(key.clone(), default.to_owned());
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Attributes {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_at_its_default_already_is_not_set() {
        let wanted = map(&[
            ("load_balancing.cross_zone.enabled", "false"),
            ("access_logs.s3.bucket", "logs"),
        ]);
        assert_eq!(
            of_load_balancer(&wanted, &map(&[])),
            map(&[("access_logs.s3.bucket", "logs")])
        );
        assert_eq!(
            of_load_balancer(&wanted, &map(&[("access_logs.s3.bucket", "logs")])),
            map(&[])
        );
    }

    #[test]
    fn what_is_no_longer_wanted_goes_back_to_its_default() {
        let found = map(&[
            ("load_balancing.cross_zone.enabled", "true"),
            ("zonal_shift.config.enabled", "false"),
            ("access_logs.s3.bucket", "logs"),
            ("ipv6.deny_all_igw_traffic", "true"),
        ]);
        assert_eq!(
            of_load_balancer(&map(&[]), &found),
            map(&[("load_balancing.cross_zone.enabled", "false")]),
            "what has no known default stays"
        );
    }

    #[test]
    fn deletion_protection_goes_only_by_a_word() {
        let found = map(&[(DELETION_PROTECTION, "true")]);
        assert_eq!(of_load_balancer(&map(&[]), &found), map(&[]));
        let off = map(&[(DELETION_PROTECTION, "false")]);
        assert_eq!(of_load_balancer(&off, &found), off);
    }

    #[test]
    fn defaults_of_target_groups_depend_on_what_they_are() {
        let key = "preserve_client_ip.enabled";
        let found = map(&[(key, "true")]);
        for (protocol, target_type, expected) in [
            (ListenerProtocol::Tcp, TargetType::Ip, map(&[(key, "false")])),
            (ListenerProtocol::Tcp, TargetType::Instance, map(&[])),
            (ListenerProtocol::Udp, TargetType::Ip, map(&[])),
        ] {
            assert_eq!(of_target_group(&map(&[]), &found, protocol, target_type), expected);
        }
    }

    #[test]
    fn only_tcp_listeners_have_attributes() {
        let wanted = map(&[("tcp.idle_timeout.seconds", "60")]);
        assert_eq!(of_listener(&wanted, &map(&[]), ListenerProtocol::Tcp), wanted);
        assert_eq!(of_listener(&wanted, &map(&[]), ListenerProtocol::Tls), map(&[]));
        assert_eq!(
            of_listener(&map(&[]), &wanted, ListenerProtocol::Tcp),
            map(&[("tcp.idle_timeout.seconds", "350")])
        );
    }
}
