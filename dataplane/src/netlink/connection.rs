//! The connection that reads and writes our table.

mod replies;

use std::collections::{BTreeSet, HashMap};

use super::NfFamily;
use super::attribute::Writer;
use super::decode::{self, Contents, Elements, Names, TableState};
use super::encode::{Batch, Encoded, Opening, delete_table, encode, encode_links};
use super::error::NetlinkError;
use super::message::Message;
use super::socket::Socket;
use super::uapi::{self, elements, netlink, nft, set, table};
use crate::links::LinkTable;
use crate::table::{Holds, Name, Set, SetSpec, TABLE, Table};
use crate::transaction::Transaction;
use replies::{Replies, owned_by_another};

/// How often the table is read again when it changes while it is read.
const LOAD_ATTEMPTS: u32 = 10;

/// How often the elements of a set are read again when some are missing.
const ELEMENT_ATTEMPTS: u32 = 20;

/// How often a transaction is written again because the kernel's abilities were not as assumed.
const OPENING_ATTEMPTS: u32 = 2;

/// Whether others may change our table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Only this connection may, and the table stays when the connection ends (`flags owner, persist`). On a kernel
    /// without `persist` (before 6.9) everybody may: an owner alone would take the table with it.
    Owned,
    /// Everybody may.
    Shared,
}

/// What was read of our table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// All of it that can be a table of ours. An unreadable set is left out, and an unreadable chain lacks what cannot be
    /// read.
    pub table: Table,
    /// Chains and sets with something that is not ours. [`Transaction::starts_over`] gets rid of it.
    pub unreadable: BTreeSet<Name>,
    /// The generation of `nf_tables` at which this was the table.
    pub generation: u32,
    /// Whether this connection owns the table.
    pub is_owned: bool,
    /// Whether somebody has switched the table off (`flags dormant`).
    pub is_dormant: bool,
}

/// What came of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The generation that the transaction made; none if it was empty, or if the kernel did not tell.
    pub generation: Option<u32>,
    /// How much was sent to the kernel.
    pub bytes: usize,
    /// How many messages that was.
    pub operations: usize,
}

/// A connection to `nf_tables` of the network namespace it was opened in.
///
/// Where the table has an owner, that is this connection: it must live as long as the table is to be protected.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    ownership: Ownership,
    /// False once the kernel has refused it.
    can_persist: bool,
    /// Whether the table is known to be ours: then it is there, and nobody else can delete it.
    is_owned: bool,
    /// The form of the sets that are known to be there.
    specs: HashMap<Name, SetSpec>,
}

impl Connection {
    /// Opens a connection. It takes the table over with the first transaction, or when [`Connection::adopt`] is called.
    pub fn open(ownership: Ownership) -> Result<Self, NetlinkError> {
        let socket = Socket::open(libc::NETLINK_NETFILTER)?;
        Ok(Self {
            socket,
            ownership,
            can_persist: true,
            is_owned: false,
            specs: HashMap::new(),
        })
    }

    /// The netlink port that our changes come from.
    pub const fn port_id(&self) -> u32 {
        self.socket.port_id()
    }

    /// Whether this connection owns the table, as far as it knows.
    pub const fn is_owned(&self) -> bool {
        self.is_owned
    }

    /// The current generation of `nf_tables`: each transaction of anybody makes a new one.
    pub fn generation(&mut self) -> Result<u32, NetlinkError> {
        let generation = self.socket.request(
            "read the generation",
            |w, sequence| {
                let start = w.begin_nfnetlink(nft::GET_GENERATION, netlink::ACK, sequence, 0, 0);
                w.end_message(start);
            },
            || None,
            |found, message| *found = found.or(decode::generation(message)),
        )?;
        generation.ok_or(NetlinkError::OutcomeUnknown)
    }

    /// The names of all tables.
    pub fn list_tables(&mut self) -> Result<Vec<(NfFamily, String)>, NetlinkError> {
        let tables = self.dump(
            "list the tables",
            nft::GET_TABLE,
            |_| {},
            Vec::new,
            |tables, message| {
                tables.extend(decode::table(message));
            },
        )?;
        Ok(tables
            .into_iter()
            .map(|table: TableState| (table.family, table.name))
            .collect())
    }

    /// Reads our table; none if it does not exist. The elements of learned sets are left out.
    pub fn load(&mut self) -> Result<Option<Loaded>, NetlinkError> {
        for _ in 0..LOAD_ATTEMPTS {
            let before = self.generation()?;
            let loaded = self.load_once(before);
            // Whatever went wrong is no news if the table changed meanwhile.
            if self.generation()? != before {
                continue;
            }
            let loaded = loaded?;
            self.is_owned = loaded.as_ref().is_some_and(|loaded| loaded.is_owned);
            self.specs.clear();
            if let Some(loaded) = &loaded {
                let specs = loaded
                    .table
                    .sets
                    .iter()
                    .map(|(name, set)| (Name::clone(name), set.spec));
                self.specs.extend(specs);
            }
            return Ok(loaded);
        }
        Err(NetlinkError::KeptChanging {
            attempts: LOAD_ATTEMPTS,
        })
    }

