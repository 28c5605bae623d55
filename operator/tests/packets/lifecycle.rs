//! Services that come and go, change their type, or belong to somebody else.

use fairlead_lab::{Family, Pod, Protocol, test_name};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node_port, port, service, slices, with, with_label};
use crate::verdict::{Verdict, assert_verdict, probe};
use crate::world::{CLUSTER_CIDR, Workload, World, in_world};

const NODE_PORT: u16 = 30080;

struct Stage {
    web: Workload,
    visitor: Pod,
}

impl Stage {
    fn new(world: &World) -> Self {
        Self {
            web: Workload::start(world, 1, "web", &[8080]),
            visitor: world.lab.node(1).add_pod("visitor").unwrap(),
        }
    }

    fn apply(&self, world: &mut World, service: Value) {
        let mut objects = vec![service];
        objects.extend(self.slices());
        world.apply(objects);
    }

    fn slices(&self) -> Vec<Value> {
        slices("web", &[("", Protocol::Tcp, 8080)], &[Endpoint::ready(&self.web)])
    }

    /// Asks the cluster IPs with this last part.
    #[track_caller]
    fn assert_cluster_ip(&self, number: u8, expected: Option<&Verdict>) {
        for (family, prefix) in Family::BOTH.into_iter().zip(["10.96.0.", "fd00:10:96::"]) {
            let answers = Verdict::answers(&["web"], self.visitor.addresses().of(family));
            let target = probe(Protocol::Tcp, format!("{prefix}{number}").parse().unwrap(), 80);
            assert_verdict(&self.visitor, target, expected.unwrap_or(&answers));
        }
    }
}

#[track_caller]
fn assert_node_port(world: &World, port: u16, is_served: bool) {
    for family in Family::BOTH {
        let node = world.lab.node(1).addresses().of(family);
        let answers = Verdict::answers(&["web"], world.lab.node(1).pod_addresses(1).of(family));
        let expected = if is_served { &answers } else { &Verdict::Refused };
        assert_verdict(world.lab.client(), probe(Protocol::Tcp, node, port), expected);
    }
}

/// An address of the ServiceCIDR that no Service of ours has.
const UNUSED: Option<&Verdict> = Some(&Verdict::Dropped);
const SERVED: Option<&Verdict> = None;

fn cluster_ip_service() -> Value {
    service(
        "web",
        json!({ "type": "ClusterIP", "clusterIPs": cluster_ips(1), "ports": [port("", Protocol::Tcp, 80)] }),
    )
}

fn node_port_service(port: u16) -> Value {
    let ports = [node_port("", Protocol::Tcp, 80, port)];
    service(
        "web",
        json!({ "type": "NodePort", "clusterIPs": cluster_ips(1), "ports": ports }),
    )
}

fn external_name_service() -> Value {
    // Whoever changes the type by hand may leave the cluster IP.
    let ports = [port("", Protocol::Tcp, 80)];
    service(
        "web",
        json!({ "type": "ExternalName", "externalName": "web.example.com", "clusterIPs": cluster_ips(1), "ports": ports }),
    )
}

#[test]
fn a_service_changes_its_type() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        stage.apply(world, external_name_service());
        stage.assert_cluster_ip(1, UNUSED);
        stage.apply(world, cluster_ip_service());
        stage.assert_cluster_ip(1, SERVED);
        assert_node_port(world, NODE_PORT, false);
        stage.apply(world, node_port_service(NODE_PORT));
        stage.assert_cluster_ip(1, SERVED);
        assert_node_port(world, NODE_PORT, true);
        stage.apply(world, node_port_service(NODE_PORT + 1));
        assert_node_port(world, NODE_PORT, false);
        assert_node_port(world, NODE_PORT + 1, true);
        stage.apply(world, external_name_service());
        stage.assert_cluster_ip(1, UNUSED);
        assert_node_port(world, NODE_PORT + 1, false);
        stage.apply(world, node_port_service(NODE_PORT));
        assert_node_port(world, NODE_PORT, true);
        stage.apply(world, cluster_ip_service());
        stage.assert_cluster_ip(1, SERVED);
        assert_node_port(world, NODE_PORT, false);
        // Headless.
        stage.apply(
            world,
            with(
                with(cluster_ip_service(), "clusterIPs", json!(["None"])),
                "clusterIP",
                json!("None"),
            ),
        );
        stage.assert_cluster_ip(1, UNUSED);
    });
}

