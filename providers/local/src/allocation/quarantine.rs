//! Addresses that machines outside of the cluster have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use super::AddressRange;

/// An address that is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// The MAC address of the machine.
    pub mac: String,
    /// The node that has heard it.
    pub node: String,
    /// When the address can be given out again; not before a node finds it free if `None`.
    pub until: Option<SystemTime>,
}

impl Quarantine {
    /// What people are told.
    pub fn sentence(&self, address: IpAddr) -> String {
        let Self { mac, node, .. } = self;
        format!("{address} belongs to a machine outside of the cluster, {mac}, as node {node} has heard")
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Quarantined(BTreeMap<IpAddr, Quarantine>);

impl Quarantined {
    pub(super) fn get(&self, address: IpAddr) -> Option<&Quarantine> {
        self.0.get(&address)
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains_key(&address)
    }

    pub(super) fn insert(&mut self, address: IpAddr, quarantine: Quarantine) -> Option<Quarantine> {
        self.0.insert(address, quarantine)
    }

    pub(super) fn remove(&mut self, address: IpAddr) -> Option<Quarantine> {
        self.0.remove(&address)
    }

    /// Takes out those whose time is over.
    pub(super) fn end(&mut self, now: SystemTime) -> Vec<IpAddr> {
        let is_over = |quarantine: &Quarantine| quarantine.until.is_some_and(|until| until <= now);
        let over = self.0.extract_if(.., |_, quarantine| is_over(quarantine));
        over.map(|(address, _)| address).collect()
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<SystemTime> {
        self.0.values().filter_map(|quarantine| quarantine.until).min()
    }

    /// Those of a range.
    pub(super) fn within(&self, range: &AddressRange) -> impl Iterator<Item = (IpAddr, &Quarantine)> {
        let quarantined = self.0.range(range.first()..=range.last());
        quarantined.map(|(address, quarantine)| (*address, quarantine))
    }
}
