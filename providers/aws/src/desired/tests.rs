//! From a Service to what it shall have.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_model::{Family, Protocol, ServiceName, TrafficPolicy};

use super::*;
use crate::contract::{
    Exposure, HealthCheckProtocol, IpAddressType, ListenerProtocol, PREFIX, Port, TargetPort, TargetType,
};

/// Annotations, without their prefix.
type Pairs<'a> = &'a [(&'a str, &'a str)];

pub(crate) use targets::{endpoints, node};

mod addresses;
mod security;
mod subnets;
mod targets;

fn port(number: u16, protocol: Protocol) -> Port {
    Port {
        name: format!("p{number}"),
        protocol,
        port: number,
        target: TargetPort::Number(8000 + number),
        node_port: Some(30000 + number),
    }
}

pub(crate) fn service(annotations: &[(&str, &str)]) -> Service {
    let key = |name: &str| {
        if name.contains('/') {
            name.to_owned()
        } else {
            format!("{PREFIX}{name}")
        }
    };
    Service {
        name: ServiceName::new("shop", "web"),
        uid: "b1a3".to_owned(),
        annotations: annotations
            .iter()
            .map(|(name, text)| (key(name), (*text).to_owned()))
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

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A private subnet with both families; the number is in its id, its zone and its ranges.
fn subnet(number: u8, zone: &str) -> Subnet {
    Subnet {
        id: format!("subnet-{number}"),
        zone: format!("eu-central-1{zone}"),
        zone_kind: ZoneKind::AvailabilityZone,
        ipv4: Some(format!("10.0.{number}.0/24").parse().unwrap()),
        ipv6: vec![format!("2001:db8:0:{number}::/64").parse().unwrap()],
        free_addresses: 200,
        is_public: false,
        tags: tags(&[("Name", &format!("private-{number}"))]),
    }
}

fn vpc(subnets: &[Subnet]) -> Vpc {
    Vpc {
        id: "vpc-1".to_owned(),
        ranges: ["10.0.0.0/16", "2001:db8::/56"]
            .map(|text| text.parse().unwrap())
            .into(),
        subnets: subnets.to_vec(),
        security_groups: Vec::new(),
    }
}

/// Everything that a test varies.
pub(crate) struct World {
    pub(crate) defaults: Defaults,
    pub(crate) vpc: Vpc,
    pub(crate) cluster: Cluster,
    pub(crate) existing: Option<Existing>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            defaults: Defaults::of_cluster("production"),
            vpc: vpc(&[subnet(1, "a"), subnet(2, "b")]),
            cluster: Cluster::default(),
            existing: None,
        }
    }

    pub(crate) fn around(&self) -> Surroundings<'_> {
        Surroundings {
            defaults: &self.defaults,
            vpc: &self.vpc,
            cluster: &self.cluster,
            existing: self.existing.as_ref(),
        }
    }

    pub(crate) fn settings(&self, service: &Service) -> Settings {
        Settings::read(service, &self.defaults).unwrap_or_else(|faults| panic!("{faults}"))
    }

    pub(crate) fn desired(&self, service: &Service) -> LoadBalancer {
        desired(service, &self.settings(service), self.around()).unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// What is wrong, without names and places.
    fn refusal(&self, service: &Service) -> Vec<String> {
        match desired(service, &self.settings(service), self.around()) {
            Ok(_) => Vec::new(),
            Err(Faults(faults)) => faults.into_iter().map(|fault| fault.message).collect(),
        }
    }
}

