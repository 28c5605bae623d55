//! Every rule of the contract: what is taken, what is refused and in which words.

use fairlead_model::{Family, Protocol, ServiceName, TrafficPolicy};
use ipnet::IpNet;

use super::*;

mod anything;
mod listeners;
mod refusals;
mod targets;

/// Annotations, without their prefix.
type Pairs<'a> = &'a [(&'a str, &'a str)];

fn port(number: u16, protocol: Protocol) -> Port {
    Port {
        name: format!("p{number}"),
        protocol,
        port: number,
        target: TargetPort::Number(8000 + number),
        node_port: Some(30000 + number),
    }
}

/// A Service of one TCP port with these annotations.
fn service(annotations: &[(&str, &str)]) -> Service {
    Service {
        name: ServiceName::new("shop", "web"),
        uid: "b1a3".to_owned(),
        annotations: annotations
            .iter()
            .map(|(name, text)| (format!("{PREFIX}{name}"), (*text).to_owned()))
            .collect(),
        exposure: Exposure::LoadBalancer,
        ports: vec![port(80, Protocol::Tcp)],
        families: vec![Family::V4],
        source_ranges: Vec::new(),
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        allocates_node_ports: true,
    }
}

fn defaults() -> Defaults {
    Defaults {
        tags: [("owner".to_owned(), "platform".to_owned())].into(),
        external_managed_tags: ["cost".to_owned()].into(),
        ..Defaults::of_cluster("production")
    }
}

