//! What metrics show of the steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fairlead_aws::plan::Step;

/// Counts of all drivers of this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<Mutex<Counts>>);

/// The counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of AWS' API, by operation and what became of each.
    pub calls: BTreeMap<(String, &'static str), u64>,
    /// How long calls were held back, so that AWS would not be called too often.
    pub held: Duration,
    /// Steps that were done, by kind.
    pub steps: BTreeMap<String, u64>,
    /// Steps and looks that failed, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Looks at everything.
    pub looks: u64,
    /// Services that are gone and had something, by provider.
    pub orphans: BTreeMap<String, u64>,
}

impl Counters {
    /// The counts now.
    pub fn read(&self) -> Counts {
        self.change(|counts| counts.clone())
    }

    /// Counts something.
    pub fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        // Each change is whole before anything can panic.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn done(&self, step: &Step) {
        self.change(|counts| *counts.steps.entry(kind(step)).or_default() += 1);
    }

    pub(super) fn failed(&self, reason: &'static str) {
        self.change(|counts| *counts.failures.entry(reason).or_default() += 1);
    }
}

/// The step's kind, which is the name of a call.
fn kind(step: &Step) -> String {
    let shown = format!("{step:?}");
    shown.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_by_kind() {
        let counters = Counters::default();
        for _ in 0..2 {
            counters.done(&Step::DeleteLoadBalancer {
                arn: "arn:1".to_owned(),
            });
        }
        assert_eq!(counters.read().steps, [("DeleteLoadBalancer".to_owned(), 2)].into());
    }
}