    fn load_once(&mut self, generation: u32) -> Result<Option<Loaded>, NetlinkError> {
        let Some(state) = self.find_table()? else {
            return Ok(None);
        };
        let mut contents = self.load_sets()?;
        for name in contents.table.sets.keys().cloned().collect::<Vec<_>>() {
            self.load_elements(&name, &mut contents)?;
        }
        let chains = self.dump(
            "read the chains",
            nft::GET_CHAIN,
            |w| w.string(uapi::chain::TABLE, TABLE),
            Contents::default,
            Contents::chain,
        )?;
        let rules = self.dump(
            "read the rules",
            nft::GET_RULE,
            |w| w.string(uapi::rule::TABLE, TABLE),
            Contents::default,
            Contents::rule,
        )?;
        contents.table.chains = chains.table.chains;
        for (name, chain) in rules.table.chains {
            // The rules of a chain that cannot be read itself are of no use.
            if let Some(known) = contents.table.chains.get_mut(&name) {
                known.rules = chain.rules;
            }
        }
        contents.unreadable.extend(chains.unreadable);
        contents.unreadable.extend(rules.unreadable);
        Ok(Some(Loaded {
            table: contents.table,
            unreadable: contents.unreadable,
            generation,
            is_owned: state.owner == Some(self.port_id()),
            is_dormant: state.flags & table::FLAG_DORMANT != 0,
        }))
    }

    fn load_sets(&mut self) -> Result<Contents, NetlinkError> {
        self.dump(
            "read the sets",
            nft::GET_SET,
            |w| w.string(set::TABLE, TABLE),
            Contents::default,
            Contents::set,
        )
    }

    fn load_elements(&mut self, name: &Name, contents: &mut Contents) -> Result<(), NetlinkError> {
        let Some(spec) = contents.table.sets.get(name).map(|set| set.spec) else {
            return Ok(());
        };
        if spec.holds == Holds::Learned {
            return Ok(());
        }
        let mut expected_len = contents.counts.get(name).copied();
        for _ in 0..ELEMENT_ATTEMPTS {
            let Some(set) = self.dump_elements(name, spec, &mut contents.names)? else {
                contents.table.sets.remove(name);
                contents.unreadable.insert(Name::clone(name));
                return Ok(());
            };
            // While a hash table grows, which it does for a while after a large transaction, a dump of it misses elements
            // and does not say so. Kernels that do not tell the number of elements are asked until two answers agree.
            let len = set.elements.len();
            if spec.holds != Holds::Keys || expected_len == Some(len) {
                contents.table.sets.insert(Name::clone(name), set);
                return Ok(());
            }
            expected_len = contents.counts.get(name).copied().or(Some(len));
        }
        Err(NetlinkError::KeptChanging {
            attempts: ELEMENT_ATTEMPTS,
        })
    }

    fn dump_elements(&mut self, name: &Name, spec: SetSpec, names: &mut Names) -> Result<Option<Set>, NetlinkError> {
        let read = self.dump(
            "read the elements of a set",
            nft::GET_ELEMENTS,
            |w| {
                w.string(elements::TABLE, TABLE);
                w.string(elements::SET, name);
            },
            || Elements::new(spec),
            |read, message| read.message(message, names),
        )?;
        Ok(read.finish())
    }

