//! Which addresses a Service shall have.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use fairlead_model::Family;
use k8s_openapi::jiff::Timestamp;

use super::super::pool::Pool;
use super::super::request::{Objection, Refusal, Request};
use super::Allocator;
use super::users::Rivalry;

/// So many addresses of other machines are named.
const NAMED: usize = 3;

impl Allocator {
    /// What of these addresses the Service may have, and the pool: all of them are of one.
    pub(super) fn legal_part(&self, request: &Request, held: &[IpAddr]) -> Option<(Arc<str>, Vec<IpAddr>)> {
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
    pub(super) fn choose(
        &mut self,
        request: &Request,
        held: &[IpAddr],
        legal: Option<&(Arc<str>, Vec<IpAddr>)>,
    ) -> Result<(Arc<str>, Vec<IpAddr>), Refusal> {
        if request.families.is_empty() {
            return Err(Refusal::new(
                Objection::FamilyMismatch,
                "the Service has no IP family yet",
            ));
        }
        if !request.addresses.is_empty() {
            return self.requested(request);
        }
        let is_pool_right = |pool: &Arc<str>| request.pool.as_ref().is_none_or(|wanted| wanted == pool);
        if let Some((pool, addresses)) = legal.filter(|(pool, _)| is_pool_right(pool)) {
            // What is missing comes from the same pool.
            let has_family = |family: &Family| addresses.iter().any(|address| Family::of(*address) == *family);
            let missing = request.families.iter().filter(|family| !has_family(family));
            let mut completed = addresses.clone();
            completed.extend(missing.filter_map(|family| self.find(request, pool, *family)));
            let is_whole = completed.len() == request.families.len();
            let has_lost = held
                .iter()
                .any(|address| request.families.contains(&Family::of(*address)) && !addresses.contains(address));
            if is_whole || (request.prefers_only && !has_lost) {
                return Ok((pool.clone(), completed));
            }
            // With less than it had, another pool is better only if it has everything.
            if request.prefers_only {
                let elsewhere = self.search(request, true);
                return Ok(elsewhere.unwrap_or_else(|_| (pool.clone(), completed)));
            }
        }
        self.search(request, false)
    }

    /// Exactly the addresses that were asked for.
    fn requested(&self, request: &Request) -> Result<(Arc<str>, Vec<IpAddr>), Refusal> {
        let families: BTreeSet<_> = request.addresses.iter().map(|address| Family::of(*address)).collect();
        if families.len() != request.addresses.len() {
            return Err(Refusal::new(
                Objection::FamilyMismatch,
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
                Objection::FamilyMismatch,
                format!("{address} is asked for, and the Service has no {family} in spec.ipFamilies"),
            ));
        }
        if !is_enough(request, &request.addresses) {
            return Err(Refusal::new(
                Objection::FamilyMismatch,
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
                    Objection::AddressNotInPool,
                    format!("{address} is in no AddressPool"),
                ));
            };
            if !pool.has(address) {
                let message = format!(
                    "AddressPool {} leaves out addresses like {address} (avoidBuggyIPs)",
                    pool.name
                );
                return Err(Refusal::new(Objection::AddressReserved, message));
            }
            if let Some(wanted) = request.pool.as_ref().filter(|wanted| **wanted != pool.name) {
                let message = format!(
                    "{address} is in AddressPool {}, and AddressPool {wanted} is asked for",
                    pool.name
                );
                return Err(Refusal::new(Objection::AddressNotInPool, message));
            }
            if !pool.takes(request) {
                let message = format!(
                    "AddressPool {}, which has {address}, does not take this Service",
                    pool.name
                );
                return Err(Refusal::new(Objection::PoolNotAllowed, message));
            }
            if let Some(other) = from.filter(|other| other.name != pool.name) {
                let message = format!("the addresses are in different pools, {} and {}", other.name, pool.name);
                return Err(Refusal::new(Objection::AddressNotInPool, message));
            }
            self.may_have(request, address)?;
            from = Some(pool);
        }
        let pool = from.expect("an address was asked for");
        Ok((pool.name.clone(), request.addresses.clone()))
    }

    /// Whether nothing but a pool stands against the Service having this address.
    fn may_have(&self, request: &Request, address: IpAddr) -> Result<(), Refusal> {
        if self.keeps(request, address).is_none()
            && let Some(refusal) = self.conflict(request, address)
        {
            return Err(refusal);
        }
        let mine = self
            .services
            .get(&request.service)
            .filter(|held| held.addresses.contains(&address));
        let users = self.users.get(&address).into_iter();
        let rivals =
            users.flat_map(|users| users.rivals(&request.service, request.sharing_key.as_ref(), &request.ports));
        for (other, rivalry) in rivals {
            // Who came later gives way when it is decided itself.
            if mine.is_some_and(|mine| mine.arrival < self.services[other].arrival) {
                continue;
            }
            let message = match rivalry {
                Rivalry::Keys => format!("Service {other} has {address} and does not share it with this one"),
                Rivalry::Port(protocol, port) => {
                    format!("Service {other}, which shares {address}, has port {port}/{protocol} too")
                }
            };
            return Err(Refusal::new(Objection::AddressInUse, message));
        }
        Ok(())
    }

