//! The table at the links: as nft prints it, and with packets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use fairlead_dataplane::links::{BUCKETS, Link, LinkTable, Port, Steering};
use fairlead_dataplane::netlink::Ownership;
use fairlead_lab::{Lab, Namespace, Node, Probe, Protocol, in_namespace, test_name};
use fairlead_model as model;
use ipnet::IpNet;

use super::connect;
use super::nft::{nft, sorted_lines};

/// The index that the lab gives it.
const ETH0: u32 = 101;
const VIPS: [&str; 2] = ["172.30.0.200", "fd00:172:30::200"];

fn vips() -> impl Iterator<Item = IpAddr> {
    VIPS.into_iter().map(|vip| vip.parse().unwrap())
}

fn port(address: IpAddr, protocol: model::Protocol, number: u16) -> Port {
    Port {
        address,
        protocol,
        number,
    }
}

/// One bucket of so many goes there, the others stay here.
fn every(step: usize, node: IpAddr) -> Steering {
    Steering {
        by: ("lan0".to_owned(), 2),
        buckets: (0..BUCKETS).step_by(step).map(|bucket| (bucket, node)).collect(),
        is_by_client: false,
    }
}

fn links(names: &[(&str, u32)]) -> BTreeMap<String, Link> {
    let link = |index| Link {
        index,
        ..Link::default()
    };
    names
        .iter()
        .map(|(name, index)| ((*name).to_owned(), link(*index)))
        .collect()
}

fn everything() -> LinkTable {
    let mut table = LinkTable {
        links: links(&[("lan0", 2), ("lan1", 3)]),
        ..LinkTable::default()
    };
    for vip in vips() {
        let node: IpAddr = if vip.is_ipv4() {
            "172.30.0.12"
        } else {
            "fd00:172:30::12"
        }
        .parse()
        .unwrap();
        table
            .steered
            .insert(port(vip, model::Protocol::Tcp, 80), every(64, node));
        table
            .steered
            .insert(port(vip, model::Protocol::Udp, 53), every(64, node));
        let by_client = Steering {
            is_by_client: true,
            ..every(64, node)
        };
        table.steered.insert(port(vip, model::Protocol::Sctp, 9), by_client);
        let second = table.links.get_mut("lan1").unwrap();
        second.addresses.insert(vip);
        second
            .routers
            .push(if vip.is_ipv4() { "10.9.0.1" } else { "fd00:9::1" }.parse().unwrap());
    }
    table
}

fn make_links() {
    for (name, index) in [("lan0", "2"), ("lan1", "3")] {
        let made = Command::new("ip")
            .args(["link", "add", name, "index", index, "type", "bridge"])
            .status();
        assert!(made.unwrap().success());
    }
}

