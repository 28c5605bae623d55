//! The agent's loop: what changes goes into the view, what follows from it goes to the kernel, and what came of it is
//! reported. Whatever has queued up while a transaction ran goes into the next one, so a storm becomes a few.

mod commit;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use fairlead_dataplane::netlink::addresses::AddressMonitor;
use fairlead_dataplane::netlink::{Activity, Monitor, NetlinkError};
use fairlead_dataplane::sync::Dataplane;
use fairlead_model::{Change, Family, ServiceName};
use kube::runtime::events::Recorder;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::sleep_until;

use super::announce::links::local_ports;
use super::announce::{Announcing, Happening};
use super::conntrack::CleanUp;
use super::flags::AgentFlags;
use super::health::{Clock, Health, Obstacle, SharedHealth};
use super::health_check_node_port::{HealthCheckServers, recorder};
use super::link_table::LinkTableWriter;
use super::metrics::Metrics;
use super::replace;
use super::server::{healthz_router, metrics_router, probe_router};
use super::tally::Tally;
use crate::addresses;
use crate::chain::Chain;
use crate::http::{self, BindError};
use crate::source::{self, IfMissing, Source, SourceOptions, SourceSpec};
use crate::sys::wait_for_readable;
use crate::view::{Refreshed, View};

/// Messages of the source taken in before the next transaction at most, so that a source that never rests cannot put it off.
const BATCH: usize = 4096;
/// Comparisons after foreign changes are this far apart at least: somebody who keeps changing our table must not keep us
/// busy with nothing else.
const HEAL_INTERVAL: Duration = Duration::from_millis(200);
/// Everything is compared with the kernel this often even if nothing hints at a difference, as kube-proxy does.
const FULL_SYNC: Duration = Duration::from_hours(1);
/// How long a Node without pod CIDRs is waited for, as kube-proxy does.
const POD_CIDR_DEADLINE: Duration = Duration::from_mins(5);
/// Rules that could not be written for longer than about twice this make the node unfit for addresses that others could have.
const TOLERATED_FAILURE: Duration = Duration::from_millis(500);
/// Endpoint trigger times kept for the metric until the next transaction.
const MAX_TRIGGERS: usize = 4096;

