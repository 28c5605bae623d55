//! From Services and chosen endpoints to the elements of the program's maps.
//!
//! A Service *claims* frontends: cluster IPs, external addresses and node ports, each with a port and protocol. If two
//! Services claim the same one, the first by name has it until it lets go. What a claim puts into the maps follows from it
//! alone (`elements`); what several claims share (hairpin pairs, cluster IPs, pick chains) is counted. So one changed
//! Service touches its own elements and nothing else, and the order of changes never shows in the result, except for which
//! endpoint has which slot.

mod affinity;
mod claim;
mod elements;
mod masquerade;
mod plan;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use fairlead_model::{Family, Protocol, Selection, Service, ServiceName, ServicePort, ServicePortName};

pub use claim::{Frontend, Route};

use crate::draft::Draft;
use crate::program::{Dispatch, Options, program, suffixed};
use crate::ranges;
use crate::table::{Datum, Name, Table, Value};
use crate::transaction::{Transaction, diff};
use claim::{Claim, Masquerade, Target};
use elements::{Elements, elements};
use plan::Planned;

/// The rule set of one node, kept in step with its Services.
#[derive(Debug)]
pub struct Compiler {
    draft: Draft,
    /// What was loaded before: an endpoint that has a slot there keeps it.
    seed: Arc<Table>,
    node_ips: BTreeSet<IpAddr>,
    announced: BTreeSet<IpAddr>,
    /// The node's own addresses, as the Node object names them.
    primary_ips: Vec<IpAddr>,
    services: HashMap<ServiceName, Planned>,
    /// Who claims a frontend, by name; the first has it.
    frontends: HashMap<Frontend, Vec<Arc<Claim>>>,
    /// How connections to an address are masqueraded, by protocol and port.
    masquerade: HashMap<IpAddr, BTreeMap<(Protocol, u16), Masquerade>>,
    picks: Counted<(Dispatch, Family, u32)>,
    hairpins: Counted<IpAddr>,
    cluster_ips: Counted<IpAddr>,
}

impl Compiler {
    /// A rule set without Services. `seed` is what is loaded in the kernel, if something is: slots are taken over from it.
    pub fn new(options: &Options, seed: Option<Arc<Table>>) -> Self {
        Self {
            draft: Draft::new(program(options)),
            seed: seed.unwrap_or_default(),
            node_ips: BTreeSet::new(),
            announced: BTreeSet::new(),
            primary_ips: Vec::new(),
            services: HashMap::new(),
            frontends: HashMap::new(),
            masquerade: HashMap::new(),
            picks: Counted::default(),
            hairpins: Counted::default(),
            cluster_ips: Counted::default(),
        }
    }

    /// The rule set as it should be loaded.
    pub const fn table(&self) -> &Table {
        self.draft.table()
    }

    /// The node's addresses: those that accept node ports, and the primary ones.
    ///
    /// Services with source ranges look at the primary ones, so they must be set again after a change.
    pub fn set_node_ips(&mut self, addresses: BTreeSet<IpAddr>, primary: Vec<IpAddr>) {
        self.primary_ips = primary;
        let changed: Vec<_> = self.node_ips.symmetric_difference(&addresses).copied().collect();
        self.node_ips = addresses;
        for address in changed {
            let is_member = self.node_ips.contains(&address);
            let value = is_member.then_some(Value::Nothing);
            self.draft.put(
                &suffixed("node_ips", Family::of(address)),
                Datum::address(address),
                value,
            );
            self.masquerade_address(address);
        }
    }

    /// The addresses that nodes answer for on the network, each on one of them. Pings and neighbour solicitations to them are none of
    /// the kernel's business.
    pub fn set_announced(&mut self, addresses: BTreeSet<IpAddr>) {
        let changed: Vec<_> = self.announced.symmetric_difference(&addresses).copied().collect();
        self.announced = addresses;
        for address in changed {
            let family = Family::of(address);
            let value = self.announced.contains(&address).then_some(Value::Nothing);
            for kind in answered_kinds(family) {
                let key = Datum::builder().address(address).port(*kind).finish();
                self.draft.put(&suffixed("announced", family), key, value.clone());
            }
        }
    }

    /// The ranges that cluster IPs come from.
    pub fn set_service_cidrs(&mut self, cidrs: &[IpNet]) {
        for family in Family::ALL {
            let name = suffixed("service_cidrs", family);
            let wanted = ranges::merge(cidrs.iter().filter(|net| Family::of_net(net) == family));
            let old = self.draft.table().sets[&name].ranges.clone();
            for range in old.symmetric_difference(&wanted) {
                self.draft.put_range(&name, *range, wanted.contains(range));
            }
        }
    }

    /// Adds a Service or replaces it, with the endpoints that `select` chooses for each port and family.
    pub fn set_service(&mut self, service: &Service, select: impl Fn(&ServicePort, Family) -> Selection) {
        let previous = self.services.remove(&service.name);
        let planned = self.plan_service(service, previous.as_ref(), select);
        self.replace(previous.as_ref(), Some(&planned));
        self.services.insert(service.name.clone(), planned);
    }

    /// Removes a Service, if it is there.
    pub fn remove_service(&mut self, name: &ServiceName) {
        if let Some(previous) = self.services.remove(name) {
            self.replace(Some(&previous), None);
        }
    }

    /// The Services that are compiled, in no order.
    pub fn service_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// The Service port that has this frontend.
    pub fn owner(&self, frontend: &Frontend) -> Option<&ServicePortName> {
        Some(&self.frontends.get(frontend)?.first()?.target.owner)
    }

