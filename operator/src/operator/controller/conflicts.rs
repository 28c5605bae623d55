//! What the agents tell of addresses that machines outside of the cluster have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fairlead_crds::LoadBalancer;
use fairlead_model::ServiceName;

/// A machine outside of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Its MAC address.
    pub mac: String,
    /// The node that has heard it.
    pub node: String,
}

/// What is told of an address now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Somebody has it.
    Taken(Stranger),
    /// The node that owns it has found it free.
    Free,
    /// Nobody says anything any more: it is no longer announced.
    Nothing,
}

/// What was told, by load balancer; only of addresses that strangers have.
#[derive(Debug, Default)]
pub struct Conflicts(BTreeMap<ServiceName, BTreeMap<IpAddr, Stranger>>);

impl Conflicts {
    /// Reads the status of a load balancer, which may be gone. Gives what is new.
    pub fn read(&mut self, key: &ServiceName, load_balancer: Option<&LoadBalancer>) -> Vec<(IpAddr, Word)> {
        let status = load_balancer.and_then(|load_balancer| load_balancer.status.as_ref());
        let announcements = status.into_iter().flat_map(|status| &status.announcements);
        let announced: BTreeMap<IpAddr, _> = announcements
            .filter_map(|(text, by)| Some((text.parse().ok()?, by)))
            .collect();
        let now: BTreeMap<_, _> = announced
            .iter()
            .filter_map(|(address, by)| {
                let (mac, node) = (by.stranger.clone()?, by.node.clone());
                Some((*address, Stranger { mac, node }))
            })
            .collect();
        let before = if now.is_empty() {
            self.0.remove(key)
        } else {
            self.0.insert(key.clone(), now.clone())
        };
        let before = before.unwrap_or_default();
        let ended = before.keys().filter(|address| !now.contains_key(address)).copied();
        // Load balancers that share an address may tell of it one after the other.
        let ended = ended.filter(|address| !self.0.values().any(|told| told.contains_key(address)));
        let mut words: Vec<_> = ended
            .map(|address| {
                let is_free = announced.contains_key(&address);
                (address, if is_free { Word::Free } else { Word::Nothing })
            })
            .collect();
        let begun = now
            .into_iter()
            .filter(|(address, now)| before.get(address) != Some(now));
        words.extend(begun.map(|(address, stranger)| (address, Word::Taken(stranger))));
        words
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ADDRESS: &str = "198.51.100.7";

    fn told(stranger: &Value) -> LoadBalancer {
        serde_json::from_value(json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancer", "metadata": { "name": "web" },
            "spec": { "provider": "lan", "services": [] },
            "status": { "announcements": { ADDRESS: { "node": "a", "reason": "Vacant", "epoch": 1, "stranger": stranger } } },
        }))
        .unwrap()
    }

    #[test]
    fn what_is_told_is_news_once() {
        let mut conflicts = Conflicts::default();
        let (web, other) = (ServiceName::new("shop", "web"), ServiceName::new("shop", "other"));
        let address: IpAddr = ADDRESS.parse().unwrap();
        let (taken, free) = (told(&json!("02:00:00:00:09:09")), told(&Value::Null));
        let stranger = Stranger {
            mac: "02:00:00:00:09:09".to_owned(),
            node: "a".to_owned(),
        };
        assert_eq!(conflicts.read(&web, Some(&free)), []);
        assert_eq!(
            conflicts.read(&web, Some(&taken)),
            [(address, Word::Taken(stranger.clone()))]
        );
        assert_eq!(conflicts.read(&web, Some(&taken)), []);
        // Two share it: the last one that tells of it counts.
        assert_eq!(
            conflicts.read(&other, Some(&taken)),
            [(address, Word::Taken(stranger.clone()))]
        );
        assert_eq!(conflicts.read(&web, Some(&free)), []);
        assert_eq!(conflicts.read(&other, Some(&free)), [(address, Word::Free)]);
        // One that has gone says nothing.
        assert_eq!(conflicts.read(&web, Some(&taken)), [(address, Word::Taken(stranger))]);
        assert_eq!(conflicts.read(&web, None), [(address, Word::Nothing)]);
    }
}
