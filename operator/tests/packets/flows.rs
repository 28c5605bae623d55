//! Connections that stand while endpoints change: UDP flows move to where they are answered, TCP connections stay.

use std::net::{IpAddr, SocketAddr};

use fairlead_lab::{Connection, Family, Namespace, Protocol, test_name, wait_until};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node_port, service, slices, with, with_ingress};
use crate::verdict::probe;
use crate::world::{CLUSTER_CIDR, PATIENT, Workload, World, in_world};

const NODE_PORT: u16 = 30053;

fn objects(endpoints: &[Endpoint]) -> Vec<Value> {
    let ports = [
        node_port("udp", Protocol::Udp, 53, NODE_PORT),
        node_port("tcp", Protocol::Tcp, 53, NODE_PORT),
    ];
    let spec = json!({ "type": "LoadBalancer", "clusterIPs": cluster_ips(1), "externalIPs": ["198.51.100.1", "2001:db8:1::1"], "ports": ports });
    let mut objects = vec![with_ingress(service("dns", spec), &["203.0.113.1", "2001:db8:2::1"])];
    objects.extend(slices(
        "dns",
        &[("udp", Protocol::Udp, 5353), ("tcp", Protocol::Tcp, 5353)],
        endpoints,
    ));
    objects
}

/// A frontend, with one connection to it that stays open.
struct Flow {
    name: String,
    connection: Connection,
}

/// Every frontend in both families, from a pod of node-1 and from outside.
fn frontends(world: &World, visitor: &fairlead_lab::Pod) -> Vec<(String, fairlead_lab::Namespace, SocketAddr)> {
    let node = world.lab.node(1).addresses();
    let mut frontends = Vec::new();
    for (family, service_addresses) in Family::BOTH.into_iter().zip([
        ["10.96.0.1", "198.51.100.1", "203.0.113.1"],
        ["fd00:10:96::1", "2001:db8:1::1", "2001:db8:2::1"],
    ]) {
        let targets = service_addresses.map(|address| SocketAddr::new(address.parse::<IpAddr>().unwrap(), 53));
        let targets = targets.into_iter().chain([SocketAddr::new(node.of(family), NODE_PORT)]);
        for target in targets {
            for from in [&**visitor, &**world.lab.client()] {
                frontends.push((format!("{} to {target}", from.name()), Namespace::clone(from), target));
            }
        }
    }
    frontends
}

fn open(protocol: Protocol, frontends: &[(String, Namespace, SocketAddr)]) -> Vec<Flow> {
    let flows = frontends.iter().map(|(name, from, target)| {
        let probe = probe(protocol, target.ip(), target.port()).within(std::time::Duration::from_millis(300));
        let connection = probe.open(from).unwrap_or_else(|answer| panic!("{name}: {answer:?}"));
        Flow {
            name: name.clone(),
            connection,
        }
    });
    flows.collect()
}

impl Flow {
    fn server(&mut self) -> Option<String> {
        self.connection.ask().answer.server().map(str::to_owned)
    }

    #[track_caller]
    fn wait_for(&mut self, server: &str) {
        let what = format!("{}: an answer of {server}", self.name);
        wait_until(PATIENT, &what, || self.server().as_deref() == Some(server)).unwrap();
    }
}

#[test]
fn a_udp_flow_moves_when_its_endpoint_is_gone_and_not_before() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let [first, second] = [1, 2].map(|node| Workload::start(world, node, &format!("dns-{node}"), &[5353]));
        world.apply(objects(&[Endpoint::ready(&first)]));
        let mut flows = open(Protocol::Udp, &frontends(world, &visitor));
        for flow in &mut flows {
            assert_eq!(flow.server().as_deref(), Some("dns-1"), "{}", flow.name);
        }
        // A better choice, and one that only terminates, are no reason to move.
        world.apply(objects(&[Endpoint::ready(&first), Endpoint::ready(&second)]));
        for flow in &mut flows {
            assert_eq!(flow.server().as_deref(), Some("dns-1"), "{}", flow.name);
        }
        world.apply(objects(&[
            Endpoint::ready(&first).terminating(),
            Endpoint::ready(&second),
        ]));
        for flow in &mut flows {
            assert_eq!(flow.server().as_deref(), Some("dns-1"), "{}", flow.name);
        }
        // The client keeps sending from the same port, so that conntrack would never forget the flow.
        world.apply(objects(&[Endpoint::ready(&second)]));
        for flow in &mut flows {
            flow.wait_for("dns-2");
        }
        // It fails, and does not go away.
        world.apply(objects(&[
            Endpoint::ready(&first),
            Endpoint::ready(&second).not_ready(),
        ]));
        for flow in &mut flows {
            flow.wait_for("dns-1");
        }
    });
}

