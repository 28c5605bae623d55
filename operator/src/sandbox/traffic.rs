//! Asks the questions and counts what came back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fairlead_lab::{Answer, Namespace, Outcome, Probe};
use fairlead_model::Protocol;

use super::expected::Expected;
use super::question::{Origin, Question};

/// How long an answer may take. The kernel sends a lost first packet again after a second.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How long to wait where no answer is expected: a hundred times what an answer takes.
const PATIENCE_WITHOUT_HOPE: Duration = Duration::from_millis(500);
/// Questions that wait at the same time. Each waits with as many threads as there are requests.
const WAITING: usize = 16;

/// Where questions are asked from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Askers<'a> {
    /// The pod on node-1.
    pub(super) pod: &'a Namespace,
    /// node-1.
    pub(super) node: &'a Namespace,
    /// The client.
    pub(super) outside: &'a Namespace,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Replies by workload and the client that it saw.
    pub(super) replies: BTreeMap<(String, IpAddr), usize>,
    /// Refusals.
    pub(super) refused: usize,
    /// Requests without an answer.
    pub(super) unanswered: usize,
    /// Other errors.
    pub(super) failed: BTreeMap<String, usize>,
    /// How long each reply or refusal took, sorted.
    pub(super) times: Vec<Duration>,
}

/// A question and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The question.
    pub(super) question: Question,
    /// The result; none where the kernel lacks the protocol.
    pub(super) tally: Option<Tally>,
}

/// A person who pressed Ctrl-C wants no more answers.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

/// Asks every question `requests` times.
pub(super) fn ask(
    questions: Vec<Question>,
    askers: Askers<'_>,
    requests: usize,
    is_interrupted: &AtomicBool,
) -> Result<Vec<Asked>, Interrupted> {
    let mut tallies: Vec<Option<Tally>> = questions.iter().map(|_| None).collect();
    let mut waiting = Vec::new();
    for (question, tally) in questions.iter().zip(&mut tallies) {
        if is_interrupted.load(Ordering::Relaxed) {
            return Err(Interrupted);
        }
        let protocol = lab_protocol(question.protocol());
        if !protocol.is_supported() {
            continue;
        }
        if matches!(question.expected, Expected::Dropped(_) | Expected::NotServed) {
            waiting.push((question, tally));
        } else {
            *tally = Some(burst(question, askers.of(question), requests));
        }
    }
    // Those that wait for nothing take long and cost nothing, so they do it together.
    for group in waiting.chunks_mut(WAITING) {
        if is_interrupted.load(Ordering::Relaxed) {
            return Err(Interrupted);
        }
        thread::scope(|scope| {
            for (question, tally) in group {
                scope.spawn(|| **tally = Some(burst(question, askers.of(question), requests)));
            }
        });
    }
    Ok(questions
        .into_iter()
        .zip(tallies)
        .map(|(question, tally)| Asked { question, tally })
        .collect())
}

/// One request after the other. Once one got no answer, the rest are sent together, since they will take as long.
fn burst(question: &Question, namespace: &Namespace, requests: usize) -> Tally {
    let patience = match question.expected {
        Expected::Dropped(_) | Expected::NotServed => PATIENCE_WITHOUT_HOPE,
        Expected::Answer { .. } | Expected::Refused => PATIENCE,
    };
    let probe = Probe::new(lab_protocol(question.protocol()), question.key.to).within(patience);
    let mut tally = Tally::default();
    let mut left = requests;
    while left > 0 {
        let outcome = probe.send(namespace);
        left -= 1;
        let is_unanswered = outcome.answer == Answer::TimedOut;
        tally.count(outcome);
        if is_unanswered {
            break;
        }
    }
    let outcomes = thread::scope(|scope| {
        let threads: Vec<_> = (0..left).map(|_| scope.spawn(|| probe.send(namespace))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a probe does not panic"))
            .collect::<Vec<_>>()
    });
    for outcome in outcomes {
        tally.count(outcome);
    }
    tally.times.sort_unstable();
    tally
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        match outcome.answer {
            Answer::Reply { server, client } => {
                *self.replies.entry((server, client.ip())).or_default() += 1;
                self.times.push(outcome.took);
            }
            Answer::Refused => {
                self.refused += 1;
                self.times.push(outcome.took);
            }
            Answer::TimedOut => self.unanswered += 1,
            Answer::Unreachable(kind) => *self.failed.entry(kind.to_string()).or_default() += 1,
            Answer::Lost(kind) => *self.failed.entry(format!("lost: {kind}")).or_default() += 1,
        }
    }

    /// How often each workload answered.
    pub(super) fn answers(&self) -> BTreeMap<&str, usize> {
        let mut answers = BTreeMap::new();
        for ((server, _), count) in &self.replies {
            *answers.entry(server.as_str()).or_default() += count;
        }
        answers
    }

    /// Which client addresses workloads saw, and how often.
    pub(super) fn clients(&self) -> BTreeMap<IpAddr, usize> {
        let mut clients = BTreeMap::new();
        for ((_, client), count) in &self.replies {
            *clients.entry(*client).or_default() += count;
        }
        clients
    }

    /// The median of the times.
    pub(super) fn median(&self) -> Option<Duration> {
        self.times.get(self.times.len() / 2).copied()
    }
}

impl<'a> Askers<'a> {
    fn of(&self, question: &Question) -> &'a Namespace {
        match question.key.origin {
            Origin::Pod => self.pod,
            Origin::Node => self.node,
            Origin::Outside => self.outside,
        }
    }
}

/// The lab speaks the same protocols.
pub(super) fn lab_protocol(protocol: Protocol) -> fairlead_lab::Protocol {
    match protocol {
        Protocol::Tcp => fairlead_lab::Protocol::Tcp,
        Protocol::Udp => fairlead_lab::Protocol::Udp,
        Protocol::Sctp => fairlead_lab::Protocol::Sctp,
    }
}
