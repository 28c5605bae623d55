//! Who has which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fairlead_model::{Family, Protocol, ServiceName};

use super::pool::{self, Pool, PoolFault};
use super::quarantine::{Quarantine, Quarantined};
use super::range::Taken;
use super::request::{Decision, Request};
use super::rest::{Rest, Resting};
use choose::is_enough;
use shared::Shared;
use users::Users;

mod choose;
mod shared;
mod users;

/// Gives addresses out. It is the only one that does.
#[derive(Debug, Default)]
pub struct Allocator {
    pools: BTreeMap<Arc<str>, Pool>,
    services: BTreeMap<ServiceName, Assignment>,
    users: BTreeMap<IpAddr, Users>,
    /// Where Services with a key are already.
    shared: Shared,
    resting: Resting,
    /// Addresses that machines outside of the cluster have.
    quarantined: Quarantined,
    taken: Taken,
    /// Services that did not get what they asked for.
    waiting: BTreeMap<ServiceName, Waiting>,
    /// Of two Services that cannot be together, the one that came first stays.
    arrivals: u64,
    looks: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    addresses: Vec<IpAddr>,
    /// Those of them that the Service came with.
    adopted: Vec<IpAddr>,
    pool: Arc<str>,
    /// The pool's, in case that it is gone when the addresses become free.
    reuse_delay: Duration,
    sharing_key: Option<Arc<str>>,
    ports: BTreeSet<(Protocol, u16)>,
    arrival: u64,
}

/// What can help a Service that waits.
#[derive(Debug, Clone)]
struct Waiting {
    sharing_key: Option<Arc<str>>,
    addresses: Vec<IpAddr>,
}

/// How many addresses of one family a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Those that Services have.
    pub assigned: u64,
    /// Those that can still be given out, now or after a rest.
    pub available: u128,
}

impl Allocator {
    /// Replaces the pools. What is wrong with one is told, and its last good form stays in use. Where two have addresses in common, the
    /// one whose addresses are as they were counts, then the one that is known, then the earlier one in the list. All Services are to
    /// be decided again.
    pub fn set_pools(&mut self, mut wanted: Vec<Pool>) -> BTreeMap<Arc<str>, PoolFault> {
        let mut faults = BTreeMap::new();
        while let Some((at, fault)) = self.first_fault(&mut wanted) {
            faults.insert(wanted[at].name.clone(), fault);
            // The last good forms fit together, so that one of them is never at fault.
            match self.pools.get(&wanted[at].name) {
                Some(last_good) if last_good.ranges != wanted[at].ranges => wanted[at] = last_good.clone(),
                _ => drop(wanted.remove(at)),
            }
        }
        self.pools = wanted.into_iter().map(|pool| (pool.name.clone(), pool)).collect();
        faults
    }

    /// The first pool that does not fit to those that count more than it.
    fn first_fault(&self, wanted: &mut [Pool]) -> Option<(usize, PoolFault)> {
        wanted.sort_by_key(|pool| {
            let known = self.pools.get(&pool.name);
            (known.is_none(), known.is_some_and(|known| known.ranges != pool.ranges))
        });
        let faults = wanted.iter().enumerate();
        faults
            .map(|(at, pool)| (at, pool::fault(pool, wanted[..at].iter())))
            .find_map(|(at, fault)| Some((at, fault?)))
    }

    /// Takes over what a Service shows, as long as nothing has been decided. Nothing is taken from those that were restored before.
    pub fn restore(&mut self, request: &Request) {
        if let Some((pool, addresses)) = self.legal_part(request, &request.held) {
            self.assign(request, pool, addresses);
        }
    }

    /// Decides what a Service gets. Deciding again changes nothing.
    pub fn decide(&mut self, request: &Request, now: SystemTime) -> Decision {
        let mut again = self.expire(now);
        let before = self.services.get(&request.service).cloned();
        let held = before
            .as_ref()
            .map_or_else(|| request.held.clone(), |held| held.addresses.clone());
        let legal = self.legal_part(request, &held);
        let outcome = self.choose(request, &held, legal.as_ref());
        let (found, refusal) = match outcome {
            Ok(found) => (Some(found), None),
            Err(refusal) => (
                legal.filter(|(_, addresses)| is_enough(request, addresses)),
                Some(refusal),
            ),
        };
        let mut kept = found.iter().flat_map(|(_, addresses)| addresses);
        let refusal = refusal.or_else(|| kept.find_map(|address| self.conflict(request, *address)));
        let is_whole = found
            .as_ref()
            .is_some_and(|(_, addresses)| addresses.len() == request.families.len() || !request.addresses.is_empty());
        match &found {
            Some((pool, addresses)) => self.assign(request, pool.clone(), addresses.clone()),
            None => self.unassign(&request.service),
        }
        if refusal.is_some() || !is_whole {
            let waiting = Waiting {
                sharing_key: request.sharing_key.clone(),
                addresses: request.addresses.clone(),
            };
            self.waiting.insert(request.service.clone(), waiting);
        } else {
            self.waiting.remove(&request.service);
        }
        again.extend(self.follow_up(&request.service, before.as_ref(), now));
        again.remove(&request.service);
        let (pool, addresses) = found.map_or((None, Vec::new()), |(pool, addresses)| (Some(pool), addresses));
        Decision {
            addresses: in_order(request, addresses),
            pool,
            refusal,
            again,
        }
    }

