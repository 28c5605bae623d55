//! Who leads: a state machine that is told what happens and what time it is, and says what to do next.
//!
//! ```text
//!   stand-by ── the lease is free: take ──► leader ── renews it ──┐
//!      ▲                                      │  ▲                │
//!      │                                      │  └────────────────┘
//!      └── the work has ended ◄── ending ◄────┘ lost: past the deadline, or somebody else has it
//!
//!   from everywhere: resign ──► the lease is given back, done
//! ```
//!
//! At most one request is under way. Its effect is unknown until it is answered, and for ever if it is not: every decision
//! holds both ways. That rests on two things. A claim is counted from when its write was *sent*, and every write names the
//! version that it replaces.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Claim, Generation, Record, Timing, Write};

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Read the lease, and tell what came of it: [`Election::looked`] or [`Election::failed`].
    Look,
    /// Write the lease, and tell what came of it: [`Election::wrote`] or [`Election::failed`].
    Write(Write),
    /// Nothing, until then or until something happens.
    Wait(Instant),
    /// Nothing, until something happens: the answer to a request, or the end of the work.
    WaitForEvent,
    /// Nothing any more: it has resigned.
    Done,
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// It was written, and is this now.
    Done(Record),
    /// Somebody else was first, or deleted it.
    Conflict,
}

/// How a claim ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// It was not renewed in time.
    Overdue,
    /// Somebody else wrote the lease; who holds it now.
    Superseded(Option<Arc<str>>),
}

/// One contender's part in the election.
#[derive(Debug)]
pub struct Election {
    /// Of this process alone, so that a lease that names it was written by it.
    identity: Arc<str>,
    timing: Timing,
    role: Role,
    seen: Option<Seen>,
    /// What was seen is known to be old.
    must_look: bool,
    /// The highest number seen. It outlives the object.
    highest: Option<Generation>,
    loss: Option<Loss>,
    /// The request under way, and when it was sent.
    request: Option<(Request, Instant)>,
    retry_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    StandBy,
    Leader {
        claim: Claim,
        renew_at: Instant,
    },
    /// The claim is lost and the work has been told to end.
    Ending,
    /// The lease is given back if it is ours.
    Resigning,
    Resigned,
}

/// The lease as it was last seen; no record if there was none.
#[derive(Debug)]
struct Seen {
    record: Option<Record>,
    /// When others than its holder may take it.
    free_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Look,
    Take(Generation),
    Renew,
    Release,
}

