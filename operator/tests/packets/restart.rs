//! The agent ends, is killed, and comes back, or writes one change after the other: no connection notices.

use std::time::{Duration, Instant};

use fairlead_lab::{Family, Load, Namespace, Protocol, test_name, wait_until};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node_port, service, slices};
use crate::verdict::probe;
use crate::world::{CLUSTER_CIDR, PATIENT, Workload, World, in_world};

const PAUSE: Duration = Duration::from_millis(2);
/// Questions of each load before and after each event.
const ENOUGH: usize = 30;

fn objects(endpoints: &[Endpoint]) -> Vec<Value> {
    let spec = |number, affinity| {
        json!({
            "type": "NodePort",
            "clusterIPs": cluster_ips(number),
            "sessionAffinity": affinity,
            "ports": [
                node_port("tcp", Protocol::Tcp, 80, 30_080 + u16::from(number)),
                node_port("udp", Protocol::Udp, 80, 30_080 + u16::from(number)),
            ],
        })
    };
    let mut objects = vec![service("web", spec(1, "None")), service("affine", spec(2, "ClientIP"))];
    for name in ["web", "affine"] {
        objects.extend(slices(
            name,
            &[("tcp", Protocol::Tcp, 8080), ("udp", Protocol::Udp, 8080)],
            endpoints,
        ));
    }
    objects
}

/// New connections all the time, to cluster IPs from a pod and to node ports from outside.
struct Traffic(Vec<Load>);

impl Traffic {
    fn start(world: &World, visitor: &Namespace, protocols: &[Protocol]) -> Self {
        let mut loads = Vec::new();
        for (family, cluster_ips) in Family::BOTH
            .into_iter()
            .zip([["10.96.0.1", "10.96.0.2"], ["fd00:10:96::1", "fd00:10:96::2"]])
        {
            let node = world.lab.node(1).addresses().of(family);
            for &protocol in protocols {
                for cluster_ip in cluster_ips {
                    loads.push(probe(protocol, cluster_ip.parse().unwrap(), 80).load(visitor, PAUSE));
                }
                loads.push(probe(protocol, node, 30_081).load(world.lab.client(), PAUSE));
            }
        }
        Self(loads)
    }

    /// Waits until each load has asked a number of questions more.
    fn go_on(&self) {
        for load in &self.0 {
            let until = load.asked() + ENOUGH;
            wait_until(PATIENT, "traffic", || load.asked() >= until).unwrap();
        }
    }

    fn assert_all_answered(self) {
        for load in self.0 {
            let report = load.stop();
            assert!(
                report.failures.is_empty(),
                "{:?} of {}",
                report.failures,
                report.tally.replied()
            );
        }
    }
}

#[test]
fn no_connection_fails_while_the_agent_is_killed_and_started_again() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let pods = [1, 2, 3].map(|node| Workload::start(world, node, &format!("web-{node}"), &[8080]));
        let endpoints = pods.each_ref().map(|pod| Endpoint::ready(pod));
        world.apply(objects(&endpoints));
        let mut established: Vec<_> = ["10.96.0.1", "10.96.0.2", "fd00:10:96::1", "fd00:10:96::2"]
            .map(|address| {
                probe(Protocol::Tcp, address.parse().unwrap(), 80)
                    .open(&visitor)
                    .unwrap()
            })
            .into();
        let servers: Vec<_> = established.iter_mut().map(|it| it.ask().answer).collect();
        let traffic = Traffic::start(world, &visitor, &[Protocol::Tcp, Protocol::Udp]);
        traffic.go_on();
        for round in 0..3 {
            world.kill_agent(1);
            traffic.go_on();
            // Every other time something changes while no agent runs; each pod goes on to answer.
            let changed = if round % 2 == 0 {
                &endpoints[..]
            } else {
                &endpoints[..2]
            };
            world.write(objects(changed));
            world.start_agent(1);
            world.settle();
            traffic.go_on();
        }
        world.terminate_agent(1);
        traffic.go_on();
        world.start_agent(1);
        world.settle();
        traffic.go_on();
        traffic.assert_all_answered();
        let again: Vec<_> = established.iter_mut().map(|it| it.ask().answer).collect();
        assert!(servers.iter().all(fairlead_lab::Answer::is_reply), "{servers:?}");
        assert_eq!(again, servers, "established connections");
    });
}

