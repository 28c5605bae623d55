//! The agents: one real process in each node's namespace.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use fairlead_lab::{Lab, Node, Process, wait_for};
use rustix::rand::{GetRandomFlags, getrandom};

use super::ground::CLUSTER_CIDR;
use super::http;
use super::traffic::Interrupted;

/// How long an agent may take to its first commit, on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// How long an agent may take to follow an edit.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(10);
/// Where its metrics are, in its own namespace.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);
/// The file with the key of heartbeats, in the folder of logs.
const HEARTBEAT_KEY: &str = "heartbeat.key";
/// Lines of the log that are shown when an agent died.
const LAST_LINES: usize = 15;

/// One agent.
#[derive(Debug)]
pub(super) struct Agent {
    node: u8,
    name: String,
    process: Process,
    log: PathBuf,
    /// Where its own part of the log begins.
    log_start: usize,
    state: PathBuf,
    started: Instant,
    first_commit: Option<Duration>,
}

/// How an agent died.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the agent on {node} ended ({status}); its last log lines:\n{last_lines}")]
pub(super) struct Death {
    /// Its node.
    pub(super) node: String,
    /// How.
    pub(super) status: ExitStatus,
    /// The end of its log, indented.
    pub(super) last_lines: String,
}

/// When an agent last heard of a change, and when it last had the kernel up to date.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SyncTimes {
    /// When it heard of the last change.
    queued: SystemTime,
    /// When the kernel had everything last.
    pub(super) synced: SystemTime,
}

/// The arguments that decide what an agent does with packets, the same for `fairlead trace`.
pub(super) fn node_arguments(manifests: &Path, node: &str) -> [String; 6] {
    [
        "--source".to_owned(),
        format!("dir:{}", manifests.display()),
        "--node-name".to_owned(),
        node.to_owned(),
        "--cluster-cidr".to_owned(),
        CLUSTER_CIDR.to_owned(),
    ]
}

/// Makes the key that agents with this folder of logs sign their heartbeats with.
pub(super) fn write_heartbeat_key(logs: &Path) -> anyhow::Result<()> {
    let mut key = [0_u8; 32];
    getrandom(&mut key, GetRandomFlags::empty()).context("there is no randomness")?;
    let file = logs.join(HEARTBEAT_KEY);
    let hexadecimal = key.map(|byte| format!("{byte:02x}")).concat();
    fs::write(&file, hexadecimal).with_context(|| format!("cannot write {}", file.display()))
}

