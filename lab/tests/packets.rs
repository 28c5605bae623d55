//! Real packets through a lab without a dataplane.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fairlead_lab::outage::{Attempt, Outage, is_quiet, lost, outage};
use fairlead_lab::{
    Answer, Error, Family, Lab, LinkState, Namespace, Pod, Probe, Protocol, in_namespace, test_name, wait_until,
};

/// For what must happen.
const PATIENT: Duration = Duration::from_secs(10);
/// For what must not.
const BRIEF: Duration = Duration::from_millis(500);

fn protocols() -> impl Iterator<Item = Protocol> {
    Protocol::ALL.into_iter().filter(|protocol| protocol.is_supported())
}

/// Asks and returns the server's name and the client address that it saw.
fn ask(from: &Namespace, protocol: Protocol, target: SocketAddr) -> (String, IpAddr) {
    let outcome = Probe::new(protocol, target).within(PATIENT).send(from);
    match outcome.answer {
        Answer::Reply { server, client } => (server, client.ip()),
        other => panic!(
            "{} to {protocol} {target}: {other:?} after {:?}",
            from.name(),
            outcome.took
        ),
    }
}

#[test]
fn pods_reach_pods_on_their_node_and_on_others_with_their_own_address() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let pods: Vec<Pod> = [(1, "a"), (1, "b"), (2, "c")]
            .map(|(node, name)| lab.node(node).add_pod(name).unwrap())
            .into();
        for protocol in protocols() {
            let servers: Vec<_> = pods.iter().map(|pod| pod.listen(protocol, 80).unwrap()).collect();
            for (from, to) in pods.iter().flat_map(|from| pods.iter().map(move |to| (from, to))) {
                for family in Family::BOTH {
                    let target = SocketAddr::new(to.addresses().of(family), 80);
                    let seen = ask(from, protocol, target);
                    assert_eq!(seen, (to.name().to_owned(), from.addresses().of(family)), "{protocol}");
                }
            }
            drop(servers);
        }
        // Answers between neighbours must cross the node too, which may have to translate them.
        let neighbours = pods[0].run(|| std::fs::read_to_string("/proc/thread-self/net/arp").unwrap());
        assert!(neighbours.contains("10.244.1.1 "), "{neighbours}");
        assert!(!neighbours.contains("10.244.1.3 "), "{neighbours}");
    });
}

#[test]
fn the_client_reaches_nodes_and_pods_and_is_seen_with_its_own_address() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let pod = lab.node(3).add_pod("web").unwrap();
        for protocol in protocols() {
            let _web = pod.listen(protocol, 8080).unwrap();
            let _host = lab.node(2).listen("host-2", protocol, 8080).unwrap();
            for family in Family::BOTH {
                let own = lab.client().addresses().of(family);
                let to_pod = SocketAddr::new(pod.addresses().of(family), 8080);
                assert_eq!(ask(lab.client(), protocol, to_pod), ("web".to_owned(), own));
                let to_node = SocketAddr::new(lab.node(2).addresses().of(family), 8080);
                assert_eq!(ask(lab.client(), protocol, to_node), ("host-2".to_owned(), own));
                assert_eq!(
                    ask(&pod, protocol, to_node),
                    ("host-2".to_owned(), pod.addresses().of(family))
                );
            }
        }
    });
}

#[test]
fn a_port_without_a_server_refuses_every_time() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let pod = lab.node(2).add_pod("web").unwrap();
        for (family, protocol) in Family::BOTH
            .into_iter()
            .flat_map(|family| protocols().map(move |p| (family, p)))
        {
            let target = SocketAddr::new(pod.addresses().of(family), 81);
            // More in a row than the kernel's default limit on ICMP errors lets through.
            let tally = Probe::new(protocol, target).burst(lab.client(), 20);
            assert_eq!(
                tally.failures.get(&Answer::Refused),
                Some(&20),
                "{protocol} {target}: {tally:?}"
            );
            assert_eq!(tally.replied(), 0);
        }
    });
}

