//! The loop of one provider: wishes, changes of the cluster, and what came of steps go in; steps, and how keys stand, come out.

mod entries;
mod look;
mod readiness;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fairlead_aws::account::{Account, Named};
use fairlead_aws::contract::Defaults;
use fairlead_aws::desired::{Cluster, Vpc};
use fairlead_aws::plan::{Owner, Step, Wait};
use fairlead_crds::{AwsProvider, LoadBalancer};
use fairlead_model::ServiceName;
use fairlead_provider::{ProviderError, Retry};
use k8s_openapi::api::core::v1 as core;
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::accounts::Accounts;
use super::figures::Counters;
use super::gates::Condition;
use super::inputs::{Inputs, Touched, defaults};
use super::orphans::Orphans;
use super::reconcile::{self, Next, complaint};
use super::records::Records;
use super::watch::{self, Told};
use super::work::Hands;
use crate::chain::Chain;
use crate::operator::controller::cloud::{Ask, Said, State};
use crate::operator::controller::plan::Complaint;
use crate::operator::controller::queue::{Outcome, Queue};
use crate::operator::controller::world::key_of;
use crate::operator::lease::Claims;
use crate::watch::Change;
use entries::{Entry, add};
use look::Look;
use readiness::{GATES_PAUSE, Gates};
use shared::SharedWork;

/// Messages taken in before the next decision at most.
const BATCH: usize = 4096;
/// Between two looks at everything, and the waits after those that failed.
const LEAST_BETWEEN_LOOKS: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What drivers are told by flags.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between two looks at everything.
    pub resync: Duration,
    /// How long something may belong to no Service; `None`: for ever.
    pub orphan_grace: Option<Duration>,
}

/// What a driver is told.
#[derive(Debug)]
pub enum Order {
    /// All Services, which listeners may send to.
    Services(Change<core::Service>),
    /// All records: what has one is looked after, by whomever.
    Records(Change<LoadBalancer>),
    /// A wish.
    Ask(Box<Ask>),
    /// A wish is none any more.
    Forget(ServiceName),
    /// Every wish that there is was told.
    AllAsked,
}

/// What a driver is for, and whom it talks with.
pub struct Assignment<N> {
    /// The provider's name.
    pub provider: String,
    /// What it says.
    pub spec: AwsProvider,
    /// Where accounts come from.
    pub accounts: N,
    /// The API server.
    pub client: Client,
    /// The lease.
    pub claims: Claims,
    /// Times.
    pub timing: Timing,
    /// For metrics.
    pub counters: Counters,
    /// What it is told.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Who hears what it says.
    pub said: mpsc::UnboundedSender<(String, Said)>,
}

