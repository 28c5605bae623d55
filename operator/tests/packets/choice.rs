//! Which endpoints are chosen from: readiness, termination, and hints.

use fairlead_lab::{Family, Protocol, test_name};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node, node_port, service, slices};
use crate::verdict::{Verdict, assert_verdict, probe};
use crate::world::{CLUSTER_CIDR, Workload, World, in_world, masqueraded};

const NODE_PORT: u16 = 30080;

/// Endpoints on three nodes, and a pod on node-1 that asks.
struct Stage {
    web: [Workload; 3],
    visitor: fairlead_lab::Pod,
}

impl Stage {
    fn new(world: &World) -> Self {
        Self {
            web: [1, 2, 3].map(|node| Workload::start(world, node, &format!("web-{node}"), &[8080])),
            visitor: world.lab.node(1).add_pod("visitor").unwrap(),
        }
    }

    fn ready(&self) -> [Endpoint; 3] {
        self.web.each_ref().map(|pod| Endpoint::ready(pod))
    }

    /// Asks the cluster IPs, whose policy is Cluster.
    #[track_caller]
    fn assert_cluster_set(&self, servers: &[&str]) {
        for (family, cluster_ip) in Family::BOTH.into_iter().zip(["10.96.0.1", "fd00:10:96::1"]) {
            let own = self.visitor.addresses().of(family);
            let expected = if servers.is_empty() {
                Verdict::Refused
            } else {
                Verdict::answers(servers, own)
            };
            assert_verdict(
                &self.visitor,
                probe(Protocol::Tcp, cluster_ip.parse().unwrap(), 80),
                &expected,
            );
        }
    }
}

/// Asks the node port of node-1 from outside, whose policy is Local.
#[track_caller]
fn assert_local_set(world: &World, expected: impl Fn(Family) -> Verdict) {
    for family in Family::BOTH {
        let node = world.lab.node(1).addresses().of(family);
        assert_verdict(
            world.lab.client(),
            probe(Protocol::Tcp, node, NODE_PORT),
            &expected(family),
        );
    }
}

fn objects(external_policy: &str, endpoints: &[Endpoint]) -> Vec<Value> {
    let spec = json!({
        "type": "NodePort",
        "clusterIPs": cluster_ips(1),
        "externalTrafficPolicy": external_policy,
        "ports": [node_port("", Protocol::Tcp, 80, NODE_PORT)],
    });
    let mut objects = slices("web", &[("", Protocol::Tcp, 8080)], endpoints);
    objects.push(service("web", spec));
    objects
}

#[test]
fn terminating_endpoints_serve_where_nothing_is_ready() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let client = world.lab.client().addresses();
        let local = |family: Family| Verdict::answers(&["web-1"], client.of(family));
        let [first, second, third] = stage.ready();

        world.apply(objects(
            "Local",
            &[first.clone(), second.clone(), third.clone().not_ready()],
        ));
        stage.assert_cluster_set(&["web-1", "web-2"]);
        assert_local_set(world, local);

        // The node's only one terminates: its local set falls back, the cluster set does not.
        world.apply(objects(
            "Local",
            &[first.clone().terminating(), second.clone(), third.clone().terminating()],
        ));
        stage.assert_cluster_set(&["web-2"]);
        assert_local_set(world, local);

        // Another one on the node is ready, so that the local set needs no fallback.
        let sibling = Workload::start(world, 1, "sibling", &[8080]);
        world.apply(objects(
            "Local",
            &[
                first.clone().terminating(),
                second.clone().terminating(),
                Endpoint::ready(&sibling),
            ],
        ));
        stage.assert_cluster_set(&["sibling"]);
        assert_local_set(world, |family| Verdict::answers(&["sibling"], client.of(family)));

        // Everything terminates: all of them serve.
        world.apply(objects(
            "Local",
            &[
                first.clone().terminating(),
                second.clone().terminating(),
                third.clone().not_ready(),
            ],
        ));
        stage.assert_cluster_set(&["web-1", "web-2"]);
        assert_local_set(world, local);

        // Nothing of it on the node.
        world.apply(objects(
            "Local",
            &[second.clone().terminating(), third.clone().terminating()],
        ));
        stage.assert_cluster_set(&["web-2", "web-3"]);
        assert_local_set(world, |_| Verdict::Dropped);

        world.apply(objects(
            "Local",
            &[first.not_ready(), second.not_ready(), third.not_ready()],
        ));
        stage.assert_cluster_set(&[]);
        assert_local_set(world, |_| Verdict::Refused);
    });
}

