//! Addresses of local providers, announced by the agents and asked for by ARP and NDP.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fairlead_lab::{Family, Protocol, test_name, wait_until};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node, node_port, service, slices, with_ingress};
use crate::verdict::{Verdict, check, probe};
use crate::world::{CLUSTER_CIDR, PATIENT, Workload, World, in_world};

/// For an answer of a node that answers for the address.
const SOON: Duration = Duration::from_millis(300);
const VIPS: [&str; 2] = ["172.30.0.200", "fd00:172:30::200"];

/// Runs a test with agents that have a key for their heartbeats.
fn in_world_with_key(test: &str, body: impl FnOnce(&mut World) + Send) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "a key of thirty-two bytes or more").unwrap();
    let key = format!("--heartbeat-key-file={}", key.display());
    in_world(test, &[CLUSTER_CIDR, &key], body);
}

fn ours(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "fairlead.io/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// The nodes, a local provider and a pool.
fn ground(world: &World) -> Vec<Value> {
    let nodes = world.lab.nodes().iter();
    let mut objects: Vec<_> = nodes
        .map(|of| node(of, &json!({ "kubernetes.io/os": "linux" })))
        .collect();
    objects.push(ours(
        "LoadBalancerProvider",
        "lan",
        &json!({ "default": true, "local": {} }),
    ));
    objects.push(ours(
        "AddressPool",
        "pool",
        &json!({ "addresses": ["172.30.0.192/28", "fd00:172:30::200/124"] }),
    ));
    objects
}

/// A Service with policy Local that shares the addresses, with its load balancer: TCP and UDP on `80 + number`.
fn sharing(number: u8, name: &str, endpoints: &[&Workload]) -> Vec<Value> {
    let (port, external_port) = (80 + u16::from(number), 30_080 + u16::from(number));
    let ports = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let spec = json!({
        "type": "LoadBalancer",
        "clusterIPs": cluster_ips(number),
        "externalTrafficPolicy": "Local",
        "ports": ports.map(|(name, protocol)| node_port(name, protocol, port, external_port)),
    });
    let mut load_balancer = ours(
        "LoadBalancer",
        name,
        &json!({ "provider": "lan", "services": [{ "namespace": "test", "name": name }] }),
    );
    load_balancer["metadata"]["namespace"] = json!("test");
    load_balancer["status"] = json!({ "pool": "pool", "addresses": VIPS });
    let endpoints: Vec<_> = endpoints.iter().map(|pod| Endpoint::ready(pod)).collect();
    let mut objects = vec![with_ingress(service(name, spec), &VIPS), load_balancer];
    objects.extend(slices(
        name,
        &ports.map(|(name, protocol)| (name, protocol, 8080)),
        &endpoints,
    ));
    objects
}

/// Waits until a client on the LAN gets this from a port of the addresses, each family and protocol.
#[track_caller]
fn wait_for_servers(world: &World, port: u16, servers: &[&str]) {
    for (family, vip) in Family::BOTH.into_iter().zip(VIPS) {
        let vip: IpAddr = vip.parse().unwrap();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let wanted = Verdict::answers(servers, world.lab.client().addresses().of(family));
            let mut last = Err("nobody answers".to_owned());
            let seen = wait_until(PATIENT, "the right servers", || {
                let probe = probe(protocol, vip, port);
                if probe.within(SOON).send(world.lab.client()).answer.is_reply() {
                    last = check(world.lab.client(), probe, &wanted);
                }
                last.is_ok()
            });
            assert!(seen.is_ok(), "{protocol:?} {vip} {port}: {last:?}");
        }
    }
}

#[test]
fn services_of_policy_local_share_an_address_though_their_pods_are_on_different_nodes() {
    in_world_with_key(test_name!(), |world| {
        let pods = [1, 2, 3].map(|node| Workload::start(world, node, &format!("web-{node}"), &[8080]));
        let [first, second, third] = &pods;
        let mut objects = ground(world);
        objects.extend(sharing(1, "web", &[first]));
        objects.extend(sharing(2, "mail", &[second]));
        objects.extend(sharing(3, "news", &[first, third]));
        world.apply(objects);
        wait_for_servers(world, 81, &["web-1"]);
        wait_for_servers(world, 82, &["web-2"]);
        wait_for_servers(world, 83, &["web-1", "web-3"]);

        // A pod moves, and its port with it.
        let mut objects = ground(world);
        objects.extend(sharing(1, "web", &[third]));
        objects.extend(sharing(2, "mail", &[second]));
        world.apply(objects);
        wait_for_servers(world, 81, &["web-3"]);
        wait_for_servers(world, 82, &["web-2"]);
    });
}

/// Its addresses are in no status of the Service's own.
#[test]
fn a_service_of_type_node_port_is_reached_and_traced_at_its_load_balancer_addresses() {
    in_world_with_key(test_name!(), |world| {
        let web = Workload::start(world, 2, "web-2", &[8080]);
        let mut objects = ground(world);
        let mut sharing = sharing(1, "web", &[&web]);
        sharing[0]["spec"]["type"] = json!("NodePort");
        sharing[0]["status"] = json!({});
        sharing[1]["status"]["announcements"] =
            json!({ VIPS[0]: { "node": "node-2", "reason": "Vacant", "epoch": 1 } });
        objects.extend(sharing);
        world.apply(objects);
        wait_for_servers(world, 81, &["web-2"]);
        for (family, vip) in Family::BOTH.into_iter().zip(VIPS) {
            let vip: IpAddr = vip.parse().unwrap();
            let client = world.lab.client().addresses().of(family);
            let answer = world.trace(2, client, SocketAddr::new(vip, 81), Protocol::Tcp);
            let endpoint = SocketAddr::new(web.addresses().of(family), 8080).to_string();
            assert_eq!(answer["endpoints"], json!([endpoint]), "{answer}");
            let node = vip.is_ipv4().then_some("node-2");
            assert_eq!(answer["answeredBy"], json!(node), "{answer}");
        }
    });
}
