//! What is known of one peer: whether it is heard, what it hears, and its table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::config::GroupId;
use super::rank::NodeId;
use super::wire::{Entry, Heartbeat};

/// A peer.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each states one fact, in every combination"
)]
pub(super) struct Peer {
    pub(super) incarnation: u64,
    /// The newest sequence and, as bits, which of the 64 before it were taken.
    pub(super) newest: u64,
    taken: u64,
    newest_beat: u64,
    pub(super) last_heard: Option<Instant>,
    /// It has answered something that this agent sent since it started, woke or was isolated.
    pub(super) fresh: bool,
    /// As of the last judgement.
    pub(super) heard: bool,
    pub(super) hears: Vec<NodeId>,
    pub(super) joined: bool,
    pub(super) entitled: bool,
    pub(super) revision: u64,
    pub(super) table: BTreeMap<GroupId, Entry>,
    /// Up to where the table is complete.
    pub(super) has_of_it: u64,
    /// Parts beyond that: after which revision, and up to which.
    ahead: BTreeMap<u64, u64>,
    /// Up to where the peer has this agent's table, and up to where it was sent.
    pub(super) has_of_me: u64,
    pub(super) sent: u64,
    pub(super) sent_at: Option<Instant>,
    pub(super) probed_at: Option<Instant>,
    pub(super) owed: bool,
}

impl Peer {
    /// Whether a datagram is new; notes it. A new incarnation forgets the old one.
    pub(super) fn admits(&mut self, incarnation: u64, sequence: u64) -> bool {
        if incarnation > self.incarnation {
            *self = Self {
                incarnation,
                heard: self.heard,
                owed: true,
                ..Self::default()
            };
        } else if incarnation < self.incarnation {
            return false;
        }
        if sequence > self.newest {
            let by = sequence - self.newest;
            self.taken = if by < 64 { self.taken << by } else { 0 } | 1;
            self.newest = sequence;
            return true;
        }
        let bit = self.newest - sequence;
        if bit >= 64 || self.taken & (1 << bit) != 0 {
            return false;
        }
        self.taken |= 1 << bit;
        true
    }

    /// Takes a heartbeat; says whether anything that decisions rest on has changed.
    pub(super) fn beat(&mut self, sequence: u64, beat: Heartbeat, me: (u64, u64)) -> bool {
        if sequence <= self.newest_beat {
            return false;
        }
        self.newest_beat = sequence;
        let (incarnation, since) = me;
        let mine = beat.echo.0 == incarnation;
        let fresh = self.fresh || (mine && beat.echo.1 > since);
        self.has_of_me = if mine { beat.has } else { 0 };
        self.sent = self.sent.max(self.has_of_me);
        let changed = fresh != self.fresh
            || beat.joined != self.joined
            || beat.entitled != self.entitled
            || beat.hears != self.hears;
        self.fresh = fresh;
        self.joined = beat.joined;
        self.entitled = beat.entitled;
        self.hears = beat.hears;
        self.revision = beat.revision;
        changed
    }

    /// Takes a part of the peer's table that follows revision `after`.
    pub(super) fn learn(&mut self, after: u64, entries: &[Entry]) {
        for entry in entries {
            let held = self.table.get(&entry.group);
            if held.is_none_or(|held| held.revision < entry.revision) {
                self.table.insert(entry.group, *entry);
            }
        }
        let Some(last) = entries.last() else { return };
        // Parts overtake each other; what is lost is sent again, so forgetting one is no harm. The one
        // that follows is always taken, or parts that nothing leads up to would keep it out for ever.
        if after <= self.has_of_it || self.ahead.len() < 256 {
            self.ahead.insert(after, last.revision);
        }
        while let Some(part) = self.ahead.first_entry().filter(|part| *part.key() <= self.has_of_it) {
            self.has_of_it = self.has_of_it.max(part.remove());
        }
    }

    /// Whether it may claim what it is eligible for.
    pub(super) fn is_candidate(&self) -> bool {
        self.heard && self.joined && self.entitled
    }

    /// Whether its table is as new as its last heartbeat.
    pub(super) fn in_sync(&self) -> bool {
        self.has_of_it >= self.revision
    }

    /// How long it has been silent; `None` if it was never heard.
    pub(super) fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.last_heard.map(|heard| now.saturating_duration_since(heard))
    }
}