#[test]
fn nft_prints_what_was_written_and_it_can_be_taken_over_and_removed() {
    in_namespace(test_name!(), || {
        let namespace = Namespace::new("node").unwrap();
        namespace.run(|| {
            make_links();
            let list = || nft(&["list", "table", "netdev", "fairlead"]);
            let table = everything();
            let mut first = connect(Ownership::Owned);
            first.set_links(&table).unwrap();
            // What is about the table itself tells of its owner.
            let lines = |text: &str| {
                let all = sorted_lines(text).into_iter();
                all.filter(|line| !line.contains("table") && !line.contains("flags"))
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            assert_eq!(lines(&list()), lines(&table.to_string()));
            let mut other = connect(Ownership::Owned);
            other.set_links(&table).unwrap_err();
            drop(first);
            other
                .set_links(&LinkTable {
                    steered: BTreeMap::new(),
                    ..everything()
                })
                .unwrap();
            assert!(!list().contains("steer"), "{}", list());
            other.set_links(&LinkTable::default()).unwrap();
            assert_eq!(nft(&["list", "tables"]), "");
            // A table that is not there is no fault.
            other.set_links(&LinkTable::default()).unwrap();
        });
    });
}

/// The address is the node's own there, so that its servers can have it; nobody asks for it on the LAN but those who know where it is.
fn serve(node: &Node, vip: IpAddr) -> fairlead_lab::Server {
    node.add_address("lo", IpNet::from(vip)).unwrap();
    node.serve(
        &format!("on-{}", node.number()),
        &[
            (Protocol::Tcp, SocketAddr::new(vip, 80)),
            (Protocol::Udp, SocketAddr::new(vip, 80)),
        ],
    )
    .unwrap()
}

#[test]
fn a_port_is_handed_on_to_the_node_that_has_it_and_the_client_is_kept() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let client = lab.client();
        for vip in vips() {
            let family = model::Family::of(vip);
            let family = match family {
                model::Family::V4 => fairlead_lab::Family::V4,
                model::Family::V6 => fairlead_lab::Family::V6,
            };
            let (owner, other) = (lab.node(1), lab.node(2));
            let _servers = [serve(owner, vip), serve(other, vip)];
            client.route(IpNet::from(vip), owner).unwrap();
            let ask = |protocol, count: usize| {
                let probe = Probe::new(protocol, SocketAddr::new(vip, 80));
                let mut servers = BTreeMap::<_, usize>::new();
                for _ in 0..count {
                    let answer = probe.send(client).answer;
                    assert_eq!(answer.client(), Some(client.addresses().of(family)), "{answer:?}");
                    *servers.entry(answer.server().unwrap().to_owned()).or_default() += 1;
                }
                servers
            };
            let table = |buckets: BTreeMap<u32, IpAddr>, is_by_client| {
                let by = ("eth0".to_owned(), ETH0);
                let steering = Steering {
                    by,
                    buckets,
                    is_by_client,
                };
                let ports = [model::Protocol::Tcp, model::Protocol::Udp]
                    .map(|protocol| (port(vip, protocol, 80), steering.clone()));
                LinkTable {
                    links: links(&[("eth0", 0)]),
                    steered: ports.into(),
                }
            };
            let node = other.addresses().of(family);
            let all: BTreeMap<_, _> = (0..BUCKETS).map(|bucket| (bucket, node)).collect();
            let set = |table: &LinkTable| owner.run(|| connect(Ownership::Shared).set_links(table).unwrap());
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                set(&LinkTable::default());
                assert_eq!(ask(protocol, 4), [("on-1".to_owned(), 4)].into());
                set(&table(all.clone(), false));
                assert_eq!(ask(protocol, 20), [("on-2".to_owned(), 20)].into());
                // Half of the buckets are about half of the connections.
                set(&table(every(2, node).buckets, false));
                let spread = ask(protocol, 100);
                assert!(
                    spread.len() == 2 && spread.values().all(|count| *count > 20),
                    "{spread:?}"
                );
                set(&table(every(2, node).buckets, true));
                assert_eq!(ask(protocol, 20).len(), 1, "a client has one node");
            }
            client.unroute(IpNet::from(vip)).unwrap();
        }
    });
}

/// ```text
///   LAN ── eth0 node-1 eth1 ── near router far ── eth0 visitor
/// ```
/// The node's default route is by the LAN, where nobody knows the visitor.
#[test]
fn what_came_by_the_second_link_is_answered_by_it() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = lab.node(1);
        let (router, visitor) = (Namespace::new("router").unwrap(), Namespace::new("visitor").unwrap());
        router.sysctl("ipv4/ip_forward", "1").unwrap();
        router.sysctl("ipv6/conf/all/forwarding", "1").unwrap();
        node.connect("eth1", &router, "near").unwrap();
        router.connect("far", &visitor, "eth0").unwrap();
        for (vip, second, far) in [
            ("198.51.100.200", "198.51.100.", "203.0.113."),
            ("2001:db8:1::200", "2001:db8:1::", "2001:db8:2::"),
        ] {
            let vip: IpAddr = vip.parse().unwrap();
            let host = |net: &str, last: u8| -> IpNet {
                let len = if vip.is_ipv4() { 24 } else { 64 };
                IpNet::new(format!("{net}{last}").parse().unwrap(), len).unwrap()
            };
            node.add_address("eth1", host(second, 11)).unwrap();
            router.add_address("near", host(second, 1)).unwrap();
            router.add_address("far", host(far, 1)).unwrap();
            visitor.add_address("eth0", host(far, 9)).unwrap();
            visitor
                .add_route(IpNet::from(vip), Some(host(far, 1).addr()), "eth0")
                .unwrap();
            router
                .add_route(IpNet::from(vip), Some(host(second, 11).addr()), "near")
                .unwrap();
            let _server = serve(node, vip);
            let ask = |protocol| {
                let probe = Probe::new(protocol, SocketAddr::new(vip, 80)).within(Duration::from_secs(3));
                probe.send(&visitor).answer.server().is_some()
            };
            assert!(!ask(Protocol::Tcp), "the LAN leads nowhere");
            let mut table = LinkTable {
                links: links(&[("eth0", ETH0), ("eth1", node.index_of("eth1").unwrap())]),
                ..LinkTable::default()
            };
            let eth1 = table.links.get_mut("eth1").unwrap();
            eth1.addresses.insert(vip);
            eth1.routers.push(host(second, 1).addr());
            node.run(|| {
                let mut connection = connect(Ownership::Shared);
                connection.set_links(&table).unwrap();
                // Packets that wait for the router's MAC address are lost. TCP tries again.
                assert!(ask(Protocol::Tcp) && ask(Protocol::Udp), "{vip}");
                connection.set_links(&LinkTable::default()).unwrap();
            });
        }
    });
}