#[test]
fn service_addresses_are_routed_to_the_node_of_choice() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let vips: [IpAddr; 2] = ["198.51.100.7".parse().unwrap(), "2001:db8:100::7".parse().unwrap()];
        for vip in vips {
            // No node has it: the packet crosses node-1 and ends at the LAN's router, which says so before the client sends again.
            let outcome = Probe::tcp((vip, 80)).send(lab.client());
            assert!(matches!(outcome.answer, Answer::Unreachable(_)), "{outcome:?}");
            assert!(outcome.took < Duration::from_secs(1), "{outcome:?}");

            for node in [lab.node(2), lab.node(3)] {
                node.add_address("lo", vip.into()).unwrap();
                lab.client().route(vip.into(), node).unwrap();
                let _server = node
                    .serve(node.name(), &[(Protocol::Tcp, SocketAddr::new(vip, 80))])
                    .unwrap();
                assert_eq!(
                    ask(lab.client(), Protocol::Tcp, SocketAddr::new(vip, 80)).0,
                    node.name()
                );
            }
            lab.client().unroute(vip.into()).unwrap();
            let outcome = Probe::tcp((vip, 80)).send(lab.client());
            assert!(matches!(outcome.answer, Answer::Unreachable(_)), "{outcome:?}");
        }
    });
}

#[test]
fn packets_for_cluster_addresses_leave_a_pod_and_reach_its_node() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let pod = lab.node(1).add_pod("pod").unwrap();
        for address in ["10.96.0.10", "fd00:10:96::a"] {
            let address: IpAddr = address.parse().unwrap();
            lab.node(1).add_address("lo", address.into()).unwrap();
            let target = SocketAddr::new(address, 53);
            let _server = lab.node(1).serve("cluster", &[(Protocol::Udp, target)]).unwrap();
            assert_eq!(ask(&pod, Protocol::Udp, target).0, "cluster");
            assert_eq!(ask(lab.client(), Protocol::Udp, target).0, "cluster");
        }
    });
}

#[test]
fn a_probe_comes_from_the_source_it_names() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let sources: [IpAddr; 2] = ["172.30.0.150".parse().unwrap(), "fd00:172:30::150".parse().unwrap()];
        for (family, source) in Family::BOTH.into_iter().zip(sources) {
            lab.client().add_source(source).unwrap();
            for protocol in protocols() {
                let _server = lab.node(1).listen("host", protocol, 7).unwrap();
                let target = SocketAddr::new(lab.node(1).addresses().of(family), 7);
                assert_eq!(
                    ask(lab.client(), protocol, target).1,
                    lab.client().addresses().of(family)
                );

                let socket = SocketAddr::new(source, 4711);
                for _ in 0..2 {
                    let answer = Probe::new(protocol, target)
                        .from_socket(socket)
                        .send(lab.client())
                        .answer;
                    assert_eq!(
                        answer,
                        Answer::Reply {
                            server: "host".to_owned(),
                            client: socket
                        }
                    );
                }
            }
        }
        let elsewhere = Probe::tcp((lab.node(1).addresses().v4, 7)).from_address("203.0.113.1".parse().unwrap());
        let answer = elsewhere.send(lab.client()).answer;
        assert_eq!(answer, Answer::Unreachable(std::io::ErrorKind::AddrNotAvailable));
    });
}

#[test]
fn an_open_connection_is_answered_until_its_server_ends() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(2).unwrap();
        let pod = lab.node(2).add_pod("web").unwrap();
        for protocol in protocols() {
            let server = pod.listen(protocol, 80).unwrap();
            let probe = Probe::new(protocol, (pod.addresses().v6, 80));
            let mut connection = probe.open(lab.client()).unwrap();
            let own = connection.local_address().unwrap();
            for _ in 0..3 {
                let answer = connection.ask().answer;
                assert_eq!(
                    answer,
                    Answer::Reply {
                        server: "web".to_owned(),
                        client: own
                    }
                );
            }
            drop(server);
            let answer = connection.ask().answer;
            match protocol {
                Protocol::Udp => assert_eq!(answer, Answer::Refused),
                _ => assert!(matches!(answer, Answer::Lost(_)), "{answer:?}"),
            }
        }
    });
}

