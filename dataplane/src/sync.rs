//! Keeps the kernel's table in step with a [`Compiler`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::compile::Compiler;
use crate::links::LinkTable;
use crate::netlink::{Connection, Loaded, NetlinkError, Ownership};
use crate::table::{Rule, Table};
use crate::transaction::Transaction;

/// How often a full comparison is tried again when other programs keep changing rules meanwhile.
const GENERATION_TRIES: usize = 5;

/// The table `inet fairlead` of this network namespace. The table is owned by this value where the kernel has table owners;
/// dropping it leaves the table in place.
#[derive(Debug)]
pub struct Dataplane {
    connection: Connection,
    /// What was read last and not yet compared with anything.
    loaded: Option<Snapshot>,
    /// The generation of `nf_tables` that our last write made, or that was found to need none.
    generation: Option<u32>,
}

#[derive(Debug)]
struct Snapshot {
    table: Option<Arc<Table>>,
    generation: Option<u32>,
}

/// What one commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Whether everything was compared with what was loaded.
    pub is_full: bool,
    /// Elements added; one that changed counts here and below.
    pub added: usize,
    /// Elements deleted.
    pub deleted: usize,
    /// Bytes sent to the kernel; none if there was nothing to do.
    pub bytes: usize,
    /// From the system call to the kernel's answer.
    pub duration: Duration,
}

impl Dataplane {
    /// Connects to the kernel. Changes nothing yet.
    pub fn open(ownership: Ownership) -> Result<Self, NetlinkError> {
        Ok(Self {
            connection: Connection::open(ownership)?,
            loaded: None,
            generation: None,
        })
    }

    /// The port id that the kernel shows as the writer of our changes.
    pub fn port_id(&self) -> u32 {
        self.connection.port_id()
    }

    /// Whether nobody else can change the table.
    pub const fn is_owned(&self) -> bool {
        self.connection.is_owned()
    }

    /// Whether the table is as our last write left it. Where it has no owner, a change of any table counts against that, since
    /// only reading would tell more.
    pub fn is_untouched(&mut self) -> Result<bool, NetlinkError> {
        Ok(self.connection.is_owned() || self.generation == Some(self.connection.generation()?))
    }

    /// What is loaded; `None` if there is no table, or none that can be taken over. The next [`Self::reconcile`] compares
    /// with it without reading again.
    pub fn load(&mut self) -> Result<Option<Arc<Table>>, NetlinkError> {
        let snapshot = self.snapshot()?;
        let table = snapshot.table.clone();
        self.loaded = Some(snapshot);
        Ok(table)
    }

    fn snapshot(&mut self) -> Result<Snapshot, NetlinkError> {
        let loaded = self.connection.load()?;
        let generation = loaded.as_ref().map(|loaded| loaded.generation);
        Ok(Snapshot {
            table: loaded.and_then(readable).map(Arc::new),
            generation,
        })
    }

    /// Commits what changed since the last commit. If the kernel refuses it, everything is compared with what is really
    /// loaded, and the difference written.
    pub fn commit(&mut self, compiler: &mut Compiler) -> Result<Report, NetlinkError> {
        self.loaded = None;
        let transaction = compiler.take_transaction();
        match self.write(&transaction, None, false) {
            Ok(report) => Ok(report),
            Err(error) => {
                tracing::warn!(error = %error, reason = error.reason(), "transaction refused, comparing everything");
                self.reconcile(compiler)
            }
        }
    }

    /// Writes the table at the links anew.
    pub fn set_links(&mut self, links: &LinkTable) -> Result<(), NetlinkError> {
        self.connection.set_links(links)
    }

    /// Compares everything with what is loaded and writes the difference: at the start, and when others changed the table.
    pub fn reconcile(&mut self, compiler: &mut Compiler) -> Result<Report, NetlinkError> {
        let mut tries = 0;
        loop {
            let snapshot = match self.loaded.take() {
                Some(snapshot) => snapshot,
                None => self.snapshot()?,
            };
            let transaction = compiler.reconcile(snapshot.table.as_deref());
            tries += 1;
            match self.write(&transaction, snapshot.generation, true) {
                Err(NetlinkError::StaleGeneration { .. }) if tries < GENERATION_TRIES => {}
                result => return result,
            }
        }
    }

    fn write(
        &mut self,
        transaction: &Transaction,
        generation: Option<u32>,
        is_full: bool,
    ) -> Result<Report, NetlinkError> {
        if transaction.is_empty() {
            // Nothing is sent, so a table that an earlier agent has left must be taken over for itself.
            self.connection.adopt()?;
            self.generation = generation.or(self.generation);
            return Ok(Report {
                is_full,
                ..Report::default()
            });
        }
        let began = Instant::now();
        let committed = self.connection.commit(transaction, generation)?;
        self.generation = committed.generation;
        let (added, deleted) = transaction.element_counts();
        Ok(Report {
            is_full,
            added,
            deleted,
            bytes: committed.bytes,
            duration: began.elapsed(),
        })
    }
}

/// What can be compared. A chain with rules that are not ours is written anew; a set with elements that are not ours cannot
/// be mended in place, so the table counts as absent and is started over.
fn readable(loaded: Loaded) -> Option<Table> {
    if loaded.is_dormant {
        return None;
    }
    let mut table = loaded.table;
    for name in &loaded.unreadable {
        table.chains.get_mut(name)?.rules = vec![Rule::default()];
    }
    Some(table)
}
