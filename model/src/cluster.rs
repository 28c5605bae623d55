//! The cluster as one node sees it, built from a stream of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::{EndpointSlice, Node, Service, ServiceCidr, ServiceName, SliceName};

#[cfg(test)]
mod tests;

/// The kinds of objects that a source delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Services
    Service,
    /// `EndpointSlices`
    EndpointSlice,
    /// The own Node
    Node,
    /// `ServiceCIDRs`
    ServiceCidr,
}

/// One change that a source delivers. A source repeats itself harmlessly: a change that changes nothing touches
/// nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The Service is now this one; `None` if it is gone or none of a proxy's business.
    Service(ServiceName, Option<Arc<Service>>),
    /// The slice is now this one; `None` if it is gone or none of a proxy's business.
    EndpointSlice(SliceName, Option<Arc<EndpointSlice>>),
    /// The own Node is now this one.
    Node(Option<Node>),
    /// The `ServiceCIDR` with this name is now this one.
    ServiceCidr(Arc<str>, Option<ServiceCidr>),
    /// Everything of this kind that existed at the start has been delivered. Comes once per kind; nothing may be
    /// programmed before it came for all four.
    InitialListComplete(Kind),
}

/// What a change touches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Services to look at again. Some may be unknown: a slice can come before its Service, and stay after it.
    pub services: BTreeSet<ServiceName>,
    /// The node changed (zone, addresses, pod CIDRs, eligibility).
    pub node: bool,
    /// The `ServiceCIDRs` changed.
    pub service_cidrs: bool,
}

/// Services, slices, the own node and the `ServiceCIDRs`.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    services: HashMap<ServiceName, Arc<Service>>,
    /// By name. A list, because most Services have one or two slices and there are many Services.
    slices: HashMap<ServiceName, Vec<Arc<EndpointSlice>>>,
    slice_by_name: HashMap<SliceName, Arc<EndpointSlice>>,
    node: Option<Node>,
    service_cidrs: BTreeMap<Arc<str>, ServiceCidr>,
    complete: BTreeSet<Kind>,
}

impl Cluster {
    /// Takes a change in and says what to look at again.
    ///
    /// A slice that moves to another Service touches both. A change of the node's zone touches every Service.
    pub fn apply(&mut self, change: Change) -> Touched {
        let mut touched = Touched::default();
        match change {
            Change::Service(name, service) => {
                debug_assert!(
                    service.as_ref().is_none_or(|service| service.name == name),
                    "a Service under its own name"
                );
                if self.set_service(&name, service) {
                    touched.services.insert(name);
                }
            }
            Change::EndpointSlice(name, slice) => {
                debug_assert!(
                    slice.as_ref().is_none_or(|slice| slice.name == name),
                    "a slice under its own name"
                );
                touched.services = self.set_slice(&name, slice);
            }
            Change::Node(node) => {
                let zone = |node: &Option<Node>| node.as_ref().and_then(|node| node.zone.clone());
                if zone(&self.node) != zone(&node) {
                    touched.services.extend(self.services.keys().cloned());
                }
                touched.node = self.node != node;
                self.node = node;
            }
            Change::ServiceCidr(name, object) => {
                touched.service_cidrs = self.service_cidrs.get(&name) != object.as_ref();
                match object {
                    Some(object) => self.service_cidrs.insert(name, object),
                    None => self.service_cidrs.remove(&name),
                };
            }
            Change::InitialListComplete(kind) => {
                self.complete.insert(kind);
            }
        }
        touched
    }

    /// Whether this changed anything.
    fn set_service(&mut self, name: &ServiceName, service: Option<Arc<Service>>) -> bool {
        match service {
            None => self.services.remove(name).is_some(),
            Some(service) if self.services.get(name) == Some(&service) => false,
            Some(service) => {
                // The key shares its strings with the value.
                self.services.insert(service.name.clone(), service);
                true
            }
        }
    }

    /// The Services whose slices changed.
    fn set_slice(&mut self, name: &SliceName, slice: Option<Arc<EndpointSlice>>) -> BTreeSet<ServiceName> {
        let mut changed = BTreeSet::new();
        if self.slice_by_name.get(name) == slice.as_ref() {
            return changed;
        }
        if let Some(old) = self.slice_by_name.remove(name) {
            let slices = self
                .slices
                .get_mut(&old.service)
                .expect("a slice stands under its Service");
            slices.retain(|slice| slice.name != *name);
            if slices.is_empty() {
                self.slices.remove(&old.service);
            }
            changed.insert(old.service.clone());
        }
        if let Some(new) = slice {
            let slices = self
                .slices
                .entry(new.service.clone())
                .or_insert_with(|| Vec::with_capacity(1));
            let place = slices.partition_point(|slice| slice.name < new.name);
            slices.insert(place, Arc::clone(&new));
            changed.insert(new.service.clone());
            self.slice_by_name.insert(new.name.clone(), new);
        }
        changed
    }

    /// Whether every kind's initial list has arrived.
    pub fn is_complete(&self) -> bool {
        self.complete.len() == 4
    }

    /// The Service with this name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// All Services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The slices of a Service, by name.
    pub fn slices(&self, service: &ServiceName) -> impl Iterator<Item = &EndpointSlice> + Clone {
        self.slices.get(service).into_iter().flatten().map(Arc::as_ref)
    }

    /// How many objects of each kind there are.
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        [
            ("Service", self.services.len()),
            ("EndpointSlice", self.slice_by_name.len()),
            ("Node", usize::from(self.node.is_some())),
            ("ServiceCIDR", self.service_cidrs.len()),
        ]
    }

    /// The own node, if its Node object is known.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// The ranges of all `ServiceCIDRs`.
    pub fn service_cidrs(&self) -> impl Iterator<Item = ipnet::IpNet> {
        self.service_cidrs
            .values()
            .flat_map(|object| object.cidrs.iter().copied())
    }
}
