//! The way from one table to another, as a value.

use std::collections::BTreeMap;

use crate::table::{Datum, Hook, Name, Rule, SetSpec, Value};

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
