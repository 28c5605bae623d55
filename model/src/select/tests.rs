use super::Standing::{Chosen, ChosenTerminating, NotLocal, NotReady, OtherNode, OtherZone, Terminating};
use super::*;
use crate::{ServiceName, SliceName, SlicePort};

mod properties;

const HERE: Here<'static> = Here {
    node: "n1",
    zone: Some("a"),
};

fn address(family: Family, last: u8) -> IpAddr {
    match family {
        Family::V4 => [10, 1, 0, last].into(),
        Family::V6 => [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)].into(),
    }
}

/// A ready endpoint of no known node, without hints.
fn endpoint(last: u8) -> Endpoint {
    Endpoint {
        address: address(Family::V4, last),
        is_ready: true,
        is_serving: true,
        is_terminating: false,
        node: None,
        zone: None,
        node_hints: Arc::default(),
        zone_hints: Arc::default(),
    }
}

fn hints(names: &[&str]) -> Arc<[Arc<str>]> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

impl Endpoint {
    fn on(self, node: &str) -> Self {
        Self {
            node: Some(node.into()),
            ..self
        }
    }

    fn for_nodes(self, nodes: &[&str]) -> Self {
        Self {
            node_hints: hints(nodes),
            ..self
        }
    }

    fn for_zones(self, zones: &[&str]) -> Self {
        Self {
            zone_hints: hints(zones),
            ..self
        }
    }

    fn not_ready(self) -> Self {
        Self {
            is_ready: false,
            is_serving: false,
            ..self
        }
    }

    fn leaving(self) -> Self {
        Self {
            is_ready: false,
            is_terminating: true,
            ..self
        }
    }
}

fn slice(name: &str, family: Family, ports: &[(&str, Protocol, u16)], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let ports = ports.iter().map(|(name, protocol, port)| SlicePort {
        name: (*name).into(),
        protocol: *protocol,
        port: *port,
    });
    EndpointSlice {
        name: SliceName {
            namespace: "shop".into(),
            name: name.into(),
        },
        service: ServiceName::new("shop", "web"),
        family,
        ports: ports.collect(),
        endpoints,
        last_change_trigger_micros: None,
    }
}

fn standings(endpoints: Vec<Endpoint>) -> (Vec<Standing>, Vec<Standing>) {
    standings_for(HERE, endpoints)
}

fn standings_for(here: Here<'_>, endpoints: Vec<Endpoint>) -> (Vec<Standing>, Vec<Standing>) {
    let slice = slice("s", Family::V4, &[("", Protocol::Tcp, 80)], endpoints);
    let selection = select([&slice].into_iter(), "", Protocol::Tcp, Family::V4, here);
    selection
        .candidates
        .iter()
        .map(|candidate| (candidate.cluster, candidate.local))
        .unzip()
}

#[test]
fn ready_endpoints_come_before_terminating_ones_in_each_set_by_itself() {
    let cases = [
        ("none", vec![], vec![], vec![]),
        (
            "ready here and there",
            vec![endpoint(1).on("n1"), endpoint(2).on("n2"), endpoint(3)],
            vec![Chosen, Chosen, Chosen],
            vec![Chosen, NotLocal, NotLocal],
        ),
        (
            "not ready",
            vec![endpoint(1).on("n1").not_ready(), endpoint(2).on("n2")],
            vec![NotReady, Chosen],
            vec![NotReady, NotLocal],
        ),
        (
            "terminating here, ready there: the local set falls back, the other does not",
            vec![endpoint(1).on("n1").leaving(), endpoint(2).on("n2")],
            vec![Terminating, Chosen],
            vec![ChosenTerminating, NotLocal],
        ),
        (
            "terminating there, ready here",
            vec![endpoint(1).on("n1"), endpoint(2).on("n2").leaving()],
            vec![Chosen, Terminating],
            vec![Chosen, NotLocal],
        ),
        (
            "only terminating",
            vec![
                endpoint(1).on("n1").leaving(),
                endpoint(2).on("n2").leaving(),
                endpoint(3).on("n1").not_ready(),
            ],
            vec![ChosenTerminating, ChosenTerminating, NotReady],
            vec![ChosenTerminating, NotLocal, NotReady],
        ),
        (
            "terminating, and serving no more",
            vec![Endpoint {
                is_serving: false,
                ..endpoint(1).on("n1").leaving()
            }],
            vec![NotReady],
            vec![NotReady],
        ),
        (
            "serving, not ready, and not leaving",
            vec![Endpoint {
                is_ready: false,
                ..endpoint(1).on("n1")
            }],
            vec![NotReady],
            vec![NotReady],
        ),
        (
            "publishNotReadyAddresses: ready although terminating",
            vec![
                Endpoint {
                    is_terminating: true,
                    is_serving: false,
                    ..endpoint(1).on("n1")
                },
                endpoint(2).on("n2").leaving(),
            ],
            vec![Chosen, Terminating],
            vec![Chosen, NotLocal],
        ),
    ];
    for (case, endpoints, cluster, local) in cases {
        assert_eq!(standings(endpoints), (cluster, local), "{case}");
    }
}

