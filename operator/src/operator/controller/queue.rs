//! Which keys are to be looked at, and when: each at most once at a time, and later and later while it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// The waits after failures, as those of Kubernetes' service controller.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What came of looking at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it shall be.
    Done,
    /// Later, and later still if it fails again.
    Failed,
    /// After this time.
    After(Duration),
}

/// The keys to look at.
#[derive(Debug)]
pub struct Queue<K> {
    /// In the order in which they came.
    ready: Vec<K>,
    known: BTreeSet<K>,
    /// Under way; true if it must be looked at again afterwards.
    busy: BTreeMap<K, bool>,
    later: BTreeMap<K, Instant>,
    failures: BTreeMap<K, u32>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: Vec::new(),
            known: BTreeSet::new(),
            busy: BTreeMap::new(),
            later: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }
}

impl<K: Clone + Ord> Queue<K> {
    /// The key may have changed. One that waits after a failure is looked at at once: what has changed may be the cure.
    pub fn touch(&mut self, key: K) {
        if let Some(again) = self.busy.get_mut(&key) {
            *again = true;
            return;
        }
        self.later.remove(&key);
        if self.known.insert(key.clone()) {
            self.ready.push(key);
        }
    }

    /// Those that are to be looked at now, at most so many. Each must be told of with [`Self::finished`].
    pub fn take(&mut self, most: usize, now: Instant) -> Vec<K> {
        let due: Vec<_> = self
            .later
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.touch(key);
        }
        let count = most.min(self.ready.len());
        let taken: Vec<K> = self.ready.drain(..count).collect();
        for key in &taken {
            self.known.remove(key);
            self.busy.insert(key.clone(), false);
        }
        taken
    }

    /// A key was looked at.
    pub fn finished(&mut self, key: K, outcome: Outcome, now: Instant) {
        let must_again = self.busy.remove(&key).unwrap_or(false);
        match outcome {
            Outcome::Done => drop(self.failures.remove(&key)),
            Outcome::After(wait) => drop(self.later.insert(key.clone(), now + wait)),
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_insert(0);
                let wait = FIRST_WAIT.saturating_mul(1 << (*failures).min(16)).min(LONGEST_WAIT);
                *failures += 1;
                self.later.insert(key.clone(), now + wait);
            }
        }
        if must_again {
            self.touch(key);
        }
    }

    /// When something is due that is not ready now.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_that_changes_while_it_is_under_way_is_looked_at_again() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.touch("a");
        queue.touch("a");
        queue.touch("b");
        assert_eq!(queue.take(1, now), ["a"]);
        queue.touch("a");
        assert_eq!(queue.take(9, now), ["b"]);
        queue.finished("a", Outcome::Done, now);
        assert_eq!(queue.take(9, now), ["a"]);
        queue.finished("a", Outcome::Done, now);
        assert_eq!(queue.take(9, now), [""; 0]);
    }

    #[test]
    fn failures_wait_longer_and_longer_until_something_changes_or_it_works() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let mut at = now;
        queue.touch("a");
        let waits = [5, 10, 20, 40, 80, 160, 300, 300];
        for wait in waits {
            assert_eq!(queue.take(9, at), ["a"]);
            queue.finished("a", Outcome::Failed, at);
            assert_eq!(queue.next_due(), Some(at + SECOND * wait));
            assert_eq!(queue.take(9, at + SECOND * (wait - 1)), [""; 0]);
            at += SECOND * wait;
        }
        queue.take(9, at);
        queue.finished("a", Outcome::Failed, at);
        queue.touch("a");
        assert_eq!(queue.next_due(), None);
        assert_eq!(queue.take(9, at), ["a"]);
        queue.finished("a", Outcome::Done, at);
        queue.touch("a");
        queue.take(9, at);
        queue.finished("a", Outcome::Failed, at);
        assert_eq!(queue.next_due(), Some(at + SECOND * 5), "it has worked meanwhile");
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.touch(7);
        queue.take(1, now);
        queue.finished(7, Outcome::After(SECOND), now);
        assert_eq!(queue.take(1, now), [0; 0]);
        assert_eq!(queue.take(1, now + SECOND), [7]);
    }
}
