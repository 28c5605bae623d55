//! What a source cannot use, said once and kept for whoever asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

/// What a source cannot use at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// Place (a file, or kind and name of an object) to what is wrong there. An entry goes when its place is good again
    /// or gone.
    pub current: BTreeMap<Arc<str>, Arc<str>>,
    /// How many there have been since the start, without repetitions.
    pub total: u64,
    /// What does not come in at all, by kind, and why: the API server is away, or refuses to give it.
    pub withheld: BTreeMap<&'static str, Arc<str>>,
}

impl Problems {
    /// Why not everything comes in, in one line; nothing if everything does.
    pub fn trouble(&self) -> Option<String> {
        let reasons: BTreeSet<&str> = self.withheld.values().map(|reason| &**reason).collect();
        (!reasons.is_empty()).then(|| reasons.into_iter().collect::<Vec<_>>().join("; "))
    }
}

/// The source's side of [`Problems`]. Each problem is logged when it appears or changes, and not again.
#[derive(Debug)]
pub(super) struct ProblemBook {
    sender: watch::Sender<Problems>,
}

impl ProblemBook {
    pub(super) fn new() -> (Self, watch::Receiver<Problems>) {
        let (sender, receiver) = watch::channel(Problems::default());
        (Self { sender }, receiver)
    }

    /// Notes what is wrong at a place.
    pub(super) fn report(&self, place: &str, problem: &str) {
        self.sender.send_if_modified(|problems| {
            if problems.current.get(place).is_some_and(|known| **known == *problem) {
                return false;
            }
            tracing::error!(place, problem, "cannot use this; its last good state stays in force");
            problems.current.insert(place.into(), problem.into());
            problems.total += 1;
            true
        });
    }

    /// Notes that a place is good or gone.
    pub(super) fn clear(&self, place: &str) {
        self.sender.send_if_modified(|problems| {
            let was_known = problems.current.remove(place).is_some();
            if was_known {
                tracing::info!(place, "the problem is gone");
            }
            was_known
        });
    }

    /// Notes that objects of a kind do not come in, and why. The source logs that itself.
    pub(super) fn withheld(&self, kind: &'static str, reason: &str) {
        self.sender.send_if_modified(|problems| {
            let is_new = problems.withheld.get(kind).is_none_or(|known| **known != *reason);
            if is_new {
                problems.withheld.insert(kind, reason.into());
            }
            is_new
        });
    }

    /// Notes that objects of a kind come in.
    pub(super) fn delivered(&self, kind: &'static str) {
        self.sender
            .send_if_modified(|problems| problems.withheld.remove(kind).is_some());
    }

    /// Notes everything that is wrong; what is not named is good or gone.
    pub(super) fn replace(&self, all: &BTreeMap<String, String>) {
        let gone: Vec<_> = self
            .sender
            .borrow()
            .current
            .keys()
            .filter(|place| !all.contains_key(&***place))
            .cloned()
            .collect();
        for place in gone {
            self.clear(&place);
        }
        for (place, problem) in all {
            self.report(place, problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_counts_once_until_it_changes_and_goes_when_it_is_cleared() {
        let (book, receiver) = ProblemBook::new();
        book.report("Service default/web", "spec.ports[0].port: 0");
        book.report("Service default/web", "spec.ports[0].port: 0");
        assert_eq!(receiver.borrow().total, 1);
        book.report("Service default/web", "spec.ports[0].port: 70000");
        assert_eq!((receiver.borrow().total, receiver.borrow().current.len()), (2, 1));
        book.clear("Service default/web");
        assert_eq!((receiver.borrow().total, receiver.borrow().current.len()), (2, 0));
    }

    #[test]
    fn replacing_drops_what_is_not_named() {
        let (book, receiver) = ProblemBook::new();
        book.report("a.yaml", "broken");
        book.report("b.yaml", "broken");
        book.replace(&BTreeMap::from([("b.yaml".to_owned(), "broken".to_owned())]));
        assert_eq!(
            receiver
                .borrow()
                .current
                .keys()
                .map(|place| &**place)
                .collect::<Vec<_>>(),
            ["b.yaml"]
        );
        assert_eq!(receiver.borrow().total, 2);
    }
}
