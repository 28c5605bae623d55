//! The agent on a node, as its own process.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fairlead_lab::{Namespace, Node, Process};

/// The networks of all pods.
const CLUSTER_CIDR: &str = "10.244.0.0/16,fd00:10:244::/48";
/// How long the agent's servers may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where its health is served, and where its metrics are.
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10256);
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);

/// An agent, killed when it is dropped. Its rules stay in the node's namespace.
pub(crate) struct Agent {
    namespace: Namespace,
    process: Process,
    log: PathBuf,
}

impl Agent {
    /// Starts it with its log in `folder`.
    pub(crate) fn start(node: &Node, kubeconfig: &Path, folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
        command
            .args([
                "agent",
                "--source",
                "kube",
                "--node-name",
                node.name(),
                "--cluster-cidr",
                CLUSTER_CIDR,
            ])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            // These settings belong to the machine and cannot be written from a namespace.
            .args(["--conntrack-max-per-core", "0"])
            .args([
                "--conntrack-tcp-timeout-established",
                "0s",
                "--conntrack-tcp-timeout-close-wait",
                "0s",
            ])
            .env("RUST_LOG", "info");
        Self::run(node, command, folder)
    }

    /// Runs a program that has kube-proxy's ports and metrics, with its log in `folder`.
    pub(crate) fn run(node: &Node, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{}.log", node.name()));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap());
        Self {
            namespace: Namespace::clone(node),
            process: node.spawn(command).unwrap(),
            log,
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The lines of its log with this text in them.
    pub(crate) fn log_lines(&self, text: &str) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }

    /// The HTTP status of `/healthz`; `None` while nobody answers.
    pub(crate) fn healthz(&self) -> Option<u16> {
        let answer = get(&self.namespace, HEALTH, "/healthz")?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// The value of a metric without labels, or the sum over its labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let answer = get(&self.namespace, METRICS, "/metrics")?;
        let values = answer.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = if rest.starts_with('{') {
                rest.split_once("} ")?.1
            } else {
                rest.strip_prefix(' ')?
            };
            value.parse::<f64>().ok()
        });
        values.reduce(|sum, value| sum + value)
    }

    /// Its process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn get(from: &Namespace, server: SocketAddr, path: &str) -> Option<String> {
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}
