//! What becomes of connections: expected, and seen.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fairlead_lab::{Answer, Namespace, Probe, Protocol};

/// How long silence must last to count as a drop. An answer takes a fraction of a millisecond.
const SILENCE: Duration = Duration::from_millis(250);
/// For what must be answered: longer than TCP takes to send a lost packet again.
const PATIENT: Duration = Duration::from_secs(10);
/// One of three endpoints is missed this often in a row once in 10^35 times.
const TRIES: usize = 200;
/// Probes that are sent even if all endpoints have answered sooner: one that must not answer might.
const AT_LEAST_PER_ENDPOINT: usize = 3;

/// A workload's name, and the client address that it sees.
pub(crate) type Reply = (String, IpAddr);

/// What becomes of connections to one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of these answer, and nobody else.
    Answers(BTreeSet<Reply>),
    /// The same, but some connections get no answer, since the reply takes another way back than the packet came.
    SometimesAnswers(BTreeSet<Reply>),
    /// Refused: a reset, or an ICMP error.
    Refused,
    /// Silence.
    Dropped,
    /// No route, as if there were no Service at all.
    Unreachable,
}

impl Verdict {
    /// All of these answer, and all see the same client address.
    pub(crate) fn answers(servers: &[&str], client: impl Into<IpAddr>) -> Self {
        let client = client.into();
        Self::Answers(servers.iter().map(|server| ((*server).to_owned(), client)).collect())
    }
}

/// Sees whether connections meet the expected verdict. The error says what they met.
pub(crate) fn check(from: &Namespace, probe: Probe, expected: &Verdict) -> Result<(), String> {
    let (answers, patience): (&[Answer], _) = match expected {
        Verdict::Answers(replies) => return collect(from, probe.within(PATIENT), replies, 0),
        Verdict::SometimesAnswers(replies) => return collect(from, probe.within(SILENCE), replies, TRIES),
        // Linux notes the ICMP error of an SCTP association, and goes on trying.
        Verdict::Refused if probe.protocol == Protocol::Sctp => (&[Answer::Refused, Answer::TimedOut], SILENCE),
        Verdict::Refused => (&[Answer::Refused], PATIENT),
        Verdict::Dropped => (&[Answer::TimedOut], SILENCE),
        Verdict::Unreachable => (&[Answer::Unreachable(std::io::ErrorKind::NetworkUnreachable)], PATIENT),
    };
    let outcome = from_new_port(probe).within(patience).send(from);
    if answers.contains(&outcome.answer) {
        Ok(())
    } else {
        Err(format!("{:?}", outcome.answer))
    }
}

/// Probes until everyone expected has answered.
fn collect(from: &Namespace, probe: Probe, expected: &BTreeSet<Reply>, may_fail: usize) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut failures = 0;
    for count in 0..TRIES {
        if seen == *expected && count >= AT_LEAST_PER_ENDPOINT * expected.len() {
            return Ok(());
        }
        match from_new_port(probe).send(from).answer {
            Answer::Reply { server, client } => {
                let reply = (server, client.ip());
                if !expected.contains(&reply) {
                    return Err(format!("an answer of {} that saw {}", reply.0, reply.1));
                }
                seen.insert(reply);
            }
            answer if failures == may_fail => return Err(format!("{answer:?} after answers of {seen:?}")),
            _ => failures += 1,
        }
    }
    Err(format!("in {TRIES} tries only answers of {seen:?}"))
}

/// The same probe, over UDP from a port that no earlier one had. The kernel might take one again by chance, and conntrack
/// would take the datagram for the next one of that flow, which keeps its way whatever has changed since.
fn from_new_port(probe: Probe) -> Probe {
    /// Below the ports that kernels choose.
    const PORTS: std::ops::Range<u16> = 11_000..28_000;
    static USED: AtomicUsize = AtomicUsize::new(0);
    if probe.protocol != Protocol::Udp || probe.source.is_some() {
        return probe;
    }
    let used = USED.fetch_add(1, Ordering::Relaxed) % PORTS.len();
    let port = PORTS.start + u16::try_from(used).expect("there are fewer ports than numbers for them");
    let any: IpAddr = match probe.target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    probe.from_socket(SocketAddr::new(any, port))
}

/// Fails unless connections meet the expected verdict.
#[track_caller]
pub(crate) fn assert_verdict(from: &Namespace, probe: Probe, expected: &Verdict) {
    if let Err(seen) = check(from, probe, expected) {
        panic!(
            "{} to {} {}: expected {expected:?}, seen: {seen}",
            from.name(),
            probe.protocol,
            probe.target
        );
    }
}

/// A probe of this protocol.
pub(crate) fn probe(protocol: Protocol, address: IpAddr, port: u16) -> Probe {
    Probe::new(protocol, SocketAddr::new(address, port))
}

/// Does the same with many things, some at a time, and fails with all errors at once. Probes that time out are what
/// takes long, so this is not about processors.
#[track_caller]
pub(crate) fn check_all<T: Sync>(all: &[T], check: impl Fn(&T) -> Result<(), String> + Sync) {
    const AT_A_TIME: usize = 12;
    let next = AtomicUsize::new(0);
    let errors = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(all.len()) {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = check(one) {
                        errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                    }
                }
            });
        }
    });
    let errors = errors.into_inner().unwrap();
    assert!(
        errors.is_empty(),
        "{} of {} failed:\n{}",
        errors.len(),
        all.len(),
        errors.join("\n")
    );
}