#[test]
fn a_udp_flow_that_began_before_the_service_is_served_when_it_comes() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let web = Workload::start(world, 1, "dns-1", &[5353]);
        let begin = |world: &World| {
            let mut flows = open(Protocol::Udp, &frontends(world, &visitor));
            for flow in &mut flows {
                assert_eq!(flow.server(), None, "{}", flow.name);
            }
            flows
        };
        // Flows that nobody answered before there was a Service, before it had endpoints, and when they are no more.
        let mut flows = begin(world);
        world.apply(objects(&[]));
        flows.extend(begin(world));
        world.apply(objects(&[Endpoint::ready(&web)]));
        for flow in &mut flows {
            flow.wait_for("dns-1");
        }
        world.apply(objects(&[]));
        let mut later = begin(world);
        world.apply(objects(&[Endpoint::ready(&web)]));
        for flow in later.iter_mut().chain(&mut flows) {
            flow.wait_for("dns-1");
        }
    });
}

#[test]
fn an_agent_that_starts_forgets_the_flows_that_went_stale_meanwhile() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let [first, second] = [1, 2].map(|node| Workload::start(world, node, &format!("dns-{node}"), &[5353]));
        world.apply(objects(&[Endpoint::ready(&first)]));
        let mut flows = open(Protocol::Udp, &frontends(world, &visitor));
        for flow in &mut flows {
            assert_eq!(flow.server().as_deref(), Some("dns-1"), "{}", flow.name);
        }
        world.kill_agent(1);
        world.write(objects(&[Endpoint::ready(&second)]));
        for flow in &mut flows {
            assert_eq!(flow.server().as_deref(), Some("dns-1"), "{}", flow.name);
        }
        world.start_agent(1);
        world.settle();
        for flow in &mut flows {
            flow.wait_for("dns-2");
        }
    });
}

#[test]
fn established_tcp_connections_stay_where_they_are() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let [first, second] = [1, 2].map(|node| Workload::start(world, node, &format!("dns-{node}"), &[5353]));
        let places = frontends(world, &visitor);
        world.apply(objects(&[Endpoint::ready(&first)]));
        let mut flows = open(Protocol::Tcp, &places);
        let mut assert_stay = |what: &str| {
            for flow in &mut flows {
                assert_eq!(flow.server().as_deref(), Some("dns-1"), "{}, {what}", flow.name);
            }
        };
        world.apply(objects(&[
            Endpoint::ready(&first).terminating(),
            Endpoint::ready(&second),
        ]));
        assert_stay("terminating");
        world.apply(objects(&[Endpoint::ready(&second)]));
        assert_stay("without the endpoint");
        for (name, from, target) in &places {
            let answer = probe(Protocol::Tcp, target.ip(), target.port()).send(from).answer;
            assert_eq!(answer.server(), Some("dns-2"), "{name}, a new connection");
        }
        world.apply(objects(&[]));
        assert_stay("without any endpoint");
        world.apply([]);
        assert_stay("without the Service");
    });
}

#[test]
fn a_udp_flow_keeps_its_way_when_the_policy_changes() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "dns-1", &[5353]);
        let with_policy = |policy: &str| {
            let mut all = objects(&[Endpoint::ready(&web)]);
            all[0] = with(all[0].clone(), "externalTrafficPolicy", json!(policy));
            all
        };
        for family in Family::BOTH {
            world.apply(with_policy("Cluster"));
            let target = SocketAddr::new(world.lab.node(1).addresses().of(family), NODE_PORT);
            let ask = |connection: &mut Connection| connection.ask().answer.client();
            let open = |world: &World| {
                probe(Protocol::Udp, target.ip(), target.port())
                    .open(world.lab.client())
                    .unwrap()
            };
            let mut old = open(world);
            let gateway = world.lab.node(1).pod_addresses(1).of(family);
            assert_eq!(ask(&mut old), Some(gateway));
            world.apply(with_policy("Local"));
            assert_eq!(ask(&mut old), Some(gateway), "its endpoint serves as before");
            assert_eq!(ask(&mut open(world)), Some(world.lab.client().addresses().of(family)));
        }
    });
}
