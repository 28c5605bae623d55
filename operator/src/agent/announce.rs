//! The node's part in the local provider: which addresses it answers for, and what it says about that.
//!
//! ```text
//!  surroundings, Services ─► plan (pure) ─► speaker (thread) ─► reports ─┬─► claims (pure) ─► LoadBalancer status
//!  Secret ─► key ────────────────────────────►│                         ├─► events, metrics
//!  API server ─► reach, claims of others ─────►│                         └─► memory on the node, for the next start
//! ```
//!
//! [`links`] makes of the same what the table at the links holds. [`plan`] decides; start reading there. The protocol between the nodes and the answers on the network are the crate `fairlead-local`'s.

pub mod claims;
pub mod flags;
pub mod key;
pub mod links;
pub mod memory;
pub mod metrics;
pub mod plan;
pub mod reach;
mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fairlead_dataplane::links::LinkTable;
use fairlead_local::allocation::Selector;
use fairlead_local::announcement::{Link, StartError};
use fairlead_local::ownership::NodeId;
use fairlead_local::speaker::{Plan, Report, Speaker, Start};
use fairlead_model::ServiceName;
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use self::claims::Claim;
use self::flags::AnnounceFlags;
use self::key::{KeyWatch, Keys};
use self::links::{Around, LocalPort};
use self::memory::{Memory, MemoryFile};
use self::metrics::AnnounceMetrics;
use self::plan::{Backing, Here};
use self::reach::Reach;
use crate::chain::Chain;
use crate::source::Surroundings;

/// How long the node waits for others to take its addresses before it ends.
const LEAVES_WITHIN: Duration = Duration::from_secs(3);
/// A write that failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);
/// A speaker that could not start is tried again after so long.
const SPEAK_AGAIN: Duration = Duration::from_secs(10);
/// Writes at a time.
const AT_A_TIME: usize = 8;
/// A write that the watch has not told of after so long is made again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// How long what is to be remembered is gathered.
const GATHER: Duration = Duration::from_millis(100);

/// The node's part.
pub struct Announcing {
    node: Arc<str>,
    client: Option<Client>,
    flags: AnnounceFlags,
    /// Nobody needs the key before there is something to announce.
    keys: Option<KeyWatch>,
    reach: Option<Reach>,
    speaker: Option<Arc<Speaker>>,
    /// The speaker could not start, and why was said.
    is_mute: bool,
    sender: mpsc::UnboundedSender<Report>,
    reports: mpsc::UnboundedReceiver<Report>,
    surroundings: Arc<Surroundings>,
    has_agent: Selector,
    /// The addresses of Services, and whether something that the plan follows from has changed.
    of_services: BTreeMap<ServiceName, BTreeSet<IpAddr>>,
    is_stale: Stale,
    was_in_sync: bool,
    owned: BTreeMap<IpAddr, Claim>,
    /// Addresses that were the node's before this process, of which the speaker has said nothing yet.
    resuming: BTreeSet<IpAddr>,
    /// The other nodes that are heard.
    heard: BTreeSet<NodeId>,
    /// The links that lead outside.
    links: Vec<Link>,
    claims_of_others: BTreeMap<IpAddr, (u64, String)>,
    /// Writes under way, and those that the watch has not told of yet.
    writing: JoinSet<(ServiceName, Result<(), String>)>,
    written: BTreeMap<ServiceName, (Vec<Value>, Instant)>,
    /// When to try again what failed.
    write_again: Option<Instant>,
    file: MemoryFile,
    memory: Memory,
    remember_at: Option<Instant>,
    remembering: JoinSet<()>,
    metrics: AnnounceMetrics,
}

/// Whether something has changed that this follows from.
#[derive(Debug, Clone, Copy)]
struct Stale {
    plan: bool,
    link_table: bool,
}

/// What happened.
#[derive(Debug)]
pub enum Happening {
    /// The speaker has told something.
    Said(Report),
    /// There are other keys.
    Keys(Keys),
    /// Whether the API server answers.
    Reachable(bool),
    /// A load balancer's status was written, or not.
    Written(ServiceName, Result<(), String>),
    /// Something is due.
    Due,
}

