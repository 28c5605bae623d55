//! `sessionAffinity: ClientIP`: a client stays with its endpoint, by whichever frontend of a port it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use fairlead_lab::{Family, Probe, Protocol, test_name, wait_until};
use serde_json::{Value, json};

use crate::manifest::{Endpoint, cluster_ips, node_port, service, slices};
use crate::verdict::{Verdict, assert_verdict, probe};
use crate::world::{CLUSTER_CIDR, PATIENT, Workload, World, in_world};

/// So many clients that all of them choosing the same of three endpoints twice by chance happens once in 3^12 times.
const CLIENTS: u8 = 12;

/// Three endpoints, and clients with many addresses.
struct Stage {
    web: Vec<Workload>,
    sources: BTreeMap<u8, [IpAddr; 2]>,
}

impl Stage {
    fn new(world: &World) -> Self {
        let web = [1, 2, 3]
            .map(|node| Workload::start(world, node, &format!("web-{node}"), &[8080, 8081]))
            .into();
        let mut sources = BTreeMap::new();
        for number in 0..CLIENTS {
            let number = 200 + number;
            let addresses: [IpAddr; 2] =
                [format!("172.30.0.{number}"), format!("fd00:172:30::{number}")].map(|text| text.parse().unwrap());
            for address in addresses {
                world.lab.client().add_source(address).unwrap();
            }
            sources.insert(number, addresses);
        }
        Self { web, sources }
    }

    fn sources(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.sources
            .values()
            .map(move |both| both[usize::from(family == Family::V6)])
    }

    /// Asks once for each client, and returns who answered whom.
    fn ask(&self, world: &World, probe: Probe) -> BTreeMap<IpAddr, String> {
        let family = if probe.target.is_ipv4() { Family::V4 } else { Family::V6 };
        let replies = self.sources(family).map(|source| {
            let outcome = probe.from_address(source).send(world.lab.client());
            let server = outcome.answer.server().map(str::to_owned);
            (
                source,
                server.unwrap_or_else(|| panic!("{source} to {}: {:?}", probe.target, outcome.answer)),
            )
        });
        replies.collect()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        self.web.iter().map(|pod| Endpoint::ready(pod)).collect()
    }
}

fn affine(timeout: u32) -> Value {
    service(
        "web",
        json!({
            "type": "NodePort",
            "clusterIPs": cluster_ips(1),
            "externalIPs": ["198.51.100.1", "2001:db8:1::1"],
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": timeout } },
            "ports": [
                node_port("http", Protocol::Tcp, 80, 30080),
                node_port("other", Protocol::Tcp, 81, 30081),
                node_port("dns", Protocol::Udp, 80, 30080),
            ],
        }),
    )
}

fn objects(timeout: u32, endpoints: &[Endpoint]) -> Vec<Value> {
    let ports = [
        ("http", Protocol::Tcp, 8080),
        ("other", Protocol::Tcp, 8081),
        ("dns", Protocol::Udp, 8080),
    ];
    let mut objects = slices("web", &ports, endpoints);
    objects.push(affine(timeout));
    objects
}

fn cluster_ip(family: Family) -> IpAddr {
    match family {
        Family::V4 => "10.96.0.1".parse().unwrap(),
        Family::V6 => "fd00:10:96::1".parse().unwrap(),
    }
}

fn external_ip(family: Family) -> IpAddr {
    match family {
        Family::V4 => "198.51.100.1".parse().unwrap(),
        Family::V6 => "2001:db8:1::1".parse().unwrap(),
    }
}

#[test]
fn a_client_stays_by_every_frontend_of_a_port_but_not_by_other_ports() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        world.apply(objects(600, &stage.endpoints()));
        for family in Family::BOTH {
            let node = world.lab.node(1).addresses().of(family);
            let mut by_port = Vec::new();
            for (protocol, port, node_port) in [
                (Protocol::Tcp, 80, 30080),
                (Protocol::Tcp, 81, 30081),
                (Protocol::Udp, 80, 30080),
            ] {
                let first = stage.ask(world, probe(protocol, cluster_ip(family), port));
                let servers: BTreeSet<_> = first.values().collect();
                assert!(servers.len() > 1, "{protocol}: {CLIENTS} clients are spread: {first:?}");
                for again in [
                    (node, node_port),
                    (external_ip(family), port),
                    (cluster_ip(family), port),
                ] {
                    assert_eq!(
                        stage.ask(world, probe(protocol, again.0, again.1)),
                        first,
                        "{protocol} {again:?}"
                    );
                }
                by_port.push(first);
            }
            assert_ne!(by_port[0], by_port[1], "two ports");
            assert_ne!(by_port[0], by_port[2], "two protocols");
        }
    });
}

#[test]
fn pods_and_hosts_stay_too() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let visitor = world.lab.node(1).add_pod("visitor").unwrap();
        world.apply(objects(600, &stage.endpoints()));
        for from in [&*visitor, world.lab.node(1)] {
            for target in [cluster_ip(Family::V4), cluster_ip(Family::V6)] {
                let tally = probe(Protocol::Tcp, target, 80).burst(from, 20);
                assert_eq!((tally.replied(), tally.servers().len()), (20, 1), "{target}: {tally:?}");
            }
        }
    });
}

