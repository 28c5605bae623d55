//! A table that remembers what has changed since it was last committed.

use std::collections::{HashMap, HashSet};

use crate::program;
use crate::table::{Chain, Datum, Name, Set, Table, Value};
use crate::transaction::{SetChange, Transaction};

/// The table that should be loaded, with the difference to the one that is.
///
/// A change back to what is loaded is no change, so a storm that ends where it began costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    table: Table,
    /// False until the table has been committed as a whole: before that there is nothing to compare with.
    is_tracking: bool,
    /// Of each element touched since the last commit: what is loaded.
    elements: HashMap<Name, HashMap<Datum, Option<Value>>>,
    ranges: HashMap<Name, HashMap<(Datum, Datum), bool>>,
    chains: HashMap<Name, Option<Chain>>,
    /// Sets that are loaded or not, where that was touched.
    sets: HashMap<Name, bool>,
}

impl Draft {
    /// A draft of a table of which nothing is loaded.
    pub(crate) fn new(table: Table) -> Self {
        Self {
            table,
            ..Self::default()
        }
    }

    pub(crate) const fn table(&self) -> &Table {
        &self.table
    }

    fn set_mut(&mut self, name: &Name) -> &mut Set {
        self.table
            .sets
            .get_mut(name)
            .expect("elements are only put into sets of the draft")
    }

    /// Makes `key` map to `value` in the set, or removes it.
    pub(crate) fn put(&mut self, name: &Name, key: Datum, value: Option<Value>) {
        let set = self.set_mut(name);
        let old = match value {
            Some(ref value) if set.elements.get(&key) == Some(value) => return,
            Some(value) => set.elements.insert(key, value),
            None => match set.elements.remove(&key) {
                Some(old) => Some(old),
                None => return,
            },
        };
        if self.is_tracking {
            touched(&mut self.elements, name).entry(key).or_insert(old);
        }
    }

    /// Adds or removes a range.
    pub(crate) fn put_range(&mut self, name: &Name, range: (Datum, Datum), is_member: bool) {
        let set = self.set_mut(name);
        let changes = if is_member {
            set.ranges.insert(range)
        } else {
            set.ranges.remove(&range)
        };
        if changes && self.is_tracking {
            touched(&mut self.ranges, name).entry(range).or_insert(!is_member);
        }
    }

    /// Makes the chain this one, or removes it.
    pub(crate) fn put_chain(&mut self, name: &Name, chain: Option<Chain>) {
        if self.table.chains.get(name) == chain.as_ref() {
            return;
        }
        let old = match chain {
            Some(chain) => self.table.chains.insert(Name::clone(name), chain),
            None => self.table.chains.remove(name),
        };
        if self.is_tracking {
            self.chains.entry(Name::clone(name)).or_insert(old);
        }
    }

    /// Creates the set, whose form follows from its name, or removes it with all its elements.
    pub(crate) fn put_set(&mut self, name: &Name, exists: bool) {
        if self.table.sets.contains_key(name) == exists {
            return;
        }
        if self.is_tracking {
            self.sets.entry(Name::clone(name)).or_insert(!exists);
        }
        if exists {
            let spec = program::set_spec(name).expect("every set of the draft has a form");
            self.table.sets.insert(Name::clone(name), Set::new(spec));
        } else if let Some(set) = self.table.sets.remove(name)
            && self.is_tracking
        {
            for (key, value) in set.elements {
                touched(&mut self.elements, name).entry(key).or_insert(Some(value));
            }
        }
    }

    /// Takes the table as it is for what is loaded, and tracks changes from here.
    pub(crate) fn begin(&mut self) {
        self.is_tracking = true;
        self.elements.clear();
        self.ranges.clear();
        self.chains.clear();
        self.sets.clear();
    }

    /// The changes since the last call, as a transaction. From now on they count as loaded.
    pub(crate) fn take_transaction(&mut self) -> Transaction {
        let mut transaction = Transaction::default();
        let table = &self.table;
        let mut replaced = HashSet::new();
        for (name, was_loaded) in self.sets.drain() {
            match (was_loaded, table.sets.get(&name)) {
                (false, Some(set)) => transaction.add_sets.push((name, set.spec)),
                (true, None) => {
                    replaced.insert(Name::clone(&name));
                    transaction.delete_sets.push(name);
                }
                _ => {}
            }
        }
        for (name, keys) in self.elements.drain() {
            if replaced.contains(&name) {
                continue; // they go with their set
            }
            let mut change = SetChange::default();
            let set = table.sets.get(&name);
            for (key, loaded) in keys {
                let wanted = set.and_then(|set| set.elements.get(&key));
                if loaded.as_ref() == wanted {
                    continue;
                }
                if loaded.is_some() {
                    change.delete.push(key);
                }
                if let Some(wanted) = wanted {
                    change.add.push((key, wanted.clone()));
                }
            }
            if !change.is_empty() {
                transaction.elements.insert(name, change);
            }
        }
        for (name, ranges) in self.ranges.drain() {
            let set = table.sets.get(&name);
            let change = transaction.elements.entry(Name::clone(&name)).or_default();
            for (range, was_loaded) in ranges {
                match (was_loaded, set.is_some_and(|set| set.ranges.contains(&range))) {
                    (false, true) => change.add_ranges.push(range),
                    (true, false) => change.delete_ranges.push(range),
                    _ => {}
                }
            }
            if change.is_empty() {
                transaction.elements.remove(&name);
            }
        }
        for (name, loaded) in self.chains.drain() {
            match (loaded, table.chains.get(&name)) {
                (Some(_), None) => transaction.delete_chains.push(name),
                (loaded, Some(wanted)) => {
                    if loaded.is_none() {
                        transaction.add_chains.push((Name::clone(&name), wanted.hook));
                    }
                    if loaded.map_or_else(Vec::new, |chain| chain.rules) != wanted.rules {
                        transaction.rules.insert(name, wanted.rules.clone());
                    }
                }
                (None, None) => {}
            }
        }
        // A hash map has no order; what people read and what tests compare has one.
        for change in transaction.elements.values_mut() {
            change.delete.sort_unstable();
            change.delete_ranges.sort_unstable();
            change.add.sort_unstable_by_key(|(key, _)| *key);
            change.add_ranges.sort_unstable();
        }
        transaction.add_sets.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        transaction.delete_sets.sort_unstable();
        transaction.add_chains.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        transaction.delete_chains.sort_unstable();
        transaction
    }
}

/// The changes of one set, without a new name for each.
fn touched<'a, K, V>(changes: &'a mut HashMap<Name, HashMap<K, V>>, name: &Name) -> &'a mut HashMap<K, V> {
    if !changes.contains_key(name) {
        changes.insert(Name::clone(name), HashMap::new());
    }
    changes.get_mut(name).expect("it was inserted above")
}
