//! A batch: the messages between begin and end that the kernel carries out together, from one datagram.

use std::fmt;

use crate::netlink::NfFamily;
use crate::netlink::attribute::{Attributes, Writer};
use crate::netlink::error::NetlinkError;
use crate::netlink::socket::Sequence;
use crate::netlink::uapi::{data, element, elements, netlink, nfnetlink};
use crate::table::{Datum, Name, TABLE};

/// An attribute's length has 16 bits; one element takes at most this much less. Keys have at most 40 bytes, and an element
/// two keys, or a key and the name of a chain.
const LIST_LEN: usize = 0xffff - 1024;

/// The place of the nfnetlink subsystem in the header of begin and end.
const RESOURCE: u16 = nfnetlink::NFTABLES >> 8;

/// What one message of a batch does, for the error that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::netlink) enum Operation {
    CreateTable { family: NfFamily },
    DeleteTable { family: NfFamily, name: Name },
    AddSet(Name),
    AddChain(Name),
    DeleteElements(Name),
    AddElements(Name),
    FlushChain(Name),
    AddRule { chain: Name, place: usize },
    DeleteSet(Name),
    DeleteChain(Name),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTable { family } => write!(f, "create table `{family} {TABLE}`"),
            Self::DeleteTable { family, name } => write!(f, "delete table `{family} {name}`"),
            Self::AddSet(name) => write!(f, "add set `{name}`"),
            Self::AddChain(name) => write!(f, "add chain `{name}`"),
            Self::DeleteElements(set) => write!(f, "delete elements of set `{set}`"),
            Self::AddElements(set) => write!(f, "add elements to set `{set}`"),
            Self::FlushChain(chain) => write!(f, "flush chain `{chain}`"),
            Self::AddRule { chain, place } => write!(f, "add rule {} of chain `{chain}`", place + 1),
            Self::DeleteSet(name) => write!(f, "delete set `{name}`"),
            Self::DeleteChain(name) => write!(f, "delete chain `{name}`"),
        }
    }
}

/// A batch that is being written.
#[derive(Debug)]
pub(in crate::netlink) struct Batch {
    writer: Writer,
    first_sequence: Sequence,
    /// The family of our table that it is about.
    family: NfFamily,
    /// Each operation with the place of its message.
    operations: Vec<(Operation, usize)>,
}

/// A finished batch.
#[derive(Debug)]
pub(in crate::netlink) struct Encoded {
    pub(in crate::netlink) bytes: Vec<u8>,
    pub(in crate::netlink) first_sequence: Sequence,
    pub(in crate::netlink) family: NfFamily,
    /// Each operation with the place of its message.
    pub(in crate::netlink) operations: Vec<(Operation, usize)>,
}

impl Batch {
    /// Begins a batch. With a generation, it is carried out only if that is still the current one.
    pub(in crate::netlink) fn begin(first_sequence: Sequence, generation: Option<u32>) -> Self {
        let mut writer = Writer::with_capacity(64 * 1024);
        let start = writer.begin_nfnetlink(nfnetlink::BATCH_BEGIN, 0, first_sequence, 0, RESOURCE);
        if let Some(generation) = generation {
            writer.be32(nfnetlink::BATCH_GENERATION, generation);
        }
        writer.end_message(start);
        Self {
            writer,
            first_sequence,
            family: NfFamily::Inet,
            operations: Vec::new(),
        }
    }

    /// The same about our table of another family.
    pub(super) fn of(mut self, family: NfFamily) -> Self {
        self.family = family;
        self
    }

    pub(super) const fn family(&self) -> NfFamily {
        self.family
    }

    fn begin_operation(&mut self, family: NfFamily, operation: Operation, kind: u16, flags: u16) -> usize {
        let count = u32::try_from(self.operations.len()).expect("memory ends before the sequence numbers do");
        let sequence = self.first_sequence.wrapping_add(1).wrapping_add(count);
        let start = self.writer.begin_nfnetlink(kind, flags, sequence, family.number(), 0);
        self.operations.push((operation, start));
        start
    }