#[test]
fn a_service_of_another_proxy_is_left_alone() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let labelled = with_label(
            node_port_service(NODE_PORT),
            "service.kubernetes.io/service-proxy-name",
            "other",
        );
        for _ in 0..2 {
            stage.apply(world, labelled.clone());
            stage.assert_cluster_ip(1, UNUSED);
            assert_node_port(world, NODE_PORT, false);
            stage.apply(world, node_port_service(NODE_PORT));
            stage.assert_cluster_ip(1, SERVED);
            assert_node_port(world, NODE_PORT, true);
        }
    });
}

#[test]
fn slices_of_headless_services_are_left_alone() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let labelled = stage
            .slices()
            .into_iter()
            .map(|slice| with_label(slice, "service.kubernetes.io/headless", ""));
        let labelled: Vec<_> = labelled.chain([cluster_ip_service()]).collect();
        for _ in 0..2 {
            world.apply(labelled.clone());
            stage.assert_cluster_ip(1, Some(&Verdict::Refused));
            stage.apply(world, cluster_ip_service());
            stage.assert_cluster_ip(1, SERVED);
        }
        // A slice that names no Service.
        let mut nameless = stage.slices();
        for slice in &mut nameless {
            slice["metadata"]["labels"] = json!({});
        }
        world.apply(nameless.into_iter().chain([cluster_ip_service()]));
        stage.assert_cluster_ip(1, Some(&Verdict::Refused));
    });
}

#[test]
fn a_service_and_its_slices_come_and_go_in_any_order() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        stage.assert_cluster_ip(1, UNUSED);
        world.apply(stage.slices());
        stage.assert_cluster_ip(1, UNUSED);
        stage.apply(world, node_port_service(NODE_PORT));
        stage.assert_cluster_ip(1, SERVED);
        assert_node_port(world, NODE_PORT, true);
        world.apply([node_port_service(NODE_PORT)]);
        stage.assert_cluster_ip(1, Some(&Verdict::Refused));
        assert_node_port(world, NODE_PORT, false);
        stage.apply(world, node_port_service(NODE_PORT));
        stage.assert_cluster_ip(1, SERVED);
        world.apply([]);
        stage.assert_cluster_ip(1, UNUSED);
        assert_node_port(world, NODE_PORT, false);
        // It is made again, with other addresses.
        stage.apply(world, with(node_port_service(NODE_PORT), "clusterIPs", cluster_ips(2)));
        stage.assert_cluster_ip(1, UNUSED);
        stage.assert_cluster_ip(2, SERVED);
        assert_node_port(world, NODE_PORT, true);
        // Without any IPv6.
        stage.apply(
            world,
            with(node_port_service(NODE_PORT), "clusterIPs", json!(["10.96.0.1"])),
        );
        let [v4, v6] = world.lab.node(1).addresses().both();
        let gateway = world.lab.node(1).pod_addresses(1).v4;
        assert_verdict(
            world.lab.client(),
            probe(Protocol::Tcp, v4, NODE_PORT),
            &Verdict::answers(&["web"], gateway),
        );
        assert_verdict(
            world.lab.client(),
            probe(Protocol::Tcp, v6, NODE_PORT),
            &Verdict::Refused,
        );
    });
}

#[test]
fn a_node_port_passes_from_one_service_to_another() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let other = Workload::start(world, 1, "other", &[8080]);
        let mut second = with(node_port_service(NODE_PORT), "clusterIPs", cluster_ips(2));
        second["metadata"]["name"] = json!("second");
        let all = |first: Value, second: Value| {
            let mut objects = vec![first, second];
            objects.extend(stage.slices());
            objects.extend(slices(
                "second",
                &[("", Protocol::Tcp, 8080)],
                &[Endpoint::ready(&other)],
            ));
            objects
        };
        let [node, _] = world.lab.node(1).addresses().both();
        let gateway = world.lab.node(1).pod_addresses(1).v4;
        let unused = with(
            second.clone(),
            "ports",
            json!([node_port("", Protocol::Tcp, 80, NODE_PORT + 1)]),
        );
        world.apply(all(node_port_service(NODE_PORT), unused));
        assert_verdict(
            world.lab.client(),
            probe(Protocol::Tcp, node, NODE_PORT),
            &Verdict::answers(&["web"], gateway),
        );
        world.apply(all(cluster_ip_service(), second.clone()));
        assert_verdict(
            world.lab.client(),
            probe(Protocol::Tcp, node, NODE_PORT),
            &Verdict::answers(&["other"], gateway),
        );
        // Both want it: it stays in use, by one of them, and goes to the other when that one lets go.
        world.apply(all(node_port_service(NODE_PORT), second));
        let tally = probe(Protocol::Tcp, node, NODE_PORT).burst(world.lab.client(), 20);
        assert_eq!((tally.replied(), tally.servers().len()), (20, 1), "{tally:?}");
    });
}