impl Announcing {
    /// Begins with what the node remembers. Without a client there is no API server: `dir:`.
    pub fn start(flags: &AnnounceFlags, node: &Arc<str>, client: Option<Client>, metrics: AnnounceMetrics) -> Self {
        let file = MemoryFile::new(&flags.state_dir);
        let mut memory = file.read();
        let micros = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_micros();
        memory.incarnation = u64::try_from(micros).unwrap_or(0).max(memory.incarnation + 1);
        let (sender, reports) = mpsc::unbounded_channel();
        let mut announcing = Self {
            node: Arc::clone(node),
            reach: client.clone().map(Reach::start),
            client,
            flags: flags.clone(),
            keys: None,
            speaker: None,
            is_mute: false,
            sender,
            reports,
            surroundings: Arc::default(),
            has_agent: flags.agent_nodes.selector(),
            of_services: BTreeMap::new(),
            is_stale: Stale {
                plan: false,
                // What an earlier process left goes if there is no more need of it.
                link_table: memory.plan.posts.is_empty(),
            },
            was_in_sync: false,
            owned: BTreeMap::new(),
            resuming: memory.owned.iter().map(|(address, _)| *address).collect(),
            heard: BTreeSet::new(),
            links: Vec::new(),
            claims_of_others: BTreeMap::new(),
            writing: JoinSet::new(),
            written: BTreeMap::new(),
            write_again: None,
            file,
            memory,
            remember_at: None,
            remembering: JoinSet::new(),
            metrics,
        };
        announcing.speak();
        announcing
    }

