use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use fairlead_lab::{Namespace, Node, Process};

/// How long a proxy's servers may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where its health is served, and where its metrics are.
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10256);
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);

/// What a proxy is told at its start.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Where it runs, and as whom.
    pub node: &'a Node,
    /// How it finds the API server.
    pub kubeconfig: &'a Path,
    /// The networks of all pods, with commas between them.
    pub cluster_cidr: &'a str,
    /// What only one of the programs is told.
    pub arguments: &'a [String],
    /// Where its log goes.
    pub folder: &'a Path,
}

/// A proxy on a node, as its own process, killed when it is dropped. Its rules stay in the node's namespace.
///
/// That is `fairlead agent` or kube-proxy: both have the same ports and the metrics that are asked for here.
#[derive(Debug)]
pub struct Proxy {
    namespace: Namespace,
    process: Process,
    log: PathBuf,
}

impl<'a> Setup<'a> {
    /// For the pods of the lab.
    pub fn new(node: &'a Node, kubeconfig: &'a Path, folder: &'a Path) -> Self {
        Self {
            node,
            kubeconfig,
            cluster_cidr: "10.244.0.0/16,fd00:10:244::/48",
            arguments: &[],
            folder,
        }
    }

    /// Both programs know these arguments.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg(format!("--cluster-cidr={}", self.cluster_cidr))
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            // These settings belong to the machine and cannot be written from a namespace.
            .args([
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0s",
                "--conntrack-tcp-timeout-close-wait=0s",
            ])
            .args(self.arguments);
        command
    }
}

impl Proxy {
    /// Starts `program`, which is `fairlead`, as the agent of a node.
    pub fn start_fairlead(program: &Path, setup: &Setup<'_>) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["agent", "--source=kube"]);
        command.args(setup.command(program).get_args());
        command
            .arg(format!("--node-name={}", setup.node.name()))
            .arg("--state-dir")
            .arg(setup.folder.join(format!("{}-state", setup.node.name())))
            .env("RUST_LOG", "info");
        Self::start("fairlead", command, setup)
    }

    /// Starts `program`, which is the real kube-proxy, in this mode of its own, such as nftables.
    pub fn start_kube_proxy(program: &Path, mode: &str, setup: &Setup<'_>) -> Result<Self> {
        let mut command = setup.command(program);
        command
            .arg(format!("--proxy-mode={mode}"))
            .arg(format!("--hostname-override={}", setup.node.name()));
        Self::start("kube-proxy", command, setup)
    }

    /// Of two on one node, each has a log of its own.
    fn start(name: &str, mut command: Command, setup: &Setup<'_>) -> Result<Self> {
        let log = setup.folder.join(format!("{}-{name}.log", setup.node.name()));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Ok(Self {
            namespace: Namespace::clone(setup.node),
            process: setup.node.spawn(command)?,
            log,
        })
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The lines of its log with this text in them.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }

    /// The HTTP status of `/healthz`; `None` while nobody answers.
    pub fn healthz(&self) -> Option<u16> {
        self.status(HEALTH, "/healthz")
    }

    /// The HTTP status of a page of a server in its namespace; `None` while nobody answers.
    pub fn status(&self, server: SocketAddr, path: &str) -> Option<u16> {
        let answer = ask(&self.namespace, server, path)?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// The value of a metric with exactly these labels; of one named without labels, the sum over them.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let answer = ask(&self.namespace, METRICS, "/metrics")?;
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

    /// When the rules of IPv4 were last written; `None` before the first time. Both programs wait for complete lists, so
    /// everything is in them that the API server told until then.
    pub fn synced_at(&self) -> Option<SystemTime> {
        let seconds = self.metric("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}")?;
        (seconds > 0.0).then(|| UNIX_EPOCH + Duration::from_secs_f64(seconds))
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Everything that a server answers to a GET; `None` if it does not.
fn ask(from: &Namespace, server: SocketAddr, path: &str) -> Option<String> {
    from.run(|| {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        // In HTTP/1.0 nothing comes in chunks, whose ends would be in the middle of lines.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}