#[test]
fn a_pulled_cable_times_out_and_the_load_counts_it() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(2).unwrap();
        let _server = lab.node(2).listen("host", Protocol::Tcp, 80).unwrap();
        let probe = Probe::tcp((lab.node(2).addresses().v4, 80)).within(BRIEF);
        let load = probe.load(lab.client(), Duration::from_millis(1));
        wait_until(PATIENT, "ten replies", || load.report().tally.replied() >= 10).unwrap();
        assert_eq!(load.report().failures, []);

        lab.lan().set_link("node-2", LinkState::Down).unwrap();
        wait_until(PATIENT, "a failure", || !load.report().failures.is_empty()).unwrap();
        lab.lan().set_link("node-2", LinkState::Up).unwrap();
        let before = load.report().tally.replied();
        wait_until(PATIENT, "replies again", || load.report().tally.replied() > before).unwrap();

        let report = load.stop();
        assert_eq!(report.failures[0].answer, Answer::TimedOut);
        assert_eq!(report.tally.servers(), ["host"]);
        assert_eq!(report.tally.failed(), report.failures.len());
        assert!(report.tally.median().unwrap() < BRIEF);
    });
}

#[test]
fn processes_run_inside_and_end_with_their_owner() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let mut command = Command::new("cat");
        command
            .args(["/proc/net/dev", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = lab.node(1).spawn(command).unwrap();
        let output = process.child().stdout.take().unwrap();
        let has_cni0 = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("cni0:"));
        assert!(has_cni0, "the process does not see the interfaces of node-1");
        assert_eq!(process.status().unwrap(), None);

        let id = process.id();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());

        let mut command = Command::new("cat");
        command.stdin(Stdio::piped());
        let mut process = lab.node(1).spawn(command).unwrap();
        assert!(!process.terminate(PATIENT).unwrap().success());
        assert!(lab.node(1).spawn(Command::new("/nowhere")).is_err());
    });
}

#[test]
fn processes_end_with_a_killed_owner() {
    const VICTIM: &str = "LAB_TEST_VICTIM";
    in_namespace(test_name!(), || {
        if std::env::var_os(VICTIM).is_some() {
            let lab = Lab::with_nodes(1).unwrap();
            let mut command = Command::new("sleep");
            command.arg("60").stdout(Stdio::null()).stderr(Stdio::null());
            let process = lab.node(1).spawn(command).unwrap();
            println!("\nstarted {}", process.id());
            // Until it is killed: the test that started it holds the other end.
            let _ = std::io::stdin().read_line(&mut String::new());
            return;
        }
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test_name!(), "--nocapture", "--test-threads=1"])
            .env(VICTIM, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let id = lines
            .find_map(|line| Some(line.strip_prefix("started ")?.to_owned()))
            .unwrap();
        assert!(is_running(&id));
        victim.kill().unwrap();
        victim.wait().unwrap();
        wait_until(PATIENT, "the process of the killed lab to end", || !is_running(&id)).unwrap();
    });
}

/// Whether there is such a process and it has not ended. One that has ended stays until its adoptive parent looks after it.
fn is_running(id: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}

#[test]
fn pod_addresses_are_given_once_and_again_after_the_pod_is_gone() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = lab.node(1);
        let first = node.add_pod("first").unwrap();
        assert_eq!(first.addresses(), node.pod_addresses(2));
        assert_eq!(node.add_pod("second").unwrap().addresses(), node.pod_addresses(3));

        let refused = [
            node.pod_addresses(2),
            node.pod_addresses(1),
            node.pod_addresses(0),
            lab.client().addresses(),
        ];
        for addresses in refused {
            assert!(
                matches!(node.add_pod_at("refused", addresses), Err(Error::Address { .. })),
                "{addresses:?}"
            );
        }
        let chosen = node.add_pod_at("chosen", node.pod_addresses(200)).unwrap();
        let _server = chosen.listen(Protocol::Tcp, 80).unwrap();
        assert_eq!(
            ask(lab.client(), Protocol::Tcp, (chosen.addresses().v6, 80).into()).0,
            "chosen"
        );

        drop(first);
        let again = node.add_pod("again").unwrap();
        assert_eq!(again.addresses(), node.pod_addresses(2));
        let _server = again.listen(Protocol::Tcp, 80).unwrap();
        assert_eq!(
            ask(lab.client(), Protocol::Tcp, (again.addresses().v4, 80).into()).0,
            "again"
        );
    });
}