    /// Why the Service keeps an address that it has, whoever else has it.
    fn keeps(&self, request: &Request, address: IpAddr) -> Option<&'static str> {
        let known = self.services.get(&request.service);
        let has = known.map_or(&request.held, |held| &held.addresses).contains(&address);
        let came_with = known.map_or(request.is_adopted, |held| held.adopted.contains(&address));
        match (has, request.addresses.contains(&address)) {
            (true, true) => Some("it is asked for by name"),
            (true, false) if came_with => Some("the Service came with it"),
            _ => None,
        }
    }

    /// What is said of an address that a machine outside of the cluster has.
    pub(super) fn conflict(&self, request: &Request, address: IpAddr) -> Option<Refusal> {
        let quarantine = self.quarantined.get(address)?;
        let why = self.keeps(request, address);
        let kept = why.map_or(String::new(), |why| format!(". It stays, since {why}"));
        let message = format!("{}{kept}", quarantine.sentence(address));
        Some(Refusal::new(Objection::AddressConflict, message))
    }

    /// An address of a family in a pool: one that Services with the same key have and its ports are free at, or the first that
    /// nobody has.
    fn find(&mut self, request: &Request, pool: &str, family: Family) -> Option<IpAddr> {
        let pool = self.pools.get(pool)?;
        let mut looks = 0;
        let key = request.sharing_key.iter();
        let together = key.flat_map(|key| self.shared.open(key, &pool.name, family, &request.ports));
        let known = together.chain(self.resting.of(&request.service)).find(|address| {
            looks += 1;
            Family::of(*address) == family && pool.has(*address) && self.may_have(request, *address).is_ok()
        });
        let found = known.or_else(|| {
            pool.ranges_of(family)
                .find_map(|range| self.taken.first_free(range, pool.avoid_buggy, &mut looks))
        });
        self.looks += looks;
        found
    }

    /// Addresses of the first pool that has what is wanted.
    fn search(&mut self, request: &Request, must_be_whole: bool) -> Result<(Arc<str>, Vec<IpAddr>), Refusal> {
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
        Err(self.exhausted(request, &tiers.concat()))
    }

    /// The pools to try: first those that are meant for the Service, then those that are for all.
    fn tiers(&self, request: &Request) -> Result<Vec<Vec<Arc<str>>>, Refusal> {
        if let Some(name) = &request.pool {
            let Some(pool) = self.pools.get(name) else {
                return Err(Refusal::new(
                    Objection::UnknownPool,
                    format!("there is no AddressPool {name}"),
                ));
            };
            if !pool.takes(request) {
                let message = format!("AddressPool {name} does not take this Service");
                return Err(Refusal::new(Objection::PoolNotAllowed, message));
            }
            return Ok(vec![vec![name.clone()]]);
        }
        let mut fit: Vec<_> = self
            .pools
            .values()
            .filter(|pool| pool.auto_assign && pool.takes(request))
            .collect();
        fit.sort_by_key(|pool| pool.rank());
        let (open, meant): (Vec<_>, Vec<_>) = fit.into_iter().partition(|pool| !pool.takes.is_meant());
        let is_fenced = meant.iter().any(|pool| pool.takes.is_exclusive);
        let names = |pools: Vec<&Pool>| pools.into_iter().map(|pool| pool.name.clone()).collect::<Vec<_>>();
        let mut tiers = vec![names(meant)];
        if !is_fenced {
            tiers.push(names(open));
        }
        Ok(tiers)
    }

    fn exhausted(&self, request: &Request, tried: &[Arc<str>]) -> Refusal {
        let names = tried.join(", ");
        if tried.is_empty() {
            return Refusal::new(
                Objection::NoPool,
                "no AddressPool gives addresses to this Service by itself",
            );
        }
        let has_family = |family: &Family| {
            let mut pools = tried.iter().filter_map(|name| self.pools.get(name));
            pools.any(|pool| pool.ranges_of(*family).next().is_some())
        };
        if let Some(family) = request.families.iter().find(|family| !has_family(family)) {
            return Refusal::new(
                Objection::FamilyMismatch,
                format!("there are no {family} addresses in {names}"),
            );
        }
        let mut pools = tried.iter().filter_map(|name| self.pools.get(name));
        let is_whole = |pool: &Pool| {
            request
                .families
                .iter()
                .all(|family| pool.ranges_of(*family).next().is_some())
        };
        if !request.prefers_only && !pools.any(is_whole) {
            let message =
                format!("the Service is RequireDualStack, and none of {names} has addresses of both IP families");
            return Refusal::new(Objection::FamilyMismatch, message);
        }
        let soon = tried
            .iter()
            .flat_map(|name| self.resting(name))
            .filter(|(address, _)| request.families.contains(&Family::of(*address)))
            .map(|(address, rest)| (rest.until, address))
            .min();
        let mut message = format!("every address of {names} is taken");
        if let Some((until, address)) = soon {
            // The time, and not how long until then: what is said again and again must be the same.
            let since = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let second = since.as_secs() + u64::from(since.subsec_nanos() > 0);
            let time = i64::try_from(second)
                .ok()
                .and_then(|second| Timestamp::from_second(second).ok());
            let until = time.map_or_else(|| "later".to_owned(), |time| format!("at {time}"));
            let _ = write!(message, "; {address} can be given out {until}");
        }
        let others = tried.iter().flat_map(|name| self.quarantined(name));
        let others: Vec<_> = others.map(|(address, _)| address.to_string()).take(NAMED).collect();
        if !others.is_empty() {
            let _ = write!(message, "; machines outside of the cluster have {}", others.join(", "));
        }
        Refusal::new(Objection::PoolExhausted, message)
    }
}

/// Whether these addresses are all that the Service needs.
pub(super) fn is_enough(request: &Request, addresses: &[IpAddr]) -> bool {
    !addresses.is_empty() && (request.prefers_only || addresses.len() == request.families.len())
}