/// Looks after the load balancers of a provider until it is dropped.
pub async fn run<N: Accounts>(assignment: Assignment<N>) -> anyhow::Result<()> {
    let mut wait = FIRST_WAIT;
    let account = loop {
        match assignment.accounts.open(&assignment.spec).await {
            Ok(account) => break account,
            Err(error) => {
                tracing::warn!(provider = assignment.provider, error = %Chain(&error), "no account of AWS");
                let said = Said::Everything(Some(complaint(&error)));
                let _ = assignment.said.send((assignment.provider.clone(), said));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    };
    let Assignment {
        client,
        claims,
        counters,
        ..
    } = assignment;
    let (told, watches) = watch::follow(&client);
    let mut driver = Driver {
        provider: assignment.provider,
        defaults: defaults(&assignment.spec),
        hands: Hands::new(account, client, claims, counters),
        timing: assignment.timing,
        orders: assignment.orders,
        told,
        _watches: watches,
        said: assignment.said,
        inputs: Inputs::default(),
        records: BTreeSet::new(),
        is_all_asked: false,
        entries: BTreeMap::new(),
        queue: Queue::default(),
        running: JoinSet::new(),
        vpc: None,
        look: Look::default(),
        named: Named::default(),
        interfaces: BTreeMap::new(),
        clusters: BTreeMap::new(),
        shared: SharedWork::default(),
        waits: BTreeMap::new(),
        gates: Gates::default(),
        orphans: Orphans::default(),
        trouble: None,
    };
    loop {
        driver.turn().await?;
    }
}

struct Driver<A> {
    provider: String,
    defaults: Defaults,
    hands: Hands<A>,
    timing: Timing,
    orders: mpsc::UnboundedReceiver<Order>,
    told: mpsc::Receiver<Told>,
    _watches: JoinSet<()>,
    said: mpsc::UnboundedSender<(String, Said)>,
    inputs: Inputs,
    /// Keys with a record.
    records: BTreeSet<ServiceName>,
    is_all_asked: bool,
    entries: BTreeMap<ServiceName, Entry>,
    queue: Queue<ServiceName>,
    running: JoinSet<Done>,
    vpc: Option<Vpc>,
    look: Look,
    /// What others made and was looked at.
    named: Named,
    /// Security groups by target; none for a target that has no interface.
    interfaces: BTreeMap<String, Vec<String>>,
    /// The cluster by namespace, until something of it changes.
    clusters: BTreeMap<Arc<str>, Cluster>,
    shared: SharedWork,
    /// Keys that wait, until when, and for what.
    waits: BTreeMap<ServiceName, (Instant, Vec<Wait>)>,
    gates: Gates,
    orphans: Orphans,
    /// Why nothing can be said of any key.
    trouble: Option<Complaint>,
}

enum Done {
    Looked(Result<Vpc, ProviderError>),
    LookedFor(Vec<ServiceName>, Result<(), ProviderError>),
    LookedAt(Named, Vec<ServiceName>, Result<(), ProviderError>),
    Interfaces(
        BTreeSet<String>,
        Vec<ServiceName>,
        Result<BTreeMap<String, Vec<String>>, ProviderError>,
    ),
    Key(ServiceName, Records, Result<(), ProviderError>),
    Shared(Result<(), ProviderError>),
    Gates(ServiceName, Vec<(String, String, Condition)>),
}

impl<A: Account + 'static> Driver<A> {
    async fn turn(&mut self) -> anyhow::Result<()> {
        let (mut orders, mut told) = (Vec::new(), Vec::new());
        let due = self.next_due();
        // Cancel-safe, all of them: `recv_many` takes nothing when it is dropped, the others only tell.
        tokio::select! {
            count = self.orders.recv_many(&mut orders, BATCH) => {
                if count == 0 {
                    // Nobody wishes anything any more: this is about to be dropped.
                    std::future::pending::<()>().await;
                }
                for order in orders {
                    self.obey(order);
                }
            }
            count = self.told.recv_many(&mut told, BATCH) => {
                anyhow::ensure!(count > 0, "nobody watches nodes, endpoints and pods any more");
                for told in told {
                    let touched = self.inputs.absorb(told);
                    self.touch(touched);
                }
            }
            Some(done) = self.running.join_next() => {
                self.take_in(done.expect("no task panics, and none is aborted"));
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        self.work();
        Ok(())
    }

    fn next_due(&self) -> Option<Instant> {
        let is_ready = self.is_ready();
        let look = (!self.look.is_under_way).then_some(self.look.due).flatten();
        let waits = self.waits.values().map(|(due, _)| *due).min().filter(|_| is_ready);
        let gates = self.gates.due.values().min().copied().filter(|_| is_ready);
        let shared = self.shared.due.filter(|_| is_ready && !self.shared.is_under_way);
        let queue = self.queue.next_due().filter(|_| is_ready);
        [look, waits, gates, shared, queue].into_iter().flatten().min()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Services(change) => {
                let touched = self.inputs.absorb_services(change);
                self.touch(touched);
            }
            Order::Records(Change::All(all)) => self.records = all.iter().map(|record| key_of(&**record)).collect(),
            Order::Records(Change::Is(record)) => drop(self.records.insert(key_of(&*record))),
            Order::Records(Change::Gone(record)) => drop(self.records.remove(&key_of(&*record))),
            Order::Ask(ask) => self.ask(&ask),
            Order::Forget(key) => {
                self.entries.remove(&key);
                self.waits.remove(&key);
                self.gates.due.remove(&key);
                self.shared.must_plan = true;
            }
            Order::AllAsked => {
                self.is_all_asked = true;
                self.shared.must_plan = true;
            }
        }
    }

    fn touch(&mut self, touched: Touched) {
        let keys: BTreeSet<_> = match touched {
            Touched::Services(keys) => {
                for key in &keys {
                    self.clusters.remove(&key.namespace);
                }
                keys
            }
            Touched::Everything => {
                self.clusters.clear();
                self.entries.keys().cloned().collect()
            }
        };
        for key in keys {
            if self.entries.contains_key(&key) {
                self.queue.touch(key);
            }
        }
    }

    fn take_in(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Looked(result) => self.looked(result, now),
            Done::LookedFor(keys, result) => {
                if let Err(error) = &result {
                    self.failed(error);
                }
                self.shared.must_plan = true;
                for key in keys {
                    self.queue.touch(key);
                }
            }
            Done::LookedAt(named, keys, result) => {
                if result.is_ok() {
                    reconcile::extend(&mut self.named, &named);
                }
                self.finished_all(keys, &result, now);
            }
            Done::Interfaces(asked, keys, result) => {
                let result = result.map(|mut found| {
                    let groups = asked.into_iter().map(|id| {
                        let groups = found.remove(&id).unwrap_or_default();
                        (id, groups)
                    });
                    self.interfaces.extend(groups);
                    self.clusters.clear();
                });
                self.finished_all(keys, &result, now);
            }
            Done::Key(key, targets, result) => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.targets = targets;
                }
                self.shared.must_plan = true;
                self.finished_all(vec![key], &result, now);
            }
            Done::Shared(result) => {
                self.shared.is_under_way = false;
                self.shared.must_plan = true;
                self.shared.due = None;
                match &result {
                    Ok(()) => self.shared.trouble = None,
                    Err(error) => {
                        self.failed(error);
                        self.shared.trouble = Some(complaint(error));
                        self.shared.due = Some(now + wait_of(error));
                    }
                }
                for key in std::mem::take(&mut self.shared.held) {
                    self.queue.finished(key.clone(), Outcome::Done, now);
                    self.queue.touch(key);
                }
            }
            Done::Gates(key, written) => {
                self.gates.busy.remove(&key);
                self.gates
                    .written
                    .extend(written.into_iter().map(|(uid, gate, is)| ((uid, gate), is)));
                if self.waiting_pods(&key).is_empty() {
                    self.gates.due.remove(&key);
                } else {
                    self.gates.due.insert(key, now + GATES_PAUSE);
                }
            }
        }
    }

    /// What was done for keys: they are looked at again, at once if it went well.
    fn finished_all(&mut self, keys: Vec<ServiceName>, result: &Result<(), ProviderError>, now: Instant) {
        if let Err(error) = result {
            self.failed(error);
        }
        for key in keys {
            let failure = result.as_ref().err().map(|error| {
                let mut failure = State::default();
                reconcile::trouble(&mut failure, error);
                failure
            });
            let outcome = match result {
                Ok(()) => Outcome::Done,
                Err(error) => match error.retry {
                    Retry::Backoff => Outcome::Failed,
                    Retry::After(wait) => Outcome::After(wait),
                    Retry::WhenChanged => Outcome::Done,
                },
            };
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.failure.clone_from(&failure);
                if let Some(mut state) = entry.said.clone().filter(|_| failure.is_some()) {
                    add(&mut state, failure.as_ref());
                    self.say(&key, state);
                } else if let Some(failure) = failure {
                    self.say(&key, failure);
                }
            }
            // Without an outcome of its own the queue forgets its failures: that is for when a key has come to rest.
            if result.is_ok() {
                self.queue.finished(key.clone(), Outcome::After(Duration::ZERO), now);
                self.queue.touch(key);
            } else {
                self.queue.finished(key, outcome, now);
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.look.has_succeeded && self.inputs.is_complete()
    }

    fn work(&mut self) {
        let now = Instant::now();
        self.look_again(now);
        if !self.is_ready() {
            return;
        }
        self.look_for(now);
        let keys = self.queue.take(usize::MAX, now);
        let mut to_do = Vec::new();
        let (mut named, mut interfaces) = (Named::default(), BTreeSet::new());
        let (mut for_named, mut for_interfaces) = (Vec::new(), Vec::new());
        for key in keys {
            let Some(judged) = self.judge(&key) else {
                self.queue.finished(key, Outcome::Done, now);
                continue;
            };
            self.waits.remove(&key);
            match self.note(&key, judged) {
                Next::LookAt(more) => {
                    reconcile::extend(&mut named, &more);
                    for_named.push(key);
                }
                Next::Interfaces(more) => {
                    interfaces.extend(more);
                    for_interfaces.push(key);
                }
                Next::Perform(steps) => to_do.push((key, steps)),
                Next::Wait(waits) => {
                    let due = self.due_of(&key, &waits, now);
                    self.waits.insert(key.clone(), (due, waits));
                    self.rest(&key, now);
                    self.queue.finished(key, Outcome::Done, now);
                }
                Next::Rest => {
                    let is_failed = self
                        .entries
                        .get(&key)
                        .is_some_and(|entry| entry.said.as_ref().is_some_and(|state| state.trouble.is_some()));
                    let outcome = if is_failed { Outcome::Failed } else { Outcome::Done };
                    self.rest(&key, now);
                    self.queue.finished(key, outcome, now);
                }
                Next::RestUntilVpcChanges => {
                    self.look.due = self.look.due.map(|due| due.min(now + LONGEST_WAIT));
                    self.queue.finished(key, Outcome::Done, now);
                }
            }
        }
        if !for_named.is_empty() {
            let account = self.hands.account.clone();
            self.running.spawn(async move {
                let result = account.look_at(&named).await;
                Done::LookedAt(named, for_named, result)
            });
        }
        if !for_interfaces.is_empty() {
            let account = self.hands.account.clone();
            self.running.spawn(async move {
                let result = account.interface_groups(&interfaces).await;
                Done::Interfaces(interfaces, for_interfaces, result)
            });
        }
        self.share(now);
        for (key, steps) in to_do {
            self.perform(key, steps, now);
        }
        self.open_gates(now);
    }

    fn owner(&self, key: &ServiceName) -> Owner {
        Owner {
            cluster: self.defaults.cluster.clone(),
            service: key.clone(),
        }
    }

    fn perform(&mut self, key: ServiceName, steps: Vec<Step>, now: Instant) {
        if self.shared.is_under_way && self.shared.opens {
            self.shared.held.insert(key);
            return;
        }
        let has_group = self
            .hands
            .account
            .read(|snapshot| snapshot.shared(&self.defaults.cluster).group.is_some());
        let entry = &self.entries[&key];
        if entry.has_backend_group && !has_group && entry.service.is_some() {
            // It cannot be made yet, and says why.
            self.queue.finished(key, Outcome::Failed, now);
            return;
        }
        let hands = self.hands.clone();
        let mut targets = entry.targets.clone();
        self.running.spawn(async move {
            let result = hands.perform(Some(&key), &steps, &mut targets).await;
            Done::Key(key, targets, result)
        });
    }
}

fn wait_of(error: &ProviderError) -> Duration {
    match error.retry {
        Retry::After(wait) => wait,
        Retry::Backoff => LEAST_BETWEEN_LOOKS,
        Retry::WhenChanged => LONGEST_WAIT,
    }
}
