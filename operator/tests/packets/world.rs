//! A lab whose nodes run the real agent.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fairlead_dataplane::evaluate::{Outcome, Packet, evaluate};
use fairlead_dataplane::netlink::{Connection, Ownership};
use fairlead_dataplane::table::{Datum, Table};
use fairlead_lab::{Family, Lab, Node, Pod, Process, Protocol, Server, in_namespace, wait_for, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// For what must happen.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);
/// The pods of all nodes count as local pods.
pub(crate) const CLUSTER_CIDR: &str = "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48";

const AGENT: &str = env!("CARGO_BIN_EXE_fairlead");

/// Runs a test in a lab with an agent on each node, with these flags beside the necessary ones. At the end every node's
/// rule set must be one that `nft` can list.
pub(crate) fn in_world(test: &str, flags: &[&str], body: impl FnOnce(&mut World) + Send) {
    in_namespace(test, || {
        let mut world = World::start(flags);
        body(&mut world);
        world.check_that_nft_lists();
    });
}

/// The lab, its agents and the folder that they follow.
pub(crate) struct World {
    pub(crate) lab: Lab,
    agents: BTreeMap<u8, Process>,
    folder: TempDir,
    flags: Vec<String>,
    /// How often the manifests were written.
    generation: u16,
}

impl World {
    fn start(flags: &[&str]) -> Self {
        let lab = Lab::new().unwrap();
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("manifests")).unwrap();
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut world = Self {
            lab,
            agents: BTreeMap::new(),
            folder,
            flags,
            generation: 0,
        };
        world.write([]);
        for node in 1..=3 {
            world.start_agent(node);
        }
        world.settle();
        world
    }

    /// Starts the agent of a node; one that runs is killed first. Its rules are in force after [`World::settle`].
    pub(crate) fn start_agent(&mut self, node: u8) {
        self.agents.remove(&node);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(node))
            .unwrap();
        let mut command = Command::new(AGENT);
        command
            .arg("agent")
            .args(self.node_flags(node))
            .args(["--conntrack-max-per-core=0", "--log-format=text"])
            .arg("--state-dir")
            .arg(self.log_path(node).with_extension("state"))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let process = self.lab.node(node).spawn(command).unwrap();
        self.agents.insert(node, process);
    }

    /// Starts the agent of a node with other flags.
    pub(crate) fn restart_with(&mut self, node: u8, flags: &[&str]) {
        self.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        self.start_agent(node);
        // What the old agent wrote must not be taken for the new one's.
        self.touch();
        self.settle_on(node);
    }

    /// Kills an agent with SIGKILL.
    pub(crate) fn kill_agent(&mut self, node: u8) {
        self.agents.get_mut(&node).unwrap().kill().unwrap();
        self.agents.remove(&node);
    }

    /// Starts another agent on a node, while the one that runs goes on until the returned process is dropped.
    pub(crate) fn start_agent_beside(&mut self, node: u8) -> Process {
        let running = self.agents.remove(&node).unwrap();
        self.start_agent(node);
        running
    }

    /// Ends an agent with SIGTERM.
    pub(crate) fn terminate_agent(&mut self, node: u8) {
        let status = self.agents.get_mut(&node).unwrap().terminate(PATIENT).unwrap();
        assert!(status.success(), "{status}");
        self.agents.remove(&node);
    }

    fn node_flags(&self, node: u8) -> Vec<String> {
        let folder = self.folder.path().join("manifests");
        let mut flags = vec![
            format!("--source=dir:{}", folder.display()),
            format!("--node-name=node-{node}"),
        ];
        flags.extend(self.flags.iter().cloned());
        flags
    }

    fn log_path(&self, node: u8) -> PathBuf {
        self.folder.path().join(format!("node-{node}.log"))
    }

    /// What the agents of a node have logged.
    pub(crate) fn log(&self, node: u8) -> String {
        fs::read_to_string(self.log_path(node)).unwrap_or_default()
    }

    /// Makes these objects all that there are, and waits until they are in force on every node with an agent.
    pub(crate) fn apply(&mut self, objects: impl IntoIterator<Item = Value>) {
        self.write(objects);
        self.settle();
    }

    /// Makes these objects all that there are, and does not wait.
    pub(crate) fn write(&mut self, objects: impl IntoIterator<Item = Value>) {
        let service_cidrs = service_cidr("services", &["10.96.0.0/16", "fd00:10:96::/112"]);
        let documents: Vec<_> = objects
            .into_iter()
            .chain([service_cidrs])
            .map(|object| object.to_string())
            .collect();
        self.replace("objects.yaml", &documents.join("\n---\n"));
        self.touch();
    }

    /// Marks the manifests with a new number, the last change that an agent hears of and writes into its table.
    fn touch(&mut self) {
        self.generation += 1;
        self.replace(
            "zz-marker.yaml",
            &service_cidr("zz-marker", &[&format!("{}/32", self.marker())]).to_string(),
        );
    }

    fn marker(&self) -> Ipv4Addr {
        let [high, low] = self.generation.to_be_bytes();
        // RFC 2544's range for benchmarks: nobody is there.
        Ipv4Addr::new(198, 18, high, low)
    }

    /// As an editor saves: whoever looks sees the old file or the new one.
    fn replace(&self, name: &str, text: &str) {
        let folder = self.folder.path().join("manifests");
        let written = self.folder.path().join(name);
        fs::write(&written, text).unwrap();
        fs::rename(written, folder.join(name)).unwrap();
    }

    /// Waits until what was written last is in force on every node with an agent.
    pub(crate) fn settle(&self) {
        for &node in self.agents.keys() {
            self.settle_on(node);
        }
    }

    fn settle_on(&self, node: u8) {
        let marker = Datum::address(self.marker().into());
        let what = format!("generation {} on node-{node}", self.generation);
        wait_until(PATIENT, &what, || {
            // For a moment of the transaction that starts over, the kernel shows a table with nothing in it.
            let set = self
                .table(node)
                .and_then(|mut table| table.sets.remove("service_cidrs4"));
            set.is_some_and(|set| set.ranges.iter().any(|(first, _)| *first == marker))
        })
        .unwrap();
    }

    /// The table that is loaded on a node, read back from the kernel: switched on, and without anything that is not ours.
    pub(crate) fn table(&self, node: u8) -> Option<Table> {
        self.lab.node(node).run(|| {
            let loaded = Connection::open(Ownership::Shared).and_then(|mut connection| connection.load());
            loaded
                .ok()?
                .filter(|loaded| !loaded.is_dormant && loaded.unreadable.is_empty())
                .map(|loaded| loaded.table)
        })
    }

    /// What the evaluator says of a connection, on the table that is loaded.
    pub(crate) fn evaluate(&self, node: u8, table: &Table, question: &Question) -> Outcome {
        let local = self.lab.node(node).run(|| fairlead::addresses::list().unwrap());
        let is_local = |address: IpAddr| address.is_loopback() || local.iter().any(|local| local.address == address);
        let packet = Packet {
            source: question.from,
            destination: question.to,
            protocol: model_protocol(question.protocol),
            interface: question.interface.clone(),
        };
        evaluate(table, is_local, &packet).outcome
    }

    /// What `fairlead trace` says of a connection, run on a node.
    pub(crate) fn trace(&self, node: u8, from: IpAddr, to: SocketAddr, protocol: Protocol) -> Value {
        let (from, to) = (
            from.to_string(),
            format!("{to}/{}", protocol.to_string().to_lowercase()),
        );
        let flags = self.node_flags(node);
        let mut arguments = vec!["trace", "--from", &from, "--to", &to, "--output=json"];
        arguments.extend(flags.iter().map(String::as_str));
        serde_json::from_str(&self.run(node, AGENT, &arguments)).unwrap()
    }

    /// Runs a program on a node. It must succeed.
    pub(crate) fn run(&self, node: u8, program: &str, arguments: &[&str]) -> String {
        let output = self.try_to_run(node, program, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {arguments:?} on node-{node}: {errors}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a program on a node.
    pub(crate) fn try_to_run(&self, node: u8, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        self.lab.node(node).run(|| {
            command
                .output()
                .unwrap_or_else(|error| panic!("{program} does not start: {error}"))
        })
    }

    /// A metric of an agent, by the beginning of its line.
    pub(crate) fn metric(&self, node: u8, series: &str) -> f64 {
        self.find_metric(node, series)
            .unwrap_or_else(|| panic!("node-{node} has no metric {series}"))
    }

    pub(crate) fn find_metric(&self, node: u8, series: &str) -> Option<f64> {
        let text = wait_for(PATIENT, "the agent's metrics", || {
            super::http::get(
                self.lab.node(node),
                SocketAddr::from(([127, 0, 0, 1], 10249)),
                "/metrics",
            )
        })
        .unwrap()
        .body;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// Others read the rules with `nft`, so that it must be able to.
    fn check_that_nft_lists(&self) {
        if !has_nft("whether it can list the rule set") {
            return;
        }
        for &node in self.agents.keys() {
            let text = self.run(node, "nft", &["list", "ruleset"]);
            assert!(text.contains("table inet fairlead"), "{text}");
            let value = self.run(node, "nft", &["-j", "list", "ruleset"]);
            let value: Value = serde_json::from_str(&value).unwrap();
            assert!(
                value["nftables"].as_array().is_some_and(|objects| objects.len() > 10),
                "{value}"
            );
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for &node in self.agents.keys() {
                let log = self.log(node);
                let lines: Vec<_> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(40)..];
                eprintln!("the agent of node-{node} logged last:\n{}\n", tail.join("\n"));
            }
        }
    }
}

/// Whether there is `nft`. Without it the test says what it does not show; in CI that is a failure.
pub(crate) fn has_nft(what: &str) -> bool {
    if Command::new("nft").arg("--version").output().is_ok() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "nft must be installed in CI");
    // `eprintln!` would be captured, since the test passes.
    let _ = writeln!(
        io::stderr(),
        "\nSKIP: nft is not installed, so that nobody knows {what}"
    );
    false
}