    /// What has changed since the last transaction was taken. From now on it counts as loaded: if the kernel refuses it, ask
    /// for [`Self::reconcile`] with what is really there.
    pub fn take_transaction(&mut self) -> Transaction {
        self.draft.take_transaction()
    }

    /// The transaction that turns what is loaded into what should be. From now on that counts as loaded.
    pub fn reconcile(&mut self, loaded: Option<&Table>) -> Transaction {
        self.draft.begin();
        self.seed = Arc::default();
        loaded.map_or_else(
            || Transaction::load(self.draft.table()),
            |loaded| diff(loaded, self.draft.table()),
        )
    }

    fn replace(&mut self, previous: Option<&Planned>, next: Option<&Planned>) {
        let claims = |planned: Option<&Planned>| planned.map_or_else(Vec::new, |planned| planned.claims.clone());
        let (old_claims, new_claims) = (claims(previous), claims(next));
        let new_keys: HashSet<_> = new_claims.iter().map(|claim| claim.key()).collect();
        for claim in old_claims.iter().filter(|claim| !new_keys.contains(&claim.key())) {
            self.change_claim(claim, None);
        }
        for claim in &new_claims {
            self.change_claim(claim, Some(claim));
        }
        let empty = Planned::default();
        let (previous, next) = (previous.unwrap_or(&empty), next.unwrap_or(&empty));
        self.replace_affinity(&previous.targets, &next.targets);
        for (address, is_member) in self.hairpins.replace(&previous.hairpins, &next.hairpins) {
            let key = Datum::builder().address(address).address(address).finish();
            self.draft.put(
                &suffixed("hairpin", Family::of(address)),
                key,
                is_member.then_some(Value::Nothing),
            );
        }
        for (address, is_member) in self.cluster_ips.replace(&previous.cluster_ips, &next.cluster_ips) {
            let value = is_member.then_some(Value::Nothing);
            self.draft.put(
                &suffixed("cluster_ips", Family::of(address)),
                Datum::address(address),
                value,
            );
        }
    }

    /// Replaces the claim of `claim`'s owner on its frontend, or withdraws it.
    fn change_claim(&mut self, claim: &Claim, new: Option<&Arc<Claim>>) {
        let claims = self.frontends.entry(claim.frontend).or_default();
        let before = claims.first().cloned();
        claims.retain(|other| other.target.owner != claim.target.owner);
        if let Some(new) = new {
            let place = claims.partition_point(|other| other.target.owner < new.target.owner);
            claims.insert(place, Arc::clone(new));
        }
        let after = claims.first().cloned();
        if claims.is_empty() {
            self.frontends.remove(&claim.frontend);
        }
        if before == after {
            return;
        }
        let elements_of = |claim: Option<&Arc<Claim>>| claim.map_or_else(Elements::default, |claim| elements(claim));
        self.replace_elements(&elements_of(before.as_ref()), elements_of(after.as_ref()));
        self.masquerade_frontend(claim.frontend, after.map(|claim| claim.masquerade));
    }

    fn replace_elements(&mut self, before: &Elements, after: Elements) {
        for ((dispatch, family, count), exists) in self.picks.replace(&before.picks, &after.picks) {
            let chain = exists.then(|| dispatch.pick_chain(family, count));
            self.draft.put_chain(&dispatch.pick(family, count), chain);
        }
        let kept: HashSet<(&Name, &Datum)> = if before.keys.is_empty() {
            HashSet::new()
        } else {
            after.keys.iter().map(|(set, key, _)| (set, key)).collect()
        };
        for (set, key, _) in before.keys.iter().filter(|(set, key, _)| !kept.contains(&(set, key))) {
            self.draft.put(set, *key, None);
        }
        for (set, range) in before.ranges.iter().filter(|range| !after.ranges.contains(range)) {
            self.draft.put_range(set, *range, false);
        }
        drop(kept);
        for (set, key, value) in after.keys {
            self.draft.put(&set, key, Some(value));
        }
        for (set, range) in after.ranges {
            self.draft.put_range(&set, range, true);
        }
    }

    /// Target of a Service port as it was planned last.
    fn target<'a>(previous: Option<&'a Planned>, owner: &ServicePortName, family: Family) -> Option<&'a Arc<Target>> {
        previous?
            .targets
            .iter()
            .find(|target| target.family == family && target.owner == *owner)
    }
}

/// Type and code of echo requests and neighbour solicitations.
fn answered_kinds(family: Family) -> &'static [u16] {
    match family {
        Family::V4 => &[8 << 8],
        Family::V6 => &[128 << 8, 135 << 8],
    }
}

/// How many need a thing that is there once.
#[derive(Debug)]
struct Counted<T>(HashMap<T, u32>);

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Copy + Eq + Hash + Ord> Counted<T> {
    /// Takes one need for each of `new`, gives back one for each of `old`, and says what comes (true) or goes (false).
    fn replace(&mut self, old: &[T], new: &[T]) -> Vec<(T, bool)> {
        let mut changes = BTreeMap::new();
        for item in new {
            let count = self.0.entry(*item).or_default();
            *count += 1;
            if *count == 1 {
                changes.insert(*item, true);
            }
        }
        for item in old {
            let count = self.0.get_mut(item).expect("what is given back was taken");
            *count -= 1;
            if *count == 0 {
                self.0.remove(item);
                changes.insert(*item, false);
            }
        }
        changes.into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