#[test]
fn a_plain_service_gets_an_internal_load_balancer_with_one_listener() {
    let found = World::new().desired(&service(&[]));
    assert_eq!(found.name, "k8s-shop-web-ec63f2cc37");
    assert_eq!(
        (found.scheme, found.ip_address_type),
        (Scheme::Internal, IpAddressType::Ipv4)
    );
    assert_eq!(
        found
            .subnets
            .iter()
            .map(|mapping| mapping.subnet.as_str())
            .collect::<Vec<_>>(),
        ["subnet-1", "subnet-2"]
    );
    assert_eq!(
        found.tags,
        tags(&[
            ("fairlead.io/cluster", "production"),
            ("fairlead.io/resource", "LoadBalancer"),
            ("fairlead.io/service", "shop/web"),
        ])
    );
    let listener = &found.listeners[&80];
    assert_eq!(
        (listener.protocol, &listener.tls, listener.to.len()),
        (ListenerProtocol::Tcp, &None, 1)
    );
    assert_eq!(listener.to[0].group, TargetGroupRef::Ours("shop/web:80".to_owned()));
    let group = &found.target_groups["shop/web:80"];
    assert_eq!(group.name, "k8s-shop-web-fa71989be5");
    assert_eq!(
        (group.port, group.target_type, group.family),
        (30080, TargetType::Instance, Family::V4)
    );
    assert_eq!(group.tags["fairlead.io/resource"], "shop/web:80");
}

#[test]
fn names_are_those_of_the_pattern() {
    let world = World::new();
    let mut service = service(&[
        ("aws-load-balancer-scheme", "internet-facing"),
        ("aws-load-balancer-nlb-target-type", "ip"),
        ("aws-load-balancer-subnets", "subnet-1"),
    ]);
    let found = world.desired(&service);
    assert_eq!(found.name, "k8s-shop-web-9278f79dc4");
    assert_eq!(found.target_groups["shop/web:80"].name, "k8s-shop-web-dec4d3d793");
    let SecurityGroups::Managed { group, .. } = &found.security_groups else {
        panic!("it has no group of its own")
    };
    assert_eq!(group.name, "k8s-shop-web-85a4bebbf8");
    assert_eq!(backend_group_name("production"), "k8s-traffic-production-ab8e18ef4e");
    service.name = ServiceName::new("a-very-long-namespace", "w-e-b");
    let long = world.desired(&service).name;
    assert!(long.starts_with("k8s-averylon-web-") && long.len() <= 32, "{long}");
    let other = replacement_name(&long, "arn");
    assert!(other != long && other.len() == long.len() && other.starts_with("k8s-averylon-web-"));
}

#[test]
fn the_scheme_stays_as_it_is_until_the_service_says_otherwise() {
    let mut world = World::new();
    world.defaults.scheme = Scheme::InternetFacing;
    world.vpc.subnets[0].is_public = true;
    assert_eq!(world.desired(&service(&[])).scheme, Scheme::InternetFacing);
    world.existing = Some(Existing {
        scheme: Scheme::Internal,
        subnets: vec!["subnet-2".to_owned()],
        security_groups: vec!["sg-1".to_owned()],
        managed_group: None,
    });
    assert_eq!(world.desired(&service(&[])).scheme, Scheme::Internal);
    let changed = service(&[("aws-load-balancer-scheme", "internet-facing")]);
    assert_eq!(world.desired(&changed).scheme, Scheme::InternetFacing);
}

#[test]
fn tls_listeners_have_each_certificate_once() {
    let found = World::new().desired(&service(&[("aws-load-balancer-ssl-cert", "arn:a,arn:b,arn:a")]));
    let tls = found.listeners[&80].tls.as_ref().unwrap();
    assert_eq!(tls.certificate, "arn:a");
    assert_eq!(tls.more_certificates, BTreeSet::from(["arn:b".to_owned()]));
    assert_eq!(found.target_groups["shop/web:80"].protocol, ListenerProtocol::Tcp);
}

#[test]
fn tcp_and_udp_of_one_number_are_one_listener_and_one_target_group() {
    let mut dns = service(&[]);
    dns.ports = vec![
        port(53, Protocol::Tcp),
        port(53, Protocol::Udp),
        port(80, Protocol::Tcp),
    ];
    let found = World::new().desired(&dns);
    assert_eq!(found.listeners.keys().copied().collect::<Vec<_>>(), [53, 80]);
    assert_eq!(found.target_groups["shop/web:53"].protocol, ListenerProtocol::TcpUdp);
}

