//! The loop of one provider: wishes, changes of the cluster, and what came of steps go in; steps, and how keys stand, come out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fairlead_aws::account::{Account, NOT_FOUND, Named};
use fairlead_aws::contract::{Defaults, Service};
use fairlead_aws::desired::{BackendNeed, Cluster, Vpc};
use fairlead_aws::plan::{DNS_MEMORY, Owner, Published, Step, Wait, plan_shared};
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
use super::gates::{self, Condition, Group};
use super::inputs::{Inputs, Touched, defaults};
use super::orphans::Orphans;
use super::reconcile::{self, Case, Judged, Next, complaint, judge};
use super::records::{self, Records};
use super::watch::{self, Told};
use super::work::Hands;
use crate::chain::Chain;
use crate::operator::controller::cloud::{Ask, Said, State, Wish};
use crate::operator::controller::plan::Complaint;
use crate::operator::controller::queue::{Outcome, Queue};
use crate::operator::controller::world::key_of;
use crate::operator::lease::Claims;
use crate::watch::Change;

/// Messages taken in before the next decision at most.
const BATCH: usize = 4096;
/// Between two looks at everything, and the waits after those that failed.
const LEAST_BETWEEN_LOOKS: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// What is due within this time is looked for at once, in the same calls.
const TOGETHER: Duration = Duration::from_secs(5);
/// Between two looks at the health of targets that pods wait for.
const GATES_PAUSE: Duration = Duration::from_secs(15);
/// Plans of a key in a row. Each is made from what the one before left, so more means that steps do not do what they say.
const ROUNDS: u32 = 16;

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

/// Looks at everything.
#[derive(Debug, Default)]
struct Look {
    is_under_way: bool,
    has_succeeded: bool,
    /// When the next one is due; at once if nothing is said.
    due: Option<Instant>,
    last: Option<Instant>,
    wait: Option<Duration>,
}

/// What all share.
#[derive(Debug, Default)]
struct SharedWork {
    must_plan: bool,
    is_under_way: bool,
    /// Whether load balancers wait for what is under way.
    opens: bool,
    due: Option<Instant>,
    waits: Vec<Wait>,
    trouble: Option<Complaint>,
    /// Keys that wait for it.
    held: BTreeSet<ServiceName>,
}

/// Readiness gates.
#[derive(Debug, Default)]
struct Gates {
    /// Services whose pods wait, and when to look.
    due: BTreeMap<ServiceName, Instant>,
    busy: BTreeSet<ServiceName>,
    /// What was written, by the pod's UID and the gate.
    written: BTreeMap<(String, String), Condition>,
}

/// A key that something is, or was, wished for.
#[derive(Debug)]
struct Entry {
    number: u64,
    /// `None`: it shall have nothing.
    service: Option<Service>,
    targets: Records,
    /// What is on record of it in the cloud.
    ids: BTreeSet<String>,
    published: Option<(String, Instant)>,
    needs: Option<BTreeSet<BackendNeed>>,
    has_backend_group: bool,
    rounds: u32,
    /// Why its last steps failed.
    failure: Option<State>,
    said: Option<State>,
    is_orphan: bool,
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