fn nodes(world: &World, zones: [&str; 3]) -> Vec<Value> {
    let labels = zones.map(|zone| json!({ "topology.kubernetes.io/zone": zone }));
    world
        .lab
        .nodes()
        .iter()
        .zip(&labels)
        .map(|(it, labels)| node(it, labels))
        .collect()
}

#[test]
fn hints_keep_connections_in_the_zone() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let [first, second, third] = stage.ready();
        let apply = |world: &mut World, zones, endpoints: &[Endpoint]| {
            let mut all = objects("Local", endpoints);
            all.extend(nodes(world, zones));
            world.apply(all);
        };
        let hinted = [
            first.clone().for_zones(&["a"]),
            second.clone().for_zones(&["a"]),
            third.clone().for_zones(&["b"]),
        ];
        apply(world, ["a", "a", "b"], &hinted);
        stage.assert_cluster_set(&["web-1", "web-2"]);

        // The node moves to another zone; to one that no endpoint is meant for.
        apply(world, ["b", "a", "b"], &hinted);
        stage.assert_cluster_set(&["web-3"]);
        apply(world, ["c", "a", "b"], &hinted);
        stage.assert_cluster_set(&["web-1", "web-2", "web-3"]);

        // The Local set does not look at hints.
        apply(world, ["b", "a", "b"], &hinted);
        let client = world.lab.client().addresses();
        assert_local_set(world, |family| Verdict::answers(&["web-1"], client.of(family)));

        // One endpoint without hints, and they count no more; but not if it is not ready.
        let [one, two, three] = hinted;
        apply(world, ["a", "a", "b"], &[one.clone(), second.clone(), three.clone()]);
        stage.assert_cluster_set(&["web-1", "web-2", "web-3"]);
        apply(
            world,
            ["a", "a", "b"],
            &[one.clone(), second.not_ready(), three.clone()],
        );
        stage.assert_cluster_set(&["web-1"]);

        // Terminating endpoints that stand in are not chosen by zone.
        apply(
            world,
            ["a", "a", "b"],
            &[one.terminating(), two.terminating(), three.terminating()],
        );
        stage.assert_cluster_set(&["web-1", "web-2", "web-3"]);
    });
}

#[test]
fn hints_for_nodes_come_before_hints_for_zones() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let [first, second, third] = stage.ready();
        let zoned = [
            first.for_zones(&["a"]),
            second.for_zones(&["a"]),
            third.for_zones(&["b"]),
        ];
        let [one, two, three] = zoned;
        let apply = |world: &mut World, endpoints: &[Endpoint]| {
            let mut all = objects("Cluster", endpoints);
            all.extend(nodes(world, ["a", "a", "b"]));
            world.apply(all);
        };
        let both = [
            one.clone().for_nodes(&["node-1"]),
            two.clone().for_nodes(&["node-2"]),
            three.clone().for_nodes(&["node-3"]),
        ];
        apply(world, &both);
        stage.assert_cluster_set(&["web-1"]);
        // An external frontend with policy Cluster has the same set.
        assert_local_set(world, |family| {
            let endpoint = stage.web[0].addresses().of(family);
            Verdict::answers(&["web-1"], masqueraded(world.lab.node(1), family, endpoint))
        });
        // None for this node: the zone counts.
        let elsewhere = [
            one.clone().for_nodes(&["node-2"]),
            two.clone().for_nodes(&["node-2"]),
            three.clone().for_nodes(&["node-3"]),
        ];
        apply(world, &elsewhere);
        stage.assert_cluster_set(&["web-1", "web-2"]);
        // One without a node: the zone counts.
        apply(world, &[one.for_nodes(&["node-1"]), two, three.for_nodes(&["node-3"])]);
        stage.assert_cluster_set(&["web-1", "web-2"]);
    });
}