#[test]
fn nothing_is_left_behind_in_the_namespace_around_it() {
    in_namespace(test_name!(), || {
        let interfaces = || std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let before = interfaces();
        let lab = Lab::new().unwrap();
        let pods: Vec<Pod> = lab.nodes().iter().map(|node| node.add_pod("pod").unwrap()).collect();
        let names: Vec<String> = pods.iter().map(Pod::host_interface).collect();
        assert_eq!(names, ["veth0102", "veth0202", "veth0302"]);
        assert_eq!(interfaces(), before, "the lab made interfaces outside of itself");

        let node = Namespace::clone(lab.node(1));
        let of_node = || node.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        assert!(of_node().contains("veth0102:"));
        drop(pods);
        assert!(!of_node().contains("veth0102:"));
        let path = lab.lan().path();
        assert!(path.exists());
        drop((lab, node));
        assert!(!path.exists());
        assert_eq!(interfaces(), before);
    });
}

#[test]
fn settings_are_those_of_the_namespace() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let route_localnet = |namespace: &Namespace| {
            namespace.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/route_localnet").unwrap())
        };
        lab.node(1).sysctl("ipv4/conf/all/route_localnet", "1").unwrap();
        assert_eq!(route_localnet(lab.node(1)).trim(), "1");
        assert_eq!(route_localnet(lab.client()).trim(), "0");
        assert!(matches!(
            lab.node(1).sysctl("ipv4/no_such", "1"),
            Err(Error::Sysctl { .. })
        ));
    });
}

#[test]
fn a_lab_of_three_nodes_and_six_pods_is_up_in_a_second() {
    in_namespace(test_name!(), || {
        let started = Instant::now();
        let lab = Lab::new().unwrap();
        let nodes = started.elapsed();
        let pods: Vec<Pod> = lab
            .nodes()
            .iter()
            .flat_map(|node| ["a", "b"].map(|name| node.add_pod(name).unwrap()))
            .collect();
        let servers: Vec<_> = pods.iter().map(|pod| pod.listen(Protocol::Tcp, 80).unwrap()).collect();
        let everything = started.elapsed();
        println!("three nodes after {nodes:?}, six pods with a server after {everything:?}");
        // Well under 100 ms on an idle machine.
        assert!(everything < Duration::from_secs(1), "{everything:?}");
        drop(servers);
    });
}

#[test]
fn connections_that_are_opened_at_a_steady_pace_show_how_long_a_cable_was_pulled() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let server = lab.node(2).listen("web", Protocol::Tcp, 80).unwrap();
        let openers = lab.node(2).addresses().both().map(|address| {
            lab.client()
                .open_every(Duration::from_millis(5), SocketAddr::new(address, 80))
        });
        let wait = |what: &str, condition: &dyn Fn(&[Attempt]) -> bool| {
            for opener in &openers {
                wait_until(PATIENT, what, || condition(&opener.attempts())).unwrap();
            }
        };
        wait("answers", &|attempts| is_quiet(attempts, BRIEF, Instant::now()));
        let pulled = Instant::now();
        lab.lan().set_link("node-2", LinkState::Down).unwrap();
        wait("lost connections", &|attempts| {
            lost(attempts, pulled, Instant::now()) >= 20
        });
        let back = Instant::now();
        lab.lan().set_link("node-2", LinkState::Up).unwrap();
        wait(
            "the end of the outage",
            &|attempts| matches!(outage(attempts, pulled, Instant::now()), Outage::Took(time) if time + BRIEF > back.duration_since(pulled)),
        );
        drop(server);
    });
}
