//! `loadBalancerSourceRanges` and `ipMode`.

use std::net::IpAddr;

use fairlead_lab::{Family, Namespace, Protocol, test_name};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node_port, service, slices, with, with_ingress};
use crate::verdict::{Verdict, assert_verdict, probe};
use crate::world::{CLUSTER_CIDR, Workload, World, in_world};

const VIPS: [&str; 2] = ["203.0.113.1", "2001:db8:2::1"];
const FIRST_CLIENT: [&str; 2] = ["172.30.0.100/32", "fd00:172:30::100/128"];

fn load_balancer(ranges: &[&str]) -> Value {
    let spec = json!({
        "type": "LoadBalancer",
        "clusterIPs": cluster_ips(1),
        "externalIPs": ["198.51.100.1", "2001:db8:1::1"],
        "ports": [node_port("http", Protocol::Tcp, 80, 30080), node_port("dns", Protocol::Udp, 53, 30053)],
        "loadBalancerSourceRanges": ranges,
    });
    with_ingress(service("web", spec), &VIPS)
}

fn web_slices(endpoints: &[Endpoint]) -> Vec<Value> {
    slices(
        "web",
        &[("http", Protocol::Tcp, 8080), ("dns", Protocol::Udp, 8080)],
        endpoints,
    )
}

/// Sees whether connections to the load balancer address, by both protocols and in both families, are answered by `web`.
#[track_caller]
fn assert_allowed(world: &World, from: &Namespace, is_allowed: bool) {
    for (family, vip) in Family::BOTH.into_iter().zip(VIPS) {
        for (protocol, port) in [(Protocol::Tcp, 80), (Protocol::Udp, 53)] {
            let gateway = world.lab.node(1).pod_addresses(1).of(family);
            let expected = if is_allowed {
                Verdict::answers(&["web"], gateway)
            } else {
                Verdict::Dropped
            };
            assert_verdict(from, probe(protocol, vip.parse().unwrap(), port), &expected);
        }
    }
}

#[test]
fn only_allowed_sources_reach_the_load_balancer_address() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let other = world.lab.add_client("other").unwrap();
        let apply = |world: &mut World, ranges: &[&str]| {
            let mut objects = web_slices(&[Endpoint::ready(&web)]);
            objects.push(load_balancer(ranges));
            world.apply(objects);
        };
        apply(world, &FIRST_CLIENT);
        assert_allowed(world, world.lab.client(), true);
        assert_allowed(world, &other, false);
        // Pods and the node are subject to the ranges as well.
        assert_allowed(world, &visitor, false);
        assert_allowed(world, world.lab.node(1), false);
        // The other frontends are not guarded.
        for (family, [cluster_ip, external_ip]) in Family::BOTH
            .into_iter()
            .zip([["10.96.0.1", "198.51.100.1"], ["fd00:10:96::1", "2001:db8:1::1"]])
        {
            let gateway = world.lab.node(1).pod_addresses(1).of(family);
            let answers = Verdict::answers(&["web"], gateway);
            for address in [cluster_ip, external_ip] {
                assert_verdict(&other, probe(Protocol::Tcp, address.parse().unwrap(), 80), &answers);
            }
            let node = world.lab.node(1).addresses().of(family);
            assert_verdict(&other, probe(Protocol::Tcp, node, 30080), &answers);
        }

        // A change is in force at once, also for those who were allowed. White space is no error.
        apply(world, &[" 172.30.0.101/32 ", "fd00:172:30::101/128\t"]);
        assert_allowed(world, world.lab.client(), false);
        assert_allowed(world, &other, true);
        // Overlapping ranges, and one that holds the others.
        apply(
            world,
            &[
                "172.30.0.100/31",
                "172.30.0.0/24",
                "10.244.1.0/24",
                "fd00:172:30::/64",
                "fd00:10:244:1::/64",
            ],
        );
        assert_allowed(world, world.lab.client(), true);
        assert_allowed(world, &other, true);
        assert_allowed(world, &visitor, true);
        assert_allowed(world, world.lab.node(1), true);
        apply(world, &[]);
        assert_allowed(world, &other, true);
    });
}

#[test]
fn a_source_that_is_not_allowed_hears_nothing_even_without_endpoints() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        let other = world.lab.add_client("other").unwrap();
        let mut objects = web_slices(&[Endpoint::ready(&web).not_ready()]);
        objects.push(load_balancer(&FIRST_CLIENT));
        world.apply(objects);
        assert_allowed(world, &other, false);
        for vip in VIPS.map(|vip| vip.parse().unwrap()) {
            assert_verdict(world.lab.client(), probe(Protocol::Tcp, vip, 80), &Verdict::Refused);
            assert_verdict(world.lab.client(), probe(Protocol::Udp, vip, 53), &Verdict::Refused);
        }
    });
}

#[test]
fn ranges_of_one_family_leave_the_other_unguarded() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        let mut objects = web_slices(&[Endpoint::ready(&web)]);
        objects.push(load_balancer(&["10.9.0.0/16"]));
        world.apply(objects);
        let [v4, v6]: [IpAddr; 2] = VIPS.map(|vip| vip.parse().unwrap());
        assert_verdict(world.lab.client(), probe(Protocol::Tcp, v4, 80), &Verdict::Dropped);
        let gateway = world.lab.node(1).pod_addresses(1).v6;
        assert_verdict(
            world.lab.client(),
            probe(Protocol::Tcp, v6, 80),
            &Verdict::answers(&["web"], gateway),
        );
    });
}

#[test]
fn a_node_that_is_allowed_may_come_from_the_address_itself() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        // Some clouds put the load balancer's address on the node. The node's own connections to it then come from it.
        for vip in VIPS {
            let address: IpAddr = vip.parse().unwrap();
            world.lab.node(1).add_address("lo", address.into()).unwrap();
        }
        let apply = |world: &mut World, ranges: &[&str]| {
            let mut objects = web_slices(&[Endpoint::ready(&web)]);
            objects.push(load_balancer(ranges));
            world.apply(objects);
        };
        apply(world, &FIRST_CLIENT);
        assert_allowed(world, world.lab.node(1), false);
        apply(world, &["172.30.0.11/32", "fd00:172:30::11/128"]);
        assert_allowed(world, world.lab.node(1), true);
        assert_allowed(world, world.lab.client(), false);
    });
}

#[test]
fn an_address_of_mode_proxy_is_not_captured() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let web = Workload::start(world, 1, "web", &[8080]);
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        // A proxy of a cloud's load balancer would be at the address; on the lab's LAN nobody is.
        let mut proxied = load_balancer(&FIRST_CLIENT);
        let ingress = |mode: &str| VIPS.map(|vip| json!({ "ip": vip, "ipMode": mode }));
        proxied["status"]["loadBalancer"]["ingress"] = json!(ingress("Proxy"));
        let mut objects = web_slices(&[Endpoint::ready(&web)]);
        objects.push(proxied.clone());
        world.apply(objects);
        for vip in VIPS.map(|vip| vip.parse().unwrap()) {
            for from in [&*visitor, world.lab.client(), world.lab.node(1)] {
                assert_verdict(from, probe(Protocol::Tcp, vip, 80), &Verdict::Unreachable);
            }
        }
        // Mode VIP is what no mode means.
        proxied["status"]["loadBalancer"]["ingress"] = json!(ingress("VIP"));
        let mut objects = web_slices(&[Endpoint::ready(&web)]);
        objects.push(with(proxied, "loadBalancerSourceRanges", json!(null)));
        world.apply(objects);
        assert_allowed(world, &visitor, true);
    });
}