#[test]
fn policy_local_is_checked_at_its_node_port() {
    let mut local = service(&[]);
    local.external_policy = TrafficPolicy::Local;
    local.health_check_node_port = Some(32000);
    let check = &World::new().desired(&local).target_groups["shop/web:80"].health_check;
    assert_eq!(
        (check.protocol, check.port.to_string()),
        (HealthCheckProtocol::Http, "32000".to_owned())
    );
}

const WEIGHTED: &str = r#"{"type":"forward","forwardConfig":{"baseServiceWeight":1,"targetGroups":[
    {"serviceName":"blue","servicePort":"p80","weight":2},{"targetGroupARN":"arn:tg","weight":3}]}}"#;

#[test]
fn a_listener_sends_to_other_services_and_to_groups_of_others() {
    let mut world = World::new();
    let mut blue = service(&[("aws-load-balancer-target-group-attributes", "stickiness.enabled=true")]);
    blue.name = ServiceName::new("shop", "blue");
    blue.uid = "blue".to_owned();
    world.cluster.services.insert("blue".to_owned(), blue);
    let weighted = service(&[("actions.TCP-80", WEIGHTED)]);
    let found = world.desired(&weighted);
    let parts: Vec<_> = found.listeners[&80]
        .to
        .iter()
        .map(|to| (&to.group, to.weight))
        .collect();
    assert_eq!(
        parts,
        [
            (&TargetGroupRef::Ours("shop/blue:80".to_owned()), Some(2)),
            (&TargetGroupRef::Ours("shop/web:80".to_owned()), Some(1)),
            (&TargetGroupRef::Foreign("arn:tg".to_owned()), Some(3)),
        ]
    );
    let group = &found.target_groups["shop/blue:80"];
    assert_eq!(
        group.attributes["stickiness.enabled"], "true",
        "its own annotations count"
    );
    assert_eq!(
        group.tags["fairlead.io/service"], "shop/web",
        "it goes with the listener"
    );

    world.cluster.services.clear();
    assert_eq!(world.refusal(&weighted), ["backend service not found: shop/blue"]);
}

#[test]
fn what_others_made_is_used_as_it_is() {
    let lb = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/theirs/1";
    let tg = "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/theirs/1";
    let found = World::new().desired(&service(&[
        ("fairlead.io/aws-load-balancer-arn", lb),
        ("fairlead.io/aws-target-group-arn.80", tg),
    ]));
    assert_eq!(found.adopted.as_deref(), Some(lb));
    assert_eq!(found.subnets, []);
    let group = &found.target_groups["shop/web:80"];
    assert_eq!(group.adopted.as_deref(), Some(tg));
    assert!(group.has_foreign_targets);

    let bad = service(&[
        ("fairlead.io/aws-load-balancer-arn", tg),
        ("fairlead.io/aws-target-group-arn.81", tg),
        ("fairlead.io/aws-target-group-arn.80", "theirs"),
    ]);
    let faults = Settings::read(&bad, &World::new().defaults).unwrap_err().to_string();
    for said in [
        &format!("fairlead.io/aws-load-balancer-arn: {tg} is not the ARN of a loadbalancer/net"),
        "fairlead.io/aws-target-group-arn.80: theirs is not the ARN of a targetgroup",
        "fairlead.io/aws-target-group-arn.81: 81 is not a port of the Service",
    ] {
        assert!(faults.contains(said), "{faults}");
    }
}

#[test]
fn ipv6_needs_a_dualstack_load_balancer_and_datagrams_a_prefix_too() {
    let world = World::new();
    let mut six = service(&[]);
    six.families = vec![Family::V6];
    assert_eq!(
        world.refusal(&six),
        ["unsupported IPv6 configuration, lb not dual-stack"]
    );
    let dualstack = ("aws-load-balancer-ip-address-type", "dualstack");
    let mut six = service(&[dualstack]);
    six.families = vec![Family::V4, Family::V6];
    assert_eq!(world.desired(&six).target_groups["shop/web:80"].family, Family::V6);
    six.ports.push(port(53, Protocol::Udp));
    assert_eq!(
        world.refusal(&six),
        ["a UDP listener of a dualstack load balancer needs enable-prefix-for-ipv6-source-nat set to on"]
    );
}