#[test]
fn with_policy_local_a_client_stays_within_the_node() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let mut all = objects(600, &stage.endpoints());
        all.last_mut().unwrap()["spec"]["externalTrafficPolicy"] = json!("Local");
        world.apply(all);
        for family in Family::BOTH {
            let node = world.lab.node(1).addresses().of(family);
            let remembered = stage.ask(world, probe(Protocol::Tcp, cluster_ip(family), 80));
            assert!(remembered.values().any(|server| server != "web-1"), "{remembered:?}");
            // Whom the cluster IP remembers is no endpoint for the node port, unless it is on the node.
            let local = stage.ask(world, probe(Protocol::Tcp, node, 30080));
            assert!(local.values().all(|server| server == "web-1"), "{local:?}");
        }
    });
}

#[test]
fn a_client_is_forgotten_after_the_timeout_since_its_last_connection() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        world.apply(objects(3, &stage.endpoints()));
        let ask = || {
            let mut all = BTreeMap::new();
            for family in Family::BOTH {
                all.extend(stage.ask(world, probe(Protocol::Tcp, cluster_ip(family), 80)));
            }
            all
        };
        // Time is what this is about; nothing else shows that it has passed.
        let pass = |since: Instant, time: Duration| {
            wait_until(PATIENT, "time to pass", || since.elapsed() >= time).unwrap();
        };
        let mut began = Instant::now();
        let first = ask();
        let mut kept = 0;
        while kept < 3 {
            pass(began, TIMEOUT / 2);
            let now = Instant::now();
            let again = ask();
            // On a busy machine the round may have taken too long to say anything.
            let is_in_time = began.elapsed() < TIMEOUT;
            assert!(is_in_time, "the machine is too busy for a timeout of {TIMEOUT:?}");
            assert_eq!(again, first, "each new connection begins the time anew");
            began = now;
            kept += 1;
        }
        pass(Instant::now(), TIMEOUT + TIMEOUT / 4);
        assert_ne!(ask(), first);
    });
}

#[test]
fn clients_are_remembered_over_a_restart_and_a_crash_of_the_agent() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let endpoints = stage.endpoints();
        world.apply(objects(600, &endpoints));
        let ask =
            |world: &World| Family::BOTH.map(|family| stage.ask(world, probe(Protocol::Tcp, cluster_ip(family), 80)));
        let first = ask(world);
        world.kill_agent(1);
        assert_eq!(ask(world), first, "while no agent runs");
        world.start_agent(1);
        // A change makes sure that the new agent has written something.
        world.apply(objects(600, &endpoints[..]));
        assert_eq!(ask(world), first, "after kill -9");
        world.terminate_agent(1);
        world.start_agent(1);
        world.apply(objects(600, &endpoints[..]));
        assert_eq!(ask(world), first, "after an orderly restart");
    });
}

#[test]
fn only_the_clients_of_a_removed_endpoint_choose_again() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let endpoints = stage.endpoints();
        world.apply(objects(600, &endpoints));
        let ask =
            |world: &World| Family::BOTH.map(|family| stage.ask(world, probe(Protocol::Tcp, cluster_ip(family), 80)));
        let first = ask(world);
        world.apply(objects(600, &[endpoints[0].clone(), endpoints[2].clone()]));
        let second = ask(world);
        for (before, after) in first.iter().flatten().zip(second.iter().flatten()) {
            if before.1 == "web-2" {
                assert_ne!(after.1, "web-2");
            } else {
                assert_eq!(before, after);
            }
        }
        // It is back, and nobody knows it any more.
        world.apply(objects(600, &endpoints));
        assert_eq!(ask(world), second);
    });
}

#[test]
fn affinity_comes_and_goes_with_the_service() {
    in_world(test_name!(), &[CLUSTER_CIDR], |world| {
        let stage = Stage::new(world);
        let apply = |world: &mut World, affinity: &str| {
            let mut all = objects(600, &stage.endpoints());
            all.last_mut().unwrap()["spec"]["sessionAffinity"] = json!(affinity);
            world.apply(all);
        };
        let gateway = world.lab.node(1).pod_addresses(1).v4;
        let node = world.lab.node(1).addresses().v4;
        let everyone = Verdict::Answers(
            [
                ("web-1".to_owned(), gateway.into()),
                ("web-2".to_owned(), node.into()),
                ("web-3".to_owned(), node.into()),
            ]
            .into(),
        );
        let target = probe(Protocol::Tcp, cluster_ip(Family::V4), 80);
        apply(world, "None");
        assert_verdict(world.lab.client(), target, &everyone);
        apply(world, "ClientIP");
        assert_eq!(target.burst(world.lab.client(), 20).servers().len(), 1);
        apply(world, "None");
        assert_verdict(world.lab.client(), target, &everyone);
    });
}
