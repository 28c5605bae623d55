//! The loop: what is told goes into the world, what is touched is decided and planned, and plans are carried out side by side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use fairlead_crds::LoadBalancer;
use fairlead_crds::reason::{self, Reason};
use fairlead_model::ServiceName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::cloud::Clouds;
use super::decide::Decider;
use super::drivers::{Aws, Drivers};
use super::figures::{Board, Figures};
use super::notes::{self, Note};
use super::perform::{Performer, Target};
use super::plan::{self, Complaint, Wanted};
use super::queue::{Outcome, Queue};
use super::reports;
use super::watch::{self, Change, Told};
use super::work::{Done, Work};
use super::world::{Touched, key_of};
use crate::operator::aws::accounts::Accounts;
use crate::operator::lease::Claims;

/// Keys whose steps are carried out at a time.
const AT_A_TIME: usize = 32;
/// Messages taken in before the next decision at most.
const BATCH: usize = 4096;
/// Between two looks at what pools and providers came to.
const REPORT_PAUSE: Duration = Duration::from_millis(500);
/// The name under which events appear.
const CONTROLLER: &str = "fairlead-operator";

/// Looks after load balancers until it is dropped.
pub async fn run<N: Accounts>(
    client: Client,
    identity: Arc<str>,
    claims: Claims,
    board: Board,
    aws: Aws<N>,
) -> anyhow::Result<()> {
    let (told, tasks) = watch::follow(&client);
    let reporter = Reporter {
        controller: CONTROLLER.to_owned(),
        instance: Some(identity.to_string()),
    };
    let mut controller = Controller {
        told,
        tasks,
        decider: Decider {
            clouds: Clouds::new(N::ARE_THERE),
            ..Decider::default()
        },
        drivers: Drivers::new(aws, client.clone(), claims.clone()),
        queue: Queue::default(),
        is_restored: false,
        performer: Performer::new(client.clone()),
        client: client.clone(),
        reporting: JoinSet::new(),
        report_at: None,
        board,
        told_off: BTreeMap::new(),
        recorder: Arc::new(Recorder::new(client, reporter)),
        running: JoinSet::new(),
        claims,
    };
    loop {
        controller.turn().await?;
    }
}

struct Controller<N> {
    told: mpsc::Receiver<Told>,
    tasks: JoinSet<()>,
    decider: Decider,
    drivers: Drivers<N>,
    queue: Queue<ServiceName>,
    /// Whether the addresses that Services have are known to the allocator.
    is_restored: bool,
    performer: Performer,
    client: Client,
    /// Statuses of pools and providers on their way.
    reporting: JoinSet<()>,
    /// When the next ones may follow.
    report_at: Option<Instant>,
    board: Board,
    /// What was told to Services that ask for what they cannot have, and have no load balancer that would say it.
    told_off: BTreeMap<ServiceName, Complaint>,
    recorder: Arc<Recorder>,
    running: JoinSet<Done>,
    claims: Claims,
}

