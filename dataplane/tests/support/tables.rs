//! Tables that use everything a table can have. Shared with the crate's own tests: the module above names `table`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::table::{
    Chain, ChainKind, Datum, Field, FieldType, Holds, Hook, HookPoint, InterfacePattern, Name, Rule, Set, SetData,
    SetSpec, Statement, Table, Value, Verdict,
};
use fairlead_model::{Family, Protocol};

use FieldType::{InetProto, InetService, Ipv4Addr, Ipv6Addr as Ipv6, Slot};

const fn spec(key: &'static [FieldType], data: SetData, holds: Holds) -> SetSpec {
    SetSpec { key, data, holds }
}

fn v4(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into()
}

fn goto(chain: &str) -> Value {
    Value::Verdict(Verdict::Goto(chain.into()))
}

fn range(first: &str, last: &str) -> (Datum, Datum) {
    (Datum::address(v4(first)), Datum::address(v4(last)))
}

fn frontend(address: IpAddr, port: u16) -> Datum {
    Datum::builder()
        .address(address)
        .protocol(Protocol::Tcp)
        .port(port)
        .finish()
}

fn slot(slot: u32, address: IpAddr, port: u16) -> Datum {
    Datum::builder()
        .slot(slot)
        .address(address)
        .protocol(Protocol::Sctp)
        .port(port)
        .finish()
}

fn endpoint(address: IpAddr, port: u16) -> Value {
    Value::Data(Datum::builder().address(address).port(port).finish())
}

fn guarded(address: IpAddr, source: IpAddr) -> Datum {
    Datum::builder()
        .address(address)
        .protocol(Protocol::Udp)
        .port(53)
        .address(source)
        .finish()
}

/// A set that holds keys.
pub(crate) fn keys(
    key: &'static [FieldType],
    data: SetData,
    elements: impl IntoIterator<Item = (Datum, Value)>,
) -> Set {
    Set {
        elements: elements.into_iter().collect(),
        ..Set::new(spec(key, data, Holds::Keys))
    }
}

fn ranges(key: &'static [FieldType], ranges: impl IntoIterator<Item = (Datum, Datum)>) -> Set {
    Set {
        ranges: ranges.into_iter().collect(),
        ..Set::new(spec(key, SetData::Nothing, Holds::Ranges))
    }
}