#[test]
fn hints_narrow_the_cluster_set_only_where_every_ready_endpoint_has_them() {
    let cases = [
        (
            "zone hints",
            vec![
                endpoint(1).for_zones(&["a"]),
                endpoint(2).for_zones(&["b"]),
                endpoint(3).for_zones(&["b", "a"]),
            ],
            vec![Chosen, OtherZone, Chosen],
        ),
        (
            "one ready endpoint has no zone hint",
            vec![
                endpoint(1).for_zones(&["a"]),
                endpoint(2).for_zones(&["b"]),
                endpoint(3),
            ],
            vec![Chosen, Chosen, Chosen],
        ),
        (
            "no zone hint names this zone",
            vec![endpoint(1).for_zones(&["b"]), endpoint(2).for_zones(&["c"])],
            vec![Chosen, Chosen],
        ),
        (
            "an endpoint that is not ready needs no hint, and its hint does not count",
            vec![
                endpoint(1).for_zones(&["b"]),
                endpoint(2).not_ready(),
                endpoint(3).leaving().for_zones(&["a"]),
            ],
            vec![Chosen, NotReady, Terminating],
        ),
        (
            "an endpoint that is not ready does not switch hints off",
            vec![
                endpoint(1).for_zones(&["a"]),
                endpoint(2).for_zones(&["b"]),
                endpoint(3).leaving(),
            ],
            vec![Chosen, OtherZone, Terminating],
        ),
        (
            "node hints",
            vec![endpoint(1).for_nodes(&["n1"]), endpoint(2).for_nodes(&["n2"])],
            vec![Chosen, OtherNode],
        ),
        (
            "node hints before zone hints",
            vec![
                endpoint(1).for_nodes(&["n1"]).for_zones(&["b"]),
                endpoint(2).for_nodes(&["n2"]).for_zones(&["a"]),
            ],
            vec![Chosen, OtherNode],
        ),
        (
            "no node hint names this node: zone hints decide",
            vec![
                endpoint(1).for_nodes(&["n2"]).for_zones(&["a"]),
                endpoint(2).for_nodes(&["n3"]).for_zones(&["b"]),
            ],
            vec![Chosen, OtherZone],
        ),
        (
            "one ready endpoint has no node hint: zone hints decide",
            vec![
                endpoint(1).for_nodes(&["n1"]).for_zones(&["b"]),
                endpoint(2).for_zones(&["a"]),
            ],
            vec![OtherZone, Chosen],
        ),
        (
            "terminating endpoints are not narrowed",
            vec![
                endpoint(1).leaving().for_zones(&["b"]),
                endpoint(2).leaving().for_nodes(&["n2"]),
            ],
            vec![ChosenTerminating, ChosenTerminating],
        ),
    ];
    for (case, endpoints, cluster) in cases {
        assert_eq!(standings(endpoints).0, cluster, "{case}");
    }
}

#[test]
fn hints_never_narrow_the_local_set() {
    let endpoints = vec![
        endpoint(1).on("n1").for_nodes(&["n2"]).for_zones(&["b"]),
        endpoint(2).on("n2").for_nodes(&["n1"]).for_zones(&["a"]),
    ];
    assert_eq!(standings(endpoints), (vec![OtherNode, Chosen], vec![Chosen, NotLocal]));
}

