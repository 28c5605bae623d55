//! How often things are said, and what holds them back.

use std::time::{Duration, Instant};

/// How often and how fast frames are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How often a new address is announced.
    pub announcements: u8,
    /// The time between two of them. Neighbours may ignore a second one within a second.
    pub spacing: Duration,
    /// How often an address is announced later, for caches that never ask again. `None`: not at all.
    pub refresh: Option<Duration>,
    /// Frames on one link in a second.
    pub frames_per_second: u32,
    /// Frames on one link at once.
    pub frames_at_once: u32,
    /// How often it is asked whether an address is free.
    pub probes: u8,
    /// The time between two of those questions, and for the last answer.
    pub probe_spacing: Duration,
    /// The least time between two announcements against somebody who claims the address (RFC 5227, section 2.4).
    pub defence: Duration,
    /// Echo requests that are answered on one link in a second.
    pub echoes_per_second: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            announcements: 5,
            spacing: Duration::from_millis(1100),
            refresh: Some(Duration::from_mins(1)),
            frames_per_second: 4000,
            frames_at_once: 256,
            probes: 3,
            probe_spacing: Duration::from_millis(200),
            defence: Duration::from_secs(10),
            echoes_per_second: 1000,
        }
    }
}

/// A limit on how many of something happen in a second, and at once.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    interval: Duration,
    slack: Duration,
    /// When everything that happened would have, one interval after the other.
    paid_until: Option<Instant>,
}

impl Limit {
    pub(super) fn new(per_second: u32, at_once: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            slack: interval * at_once.max(1).saturating_sub(1),
            paid_until: None,
        }
    }

    /// Whether one more may happen now. If so, it counts.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        if self.wait(now) > Duration::ZERO {
            return false;
        }
        self.charge(now);
        true
    }

    /// Counts one more, admitted or not.
    pub(super) fn charge(&mut self, now: Instant) {
        let paid = self.paid_until.map_or(now, |paid| paid.max(now));
        self.paid_until = Some(paid + self.interval);
    }

    /// How long until one more may happen.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let ahead = self
            .paid_until
            .map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        ahead.saturating_sub(self.slack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_admits_so_many_at_once_and_so_many_in_a_second() {
        let start = Instant::now();
        let mut limit = Limit::new(100, 10);
        let at_once = (0..50).filter(|_| limit.admits(start)).count();
        assert_eq!(at_once, 10);
        assert_eq!(limit.wait(start), Duration::from_millis(10));
        let in_a_second = (1..=1000)
            .filter(|&millisecond| limit.admits(start + Duration::from_millis(millisecond)))
            .count();
        assert_eq!(in_a_second, 100);
    }
}
