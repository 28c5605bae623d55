//! Addresses between two Services.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use fairlead_model::ServiceName;

use super::AddressRange;

/// An address between two Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// When it can be given out again.
    pub until: SystemTime,
    /// Who had it, and can have it back before.
    pub of: Option<ServiceName>,
}

/// All addresses that rest, found by address, by their last Service and by the end of their rest.
#[derive(Debug, Default)]
pub(super) struct Resting {
    addresses: BTreeMap<IpAddr, Rest>,
    of: BTreeMap<ServiceName, BTreeSet<IpAddr>>,
    ends: BTreeSet<(SystemTime, IpAddr)>,
}

impl Resting {
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    pub(super) fn insert(&mut self, address: IpAddr, rest: Rest) {
        self.remove(address);
        self.ends.insert((rest.until, address));
        if let Some(service) = &rest.of {
            self.of.entry(service.clone()).or_default().insert(address);
        }
        self.addresses.insert(address, rest);
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        let Some(rest) = self.addresses.remove(&address) else {
            return;
        };
        self.ends.remove(&(rest.until, address));
        if let Some(service) = rest.of
            && let Some(addresses) = self.of.get_mut(&service)
        {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.of.remove(&service);
            }
        }
    }

    /// Takes out those whose rest is over.
    pub(super) fn end(&mut self, now: SystemTime) -> Vec<IpAddr> {
        let over: Vec<_> = self
            .ends
            .iter()
            .take_while(|(until, _)| *until <= now)
            .map(|(_, address)| *address)
            .collect();
        for address in &over {
            self.remove(*address);
        }
        over
    }

    /// When the next rest ends.
    pub(super) fn next_end(&self) -> Option<SystemTime> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Those that a Service had last.
    pub(super) fn of(&self, service: &ServiceName) -> impl Iterator<Item = IpAddr> {
        self.of.get(service).into_iter().flatten().copied()
    }

    /// Those of a range.
    pub(super) fn within(&self, range: &AddressRange) -> impl Iterator<Item = (IpAddr, &Rest)> {
        let rests = self.addresses.range(range.first()..=range.last());
        rests.map(|(address, rest)| (*address, rest))
    }
}
