//! One address, several Services with different policies.

use std::net::IpAddr;

use fairlead_lab::{Family, Protocol, test_name};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node_port, service, slices, with, with_ingress};
use crate::verdict::{Verdict, assert_verdict, probe};
use crate::world::{CLUSTER_CIDR, Workload, World, in_world};

/// Endpoints on node-1 and node-2.
fn stage(world: &World) -> [Workload; 2] {
    [1, 2].map(|node| Workload::start(world, node, &format!("web-{node}"), &[8080]))
}

/// A Service with policies of its own that listens on `80 + number` and node port `30080 + number`.
fn web(number: u8, external_policy: &str, web: &[Workload]) -> Vec<Value> {
    let name = format!("web-{number}");
    let (port, external_port) = (80 + u16::from(number), 30_080 + u16::from(number));
    let spec = json!({
        "type": "LoadBalancer",
        "clusterIPs": cluster_ips(number),
        "externalTrafficPolicy": external_policy,
        "ports": [node_port("tcp", Protocol::Tcp, port, external_port), node_port("udp", Protocol::Udp, port, external_port)],
    });
    let endpoints: Vec<_> = web.iter().map(|pod| Endpoint::ready(pod)).collect();
    let mut objects = vec![service(&name, spec)];
    objects.extend(slices(
        &name,
        &[("tcp", Protocol::Tcp, 8080), ("udp", Protocol::Udp, 8080)],
        &endpoints,
    ));
    objects
}

/// What a client outside gets from a frontend on node-1 with policy Cluster: every endpoint, and the node as its source.
fn of_policy_cluster(world: &World, family: Family) -> Verdict {
    let node = world.lab.node(1);
    let seen = [("web-1", node.pod_addresses(1)), ("web-2", node.addresses())];
    Verdict::Answers(
        seen.map(|(server, source)| (server.to_owned(), source.of(family)))
            .into(),
    )
}

/// The same with policy Local: the node's own endpoint, which sees the client.
fn of_policy_local(world: &World, family: Family) -> Verdict {
    Verdict::answers(&["web-1"], world.lab.client().addresses().of(family))
}

#[track_caller]
fn assert_from_outside(world: &World, addresses: [IpAddr; 2], port: u16, expected: fn(&World, Family) -> Verdict) {
    for (family, address) in Family::BOTH.into_iter().zip(addresses) {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_verdict(
                world.lab.client(),
                probe(protocol, address, port),
                &expected(world, family),
            );
        }
    }
}

#[test]
fn services_with_different_policies_share_a_load_balancer_address() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let pods = stage(world);
        let vips = ["203.0.113.1", "2001:db8:2::1"];
        let apply = |world: &mut World, policies: &[&str]| {
            let mut objects = Vec::new();
            for (number, policy) in (1..).zip(policies) {
                let mut of_service = web(number, policy, &pods);
                of_service[0] = with_ingress(of_service[0].clone(), &vips);
                objects.extend(of_service);
            }
            world.apply(objects);
        };
        let addresses = vips.map(|vip| vip.parse().unwrap());
        apply(world, &["Cluster", "Local"]);
        assert_from_outside(world, addresses, 81, of_policy_cluster);
        assert_from_outside(world, addresses, 82, of_policy_local);
        apply(world, &["Local", "Local", "Cluster"]);
        assert_from_outside(world, addresses, 81, of_policy_local);
        assert_from_outside(world, addresses, 82, of_policy_local);
        assert_from_outside(world, addresses, 83, of_policy_cluster);
        apply(world, &["Local"]);
        assert_from_outside(world, addresses, 81, of_policy_local);
        apply(world, &["Cluster"]);
        assert_from_outside(world, addresses, 81, of_policy_cluster);
    });
}

#[test]
fn an_external_ip_may_be_the_nodes_own_address() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let pods = stage(world);
        let node = world.lab.node(1).addresses().both();
        let apply = |world: &mut World, external: &str, by_node_port: &str| {
            let mut objects = web(1, external, &pods);
            objects[0] = with(objects[0].clone(), "externalIPs", json!(node));
            objects.extend(web(2, by_node_port, &pods));
            world.apply(objects);
        };
        apply(world, "Local", "Cluster");
        assert_from_outside(world, node, 81, of_policy_local);
        assert_from_outside(world, node, 30_081, of_policy_local);
        assert_from_outside(world, node, 30_082, of_policy_cluster);
        apply(world, "Cluster", "Local");
        assert_from_outside(world, node, 81, of_policy_cluster);
        assert_from_outside(world, node, 30_081, of_policy_cluster);
        assert_from_outside(world, node, 30_082, of_policy_local);
        // The address is nobody's external IP any more; node ports go on.
        let mut objects = web(1, "Cluster", &pods);
        objects.extend(web(2, "Local", &pods));
        world.apply(objects);
        assert_from_outside(world, node, 30_081, of_policy_cluster);
        assert_from_outside(world, node, 30_082, of_policy_local);
        assert_verdict(world.lab.client(), probe(Protocol::Tcp, node[0], 81), &Verdict::Refused);
    });
}

