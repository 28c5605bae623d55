use super::*;
use crate::sandbox::expected::{Seen, Why};
use crate::sandbox::plan::plan;
use crate::sandbox::testing::Stage;

/// The questions about a Service, one line each.
fn shown(stage: &Stage, service: &str) -> Vec<String> {
    let scene = stage.scene();
    let questions = questions(&scene, &plan(&scene));
    let of_service = questions
        .iter()
        .filter(|question| &*question.key.port.service.name == service);
    let lines = of_service
        .filter(|question| question.family() == Family::V4)
        .map(|question| {
            let expected = match &question.expected {
                Expected::Answer {
                    from,
                    is_affine,
                    is_incomplete,
                } => {
                    assert!(!is_incomplete);
                    let sees = |(name, seen): (&String, &Seen)| match seen {
                        Seen::Client => format!("{name} sees client"),
                        Seen::Node(node) => format!("{name} sees node-{node}"),
                    };
                    let from: Vec<_> = from.iter().map(sees).collect();
                    format!("{}{}", from.join(", "), if *is_affine { ", one" } else { "" })
                }
                Expected::Refused => "refused".to_owned(),
                Expected::Dropped(Why::SourceRange) => "dropped by source range".to_owned(),
                Expected::Dropped(Why::NoLocalEndpoint) => "dropped without local endpoint".to_owned(),
                Expected::NotServed => "not served".to_owned(),
            };
            format!(
                "{} {}/{}: {expected}",
                question.key.origin.label(),
                question.key.to,
                question.protocol()
            )
        });
    lines.collect()
}

#[test]
fn a_node_port_is_asked_on_every_node_from_outside_and_a_pod_sees_that_node() {
    let all = |node: u8| format!("web-1 sees node-{node}, web-2 sees node-{node}, web-3 sees node-{node}");
    assert_eq!(
        shown(&Stage::of_examples(), "web"),
        [
            "pod 10.96.0.10:80/tcp: web-1 sees client, web-2 sees client, web-3 sees client".to_owned(),
            format!("node-1 10.96.0.10:80/tcp: {}", all(1)),
            format!("pod 172.30.0.11:30080/tcp: {}", all(1)),
            format!("node-1 172.30.0.11:30080/tcp: {}", all(1)),
            format!("outside 172.30.0.11:30080/tcp: {}", all(1)),
            format!("outside 172.30.0.12:30080/tcp: {}", all(2)),
            format!("outside 172.30.0.13:30080/tcp: {}", all(3)),
        ]
    );
}

#[test]
fn policy_local_keeps_to_the_node_from_outside_and_to_nothing_from_inside() {
    let everybody = |seen: &str| format!("shop-1 sees {seen}, shop-2 sees {seen}, shop-3 sees {seen}");
    assert_eq!(
        shown(&Stage::of_examples(), "shop"),
        [
            format!("pod 10.96.0.20:443/tcp: {}", everybody("client")),
            format!("node-1 10.96.0.20:443/tcp: {}", everybody("node-1")),
            format!("pod 172.30.0.11:30443/tcp: {}", everybody("client")),
            format!("node-1 172.30.0.11:30443/tcp: {}", everybody("node-1")),
            "outside 172.30.0.11:30443/tcp: dropped without local endpoint".to_owned(),
            "outside 172.30.0.12:30443/tcp: shop-1 sees client, shop-2 sees client".to_owned(),
            "outside 172.30.0.13:30443/tcp: shop-3 sees client".to_owned(),
            format!("pod 198.51.100.20:443/tcp: {}", everybody("client")),
            format!("node-1 198.51.100.20:443/tcp: {}", everybody("node-1")),
            // Through node-2, the first with an endpoint.
            "outside 198.51.100.20:443/tcp: shop-1 sees client, shop-2 sees client".to_owned(),
        ]
    );
}

#[test]
fn source_ranges_guard_the_load_balancer_address_alone() {
    assert_eq!(
        shown(&Stage::of_examples(), "admin"),
        [
            "pod 10.96.0.21:80/tcp: admin-1 sees client",
            "node-1 10.96.0.21:80/tcp: admin-1 sees node-1",
            "pod 198.51.100.21:80/tcp: dropped by source range",
            "node-1 198.51.100.21:80/tcp: dropped by source range",
            "outside 198.51.100.21:80/tcp: admin-1 sees node-1",
        ]
    );
}

#[test]
fn hints_affinity_conditions_and_policies_choose_as_the_examples_say() {
    let stage = Stage::of_examples();
    let from_pod = |service: &str| shown(&stage, service).swap_remove(0);
    assert_eq!(from_pod("catalog"), "pod 10.96.0.31:80/tcp: catalog-1 sees client");
    assert_eq!(
        from_pod("cart"),
        "pod 10.96.0.30:80/tcp: cart-1 sees client, cart-2 sees client, cart-3 sees client, one"
    );
    assert_eq!(
        from_pod("cache"),
        "pod 10.96.0.33:6379/tcp: dropped without local endpoint"
    );
    assert_eq!(from_pod("down"), "pod 10.96.0.40:80/tcp: refused");
    assert_eq!(from_pod("draining"), "pod 10.96.0.41:80/tcp: draining-1 sees client");
    assert_eq!(
        from_pod("dns"),
        "pod 10.96.0.53:53/udp: dns-2 sees client, dns-3 sees client"
    );
    assert_eq!(shown(&stage, "foreign"), ["pod 10.96.0.51:80/tcp: not served"]);
    assert_eq!(shown(&stage, "mirror"), [""; 0]);
}

#[test]
fn a_node_that_delivers_to_itself_does_not_exchange_the_source() {
    let stage = Stage::of_examples();
    assert_eq!(
        shown(&stage, "node-metrics"),
        [
            "pod 10.96.0.32:9100/tcp: node-metrics-1 sees client",
            // The node is its own client.
            "node-1 10.96.0.32:9100/tcp: node-metrics-1 sees client",
        ]
    );
}

#[test]
fn addresses_for_clients_outside_are_routed_to_a_node_that_can_serve_them() {
    let stage = Stage::of_examples();
    let routes = routes(&stage.scene());
    let of = |address: &str| routes[&address.parse::<IpAddr>().unwrap()];
    assert_eq!(of("198.51.100.20"), 2);
    assert_eq!(of("2001:db8:51::20"), 2);
    assert_eq!(of("198.51.100.21"), 1);
    assert_eq!(of("203.0.113.22"), 1);
}
