//! Which addresses accept node ports: `--nodeport-addresses`.

use std::net::IpAddr;

use fairlead_lab::{Family, Protocol, Server, test_name, wait_until};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node, node_port, service, slices};
use crate::verdict::{Verdict, assert_verdict, check, probe};
use crate::world::{CLUSTER_CIDR, PATIENT, Workload, World, in_world};

const NODE_PORT: u16 = 30080;
/// Addresses of node-1 beside its first ones.
const SECOND: [&str; 2] = ["172.30.0.211", "fd00:172:30::211"];

fn objects(endpoints: &[Endpoint]) -> Vec<Value> {
    let spec = json!({
        "type": "NodePort",
        "clusterIPs": cluster_ips(1),
        "ports": [node_port("http", Protocol::Tcp, 80, NODE_PORT), node_port("dns", Protocol::Udp, 80, NODE_PORT)],
    });
    let mut objects = slices(
        "web",
        &[("http", Protocol::Tcp, 8080), ("dns", Protocol::Udp, 8080)],
        endpoints,
    );
    objects.push(service("web", spec));
    objects
}

fn parse(texts: [&str; 2]) -> [IpAddr; 2] {
    texts.map(|text| text.parse().unwrap())
}

fn add_second_addresses(world: &World) {
    for (address, length) in parse(SECOND).into_iter().zip([24, 64]) {
        world
            .lab
            .node(1)
            .add_address("eth0", IpNet::new(address, length).unwrap())
            .unwrap();
    }
}

/// A program of the node itself with the same port number, at addresses where the agent should leave it alone.
fn listen_on_node(world: &World, addresses: &[IpAddr]) -> Server {
    let listen: Vec<_> = [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .flat_map(|protocol| {
            addresses
                .iter()
                .map(move |&address| (protocol, (address, NODE_PORT).into()))
        })
        .collect();
    world.lab.node(1).serve("own", &listen).unwrap()
}

/// Sees who answers the client at node ports of this address.
#[track_caller]
fn assert_served(world: &World, address: IpAddr, is_served: bool) {
    let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
    let expected = if is_served {
        Verdict::answers(&["web"], world.lab.node(1).pod_addresses(1).of(family))
    } else {
        // Untouched: the node's own program answers, and sees the client.
        Verdict::answers(&["own"], world.lab.client().addresses().of(family))
    };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        assert_verdict(world.lab.client(), probe(protocol, address, NODE_PORT), &expected);
    }
}

#[test]
fn only_accepted_addresses_serve_node_ports() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        add_second_addresses(world);
        let web = Workload::start(world, 1, "web", &[8080]);
        world.apply(objects(&[Endpoint::ready(&web)]));
        let first = world.lab.node(1).addresses().both();
        let second = parse(SECOND);
        let [v4, v6] = [0, 1];
        let _own = listen_on_node(world, &[first, second].concat());

        // The default: the node's primary addresses.
        for address in first {
            assert_served(world, address, true);
        }
        for address in second {
            assert_served(world, address, false);
        }

        world.restart_with(
            1,
            &[
                CLUSTER_CIDR,
                "--nodeport-addresses=172.30.0.208/28,fd00:172:30::208/125",
            ],
        );
        for address in second {
            assert_served(world, address, address == second[v4]);
        }
        for address in first {
            assert_served(world, address, false);
        }

        // A family that no range is given for accepts everywhere.
        world.restart_with(1, &[CLUSTER_CIDR, "--nodeport-addresses=172.30.0.211/32"]);
        assert_served(world, second[v4], true);
        assert_served(world, first[v4], false);
        assert_served(world, second[v6], true);
        assert_served(world, first[v6], true);

        world.restart_with(1, &[CLUSTER_CIDR, "--nodeport-addresses=primary,172.30.0.211/32"]);
        assert_served(world, first[v4], true);
        assert_served(world, second[v4], true);
        assert_served(world, second[v6], false);

        for all in ["--nodeport-addresses=all", "--nodeport-addresses=0.0.0.0/0,::/0"] {
            world.restart_with(1, &[CLUSTER_CIDR, all]);
            for address in [first, second, world.lab.node(1).pod_addresses(1).both()].concat() {
                assert_served(world, address, true);
            }
        }
    });
}

#[test]
fn the_node_object_says_which_addresses_are_primary() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        add_second_addresses(world);
        let web = Workload::start(world, 1, "web", &[8080]);
        let mut described = node(world.lab.node(1), &json!({}));
        described["status"]["addresses"] = json!(SECOND.map(|ip| json!({ "type": "InternalIP", "address": ip })));
        let mut objects = objects(&[Endpoint::ready(&web)]);
        objects.push(described);
        world.apply(objects);
        let first = world.lab.node(1).addresses().both();
        let _own = listen_on_node(world, &[first, parse(SECOND)].concat());
        for address in first {
            assert_served(world, address, false);
        }
        for address in parse(SECOND) {
            assert_served(world, address, true);
        }
    });
}

#[test]
fn loopback_never_serves_node_ports() {
    in_world(test_name!(), &[CLUSTER_CIDR, "--nodeport-addresses=all"], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        world.apply(objects(&[Endpoint::ready(&web)]));
        let loopback = parse(["127.0.0.1", "::1"]);
        for address in loopback {
            let target = probe(Protocol::Tcp, address, NODE_PORT);
            assert_verdict(world.lab.node(1), target, &Verdict::Refused);
        }
        let _own = listen_on_node(world, &loopback);
        for address in loopback {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let expected = Verdict::answers(&["own"], address);
                assert_verdict(world.lab.node(1), probe(protocol, address, NODE_PORT), &expected);
            }
        }
    });
}

#[test]
fn an_address_that_comes_or_goes_is_noticed() {
    in_world(test_name!(), &[CLUSTER_CIDR, "--nodeport-addresses=all"], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        world.apply(objects(&[Endpoint::ready(&web)]));
        add_second_addresses(world);
        for (family, address) in Family::BOTH.into_iter().zip(parse(SECOND)) {
            let expected = Verdict::answers(&["web"], world.lab.node(1).pod_addresses(1).of(family));
            wait_until(PATIENT, "the new address to serve", || {
                check(world.lab.client(), probe(Protocol::Tcp, address, NODE_PORT), &expected).is_ok()
            })
            .unwrap();
        }
        for (address, length) in parse(SECOND).into_iter().zip([24, 64]) {
            world
                .lab
                .node(1)
                .delete_address("eth0", IpNet::new(address, length).unwrap())
                .unwrap();
        }
        let text = || format!("{:?}", world.table(1).unwrap().sets["node_ips4"].elements.len());
        wait_until(PATIENT, "the address to be forgotten", || text() == "2").unwrap();
    });
}

#[test]
fn a_node_port_without_endpoints_is_refused_where_it_is_accepted() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        add_second_addresses(world);
        let web = Workload::start(world, 1, "web", &[8080]);
        world.apply(objects(&[Endpoint::ready(&web).not_ready()]));
        let first = world.lab.node(1).addresses().both();
        let _own = listen_on_node(world, &[first, parse(SECOND)].concat());
        for address in first {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                assert_verdict(
                    world.lab.client(),
                    probe(protocol, address, NODE_PORT),
                    &Verdict::Refused,
                );
            }
        }
        for address in parse(SECOND) {
            assert_served(world, address, false);
        }
    });
}