/// Runs the agent until it is told to end. The rules stay in place.
pub async fn run(flags: AgentFlags) -> anyhow::Result<()> {
    let mut agent = Agent::start(flags).await?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    loop {
        // Cancel-safe: every branch is, and what a branch has received is handled before the next turn.
        tokio::select! {
            result = agent.turn() => if result? == Turn::Done { return Ok(()) },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("ending; the rules stay in place");
    if let Some(announcing) = agent.announcing.take() {
        announcing.leave().await;
    }
    Ok(())
}

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Next,
    Done,
}

struct Agent {
    flags: AgentFlags,
    view: View,
    source: Source,
    dataplane: Dataplane,
    /// Tells of foreign changes. The kernel writes an event for each element that anybody commits as soon as somebody listens,
    /// so nobody does before the first commit, the largest.
    monitor: Option<AsyncFd<Monitor>>,
    address_monitor: AsyncFd<AddressMonitor>,
    has_set_sysctls: bool,
    servers: JoinSet<Result<Infallible, BindError>>,
    health: SharedHealth,
    metrics: Metrics,
    tally: Tally,
    checks: HealthCheckServers,
    recorder: Option<Recorder>,
    /// Answers for addresses on the network; not with `--once`.
    announcing: Option<Announcing>,
    link_table: LinkTableWriter,
    clean_up: CleanUp,
    pending: Pending,
    /// When to act without being told to.
    next_full_sync: Instant,
    retry: Option<Retry>,
    /// A foreign change that is looked at later, since the last one was only just mended.
    heal: Option<(Instant, &'static str)>,
    last_heal: Option<Instant>,
    /// Told of each full sync that may have left rules of a kube-proxy in place; who listens ends with the servers.
    full_sync: Arc<Notify>,
    /// Events on their way to the API server.
    events: JoinSet<()>,
    started: SystemTime,
}

/// What has arrived and is not in the kernel yet.
#[derive(Debug, Default)]
struct Pending {
    since: Option<Instant>,
    triggers: Vec<(Family, SystemTime)>,
    /// Everything must be compared with the kernel, and why.
    full: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    wait: Duration,
}

/// Waits for something about announced addresses; for ever where none are announced. Cancel-safe.
async fn happens(announcing: &mut Option<Announcing>) -> Happening {
    match announcing {
        Some(announcing) => announcing.happens().await,
        None => std::future::pending().await,
    }
}

/// Waits for a foreign change of `nf_tables`; for ever while nobody listens. Cancel-safe: nothing is read before the wait ends.
async fn foreign_activity(monitor: &mut Option<AsyncFd<Monitor>>) -> std::io::Result<Result<Activity, NetlinkError>> {
    let Some(monitor) = monitor else {
        return std::future::pending().await;
    };
    let mut ready = monitor.readable_mut().await?;
    let activity = ready.get_inner_mut().read();
    ready.clear_ready();
    Ok(activity)
}

impl Agent {
    async fn start(flags: AgentFlags) -> anyhow::Result<Self> {
        let view = View::new(flags.node.clone());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), node = %view.node_name(), source = %flags.node.source, "agent starts");
        if !flags.once && !flags.replace_kube_proxy {
            replace::warn().await;
        }
        let options = SourceOptions {
            node_name: view.node_name().clone(),
            api_server: flags.node.api_server.clone(),
            if_missing: if flags.once { IfMissing::Fail } else { IfMissing::Wait },
            with_surroundings: !flags.once,
        };
        let client = match flags.node.source {
            SourceSpec::Kube => Some(source::api_server::client(&options.api_server).await?),
            SourceSpec::Dir(_) => None,
        };
        let recorder = client.clone().map(|client| recorder(client, view.node_name()));
        let source = source::start(&flags.node.source, options).await?;
        let dataplane = Dataplane::open(flags.table.into()).context("cannot reach nf_tables")?;
        let address_monitor = AddressMonitor::open().context("cannot listen for changes of addresses")?;
        let health = SharedHealth::new(Health::new(flags.sync_period.0), Clock::start());
        let metrics = Metrics::new();
        let announcing = (!flags.once)
            .then(|| Announcing::start(&flags.announce, view.node_name(), client, metrics.announce().clone()));
        let mut agent = Self {
            view,
            source,
            dataplane,
            monitor: None,
            address_monitor: wait_for_readable(address_monitor).context("cannot wait for changes of addresses")?,
            has_set_sysctls: false,
            servers: JoinSet::new(),
            checks: HealthCheckServers::new(health.clone()),
            health,
            metrics,
            tally: Tally::default(),
            recorder,
            announcing,
            link_table: LinkTableWriter::default(),
            clean_up: CleanUp::default(),
            pending: Pending::default(),
            next_full_sync: Instant::now() + FULL_SYNC,
            retry: None,
            heal: None,
            last_heal: None,
            full_sync: Arc::new(Notify::new()),
            events: JoinSet::new(),
            started: SystemTime::now(),
            flags,
        };
        agent
            .view
            .set_addresses(addresses::list().context("cannot list addresses")?);
        if !agent.flags.once {
            agent.start_servers();
        }
        Ok(agent)
    }

    fn start_servers(&mut self) {
        let flags = &self.flags.servers;
        let on_failure = flags.on_bind_failure();
        let healthz = healthz_router(self.health.clone(), self.metrics.clone());
        let metrics = metrics_router(self.health.clone(), self.metrics.clone(), &self.flags.to_json());
        self.servers
            .spawn(http::run("healthz", flags.healthz_bind_address, on_failure, healthz));
        self.servers
            .spawn(http::run("metrics", flags.metrics_bind_address, on_failure, metrics));
        let probes = probe_router(self.health.clone());
        self.servers
            .spawn(http::run("probes", flags.probe_bind_address, on_failure, probes));
        if self.flags.replace_kube_proxy {
            let (full_sync, addresses) = (self.full_sync.clone(), self.flags.kube_proxy_healthz_address.clone());
            self.servers
                .spawn(async move { Ok(replace::run(full_sync, addresses).await) });
        }
    }

    /// Waits for something to happen, and deals with it.
    async fn turn(&mut self) -> anyhow::Result<Turn> {
        let mut changes = Vec::new();
        let timers = [
            Some(self.next_full_sync),
            self.retry.map(|retry| retry.at),
            self.heal.map(|(at, _)| at),
            self.link_table.due(),
        ];
        let next = timers.into_iter().flatten().min().unwrap_or(self.next_full_sync);
        // Cancel-safe, all of them: `recv_many` takes nothing when it is dropped, the others only tell.
        tokio::select! {
            count = self.source.changes.recv_many(&mut changes, BATCH) => {
                if count == 0 {
                    return Err(self.source.task.failed().await.into());
                }
                self.absorb(changes.into_iter().flatten());
            }
            error = self.source.task.failed() => return Err(error.into()),
            activity = foreign_activity(&mut self.monitor) => {
                self.saw(activity.context("cannot wait for changes of nf_tables")?);
            }
            ready = self.address_monitor.readable_mut() => {
                let mut ready = ready.context("cannot wait for changes of addresses")?;
                let is_changed = ready.get_inner_mut().read();
                ready.clear_ready();
                self.addresses_changed(is_changed);
            }
            Some(ended) = self.servers.join_next() => match ended {
                Ok(Ok(never)) => match never {},
                Ok(Err(error)) => return Err(error.into()),
                Err(error) => return Err(anyhow!(error).context("a server ended")),
            },
            Ok(()) = self.source.problems.changed() => {
                let problems = self.source.problems.borrow_and_update();
                self.metrics.source_problems(problems.current.len());
                self.health.set_obstacle(Obstacle::Source, problems.trouble());
            }
            Ok(()) = self.source.surroundings.changed() => {
                let surroundings = self.source.surroundings.borrow_and_update().clone();
                if let Some((surroundings, announcing)) = surroundings.zip(self.announcing.as_mut()) {
                    self.view.set_announced(announcing.set_surroundings(surroundings).clone());
                }
            }
            happening = happens(&mut self.announcing) => {
                if let Some(announcing) = &mut self.announcing {
                    announcing.take(happening);
                }
            }
            () = self.clean_up.finished() => {}
            Some(_) = self.events.join_next() => {}
            () = sleep_until(next.into()) => self.timer_fired(),
        }
        let turn = self.sync().await?;
        self.announce();
        Ok(turn)
    }

    /// Announces what the kernel has rules for, and keeps the table at the links.
    fn announce(&mut self) {
        let Some(announcing) = &mut self.announcing else { return };
        // Until everything is known, what the last process left goes on.
        if self.view.compiler().is_none() || self.source.surroundings.borrow().is_none() {
            return;
        }
        let is_failing = self.retry.is_some_and(|retry| retry.wait > TOLERATED_FAILURE);
        let (view, tally) = (&self.view, &self.tally);
        announcing.follow(!is_failing, |name| {
            let service = view.cluster().service(name)?;
            tally.backing(name, service)
        });
        let table = announcing.link_table(|name| match view.cluster().service(name) {
            Some(service) => local_ports(service, |port, family| view.selection(service, port, family)),
            None => Vec::new(),
        });
        if let Some(table) = table {
            self.link_table.wants(table);
        }
        self.link_table.follow(&mut self.dataplane);
    }

    fn absorb(&mut self, changes: impl Iterator<Item = Change>) {
        self.pending.since.get_or_insert_with(Instant::now);
        for change in changes {
            match &change {
                Change::Service(..) => self.metrics.service_changed(),
                Change::EndpointSlice(_, Some(slice)) => {
                    self.metrics.endpoints_changed(slice.family);
                    let trigger = slice
                        .last_change_trigger_micros
                        .and_then(|micros| u64::try_from(micros).ok());
                    let at = trigger.map(|micros| UNIX_EPOCH + Duration::from_micros(micros));
                    // Changes from before the start say nothing about us.
                    if let Some(at) = at.filter(|at| *at > self.started && self.pending.triggers.len() < MAX_TRIGGERS) {
                        self.pending.triggers.push((slice.family, at));
                    }
                }
                Change::Node(node) => self.health.node_seen(node.as_ref().is_none_or(|node| node.is_eligible)),
                Change::InitialListComplete(kind) => tracing::debug!(?kind, "initial list complete"),
                Change::EndpointSlice(..) | Change::ServiceCidr(..) => {}
            }
            self.view.absorb(change);
        }
        // Before that nothing can be written, and starting again would not help.
        if self.view.cluster().is_complete() {
            self.health.queued();
        }
        self.metrics.sync_queued(SystemTime::now());
    }

    /// Begins to listen for foreign changes, unless it does so already.
    fn listen(&mut self) {
        if self.monitor.is_some() {
            return;
        }
        let monitor = Monitor::open(self.dataplane.port_id()).map_err(anyhow::Error::from);
        match monitor.and_then(|monitor| Ok(wait_for_readable(monitor)?)) {
            Ok(monitor) => self.monitor = Some(monitor),
            Err(error) => {
                let error = Chain(error.as_ref());
                tracing::warn!(%error, "cannot listen for changes of nf_tables, trying again after the next commit");
                return;
            }
        }
        // What changed before somebody listened makes no event any more.
        if !self.dataplane.is_untouched().unwrap_or(false) {
            self.heal = Some((Instant::now(), "changed"));
        }
    }

    fn saw(&mut self, activity: Result<Activity, NetlinkError>) {
        let reason = match activity {
            Ok(Activity::Quiet) => return,
            Ok(Activity::TableChanged) => "changed",
            Ok(Activity::TableDeleted) => "deleted",
            Ok(Activity::Overrun) => "overrun",
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "cannot read what others changed");
                "unreadable"
            }
        };
        match self
            .last_heal
            .map(|last| last + HEAL_INTERVAL)
            .filter(|at| *at > Instant::now())
        {
            Some(at) => self.heal = Some((at, reason)),
            None => drop(self.pending.full.get_or_insert(reason)),
        }
    }

    fn addresses_changed(&mut self, is_changed: Result<bool, NetlinkError>) {
        match is_changed.and_then(|_| addresses::list()) {
            Ok(addresses) => self.view.set_addresses(addresses),
            Err(error) => tracing::warn!(error = %Chain(&error), "cannot list addresses"),
        }
    }

    fn timer_fired(&mut self) {
        let now = Instant::now();
        if now >= self.next_full_sync {
            self.next_full_sync = now + FULL_SYNC;
            self.pending.full.get_or_insert("periodic");
        }
        if let Some((_, reason)) = self.heal.take_if(|(at, _)| now >= *at) {
            self.pending.full.get_or_insert(reason);
        }
    }

    /// Brings the kernel up to date and reports.
    async fn sync(&mut self) -> anyhow::Result<Turn> {
        if self.retry.is_some_and(|retry| Instant::now() < retry.at) {
            return Ok(Turn::Next);
        }
        if self.view.compiler().is_some() && !self.view.is_touched() && self.pending.full.is_none() {
            self.pending = Pending::default();
            self.health.synced(None);
            self.clean_up.start(&self.view, &self.metrics);
            return Ok(Turn::Next);
        }
        let began = Instant::now();
        let dataplane = &mut self.dataplane;
        let refreshed = block_in_place(|| {
            self.view.refresh(|| match dataplane.load() {
                Ok(table) => table,
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "cannot read what is loaded");
                    None
                }
            })
        });
        let touched = match refreshed {
            Ok(Refreshed::Incomplete) => {
                let waiting = "not everything has been listed yet".to_owned();
                self.health.set_obstacle(Obstacle::Rules, Some(waiting));
                return Ok(Turn::Next);
            }
            Ok(Refreshed::Everything) => {
                self.pending.full.get_or_insert("start");
                self.view
                    .cluster()
                    .services()
                    .map(|service| service.name.clone())
                    .collect()
            }
            Ok(Refreshed::Services(touched)) => touched,
            Err(error) => {
                if self.started.elapsed().is_ok_and(|waited| waited > POD_CIDR_DEADLINE) {
                    bail!(error);
                }
                tracing::debug!(%error, "waiting");
                self.health.set_obstacle(Obstacle::Rules, Some(error.to_string()));
                return Ok(Turn::Next);
            }
        };
        self.count(&touched);
        self.commit(began).await
    }

    fn count(&mut self, touched: &BTreeSet<ServiceName>) {
        if let Some(announcing) = &mut self.announcing {
            announcing.touched(touched);
        }
        for name in touched {
            let service = self.view.cluster().service(name).map(AsRef::as_ref);
            let select = |port: &_, family| match service {
                Some(service) => self.view.selection(service, port, family),
                None => fairlead_model::Selection::default(),
            };
            if self.tally.set(name, service, select) {
                self.clean_up.mark(name);
            }
        }
    }
}