impl Election {
    /// A contender that knows nothing yet.
    pub fn new(identity: Arc<str>, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            role: Role::StandBy,
            seen: None,
            must_look: true,
            highest: None,
            loss: None,
            request: None,
            retry_at: None,
        }
    }

    /// Its name.
    pub fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// Its times.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The claim that it holds.
    pub fn claim(&self) -> Option<Claim> {
        match self.role {
            Role::Leader { claim, .. } => Some(claim),
            _ => None,
        }
    }

    /// Who holds the lease, as far as is known.
    pub fn holder(&self) -> Option<&Arc<str>> {
        self.seen.as_ref()?.record.as_ref()?.holder.as_ref()
    }

    /// How the last claim was lost; told once.
    pub fn take_loss(&mut self) -> Option<Loss> {
        self.loss.take()
    }

    /// What to do now. A request must be sent at once: its time counts from here.
    pub fn next(&mut self, now: Instant) -> Step {
        if self.claim().is_some_and(|claim| !claim.is_valid(now)) {
            self.lose(Loss::Overdue);
        }
        if self.role == Role::Resigned {
            return Step::Done;
        }
        if self.request.is_some() {
            return self
                .claim()
                .map_or(Step::WaitForEvent, |claim| Step::Wait(claim.valid_until));
        }
        if self.role == Role::Ending {
            return Step::WaitForEvent;
        }
        if let Some(retry_at) = self.retry_at.filter(|at| now < *at) {
            return self.wait(retry_at);
        }
        let seen = match &self.seen {
            Some(seen) if !self.must_look => seen,
            _ => return self.send(Request::Look, Step::Look, now),
        };
        let over = seen.record.clone();
        let is_ours = over.as_ref().is_some_and(|record| self.is_ours(record));
        match self.role {
            Role::Leader { renew_at, .. } if now < renew_at => self.wait(renew_at),
            Role::Leader { claim, .. } => {
                let generation = claim.generation;
                self.send(Request::Renew, Step::Write(Write::Renew { over, generation }), now)
            }
            Role::Resigning => match over {
                Some(over) if is_ours => self.send(Request::Release, Step::Write(Write::Release { over }), now),
                _ => {
                    self.role = Role::Resigned;
                    Step::Done
                }
            },
            // What is ours without a claim was written too late, or its answer was lost. That makes it free, but it is not the
            // same claim.
            Role::StandBy if now < seen.free_at && !is_ours => self.wait(seen.free_at),
            Role::StandBy => {
                let generation = self.highest.map_or(Generation(0), Generation::next);
                let write = Write::Take { over, generation };
                self.send(Request::Take(generation), Step::Write(write), now)
            }
            Role::Ending | Role::Resigned => unreachable!("dealt with above"),
        }
    }

    /// The lease was read.
    pub fn looked(&mut self, record: Option<Record>, now: Instant) {
        self.answered();
        self.must_look = false;
        if let Some(claim) = self.claim() {
            // A lease that somebody deleted is made again.
            let is_kept = record
                .as_ref()
                .is_none_or(|record| self.is_ours(record) && record.generation == claim.generation);
            if !is_kept {
                let holder = record.as_ref().and_then(|record| record.holder.clone());
                self.lose(Loss::Superseded(holder));
            }
        }
        self.see(record, now);
    }

    /// A write was answered.
    pub fn wrote(&mut self, answer: Written, now: Instant) {
        let request = self.answered();
        let record = match answer {
            Written::Conflict => {
                self.must_look = true;
                return;
            }
            Written::Done(record) => record,
        };
        self.must_look = false;
        self.see(Some(record), now);
        let Some((request, sent)) = request else { return };
        let valid_until = sent + self.timing.renew_deadline;
        let renew_at = sent + self.timing.retry_period;
        match (request, self.role) {
            (Request::Take(generation), Role::StandBy) if now < valid_until => {
                let claim = Claim {
                    generation,
                    valid_until,
                };
                self.role = Role::Leader { claim, renew_at };
            }
            // One that is answered after the claim has ended does not bring it back: the work has been told to end.
            (Request::Renew, Role::Leader { claim, .. }) => {
                let claim = Claim { valid_until, ..claim };
                self.role = Role::Leader { claim, renew_at };
            }
            (Request::Release, _) => self.role = Role::Resigned,
            _ => {}
        }
    }

    /// A request was not answered, or with something that tells nothing. It may have had its effect all the same.
    pub fn failed(&mut self, now: Instant) {
        let request = self.answered();
        self.must_look = true;
        match self.role {
            // Others will find out by waiting.
            Role::Resigning if !matches!(request, Some((Request::Take(_) | Request::Renew, _))) => {
                self.role = Role::Resigned;
            }
            // It may hold the lease without knowing.
            Role::Resigning => {}
            Role::Leader { .. } => self.retry_at = Some(now + self.timing.retry_period),
            _ => self.retry_at = Some(now + self.contenders_pause()),
        }
    }

    /// The lease has changed, as a watch tells: maybe late, maybe out of turn, maybe never.
    pub fn changed(&mut self, record: Option<Record>, now: Instant) {
        // The holder's own writes tell it more. But a lease of somebody else, or none, calls for a look.
        if let Role::Leader { .. } = self.role {
            let is_ours = record.as_ref().is_some_and(|record| self.is_ours(record));
            self.must_look |= !is_ours;
        } else {
            self.see(record, now);
        }
    }

    /// The leader's work has ended after the claim was lost. It may compete again.
    pub fn work_ended(&mut self) {
        if self.role == Role::Ending {
            self.role = Role::StandBy;
        }
    }

    /// Ends its part: the claim is over, and the lease is given back. The work must have ended.
    pub fn resign(&mut self) {
        self.retry_at = None;
        if self.role != Role::Resigned {
            self.role = Role::Resigning;
        }
    }

    fn send(&mut self, request: Request, step: Step, now: Instant) -> Step {
        self.request = Some((request, now));
        step
    }

    fn answered(&mut self) -> Option<(Request, Instant)> {
        self.retry_at = None;
        self.request.take()
    }

    fn wait(&self, until: Instant) -> Step {
        Step::Wait(self.claim().map_or(until, |claim| until.min(claim.valid_until)))
    }

    fn is_ours(&self, record: &Record) -> bool {
        record.holder.as_ref() == Some(&self.identity)
    }

    fn see(&mut self, record: Option<Record>, now: Instant) {
        let free_at = match (&record, &self.seen) {
            // Seen again, it has not changed.
            (
                Some(new),
                Some(Seen {
                    record: Some(old),
                    free_at,
                }),
            ) if new.version == old.version => *free_at,
            (Some(new), _) if new.holder.is_none() => now,
            (Some(new), _) => now + new.duration.unwrap_or(self.timing.lease_duration),
            // Whoever held it does not know yet that it is gone.
            (None, Some(seen)) => seen.free_at,
            (None, None) => now,
        };
        self.highest = self.highest.max(record.as_ref().map(|record| record.generation));
        self.seen = Some(Seen { record, free_at });
    }

    fn lose(&mut self, loss: Loss) {
        self.role = Role::Ending;
        self.loss = Some(loss);
    }

    /// Up to a fifth longer than the retry period, as client-go's, so that contenders that failed together do not come back
    /// together. Each has its own.
    fn contenders_pause(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.identity.hash(&mut hasher);
        let part = u32::from(hasher.finish().to_le_bytes()[0]);
        let period = self.timing.retry_period;
        period + period * part / (255 * 5)
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
