//! A node changes from the real kube-proxy to the agent, under load.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use fairlead_e2e::control_plane::{Proxy, Setup, User, with_kube_proxy};
use fairlead_lab::{Addresses, Family, Load, Probe, Protocol, test_name};
use serde_json::{Value, json};

use crate::objects::{agent_role, cluster_ips, node, service, slices};
use crate::world::{API_PORT, World, probes, start_agent, wait_until};

const NODE_PORT: u16 = 30_080;
const PAUSE: Duration = Duration::from_millis(3);
/// Questions of each load during each phase, at least.
const ENOUGH: usize = 200;
const PROBES: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);

fn agent(world: &World, kubeconfig: &Path) -> Proxy {
    let arguments = [
        "--replace-kube-proxy".to_owned(),
        format!("--probe-bind-address={PROBES}"),
    ];
    let setup = Setup {
        arguments: &arguments,
        ..Setup::new(world.lab.node(1), kubeconfig, world.store.folder())
    };
    start_agent(&setup)
}

fn node_port_service(ips: Addresses) -> Value {
    let mut service = service("web", ips);
    service["spec"]["type"] = json!("NodePort");
    for port in service["spec"]["ports"].as_array_mut().unwrap() {
        port["nodePort"] = json!(NODE_PORT);
    }
    service
}

/// From a pod to the cluster IPs and from outside to the node ports, over both families and protocols.
fn start_loads(world: &World, ips: Addresses) -> Vec<Load> {
    let patient = |probe: Probe| probe.within(Duration::from_secs(3));
    let inside = probes(ips).map(|probe| patient(probe).load(&world.visitor, PAUSE));
    let outside = world.lab.node(1).addresses().both().into_iter().flat_map(|address| {
        [Protocol::Tcp, Protocol::Udp]
            .map(|protocol| patient(Probe::new(protocol, (address, NODE_PORT))).load(world.lab.client(), PAUSE))
    });
    inside.chain(outside).collect()
}

fn go_on(loads: &[Load]) {
    for load in loads {
        let until = load.asked() + ENOUGH;
        wait_until("traffic", || load.asked() >= until);
    }
}

/// What is loaded of kube-proxy's in the node's namespace.
fn leftovers(world: &World) -> String {
    world.lab.node(1).run(|| fairlead::cleanup::detect().join(", "))
}

#[test]
fn no_connection_fails_while_the_agent_takes_over_from_kube_proxys_nftables() {
    take_over(test_name!(), "nftables");
}

#[test]
fn no_connection_fails_while_the_agent_takes_over_from_kube_proxys_iptables() {
    take_over(test_name!(), "iptables");
}

fn take_over(test: &str, mode: &str) {
    with_kube_proxy(test, |tools, kube_proxy| {
        take_over_from(&World::new(tools), kube_proxy, mode);
    });
}

fn take_over_from(world: &World, kube_proxy: &Path, mode: &str) {
    let server = world.store.serve(API_PORT).unwrap();
    let api = server.client();
    for object in agent_role()
        .iter()
        .chain(&[node(world.lab.node(1)), node(world.lab.node(2))])
    {
        api.apply(object).unwrap();
    }
    let (near, far) = (world.workload(1, "near"), world.workload(2, "far"));
    let ips = cluster_ips(10);
    api.apply(&node_port_service(ips)).unwrap();
    api.apply_all(&slices("web", &[&near.pod, &far.pod])).unwrap();

    let kubeconfig = world.store.kubeconfig(User::Admin, Family::V4, API_PORT).unwrap();
    let setup = Setup::new(world.lab.node(1), &kubeconfig, world.store.folder());
    let mut proxy = Proxy::start_kube_proxy(kube_proxy, mode, &setup).unwrap();
    world.wait_for_servers(ips, &[&near, &far]);
    for probe in node_ports(world) {
        wait_until("kube-proxy's node ports", || {
            probe.send(world.lab.client()).answer.is_reply()
        });
    }
    let loads = start_loads(world, ips);
    // Connections of kube-proxy's making: from the pod, and masqueraded from outside.
    let mut established: Vec<_> = probes(ips)
        .filter(|probe| probe.protocol == Protocol::Tcp)
        .map(|probe| probe.open(&world.visitor).unwrap())
        .chain(
            node_ports(world)
                .filter(|probe| probe.protocol == Protocol::Tcp)
                .map(|probe| probe.open(world.lab.client()).unwrap()),
        )
        .collect();
    let before: Vec<_> = established
        .iter_mut()
        .map(|connection| connection.ask().answer)
        .collect();
    go_on(&loads);

    let agent = agent(world, &kubeconfig);
    wait_until("the agent's first commit", || {
        agent.status(PROBES, "/readyz") == Some(200)
    });
    wait_until("the agent to see kube-proxy", || {
        agent.log_lines("a kube-proxy runs beside us").len() == 1
    });
    go_on(&loads);
    assert_ne!(leftovers(world), "", "nothing goes while kube-proxy runs");
    assert_eq!(agent.log_lines("is gone"), Vec::<String>::new());

    proxy.process().kill().unwrap();
    wait_until("the leftovers to go", || {
        agent.log_lines("what kube-proxy left is gone").len() == 1
    });
    assert_eq!(leftovers(world), "");
    go_on(&loads);
    for load in loads {
        let report = load.stop();
        assert_eq!(report.failures, [], "of {}", report.tally.replied());
    }
    for (connection, before) in established.iter_mut().zip(before) {
        assert_eq!(connection.ask().answer, before);
    }
    world.wait_for_servers(ips, &[&near, &far]);
    wait_until("the agent to have kube-proxy's address", || {
        agent.healthz() == Some(200)
    });
    let warnings = agent.log_lines("WARN");
    assert!(
        warnings.iter().all(|line| line.contains("cannot listen")),
        "{warnings:#?}"
    );
}

fn node_ports(world: &World) -> impl Iterator<Item = Probe> {
    let addresses = world.lab.node(1).addresses().both();
    addresses
        .into_iter()
        .flat_map(|address| [Protocol::Tcp, Protocol::Udp].map(|protocol| Probe::new(protocol, (address, NODE_PORT))))
}
