//! What bears the cluster's marks and belongs to no Service: it is found when everything is looked at, and removed after a while.
//!
//! A Service cannot go before its load balancer, unless somebody takes its finalizer and the record away, or restores the cluster from a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairlead_model::ServiceName;
use tokio::time::Instant;

/// Owners that are no Service, since when.
#[derive(Debug, Default)]
pub struct Orphans(BTreeMap<ServiceName, Instant>);

impl Orphans {
    /// Takes in whose something is there is, and which Services there are. Gives those that are new.
    pub fn see(
        &mut self,
        owners: &BTreeSet<ServiceName>,
        services: &BTreeSet<ServiceName>,
        now: Instant,
    ) -> Vec<ServiceName> {
        self.0.retain(|key, _| owners.contains(key) && !services.contains(key));
        let lost = owners.difference(services).filter(|key| !self.0.contains_key(*key));
        let new: Vec<_> = lost.cloned().collect();
        self.0.extend(new.iter().map(|key| (key.clone(), now)));
        new
    }

    /// Those whose time has come.
    pub fn due(&self, grace: Duration, now: Instant) -> Vec<ServiceName> {
        let due = self.0.iter().filter(|(_, since)| now >= **since + grace);
        due.map(|(key, _)| key.clone()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_an_orphan_when_it_has_been_no_service_for_a_while() {
        let key = |name: &str| ServiceName::new("shop", name);
        let (web, api) = (key("web"), key("api"));
        let grace = Duration::from_mins(1);
        let now = Instant::now();
        let mut orphans = Orphans::default();
        let one = [web.clone()].into();
        let both = [web, api.clone()].into();
        assert_eq!(orphans.see(&both, &one, now), std::slice::from_ref(&api));
        assert_eq!(orphans.see(&both, &one, now + grace / 2), [""; 0].map(key));
        assert!(orphans.due(grace, now + grace / 2).is_empty());
        assert_eq!(orphans.due(grace, now + grace), [api]);
        // It is a Service again.
        orphans.see(&both, &both, now + grace);
        assert!(orphans.is_empty());
    }
}
