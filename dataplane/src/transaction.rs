//! The way from one table to another, as a value.

use std::collections::BTreeMap;
use std::fmt;

use crate::program;
use crate::table::{
    Chain, Datum, Hook, Name, Rule, Set, SetSpec, TABLE, Table, Value, datum_text, element_text, range_text,
};

/// Changes that the kernel takes all at once or not at all.
///
/// They are carried out in the order of the fields, and within a [`SetChange`] deletions come first. That order is always
/// possible: what rules and elements refer to exists before them, and goes after them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// Delete the table with all that is in it, if it exists, and begin with an empty one.
    pub starts_over: bool,
    /// New sets and maps.
    pub add_sets: Vec<(Name, SetSpec)>,
    /// New chains.
    pub add_chains: Vec<(Name, Option<Hook>)>,
    /// Elements to delete and to add, by set. An element whose value changes is deleted and added.
    pub elements: BTreeMap<Name, SetChange>,
    /// Chains whose rules are replaced by these: they are flushed if they are not new. Added after the elements.
    pub rules: BTreeMap<Name, Vec<Rule>>,
    /// Chains to delete; their rules are gone with them.
    pub delete_chains: Vec<Name>,
    /// Sets to delete; their elements are gone with them.
    pub delete_sets: Vec<Name>,
}

/// Changes to the elements of one set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetChange {
    /// Keys to delete.
    pub delete: Vec<Datum>,
    /// Ranges to delete, by first and last key.
    pub delete_ranges: Vec<(Datum, Datum)>,
    /// Keys to add.
    pub add: Vec<(Datum, Value)>,
    /// Ranges to add.
    pub add_ranges: Vec<(Datum, Datum)>,
}

impl SetChange {
    /// Whether it changes nothing.
    pub const fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.delete_ranges.is_empty() && self.add.is_empty() && self.add_ranges.is_empty()
    }
}

impl Transaction {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        !self.starts_over
            && self.add_sets.is_empty()
            && self.add_chains.is_empty()
            && self.elements.values().all(SetChange::is_empty)
            && self.rules.is_empty()
            && self.delete_chains.is_empty()
            && self.delete_sets.is_empty()
    }

    /// How many elements it adds and how many it deletes.
    pub fn element_counts(&self) -> (usize, usize) {
        let added = self
            .elements
            .values()
            .map(|change| change.add.len() + change.add_ranges.len())
            .sum();
        let deleted = self
            .elements
            .values()
            .map(|change| change.delete.len() + change.delete_ranges.len())
            .sum();
        (added, deleted)
    }

    /// The transaction that makes `table` out of nothing, or out of any table that is there.
    pub fn load(table: &Table) -> Self {
        Self {
            starts_over: true,
            ..diff(&Table::default(), table)
        }
    }
}

/// The transaction that turns `old` into `new`: empty when they agree.
///
/// Learned elements belong to the kernel and are left alone. A set or a base chain cannot change its form, so a table with
/// such a difference is started over, in the same one transaction.
pub fn diff(old: &Table, new: &Table) -> Transaction {
    let set_changes_form = new
        .sets
        .iter()
        .any(|(name, set)| old.sets.get(name).is_some_and(|o| o.spec != set.spec));
    let hook_changes = new
        .chains
        .iter()
        .any(|(name, chain)| old.chains.get(name).is_some_and(|o| o.hook != chain.hook));
    if set_changes_form || hook_changes {
        return Transaction::load(new);
    }
    let mut transaction = Transaction::default();
    for (name, set) in &new.sets {
        let old_set = old.sets.get(name);
        if old_set.is_none() {
            transaction.add_sets.push((Name::clone(name), set.spec));
        }
        let change = diff_set(old_set, set);
        if !change.is_empty() {
            transaction.elements.insert(Name::clone(name), change);
        }
    }
    for (name, chain) in &new.chains {
        let old_chain = old.chains.get(name);
        if old_chain.is_none() {
            transaction.add_chains.push((Name::clone(name), chain.hook));
        }
        if old_chain.map_or(&[][..], |chain| &chain.rules) != chain.rules {
            transaction.rules.insert(Name::clone(name), chain.rules.clone());
        }
    }
    transaction.delete_chains = old
        .chains
        .keys()
        .filter(|name| !new.chains.contains_key(*name))
        .cloned()
        .collect();
    transaction.delete_sets = old
        .sets
        .keys()
        .filter(|name| !new.sets.contains_key(*name))
        .cloned()
        .collect();
    transaction
}

