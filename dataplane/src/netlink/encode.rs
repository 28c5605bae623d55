//! Transactions to batches of messages.

mod batch;
mod expression;
mod links;

use std::collections::{HashMap, HashSet};

use super::attribute::Writer;
use super::error::NetlinkError;
use super::expression::{Expression, lower};
use super::uapi::{self, LIST_ELEMENT, netlink, nft};
use super::{NfFamily, form};
use crate::table::{ChainKind, Datum, Holds, Hook, HookPoint, Name, SetSpec, TABLE, Value, Verdict};
use crate::transaction::{SetChange, Transaction};

pub(super) use batch::{Batch, Encoded, Operation};
pub(super) use links::encode_links;

/// How the batch makes sure that there is a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// It is there.
    Nothing,
    /// Create it, or take it over from an owner that has gone.
    Create {
        /// The table's flags.
        flags: u32,
    },
    /// Delete it if it is there, and create it.
    Recreate {
        /// The new table's flags.
        flags: u32,
    },
}

/// Writes a transaction. `specs` says the form of the sets that are there before it.
pub(super) fn encode(
    transaction: &Transaction,
    opening: Opening,
    specs: &HashMap<Name, SetSpec>,
    mut batch: Batch,
) -> Result<Encoded, NetlinkError> {
    open_table(&mut batch, opening);
    for (id, (name, spec)) in (1..).zip(&transaction.add_sets) {
        add_set(&mut batch, name, spec, id);
    }
    for (name, hook) in &transaction.add_chains {
        add_chain(&mut batch, name, hook.as_ref());
    }
    let spec_of = |name: &Name| {
        let added = transaction
            .add_sets
            .iter()
            .find(|(added, _)| added == name)
            .map(|(_, spec)| spec);
        added
            .or_else(|| specs.get(name))
            .ok_or_else(|| NetlinkError::UnknownSet { set: name.to_string() })
    };
    for (name, change) in &transaction.elements {
        let has_ranges = !change.delete_ranges.is_empty() || !change.add_ranges.is_empty();
        let range_form = if has_ranges {
            RangeForm::of(spec_of(name)?)
        } else {
            RangeForm::TwoElements
        };
        change_elements(&mut batch, name, change, range_form);
    }
    let new_chains: HashSet<&Name> = transaction.add_chains.iter().map(|(name, _)| name).collect();
    for (name, rules) in &transaction.rules {
        if !new_chains.contains(name) {
            flush_chain(&mut batch, name);
        }
        for (place, rule) in rules.iter().enumerate() {
            add_rule(&mut batch, name, place, &lower(rule));
        }
    }
    // A chain that goes can be the target of another that goes, or of an element of a set that goes: first all rules, then
    // the sets, then the chains.
    for name in &transaction.delete_chains {
        flush_chain(&mut batch, name);
    }
    for name in &transaction.delete_sets {
        batch.operation(Operation::DeleteSet(Name::clone(name)), nft::DELETE_SET, 0, |w| {
            w.string(uapi::set::TABLE, TABLE);
            w.string(uapi::set::NAME, name);
        });
    }
    for name in &transaction.delete_chains {
        batch.operation(Operation::DeleteChain(Name::clone(name)), nft::DELETE_CHAIN, 0, |w| {
            w.string(uapi::chain::TABLE, TABLE);
            w.string(uapi::chain::NAME, name);
        });
    }
    batch.finish()
}

fn open_table(batch: &mut Batch, opening: Opening) {
    match opening {
        Opening::Nothing => create_table(batch, None),
        Opening::Create { flags } => create_table(batch, Some(flags)),
        Opening::Recreate { flags } => {
            // So that the deletion finds one.
            create_table(batch, None);
            delete_table(batch, NfFamily::Inet, TABLE);
            create_table(batch, Some(flags));
        }
    }
}

/// Without flags it changes nothing about a table that is there.
///
/// Each transaction begins with it, for the echo: if its first operation asks for one, the kernel tells the new generation.
/// An echo of this operation is at most one event, where that of a list of elements would be thousands.
fn create_table(batch: &mut Batch, flags: Option<u32>) {
    let operation = Operation::CreateTable { family: batch.family() };
    batch.operation(operation, nft::NEW_TABLE, netlink::CREATE | netlink::ECHO, |w| {
        w.string(uapi::table::NAME, TABLE);
        if let Some(flags) = flags {
            w.be32(uapi::table::FLAGS, flags);
        }
    });
}

/// Writes the deletion of any table.
pub(super) fn delete_table(batch: &mut Batch, family: NfFamily, name: &str) {
    let operation = Operation::DeleteTable {
        family,
        name: name.into(),
    };
    batch.operation_of(family, operation, nft::DELETE_TABLE, 0, |w| {
        w.string(uapi::table::NAME, name);
    });
}

fn add_set(batch: &mut Batch, name: &Name, spec: &SetSpec, id: u32) {
    let flags = netlink::CREATE | netlink::EXCLUSIVE;
    batch.operation(Operation::AddSet(Name::clone(name)), nft::NEW_SET, flags, |w| {
        w.string(uapi::set::TABLE, TABLE);
        w.string(uapi::set::NAME, name);
        w.be32(uapi::set::ID, id);
        form::write(w, spec);
    });
}

