//! Messages to tables. Whatever bytes come, nothing here panics.

mod elements;
mod expression;

use std::collections::{BTreeSet, HashMap, HashSet};

use super::attribute::{Attribute, Attributes};
use super::encode::{chain_type, hook_number};
use super::expression::raise;
use super::message::{Message, Messages};
use super::uapi::{self, nfnetlink, nft};
use super::{NfFamily, conntrack, form};
use crate::table::{ChainKind, Hook, HookPoint, Name, Rule, SetSpec, TABLE, Table, Verdict};

pub(super) use elements::Elements;

/// Decodes every message in the bytes in each way that this crate can, and forgets what comes out: the entry of the fuzz
/// target.
pub fn decode_message(bytes: &[u8]) {
    let mut contents = Contents::default();
    for message in Messages(bytes) {
        let _ = (
            message.answer(),
            generation(&message),
            table(&message),
            change(&message),
        );
        contents.chain(&message);
        contents.set(&message);
        contents.rule(&message);
        let _ = (conntrack::decode(&message), super::addresses::decode(&message));
        let specs: Vec<SetSpec> = contents.table.sets.values().map(|set| set.spec).collect();
        for spec in specs {
            let mut elements = Elements::new(spec);
            elements.message(&message, &mut contents.names);
            let _ = elements.finish();
        }
    }
}

/// The generation that a message tells.
pub(super) fn generation(message: &Message<'_>) -> Option<u32> {
    if message.kind != nft::NEW_GENERATION {
        return None;
    }
    message
        .attributes(nfnetlink::HEADER_LEN)
        .find(uapi::generation::ID)?
        .be32()
}

/// A table as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableState {
    pub(super) family: NfFamily,
    pub(super) name: String,
    pub(super) flags: u32,
    pub(super) owner: Option<u32>,
}

pub(super) fn table(message: &Message<'_>) -> Option<TableState> {
    if message.kind != nft::NEW_TABLE {
        return None;
    }
    let (family, attributes) = message.nfnetlink()?;
    Some(TableState {
        family: NfFamily::from_number(family),
        name: attributes.find(uapi::table::NAME)?.str()?.to_owned(),
        flags: attributes
            .find(uapi::table::FLAGS)
            .and_then(Attribute::be32)
            .unwrap_or_default(),
        owner: attributes.find(uapi::table::OWNER).and_then(Attribute::be32),
    })
}

/// What an event says about our table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Content,
    Deletion,
}

/// The change of our table that an event tells, if it does.
pub(super) fn change(message: &Message<'_>) -> Option<Change> {
    let is_nftables = message.kind & 0xff00 == nfnetlink::NFTABLES;
    if !is_nftables || message.kind == nft::NEW_GENERATION {
        return None;
    }
    let (family, attributes) = message.nfnetlink()?;
    // The table's name is the first attribute of every kind of object.
    let is_ours = NfFamily::from_number(family) == NfFamily::Inet
        && attributes.find(uapi::table::NAME).and_then(Attribute::str) == Some(TABLE);
    is_ours.then_some(match message.kind {
        nft::DELETE_TABLE => Change::Deletion,
        _ => Change::Content,
    })
}

/// Shares equal names: the elements of a verdict map name few chains.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Name>);

impl Names {
    pub(super) fn name(&mut self, text: &str) -> Name {
        if let Some(known) = self.0.get(text) {
            return Name::clone(known);
        }
        let name = Name::from(text);
        self.0.insert(Name::clone(&name));
        name
    }

    /// Reads `NFTA_DATA_VERDICT`; `None` for a verdict that none of our rules gives.
    pub(super) fn verdict(&mut self, attributes: Attributes<'_>) -> Option<Verdict> {
        let verdict = attributes.find(uapi::data::VERDICT)?.nested();
        let code = verdict.find(uapi::data::VERDICT_CODE)?.be32()?.cast_signed();
        let mut chain = || Some(self.name(verdict.find(uapi::data::VERDICT_CHAIN)?.str()?));
        match code {
            uapi::data::DROP => Some(Verdict::Drop),
            uapi::data::RETURN => Some(Verdict::Return),
            uapi::data::JUMP => Some(Verdict::Jump(chain()?)),
            uapi::data::GOTO => Some(Verdict::Goto(chain()?)),
            _ => None,
        }
    }
}