fn diff_set(old: Option<&Set>, new: &Set) -> SetChange {
    let mut change = SetChange::default();
    if let Some(old) = old {
        change.delete = old
            .elements
            .iter()
            .filter(|(key, value)| new.elements.get(key) != Some(value))
            .map(|(key, _)| *key)
            .collect();
        change.delete_ranges = old.ranges.difference(&new.ranges).copied().collect();
    }
    let is_old = |key: &Datum, value: &Value| old.is_some_and(|old| old.elements.get(key) == Some(value));
    let added = new.elements.iter().filter(|(key, value)| !is_old(key, value));
    change.add = added.map(|(key, value)| (*key, value.clone())).collect();
    change.add_ranges = match old {
        Some(old) => new.ranges.difference(&old.ranges).copied().collect(),
        None => new.ranges.iter().copied().collect(),
    };
    change
}

impl Table {
    /// Carries a transaction out on the value, as the kernel does on what is loaded.
    pub fn apply(&mut self, transaction: &Transaction) {
        if transaction.starts_over {
            *self = Self::default();
        }
        for (name, spec) in &transaction.add_sets {
            self.sets.insert(Name::clone(name), Set::new(*spec));
        }
        for (name, hook) in &transaction.add_chains {
            self.chains.insert(
                Name::clone(name),
                Chain {
                    hook: *hook,
                    rules: Vec::new(),
                },
            );
        }
        for (name, change) in &transaction.elements {
            let Some(set) = self.sets.get_mut(name) else { continue };
            for key in &change.delete {
                set.elements.remove(key);
            }
            for range in &change.delete_ranges {
                set.ranges.remove(range);
            }
            set.elements.extend(change.add.iter().cloned());
            set.ranges.extend(change.add_ranges.iter().copied());
        }
        for (name, rules) in &transaction.rules {
            if let Some(chain) = self.chains.get_mut(name) {
                chain.rules.clone_from(rules);
            }
        }
        for name in &transaction.delete_chains {
            self.chains.remove(name);
        }
        for name in &transaction.delete_sets {
            self.sets.remove(name);
        }
    }
}

impl fmt::Display for Transaction {
    /// One line per step, `-` for what goes and `+` for what comes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.starts_over {
            writeln!(f, "- table inet {TABLE}\n+ table inet {TABLE}")?;
        }
        for (name, spec) in &self.add_sets {
            writeln!(f, "+ {} {name} {{ {spec} }}", spec.keyword())?;
        }
        for (name, hook) in &self.add_chains {
            match hook {
                Some(hook) => writeln!(f, "+ chain {name} {{ {hook} }}")?,
                None => writeln!(f, "+ chain {name}")?,
            }
        }
        for (name, change) in &self.elements {
            change.write(f, name)?;
        }
        for (name, rules) in &self.rules {
            if !self.add_chains.iter().any(|(added, _)| added == name) {
                writeln!(f, "- chain {name}: every rule")?;
            }
            rules
                .iter()
                .try_for_each(|rule| writeln!(f, "+ chain {name}: {rule}"))?;
        }
        self.delete_chains
            .iter()
            .try_for_each(|name| writeln!(f, "- chain {name}"))?;
        self.delete_sets.iter().try_for_each(|name| writeln!(f, "- set {name}"))
    }
}

impl SetChange {
    fn write(&self, f: &mut fmt::Formatter<'_>, set: &Name) -> fmt::Result {
        let Some(spec) = program::set_spec(set) else {
            return Ok(());
        };
        self.delete
            .iter()
            .try_for_each(|key| writeln!(f, "- {set}: {}", datum_text(spec.key, key)))?;
        self.delete_ranges
            .iter()
            .try_for_each(|range| writeln!(f, "- {set}: {}", range_text(&spec, range)))?;
        self.add
            .iter()
            .try_for_each(|(key, value)| writeln!(f, "+ {set}: {}", element_text(&spec, key, value)))?;
        self.add_ranges
            .iter()
            .try_for_each(|range| writeln!(f, "+ {set}: {}", range_text(&spec, range)))
    }
}