impl Agent {
    /// Starts an agent. Its log is a file in `logs`, which grows on when it is started again.
    pub(super) fn start(node: &Node, manifests: &Path, logs: &Path) -> anyhow::Result<Self> {
        let name = node.name().to_owned();
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let log_start = file
            .metadata()
            .map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(0));
        let state = logs.join(format!("{name}.state"));
        let program = std::env::current_exe().context("cannot find the own program file")?;
        let mut command = Command::new(program);
        command
            .arg("agent")
            .args(node_arguments(manifests, &name))
            // These settings belong to the machine and cannot be written from a namespace.
            .args(["--conntrack-max-per-core", "0"])
            .args([
                "--conntrack-tcp-timeout-established",
                "0s",
                "--conntrack-tcp-timeout-close-wait",
                "0s",
            ])
            // What an agent of the machine itself remembers is none of theirs.
            .arg("--state-dir")
            .arg(&state)
            // Nodes whose manifests have no labels take part too.
            .args(["--agent-nodes", "", "--heartbeat-key-file"])
            .arg(logs.join(HEARTBEAT_KEY))
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            // Ctrl-C in a terminal is for the sandbox, which ends its agents itself.
            .process_group(0);
        let process = node
            .spawn(command)
            .with_context(|| format!("cannot start the agent on {name}"))?;
        Ok(Self {
            node: node.number(),
            name,
            process,
            log,
            log_start,
            state,
            started: Instant::now(),
            first_commit: None,
        })
    }

    /// The number of its node.
    pub(super) fn node(&self) -> u8 {
        self.node
    }

    /// The name of its node.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// From its start until its rules were in the kernel; nothing before that.
    pub(super) fn first_commit(&self) -> Duration {
        self.first_commit.unwrap_or_default()
    }

    /// Kills it, and takes from it what a node without power loses.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        match fs::remove_dir_all(&self.state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.state.display()))
            }
            _ => Ok(()),
        }
    }

    /// How it died, if it did.
    pub(super) fn death(&mut self) -> anyhow::Result<Option<Death>> {
        let Some(status) = self.process.status()? else {
            return Ok(None);
        };
        Ok(Some(Death {
            node: self.name.clone(),
            status,
            last_lines: self.last_lines(),
        }))
    }

    /// What it has logged since its start.
    pub(super) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    /// The end of its log, indented.
    fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join(
            "
",
        )
    }

    /// Waits until the agent has written its rules. Returns how long that took since its start.
    pub(super) fn wait_for_first_commit(&mut self, lab: &Lab, is_interrupted: &AtomicBool) -> anyhow::Result<Duration> {
        if let Some(took) = self.first_commit {
            return Ok(took);
        }
        let has_committed = |times: &SyncTimes| times.synced > UNIX_EPOCH;
        match self.wait(lab, STARTS_WITHIN, is_interrupted, has_committed)? {
            Some(_) => Ok(*self.first_commit.insert(self.started.elapsed())),
            None => bail!(
                "the agent on {} wrote no rules within {STARTS_WITHIN:?}; the end of its log:\n{}",
                self.name,
                self.last_lines()
            ),
        }
    }

    /// Waits until the agent has heard of an edit and the kernel has what follows from it. None if that took too long.
    pub(super) fn wait_for_edit(
        &mut self,
        lab: &Lab,
        edited: SystemTime,
        is_interrupted: &AtomicBool,
    ) -> anyhow::Result<Option<SystemTime>> {
        let has_followed = |times: &SyncTimes| times.queued >= edited && times.synced >= times.queued;
        let times = self.wait(lab, FOLLOWS_WITHIN, is_interrupted, has_followed)?;
        Ok(times.map(|times| times.synced))
    }

    /// Looks at the agent's metrics until they are enough, or for as long as `limit`.
    fn wait(
        &mut self,
        lab: &Lab,
        limit: Duration,
        is_interrupted: &AtomicBool,
        is_enough: impl Fn(&SyncTimes) -> bool,
    ) -> anyhow::Result<Option<SyncTimes>> {
        let node = lab.node(self.node);
        let result = wait_for(limit, "the agent", || {
            if is_interrupted.load(Ordering::Relaxed) {
                return Some(Err(Interrupted.into()));
            }
            match self.death() {
                Ok(None) => {}
                Ok(Some(death)) => return Some(Err(death.into())),
                Err(error) => return Some(Err(error)),
            }
            // It does not listen yet.
            let metrics = http::get(node, METRICS, "/metrics").ok()?;
            sync_times(&metrics.body).filter(&is_enough).map(Ok)
        });
        match result {
            Ok(found) => found.map(Some),
            Err(_deadline) => Ok(None),
        }
    }

    /// Asks the agent to end, and waits for it. What it wrote into the kernel goes with its namespace.
    pub(super) fn end(mut self, limit: Duration) {
        // Dropping it kills it.
        if let Err(error) = self.process.terminate(limit) {
            tracing::warn!(%error, "the agent is killed");
        }
    }
}

/// Reads the times of an agent's metrics. One table carries both families, so those of IPv4 stand for both.
fn sync_times(metrics: &str) -> Option<SyncTimes> {
    let time = |name: &str| {
        let series = format!("kubeproxy_sync_proxy_rules_{name}{{ip_family=\"IPv4\"}} ");
        let seconds: f64 = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&series))?
            .parse()
            .ok()?;
        Some(UNIX_EPOCH + Duration::try_from_secs_f64(seconds).ok()?)
    };
    Some(SyncTimes {
        queued: time("last_queued_timestamp_seconds")?,
        synced: time("last_timestamp_seconds")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::metrics::{Extent, Metrics, Synced};

    #[test]
    fn the_times_are_read_from_the_metrics_that_an_agent_writes() {
        let metrics = Metrics::new();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        metrics.sync_queued(at(20));
        metrics.synced(&Synced {
            extent: Extent::Full,
            duration: Duration::ZERO,
            at: at(21),
        });
        assert_eq!(
            sync_times(&metrics.encode()),
            Some(SyncTimes {
                queued: at(20),
                synced: at(21)
            })
        );
        assert_eq!(sync_times(""), None);
    }
}