/// The lines of commits in the log of node-1's agents.
fn commits(world: &World) -> Vec<String> {
    world
        .log(1)
        .lines()
        .filter(|line| line.contains(" committed "))
        .map(str::to_owned)
        .collect()
}

/// Waits until the agent of node-1 has compared everything with the kernel.
fn wait_for_sync(world: &World) {
    wait_until(PATIENT, "the first sync", || {
        let series = "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}";
        world.find_metric(1, series).is_some_and(|seconds| seconds > 0.0)
    })
    .unwrap();
}

#[test]
fn a_second_start_writes_nothing_and_a_later_one_only_what_changed() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let pods = [1, 2, 3].map(|node| Workload::start(world, node, &format!("web-{node}"), &[8080]));
        let endpoints = pods.each_ref().map(|pod| Endpoint::ready(pod));
        world.apply(objects(&endpoints));
        // Endpoints are now in another order than an agent would choose that knows no history.
        world.apply(objects(&endpoints[1..]));
        let before = (commits(world).len(), world.table(1).unwrap());

        world.kill_agent(1);
        world.start_agent(1);
        wait_for_sync(world);
        assert_eq!(commits(world).len(), before.0, "{:?}", commits(world));
        assert!(world.metric(1, "fairlead_transactions_total") < 1.0);
        assert_eq!(world.table(1).unwrap(), before.1);

        // One endpoint of each Service is gone when it starts: a few elements for each frontend, not all of them.
        world.kill_agent(1);
        world.write(objects(&endpoints[1..2]));
        world.start_agent(1);
        world.settle();
        let after = commits(world);
        assert_eq!(after.len(), before.0 + 1, "{after:?}");
        let bytes = |line: &str| -> usize {
            let text = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix("bytes="))
                .unwrap();
            text.parse().unwrap()
        };
        let (all, little) = (bytes(&after[0]), bytes(after.last().unwrap()));
        assert!(little < all, "{little} bytes of {all}");
    });
}

#[test]
fn an_agent_that_overlaps_with_the_next_one_is_replaced_soon_after_its_end() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let pods = [1, 2, 3].map(|node| Workload::start(world, node, &format!("web-{node}"), &[8080]));
        let endpoints = pods.each_ref().map(|pod| Endpoint::ready(pod));
        world.apply(objects(&endpoints));
        let traffic = Traffic::start(world, &visitor, &[Protocol::Tcp, Protocol::Udp]);
        let old = world.start_agent_beside(1);
        // The old one serves on, as a pod that takes its time to end. One that was refused twice as long each time would by then
        // wait for six seconds more.
        let began = Instant::now();
        let overlap = Duration::from_secs(7);
        wait_until(PATIENT, "the overlap to pass", || began.elapsed() > overlap).unwrap();
        world.apply(objects(&endpoints[..2]));
        drop(old);
        let ended = Instant::now();
        world.apply(objects(&endpoints[1..]));
        let took = ended.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}");
        traffic.go_on();
        traffic.assert_all_answered();
    });
}

#[test]
fn no_connection_fails_while_endpoints_change_all_the_time() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        let pods = [1, 2, 3, 1].map(|node| Workload::start(world, node, "web", &[8080]));
        let [a, b, c, d] = pods.each_ref().map(|pod| Endpoint::ready(pod));
        // All pods answer all the time, and a set that has nothing in common with the one before replaces it in one step.
        let sets = [
            vec![a.clone()],
            vec![a.clone(), b.clone()],
            vec![b.clone(), c.clone()],
            vec![c.clone(), b.clone(), d.clone(), a.clone()],
            vec![d.clone(), a.clone().terminating()],
            vec![d.terminating()],
            vec![a, b, c],
        ];
        world.apply(objects(&sets[0]));
        // Without UDP: the answer to a datagram that is on its way while its endpoint goes is lost.
        let traffic = Traffic::start(world, &visitor, &[Protocol::Tcp]);
        traffic.go_on();
        for set in sets.iter().cycle().take(40) {
            world.apply(objects(set));
        }
        traffic.go_on();
        traffic.assert_all_answered();
    });
}
