//! A node changes from the real kube-proxy to the agent, under load.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fairlead_e2e::control_plane::{Etcd, User, with_api_server};
use fairlead_lab::{Addresses, Family, Load, Probe, Process, Protocol, test_name};
use serde_json::{Value, json};

use crate::objects::{agent_role, cluster_ips, node, service, slices};
use crate::world::{API_PORT, World, probes, wait_until};

const NODE_PORT: u16 = 30_080;
const PAUSE: Duration = Duration::from_millis(3);
/// Questions of each load during each phase, at least.
const ENOUGH: usize = 200;
const PROBES: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9_000);
const HEALTHZ: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10_256);

/// Of two on one node, each has a log of its own.
struct Program {
    process: Process,
    log: PathBuf,
}

impl Program {
    fn start(world: &World, name: &str, mut command: Command) -> Self {
        let kubeconfig = world.store.kubeconfig(User::Admin, Family::V4, API_PORT).unwrap();
        let log = world.store.folder().join(format!("{name}.log"));
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args([
                "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48",
                // These settings belong to the machine and cannot be written from a namespace.
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0s",
                "--conntrack-tcp-timeout-close-wait=0s",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        Self {
            process: world.lab.node(1).spawn(command).unwrap(),
            log,
        }
    }

    fn kube_proxy(world: &World, program: &Path, mode: &str) -> Self {
        let mut command = Command::new(program);
        command
            .arg(format!("--proxy-mode={mode}"))
            .arg(format!("--hostname-override={}", world.lab.node(1).name()));
        Self::start(world, "kube-proxy", command)
    }

    fn agent(world: &World) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        command
            .args(["agent", "--source=kube", "--replace-kube-proxy"])
            .arg(format!("--node-name={}", world.lab.node(1).name()))
            .arg(format!("--probe-bind-address={PROBES}"))
            .env("RUST_LOG", "info");
        Self::start(world, "agent", command)
    }

    fn log_lines(&self, text: &str) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }
}

/// The whole answer of a server in the node's namespace; empty while nobody answers.
fn get(world: &World, server: SocketAddr, path: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")?;
        io::read_to_string(stream)
    };
    world.lab.node(1).run(|| ask().unwrap_or_default())
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
    with_api_server(test, Etcd::Current, |tools| match tools.kube_proxy() {
        Ok(kube_proxy) => take_over_from(&World::new(tools), &kube_proxy, mode),
        Err(reason) => {
            // `eprintln!` would be captured, since the test passes.
            let _ = writeln!(io::stderr(), "\nSKIP {test}: {reason}");
            assert!(
                std::env::var_os("CI").is_none(),
                "kube-proxy must be there in CI: {reason}"
            );
        }
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

    let mut proxy = Program::kube_proxy(world, kube_proxy, mode);
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

    let agent = Program::agent(world);
    wait_until("the agent's first commit", || {
        get(world, PROBES, "/readyz").contains(" 200 ")
    });
    wait_until("the agent to see kube-proxy", || {
        agent.log_lines("a kube-proxy runs beside us").len() == 1
    });
    go_on(&loads);
    assert_ne!(leftovers(world), "", "nothing goes while kube-proxy runs");
    assert_eq!(agent.log_lines("is gone"), Vec::<String>::new());

    proxy.process.kill().unwrap();
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
        get(world, HEALTHZ, "/healthz").contains(" 200 ")
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
