//! The rule set as a value: one nftables table with its chains, sets and maps.
//!
//! The statements are a closed list of forms that the kernel takes, that plain `nft list ruleset` prints again, and that
//! [`crate::evaluate`] can walk.

mod check;
mod datum;
mod statement;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use datum::{Datum, DatumBuilder, FieldType, FieldValue};
pub use statement::{Field, InterfacePattern, Rule, Statement, Verdict};
pub(crate) use text::{datum_text, element_text, range_text};

/// Name of a chain, a set or a map.
pub type Name = Arc<str>;

/// The name of our table, in family `inet`.
pub const TABLE: &str = "fairlead";

/// A table of family `inet`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Its chains.
    pub chains: BTreeMap<Name, Chain>,
    /// Its sets and maps.
    pub sets: BTreeMap<Name, Set>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// Where it hooks in, for a base chain. Its policy is always accept.
    pub hook: Option<Hook>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// Where a base chain hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hook {
    /// Filter or NAT.
    pub kind: ChainKind,
    /// The hook.
    pub point: HookPoint,
    /// The priority; lower runs earlier. DNAT happens at -100, SNAT at 100.
    pub priority: i32,
}

/// The type of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainKind {
    /// `filter`
    Filter,
    /// `nat`: sees only the first packet of a connection.
    Nat,
}

/// A netfilter hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookPoint {
    /// A packet has arrived.
    Prerouting,
    /// It is for this host.
    Input,
    /// It is for another host.
    Forward,
    /// This host has made it.
    Output,
    /// It is about to leave.
    Postrouting,
}

/// What makes a set what it is. None of it can change while the set exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetSpec {
    /// The fields of a key. One field: a plain key; several: a concatenation.
    pub key: &'static [FieldType],
    /// What a key maps to.
    pub data: SetData,
    /// What kind of keys it holds.
    pub holds: Holds,
}

/// What the keys of a set map to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetData {
    /// Nothing: a set.
    Nothing,
    /// Verdicts: a verdict map.
    Verdict,
    /// A concatenation of these fields.
    Fields(&'static [FieldType]),
}

/// What kind of keys a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holds {
    /// Exact keys.
    Keys,
    /// Ranges of keys, both ends included (`flags interval`); such a set maps to nothing. In a concatenation each field
    /// has its range.
    Ranges,
    /// Keys that packets add and that time out (`flags dynamic, timeout`, `size 65535`). Their elements belong to the
    /// kernel: they are never part of a [`Table`], and no diff touches them.
    Learned,
}

/// A set or a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its fixed properties.
    pub spec: SetSpec,
    /// Its elements if it holds keys.
    pub elements: HashMap<Datum, Value>,
    /// Its elements if it holds ranges: first and last key.
    pub ranges: BTreeSet<(Datum, Datum)>,
}

impl Set {
    /// An empty set.
    pub fn new(spec: SetSpec) -> Self {
        Self {
            spec,
            elements: HashMap::new(),
            ranges: BTreeSet::new(),
        }
    }
}

/// What a key maps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: the element of a set.
    Nothing,
    /// A verdict.
    Verdict(Verdict),
    /// A concatenation.
    Data(Datum),
}
