//! Sets of numbers with few gaps.

use std::collections::BTreeMap;

/// Numbers, as intervals that do not touch: the end of a run is found without a walk.
#[derive(Debug, Clone, Default)]
pub(super) struct Intervals(BTreeMap<u128, u128>);

impl Intervals {
    /// True if there is no number.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last number of the interval that a number is in.
    pub(super) fn end_of(&self, at: u128) -> Option<u128> {
        let (_, &last) = self.0.range(..=at).next_back()?;
        (at <= last).then_some(last)
    }

    pub(super) fn insert(&mut self, at: u128) {
        if self.end_of(at).is_some() {
            return;
        }
        let (mut first, mut last) = (at, at);
        if let Some((&before, &end)) = self.0.range(..at).next_back()
            && end.checked_add(1) == Some(at)
        {
            first = before;
        }
        if let Some(next) = at.checked_add(1)
            && let Some(end) = self.0.remove(&next)
        {
            last = end;
        }
        self.0.insert(first, last);
    }

    pub(super) fn remove(&mut self, at: u128) {
        let Some((&first, &last)) = self.0.range(..=at).next_back().filter(|(_, last)| at <= **last) else {
            return;
        };
        self.0.remove(&first);
        if first < at {
            self.0.insert(first, at - 1);
        }
        if at < last {
            self.0.insert(at + 1, last);
        }
    }

    /// How many numbers there are from the first to the last of these.
    pub(super) fn count(&self, first: u128, last: u128) -> u128 {
        let begun_before = self.end_of(first).map(|end| end.min(last) - first + 1);
        let inside = first
            .checked_add(1)
            .into_iter()
            .filter(|next| *next <= last)
            .flat_map(|next| {
                self.0
                    .range(next..=last)
                    .map(|(first, end)| (*end).min(last) - first + 1)
            });
        begun_before.unwrap_or(0) + inside.sum::<u128>()
    }

    /// How many intervals there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