/// Every kind of set.
fn sets() -> Vec<(&'static str, Set)> {
    let nothing = |key: Datum| (key, Value::Nothing);
    let all = |byte: u8| Datum::from_bytes(&[byte; 16]).unwrap();
    vec![
        ("pods4", ranges(&[Ipv4Addr], [range("10.244.0.0", "10.244.255.255")])),
        ("wide4", ranges(&[Ipv4Addr], [range("0.0.0.0", "255.255.255.255")])),
        (
            "borders4",
            ranges(
                &[Ipv4Addr],
                [
                    range("0.0.0.0", "0.255.255.255"),
                    // Adjacent to each other.
                    range("10.0.0.0", "10.127.255.255"),
                    range("10.128.0.0", "10.255.255.255"),
                    range("192.168.1.1", "192.168.1.1"),
                    range("240.0.0.0", "255.255.255.255"),
                ],
            ),
        ),
        (
            "pods6",
            ranges(&[Ipv6], [(Datum::address(v6(0)), Datum::address(v6(0xffff)))]),
        ),
        ("wide6", ranges(&[Ipv6], [(all(0), all(0xff))])),
        ("empty6", ranges(&[Ipv6], [])),
        (
            "source_ranges4",
            ranges(
                &[Ipv4Addr, InetProto, InetService, Ipv4Addr],
                [
                    (
                        guarded(v4("1.2.3.4"), v4("10.0.0.0")),
                        guarded(v4("1.2.3.4"), v4("10.255.255.255")),
                    ),
                    (
                        guarded(v4("1.2.3.4"), v4("11.0.0.7")),
                        guarded(v4("1.2.3.4"), v4("11.0.0.7")),
                    ),
                    (
                        guarded(v4("1.2.3.5"), v4("0.0.0.0")),
                        guarded(v4("1.2.3.5"), v4("255.255.255.255")),
                    ),
                ],
            ),
        ),
        (
            "source_ranges6",
            ranges(
                &[Ipv6, InetProto, InetService, Ipv6],
                [(guarded(v6(1), v6(0x100)), guarded(v6(1), v6(0x1ff)))],
            ),
        ),
        (
            "node_ips4",
            keys(&[Ipv4Addr], SetData::Nothing, [nothing(Datum::address(v4("10.0.0.1")))]),
        ),
        (
            "node_ips6",
            keys(&[Ipv6], SetData::Nothing, [nothing(Datum::address(v6(7)))]),
        ),
        (
            "hairpin4",
            keys(
                &[Ipv4Addr, Ipv4Addr],
                SetData::Nothing,
                [nothing(
                    Datum::builder()
                        .address(v4("10.244.1.2"))
                        .address(v4("10.244.1.2"))
                        .finish(),
                )],
            ),
        ),
        (
            "services4",
            keys(
                &[Ipv4Addr, InetProto, InetService],
                SetData::Verdict,
                [
                    (frontend(v4("10.96.0.1"), 80), goto("pick4_2")),
                    (frontend(v4("10.96.0.2"), 443), Value::Verdict(Verdict::Drop)),
                    (frontend(v4("10.96.0.3"), 443), Value::Verdict(Verdict::Return)),
                    (
                        frontend(v4("10.96.0.4"), 443),
                        Value::Verdict(Verdict::Jump("pick4_2".into())),
                    ),
                ],
            ),
        ),
        (
            "services6",
            keys(
                &[Ipv6, InetProto, InetService],
                SetData::Verdict,
                [(frontend(v6(1), 80), goto("pick6_3"))],
            ),
        ),
        (
            "nodeports4",
            keys(
                &[InetProto, InetService],
                SetData::Verdict,
                [(
                    Datum::builder().protocol(Protocol::Tcp).port(30080).finish(),
                    goto("nodeport_pick4_2"),
                )],
            ),
        ),
        (
            "endpoints4",
            keys(
                &[Slot, Ipv4Addr, InetProto, InetService],
                SetData::Fields(&[Ipv4Addr, InetService]),
                [
                    (slot(0, v4("10.96.0.1"), 80), endpoint(v4("10.244.1.2"), 8080)),
                    (slot(1, v4("10.96.0.1"), 80), endpoint(v4("10.244.1.3"), 8080)),
                ],
            ),
        ),
        (
            "endpoints6",
            keys(
                &[Slot, Ipv6, InetProto, InetService],
                SetData::Fields(&[Ipv6, InetService]),
                [(slot(0x0102_0304, v6(1), 80), endpoint(v6(2), 8080))],
            ),
        ),
        (
            "nodeport_endpoints4",
            keys(
                &[Slot, InetProto, InetService],
                SetData::Fields(&[Ipv4Addr, InetService]),
                [],
            ),
        ),
        (
            "nodeport_endpoints6",
            keys(
                &[Slot, InetProto, InetService],
                SetData::Fields(&[Ipv6, InetService]),
                [],
            ),
        ),
        (
            "masquerade4",
            keys(
                &[Ipv4Addr],
                SetData::Verdict,
                [(Datum::address(v4("10.96.0.1")), goto("masq_always"))],
            ),
        ),
        ("masquerade6", keys(&[Ipv6], SetData::Verdict, [])),
        (
            "masquerade_ports",
            keys(
                &[InetService],
                SetData::Verdict,
                [(Datum::port(30080), goto("masq_always"))],
            ),
        ),
        (
            "affinity4/web",
            Set::new(spec(&[Ipv4Addr], SetData::Nothing, Holds::Learned)),
        ),
        (
            "affinity6/web",
            Set::new(spec(&[Ipv6], SetData::Nothing, Holds::Learned)),
        ),
    ]
}

fn is_in(key: &[Field], set: &str) -> Statement {
    Statement::Lookup {
        key: key.to_vec(),
        set: set.into(),
        is_negated: false,
    }
}

