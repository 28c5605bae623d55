//! The local provider's part: what the objects say, in the allocator's words.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fairlead_crds::reason::{self, Reason};
use fairlead_crds::{AddressPool, LoadBalancer};
use fairlead_local::allocation::{Allocator, Objection, Pool, PoolFault, Quarantine, Request, Rest, Selector, Takes};
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;

use super::conflicts::{Conflicts, Word};
use super::plan::Complaint;
use super::wish::{FamilyPolicy, Wish};
use super::world::World;

/// How long an address that a machine outside of the cluster has had is given to nobody, once no node asks for it any more. Long, since
/// the next one that gets it may find the machine still there, and has to move too.
const SET_ASIDE: Duration = Duration::from_hours(1);

/// The addresses of Services of local providers.
#[derive(Debug, Default)]
pub struct Local {
    allocator: Allocator,
    /// The pools that the allocator was told of.
    known: Vec<Arc<AddressPool>>,
    /// What is wrong with pools.
    faults: BTreeMap<String, Complaint>,
    /// What agents tell of machines outside of the cluster.
    conflicts: Conflicts,
    /// What Services are to hear of that.
    news: Vec<(ServiceName, Complaint)>,
}

/// What a Service gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Their pool.
    pub pool: Option<Arc<str>>,
    /// What it does not get.
    pub complaint: Option<Complaint>,
    /// Services to look at again.
    pub again: BTreeSet<ServiceName>,
}

/// A Service and all that decides about its addresses.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Its name.
    pub key: &'a ServiceName,
    /// The Service.
    pub service: &'a Service,
    /// The provider that takes it.
    pub provider: &'a Arc<str>,
    /// What it asks for.
    pub wish: &'a Wish,
    /// The addresses that it has, as far as can be seen.
    pub held: &'a [IpAddr],
    /// Whether it came with them.
    pub is_adopted: bool,
}

impl Local {
    /// Takes the pools over where they have changed. True if they have.
    pub fn set_pools(&mut self, world: &World) -> bool {
        let mut pools: Vec<_> = world.pools.iter().map(|(_, pool)| pool.clone()).collect();
        // The older pool counts where two overlap.
        pools.sort_by_key(|pool| {
            (
                pool.metadata.creation_timestamp.as_ref().map(|time| time.0),
                pool.name_any(),
            )
        });
        let is_same = pools.len() == self.known.len()
            && pools
                .iter()
                .zip(&self.known)
                .all(|(new, old)| new.name_any() == old.name_any() && new.spec == old.spec && new.uid() == old.uid());
        if is_same {
            return false;
        }
        let mut faults = BTreeMap::new();
        let mut read = Vec::new();
        for object in &pools {
            match pool(object) {
                Ok(pool) => read.push(pool),
                Err(complaint) => {
                    faults.insert(object.name_any(), complaint);
                    // What it was before stays.
                    let name = object.name_any();
                    read.extend(self.allocator.pools().find(|pool| *pool.name == *name).cloned());
                }
            }
        }
        for (name, fault) in self.allocator.set_pools(read) {
            let complaint = Complaint {
                reason: reason_of(&fault),
                message: fault.to_string(),
            };
            faults.insert(name.to_string(), complaint);
        }
        for (name, complaint) in &faults {
            if self.faults.get(name) != Some(complaint) {
                tracing::warn!(pool = name, reason = %complaint.reason, "{}", complaint.message);
            }
        }
        self.faults = faults;
        self.known = pools;
        true
    }

    /// What is wrong with a pool.
    pub fn fault(&self, pool: &str) -> Option<&Complaint> {
        self.faults.get(pool)
    }

    /// The allocator, to look at.
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// Goes on with rests that were begun before this process.
    pub fn restore_rests(&mut self, world: &World) {
        for (_, pool) in world.pools.iter() {
            for rest in pool.status.iter().flat_map(|status| &status.resting) {
                if let Ok(address) = rest.address.parse() {
                    let of = rest.service.as_ref();
                    let rest = Rest {
                        until: rest.until.0.into(),
                        of: of.map(|service| ServiceName::new(&*service.namespace, &*service.name)),
                    };
                    self.allocator.restore_rest(address, rest);
                }
            }
        }
    }

    /// Goes on with quarantines that were begun before this process.
    pub fn restore_quarantines(&mut self, world: &World, now: SystemTime) {
        let statuses = world.pools.iter().filter_map(|(_, pool)| pool.status.as_ref());
        for known in statuses.flat_map(|status| &status.quarantined) {
            if let Ok(address) = known.address.parse() {
                let quarantine = Quarantine {
                    mac: known.mac.clone(),
                    node: known.node.clone(),
                    // Whoever still tells of it takes this back.
                    until: Some(known.until.as_ref().map_or(now + SET_ASIDE, |until| until.0.into())),
                };
                self.allocator.quarantine(address, quarantine);
            }
        }
        for (key, load_balancer) in world.load_balancers.iter() {
            // What was found free while nobody listened.
            let announcements = load_balancer.status.iter().flat_map(|status| &status.announcements);
            for (text, _) in announcements.filter(|(_, by)| by.stranger.is_none()) {
                if let Ok(address) = text.parse() {
                    self.allocator.unquarantine(address);
                }
            }
            self.hear(key, Some(load_balancer), now);
        }
    }