/// A connection to ask the evaluator about.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) from: IpAddr,
    pub(crate) to: SocketAddr,
    pub(crate) protocol: Protocol,
    /// The interface that it arrives at.
    pub(crate) interface: Option<String>,
}

fn service_cidr(name: &str, cidrs: &[&str]) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": { "name": name },
        "spec": { "cidrs": cidrs },
    })
}

fn model_protocol(protocol: Protocol) -> fairlead_model::Protocol {
    match protocol {
        Protocol::Tcp => fairlead_model::Protocol::Tcp,
        Protocol::Udp => fairlead_model::Protocol::Udp,
        Protocol::Sctp => fairlead_model::Protocol::Sctp,
    }
}

/// A pod with workloads that answer with its name.
pub(crate) struct Workload {
    pod: Pod,
    _servers: Vec<Server>,
}

impl Workload {
    /// Starts the pod on a node. It listens on these ports, by each protocol that the kernel knows.
    pub(crate) fn start(world: &World, node: u8, name: &str, ports: &[u16]) -> Self {
        let pod = world.lab.node(node).add_pod(name).unwrap();
        let protocols = Protocol::ALL.into_iter().filter(|protocol| protocol.is_supported());
        let servers = protocols.flat_map(|protocol| ports.iter().map(move |&port| (protocol, port)));
        let servers = servers
            .map(|(protocol, port)| pod.listen(protocol, port).unwrap())
            .collect();
        Self { pod, _servers: servers }
    }
}

impl Deref for Workload {
    type Target = Pod;

    fn deref(&self) -> &Pod {
        &self.pod
    }
}

/// The address that an endpoint sees when a node has masqueraded a connection to it.
pub(crate) fn masqueraded(node: &Node, family: Family, endpoint: IpAddr) -> IpAddr {
    let cidr = node.pod_cidrs().of(family);
    if cidr.contains(&endpoint) {
        node.pod_addresses(1).of(family)
    } else {
        node.addresses().of(family)
    }
}
