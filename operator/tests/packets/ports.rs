//! Ports: by name, by protocol, and by slice.

use std::net::IpAddr;

use fairlead_lab::{Family, Protocol, test_name};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node_port, port, service, slice, slices, with_ingress};
use crate::verdict::{Verdict, assert_verdict, probe};
use crate::world::{CLUSTER_CIDR, Workload, World, in_world};

const CLUSTER_IPS: [&str; 2] = ["10.96.0.1", "fd00:10:96::1"];

/// Asks the cluster IPs from a pod of node-1 and expects these workloads, which see the pod itself.
#[track_caller]
fn assert_served(visitor: &fairlead_lab::Pod, protocol: Protocol, port: u16, servers: &[&str]) {
    for (family, cluster_ip) in Family::BOTH.into_iter().zip(CLUSTER_IPS) {
        let expected = Verdict::answers(servers, visitor.addresses().of(family));
        assert_verdict(visitor, probe(protocol, cluster_ip.parse().unwrap(), port), &expected);
    }
}

#[track_caller]
fn assert_refused(visitor: &fairlead_lab::Pod, protocol: Protocol, port: u16) {
    for cluster_ip in CLUSTER_IPS {
        assert_verdict(
            visitor,
            probe(protocol, cluster_ip.parse().unwrap(), port),
            &Verdict::Refused,
        );
    }
}

#[test]
fn one_port_number_may_lead_elsewhere_by_each_protocol() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let tcp = Workload::start(world, 2, "tcp", &[5353]);
        let udp = Workload::start(world, 3, "udp", &[5354]);
        let ports = [
            node_port("stream", Protocol::Tcp, 53, 30053),
            node_port("datagram", Protocol::Udp, 53, 30053),
        ];
        let spec = json!({ "type": "NodePort", "clusterIPs": cluster_ips(1), "ports": ports });
        let mut objects = vec![service("dns", spec)];
        objects.extend(slices(
            "dns",
            &[("stream", Protocol::Tcp, 5353)],
            &[Endpoint::ready(&tcp)],
        ));
        objects.extend(slices(
            "dns",
            &[("datagram", Protocol::Udp, 5354)],
            &[Endpoint::ready(&udp)],
        ));
        world.apply(objects);
        assert_served(&visitor, Protocol::Tcp, 53, &["tcp"]);
        assert_served(&visitor, Protocol::Udp, 53, &["udp"]);
        for family in Family::BOTH {
            let node = world.lab.node(1).addresses().of(family);
            for (protocol, server) in [(Protocol::Tcp, "tcp"), (Protocol::Udp, "udp")] {
                let expected = Verdict::answers(&[server], node);
                assert_verdict(world.lab.client(), probe(protocol, node, 30053), &expected);
            }
        }
    });
}

#[test]
fn two_services_may_share_an_address_by_protocol() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let tcp = Workload::start(world, 1, "tcp", &[8080]);
        let udp = Workload::start(world, 1, "udp", &[8080]);
        let mut objects = Vec::new();
        for (number, name, protocol, pod) in [(1, "tcp", Protocol::Tcp, &tcp), (2, "udp", Protocol::Udp, &udp)] {
            let spec = json!({
                "clusterIPs": cluster_ips(number),
                "externalIPs": ["198.51.100.1", "2001:db8:1::1"],
                "ports": [port("", protocol, 53)],
            });
            objects.push(service(name, spec));
            objects.extend(slices(name, &[("", protocol, 8080)], &[Endpoint::ready(pod)]));
        }
        world.apply(objects);
        for (family, address) in Family::BOTH.into_iter().zip(["198.51.100.1", "2001:db8:1::1"]) {
            let gateway = world.lab.node(1).pod_addresses(1).of(family);
            for (protocol, server) in [(Protocol::Tcp, "tcp"), (Protocol::Udp, "udp")] {
                let expected = Verdict::answers(&[server], gateway);
                assert_verdict(
                    world.lab.client(),
                    probe(protocol, address.parse().unwrap(), 53),
                    &expected,
                );
            }
        }
    });
}

#[test]
fn each_slice_may_have_ports_of_its_own() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let old = Workload::start(world, 1, "old", &[8080, 9090]);
        let new = Workload::start(world, 2, "new", &[8181, 9191]);
        let third = Workload::start(world, 3, "third", &[8181]);
        let ports = [port("http", Protocol::Tcp, 80), port("admin", Protocol::Tcp, 81)];
        let mut objects = vec![service("web", json!({ "clusterIPs": cluster_ips(1), "ports": ports }))];
        for family in Family::BOTH {
            let named = |http, admin| [("http", Protocol::Tcp, http), ("admin", Protocol::Tcp, admin)];
            objects.push(slice("web", family, &named(8080, 9090), &[Endpoint::ready(&old)]));
            objects.push(slice("web", family, &named(8181, 9191), &[Endpoint::ready(&new)]));
            // One port only.
            objects.push(slice(
                "web",
                family,
                &[("http", Protocol::Tcp, 8181)],
                &[Endpoint::ready(&third)],
            ));
        }
        world.apply(objects);
        assert_served(&visitor, Protocol::Tcp, 80, &["old", "new", "third"]);
        assert_served(&visitor, Protocol::Tcp, 81, &["old", "new"]);
    });
}

