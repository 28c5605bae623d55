//! Who is a target.

use super::*;

/// A node that is this instance.
pub(crate) fn node(instance: &str) -> Node {
    Node {
        name: format!("node-{instance}"),
        provider_id: format!("aws:///eu-central-1a/{instance}"),
        labels: tags(&[("pool", "edge")]),
        taints: Vec::new(),
        is_deleting: false,
    }
}

fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        port: 8080,
        is_ready: true,
        is_terminating: false,
        quic_server_id: None,
    }
}

/// Endpoints of the Service's port 80.
pub(crate) fn endpoints(addresses: &[&str]) -> BTreeMap<PortKey, Vec<Endpoint>> {
    let key = PortKey {
        service: "web".to_owned(),
        port: "p80".to_owned(),
        protocol: Protocol::Tcp,
    };
    [(key, addresses.iter().map(|address| endpoint(address)).collect())].into()
}

fn targets(world: &World, service: &Service) -> Vec<String> {
    let groups = world.desired(service).target_groups;
    let all = groups.values().flat_map(|group| &group.targets);
    all.map(|target| {
        format!(
            "{target}{}",
            target.zone.as_deref().map_or(String::new(), |zone| format!(" {zone}"))
        )
    })
    .collect()
}

#[test]
fn nodes_are_targets_unless_they_are_kept_out_or_go() {
    let labelled = |key: &str, value: &str| {
        let mut node = node("i-9");
        node.labels.insert(key.to_owned(), value.to_owned());
        node
    };
    let tainted = |key: &str, effect: &str| Node {
        taints: vec![Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
        }],
        ..node("i-9")
    };
    let exclude = "node.kubernetes.io/exclude-from-external-load-balancers";
    let cases = [
        (node("i-9"), true),
        (labelled(exclude, ""), false),
        (labelled(exclude, "true"), false),
        (labelled(exclude, "false"), true),
        (labelled("node-role.kubernetes.io/master", ""), false),
        (labelled("node-role.kubernetes.io/control-plane", ""), true),
        (
            labelled("alpha.service-controller.kubernetes.io/exclude-balancer", ""),
            false,
        ),
        (tainted("ToBeDeletedByClusterAutoscaler", "NoSchedule"), false),
        (tainted("karpenter.sh/disrupted", "NoSchedule"), false),
        (tainted("node.kubernetes.io/unschedulable", "NoSchedule"), true),
        (tainted("node.kubernetes.io/not-ready", "NoExecute"), true),
        (
            Node {
                is_deleting: true,
                ..node("i-9")
            },
            false,
        ),
        (
            Node {
                provider_id: "aws:///eu-central-1a/x/fargate-ip-10-0-0-1".to_owned(),
                ..node("i-9")
            },
            false,
        ),
        (
            Node {
                provider_id: "kind://docker/kind/i-9".to_owned(),
                ..node("i-9")
            },
            false,
        ),
    ];
    for (node, is_target) in cases {
        let mut world = World::new();
        let shown = format!("{node:?}");
        world.cluster.nodes = vec![node];
        assert_eq!(
            targets(&world, &service(&[])),
            vec!["i-9:30080"; usize::from(is_target)],
            "{shown}"
        );
    }
}

#[test]
fn nodes_can_be_chosen_by_label() {
    let mut world = World::new();
    let other = Node {
        labels: BTreeMap::new(),
        ..node("i-2")
    };
    world.cluster.nodes = vec![node("i-1"), other];
    let chosen = service(&[("aws-load-balancer-target-node-labels", "pool=edge")]);
    assert_eq!(targets(&world, &chosen), ["i-1:30080"]);
    assert_eq!(targets(&world, &service(&[])), ["i-1:30080", "i-2:30080"]);
}

fn with_endpoints(port: &str, protocol: Protocol, endpoints: Vec<Endpoint>) -> World {
    let mut world = World::new();
    let key = PortKey {
        service: "web".to_owned(),
        port: port.to_owned(),
        protocol,
    };
    world.cluster.endpoints.insert(key, endpoints);
    world
}

const IP_TARGETS: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");

#[test]
fn pods_are_targets_while_they_are_ready_and_stay() {
    let endpoints = vec![
        endpoint("10.0.1.5"),
        Endpoint {
            is_ready: false,
            ..endpoint("10.0.1.6")
        },
        Endpoint {
            is_terminating: true,
            ..endpoint("10.0.1.7")
        },
        endpoint("2001:db8::5"),
        endpoint("192.168.0.5"),
    ];
    let world = with_endpoints("p80", Protocol::Tcp, endpoints);
    assert_eq!(
        targets(&world, &service(&[IP_TARGETS])),
        ["10.0.1.5:8080", "192.168.0.5:8080 all"]
    );
    let mut six = service(&[IP_TARGETS, ("aws-load-balancer-ip-address-type", "dualstack")]);
    six.families = vec![Family::V6];
    assert_eq!(targets(&world, &six), ["[2001:db8::5]:8080"]);
}

#[test]
fn pods_with_a_named_port_are_registered_each_with_its_own() {
    let mut named = service(&[IP_TARGETS]);
    named.ports[0].target = TargetPort::Name("http".to_owned());
    let world = with_endpoints(
        "p80",
        Protocol::Tcp,
        vec![
            endpoint("10.0.1.5"),
            Endpoint {
                port: 9090,
                ..endpoint("10.0.1.6")
            },
        ],
    );
    assert_eq!(targets(&world, &named), ["10.0.1.5:8080", "10.0.1.6:9090"]);
    assert_eq!(world.desired(&named).target_groups["shop/web:80"].port, 1);
}

#[test]
fn quic_reaches_only_pods_with_a_server_id() {
    let mut quic = service(&[IP_TARGETS, ("aws-load-balancer-quic-enabled-ports", "443")]);
    quic.ports = vec![port(443, Protocol::Udp)];
    let known = Endpoint {
        quic_server_id: Some("0x1".to_owned()),
        ..endpoint("10.0.1.5")
    };
    let world = with_endpoints("p443", Protocol::Udp, vec![known, endpoint("10.0.1.6")]);
    assert_eq!(targets(&world, &quic), ["10.0.1.5:8080"]);
}
