//! How a local pod is recognised, and what that changes: the source that a cluster IP's endpoints see, and whom a frontend
//! with policy Local sends to.

use fairlead_lab::{Family, Pod, Protocol, test_name};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node, node_port, service, slices, with_ingress};
use crate::verdict::{Verdict, assert_verdict, probe};
use crate::world::{CLUSTER_CIDR, Workload, World, in_world};

/// Whom the rules of node-1 know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The pods of this node.
    Local,
    /// The pods of all nodes.
    All,
    /// Nobody.
    Nobody,
}

struct Stage {
    /// On node-1, the endpoint of `near`, whose policies are Cluster.
    near: Workload,
    /// On node-2, the endpoint of `far`, whose external policy is Local.
    far: Workload,
    visitor: Pod,
    neighbour: Pod,
}

impl Stage {
    fn new(world: &World) -> Self {
        Self {
            near: Workload::start(world, 1, "near", &[8080]),
            far: Workload::start(world, 2, "far", &[8080]),
            visitor: world.lab.node(1).add_pod("visitor").unwrap(),
            neighbour: world.lab.node(2).add_pod("neighbour").unwrap(),
        }
    }

    fn objects(&self, world: &World) -> Vec<Value> {
        let near = json!({ "clusterIPs": cluster_ips(1), "ports": [{ "port": 80 }] });
        let far = json!({
            "type": "LoadBalancer",
            "clusterIPs": cluster_ips(2),
            "externalTrafficPolicy": "Local",
            "ports": [node_port("", Protocol::Tcp, 80, 30080)],
        });
        let mut objects = vec![
            service("near", near),
            with_ingress(service("far", far), &["203.0.113.2", "2001:db8:2::2"]),
        ];
        objects.extend(slices(
            "near",
            &[("", Protocol::Tcp, 8080)],
            &[Endpoint::ready(&self.near)],
        ));
        objects.extend(slices(
            "far",
            &[("", Protocol::Tcp, 8080)],
            &[Endpoint::ready(&self.far)],
        ));
        objects.extend(world.lab.nodes().iter().map(|it| node(it, &json!({}))));
        objects
    }

    #[track_caller]
    fn assert_known(&self, world: &World, known: Known) {
        for family in Family::BOTH {
            let gateway = world.lab.node(1).pod_addresses(1).of(family);
            let tcp = |texts: [&str; 2], port| {
                let text = texts[usize::from(family == Family::V6)];
                probe(Protocol::Tcp, text.parse().unwrap(), port)
            };

            // Without anybody known, nobody is known to be foreign.
            let cluster_ip = tcp(["10.96.0.1", "fd00:10:96::1"], 80);
            let (visitor, host) = (
                self.visitor.addresses().of(family),
                world.lab.node(1).addresses().of(family),
            );
            let client = world.lab.client().addresses().of(family);
            let foreign = |own| if known == Known::Nobody { own } else { gateway };
            assert_verdict(&self.visitor, cluster_ip, &Verdict::answers(&["near"], visitor));
            assert_verdict(
                world.lab.node(1),
                cluster_ip,
                &Verdict::answers(&["near"], foreign(host)),
            );
            assert_verdict(
                world.lab.client(),
                cluster_ip,
                &Verdict::answers(&["near"], foreign(client)),
            );

            // The short cut past policy Local: node-1 has no endpoint of it.
            let load_balancer_ip = tcp(["203.0.113.2", "2001:db8:2::2"], 80);
            let own_node_port = probe(Protocol::Tcp, host, 30080);
            for target in [load_balancer_ip, own_node_port] {
                let of_pod = if known == Known::Nobody {
                    Verdict::Dropped
                } else {
                    Verdict::answers(&["far"], visitor)
                };
                assert_verdict(&self.visitor, target, &of_pod);
                assert_verdict(world.lab.node(1), target, &Verdict::answers(&["far"], host));
                assert_verdict(world.lab.client(), target, &Verdict::Dropped);
            }
            // A pod of node-2 at node-1: where it counts as local it is sent on, and hears nothing since the answer does not
            // come back this way. So the evaluator is asked.
            let neighbour = self.neighbour.addresses().of(family);
            let answer = world.trace(1, neighbour, own_node_port.target, Protocol::Tcp);
            assert_eq!(
                answer["verdict"],
                if known == Known::All { "endpoints" } else { "drop" },
                "{answer}"
            );
        }
    }
}

#[test]
fn local_pods_are_recognised_as_the_flags_say() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let objects = stage.objects(world);
        world.apply(objects);
        let modes: [(&[&str], Known); 7] = [
            (&[CLUSTER_CIDR], Known::All),
            (&["--cluster-cidr=10.244.1.0/24,fd00:10:244:1::/64"], Known::Local),
            (&["--detect-local-mode=NodeCIDR"], Known::Local),
            (
                &["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0"],
                Known::Local,
            ),
            (
                &[
                    "--detect-local-mode=InterfaceNamePrefix",
                    "--pod-interface-name-prefix=cni",
                ],
                Known::Local,
            ),
            (&[], Known::Nobody),
            (&["--detect-local-mode=ClusterCIDR"], Known::Nobody),
        ];
        for (flags, known) in modes {
            eprintln!("with {flags:?}");
            world.restart_with(1, flags);
            stage.assert_known(world, known);
        }
    });
}

#[test]
fn a_range_of_one_family_knows_the_pods_of_that_family() {
    in_world(test_name!(), &["--cluster-cidr=10.244.0.0/16"], |world| {
        let stage = Stage::new(world);
        let objects = stage.objects(world);
        world.apply(objects);
        let client = world.lab.client().addresses();
        let gateway = world.lab.node(1).pod_addresses(1).v4;
        let ask = |address: &str| probe(Protocol::Tcp, address.parse().unwrap(), 80);
        assert_verdict(
            world.lab.client(),
            ask("10.96.0.1"),
            &Verdict::answers(&["near"], gateway),
        );
        assert_verdict(
            world.lab.client(),
            ask("fd00:10:96::1"),
            &Verdict::answers(&["near"], client.v6),
        );
        let visitor = stage.visitor.addresses();
        assert_verdict(
            &stage.visitor,
            ask("203.0.113.2"),
            &Verdict::answers(&["far"], visitor.v4),
        );
        assert_verdict(&stage.visitor, ask("2001:db8:2::2"), &Verdict::Dropped);
    });
}

#[test]
fn masquerade_all_hides_pods_too() {
    in_world(test_name!(), &[CLUSTER_CIDR, "--masquerade-all"], |world| {
        let stage = Stage::new(world);
        let objects = stage.objects(world);
        world.apply(objects);
        for (family, cluster_ip) in Family::BOTH.into_iter().zip(["10.96.0.1", "fd00:10:96::1"]) {
            let expected = Verdict::answers(&["near"], world.lab.node(1).pod_addresses(1).of(family));
            for from in [&*stage.visitor, world.lab.node(1), world.lab.client()] {
                assert_verdict(from, probe(Protocol::Tcp, cluster_ip.parse().unwrap(), 80), &expected);
            }
        }
        // External frontends with policy Local keep the source, as without the flag.
        for (family, vip) in Family::BOTH.into_iter().zip(["203.0.113.2", "2001:db8:2::2"]) {
            let expected = Verdict::answers(&["far"], stage.visitor.addresses().of(family));
            assert_verdict(
                &stage.visitor,
                probe(Protocol::Tcp, vip.parse().unwrap(), 80),
                &expected,
            );
        }
    });
}
