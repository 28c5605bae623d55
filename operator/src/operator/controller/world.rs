//! What is known of the cluster, and which keys a change touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider, NodePortServices};
use fairlead_local::allocation::Selector;
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::ResourceExt;

use super::scope::Taker;
use super::watch::{Change, Told};

/// Objects of one kind by key; none before the first list.
#[derive(Debug)]
pub struct Known<I, K>(Option<BTreeMap<I, Arc<K>>>);

impl<I, K> Default for Known<I, K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<I: Ord + Clone, K: ResourceExt> Known<I, K> {
    /// Takes a change in, and gives the keys of what it is about.
    fn absorb(&mut self, change: Change<K>, key: impl Fn(&K) -> I) -> BTreeSet<I> {
        match change {
            Change::All(objects) => {
                let objects: BTreeMap<_, _> = objects.into_iter().map(|object| (key(&object), object)).collect();
                let old = self.0.take().unwrap_or_default();
                let touched = old.keys().chain(objects.keys()).cloned().collect();
                self.0 = Some(objects);
                touched
            }
            Change::Is(object) => {
                let id = key(&object);
                // What was written is known before the watch tells of it, and of what was there before.
                match &mut self.0 {
                    Some(known) if known.get(&id).is_none_or(|old| !is_older(&*object, &**old)) => {
                        known.insert(id.clone(), object);
                        [id].into()
                    }
                    _ => BTreeSet::new(),
                }
            }
            Change::Gone(object) => {
                let id = key(&object);
                self.0.get_or_insert_default().remove(&id);
                [id].into()
            }
        }
    }

    /// An object.
    pub fn get(&self, key: &I) -> Option<&Arc<K>> {
        self.0.as_ref()?.get(key)
    }

    /// All of them, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&I, &Arc<K>)> {
        self.0.iter().flatten()
    }
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct World {
    /// Services.
    pub services: Known<ServiceName, Service>,
    /// Namespaces.
    pub namespaces: Known<String, Namespace>,
    /// Providers.
    pub providers: Known<String, LoadBalancerProvider>,
    /// Pools.
    pub pools: Known<String, AddressPool>,
    /// Load balancers. One bears the name of the Service that it was made for.
    pub load_balancers: Known<ServiceName, LoadBalancer>,
}

/// What a change touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These Services and load balancers.
    Keys(BTreeSet<ServiceName>),
    /// What all of them are judged by: providers and pools.
    Everything,
    /// All in this namespace.
    Namespaces(BTreeSet<String>),
}

impl World {
    /// Takes in what was told.
    pub fn absorb(&mut self, told: Told) -> Touched {
        match told {
            Told::Service(change) => Touched::Keys(self.services.absorb(change, key_of)),
            Told::LoadBalancer(change) => Touched::Keys(self.load_balancers.absorb(change, key_of)),
            Told::Namespace(change) => Touched::Namespaces(self.namespaces.absorb(change, ResourceExt::name_any)),
            Told::Provider(change) => {
                self.providers.absorb(change, ResourceExt::name_any);
                Touched::Everything
            }
            Told::Pool(change) => {
                self.pools.absorb(change, ResourceExt::name_any);
                Touched::Everything
            }
        }
    }

    /// True once every kind has been listed. Before that nothing may be decided: what is missing might only not be known yet.
    pub fn is_complete(&self) -> bool {
        self.services.0.is_some()
            && self.namespaces.0.is_some()
            && self.providers.0.is_some()
            && self.pools.0.is_some()
            && self.load_balancers.0.is_some()
    }

    /// What providers take from a namespace, the oldest provider first.
    pub fn takers(&self, namespace: &str) -> Vec<Taker> {
        let mut providers: Vec<_> = self.providers.iter().collect();
        providers.sort_by_key(|(name, provider)| {
            let made = provider.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (made, (*name).clone())
        });
        let no_labels = BTreeMap::new();
        let labels = self
            .namespaces
            .get(&namespace.to_owned())
            .map(|namespace| namespace.labels());
        let labels = labels.unwrap_or(&no_labels);
        let taker = |(name, provider): (&String, &Arc<LoadBalancerProvider>)| {
            let spec = &provider.spec;
            let selector = spec.node_port_namespace_selector.as_ref().map(Selector::try_from);
            Taker {
                name: name.as_str().into(),
                class: spec.load_balancer_class.clone(),
                is_default: spec.is_default,
                takes_node_ports: spec.node_port_services == NodePortServices::OptIn
                    // One that cannot be read selects nothing.
                    && selector.is_none_or(|selector| selector.is_ok_and(|selector| selector.selects(labels))),
            }
        };
        providers.into_iter().map(taker).collect()
    }

    /// Everything that there is a Service or a load balancer of.
    pub fn keys(&self) -> BTreeSet<ServiceName> {
        let services = self.services.iter().map(|(key, _)| key);
        services
            .chain(self.load_balancers.iter().map(|(key, _)| key))
            .cloned()
            .collect()
    }

    /// Those in a namespace.
    pub fn keys_in(&self, namespace: &str) -> BTreeSet<ServiceName> {
        self.keys()
            .into_iter()
            .filter(|key| &*key.namespace == namespace)
            .collect()
    }
}

/// Versions of objects of a kind are numbers that grow.
fn is_older<K: ResourceExt>(one: &K, other: &K) -> bool {
    let version = |object: &K| object.resource_version()?.parse::<u64>().ok();
    let are_the_same = one.uid() == other.uid();
    are_the_same && version(one).zip(version(other)).is_some_and(|(one, other)| one < other)
}

/// The namespace and name of an object.
pub fn key_of<K: ResourceExt>(object: &K) -> ServiceName {
    ServiceName::new(object.namespace().unwrap_or_default(), object.name_any())
}