    fn ask(&mut self, ask: &Ask) {
        let now = Instant::now();
        let (service, shown) = match &ask.wish {
            Wish::Have(service) => (Service::from_resource(service), hostname_of(service, &ask.record)),
            Wish::Leave => (None, None),
        };
        let ids = ask.record.status.iter().flat_map(|status| status.ids.values().cloned());
        let ids: BTreeSet<_> = ids.collect();
        let is_new = !self.entries.contains_key(&ask.key);
        let entry = self.entries.entry(ask.key.clone()).or_insert_with(|| Entry {
            number: ask.number,
            service: service.clone(),
            targets: records::read(&ask.record),
            ids: BTreeSet::new(),
            published: None,
            needs: None,
            has_backend_group: false,
            rounds: 0,
            failure: None,
            said: None,
            is_orphan: false,
        });
        let is_known = entry.published.as_ref().map(|(name, _)| name) == shown.as_ref();
        if !is_known {
            entry.published = shown.map(|name| (name, now));
        }
        let is_other = is_new || entry.number != ask.number || entry.service != service || !is_known || entry.is_orphan;
        if entry.number != ask.number {
            entry.said = None;
        }
        entry.is_orphan = false;
        entry.number = ask.number;
        entry.service = service;
        entry.ids.extend(ids);
        if is_other {
            self.queue.touch(ask.key.clone());
        }
        if let Some(trouble) = self.trouble.clone().filter(|_| !self.look.has_succeeded) {
            let state = State {
                trouble: Some(trouble),
                ..State::default()
            };
            self.say(&ask.key, state);
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

    fn failed(&mut self, error: &ProviderError) {
        // What is remembered is not what there is.
        if error.reason == NOT_FOUND {
            let soon = self
                .look
                .last
                .map_or_else(Instant::now, |last| last + LEAST_BETWEEN_LOOKS);
            self.look.due = Some(self.look.due.map_or(soon, |due| due.min(soon)));
        }
    }

    fn looked(&mut self, result: Result<Vpc, ProviderError>, now: Instant) {
        self.look.is_under_way = false;
        self.look.last = Some(now);
        match result {
            Ok(vpc) => {
                self.vpc = Some(vpc);
                self.look.has_succeeded = true;
                self.look.wait = None;
                self.look.due = Some(now + self.timing.resync);
                // Interfaces that were not there may be by now.
                self.interfaces.retain(|_, groups| !groups.is_empty());
                self.set_trouble(None);
                self.shared.must_plan = true;
                self.touch(Touched::Everything);
                self.find_orphans(now);
            }
            Err(error) => {
                self.hands.counters.failed(error.reason);
                tracing::warn!(provider = self.provider, error = %Chain(&error), "cannot look at the account of AWS");
                let wait = self.look.wait.map_or(FIRST_WAIT, |wait| (wait * 2).min(LONGEST_WAIT));
                self.look.wait = Some(wait);
                self.look.due = Some(now + wait);
                self.set_trouble(Some(&complaint(&error)));
            }
        }
    }

    fn set_trouble(&mut self, trouble: Option<&Complaint>) {
        if self.trouble.as_ref() == trouble {
            return;
        }
        self.trouble = trouble.cloned();
        let _ = self
            .said
            .send((self.provider.clone(), Said::Everything(trouble.cloned())));
        if self.look.has_succeeded {
            return;
        }
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            let state = State {
                trouble: trouble.cloned(),
                ..State::default()
            };
            self.say(&key, state);
        }
    }

    fn say(&mut self, key: &ServiceName, state: State) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if entry.said.as_ref() == Some(&state) || entry.is_orphan {
            return;
        }
        entry.said = Some(state.clone());
        let said = Said::Key {
            key: key.clone(),
            number: entry.number,
            state,
        };
        // Nobody listens any more: this is about to be dropped.
        let _ = self.said.send((self.provider.clone(), said));
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

    fn judge(&mut self, key: &ServiceName) -> Option<Judged> {
        let entry = self.entries.get(key)?;
        let vpc = self.vpc.as_ref()?;
        let owner = self.owner(key);
        let named = reconcile::named_on_record(entry.ids.iter().chain(entry.targets.keys()));
        let mut all_named: BTreeSet<_> = named.load_balancers.union(&named.target_groups).cloned().collect();
        if let Some(service) = &entry.service {
            let named = reconcile::named(service);
            all_named.extend(named.load_balancers.into_iter().chain(named.target_groups));
        }
        let published = entry.published.as_ref().map(|(hostname, since)| Published {
            hostname: hostname.clone(),
            age: since.elapsed(),
        });
        let known = fairlead_aws::account::Known {
            named: all_named,
            records: entry.targets.clone(),
            published,
        };
        let (inputs, interfaces) = (&self.inputs, &self.interfaces);
        let (clusters, defaults, looked_at) = (&mut self.clusters, &self.defaults, &self.named);
        self.hands.account.read(|snapshot| {
            let backend = snapshot.shared(&defaults.cluster).group.map(|group| group.id);
            let cluster = clusters
                .entry(key.namespace.clone())
                .or_insert_with(|| inputs.cluster(&key.namespace, interfaces, None));
            cluster.backend_group = backend;
            Some(judge(&Case {
                owner: &owner,
                service: entry.service.as_ref(),
                defaults,
                vpc,
                cluster,
                snapshot,
                known,
                named: looked_at,
            }))
        })
    }

    /// Writes down what was found, tells it, and gives what is next.
    fn note(&mut self, key: &ServiceName, judged: Judged) -> Next {
        let Judged {
            mut state,
            needs,
            has_backend_group,
            mut next,
        } = judged;
        let entry = self.entries.get_mut(key).expect("it was judged");
        let is_moving = next != Next::Rest || state.complaint.is_some() || state.trouble.is_some();
        if let Some(needs) = needs {
            // Until all is as it shall be, targets are let in to where they were, too.
            let before = entry.needs.take().filter(|_| is_moving).unwrap_or_default();
            entry.needs = Some(needs.into_iter().chain(before).collect());
        }
        // Rules name the group as long as something is needed.
        let keeps_group = is_moving && !state.is_gone && entry.has_backend_group;
        entry.has_backend_group = has_backend_group || keeps_group;
        self.shared.must_plan = true;
        match &next {
            Next::Perform(_) => {
                entry.rounds += 1;
                if entry.rounds > ROUNDS {
                    reconcile::trouble(&mut state, &reconcile::does_not_settle(ROUNDS));
                    entry.rounds = 0;
                    next = Next::Rest;
                } else if state.pending.is_none() {
                    state.pending = Some("it is being changed".to_owned());
                }
                add(&mut state, entry.failure.as_ref());
            }
            Next::Rest | Next::Wait(_) | Next::RestUntilVpcChanges => {
                entry.rounds = 0;
                entry.failure = None;
            }
            Next::LookAt(_) | Next::Interfaces(_) => {
                // Nothing was decided.
                return next;
            }
        }
        if entry.has_backend_group && state.trouble.is_none() {
            state.trouble.clone_from(&self.shared.trouble);
        }
        if next == Next::Rest && state.complaint.is_none() && state.trouble.is_none() {
            // Only what there is, not what there was.
            let entry = self.entries.get_mut(key).expect("it was judged");
            entry.ids = state.ids.values().cloned().collect();
        }
        if state.is_gone && self.entries.get(key).is_some_and(|entry| entry.is_orphan) {
            tracing::info!(service = %key, "what belonged to no Service is gone");
            self.entries.remove(key);
            return Next::Rest;
        }
        self.say(key, state);
        next
    }

    fn rest(&mut self, key: &ServiceName, now: Instant) {
        if !self.waiting_pods(key).is_empty() && !self.gates.busy.contains(key) {
            self.gates.due.entry(key.clone()).or_insert(now);
        }
    }

    fn due_of(&self, key: &ServiceName, waits: &[Wait], now: Instant) -> Instant {
        let published = self.entries.get(key).and_then(|entry| entry.published.as_ref());
        let of = |wait: &Wait| match (wait, published) {
            (Wait::Published(name), Some((shown, since))) if name == shown => *since + DNS_MEMORY,
            _ => now + wait.next_look(),
        };
        waits.iter().map(of).min().unwrap_or(now)
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

    /// What all share comes before what needs it.
    fn share(&mut self, now: Instant) {
        if self.shared.due.is_some_and(|due| due <= now) {
            self.shared.due = None;
            self.shared.must_plan = true;
            if !self.shared.waits.is_empty() && !self.shared.is_under_way {
                let (account, waits) = (self.hands.account.clone(), std::mem::take(&mut self.shared.waits));
                self.running
                    .spawn(async move { Done::LookedFor(Vec::new(), account.look_for(&waits).await) });
                return;
            }
        }
        let is_tried_later = self.shared.trouble.is_some() && self.shared.due.is_some();
        if !self.shared.must_plan || self.shared.is_under_way || is_tried_later {
            return;
        }
        self.shared.must_plan = false;
        let all = self
            .entries
            .values()
            .map(|entry| (entry.needs.as_ref(), entry.has_backend_group));
        let wanted = reconcile::shared(&self.defaults, all, self.is_all_asked);
        let observed = self
            .hands
            .account
            .read(|snapshot| snapshot.shared(&self.defaults.cluster));
        let outcome = plan_shared(&wanted, &observed);
        self.shared.waits.clone_from(&outcome.waits);
        self.shared.due = outcome.waits.iter().map(|wait| now + wait.next_look()).min();
        if outcome.steps.is_empty() {
            return;
        }
        let steps = outcome.steps.steps().to_vec();
        let opens = |step: &Step| matches!(step, Step::CreateSecurityGroup { .. } | Step::AuthorizeIngress { .. });
        self.shared.opens = steps.iter().any(opens);
        self.shared.is_under_way = true;
        let hands = self.hands.clone();
        self.running
            .spawn(async move { Done::Shared(hands.perform(None, &steps, &mut Records::new()).await) });
    }

    fn look_again(&mut self, now: Instant) {
        if self.look.is_under_way || self.look.due.is_some_and(|due| due > now) || !self.is_all_asked {
            return;
        }
        self.look.is_under_way = true;
        self.hands.counters.change(|counts| counts.looks += 1);
        let mut named = Named::default();
        for entry in self.entries.values() {
            let on_record = reconcile::named_on_record(entry.ids.iter().chain(entry.targets.keys()));
            reconcile::extend(&mut named, &on_record);
            if let Some(service) = &entry.service {
                reconcile::extend(&mut named, &reconcile::named(service));
            }
        }
        reconcile::extend(&mut self.named, &named);
        let account = self.hands.account.clone();
        self.running.spawn(async move {
            let looked = async {
                let vpc = account.vpc().await?;
                account.look(&named).await?;
                Ok(vpc)
            };
            Done::Looked(looked.await)
        });
    }

    /// Looks whether what is waited for has come, for all that wait in the same calls.
    fn look_for(&mut self, now: Instant) {
        let is_due = self.waits.values().any(|(due, _)| *due <= now);
        if !is_due {
            return;
        }
        let due: Vec<_> = self
            .waits
            .iter()
            .filter(|(_, (due, _))| *due <= now + TOGETHER)
            .collect();
        let keys: Vec<_> = due.iter().map(|(key, _)| (*key).clone()).collect();
        let waits = due.iter().flat_map(|(_, (_, waits))| waits);
        let waits: Vec<_> = waits
            .filter(|wait| !matches!(wait, Wait::Published(_)))
            .cloned()
            .collect();
        for key in &keys {
            self.waits.remove(key);
        }
        if waits.is_empty() {
            for key in keys {
                self.queue.touch(key);
            }
            return;
        }
        let account = self.hands.account.clone();
        self.running.spawn(async move {
            let result = account.look_for(&waits).await;
            Done::LookedFor(keys, result)
        });
    }

    fn find_orphans(&mut self, now: Instant) {
        let Some(grace) = self.timing.orphan_grace else {
            return;
        };
        let owners = self
            .hands
            .account
            .read(|snapshot| snapshot.owners(&self.defaults.cluster));
        let owners: BTreeSet<_> = owners.into_iter().map(|owner| owner.service).collect();
        let asked = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_orphan)
            .map(|(key, _)| key);
        let services = asked.chain(&self.records).cloned().collect();
        for key in self.orphans.see(&owners, &services, now) {
            tracing::warn!(
                service = %key, provider = self.provider,
                "something in AWS bears the cluster's marks and belongs to no Service; it is removed after {grace:?}"
            );
        }
        let count = self.orphans.len() as u64;
        let provider = self.provider.clone();
        self.hands
            .counters
            .change(|counts| counts.orphans.insert(provider, count));
        for key in self.orphans.due(grace, now) {
            self.entries.entry(key.clone()).or_insert_with(|| Entry {
                number: 0,
                service: None,
                targets: Records::new(),
                ids: BTreeSet::new(),
                published: None,
                needs: Some(BTreeSet::new()),
                has_backend_group: false,
                rounds: 0,
                failure: None,
                said: None,
                is_orphan: true,
            });
            self.queue.touch(key);
        }
        // Those that are not due yet must not wait for the next resync.
        if !self.orphans.is_empty() {
            self.look.due = self.look.due.map(|due| due.min(now + grace.max(LEAST_BETWEEN_LOOKS)));
        }
    }

    /// The target groups of a Service whose targets are pods, by name.
    fn groups_of_pods(&self, key: &ServiceName) -> BTreeMap<String, String> {
        let owner = self.owner(key);
        let groups = self.hands.account.read(|snapshot| {
            let observed = snapshot.observed(&owner, fairlead_aws::account::Known::default());
            observed.target_groups
        });
        let of_pods = groups
            .into_iter()
            .filter(|group| group.target_type == fairlead_aws::contract::TargetType::Ip);
        of_pods.map(|group| (group.name, group.arn)).collect()
    }

    /// The pods of a Service that wait for its load balancer, with the gates that are closed.
    fn waiting_pods(&self, key: &ServiceName) -> Vec<WaitingPod> {
        let pods = self.inputs.gated_pods(key);
        if pods.is_empty() || self.entries.get(key).is_none_or(|entry| entry.service.is_none()) {
            return Vec::new();
        }
        let groups = self.groups_of_pods(key);
        let waiting = pods.into_iter().filter_map(|(name, (pod, addresses))| {
            let closed = pod.gates.iter().filter(|(_, is_open)| !**is_open).map(|(gate, _)| gate);
            let gates: Vec<_> = closed
                .filter(|gate| gates::may_concern(gate, &key.name, groups.keys()))
                .cloned()
                .collect();
            (!gates.is_empty()).then(|| WaitingPod {
                name,
                uid: pod.uid.clone().unwrap_or_default(),
                gates,
                addresses,
            })
        });
        waiting.collect()
    }

    fn open_gates(&mut self, now: Instant) {
        let due: Vec<_> = self
            .gates
            .due
            .iter()
            .filter(|(_, due)| **due <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.gates.due.remove(&key);
            let (pods, groups) = (self.waiting_pods(&key), self.groups_of_pods(&key));
            if pods.is_empty() || groups.is_empty() {
                continue;
            }
            let hands = self.hands.clone();
            let written = self.gates.written.clone();
            self.gates.busy.insert(key.clone());
            let service = key.name.to_string();
            self.running.spawn(async move {
                let mut found = Vec::new();
                for (name, arn) in groups {
                    match hands.account.health(&arn).await {
                        Ok(health) => found.push(Group { name, health }),
                        Err(error) => {
                            hands.counters.failed(error.reason);
                            tracing::warn!(target_group = name, error = %Chain(&error), "cannot ask for the health of targets");
                        }
                    }
                }
                let mut done = Vec::new();
                for pod in pods {
                    for gate in &pod.gates {
                        let concerns = gates::concerns(gate, &service, &found);
                        let condition = gates::condition(&concerns, &pod.addresses);
                        let id = (pod.uid.clone(), gate.clone());
                        if written.get(&id) == Some(&condition) {
                            continue;
                        }
                        if hands.write_gate(&pod.name, Some(&pod.uid), gate, &condition).await {
                            done.push((id.0, id.1, condition));
                        }
                    }
                }
                Done::Gates(key, done)
            });
        }
    }
}

struct WaitingPod {
    name: ServiceName,
    uid: String,
    gates: Vec<String>,
    addresses: BTreeSet<std::net::IpAddr>,
}

/// The failure stays told until something else comes of the next try.
fn add(state: &mut State, failure: Option<&State>) {
    if let Some(failure) = failure {
        state.complaint = state.complaint.take().or_else(|| failure.complaint.clone());
        state.trouble = state.trouble.take().or_else(|| failure.trouble.clone());
    }
}

fn wait_of(error: &ProviderError) -> Duration {
    match error.retry {
        Retry::After(wait) => wait,
        Retry::Backoff => LEAST_BETWEEN_LOOKS,
        Retry::WhenChanged => LONGEST_WAIT,
    }
}

/// The host name that clients are shown: by the Service, or by the record where a Service cannot show one.
fn hostname_of(service: &core::Service, record: &LoadBalancer) -> Option<String> {
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) != Some("LoadBalancer") {
        return record.status.as_ref()?.hostname.clone();
    }
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.iter().find_map(|ingress| ingress.hostname.clone())
}