    /// Waits for something to happen. Cancel-safe.
    pub async fn happens(&mut self) -> Happening {
        let due = [self.write_again, self.remember_at].into_iter().flatten().min();
        let reachable = async {
            match &mut self.reach {
                Some(reach) => match reach.is_reachable.changed().await {
                    Ok(()) => *reach.is_reachable.borrow_and_update(),
                    Err(_) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        let keys = async {
            let Some(watch) = &mut self.keys else {
                return std::future::pending().await;
            };
            match watch.keys.changed().await {
                Ok(()) => watch.keys.borrow_and_update().clone(),
                Err(_) => std::future::pending().await,
            }
        };
        // Cancel-safe, all of them: they only tell, and a report is taken as a whole.
        tokio::select! {
            Some(report) = self.reports.recv() => Happening::Said(report),
            keys = keys => Happening::Keys(keys),
            is_reachable = reachable => Happening::Reachable(is_reachable),
            Some(Ok((key, result))) = self.writing.join_next() => Happening::Written(key, result),
            Some(_) = self.remembering.join_next() => Happening::Due,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Happening::Due,
        }
    }

    /// Deals with it.
    pub fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Said(report) => {
                self.hear(report);
                // They come in numbers, when many addresses change hands.
                while let Ok(report) = self.reports.try_recv() {
                    self.hear(report);
                }
                self.claim();
            }
            Happening::Keys(keys) => {
                self.memory.keys.clone_from(&keys);
                self.remember_soon();
                match &self.speaker {
                    Some(speaker) => speaker.set_keys(keys),
                    None => self.speak(),
                }
            }
            Happening::Reachable(is_reachable) => {
                if let Some(speaker) = &self.speaker {
                    speaker.set_api_reachable(is_reachable);
                }
            }
            Happening::Written(key, result) => {
                if let Err(error) = result {
                    tracing::debug!(%key, error, "cannot write which node answers; trying again");
                    self.written.remove(&key);
                    self.write_again = Some(Instant::now() + RETRY);
                }
                self.claim();
            }
            Happening::Due => {
                if self.write_again.is_some_and(|at| at <= Instant::now()) {
                    self.write_again = None;
                    self.speak();
                    self.claim();
                }
                self.remember();
            }
        }
    }

    /// The cluster is this now. Gives the addresses of Services that nodes answer for.
    pub fn set_surroundings(&mut self, surroundings: Arc<Surroundings>) -> &BTreeMap<ServiceName, BTreeSet<IpAddr>> {
        self.of_services = plan::addresses_of_services(&surroundings);
        self.surroundings = surroundings;
        self.is_stale.plan = true;
        self.learn_claims();
        self.claim();
        &self.of_services
    }

    /// These Services have changed.
    pub fn touched(&mut self, services: &BTreeSet<ServiceName>) {
        let is_concerned = services.iter().any(|service| self.of_services.contains_key(service));
        self.is_stale.plan |= is_concerned;
        self.is_stale.link_table |= is_concerned;
    }

    /// Follows what has changed; what the plan is made from must be in the kernel, unless that failed.
    pub fn follow(&mut self, is_in_sync: bool, backing: impl Fn(&ServiceName) -> Option<Backing>) {
        if !std::mem::take(&mut self.is_stale.plan) && self.was_in_sync == is_in_sync {
            return;
        }
        self.was_in_sync = is_in_sync;
        let here = Here {
            node: &self.node,
            has_agent: &self.has_agent,
            is_in_sync,
        };
        self.set_plan(plan::plan(&self.surroundings, here, backing));
    }

    /// What the table at the links shall hold, if it may have changed. `None` also before anything is known of the links.
    pub fn link_table(&mut self, local_ports: impl Fn(&ServiceName) -> Vec<LocalPort>) -> Option<LinkTable> {
        let is_blind = self.links.is_empty() && !self.memory.plan.posts.is_empty();
        if is_blind || !std::mem::take(&mut self.is_stale.link_table) {
            return None;
        }
        self.resuming
            .retain(|address| !self.claims_of_others.contains_key(address));
        let around = Around {
            node: &self.node,
            plan: &self.memory.plan,
            links: &self.links,
            heard: &self.heard,
            of_services: &self.of_services,
        };
        let owned = self.owned.keys().chain(&self.resuming).copied().collect();
        Some(links::link_table(around, &owned, local_ports))
    }

    /// Tells the speaker what other nodes have claimed at the API server.
    fn learn_claims(&mut self) {
        if let Some(speaker) = &self.speaker {
            let claims = claims::claims_of_others(&self.surroundings, &self.node);
            for (address, (epoch, node)) in &claims {
                if self.claims_of_others.get(address) != Some(&(*epoch, node.clone())) {
                    speaker.api_claim(*address, *epoch, node);
                }
            }
            self.claims_of_others = claims;
        }
    }

    /// This is to be announced.
    fn set_plan(&mut self, plan: Plan) {
        if self.memory.plan == plan {
            return;
        }
        let before = std::mem::replace(&mut self.memory.plan, plan);
        self.is_stale.link_table = true;
        self.remember_soon();
        let now = &self.memory.plan;
        let is_known = now.posts.keys().all(|address| before.posts.contains_key(address));
        self.heard
            .retain(|node| now.members.keys().any(|name| NodeId::of(name) == *node));
        match &self.speaker {
            Some(speaker) => speaker.set_plan(now.clone()),
            None => self.speak(),
        }
        if !is_known {
            // What was claimed before an address was known here was not listened to.
            self.claims_of_others.clear();
            self.learn_claims();
        }
        self.show_silence();
    }

    /// Shows how many of the nodes that take part are not heard.
    fn show_silence(&self) {
        let others = self
            .memory
            .plan
            .members
            .keys()
            .filter(|name| **name != *self.node)
            .count();
        self.metrics.silent(others.saturating_sub(self.heard.len()));
    }

    /// Follows the key, from where it is.
    fn watch_keys(&self) -> Option<KeyWatch> {
        let (flags, known) = (&self.flags, self.memory.keys.clone());
        if let Some(path) = &flags.heartbeat_key_file {
            return Some(key::of_file(path.clone(), known));
        }
        let client = self.client.clone()?;
        Some(key::of_secret(
            client,
            &flags.namespace(),
            &flags.heartbeat_secret,
            known,
        ))
    }

    /// Starts to speak, if there is something to say, and a key.
    fn speak(&mut self) {
        if self.memory.plan.posts.is_empty() || self.speaker.is_some() {
            return;
        }
        if self.keys.is_none() {
            self.keys = self.watch_keys();
        }
        if self.memory.keys.is_empty() {
            return;
        }
        let start = Start {
            node: self.node.to_string(),
            incarnation: self.memory.incarnation,
            keys: self.memory.keys.clone(),
            resume: self.memory.owned.clone(),
            plan: self.memory.plan.clone(),
        };
        let sender = self.sender.clone();
        let started = Speaker::start(start, move |report| {
            let _ = sender.send(report);
        });
        match started {
            Ok(speaker) => {
                let speaker = Arc::new(speaker);
                self.is_mute = false;
                if let Some(reach) = &self.reach {
                    speaker.set_api_reachable(*reach.is_reachable.borrow());
                }
                self.metrics.follow(&speaker);
                self.speaker = Some(speaker);
                self.claims_of_others = BTreeMap::new();
                self.learn_claims();
                tracing::info!(
                    addresses = self.memory.plan.posts.len(),
                    "taking part in the announcing of addresses"
                );
            }
            Err(error) => {
                self.cannot_speak(&error);
                self.write_again = Some(Instant::now() + SPEAK_AGAIN);
            }
        }
    }

    fn cannot_speak(&mut self, error: &StartError) {
        if !std::mem::replace(&mut self.is_mute, true) {
            tracing::error!(error = %Chain(error), "cannot announce addresses");
        }
    }

    /// Writes what is not at the API server yet.
    fn claim(&mut self) {
        let Some(client) = &self.client else { return };
        let now = Instant::now();
        let due = claims::writes(&self.surroundings, &self.node, &self.owned);
        self.written
            .retain(|key, (patches, at)| due.get(key) == Some(patches) && now < *at + FORGOTTEN_AFTER);
        for (key, patches) in due {
            if self.written.contains_key(&key) {
                continue;
            }
            if self.writing.len() >= AT_A_TIME {
                // The end of a write makes room.
                break;
            }
            self.written.insert(key.clone(), (patches.clone(), now));
            let client = client.clone();
            self.writing.spawn(async move {
                let result = claims::write(client, key.clone(), patches).await;
                (key, result)
            });
        }
    }

    fn remember_soon(&mut self) {
        self.remember_at.get_or_insert_with(|| Instant::now() + GATHER);
    }

    fn remember(&mut self) {
        if !self.remembering.is_empty() || self.remember_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.remember_at = None;
        let memory = self.to_remember();
        let file = self.file.clone();
        self.remembering.spawn(async move {
            let _ = spawn_blocking(move || file.write_or_warn(&memory)).await;
        });
    }

    fn to_remember(&self) -> Memory {
        let mut memory = self.memory.clone();
        if self.speaker.is_some() {
            memory.owned = self
                .owned
                .iter()
                .map(|(address, claim)| (*address, claim.epoch))
                .collect();
        }
        memory
    }

    /// Hands the node's addresses over to others, as far as there are others, and remembers what is left.
    pub async fn leave(mut self) {
        let Some(speaker) = &self.speaker else { return };
        if !self.owned.is_empty() && self.memory.plan.members.len() > 1 {
            speaker.leave();
            let over = async {
                while !self.owned.is_empty() {
                    let Some(report) = self.reports.recv().await else {
                        return;
                    };
                    self.hear(report);
                }
            };
            if timeout(LEAVES_WITHIN, over).await.is_err() {
                tracing::warn!(
                    addresses = self.owned.len(),
                    "no other node has taken these addresses over"
                );
            }
        }
        let (memory, file) = (self.to_remember(), self.file.clone());
        let _ = spawn_blocking(move || file.write_or_warn(&memory)).await;
    }
}
