//! Who has which address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use fairlead_model::{Family, Protocol, ServiceName};

use super::pool::{self, Pool, PoolFault};
use super::range::Taken;
use super::request::{Decision, Refusal, Request};

/// Gives addresses out. It is the only one that does.
#[derive(Debug, Default)]
pub struct Allocator {
    pools: BTreeMap<Arc<str>, Pool>,
    services: BTreeMap<ServiceName, Assignment>,
    users: BTreeMap<IpAddr, BTreeSet<ServiceName>>,
    /// Where Services with a key are already.
    shared: BTreeMap<Arc<str>, BTreeSet<IpAddr>>,
    resting: BTreeMap<IpAddr, Rest>,
    /// Addresses that another machine on the network answers for.
    quarantined: BTreeSet<IpAddr>,
    taken: Taken,
    /// Services that did not get what they asked for.
    waiting: BTreeSet<ServiceName>,
    /// Of two Services that cannot be together, the one that came first stays.
    arrivals: u64,
    looks: u64,
}

#[derive(Debug, Clone)]
struct Assignment {
    addresses: Vec<IpAddr>,
    pool: Arc<str>,
    sharing_key: Option<Arc<str>>,
    ports: BTreeSet<(Protocol, u16)>,
    arrival: u64,
}

/// An address between two Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// When it can be given out again.
    pub until: SystemTime,
    /// Who had it, and can have it back before.
    pub of: Option<ServiceName>,
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
    /// Replaces the pools; of two that overlap the earlier one in the list counts. What is wrong with one is told, and its last good
    /// form stays in use unless it overlaps with another.
    pub fn set_pools(&mut self, pools: Vec<Pool>) -> BTreeMap<Arc<str>, PoolFault> {
        let mut accepted: BTreeMap<Arc<str>, Pool> = BTreeMap::new();
        let mut faults = BTreeMap::new();
        for pool in pools {
            let name = pool.name.clone();
            let Some(fault) = pool::fault(&pool, accepted.values()) else {
                accepted.insert(name, pool);
                continue;
            };
            let last_good = self.pools.get(&name).cloned();
            if let Some(last_good) = last_good.filter(|pool| pool::fault(pool, accepted.values()).is_none()) {
                accepted.insert(name.clone(), last_good);
            }
            faults.insert(name, fault);
        }
        self.pools = accepted;
        faults
    }

    /// Takes over what a Service shows, as long as nothing has been decided. Nothing is taken from those that were restored before.
    pub fn restore(&mut self, request: &Request) {
        if let Some((pool, addresses)) = self.legal_part(request, &request.held) {
            self.assign(request, pool, addresses);
        }
    }

    /// Decides what a Service gets. Deciding again changes nothing.
    pub fn decide(&mut self, request: &Request, now: SystemTime) -> Decision {
        self.expire(now);
        let before = self.services.get(&request.service).cloned();
        let held = before
            .as_ref()
            .map_or_else(|| request.held.clone(), |held| held.addresses.clone());
        let legal = self.legal_part(request, &held);
        let outcome = self.choose(request, &held, legal.as_ref(), now);
        let (found, refusal) = match outcome {
            Ok(found) => (Some(found), None),
            Err(refusal) => (
                legal.filter(|(_, addresses)| is_enough(request, addresses)),
                Some(refusal),
            ),
        };
        let mut again = match &found {
            Some((pool, addresses)) => self.assign(request, pool.clone(), addresses.clone()),
            None => self.unassign(&request.service, now),
        };
        if let Some(before) = before {
            again.extend(self.neighbours(&before, &request.service));
            for address in before.addresses {
                let is_left = found
                    .as_ref()
                    .is_none_or(|(_, addresses)| !addresses.contains(&address));
                if is_left {
                    self.rest(address, &before.pool, &request.service, now);
                    again.extend(self.waiting.iter().cloned());
                }
            }
        }
        match refusal {
            Some(_) => self.waiting.insert(request.service.clone()),
            None => self.waiting.remove(&request.service),
        };
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
        if !self.services.contains_key(service) {
            return BTreeSet::new();
        }
        let mut again = self.unassign(service, now);
        again.extend(self.waiting.iter().cloned());
        again
    }

    /// Another machine answers for the address: nobody gets it any more. Gives those that had it.
    pub fn quarantine(&mut self, address: IpAddr) -> BTreeSet<ServiceName> {
        self.quarantined.insert(address);
        self.taken.insert(address);
        self.users.get(&address).cloned().unwrap_or_default()
    }

    /// The other machine is gone. Gives those that may now get what they wait for.
    pub fn unquarantine(&mut self, address: IpAddr) -> BTreeSet<ServiceName> {
        self.quarantined.remove(&address);
        self.free_if_unused(address);
        self.waiting.clone()
    }

    /// Goes on with a rest that was begun before this process.
    pub fn restore_rest(&mut self, address: IpAddr, until: SystemTime) {
        if !self.users.contains_key(&address) {
            self.resting.insert(address, Rest { until, of: None });
            self.taken.insert(address);
        }
    }

    /// Ends the rests that are over. Gives those that may now get what they wait for.
    pub fn expire(&mut self, now: SystemTime) -> BTreeSet<ServiceName> {
        let over: Vec<_> = self
            .resting
            .iter()
            .filter(|(_, rest)| rest.until <= now)
            .map(|(address, _)| *address)
            .collect();
        for address in &over {
            self.resting.remove(address);
            self.free_if_unused(*address);
        }
        if over.is_empty() {
            BTreeSet::new()
        } else {
            self.waiting.clone()
        }
    }

    /// When [`Self::expire`] may help somebody.
    pub fn next_deadline(&self) -> Option<SystemTime> {
        self.resting.values().map(|rest| rest.until).min()
    }

    /// Addresses that rest, of a pool.
    pub fn resting(&self, pool: &str) -> impl Iterator<Item = (IpAddr, &Rest)> {
        let pool = self.pools.get(pool);
        let of_pool = move |address: &IpAddr| pool.is_some_and(|pool| pool.has(*address));
        self.resting
            .iter()
            .filter(move |(address, _)| of_pool(address))
            .map(|(address, rest)| (*address, rest))
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
            let resting = self.resting.keys().filter(|address| range.contains(**address)).count() as u128;
            let free = range
                .size()
                .saturating_sub(self.taken.count(range))
                .saturating_sub(buggy);
            usage.available = usage.available.saturating_add(free).saturating_add(resting);
        }
        let of_family = |address: &&IpAddr| Family::of(**address) == family && pool.has(**address);
        usage.assigned = self.users.keys().filter(of_family).count() as u64;
        Some(usage)
    }

    /// How many places were looked at in search of free addresses, since the beginning: for tests of what it costs.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// What of these addresses the Service may have, and the pool: all of them are of one.
    fn legal_part(&self, request: &Request, held: &[IpAddr]) -> Option<(Arc<str>, Vec<IpAddr>)> {
        let is_wanted = |address: &IpAddr| request.families.contains(&Family::of(*address));
        let is_mine = |pool: &Pool, address: IpAddr| pool.has(address) && pool.takes(request);
        let pool = held.iter().filter(|address| is_wanted(address)).find_map(|address| {
            let pool = self.pools.values().find(|pool| is_mine(pool, *address))?;
            self.may_have(request, *address).is_ok().then_some(pool)
        })?;
        let mut legal: Vec<IpAddr> = Vec::new();
        for &address in held {
            let has_family = legal.iter().any(|one| Family::of(*one) == Family::of(address));
            if is_wanted(&address) && !has_family && is_mine(pool, address) && self.may_have(request, address).is_ok() {
                legal.push(address);
            }
        }
        (!legal.is_empty()).then(|| (pool.name.clone(), legal))
    }

    /// What the Service shall have. `held` is what it has, `legal` what of that it may keep.
    fn choose(
        &mut self,
        request: &Request,
        held: &[IpAddr],
        legal: Option<&(Arc<str>, Vec<IpAddr>)>,
        now: SystemTime,
    ) -> Result<(Arc<str>, Vec<IpAddr>), Refusal> {
        if request.families.is_empty() {
            return Err(Refusal::new("FamilyMismatch", "the Service has no IP family yet"));
        }
        if !request.addresses.is_empty() {
            return self.requested(request);
        }
        let is_pool_right = |pool: &Arc<str>| request.pool.as_ref().is_none_or(|wanted| wanted == pool);
        if let Some((pool, addresses)) = legal.filter(|(pool, _)| is_pool_right(pool)) {
            let is_whole = addresses.len() == request.families.len();
            // One that has lost nothing stays, and gets what is missing from the same pool.
            let has_lost = held
                .iter()
                .any(|address| request.families.contains(&Family::of(*address)) && !addresses.contains(address));
            if is_whole {
                return Ok((pool.clone(), addresses.clone()));
            }
            if !has_lost {
                let missing = request
                    .families
                    .iter()
                    .find(|family| !addresses.iter().any(|address| Family::of(*address) == **family));
                let mut completed = addresses.clone();
                completed.extend(missing.and_then(|family| self.find(request, pool, *family)));
                if is_enough(request, &completed) {
                    return Ok((pool.clone(), completed));
                }
            }
            // With less than it had, another pool is better only if it has everything.
            if request.prefers_only {
                let elsewhere = self.search(request, true, now);
                return Ok(elsewhere.unwrap_or_else(|_| (pool.clone(), addresses.clone())));
            }
        }
        self.search(request, false, now)
    }

    /// Exactly the addresses that were asked for.
    fn requested(&self, request: &Request) -> Result<(Arc<str>, Vec<IpAddr>), Refusal> {
        let families: BTreeSet<_> = request.addresses.iter().map(|address| Family::of(*address)).collect();
        if families.len() != request.addresses.len() {
            return Err(Refusal::new(
                "FamilyMismatch",
                "two addresses of one IP family are asked for; there can be one of each",
            ));
        }
        if let Some(address) = request
            .addresses
            .iter()
            .find(|address| !request.families.contains(&Family::of(**address)))
        {
            let family = Family::of(*address);
            return Err(Refusal::new(
                "FamilyMismatch",
                format!("{address} is asked for, and the Service has no {family} in spec.ipFamilies"),
            ));
        }
        if !is_enough(request, &request.addresses) {
            return Err(Refusal::new(
                "FamilyMismatch",
                "the Service is RequireDualStack and asks for an address of one IP family only",
            ));
        }
        let mut from: Option<&Pool> = None;
        for &address in &request.addresses {
            let Some(pool) = self
                .pools
                .values()
                .find(|pool| pool.ranges.iter().any(|range| range.contains(address)))
            else {
                return Err(Refusal::new(
                    "AddressNotInPool",
                    format!("{address} is in no AddressPool"),
                ));
            };
            if !pool.has(address) {
                let message = format!(
                    "AddressPool {} leaves out addresses like {address} (avoidBuggyIPs)",
                    pool.name
                );
                return Err(Refusal::new("AddressReserved", message));
            }
            if let Some(wanted) = request.pool.as_ref().filter(|wanted| **wanted != pool.name) {
                let message = format!(
                    "{address} is in AddressPool {}, and AddressPool {wanted} is asked for",
                    pool.name
                );
                return Err(Refusal::new("AddressNotInPool", message));
            }
            if !pool.takes(request) {
                let message = format!(
                    "AddressPool {}, which has {address}, does not take this Service",
                    pool.name
                );
                return Err(Refusal::new("PoolNotAllowed", message));
            }
            if let Some(other) = from.filter(|other| other.name != pool.name) {
                let message = format!("the addresses are in different pools, {} and {}", other.name, pool.name);
                return Err(Refusal::new("AddressNotInPool", message));
            }
            self.may_have(request, address)?;
            from = Some(pool);
        }
        let pool = from.expect("an address was asked for");
        Ok((pool.name.clone(), request.addresses.clone()))
    }

    /// Whether nothing but a pool stands against the Service having this address.
    fn may_have(&self, request: &Request, address: IpAddr) -> Result<(), Refusal> {
        if self.quarantined.contains(&address) {
            let message = format!("another machine on the network answers for {address}");
            return Err(Refusal::new("AddressConflict", message));
        }
        let mine = self
            .services
            .get(&request.service)
            .filter(|held| held.addresses.contains(&address));
        for other in self
            .users
            .get(&address)
            .into_iter()
            .flatten()
            .filter(|other| **other != request.service)
        {
            let theirs = &self.services[other];
            // Who came later gives way when it is decided itself.
            if mine.is_some_and(|mine| mine.arrival < theirs.arrival) {
                continue;
            }
            if request.sharing_key.is_none() || request.sharing_key != theirs.sharing_key {
                let message = format!("Service {other} has {address} and does not share it with this one");
                return Err(Refusal::new("AddressInUse", message));
            }
            if let Some((protocol, port)) = request.ports.intersection(&theirs.ports).next() {
                let message = format!("Service {other}, which shares {address}, has port {port}/{protocol} too");
                return Err(Refusal::new("AddressInUse", message));
            }
        }
        Ok(())
    }

    /// An address of a family in a pool: one that Services with the same key have, or the first that nobody has.
    fn find(&mut self, request: &Request, pool: &str, family: Family) -> Option<IpAddr> {
        let pool = self.pools.get(pool)?;
        let of_pool = |address: &&IpAddr| Family::of(**address) == family && pool.has(**address);
        let together = request.sharing_key.as_ref().and_then(|key| self.shared.get(key));
        let together = together.into_iter().flatten().filter(of_pool);
        let own = self
            .resting
            .iter()
            .filter(|(_, rest)| rest.of.as_ref() == Some(&request.service));
        let own = own.map(|(address, _)| address).filter(of_pool);
        let known = together
            .chain(own)
            .find(|address| self.may_have(request, **address).is_ok());
        let mut looks = 0;
        let found = known.copied().or_else(|| {
            pool.ranges_of(family)
                .find_map(|range| self.taken.first_free(range, pool.avoid_buggy, &mut looks))
        });
        self.looks += looks;
        found
    }

    /// Addresses of the first pool that has what is wanted.
    fn search(
        &mut self,
        request: &Request,
        must_be_whole: bool,
        now: SystemTime,
    ) -> Result<(Arc<str>, Vec<IpAddr>), Refusal> {
        let tiers = self.tiers(request)?;
        let all = request.families.clone();
        let mut wants = vec![all.clone()];
        if request.prefers_only && all.len() > 1 && !must_be_whole {
            wants.extend(all.iter().map(|family| vec![*family]));
        }
        for tier in &tiers {
            for want in &wants {
                for pool in tier {
                    let found: Option<Vec<_>> = want.iter().map(|family| self.find(request, pool, *family)).collect();
                    if let Some(found) = found {
                        return Ok((pool.clone(), found));
                    }
                }
            }
        }
        Err(self.exhausted(request, &tiers.concat(), now))
    }

    /// The pools to try: first those that are meant for the Service, then those that are for all.
    fn tiers(&self, request: &Request) -> Result<Vec<Vec<Arc<str>>>, Refusal> {
        if let Some(name) = &request.pool {
            let Some(pool) = self.pools.get(name) else {
                return Err(Refusal::new("UnknownPool", format!("there is no AddressPool {name}")));
            };
            if !pool.takes(request) {
                let message = format!("AddressPool {name} does not take this Service");
                return Err(Refusal::new("PoolNotAllowed", message));
            }
            return Ok(vec![vec![name.clone()]]);
        }
        let mut fit: Vec<_> = self
            .pools
            .values()
            .filter(|pool| pool.auto_assign && pool.takes(request))
            .collect();
        fit.sort_by_key(|pool| pool.rank());
        let (open, meant): (Vec<_>, Vec<_>) = fit.into_iter().partition(|pool| pool.takes.is_unrestricted());
        let is_fenced = meant.iter().any(|pool| pool.takes.is_exclusive);
        let names = |pools: Vec<&Pool>| pools.into_iter().map(|pool| pool.name.clone()).collect::<Vec<_>>();
        let mut tiers = vec![names(meant)];
        if !is_fenced {
            tiers.push(names(open));
        }
        Ok(tiers)
    }

    fn exhausted(&self, request: &Request, tried: &[Arc<str>], now: SystemTime) -> Refusal {
        let names = tried.join(", ");
        if tried.is_empty() {
            return Refusal::new("NoPool", "no AddressPool gives addresses to this Service by itself");
        }
        let has_family = |family: &Family| {
            let mut pools = tried.iter().filter_map(|name| self.pools.get(name));
            pools.any(|pool| pool.ranges_of(*family).next().is_some())
        };
        if let Some(family) = request.families.iter().find(|family| !has_family(family)) {
            return Refusal::new("FamilyMismatch", format!("there are no {family} addresses in {names}"));
        }
        let soon = tried
            .iter()
            .flat_map(|name| self.resting(name))
            .map(|(address, rest)| (rest.until, address))
            .min();
        match soon {
            Some((until, address)) => {
                let wait = until.duration_since(now).unwrap_or_default().as_secs();
                let message = format!("every address of {names} is taken; {address} can be given out in {wait} s");
                Refusal::new("PoolExhausted", message)
            }
            None => Refusal::new("PoolExhausted", format!("every address of {names} is taken")),
        }
    }

    fn assign(&mut self, request: &Request, pool: Arc<str>, addresses: Vec<IpAddr>) -> BTreeSet<ServiceName> {
        let old = self.services.remove(&request.service);
        let arrival = old.as_ref().map(|old| old.arrival);
        if let Some(old) = old {
            self.forget(&request.service, &old);
        }
        let arrival = arrival.unwrap_or_else(|| {
            self.arrivals += 1;
            self.arrivals
        });
        let assignment = Assignment {
            addresses,
            pool,
            sharing_key: request.sharing_key.clone(),
            ports: request.ports.clone(),
            arrival,
        };
        for &address in &assignment.addresses {
            self.resting.remove(&address);
            self.taken.insert(address);
            self.users.entry(address).or_default().insert(request.service.clone());
            if let Some(key) = &assignment.sharing_key {
                self.shared.entry(key.clone()).or_default().insert(address);
            }
        }
        let neighbours = self.neighbours(&assignment, &request.service);
        self.services.insert(request.service.clone(), assignment);
        neighbours
    }

    fn unassign(&mut self, service: &ServiceName, now: SystemTime) -> BTreeSet<ServiceName> {
        let Some(old) = self.services.remove(service) else {
            return BTreeSet::new();
        };
        self.forget(service, &old);
        for address in &old.addresses {
            self.rest(*address, &old.pool, service, now);
        }
        self.neighbours(&old, service)
    }

    fn forget(&mut self, service: &ServiceName, old: &Assignment) {
        for address in &old.addresses {
            if let Some(users) = self.users.get_mut(address) {
                users.remove(service);
                let is_last = users.is_empty();
                let has_key = users.iter().any(|user| {
                    self.services
                        .get(user)
                        .is_some_and(|user| user.sharing_key == old.sharing_key)
                });
                if let Some(key) = old.sharing_key.as_ref().filter(|_| !has_key)
                    && let Some(addresses) = self.shared.get_mut(key)
                {
                    addresses.remove(address);
                    if addresses.is_empty() {
                        self.shared.remove(key);
                    }
                }
                if is_last {
                    self.users.remove(address);
                }
            }
            self.free_if_unused(*address);
        }
    }

    /// Lets an address rest that nobody has any more.
    fn rest(&mut self, address: IpAddr, pool: &str, of: &ServiceName, now: SystemTime) {
        let delay = self.pools.get(pool).map(|pool| pool.reuse_delay).unwrap_or_default();
        if delay.is_zero() || self.users.contains_key(&address) {
            return;
        }
        let rest = Rest {
            until: now + delay,
            of: Some(of.clone()),
        };
        self.resting.insert(address, rest);
        self.taken.insert(address);
    }

    fn free_if_unused(&mut self, address: IpAddr) {
        let is_used = self.users.contains_key(&address)
            || self.resting.contains_key(&address)
            || self.quarantined.contains(&address);
        if !is_used {
            self.taken.remove(address);
        }
    }

    /// Those that have an address of it too.
    fn neighbours(&self, assignment: &Assignment, own: &ServiceName) -> BTreeSet<ServiceName> {
        let users = assignment
            .addresses
            .iter()
            .filter_map(|address| self.users.get(address));
        users.flatten().filter(|user| *user != own).cloned().collect()
    }
}

/// Whether these addresses are all that the Service needs.
fn is_enough(request: &Request, addresses: &[IpAddr]) -> bool {
    !addresses.is_empty() && (request.prefers_only || addresses.len() == request.families.len())
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