impl<N: Accounts> Controller<N> {
    /// Waits for something to happen, and deals with it.
    async fn turn(&mut self) -> anyhow::Result<()> {
        let mut messages = Vec::new();
        let due = [self.queue.next_due(), self.next_rest_end(), self.report_at]
            .into_iter()
            .flatten()
            .min();
        // Cancel-safe, all of them: `recv_many` takes nothing when it is dropped, the others only tell.
        tokio::select! {
            count = self.told.recv_many(&mut messages, BATCH) => {
                if count == 0 {
                    return Err(anyhow!("nobody watches the API server any more"));
                }
                for message in messages {
                    self.absorb(message);
                }
            }
            Some(ended) = self.tasks.join_next() => ended.context("a watch ended")?,
            Some(done) = self.running.join_next() => {
                let Done { key, outcome, written } = done.context("a step ended in a defect")?;
                // What was written is known before the watch tells it, so that it is not written again.
                // But a Service that is gone by now stays gone: the last word about it was the watch's.
                let is_service_gone = self.decider.world.services.get(&key).is_none();
                for told in written {
                    if !(is_service_gone && matches!(told, Told::Service(_))) {
                        self.absorb(told);
                    }
                }
                self.queue.finished(key, outcome, Instant::now());
            }
            Some(_) = self.reporting.join_next() => {}
            said = self.drivers.next() => {
                let (provider, said) = said?;
                if let Some(key) = self.decider.clouds.said(&provider, said) {
                    self.queue.touch(key);
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        self.work();
        self.report();
        Ok(())
    }

    fn absorb(&mut self, told: Told) {
        self.drivers.forward(&told);
        if let Told::LoadBalancer(Change::Is(new)) = &told {
            self.tell_of_nodes(new);
        }
        let keys = match self.decider.world.absorb(told) {
            Touched::Keys(keys) => keys,
            Touched::Namespaces(namespaces) => namespaces
                .iter()
                .flat_map(|namespace| self.decider.world.keys_in(namespace))
                .collect(),
            Touched::Everything => self.decider.world.keys(),
        };
        for key in keys {
            self.queue.touch(key);
        }
    }

    /// Tells Services which nodes have begun to answer for their addresses.
    fn tell_of_nodes(&self, new: &LoadBalancer) {
        let world = &self.decider.world;
        let key = key_of(new);
        let Some(old) = world.load_balancers.get(&key) else {
            return;
        };
        let notes = notes::assigned(old, new);
        if let Some(service) = world.services.get(&key).filter(|_| !notes.is_empty()) {
            let (recorder, service) = (self.recorder.clone(), service.clone());
            tokio::spawn(async move { notes::publish(&recorder, &service, &notes).await });
        }
    }

    fn work(&mut self) {
        if !self.decider.world.is_complete() {
            return;
        }
        let now = SystemTime::now();
        self.decider.set_pools();
        if !self.is_restored {
            let count = self.decider.restore(now);
            tracing::info!(services = count, "the addresses that Services have are known");
            self.is_restored = true;
        }
        for key in self.decider.local.expire(now) {
            self.queue.touch(key);
        }
        for key in self.drivers.follow(&mut self.decider, now) {
            self.queue.touch(key);
        }
        loop {
            let free = AT_A_TIME.saturating_sub(self.running.len());
            let keys = self.queue.take(free, Instant::now());
            if keys.is_empty() {
                return;
            }
            for key in keys {
                self.look_at(key, now);
            }
        }
    }

    /// Tells what pools and providers came to: soon, but not for each of many changes.
    fn report(&mut self) {
        let now = Instant::now();
        if !self.is_restored || !self.reporting.is_empty() {
            return;
        }
        match self.report_at {
            None => self.report_at = Some(now + REPORT_PAUSE),
            Some(at) if at <= now => {
                self.report_at = None;
                self.board.show(Figures::of(&self.decider.world, &self.decider.local));
                let time = Time(Timestamp::now());
                let reports = reports::reports(&self.decider, &time);
                if !reports.is_empty() {
                    self.reporting.spawn(reports::write(self.client.clone(), reports));
                }
            }
            Some(_) => {}
        }
    }

    fn next_rest_end(&self) -> Option<Instant> {
        let deadline = self.decider.local.allocator().next_deadline()?;
        let wait = deadline.duration_since(SystemTime::now());
        Some(Instant::now() + wait.unwrap_or_default())
    }

    /// Decides, plans, and has the plan carried out.
    fn look_at(&mut self, key: ServiceName, now: SystemTime) {
        let (wanted, again) = self.decider.decide(&key, now);
        self.tell_off(&key, &wanted);
        self.drivers.ask(&mut self.decider, &key, &wanted);
        for (key, complaint) in self.decider.local.take_news() {
            self.warn(&key, complaint.reason, complaint.message);
        }
        for key in again {
            self.queue.touch(key);
        }
        let observed = self.decider.observed(&key);
        let time = Time(Timestamp::try_from(now).unwrap_or_default());
        let steps = plan::plan(&observed, &wanted, &time);
        if steps.is_empty() {
            self.queue.finished(key, Outcome::Done, Instant::now());
            return;
        }
        let is_valid = self.claims.borrow().is_some_and(|claim| claim.is_valid(Instant::now()));
        if !is_valid {
            // Who has lost the lease does nothing more; this task is about to be dropped.
            self.queue
                .finished(key, Outcome::After(Duration::from_secs(1)), Instant::now());
            return;
        }
        let notes = notes::notes(&observed, &steps, &wanted);
        let work = Work {
            target: Target::of(&observed),
            service: self.decider.world.services.get(&key).cloned(),
            steps,
            notes,
            performer: self.performer.clone(),
            recorder: self.recorder.clone(),
        };
        self.running.spawn(work.carry_out());
    }

    /// A Service that asks for us in vain, and has no load balancer to say it, hears it once by an event.
    fn tell_off(&mut self, key: &ServiceName, wanted: &Wanted) {
        let Wanted::Unattended(complaint) = wanted else {
            self.told_off.remove(key);
            return;
        };
        let is_said = self.decider.world.load_balancers.get(key).is_some() || self.told_off.get(key) == Some(complaint);
        if is_said || self.decider.world.services.get(key).is_none() {
            return;
        }
        self.told_off.insert(key.clone(), complaint.clone());
        tracing::warn!(service = %key, reason = %complaint.reason, "{}", complaint.message);
        let message = format!("{}: {}", complaint.reason, complaint.message);
        self.warn(key, reason::SYNC_LOAD_BALANCER_FAILED, message);
    }

    /// Tells a Service what is wrong, by an event.
    fn warn(&self, key: &ServiceName, reason: Reason, message: String) {
        let Some(service) = self.decider.world.services.get(key).cloned() else {
            return;
        };
        let note = Note {
            is_warning: true,
            reason,
            message,
        };
        let recorder = self.recorder.clone();
        tokio::spawn(async move { notes::publish(&recorder, &service, &[note]).await });
    }
}