    /// Hears what the agents tell of the addresses of a load balancer. Gives the Services to look at again.
    pub fn hear(
        &mut self,
        key: &ServiceName,
        load_balancer: Option<&LoadBalancer>,
        now: SystemTime,
    ) -> BTreeSet<ServiceName> {
        let mut again = BTreeSet::new();
        for (address, word) in self.conflicts.read(key, load_balancer) {
            match word {
                Word::Taken(stranger) => {
                    let is_news = self.allocator.quarantine_of(address).is_none();
                    let quarantine = Quarantine {
                        mac: stranger.mac,
                        node: stranger.node,
                        until: None,
                    };
                    let message = quarantine.sentence(address);
                    let users = self.allocator.quarantine(address, quarantine);
                    if is_news {
                        tracing::warn!("{message}");
                        let complaint = Complaint {
                            reason: reason::ADDRESS_CONFLICT,
                            message,
                        };
                        self.news
                            .extend(users.iter().map(|user| (user.clone(), complaint.clone())));
                    }
                    again.extend(users);
                }
                Word::Free => again.extend(self.allocator.unquarantine(address)),
                Word::Nothing => {
                    if let Some(quarantine) = self.allocator.quarantine_of(address) {
                        let quarantine = Quarantine {
                            until: Some(now + SET_ASIDE),
                            ..quarantine.clone()
                        };
                        again.extend(self.allocator.quarantine(address, quarantine));
                    }
                }
            }
        }
        again
    }

    /// What Services are to hear of machines that have their addresses.
    pub fn take_news(&mut self) -> Vec<(ServiceName, Complaint)> {
        std::mem::take(&mut self.news)
    }

    /// The Service has these addresses, as long as nothing has been decided.
    pub fn restore(&mut self, world: &World, case: &Case<'_>) {
        self.allocator.restore(&request(world, case));
    }

    /// What the Service gets.
    pub fn decide(&mut self, world: &World, case: &Case<'_>, now: SystemTime) -> Verdict {
        let decision = self.allocator.decide(&request(world, case), now);
        Verdict {
            addresses: decision.addresses,
            pool: decision.pool,
            complaint: decision.refusal.map(|refusal| Complaint {
                reason: reason_to_refuse(refusal.reason),
                message: refusal.message,
            }),
            again: decision.again,
        }
    }

    /// The Service wants nothing any more.
    pub fn release(&mut self, key: &ServiceName, now: SystemTime) -> BTreeSet<ServiceName> {
        self.allocator.release(key, now)
    }

    /// Ends rests that are over.
    pub fn expire(&mut self, now: SystemTime) -> BTreeSet<ServiceName> {
        self.allocator.expire(now)
    }
}

fn request(world: &World, case: &Case<'_>) -> Request {
    let namespace = world.namespaces.get(&case.key.namespace.to_string());
    let wish = case.wish;
    let is_dual = wish.family_policy != FamilyPolicy::Single;
    Request {
        service: case.key.clone(),
        provider: case.provider.clone(),
        namespace_labels: namespace
            .map(|namespace| namespace.labels().clone())
            .unwrap_or_default(),
        labels: case.service.labels().clone(),
        families: wish
            .families
            .iter()
            .copied()
            .take(if is_dual { 2 } else { 1 })
            .collect(),
        prefers_only: wish.family_policy == FamilyPolicy::Prefer,
        addresses: wish.addresses.clone(),
        pool: wish.pool.as_deref().map(Into::into),
        sharing_key: wish.sharing_key.as_deref().map(Into::into),
        ports: wish.ports.iter().copied().collect(),
        held: case.held.to_vec(),
        is_adopted: case.is_adopted,
    }
}

fn reason_of(fault: &PoolFault) -> Reason {
    match fault {
        PoolFault::Overlap { .. } => reason::POOL_OVERLAP,
        PoolFault::OverlapsItself { .. } => reason::INVALID_ADDRESSES,
    }
}

fn reason_to_refuse(objection: Objection) -> Reason {
    match objection {
        Objection::FamilyMismatch => reason::FAMILY_MISMATCH,
        Objection::AddressNotInPool => reason::ADDRESS_NOT_IN_POOL,
        Objection::AddressReserved => reason::ADDRESS_RESERVED,
        Objection::AddressInUse => reason::ADDRESS_IN_USE,
        Objection::AddressConflict => reason::ADDRESS_CONFLICT,
        Objection::NoPool => reason::NO_POOL,
        Objection::UnknownPool => reason::UNKNOWN_POOL,
        Objection::PoolNotAllowed => reason::POOL_NOT_ALLOWED,
        Objection::PoolExhausted => reason::POOL_EXHAUSTED,
    }
}

/// A pool in the allocator's words.
fn pool(object: &AddressPool) -> Result<Pool, Complaint> {
    let spec = &object.spec;
    let mut ranges = Vec::new();
    for (index, text) in spec.addresses.iter().enumerate() {
        let range = text.parse().map_err(|error| Complaint {
            reason: reason::INVALID_ADDRESSES,
            message: format!("spec.addresses[{index}]: {error}"),
        })?;
        ranges.push(range);
    }
    let allocation = spec.allocation.clone().unwrap_or_default();
    let selectors = |field: &str, selectors: &[LabelSelector]| -> Result<Vec<Selector>, Complaint> {
        let read = selectors.iter().enumerate().map(|(index, selector)| {
            Selector::try_from(selector).map_err(|error| Complaint {
                reason: reason::INVALID_SELECTOR,
                message: format!("spec.allocation.{field}[{index}].{error}"),
            })
        });
        read.collect()
    };
    Ok(Pool {
        name: object.name_any().into(),
        provider: spec.provider.as_deref().map(Into::into),
        ranges,
        auto_assign: spec.auto_assign,
        avoid_buggy: spec.avoid_buggy_ips,
        takes: Takes {
            priority: allocation.priority,
            is_exclusive: allocation.exclusive,
            namespace_selectors: selectors("namespaceSelectors", &allocation.namespace_selectors)?,
            service_selectors: selectors("serviceSelectors", &allocation.service_selectors)?,
            namespaces: allocation.namespaces.into_iter().collect(),
        },
        reuse_delay: spec.reuse_delay(),
    })
}
