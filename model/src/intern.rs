//! One copy of every string that many objects repeat.
//!
//! A cluster with 250,000 endpoints names the same few thousand nodes and the same few zones in each of them.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Below this many entries nothing is thrown out.
const SMALLEST_LIMIT: usize = 1024;

static TEXTS: LazyLock<Mutex<Interner<str>>> = LazyLock::new(Mutex::default);
static LISTS: LazyLock<Mutex<Interner<[Arc<str>]>>> = LazyLock::new(Mutex::default);

/// The shared copy of a string.
pub(crate) fn text(text: &str) -> Arc<str> {
    if text.is_empty() {
        return Arc::default();
    }
    // A panic cannot leave the set half changed, so a poisoned lock is as good as any.
    TEXTS.lock().unwrap_or_else(PoisonError::into_inner).shared(text)
}

/// The shared copy of a list of strings.
pub(crate) fn list<'a>(texts: impl Iterator<Item = &'a str>) -> Arc<[Arc<str>]> {
    let texts: Vec<Arc<str>> = texts.map(text).collect();
    if texts.is_empty() {
        return Arc::default();
    }
    LISTS.lock().unwrap_or_else(PoisonError::into_inner).shared(&texts)
}

/// The values seen so far. Those that nobody else holds any more go when the set has doubled since it was last swept,
/// so it never holds more than twice what is in use, for a constant cost per value.
struct Interner<T: ?Sized> {
    values: HashSet<Arc<T>>,
    limit: usize,
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: HashSet::new(),
            limit: SMALLEST_LIMIT,
        }
    }
}

impl<T: ?Sized + Eq + Hash> Interner<T> {
    fn shared<'a>(&mut self, value: &'a T) -> Arc<T>
    where
        Arc<T>: From<&'a T>,
    {
        if let Some(shared) = self.values.get(value) {
            return Arc::clone(shared);
        }
        if self.values.len() >= self.limit {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.limit = SMALLEST_LIMIT.max(2 * self.values.len());
        }
        let shared = Arc::from(value);
        self.values.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_one_allocation() {
        assert!(Arc::ptr_eq(&text("node-1"), &text("node-1")));
        assert!(!Arc::ptr_eq(&text("node-1"), &text("node-2")));
        assert!(Arc::ptr_eq(
            &list(["a", "b"].into_iter()),
            &list(["a", "b"].into_iter())
        ));
        assert_eq!(*list(["a", "b"].into_iter()), [Arc::from("a"), Arc::from("b")]);
    }

    #[test]
    fn values_that_nobody_holds_are_thrown_out_and_held_ones_stay() {
        let mut interner = Interner::<str>::default();
        let held = interner.shared("held");
        for i in 0..10 * SMALLEST_LIMIT {
            interner.shared(&format!("passing-{i}"));
        }
        assert!(interner.values.len() <= SMALLEST_LIMIT);
        assert!(Arc::ptr_eq(&held, &interner.shared("held")));
    }

    #[test]
    fn the_limit_grows_with_what_is_held() {
        let mut interner = Interner::<str>::default();
        let held: Vec<_> = (0..3 * SMALLEST_LIMIT)
            .map(|i| interner.shared(&i.to_string()))
            .collect();
        assert_eq!(interner.values.len(), held.len());
        assert!(interner.limit >= held.len());
    }
}