    /// A Service wants nothing any more. Gives those that may now get what they wait for.
    pub fn release(&mut self, service: &ServiceName, now: SystemTime) -> BTreeSet<ServiceName> {
        self.waiting.remove(service);
        let before = self.services.get(service).cloned();
        self.unassign(service);
        self.follow_up(service, before.as_ref(), now)
    }

    /// What a change of a Service's addresses, key or ports does to others: addresses that it has left begin to rest. Gives the Services
    /// that may now get more, or have to give way. Nothing has changed for anybody if the Service is as before.
    fn follow_up(
        &mut self,
        service: &ServiceName,
        before: Option<&Assignment>,
        now: SystemTime,
    ) -> BTreeSet<ServiceName> {
        let after = self.services.get(service).cloned();
        if before == after.as_ref() {
            return BTreeSet::new();
        }
        let mut left = Vec::new();
        if let Some(before) = before {
            let kept = after.as_ref().map_or(&[][..], |after| &after.addresses);
            left.extend(
                before
                    .addresses
                    .iter()
                    .copied()
                    .filter(|address| !kept.contains(address)),
            );
            for address in &left {
                self.rest(*address, before, service, now);
            }
        }
        let is_any_free = left.iter().any(|address| !self.is_used(*address));
        let mut again = BTreeSet::new();
        let mut keys = BTreeSet::new();
        if let Some(after) = &after {
            for users in after.addresses.iter().filter_map(|address| self.users.get(address)) {
                let rivals = users.rivals(service, after.sharing_key.as_ref(), &after.ports);
                again.extend(rivals.map(|(rival, _)| rival.clone()));
                // One that joins others with its key makes no room.
                let own = after.sharing_key.iter();
                keys.extend(own.filter(|key| before.is_some() || users.count_of(key) == 1));
            }
        }
        if let Some(before) = before {
            keys.extend(&before.sharing_key);
            let users = before.addresses.iter().filter_map(|address| self.users.get(address));
            keys.extend(users.flat_map(Users::keys));
        }
        let is_helped = |waiting: &Waiting| {
            is_any_free
                || waiting.addresses.iter().any(|address| left.contains(address))
                || waiting.sharing_key.as_ref().is_some_and(|key| keys.contains(key))
        };
        let helped = self.waiting.iter().filter(|(_, waiting)| is_helped(waiting));
        again.extend(helped.map(|(name, _)| name.clone()));
        again.remove(service);
        again
    }

    /// A machine outside of the cluster has the address: nobody gets it any more. Gives those that have it, if this is news.
    pub fn quarantine(&mut self, address: IpAddr, quarantine: Quarantine) -> BTreeSet<ServiceName> {
        let said = |quarantine: &Quarantine| (quarantine.mac.clone(), quarantine.node.clone());
        let now = said(&quarantine);
        let before = self.quarantined.insert(address, quarantine);
        self.taken.insert(address);
        if before.as_ref().map(said) == Some(now) {
            return BTreeSet::new();
        }
        let users = self.users.get(&address).into_iter();
        users.flat_map(Users::names).cloned().collect()
    }

    /// The other machine is gone. Gives those that may now get what they wait for.
    pub fn unquarantine(&mut self, address: IpAddr) -> BTreeSet<ServiceName> {
        if self.quarantined.remove(address).is_none() {
            return BTreeSet::new();
        }
        self.free_if_unused(address);
        self.waiting.keys().cloned().collect()
    }

    /// Goes on with a rest that was begun before this process.
    pub fn restore_rest(&mut self, address: IpAddr, rest: Rest) {
        if !self.users.contains_key(&address) {
            self.resting.insert(address, rest);
            self.taken.insert(address);
        }
    }

    /// Ends the rests and quarantines that are over. Gives those that may now get what they wait for.
    pub fn expire(&mut self, now: SystemTime) -> BTreeSet<ServiceName> {
        let mut over = self.resting.end(now);
        over.extend(self.quarantined.end(now));
        for address in &over {
            self.free_if_unused(*address);
        }
        let helped = self.waiting.keys().filter(|_| !over.is_empty());
        helped.cloned().collect()
    }

    /// When [`Self::expire`] may help somebody.
    pub fn next_deadline(&self) -> Option<SystemTime> {
        let ends = [self.resting.next_end(), self.quarantined.next_end()];
        ends.into_iter().flatten().min()
    }

    /// Addresses that rest, of a pool.
    pub fn resting(&self, pool: &str) -> impl Iterator<Item = (IpAddr, &Rest)> {
        let pool = self.pools.get(pool);
        let ranges = pool.into_iter().flat_map(|pool| &pool.ranges);
        let resting = ranges.flat_map(|range| self.resting.within(range));
        resting.filter(move |(address, _)| pool.is_some_and(|pool| pool.has(*address)))
    }