#[test]
fn many_endpoints_in_one_slice_and_in_many_are_all_reached() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let names: Vec<_> = (1..=9).map(|number| format!("web-{number}")).collect();
        let pods: Vec<_> = names.iter().zip([1, 2, 3].into_iter().cycle()).collect();
        let pods: Vec<_> = pods
            .iter()
            .map(|(name, node)| Workload::start(world, *node, name, &[8080]))
            .collect();
        let endpoints: Vec<_> = pods.iter().map(|pod| Endpoint::ready(pod)).collect();
        let spec = service(
            "web",
            json!({ "clusterIPs": cluster_ips(1), "ports": [port("", Protocol::Tcp, 80)] }),
        );
        let http = [("", Protocol::Tcp, 8080)];
        let servers: Vec<_> = names.iter().map(String::as_str).collect();

        // One slice of each family for six, one for each of the others.
        let (together, apart) = endpoints.split_at(6);
        let mut objects = vec![spec.clone()];
        objects.extend(Family::BOTH.map(|family| slice("web", family, &http, together)));
        objects.extend(slices("web", &http, apart));
        world.apply(objects);
        assert_served(&visitor, Protocol::Tcp, 80, &servers);

        // The set shrinks and grows again.
        for count in [8, 5, 1, 2, 7] {
            let mut objects = vec![spec.clone()];
            objects.extend(slices("web", &http, &endpoints[..count]));
            world.apply(objects);
            assert_served(&visitor, Protocol::Tcp, 80, &servers[..count]);
        }
    });
}

fn web(ports: &[Value], endpoint: &Endpoint) -> Vec<Value> {
    let spec = json!({ "type": "NodePort", "clusterIPs": cluster_ips(1), "ports": ports });
    let mut objects = vec![service("web", spec)];
    let targets = [
        ("http", Protocol::Tcp, 8080),
        ("admin", Protocol::Tcp, 9090),
        ("dns", Protocol::Udp, 8080),
    ];
    objects.extend(slices("web", &targets, std::slice::from_ref(endpoint)));
    objects
}

#[test]
fn ports_come_and_go() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let pod = Workload::start(world, 1, "web", &[8080, 9090]);
        let endpoint = Endpoint::ready(&pod);
        let node = |world: &World| -> [IpAddr; 2] { world.lab.node(1).addresses().both() };
        let from_outside = |world: &World, port: u16, is_served: bool| {
            for (family, address) in Family::BOTH.into_iter().zip(node(world)) {
                let gateway = world.lab.node(1).pod_addresses(1).of(family);
                let expected = if is_served {
                    Verdict::answers(&["web"], gateway)
                } else {
                    Verdict::Refused
                };
                assert_verdict(world.lab.client(), probe(Protocol::Tcp, address, port), &expected);
            }
        };
        let http = node_port("http", Protocol::Tcp, 80, 30080);
        world.apply(web(std::slice::from_ref(&http), &endpoint));
        assert_served(&visitor, Protocol::Tcp, 80, &["web"]);
        assert_refused(&visitor, Protocol::Tcp, 81);
        assert_refused(&visitor, Protocol::Udp, 80);
        from_outside(world, 30080, true);

        // One more of each protocol.
        let all = [
            http.clone(),
            node_port("admin", Protocol::Tcp, 81, 30081),
            port("dns", Protocol::Udp, 80),
        ];
        world.apply(web(&all, &endpoint));
        assert_served(&visitor, Protocol::Tcp, 80, &["web"]);
        assert_served(&visitor, Protocol::Tcp, 81, &["web"]);
        assert_served(&visitor, Protocol::Udp, 80, &["web"]);
        from_outside(world, 30081, true);

        // The first one goes. Its node port is no Service's: the host answers for itself.
        world.apply(web(&all[1..], &endpoint));
        assert_refused(&visitor, Protocol::Tcp, 80);
        assert_served(&visitor, Protocol::Tcp, 81, &["web"]);
        from_outside(world, 30080, false);
        from_outside(world, 30081, true);

        // Numbers change, the name stays.
        world.apply(web(&[node_port("admin", Protocol::Tcp, 82, 30082)], &endpoint));
        assert_refused(&visitor, Protocol::Tcp, 81);
        assert_served(&visitor, Protocol::Tcp, 82, &["web"]);
        from_outside(world, 30081, false);
        from_outside(world, 30082, true);
    });
}

#[test]
fn a_load_balancer_may_have_no_node_ports() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let web = Workload::start(world, 1, "web", &[8080]);
        let spec = json!({
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "clusterIPs": cluster_ips(1),
            "ports": [port("", Protocol::Tcp, 80)],
        });
        let vips = ["203.0.113.1", "2001:db8:2::1"];
        let mut objects = vec![with_ingress(service("web", spec), &vips)];
        objects.extend(slices("web", &[("", Protocol::Tcp, 8080)], &[Endpoint::ready(&web)]));
        world.apply(objects);
        assert_served(&visitor, Protocol::Tcp, 80, &["web"]);
        for (family, vip) in Family::BOTH.into_iter().zip(vips) {
            let expected = Verdict::answers(&["web"], world.lab.node(1).pod_addresses(1).of(family));
            assert_verdict(
                world.lab.client(),
                probe(Protocol::Tcp, vip.parse().unwrap(), 80),
                &expected,
            );
        }
    });
}
