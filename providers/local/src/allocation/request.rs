//! What a Service asks for, and what it gets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use fairlead_model::{Family, Protocol, ServiceName};

/// What a Service asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The Service.
    pub service: ServiceName,
    /// The provider that takes it.
    pub provider: Arc<str>,
    /// The labels of its namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Its own labels.
    pub labels: BTreeMap<String, String>,
    /// Its IP families, the first one first.
    pub families: Vec<Family>,
    /// Whether it does with an address of only one of them.
    pub prefers_only: bool,
    /// The addresses that it must have; none in particular if empty.
    pub addresses: Vec<IpAddr>,
    /// The pool that they must be from.
    pub pool: Option<Arc<str>>,
    /// Services with the same key may have the same address if their ports differ.
    pub sharing_key: Option<Arc<str>>,
    /// Its ports.
    pub ports: BTreeSet<(Protocol, u16)>,
    /// The addresses that it shows now, for one that is not known yet.
    pub held: Vec<IpAddr>,
    /// Whether it came with them: somebody else gave them to it. Then it keeps them, even if a machine outside of the cluster has one.
    pub is_adopted: bool,
}

/// What a Service gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Its addresses, in the order of its families.
    pub addresses: Vec<IpAddr>,
    /// The pool that they are from.
    pub pool: Option<Arc<str>>,
    /// What it asks for and does not get. It may have addresses all the same: those that it had.
    pub refusal: Option<Refusal>,
    /// Services to be decided again, since this has changed something for them.
    pub again: BTreeSet<ServiceName>,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        match (&self.pool, self.addresses.is_empty()) {
            (Some(pool), false) => write!(f, "{} of pool {pool}", list.join(", "))?,
            _ => f.write_str("no address")?,
        }
        self.refusal.as_ref().map_or(Ok(()), |refusal| {
            write!(f, " ({}: {})", refusal.reason, refusal.message)
        })
    }
}

/// Why a Service does not get what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What stands against it.
    pub reason: Objection,
    /// A sentence for people.
    pub message: String,
}

/// What stands against a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objection {
    /// The addresses that are wanted, or those that there are, are not of the Service's IP families.
    FamilyMismatch,
    /// The address is in no pool, or in another one than is asked for.
    AddressNotInPool,
    /// The pool never gives it out.
    AddressReserved,
    /// Another Service has it, and does not share it.
    AddressInUse,
    /// A machine outside of the cluster has it.
    AddressConflict,
    /// No pool is for such Services.
    NoPool,
    /// There is no such pool.
    UnknownPool,
    /// The pool does not take the Service.
    PoolNotAllowed,
    /// Every address is taken.
    PoolExhausted,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Refusal {
    pub(super) fn new(reason: Objection, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