    /// Addresses of a pool that machines outside of the cluster have.
    pub fn quarantined(&self, pool: &str) -> impl Iterator<Item = (IpAddr, &Quarantine)> {
        let pool = self.pools.get(pool);
        let ranges = pool.into_iter().flat_map(|pool| &pool.ranges);
        ranges.flat_map(|range| self.quarantined.within(range))
    }

    /// The quarantine of an address.
    pub fn quarantine_of(&self, address: IpAddr) -> Option<&Quarantine> {
        self.quarantined.get(address)
    }

    /// The pools in use.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values()
    }

    /// How many addresses a pool has of a family; none if it is not one of its.
    pub fn usage(&self, pool: &str, family: Family) -> Option<Usage> {
        let pool = self.pools.get(pool)?;
        let mut ranges = pool.ranges_of(family).peekable();
        ranges.peek()?;
        let mut usage = Usage::default();
        for range in ranges {
            let buggy = if pool.avoid_buggy { range.buggy() } else { 0 };
            let resting = self.resting.within(range);
            let resting = resting
                .filter(|(address, _)| !self.quarantined.contains(*address))
                .count() as u128;
            let free = range
                .size()
                .saturating_sub(self.taken.count(range))
                .saturating_sub(buggy);
            usage.assigned += self.users.range(range.first()..=range.last()).count() as u64;
            usage.available = usage.available.saturating_add(free).saturating_add(resting);
        }
        Some(usage)
    }

    /// How many places were looked at in search of free addresses, since the beginning: for tests of what it costs.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    fn assign(&mut self, request: &Request, pool: Arc<str>, addresses: Vec<IpAddr>) {
        let old = self.services.remove(&request.service);
        let arrival = old.as_ref().map(|old| old.arrival);
        let first = request.held.iter().filter(|_| request.is_adopted);
        let mut adopted = old
            .as_ref()
            .map_or_else(|| first.copied().collect(), |old| old.adopted.clone());
        adopted.retain(|address| addresses.contains(address));
        if let Some(old) = old {
            self.forget(&request.service, &old);
        }
        let arrival = arrival.unwrap_or_else(|| {
            self.arrivals += 1;
            self.arrivals
        });
        let assignment = Assignment {
            addresses,
            adopted,
            reuse_delay: self.pools.get(&pool).map(|pool| pool.reuse_delay).unwrap_or_default(),
            pool,
            sharing_key: request.sharing_key.clone(),
            ports: request.ports.clone(),
            arrival,
        };
        for &address in &assignment.addresses {
            self.resting.remove(address);
            self.taken.insert(address);
            let key = assignment.sharing_key.as_ref();
            let users = self.users.entry(address).or_default();
            users.insert(&request.service, key, &assignment.ports);
            if let Some(key) = key {
                self.shared.insert(key, &assignment.pool, address, &assignment.ports);
            }
        }
        self.services.insert(request.service.clone(), assignment);
    }

    fn unassign(&mut self, service: &ServiceName) {
        if let Some(old) = self.services.remove(service) {
            self.forget(service, &old);
        }
    }

    fn forget(&mut self, service: &ServiceName, old: &Assignment) {
        for address in &old.addresses {
            let key = old.sharing_key.as_ref();
            if let Some(users) = self.users.get_mut(address) {
                users.remove(service, key, &old.ports);
                if users.is_empty() {
                    self.users.remove(address);
                }
            }
            if let Some(key) = key {
                self.shared.remove(key, &old.pool, *address, &old.ports);
            }
            self.free_if_unused(*address);
        }
    }

    /// Lets an address rest that nobody has any more, by the rule of the pool that has it now.
    fn rest(&mut self, address: IpAddr, before: &Assignment, of: &ServiceName, now: SystemTime) {
        let pool = self.pools.values().find(|pool| pool.has(address));
        let delay = pool.map_or(before.reuse_delay, |pool| pool.reuse_delay);
        // Nobody was reached at one that another machine has.
        if delay.is_zero() || self.users.contains_key(&address) || self.quarantined.contains(address) {
            return;
        }
        let rest = Rest {
            until: now + delay,
            of: Some(of.clone()),
        };
        self.resting.insert(address, rest);
        self.taken.insert(address);
    }

    /// Whether something stands against giving it to a Service that does not share.
    fn is_used(&self, address: IpAddr) -> bool {
        self.users.contains_key(&address) || self.resting.contains(address) || self.quarantined.contains(address)
    }

    fn free_if_unused(&mut self, address: IpAddr) {
        if !self.is_used(address) {
            self.taken.remove(address);
        }
    }
}

fn in_order(request: &Request, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_key(|address| {
        request
            .families
            .iter()
            .position(|family| *family == Family::of(*address))
    });
    addresses
}

#[cfg(test)]
mod tests;
