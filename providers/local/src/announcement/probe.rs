//! Asking whether an address is free before it is announced for the first time (RFC 5227, section 2.1; RFC 4862, section 5.4).
//!
//! At a fail-over nobody asks: the address is known to be ours, and asking costs time.

use std::collections::BTreeSet;
use std::time::Instant;

use super::link::Scope;
use super::timing::Timing;
use super::wire::Mac;

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// Nobody answered.
    Free,
    /// Somebody has it, or wants it too.
    Conflict {
        /// The link it was heard on.
        link: u32,
        /// Who.
        mac: Mac,
        /// Whether that is a node of the cluster.
        is_peer: bool,
    },
    /// There was no link to ask on.
    NoLink,
}

/// An address that is being asked for.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) scope: Scope,
    asked: u8,
    next: Instant,
    /// Where it was asked.
    links: BTreeSet<u32>,
}

/// What an address that is being asked for needs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Ask,
    Finish(ProbeResult),
}

impl Probe {
    pub(super) fn new(scope: Scope, now: Instant) -> Self {
        Self {
            scope,
            asked: 0,
            next: now,
            links: BTreeSet::new(),
        }
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.next
    }

    /// What to do now, if the time has come.
    pub(super) fn step(&mut self, timing: &Timing, now: Instant) -> Option<Step> {
        if now < self.next {
            return None;
        }
        if self.asked >= timing.probes {
            let result = if self.links.is_empty() {
                ProbeResult::NoLink
            } else {
                ProbeResult::Free
            };
            return Some(Step::Finish(result));
        }
        self.asked += 1;
        self.next = now + timing.probe_spacing;
        Some(Step::Ask)
    }

    /// Notes that the question went out on this link.
    pub(super) fn asked_on(&mut self, link: u32) {
        self.links.insert(link);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn three_questions_and_a_last_wait_make_it_free() {
        let start = Instant::now();
        let timing = Timing::default();
        let mut probe = Probe::new(Scope::default(), start);
        let mut times = Vec::new();
        loop {
            let at = probe.next_deadline();
            match probe.step(&timing, at).unwrap() {
                Step::Ask => {
                    probe.asked_on(2);
                    assert_eq!(probe.step(&timing, at + Duration::from_millis(199)), None);
                    times.push((at - start).as_millis());
                }
                Step::Finish(result) => {
                    assert_eq!(result, ProbeResult::Free);
                    times.push((at - start).as_millis());
                    break;
                }
            }
        }
        assert_eq!(times, [0, 200, 400, 600]);
    }

    #[test]
    fn silence_proves_nothing_where_nothing_was_asked() {
        let timing = Timing::default();
        let mut probe = Probe::new(Scope::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(probe.step(&timing, probe.next_deadline()), Some(Step::Ask));
        }
        assert_eq!(
            probe.step(&timing, probe.next_deadline()),
            Some(Step::Finish(ProbeResult::NoLink))
        );
    }
}
