//! The cluster as one node sees it, built from a stream of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::{EndpointSlice, Node, Service, ServiceCidr, ServiceName, SliceName};

/// The kinds of objects that a source delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Services
    Service,
    /// EndpointSlices
    EndpointSlice,
    /// The own Node
    Node,
    /// ServiceCIDRs
    ServiceCidr,
}

/// One change that a source delivers. A source repeats itself harmlessly: a change that changes nothing touches nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The Service is now this one; `None` if it is gone or none of a proxy's business.
    Service(ServiceName, Option<Arc<Service>>),
    /// The slice is now this one; `None` if it is gone or none of a proxy's business.
    EndpointSlice(SliceName, Option<Arc<EndpointSlice>>),
    /// The own Node is now this one.
    Node(Option<Node>),
    /// The ServiceCIDR with this name is now this one.
    ServiceCidr(Arc<str>, Option<ServiceCidr>),
    /// Everything of this kind that existed at the start has been delivered. Comes once per kind; nothing may be
    /// programmed before it came for all four.
    InitialListComplete(Kind),
}

/// What a change touches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Services to look at again.
    pub services: BTreeSet<ServiceName>,
    /// The node changed (zone, addresses, pod CIDRs, eligibility).
    pub node: bool,
    /// The ServiceCIDRs changed.
    pub service_cidrs: bool,
}

/// Services, slices, the own node and the ServiceCIDRs.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    services: HashMap<ServiceName, Arc<Service>>,
    slices: HashMap<ServiceName, BTreeMap<SliceName, Arc<EndpointSlice>>>,
    slice_owner: HashMap<SliceName, ServiceName>,
    node: Option<Node>,
    service_cidrs: BTreeMap<Arc<str>, ServiceCidr>,
    complete: BTreeSet<Kind>,
}

impl Cluster {
    /// Takes a change in and says what to look at again.
    ///
    /// A slice that moves to another Service touches both. A change of the node's zone touches every Service.
    pub fn apply(&mut self, change: Change) -> Touched {
        let _ = change;
        todo!()
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
        self.slices.get(service).into_iter().flat_map(|slices| slices.values().map(Arc::as_ref))
    }

    /// The own node, if its Node object is known.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// The ranges of all ServiceCIDRs.
    pub fn service_cidrs(&self) -> impl Iterator<Item = ipnet::IpNet> {
        self.service_cidrs.values().flat_map(|object| object.cidrs.iter().copied())
    }
}
