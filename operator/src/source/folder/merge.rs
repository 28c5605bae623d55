//! The objects of all files to one state, and the changes between two states. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use fairlead_model::{Change, EndpointSlice, Node, Service, ServiceCidr, ServiceName, SliceName};

use kube::ResourceExt;

use crate::source::manifest::Object;
use crate::source::surroundings::{Surroundings, key_of};

/// What a folder says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    services: BTreeMap<ServiceName, Arc<Service>>,
    slices: BTreeMap<SliceName, Arc<EndpointSlice>>,
    node: Option<Node>,
    service_cidrs: BTreeMap<Arc<str>, ServiceCidr>,
    surroundings: Surroundings,
}

/// Something in the files that has no effect as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remark {
    /// An object is in two files; the first one is used.
    Twice {
        /// The object.
        object: String,
        /// The file that is used.
        first: Arc<str>,
        /// The file that is not.
        second: Arc<str>,
    },
    /// A Service has no cluster IP, and in a folder nobody assigns one.
    NoClusterIp {
        /// The Service.
        object: String,
        /// Its file.
        file: Arc<str>,
    },
}

impl Remark {
    /// The place that it is about, and what to say about it.
    pub(super) fn text(&self) -> (String, String) {
        match self {
            Self::Twice { object, first, second } => (
                format!("{second}: {object}"),
                format!("metadata.name: it is in {first} already, which is used"),
            ),
            Self::NoClusterIp { object, file } => (
                format!("{file}: {object}"),
                "spec.clusterIP: it is missing, and without an API server nobody assigns one: the Service is left out"
                    .into(),
            ),
        }
    }
}

/// Puts the objects of all files together. Files come in the order of their names; where an object comes twice, the
/// first one counts.
pub(super) fn merge<'a>(
    files: impl Iterator<Item = (&'a Arc<str>, &'a [Object])>,
    node_name: &str,
) -> (State, Vec<Remark>) {
    let mut state = State::default();
    let mut remarks = Vec::new();
    // Every object's first file, also of those that are none of a proxy's business: they shadow later ones too.
    let mut seen: BTreeMap<Key<'_>, &Arc<str>> = BTreeMap::new();
    let mut without_selector: HashSet<&ServiceName> = HashSet::new();
    let mut mirrored: Vec<(&ServiceName, &[Arc<EndpointSlice>])> = Vec::new();

    for (file, object) in files.flat_map(|(file, objects)| objects.iter().map(move |object| (file, object))) {
        let key = match object {
            Object::Service(service) => Key::Service(&service.name),
            Object::EndpointSlice(name, _) => Key::EndpointSlice(name),
            Object::Endpoints(name, _) => Key::Endpoints(name),
            Object::Node(node, _) => Key::Node(&node.name),
            Object::ServiceCidr(cidr) => Key::ServiceCidr(&cidr.name),
            Object::Provider(provider) => Key::Provider(provider.name_any()),
            Object::Pool(pool) => Key::Pool(pool.name_any()),
            Object::LoadBalancer(load_balancer) => Key::LoadBalancer(key_of(load_balancer)),
        };
        match seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(file);
            }
            Entry::Occupied(entry) => {
                let (first, second) = (Arc::clone(entry.get()), Arc::clone(file));
                remarks.push(Remark::Twice {
                    object: object.describe(),
                    first,
                    second,
                });
                continue;
            }
        }
        match object {
            Object::Service(manifest) => {
                if manifest.lacks_cluster_ip {
                    remarks.push(Remark::NoClusterIp {
                        object: object.describe(),
                        file: Arc::clone(file),
                    });
                }
                if !manifest.has_selector {
                    without_selector.insert(&manifest.name);
                }
                if let Some(service) = &manifest.service {
                    state.services.insert(manifest.name.clone(), Arc::clone(service));
                }
            }
            Object::EndpointSlice(name, slice) => {
                if let Some(slice) = slice {
                    state.slices.insert(name.clone(), Arc::clone(slice));
                }
            }
            Object::Endpoints(name, slices) => mirrored.push((name, slices)),
            Object::Node(node, member) => {
                if *node.name == *node_name {
                    state.node = Some(node.clone());
                }
                let members = &mut state.surroundings.members;
                members.insert(node.name.to_string(), Arc::clone(member));
            }
            Object::Provider(provider) => {
                if provider.spec.local.is_some() {
                    let providers = &mut state.surroundings.providers;
                    providers.insert(provider.name_any(), Arc::clone(provider));
                }
            }
            Object::Pool(pool) => drop(state.surroundings.pools.insert(pool.name_any(), Arc::clone(pool))),
            Object::LoadBalancer(load_balancer) => {
                let load_balancers = &mut state.surroundings.load_balancers;
                load_balancers.insert(key_of(load_balancer), Arc::clone(load_balancer));
            }
            Object::ServiceCidr(cidr) => {
                state.service_cidrs.insert(Arc::clone(&cidr.name), cidr.clone());
            }
        }
    }

    if !mirrored.is_empty() {
        let has_slices: HashSet<ServiceName> = state.slices.values().map(|slice| slice.service.clone()).collect();
        // Kubernetes mirrors the Endpoints of Services without a selector. A folder may hold those mirrors as well.
        for (name, slices) in mirrored {
            if without_selector.contains(name) && !has_slices.contains(name) {
                for slice in slices {
                    state
                        .slices
                        .entry(slice.name.clone())
                        .or_insert_with(|| Arc::clone(slice));
                }
            }
        }
    }
    (state, remarks)
}

/// What makes two objects the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Service(&'a ServiceName),
    EndpointSlice(&'a SliceName),
    Endpoints(&'a ServiceName),
    Node(&'a Arc<str>),
    ServiceCidr(&'a Arc<str>),
    Provider(String),
    Pool(String),
    LoadBalancer(ServiceName),
}

impl State {
    /// What announcing needs to know.
    pub(super) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// The changes that lead from `before` to here.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let shared = |a: &Arc<Service>, b: &Arc<Service>| Arc::ptr_eq(a, b) || a == b;
        compare(&before.services, &self.services, shared, |name, service| {
            changes.push(Change::Service(name, service));
        });
        let shared = |a: &Arc<EndpointSlice>, b: &Arc<EndpointSlice>| Arc::ptr_eq(a, b) || a == b;
        compare(&before.slices, &self.slices, shared, |name, slice| {
            changes.push(Change::EndpointSlice(name, slice));
        });
        if before.node != self.node {
            changes.push(Change::Node(self.node.clone()));
        }
        compare(
            &before.service_cidrs,
            &self.service_cidrs,
            PartialEq::eq,
            |name, cidr| {
                changes.push(Change::ServiceCidr(name, cidr));
            },
        );
        changes
    }
}

fn compare<K: Ord + Clone, V: Clone>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    is_same: impl Fn(&V, &V) -> bool,
    mut change: impl FnMut(K, Option<V>),
) {
    for key in before.keys().filter(|key| !after.contains_key(key)) {
        change(key.clone(), None);
    }
    for (key, value) in after {
        if !before.get(key).is_some_and(|old| is_same(old, value)) {
            change(key.clone(), Some(value.clone()));
        }
    }
}