fn add_chain(batch: &mut Batch, name: &Name, hook: Option<&Hook>) {
    let flags = netlink::CREATE | netlink::EXCLUSIVE;
    batch.operation(Operation::AddChain(Name::clone(name)), nft::NEW_CHAIN, flags, |w| {
        w.string(uapi::chain::TABLE, TABLE);
        w.string(uapi::chain::NAME, name);
        if let Some(hook) = hook {
            w.string(uapi::chain::TYPE, chain_type(hook.kind));
            w.be32(uapi::chain::POLICY, uapi::data::ACCEPT.cast_unsigned());
            w.nest(uapi::chain::HOOK, |w| {
                w.be32(uapi::chain::HOOK_NUMBER, hook_number(hook.point));
                w.be32(uapi::chain::HOOK_PRIORITY, hook.priority.cast_unsigned());
            });
        }
    });
}

pub(super) const fn chain_type(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    }
}

pub(super) const fn hook_number(point: HookPoint) -> u32 {
    match point {
        HookPoint::Prerouting => 0,
        HookPoint::Input => 1,
        HookPoint::Forward => 2,
        HookPoint::Output => 3,
        HookPoint::Postrouting => 4,
    }
}

fn flush_chain(batch: &mut Batch, name: &Name) {
    batch.operation(Operation::FlushChain(Name::clone(name)), nft::DELETE_RULE, 0, |w| {
        w.string(uapi::rule::TABLE, TABLE);
        w.string(uapi::rule::CHAIN, name);
    });
}

fn add_rule(batch: &mut Batch, chain: &Name, place: usize, expressions: &[Expression]) {
    let operation = Operation::AddRule {
        chain: Name::clone(chain),
        place,
    };
    batch.operation(operation, nft::NEW_RULE, netlink::CREATE | netlink::APPEND, |w| {
        w.string(uapi::rule::TABLE, TABLE);
        w.string(uapi::rule::CHAIN, chain);
        w.nest(uapi::rule::EXPRESSIONS, |w| {
            for expression in expressions {
                expression::write(w, expression);
            }
        });
    });
}

/// How a set holds ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RangeForm {
    /// One field: an element where the range begins, and one that is marked where the next range could begin.
    TwoElements,
    /// Several fields: one element with two keys.
    TwoKeys,
}

impl RangeForm {
    const fn of(spec: &SetSpec) -> Self {
        match spec.holds {
            Holds::Ranges if spec.key.len() > 1 => Self::TwoKeys,
            Holds::Ranges | Holds::Keys | Holds::Learned => Self::TwoElements,
        }
    }
}

/// What an element has besides its key.
#[derive(Clone, Copy)]
enum Rest<'a> {
    Nothing,
    Value(&'a Value),
    EndsRange,
    KeyEnd(&'a Datum),
}

fn change_elements(batch: &mut Batch, set: &Name, change: &SetChange, range_form: RangeForm) {
    if !change.delete.is_empty() || !change.delete_ranges.is_empty() {
        let mut list = batch.elements(
            set,
            Operation::DeleteElements(Name::clone(set)),
            nft::DELETE_ELEMENTS,
            0,
        );
        for key in &change.delete {
            list.element(|w| write_element(w, key, Rest::Nothing));
        }
        for range in &change.delete_ranges {
            write_range(range, range_form, |key, rest| {
                list.element(|w| write_element(w, key, rest));
            });
        }
        list.end();
    }
    if !change.add.is_empty() || !change.add_ranges.is_empty() {
        let operation = Operation::AddElements(Name::clone(set));
        let mut list = batch.elements(set, operation, nft::NEW_ELEMENTS, netlink::CREATE);
        for (key, value) in &change.add {
            list.element(|w| write_element(w, key, Rest::Value(value)));
        }
        for range in &change.add_ranges {
            write_range(range, range_form, |key, rest| {
                list.element(|w| write_element(w, key, rest));
            });
        }
        list.end();
    }
}

fn write_range((first, last): &(Datum, Datum), form: RangeForm, mut element: impl FnMut(&Datum, Rest<'_>)) {
    match form {
        RangeForm::TwoKeys => element(first, Rest::KeyEnd(last)),
        RangeForm::TwoElements => {
            element(first, Rest::Nothing);
            // A range that reaches the last key has no end.
            if let Some(end) = successor(last) {
                element(&end, Rest::EndsRange);
            }
        }
    }
}

/// The next key; `None` after the last.
fn successor(key: &Datum) -> Option<Datum> {
    let mut bytes = key.as_bytes().to_vec();
    let place = bytes.iter().rposition(|byte| *byte != u8::MAX)?;
    bytes[place] += 1;
    bytes[place + 1..].fill(0);
    Datum::from_bytes(&bytes)
}

fn write_element(w: &mut Writer, key: &Datum, rest: Rest<'_>) {
    w.nest(LIST_ELEMENT, |w| {
        if matches!(rest, Rest::EndsRange) {
            w.be32(uapi::element::FLAGS, uapi::element::FLAG_INTERVAL_END);
        }
        w.nest(uapi::element::KEY, |w| w.bytes(uapi::data::VALUE, key.as_bytes()));
        match rest {
            Rest::KeyEnd(last) => w.nest(uapi::element::KEY_END, |w| w.bytes(uapi::data::VALUE, last.as_bytes())),
            Rest::Value(Value::Verdict(verdict)) => write_verdict(w, verdict),
            Rest::Value(Value::Data(data)) => {
                w.nest(uapi::element::DATA, |w| w.bytes(uapi::data::VALUE, data.as_bytes()));
            }
            Rest::Value(Value::Nothing) | Rest::Nothing | Rest::EndsRange => {}
        }
    });
}

fn write_verdict(w: &mut Writer, verdict: &Verdict) {
    w.nest(uapi::element::DATA, |w| expression::verdict(w, verdict));
}

#[cfg(test)]
mod tests;
