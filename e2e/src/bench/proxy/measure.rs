//! The same API server, the same Services, the same kernel: first the agent, then the real kube-proxy.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use fairlead_lab::{Family, Lab, wait_until};

use super::report::{Changes, Comparison, Figures, Outcome};
use crate::bench::cluster::{self, CLUSTER_CIDR, Cluster, Size};
use crate::bench::usage::{descendants, is_alive, memory, usage};
use crate::bench::{Mebibytes, Seconds};
use crate::control_plane::{API_PORT, ApiServer, Proxy, Setup, Store, Tools, User};
use crate::program::last_lines;

/// kube-proxy waits for so long (`minSyncPeriod`, 1 s) after a sync before it begins another. A change that comes later
/// than that waits for nothing.
const REST: Duration = Duration::from_millis(1100);
/// How often memory is looked at during the start: what `nft` needs comes and goes.
const LOOK: Duration = Duration::from_millis(200);
/// Nobody is asked for metrics while CPU time is counted, so a change gets the time of the slowest ones seen, twice.
const MARGIN: u32 = 2;
/// CPU time is counted over one in so many of the changes: it varies less than latency.
const COUNTED_SHARE: u32 = 3;
/// How long a program that is killed may take to be gone: the kernel finishes a transaction first.
const ENDS_WITHIN: Duration = Duration::from_mins(10);

/// What is compared.
pub(super) struct Programs {
    pub(super) fairlead: PathBuf,
    pub(super) kube_proxy: PathBuf,
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) changes: u32,
    /// For the first sync, and again for the changes.
    pub(super) limit: Duration,
}

/// Measures both on an API server of their own.
pub(super) fn compare(size: Size, tools: &Tools, programs: &Programs, effort: Effort) -> Result<Comparison> {
    let lab = Lab::with_nodes(2)?;
    let store = Store::start(&lab, tools)?;
    let server = store.serve(API_PORT)?;
    let began = Instant::now();
    let mut cluster = Cluster::create(size, server.client())?;
    eprintln!("  created in {}", Seconds::from(began.elapsed()));
    for node in lab.nodes() {
        server.client().apply(&cluster::node(node))?;
    }
    let kubeconfig = store.kubeconfig(User::Admin, Family::V4, API_PORT)?;
    let setup = |number| Setup {
        cluster_cidr: CLUSTER_CIDR,
        ..Setup::new(lab.node(number), &kubeconfig, store.folder())
    };
    let mut measure = |name: &str, start: &dyn Fn() -> Result<Proxy>| {
        let figures = figures(&server, &mut cluster, effort, start).with_context(|| name.to_owned())?;
        eprintln!("  {name}: {figures}");
        anyhow::Ok(figures)
    };
    let fairlead = measure("fairlead", &|| Proxy::start_fairlead(&programs.fairlead, &setup(1)))?;
    let kube_proxy = measure("kube-proxy", &|| {
        Proxy::start_kube_proxy(&programs.kube_proxy, "nftables", &setup(2))
    })?;
    Ok(Comparison {
        size,
        kube_proxy,
        fairlead,
    })
}

fn figures(
    server: &ApiServer,
    cluster: &mut Cluster,
    effort: Effort,
    start: &dyn Fn() -> Result<Proxy>,
) -> Result<Figures> {
    let started = SystemTime::now();
    let mut proxy = start()?;
    let process = proxy.process().id();
    let mut highest = Mebibytes(0.0);
    let first = first_sync(&mut proxy, started, effort.limit, &mut highest)?;
    let start = match first {
        Some(at) => Outcome::Took(since(started, at)),
        None => Outcome::LongerThan(effort.limit.into()),
    };
    let now = usage(process)?;
    // The kernel remembers the most that the process itself had.
    let own = memory(process, "VmHWM").context("it has ended")?;
    highest.0 = highest.0.max(now.resident.0).max(own.0);
    let changes = match first {
        Some(_) => Some(changes(server, cluster, &proxy, process, effort)?),
        None => None,
    };
    let resident = usage(process)?.resident;
    end(proxy)?;
    Ok(Figures {
        start,
        start_cpu: now.cpu.into(),
        highest_memory: highest,
        changes,
        memory: resident,
    })
}