/// What has been read of our table.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) table: Table,
    /// Chains and sets with something that none of our tables has.
    pub(super) unreadable: BTreeSet<Name>,
    /// How many elements each set has, on kernels that tell.
    pub(super) counts: HashMap<Name, usize>,
    pub(super) names: Names,
}

/// The attributes of a message of this type about our table.
fn ours<'a>(message: &Message<'a>, kind: u16, table: u16) -> Option<Attributes<'a>> {
    let (family, attributes) = message.nfnetlink()?;
    let is_ours = message.kind == kind
        && NfFamily::from_number(family) == NfFamily::Inet
        && attributes.find(table)?.str()? == TABLE;
    is_ours.then_some(attributes)
}

impl Contents {
    /// Takes a chain in, if the message tells of one.
    pub(super) fn chain(&mut self, message: &Message<'_>) {
        let Some(attributes) = ours(message, nft::NEW_CHAIN, uapi::chain::TABLE) else {
            return;
        };
        let Some(name) = attributes.find(uapi::chain::NAME).and_then(Attribute::str) else {
            return;
        };
        let name = self.names.name(name);
        let Ok(hook) = hook(attributes) else {
            self.unreadable.insert(name);
            return;
        };
        self.table.chains.entry(name).or_default().hook = hook;
    }

    /// Takes a rule in, if the message tells of one.
    pub(super) fn rule(&mut self, message: &Message<'_>) {
        let Some(attributes) = ours(message, nft::NEW_RULE, uapi::rule::TABLE) else {
            return;
        };
        let Some(name) = attributes.find(uapi::rule::CHAIN).and_then(Attribute::str) else {
            return;
        };
        let name = self.names.name(name);
        match self.read_rule(attributes) {
            Some(rule) => self.table.chains.entry(name).or_default().rules.push(rule),
            None => {
                self.unreadable.insert(name);
            }
        }
    }

    fn read_rule(&mut self, attributes: Attributes<'_>) -> Option<Rule> {
        let list = attributes.find(uapi::rule::EXPRESSIONS)?.nested();
        let expressions = expression::read(list, &mut self.names)?;
        raise(&expressions)
    }

    /// Takes a set in without its elements, if the message tells of one.
    pub(super) fn set(&mut self, message: &Message<'_>) {
        let Some(attributes) = ours(message, nft::NEW_SET, uapi::set::TABLE) else {
            return;
        };
        let Some(name) = attributes.find(uapi::set::NAME).and_then(Attribute::str) else {
            return;
        };
        let name = self.names.name(name);
        match form::read(attributes) {
            Some(spec) => {
                if let Some(count) = attributes.find(uapi::set::COUNT).and_then(Attribute::be32) {
                    self.counts.insert(Name::clone(&name), count as usize);
                }
                self.table.sets.insert(name, crate::table::Set::new(spec));
            }
            None => {
                self.unreadable.insert(name);
            }
        }
    }
}

/// Something that no table of ours has.
struct Foreign;

/// Where a chain hooks in.
fn hook(attributes: Attributes<'_>) -> Result<Option<Hook>, Foreign> {
    let number = |kind| attributes.find(kind).and_then(Attribute::be32);
    if number(uapi::chain::FLAGS).unwrap_or_default() & !uapi::chain::FLAG_BASE != 0 {
        return Err(Foreign);
    }
    let Some(hook) = attributes.find(uapi::chain::HOOK) else {
        return Ok(None);
    };
    let accepts = number(uapi::chain::POLICY) == Some(uapi::data::ACCEPT.cast_unsigned());
    let hook = base_hook(attributes, hook.nested()).filter(|_| accepts);
    hook.map(Some).ok_or(Foreign)
}

fn base_hook(chain: Attributes<'_>, hook: Attributes<'_>) -> Option<Hook> {
    let kinds = [ChainKind::Filter, ChainKind::Nat];
    let points = [
        HookPoint::Prerouting,
        HookPoint::Input,
        HookPoint::Forward,
        HookPoint::Output,
        HookPoint::Postrouting,
    ];
    let kind = chain.find(uapi::chain::TYPE)?.str()?;
    let point = hook.find(uapi::chain::HOOK_NUMBER)?.be32()?;
    Some(Hook {
        kind: kinds.into_iter().find(|known| chain_type(*known) == kind)?,
        point: points.into_iter().find(|known| hook_number(*known) == point)?,
        priority: hook.find(uapi::chain::HOOK_PRIORITY)?.be32()?.cast_signed(),
    })
}

#[cfg(test)]
mod tests;
