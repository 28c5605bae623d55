//! Who has one address.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairlead_model::{Protocol, ServiceName};

/// The Services that have one address, found by their keys and by their ports.
#[derive(Debug, Default)]
pub(super) struct Users {
    by_key: BTreeMap<Option<Arc<str>>, BTreeSet<ServiceName>>,
    by_port: BTreeMap<(Protocol, u16), BTreeSet<ServiceName>>,
}

/// Why two Services cannot be together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rivalry {
    /// They have different keys, or none.
    Keys,
    /// Both have this port.
    Port(Protocol, u16),
}

impl Users {
    pub(super) fn insert(&mut self, service: &ServiceName, key: Option<&Arc<str>>, ports: &BTreeSet<(Protocol, u16)>) {
        self.by_key.entry(key.cloned()).or_default().insert(service.clone());
        for port in ports {
            self.by_port.entry(*port).or_default().insert(service.clone());
        }
    }

    pub(super) fn remove(&mut self, service: &ServiceName, key: Option<&Arc<str>>, ports: &BTreeSet<(Protocol, u16)>) {
        fn take<K: Ord>(index: &mut BTreeMap<K, BTreeSet<ServiceName>>, key: &K, service: &ServiceName) {
            if let Some(services) = index.get_mut(key) {
                services.remove(service);
                if services.is_empty() {
                    index.remove(key);
                }
            }
        }
        take(&mut self.by_key, &key.cloned(), service);
        for port in ports {
            take(&mut self.by_port, port, service);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// All of them.
    pub(super) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_key.values().flatten()
    }

    /// The keys that they have.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_key.keys().flatten()
    }

    /// How many have a key.
    pub(super) fn count_of(&self, key: &Arc<str>) -> usize {
        self.by_key.get(&Some(key.clone())).map_or(0, BTreeSet::len)
    }

    /// Those that a Service with this key and these ports cannot be with. What others have is not looked at.
    pub(super) fn rivals<'a>(
        &'a self,
        service: &'a ServiceName,
        key: Option<&'a Arc<str>>,
        ports: &'a BTreeSet<(Protocol, u16)>,
    ) -> impl Iterator<Item = (&'a ServiceName, Rivalry)> {
        let strangers = self
            .by_key
            .iter()
            .filter(move |(theirs, _)| key.is_none() || theirs.as_ref() != key)
            .flat_map(|(_, services)| services.iter().map(|other| (other, Rivalry::Keys)));
        let with_port = ports.iter().flat_map(|port| {
            let services = self.by_port.get(port).into_iter().flatten();
            services.map(|other| (other, Rivalry::Port(port.0, port.1)))
        });
        strangers.chain(with_port).filter(move |(other, _)| *other != service)
    }
}