#[test]
fn a_node_without_a_zone_goes_everywhere() {
    let endpoints = vec![endpoint(1).for_zones(&["a"]), endpoint(2).for_zones(&[""])];
    let here = Here { node: "n1", zone: None };
    assert_eq!(standings_for(here, endpoints).0, [Chosen, Chosen]);
}

#[test]
fn name_protocol_and_family_must_match() {
    let slices = [
        slice(
            "a",
            Family::V4,
            &[("", Protocol::Tcp, 80), ("dns", Protocol::Udp, 53)],
            vec![endpoint(1)],
        ),
        slice(
            "b",
            Family::V4,
            &[("dns", Protocol::Tcp, 54), ("dns", Protocol::Udp, 5353)],
            vec![endpoint(2), endpoint(1)],
        ),
        slice(
            "c",
            Family::V6,
            &[("dns", Protocol::Udp, 53)],
            vec![Endpoint {
                address: address(Family::V6, 1),
                ..endpoint(1)
            }],
        ),
    ];
    let backends = |name, protocol, family| {
        let selection = select(slices.iter(), name, protocol, family, HERE);
        selection
            .cluster()
            .map(|backend| format!("{} {}", backend.address, backend.port))
            .collect::<Vec<_>>()
    };
    assert_eq!(backends("", Protocol::Tcp, Family::V4), ["10.1.0.1 80"]);
    assert_eq!(backends("", Protocol::Udp, Family::V4), [""; 0]);
    assert_eq!(
        backends("dns", Protocol::Tcp, Family::V4),
        ["10.1.0.1 54", "10.1.0.2 54"]
    );
    assert_eq!(
        backends("dns", Protocol::Udp, Family::V4),
        ["10.1.0.1 53", "10.1.0.1 5353", "10.1.0.2 5353"]
    );
    assert_eq!(backends("dns", Protocol::Udp, Family::V6), ["fd00::1 53"]);
    assert_eq!(backends("dns", Protocol::Sctp, Family::V6), [""; 0]);
}

#[test]
fn of_two_endpoints_with_one_address_the_one_that_stays_wins() {
    let port = [("", Protocol::Tcp, 80)];
    let leaving = slice("a", Family::V4, &port, vec![endpoint(1).on("n2").leaving()]);
    let staying = slice("b", Family::V4, &port, vec![endpoint(1).on("n1")]);
    let not_ready = slice("c", Family::V4, &port, vec![endpoint(1).on("n2").not_ready()]);
    let winner = |slices: &[&EndpointSlice]| {
        let selection = select(slices.iter().copied(), "", Protocol::Tcp, Family::V4, HERE);
        let [winner] = selection.candidates.as_slice() else {
            panic!("one candidate")
        };
        (
            winner.node.clone().expect("node"),
            winner.backend.is_local,
            winner.cluster,
        )
    };
    for slices in [[&leaving, &staying], [&staying, &leaving]] {
        assert_eq!(winner(&slices), ("n1".into(), true, Chosen));
    }
    for slices in [[&leaving, &not_ready], [&not_ready, &leaving]] {
        assert_eq!(
            winner(&slices),
            ("n2".into(), false, NotReady),
            "ready or not, it is the one that stays"
        );
    }
    for slices in [[&staying, &not_ready], [&not_ready, &staying]] {
        assert_eq!(winner(&slices), ("n1".into(), true, Chosen));
    }
}

#[test]
fn a_candidate_shows_what_its_endpoint_says() {
    let of_endpoint = Endpoint {
        zone: Some("b".into()),
        ..endpoint(1).on("n1").leaving()
    };
    let slice = slice("s", Family::V4, &[("", Protocol::Sctp, 80)], vec![of_endpoint]);
    let selection = select([&slice].into_iter(), "", Protocol::Sctp, Family::V4, HERE);
    let expected = Candidate {
        backend: Backend {
            address: address(Family::V4, 1),
            port: 80,
            is_local: true,
        },
        node: Some("n1".into()),
        zone: Some("b".into()),
        is_serving: true,
        is_ready: false,
        cluster: ChosenTerminating,
        local: ChosenTerminating,
    };
    assert_eq!(selection.candidates, [expected]);
}