    fn dump<State>(
        &mut self,
        action: &'static str,
        kind: u16,
        content: impl Fn(&mut Writer),
        restart: impl FnMut() -> State,
        each: impl FnMut(&mut State, &Message<'_>),
    ) -> Result<State, NetlinkError> {
        let write = |w: &mut Writer, sequence| {
            // Tables of every family are listed, everything else is our own.
            let family = if kind == nft::GET_TABLE {
                0
            } else {
                NfFamily::Inet.number()
            };
            let start = w.begin_nfnetlink(kind, netlink::DUMP, sequence, family, 0);
            content(w);
            w.end_message(start);
        };
        self.socket.request(action, write, restart, each)
    }

    fn find_table(&mut self) -> Result<Option<TableState>, NetlinkError> {
        let tables = self.dump(
            "find our table",
            nft::GET_TABLE,
            |_| {},
            Vec::new,
            |tables, message| {
                tables.extend(decode::table(message));
            },
        )?;
        Ok(tables
            .into_iter()
            .find(|table| table.family == NfFamily::Inet && table.name == TABLE))
    }

    /// Takes the table over if its owner has gone and this connection is to own it. Whether it owns the table now: not so
    /// if there is none, or if it was made without an owner, which only starting over changes.
    pub fn adopt(&mut self) -> Result<bool, NetlinkError> {
        if !self.is_owned
            && let opening @ Opening::Create { .. } = self.opening(false)?
            && self.find_table()?.is_some()
        {
            self.write(&Transaction::default(), opening, None)?;
        }
        Ok(self.is_owned)
    }

    /// The flags that the table is to have.
    const fn flags(&self) -> u32 {
        match self.ownership {
            Ownership::Owned if self.can_persist => table::FLAG_OWNER | table::FLAG_PERSIST,
            Ownership::Owned | Ownership::Shared => 0,
        }
    }

    /// What has to be done about the table before anything else.
    fn opening(&mut self, starts_over: bool) -> Result<Opening, NetlinkError> {
        let flags = self.flags();
        if starts_over {
            return Ok(Opening::Recreate { flags });
        }
        if self.is_owned {
            return Ok(Opening::Nothing);
        }
        let Some(state) = self.find_table()? else {
            return Ok(Opening::Create { flags });
        };
        match state.owner {
            Some(owner) if owner == self.port_id() => {
                self.is_owned = true;
                Ok(Opening::Nothing)
            }
            Some(owner) => Err(owned_by_another(NfFamily::Inet, TABLE, Some(owner))),
            None if flags != 0 && state.flags & table::FLAG_PERSIST != 0 => Ok(Opening::Create { flags }),
            None => Ok(Opening::Nothing),
        }
    }

    /// Carries a transaction out: all of it, or nothing if that fails. One that changes nothing is not sent.
    ///
    /// With an expected generation, it is carried out only if nobody has changed `nf_tables` since.
    pub fn commit(
        &mut self,
        transaction: &Transaction,
        expected_generation: Option<u32>,
    ) -> Result<Committed, NetlinkError> {
        if transaction.is_empty() {
            return Ok(Committed {
                generation: None,
                bytes: 0,
                operations: 0,
            });
        }
        let mut attempt = 1;
        loop {
            let opening = self.opening(transaction.starts_over)?;
            match self.write(transaction, opening, expected_generation) {
                Err(err) if attempt < OPENING_ATTEMPTS && self.can_mend(&err) => attempt += 1,
                result => return result,
            }
        }
    }

    /// Whether writing again can help after this error.
    fn can_mend(&mut self, err: &NetlinkError) -> bool {
        // A kernel before 6.9 does not know all flags.
        let lacks_flags = matches!(err, NetlinkError::FlagsRefused { .. }) && self.flags() != 0;
        if lacks_flags {
            self.can_persist = false;
        }
        lacks_flags
    }

    fn write(
        &mut self,
        transaction: &Transaction,
        opening: Opening,
        expected_generation: Option<u32>,
    ) -> Result<Committed, NetlinkError> {
        self.learn_specs(transaction)?;
        let batch = Batch::begin(self.socket.next_sequence(), expected_generation);
        let encoded = encode(transaction, opening, &self.specs, batch)?;
        let committed = self.send(&encoded, expected_generation)?;
        match opening {
            Opening::Nothing => {}
            Opening::Create { flags } | Opening::Recreate { flags } => self.is_owned = flags & table::FLAG_OWNER != 0,
        }
        if transaction.starts_over {
            self.specs.clear();
        }
        self.specs.extend(transaction.add_sets.iter().cloned());
        for name in &transaction.delete_sets {
            self.specs.remove(name);
        }
        Ok(committed)
    }

    /// Ranges are written in a way that depends on the form of their set.
    fn learn_specs(&mut self, transaction: &Transaction) -> Result<(), NetlinkError> {
        let is_unknown = |name: &Name| {
            !self.specs.contains_key(name) && !transaction.add_sets.iter().any(|(added, _)| added == name)
        };
        let with_ranges = transaction
            .elements
            .iter()
            .filter(|(_, change)| !change.delete_ranges.is_empty() || !change.add_ranges.is_empty());
        if with_ranges.map(|(name, _)| name).any(is_unknown) {
            let sets = self.load_sets()?.table.sets;
            self.specs = sets.into_iter().map(|(name, set)| (name, set.spec)).collect();
        }
        Ok(())
    }

    /// Sends a batch and reads what came of it: the kernel has finished when the sending returns.
    fn send(&mut self, encoded: &Encoded, expected_generation: Option<u32>) -> Result<Committed, NetlinkError> {
        self.socket.skip_sequences(encoded.sequence_count());
        self.socket.send(&encoded.bytes, "the transaction")?;
        let mut replies = Replies::to(encoded);
        let drained = self.socket.drain(|message| replies.message(message))?;
        replies.committed(drained, expected_generation)
    }

    /// Writes the table at the links anew, or deletes it if there is nothing to do.
    pub fn set_links(&mut self, links: &LinkTable) -> Result<(), NetlinkError> {
        if links.is_empty() {
            return self.delete_table(NfFamily::NETDEV, TABLE).map(drop);
        }
        let batch = Batch::begin(self.socket.next_sequence(), None);
        let encoded = encode_links(links, self.flags(), batch)?;
        self.send(&encoded, None).map(drop)
    }

    /// Deletes any table with all that is in it. Whether it was there.
    pub fn delete_table(&mut self, family: NfFamily, name: &str) -> Result<bool, NetlinkError> {
        let mut batch = Batch::begin(self.socket.next_sequence(), None);
        delete_table(&mut batch, family, name);
        let encoded = batch.finish()?;
        match self.send(&encoded, None) {
            Err(err) if err.errno() == Some(libc::ENOENT) => Ok(false),
            Err(err) => Err(err),
            Ok(_) => {
                if family == NfFamily::Inet && name == TABLE {
                    self.is_owned = false;
                    self.specs.clear();
                }
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests;