fn vmap(key: &[Field], map: &str) -> Statement {
    Statement::VerdictMap {
        key: key.to_vec(),
        map: map.into(),
    }
}

fn dnat_map(family: Family, key: &[Field], map: &str) -> Statement {
    Statement::DnatMap {
        family,
        key: key.to_vec(),
        map: map.into(),
    }
}

fn update(field: Field, set: &str, hours: u64) -> Statement {
    Statement::Update {
        key: field,
        set: set.into(),
        timeout: Duration::from_secs(hours * 3600),
    }
}

/// Name, hook and rules of a chain.
type NamedChain = (&'static str, Option<Hook>, Vec<Vec<Statement>>);

/// Every kind of statement.
fn chains() -> Vec<NamedChain> {
    use Family::{V4, V6};
    use Field::{Daddr, Dport, L4Proto, OriginalDaddr, OriginalDport, RandomSlot, Saddr};
    use Statement::Verdict as V;
    let jump = |chain: &str| V(Verdict::Jump(chain.into()));
    let goto = |chain: &str| V(Verdict::Goto(chain.into()));
    let hook = |kind, point, priority| Some(Hook { kind, point, priority });
    let services = |family| [Daddr(family), L4Proto, Dport];
    let sources = |family| [Daddr(family), L4Proto, Dport, Saddr(family)];
    vec![
        (
            "nat_prerouting",
            hook(ChainKind::Nat, HookPoint::Prerouting, -100),
            vec![vec![jump("services")]],
        ),
        (
            "nat_output",
            hook(ChainKind::Nat, HookPoint::Output, -100),
            vec![vec![jump("services")]],
        ),
        (
            "nat_postrouting",
            hook(ChainKind::Nat, HookPoint::Postrouting, 100),
            vec![vec![Statement::CtStatusDnat, jump("masquerading")]],
        ),
        (
            "filter_prerouting",
            hook(ChainKind::Filter, HookPoint::Prerouting, -110),
            vec![vec![Statement::CtStateNew, jump("source_ranges")]],
        ),
        (
            "filter_input",
            hook(ChainKind::Filter, HookPoint::Input, 0),
            vec![vec![
                Statement::CtStateNew,
                is_in(&[Daddr(V6)], "node_ips6"),
                V(Verdict::Return),
            ]],
        ),
        (
            "filter_forward",
            hook(ChainKind::Filter, HookPoint::Forward, 0),
            vec![
                vec![is_in(&[Daddr(V4)], "wide4"), goto("refuse")],
                vec![is_in(&[Saddr(V4)], "borders4"), goto("refuse")],
            ],
        ),
        (
            "services",
            None,
            vec![
                vec![is_in(&[Saddr(V4)], "pods4"), vmap(&services(V4), "services4")],
                vec![Statement::SaddrIsLocal, vmap(&services(V6), "services6")],
                vec![is_in(&[Daddr(V4)], "node_ips4"), vmap(&[L4Proto, Dport], "nodeports4")],
                vec![
                    is_in(&[Saddr(V6)], "pods6"),
                    is_in(&[Saddr(V6)], "wide6"),
                    V(Verdict::Return),
                ],
                vec![Statement::L4Proto(Protocol::Sctp), goto("affine")],
            ],
        ),
        (
            "source_ranges",
            None,
            vec![
                vec![
                    Statement::Lookup {
                        key: sources(V4).to_vec(),
                        set: "source_ranges4".into(),
                        is_negated: true,
                    },
                    V(Verdict::Drop),
                ],
                vec![
                    Statement::Lookup {
                        key: sources(V6).to_vec(),
                        set: "source_ranges6".into(),
                        is_negated: true,
                    },
                    V(Verdict::Drop),
                ],
            ],
        ),
        (
            "pick4_2",
            None,
            vec![vec![dnat_map(
                V4,
                &[&[RandomSlot(2)], &services(V4)[..]].concat(),
                "endpoints4",
            )]],
        ),
        (
            "pick6_3",
            None,
            vec![vec![dnat_map(
                V6,
                &[&[RandomSlot(3)], &services(V6)[..]].concat(),
                "endpoints6",
            )]],
        ),
        (
            "nodeport_pick4_2",
            None,
            vec![vec![dnat_map(
                V4,
                &[RandomSlot(2), L4Proto, Dport],
                "nodeport_endpoints4",
            )]],
        ),
        (
            "nodeport_pick6_1",
            None,
            vec![vec![dnat_map(
                V6,
                &[RandomSlot(1), L4Proto, Dport],
                "nodeport_endpoints6",
            )]],
        ),
        (
            "affine",
            None,
            vec![
                vec![is_in(&[Saddr(V4)], "affinity4/web"), goto("endpoint4/10.244.1.2/8080")],
                vec![Statement::OneIn(2), goto("endpoint4/10.244.1.2/8080")],
                vec![goto("endpoint6")],
            ],
        ),
        (
            "endpoint4/10.244.1.2/8080",
            None,
            vec![
                vec![update(Saddr(V4), "affinity4/web", 3)],
                vec![
                    Statement::L4Proto(Protocol::Tcp),
                    Statement::Dnat(SocketAddr::new(v4("10.244.1.2"), 8080)),
                ],
            ],
        ),
        (
            "endpoint6",
            None,
            vec![
                vec![update(Saddr(V6), "affinity6/web", 24)],
                vec![
                    Statement::L4Proto(Protocol::Udp),
                    Statement::Dnat(SocketAddr::new(v6(2), 53)),
                ],
            ],
        ),
        (
            "masquerading",
            None,
            vec![
                vec![is_in(&[Saddr(V4), Daddr(V4)], "hairpin4"), goto("masq_always")],
                vec![vmap(&[OriginalDaddr(V4)], "masquerade4")],
                vec![vmap(&[OriginalDaddr(V6)], "masquerade6")],
                vec![is_in(&[OriginalDaddr(V4)], "node_ips4"), jump("masquerade_nodeports")],
            ],
        ),
        (
            "masquerade_nodeports",
            None,
            vec![vec![
                Statement::L4Proto(Protocol::Tcp),
                vmap(&[OriginalDport], "masquerade_ports"),
            ]],
        ),
        (
            "masq_always",
            None,
            vec![
                vec![
                    Statement::IifName(InterfacePattern::Prefix("veth".to_owned())),
                    V(Verdict::Return),
                ],
                vec![
                    Statement::IifName(InterfacePattern::Prefix("cni".to_owned())),
                    V(Verdict::Return),
                ],
                vec![
                    Statement::IifName(InterfacePattern::Prefix("cilium_vxlan1".to_owned())),
                    V(Verdict::Return),
                ],
                vec![
                    Statement::IifName(InterfacePattern::Exact("cni0".to_owned())),
                    V(Verdict::Return),
                ],
                vec![
                    Statement::IifName(InterfacePattern::Exact("fifteen-letters".to_owned())),
                    V(Verdict::Return),
                ],
                vec![Statement::Masquerade],
            ],
        ),
        ("refuse", None, vec![vec![Statement::Reject]]),
        ("empty", None, vec![]),
    ]
}

/// A table with every kind of set, element and statement.
pub(crate) fn everything() -> Table {
    let chains = chains().into_iter().map(|(name, hook, rules)| {
        let rules = rules.into_iter().map(Rule).collect();
        (Name::from(name), Chain { hook, rules })
    });
    let sets = sets().into_iter().map(|(name, set)| (Name::from(name), set));
    Table {
        chains: chains.collect(),
        sets: sets.collect(),
    }
}

/// A map of `count` endpoints, with nothing else.
pub(crate) fn many(count: u32) -> Table {
    let elements = (0..count).map(|index| {
        let address = IpAddr::from((0x0a60_0000 + index).to_be_bytes());
        (slot(0, address, 80), endpoint(v4("10.244.1.2"), 8080))
    });
    let endpoints = keys(
        &[Slot, Ipv4Addr, InetProto, InetService],
        SetData::Fields(&[Ipv4Addr, InetService]),
        elements,
    );
    Table {
        chains: [].into(),
        sets: [("endpoints4".into(), endpoints)].into(),
    }
}