fn read(service: &Service) -> Settings {
    Settings::read(service, &defaults()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn settings(annotations: &[(&str, &str)]) -> Settings {
    read(&service(annotations))
}

const DUALSTACK: (&str, &str) = ("aws-load-balancer-ip-address-type", "dualstack");
const IP_TARGETS: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");
const CERTIFICATE: (&str, &str) = ("aws-load-balancer-ssl-cert", "arn:a, arn:b");

#[test]
fn a_service_without_annotations_has_the_defaults() {
    let found = settings(&[]);
    assert_eq!(
        found.identity,
        Identity {
            name: None,
            scheme: None,
            ip_address_type: IpAddressType::Ipv4,
            target_type: TargetType::Instance,
            tags: [("owner".to_owned(), "platform".to_owned())].into(),
            is_shared_by_clusters: false,
        }
    );
    assert_eq!(
        found.placement,
        Placement {
            subnets: vec![],
            eip_allocations: vec![],
            private_ipv4: vec![],
            ipv6: vec![],
            source_nat: None,
            source_nat_prefixes: vec![],
        }
    );
    assert_eq!(
        found.security,
        Security {
            groups: vec![],
            source_ranges: vec![],
            prefix_lists: vec![],
            manages_backend_rules: true,
            is_disabled: false,
            applies_to_private_link: None,
            allows_path_mtu_discovery: false,
        }
    );
    assert_eq!(found.listeners.each.len(), 1);
    assert_eq!(found.listeners.each[0].protocol, ListenerProtocol::Tcp);
    assert_eq!(found.listeners.tls_policy, "ELBSecurityPolicy-2016-08");
    assert_eq!(
        found.target_groups.attributes(80),
        map(&[("proxy_protocol_v2.enabled", "false")])
    );
    assert_eq!(
        found.health_check,
        HealthCheck {
            protocol: HealthCheckProtocol::Tcp,
            port: HealthCheckPort::Traffic,
            path: None,
            success_codes: None,
            interval: 10,
            timeout: 10,
            healthy_threshold: 3,
            unhealthy_threshold: 3,
        }
    );
    assert_eq!((found.attributes, found.capacity_units), ([].into(), None));
}

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_scheme_is_read_from_the_newer_annotation_first() {
    for (annotations, scheme) in [
        (&[("aws-load-balancer-scheme", "internal")][..], Scheme::Internal),
        (
            &[("aws-load-balancer-scheme", "internet-facing")],
            Scheme::InternetFacing,
        ),
        (&[("aws-load-balancer-internal", "true")], Scheme::Internal),
        (&[("aws-load-balancer-internal", "F")], Scheme::InternetFacing),
        (
            &[
                ("aws-load-balancer-scheme", "internet-facing"),
                ("aws-load-balancer-internal", "true"),
            ],
            Scheme::InternetFacing,
        ),
    ] {
        assert_eq!(settings(annotations).identity.scheme, Some(scheme), "{annotations:?}");
    }
}

#[test]
fn what_a_load_balancer_is_can_be_said() {
    let found = settings(&[
        ("aws-load-balancer-name", "shop-web-1"),
        DUALSTACK,
        ("aws-load-balancer-additional-resource-tags", "team=shop,owner=me"),
        ("aws-load-balancer-multi-cluster-target-group", "true"),
    ]);
    assert_eq!(found.identity.name.as_deref(), Some("shop-web-1"));
    assert_eq!(found.identity.ip_address_type, IpAddressType::Dualstack);
    assert_eq!(
        found.identity.tags,
        map(&[("team", "shop"), ("owner", "platform")]),
        "the provider's tags win"
    );
    assert!(found.identity.is_shared_by_clusters);
}

#[test]
fn the_type_of_targets_has_two_annotations() {
    for (annotations, expected) in [
        (&[IP_TARGETS][..], TargetType::Ip),
        (
            &[("aws-load-balancer-nlb-target-type", "instance")],
            TargetType::Instance,
        ),
        (&[("aws-load-balancer-type", "nlb-ip")], TargetType::Ip),
        (&[("aws-load-balancer-type", "external")], TargetType::Instance),
        (&[("aws-load-balancer-type", "anything")], TargetType::Instance),
    ] {
        assert_eq!(settings(annotations).identity.target_type, expected, "{annotations:?}");
    }
    let mut pods = service(&[IP_TARGETS]);
    pods.exposure = Exposure::ClusterIp;
    pods.ports[0].node_port = None;
    assert_eq!(
        read(&pods).identity.target_type,
        TargetType::Ip,
        "pods need no node port"
    );
}

#[test]
fn the_place_can_be_said() {
    let found = settings(&[
        DUALSTACK,
        ("aws-load-balancer-subnets", "subnet-a, public-b"),
        ("aws-load-balancer-eip-allocations", "eipalloc-1,eipalloc-2"),
        ("aws-load-balancer-private-ipv4-addresses", "10.0.0.8,10.0.1.8"),
        ("aws-load-balancer-ipv6-addresses", "2001:db8::8"),
        ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on"),
        (
            "aws-load-balancer-source-nat-ipv6-prefixes",
            "auto_assigned,2001:db8:0:0:1::/80",
        ),
    ])
    .placement;
    assert_eq!(found.subnets, ["subnet-a", "public-b"]);
    assert_eq!(found.eip_allocations, ["eipalloc-1", "eipalloc-2"]);
    assert_eq!(
        found.private_ipv4.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.8", "10.0.1.8"]
    );
    assert_eq!(
        found.ipv6.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["2001:db8::8"]
    );
    assert_eq!(found.source_nat, Some(true));
    assert_eq!(
        found.source_nat_prefixes,
        [
            SourceNatPrefix::AutoAssigned,
            SourceNatPrefix::Prefix("2001:db8:0:0:1::/80".parse().unwrap())
        ]
    );
}

#[test]
fn the_field_of_source_ranges_wins_and_both_families_are_taken_with_dualstack() {
    let range = |text: &str| text.parse::<IpNet>().unwrap();
    let mut service = service(&[
        DUALSTACK,
        ("load-balancer-source-ranges", "10.0.0.0/8, 2001:db8::/32,10.1.2.3/8"),
    ]);
    assert_eq!(
        read(&service).security.source_ranges,
        [range("10.0.0.0/8"), range("2001:db8::/32")]
    );
    service.source_ranges = vec![" 198.51.100.9/24".to_owned()];
    assert_eq!(read(&service).security.source_ranges, [range("198.51.100.0/24")]);
}

#[test]
fn security_groups_of_the_users_own_make_source_ranges_void() {
    let own = ("aws-load-balancer-security-groups", "sg-1, front");
    let found = settings(&[own, ("load-balancer-source-ranges", "nonsense")]).security;
    assert_eq!(found.groups, ["sg-1", "front"]);
    assert_eq!(found.source_ranges, []);
    assert!(!found.manages_backend_rules);
    let managed = settings(&[own, ("aws-load-balancer-manage-backend-security-group-rules", "true")]).security;
    assert!(managed.manages_backend_rules);
    let unmanaged = settings(&[("aws-load-balancer-manage-backend-security-group-rules", "false")]).security;
    assert!(!unmanaged.manages_backend_rules);
}

#[test]
fn the_rest_of_security_can_be_said() {
    let found = settings(&[
        ("aws-load-balancer-security-group-prefix-lists", "pl-1,pl-2"),
        ("aws-load-balancer-disable-nlb-sg", "1"),
        ("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "off"),
        ("aws-load-balancer-enable-icmp-for-path-mtu-discovery", "on"),
    ])
    .security;
    assert_eq!(found.prefix_lists, ["pl-1", "pl-2"]);
    assert!(found.is_disabled && found.allows_path_mtu_discovery);
    assert_eq!(found.applies_to_private_link, Some(false));
    let other = settings(&[("aws-load-balancer-enable-icmp-for-path-mtu-discovery", "true")]).security;
    assert!(!other.allows_path_mtu_discovery, "all but on is off");
}

#[test]
fn attributes_of_the_load_balancer_have_older_annotations_that_win() {
    let found = settings(&[
        (
            "aws-load-balancer-attributes",
            "access_logs.s3.enabled=true,deletion_protection.enabled=true,dns_record.client_routing_policy=availability_zone_affinity",
        ),
        ("aws-load-balancer-access-log-enabled", "false"),
        ("aws-load-balancer-access-log-s3-bucket-name", "logs"),
        ("aws-load-balancer-access-log-s3-bucket-prefix", "web"),
        ("aws-load-balancer-cross-zone-load-balancing-enabled", "true"),
        ("aws-load-balancer-minimum-load-balancer-capacity", "CapacityUnits=5500"),
    ]);
    assert_eq!(
        found.attributes,
        map(&[
            ("access_logs.s3.bucket", "logs"),
            ("access_logs.s3.enabled", "false"),
            ("access_logs.s3.prefix", "web"),
            ("deletion_protection.enabled", "true"),
            ("dns_record.client_routing_policy", "availability_zone_affinity"),
            ("load_balancing.cross_zone.enabled", "true"),
        ])
    );
    assert_eq!(found.capacity_units, Some(5500));
}
