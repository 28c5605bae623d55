//! `healthCheckNodePort`: what an external load balancer hears of a node.

use std::net::SocketAddr;

use fairlead_lab::{Family, Protocol, test_name, wait_for};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::http::{Response, get};
use crate::manifest::{Endpoint, cluster_ips, node_port, service, slices, with, with_ingress};
use crate::world::{CLUSTER_CIDR, PATIENT, Workload, World, in_world};

const HEALTH_PORT: u16 = 32000;

fn objects(endpoints: &[Endpoint]) -> Vec<Value> {
    let spec = json!({
        "type": "LoadBalancer",
        "clusterIPs": cluster_ips(1),
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": HEALTH_PORT,
        "ports": [node_port("http", Protocol::Tcp, 80, 30080), node_port("admin", Protocol::Tcp, 81, 30081)],
    });
    let mut objects = vec![with_ingress(service("web", spec), &["203.0.113.1", "2001:db8:2::1"])];
    objects.extend(slices(
        "web",
        &[("http", Protocol::Tcp, 8080), ("admin", Protocol::Tcp, 9090)],
        endpoints,
    ));
    objects
}

/// Asks a node from outside, until it says this many local endpoints. The servers follow the rules a moment later.
#[track_caller]
fn assert_endpoints(world: &World, node: u8, count: usize) {
    for family in Family::BOTH {
        let server = SocketAddr::new(world.lab.node(node).addresses().of(family), HEALTH_PORT);
        let what = format!("{server} to tell of {count} endpoints");
        let weight = count.to_string();
        let response = wait_for(PATIENT, &what, || {
            let response = get(world.lab.client(), server, "/any/path?at=all")?;
            (response.header("x-load-balancing-endpoint-weight") == Some(&weight)).then_some(response)
        })
        .unwrap();
        assert_is_answer(&response, count);
    }
}

#[track_caller]
fn assert_is_answer(response: &Response, count: usize) {
    assert_eq!(response.status, if count > 0 { 200 } else { 503 }, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let body: Value = serde_json::from_str(&response.body).unwrap();
    let expected = json!({
        "service": { "namespace": "test", "name": "web" },
        "localEndpoints": count,
        "serviceProxyHealthy": true,
    });
    assert_eq!(body, expected);
    assert!(
        response.body.contains("\n\t\"localEndpoints\""),
        "indented by tabs: {}",
        response.body
    );
}

#[track_caller]
fn assert_closed(world: &World, node: u8) {
    for address in world.lab.node(node).addresses().both() {
        let server = SocketAddr::new(address, HEALTH_PORT);
        wait_for(PATIENT, &format!("{server} to close"), || {
            get(world.lab.client(), server, "/").is_none().then_some(())
        })
        .unwrap();
    }
}

#[test]
fn each_node_tells_of_its_own_ready_endpoints() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let [first, second, third] = [1, 1, 2].map(|node| Workload::start(world, node, "web", &[8080]));
        let [first, second, third] = [&first, &second, &third].map(|pod| Endpoint::ready(pod));
        world.apply(objects(&[first.clone(), second.clone(), third.clone()]));
        assert_endpoints(world, 1, 2);
        assert_endpoints(world, 2, 1);
        assert_endpoints(world, 3, 0);
        world.apply(objects(&[first.clone(), second.not_ready(), third.clone()]));
        assert_endpoints(world, 1, 1);
        // Terminating ones are served, and not counted: the load balancer should go elsewhere.
        world.apply(objects(&[first.clone().terminating(), third]));
        assert_endpoints(world, 1, 0);
        assert_endpoints(world, 2, 1);
        world.apply(objects(std::slice::from_ref(&first)));
        assert_endpoints(world, 1, 1);

        // Policy Cluster needs no such port, and a removed Service none at all.
        let mut cluster = objects(std::slice::from_ref(&first));
        cluster[0] = with(cluster[0].clone(), "externalTrafficPolicy", json!("Cluster"));
        world.apply(cluster);
        assert_closed(world, 1);
        assert_closed(world, 3);
        world.apply(objects(&[first]));
        assert_endpoints(world, 1, 1);
        world.apply([]);
        assert_closed(world, 1);
    });
}

#[test]
fn it_listens_where_node_ports_are_accepted() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let second: SocketAddr = (std::net::Ipv4Addr::new(172, 30, 0, 211), HEALTH_PORT).into();
        world
            .lab
            .node(1)
            .add_address("eth0", IpNet::new(second.ip(), 24).unwrap())
            .unwrap();
        let web = Workload::start(world, 1, "web", &[8080]);
        world.apply(objects(&[Endpoint::ready(&web)]));
        assert_endpoints(world, 1, 1);
        assert_eq!(get(world.lab.client(), second, "/"), None);
        world.restart_with(1, &[CLUSTER_CIDR, "--nodeport-addresses=all"]);
        assert_endpoints(world, 1, 1);
        let response = wait_for(PATIENT, "the second address to answer", || {
            get(world.lab.client(), second, "/")
        })
        .unwrap();
        assert_is_answer(&response, 1);
    });
}