/// When the first sync was done; none if it is not within the limit. Keeps the most memory that was seen meanwhile.
fn first_sync(
    proxy: &mut Proxy,
    started: SystemTime,
    limit: Duration,
    highest: &mut Mebibytes,
) -> Result<Option<SystemTime>> {
    let process = proxy.process().id();
    let began = Instant::now();
    let (mut ask_at, mut look_at) = (Duration::ZERO, Duration::ZERO);
    loop {
        if let Some(status) = proxy.process().status()? {
            bail!("it ended ({status}):\n{}", last_lines(&proxy.log()));
        }
        if began.elapsed() >= look_at {
            let resident = usage(process)?.resident;
            highest.0 = highest.0.max(resident.0);
            look_at = began.elapsed() + LOOK;
        }
        if began.elapsed() >= ask_at {
            if let Some(at) = proxy.synced_at().filter(|at| *at > started) {
                return Ok(Some(at));
            }
            if began.elapsed() > limit {
                return Ok(None);
            }
            ask_at = began.elapsed() + pause_after(began.elapsed());
        }
        thread::sleep(ask_at.min(look_at).saturating_sub(began.elapsed()));
    }
}

/// First their latency, one by one, then their CPU time, unobserved.
fn changes(server: &ApiServer, cluster: &mut Cluster, proxy: &Proxy, process: u32, effort: Effort) -> Result<Changes> {
    let began = Instant::now();
    let mut took = Vec::new();
    while took.len() < effort.changes as usize && (took.is_empty() || began.elapsed() < effort.limit) {
        thread::sleep(REST);
        let object = cluster.change();
        let asked = SystemTime::now();
        server.client().replace(&object)?;
        let synced = sync_after(proxy, asked, effort.limit)?;
        took.push(synced.duration_since(asked).unwrap_or_default());
    }
    took.sort_unstable();
    let p99 = took[(took.len() * 99).div_ceil(100) - 1];

    thread::sleep(REST);
    let spacing = REST + p99 * MARGIN;
    let before = usage(process)?.cpu;
    let (began, mut counted) = (Instant::now(), 0);
    while counted < effort.changes.div_ceil(COUNTED_SHARE) && (counted == 0 || began.elapsed() < effort.limit) {
        server.client().replace(&cluster.change())?;
        thread::sleep(spacing);
        counted += 1;
    }
    let cpu = usage(process)?.cpu.saturating_sub(before) / counted;
    Ok(Changes {
        count: took.len(),
        p50: took[took.len() / 2].into(),
        p99: p99.into(),
        cpu: cpu.into(),
    })
}

/// When the rules were written next after this moment. Whoever is asked has to work for the answer, so that is done seldom;
/// the time is the program's own.
fn sync_after(proxy: &Proxy, moment: SystemTime, limit: Duration) -> Result<SystemTime> {
    let began = Instant::now();
    loop {
        if let Some(at) = proxy.synced_at().filter(|at| *at > moment) {
            return Ok(at);
        }
        if began.elapsed() > limit {
            bail!("a change was not followed within {limit:?}");
        }
        thread::sleep(pause_after(began.elapsed()));
    }
}

/// Asking costs a few thousandths of the time that is measured, however long that is.
fn pause_after(waited: Duration) -> Duration {
    (waited / 3).clamp(Duration::from_millis(2), Duration::from_secs(2))
}

fn since(started: SystemTime, at: SystemTime) -> Seconds {
    at.duration_since(started).unwrap_or_default().into()
}

/// Ends a proxy and the programs that it has started, and waits until none is left: they would take the next one's time.
fn end(mut proxy: Proxy) -> Result<()> {
    let children = descendants(proxy.process().id());
    proxy.process().kill()?;
    for &child in &children {
        let child = i32::try_from(child).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(child) = child {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        }
    }
    wait_until(ENDS_WITHIN, "the end of what the proxy has started", || {
        !children.iter().any(|&child| is_alive(child))
    })?;
    Ok(())
}