    /// Writes one operation on our table.
    pub(super) fn operation(&mut self, what: Operation, kind: u16, flags: u16, content: impl FnOnce(&mut Writer)) {
        self.operation_of(self.family, what, kind, flags, content);
    }

    /// Writes one operation on a table of that family.
    pub(super) fn operation_of(
        &mut self,
        family: NfFamily,
        what: Operation,
        kind: u16,
        flags: u16,
        content: impl FnOnce(&mut Writer),
    ) {
        let start = self.begin_operation(family, what, kind, flags);
        content(&mut self.writer);
        self.writer.end_message(start);
    }

    /// Begins a list of elements, which becomes as many messages as it needs.
    pub(super) fn elements<'a>(&'a mut self, set: &'a Name, what: Operation, kind: u16, flags: u16) -> Elements<'a> {
        Elements {
            batch: self,
            set,
            what,
            kind,
            flags,
            open: None,
        }
    }

    /// Ends the batch and asks for an answer to its last operation: an operation without an answer was not carried out.
    pub(in crate::netlink) fn finish(mut self) -> Result<Encoded, NetlinkError> {
        if let Some((_, start)) = self.operations.last() {
            self.writer.set_flag(*start, netlink::ACK);
        }
        let count = u32::try_from(self.operations.len()).expect("memory ends before the sequence numbers do");
        let sequence = self.first_sequence.wrapping_add(1).wrapping_add(count);
        let start = self
            .writer
            .begin_nfnetlink(nfnetlink::BATCH_END, 0, sequence, 0, RESOURCE);
        self.writer.end_message(start);
        let bytes = self
            .writer
            .finish()
            .map_err(|_| NetlinkError::TooLarge { what: "an operation" })?;
        Ok(Encoded {
            bytes,
            first_sequence: self.first_sequence,
            family: self.family,
            operations: self.operations,
        })
    }
}

/// Elements of one set, packed as densely as an attribute's length allows.
pub(super) struct Elements<'a> {
    batch: &'a mut Batch,
    set: &'a Name,
    what: Operation,
    kind: u16,
    flags: u16,
    /// Where the open message and its list begin.
    open: Option<(usize, usize)>,
}

impl Elements<'_> {
    /// Adds what `write` writes: exactly one element.
    pub(super) fn element(&mut self, write: impl FnOnce(&mut Writer)) {
        if self
            .open
            .is_some_and(|(_, list)| self.batch.writer.len() - list > LIST_LEN)
        {
            self.close();
        }
        if self.open.is_none() {
            let message = self
                .batch
                .begin_operation(self.batch.family, self.what.clone(), self.kind, self.flags);
            let writer = &mut self.batch.writer;
            writer.string(elements::TABLE, TABLE);
            writer.string(elements::SET, self.set);
            self.open = Some((message, writer.open_nest(elements::LIST)));
        }
        write(&mut self.batch.writer);
    }

    fn close(&mut self) {
        if let Some((message, list)) = self.open.take() {
            self.batch.writer.close_nest(list);
            self.batch.writer.end_message(message);
        }
    }

    pub(super) fn end(mut self) {
        self.close();
    }
}

impl Encoded {
    /// How many sequence numbers its messages take, begin and end included.
    pub(in crate::netlink) fn sequence_count(&self) -> u32 {
        u32::try_from(self.operations.len() + 2).unwrap_or(u32::MAX)
    }

    /// The key of the element that begins there, for the error that names it.
    pub(in crate::netlink) fn key_at(&self, at: usize) -> Option<Datum> {
        let element = Attributes(self.bytes.get(at..)?).into_iter().next()?;
        Datum::from_bytes(element.nested().find(element::KEY)?.nested().find(data::VALUE)?.value)
    }
}
