use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Answer, Namespace, Outcome, Probe};

/// Who answered how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Replies by name of workload.
    pub replies: BTreeMap<String, usize>,
    /// The client addresses that the workloads saw.
    pub clients: BTreeSet<IpAddr>,
    /// All that was not a reply, by kind.
    pub failures: BTreeMap<Answer, usize>,
    /// How long each reply took.
    pub took: Vec<Duration>,
}

impl Tally {
    /// Counts one more outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        match &outcome.answer {
            Answer::Reply { server, client } => {
                *self.replies.entry(server.clone()).or_default() += 1;
                self.clients.insert(client.ip());
                self.took.push(outcome.took);
            }
            failure => *self.failures.entry(failure.clone()).or_default() += 1,
        }
    }

    /// The number of replies.
    pub fn replied(&self) -> usize {
        self.replies.values().sum()
    }

    /// The number of answers that were not replies.
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// The names of the workloads that replied, in order.
    pub fn servers(&self) -> Vec<&str> {
        self.replies.keys().map(String::as_str).collect()
    }

    /// The time that half of the replies did not take longer than.
    pub fn median(&self) -> Option<Duration> {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }
}

/// Questions asked in the background, for seeing what a restart or a failure costs. It ends with [`Load::stop`] or when it is dropped.
#[derive(Debug)]
pub struct Load {
    progress: Arc<Mutex<Report>>,
    /// Closed to end the loop.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a [`Load`] has seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// All outcomes, counted.
    pub tally: Tally,
    /// The questions that got no reply, in order.
    pub failures: Vec<Failure>,
}

/// One question that got no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When it was asked, from the start of the load.
    pub asked: Duration,
    /// What came back instead.
    pub answer: Answer,
}

impl Load {
    pub(crate) fn start(probe: Probe, namespace: &Namespace, pause: Duration) -> Self {
        let progress = Arc::new(Mutex::new(Report::default()));
        let (stop, stopped) = mpsc::channel::<()>();
        let (namespace, report) = (namespace.clone(), Arc::clone(&progress));
        let thread = thread::Builder::new()
            .name(format!("load in {}", namespace.name()))
            .spawn(move || {
                namespace.enter();
                let started = Instant::now();
                // The pause is a wait for the end.
                while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let asked = started.elapsed();
                    let outcome = probe.send_here();
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.tally.add(&outcome);
                    if !outcome.answer.is_reply() {
                        report.failures.push(Failure {
                            asked,
                            answer: outcome.answer,
                        });
                    }
                }
            })
            .expect("the machine can start one more thread");
        Self {
            progress,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What it has seen so far.
    pub fn report(&self) -> Report {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of questions that have been answered, or not, so far.
    pub fn asked(&self) -> usize {
        let report = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        report.tally.replied() + report.failures.len()
    }

    /// Ends the loop after the question it is at, and returns what it has seen.
    pub fn stop(mut self) -> Report {
        self.end();
        self.report()
    }

    fn end(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; what it saw before counts.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}
