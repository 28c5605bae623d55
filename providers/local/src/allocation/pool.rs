//! Pools, and which Services they take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fairlead_model::Family;

use super::range::is_buggy;
use super::{AddressRange, Request, Selector};

/// Addresses, and who may have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// The provider that gives its addresses out; every local one if none is named.
    pub provider: Option<Arc<str>>,
    /// The addresses.
    pub ranges: Vec<AddressRange>,
    /// Whether Services that ask for nothing in particular get its addresses.
    pub auto_assign: bool,
    /// Whether IPv4 addresses that end in .0 and .255 are left out.
    pub avoid_buggy: bool,
    /// Which Services may have its addresses.
    pub takes: Takes,
    /// How long an address rests between two Services.
    pub reuse_delay: Duration,
}

/// Which Services a pool takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Takes {
    /// Lower is tried first; none comes last.
    pub priority: Option<u32>,
    /// Services that the pool is for get its addresses or none.
    pub is_exclusive: bool,
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<Selector>,
    /// Services by label.
    pub service_selectors: Vec<Selector>,
}

impl Takes {
    /// True if it takes every Service.
    pub fn is_unrestricted(&self) -> bool {
        self.namespaces.is_empty() && self.namespace_selectors.is_empty() && self.service_selectors.is_empty()
    }

    /// True if the pool is meant for the Services that it takes, so that they try it before those that are for all. A pool that takes
    /// every Service is too if it says when it is to be tried, or that they may have no other.
    pub(super) fn is_meant(&self) -> bool {
        !self.is_unrestricted() || self.is_exclusive || self.rank().is_some()
    }

    fn rank(&self) -> Option<u32> {
        self.priority.filter(|priority| *priority > 0)
    }

    fn takes(&self, request: &Request) -> bool {
        let namespace_is_free = self.namespaces.is_empty() && self.namespace_selectors.is_empty();
        let is_any = |selectors: &[Selector], labels: &BTreeMap<String, String>| {
            selectors.iter().any(|selector| selector.selects(labels))
        };
        (namespace_is_free
            || self.namespaces.contains(&*request.service.namespace)
            || is_any(&self.namespace_selectors, &request.namespace_labels))
            && (self.service_selectors.is_empty() || is_any(&self.service_selectors, &request.labels))
    }
}

impl Pool {
    /// Whether the Service may have addresses of the pool.
    pub fn takes(&self, request: &Request) -> bool {
        self.provider
            .as_ref()
            .is_none_or(|provider| *provider == request.provider)
            && self.takes.takes(request)
    }

    /// Whether the address is one that the pool gives out.
    pub fn has(&self, address: std::net::IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address)) && !(self.avoid_buggy && is_buggy(address))
    }

    /// Its ranges of a family.
    pub fn ranges_of(&self, family: Family) -> impl Iterator<Item = &AddressRange> {
        self.ranges.iter().filter(move |range| range.family() == family)
    }

    /// The order in which pools that are meant for a Service are tried.
    pub(super) fn rank(&self) -> (u32, &str) {
        (self.takes.rank().unwrap_or(u32::MAX), &self.name)
    }
}

/// Why a pool is not used as it is written. Its last good form, if it has one, stays in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolFault {
    /// It has addresses of an older pool.
    #[error("spec.addresses: {range} is in AddressPool {other} too")]
    Overlap {
        /// The older pool.
        other: Arc<str>,
        /// What both have.
        range: AddressRange,
    },
    /// It names one address twice.
    #[error("spec.addresses: {range} is in the list twice")]
    OverlapsItself {
        /// What is there twice.
        range: AddressRange,
    },
}

/// What a pool has in common with itself or with others.
pub(super) fn fault<'a>(pool: &Pool, others: impl Iterator<Item = &'a Pool>) -> Option<PoolFault> {
    for (index, range) in pool.ranges.iter().enumerate() {
        let common = pool.ranges[..index]
            .iter()
            .find_map(|earlier| earlier.intersection(range));
        if let Some(range) = common {
            return Some(PoolFault::OverlapsItself { range });
        }
    }
    others.filter(|other| other.name != pool.name).find_map(|other| {
        let pairs = pool
            .ranges
            .iter()
            .flat_map(|range| other.ranges.iter().map(move |theirs| (range, theirs)));
        let range = pairs
            .into_iter()
            .find_map(|(range, theirs)| range.intersection(theirs))?;
        Some(PoolFault::Overlap {
            other: other.name.clone(),
            range,
        })
    })
}