#[test]
fn a_load_balancer_address_on_the_node_itself_is_served() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let pods = stage(world);
        let vips: [IpAddr; 2] = ["203.0.113.1", "2001:db8:2::1"].map(|vip| vip.parse().unwrap());
        for vip in vips {
            world.lab.node(1).add_address("lo", vip.into()).unwrap();
        }
        for (policy, expected) in [
            ("Cluster", of_policy_cluster as fn(&World, Family) -> Verdict),
            ("Local", of_policy_local),
        ] {
            let mut objects = web(1, policy, &pods);
            objects[0] = with_ingress(objects[0].clone(), &["203.0.113.1", "2001:db8:2::1"]);
            world.apply(objects);
            assert_from_outside(world, vips, 81, expected);
            // No node port there: the address is not a primary one.
            assert_verdict(
                world.lab.client(),
                probe(Protocol::Tcp, vips[0], 30_081),
                &Verdict::Refused,
            );
        }
    });
}

#[test]
fn an_address_of_the_node_without_endpoints_is_not_left_to_the_node() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let pods = stage(world);
        let vips = ["203.0.113.1", "2001:db8:2::1"];
        let addresses: [IpAddr; 2] = vips.map(|vip| vip.parse().unwrap());
        let node = world.lab.node(1);
        for vip in addresses {
            node.add_address("lo", vip.into()).unwrap();
        }
        // Programs of the node that listen everywhere: ssh, or the API server.
        let own = ["0.0.0.0:81", "[::]:81"].map(|everywhere| (Protocol::Tcp, everywhere.parse().unwrap()));
        let _own = node.serve("own", &own).unwrap();
        let node = node.addresses().both();
        let apply = |world: &mut World, policy: &str, pods: &[Workload]| {
            let mut objects = web(1, policy, pods);
            objects[0] = with(with_ingress(objects[0].clone(), &vips), "externalIPs", json!(node));
            world.apply(objects);
        };
        for (policy, pods, expected) in [
            ("Local", &pods[1..], Verdict::Dropped),
            ("Local", &[], Verdict::Refused),
            ("Cluster", &[], Verdict::Refused),
        ] {
            apply(world, policy, pods);
            for address in addresses.into_iter().chain(node) {
                assert_verdict(world.lab.client(), probe(Protocol::Tcp, address, 81), &expected);
                assert_verdict(world.lab.client(), probe(Protocol::Udp, address, 81), &expected);
            }
        }
    });
}

#[test]
fn of_two_services_that_claim_an_address_the_second_takes_over_when_the_first_lets_go() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let [first, second] = stage(world);
        let external_ips = ["198.51.100.1", "2001:db8:1::1"];
        let claim = |number: u8, policy: &str, pod: &Workload| {
            let mut objects = web(number, policy, std::slice::from_ref(pod));
            let ports = [node_port("tcp", Protocol::Tcp, 80, 0)];
            objects[0] = with(
                with(objects[0].clone(), "externalIPs", json!(external_ips)),
                "ports",
                json!(ports),
            );
            objects
        };
        let addresses = external_ips.map(|address| address.parse().unwrap());
        let assert_served = |world: &World, expected: fn(&World, Family) -> Verdict| {
            for (family, address) in Family::BOTH.into_iter().zip(addresses) {
                assert_verdict(
                    world.lab.client(),
                    probe(Protocol::Tcp, address, 80),
                    &expected(world, family),
                );
            }
        };
        let by_second = |world: &World, family| Verdict::answers(&["web-2"], world.lab.node(1).addresses().of(family));
        let local = claim(1, "Local", &first);
        let cluster = claim(2, "Cluster", &second);
        world.apply(local.clone().into_iter().chain(cluster.clone()));
        assert_served(world, of_policy_local);
        world.apply(cluster.clone());
        assert_served(world, by_second);
        world.apply(local.clone().into_iter().chain(cluster));
        assert_served(world, of_policy_local);
        world.apply(local);
        assert_served(world, of_policy_local);
    });
}
