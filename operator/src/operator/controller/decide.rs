//! What shall be for each key: pure, from what is known of the cluster and who has which address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use fairlead_crds::{LoadBalancer, reason};
use fairlead_model::ServiceName;

use super::cloud::{Clouds, Wish};
use super::local::{Case, Local, Verdict};
use super::plan::{Complaint, Observed, Wanted};
use super::scope::{Exposure, Scope, scope};
use super::wish::{asked, wish};
use super::world::World;

/// Decides. It is told of the cluster through [`World`], and does nothing itself.
#[derive(Debug, Default)]
pub struct Decider {
    /// What is known of the cluster.
    pub world: World,
    /// Who has which address.
    pub local: Local,
    /// What drivers of clouds were asked for, and said.
    pub clouds: Clouds,
}

impl Decider {
    /// Takes the pools over where they have changed.
    pub fn set_pools(&mut self) {
        self.local.set_pools(&self.world);
    }

    /// Services keep the addresses that they have, whatever the order in which they are looked at. Gives how many there are.
    pub fn restore(&mut self, now: SystemTime) -> usize {
        self.local.restore_quarantines(&self.world, now);
        let mut services: Vec<_> = self
            .world
            .services
            .iter()
            .map(|(key, service)| (key.clone(), service.clone()))
            .collect();
        // Of two that cannot be together, the older one stays.
        services.sort_by_key(|(_, service)| service.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let mut count = 0;
        for (key, service) in services {
            let held = self.held(&key);
            if held.is_empty() {
                continue;
            }
            if let (Scope::Of(provider), Ok(wish)) = (self.scope_of(&key), wish(&service))
                && self.is_local(&provider)
            {
                let case = Case {
                    key: &key,
                    service: &service,
                    provider: &provider,
                    wish: &wish,
                    held: &held,
                    is_adopted: self.is_adopted(&key),
                };
                self.local.restore(&self.world, &case);
                count += 1;
            }
        }
        self.local.restore_rests(&self.world);
        count
    }

    /// The addresses that a key has: those that its Service shows, else those on record.
    pub fn held(&self, key: &ServiceName) -> Vec<IpAddr> {
        let observed = self.observed(key);
        let published = observed.published();
        if !published.is_empty() {
            return published;
        }
        let status = observed
            .load_balancer
            .and_then(|load_balancer| load_balancer.status.as_ref());
        let addresses = status.into_iter().flat_map(|status| &status.addresses);
        addresses.filter_map(|text| text.parse().ok()).collect()
    }

    /// Whether the addresses of a key are of somebody else, such as another controller: no record has them, or it says that they were
    /// kept as such.
    fn is_adopted(&self, key: &ServiceName) -> bool {
        let record = self.world.load_balancers.get(key);
        let Some(status) = record.and_then(|record| record.status.as_ref()) else {
            return true;
        };
        let mut conditions = status.conditions.iter();
        status.addresses.is_empty() || conditions.any(|condition| condition.reason == reason::ADDRESS_CONFLICT)
    }

    /// What there is for a key.
    pub fn observed<'a>(&'a self, key: &'a ServiceName) -> Observed<'a> {
        Observed {
            key,
            service: self.world.services.get(key).map(AsRef::as_ref),
            load_balancer: self.world.load_balancers.get(key).map(AsRef::as_ref),
        }
    }

    /// Whose the Service is.
    pub fn scope_of(&self, key: &ServiceName) -> Scope {
        match self.world.services.get(key) {
            // One that is being deleted wants nothing any more.
            Some(service) if service.metadata.deletion_timestamp.is_none() => {
                scope(asked(service), &self.world.takers(&key.namespace))
            }
            _ => Scope::Foreign,
        }
    }

    /// What shall be for a key, and the keys to look at again because of it.
    pub fn decide(&mut self, key: &ServiceName, now: SystemTime) -> (Wanted, BTreeSet<ServiceName>) {
        let load_balancer = self.world.load_balancers.get(key).map(AsRef::as_ref);
        let heard = self.local.hear(key, load_balancer, now);
        let (wanted, mut again) = self.judge(key, now);
        again.extend(heard);
        again.remove(key);
        (wanted, again)
    }

    fn judge(&mut self, key: &ServiceName, now: SystemTime) -> (Wanted, BTreeSet<ServiceName>) {
        let scope = self.scope_of(key);
        if let Some(wanted) = self.leaves_cloud(key, &scope) {
            return (wanted, BTreeSet::new());
        }
        let provider = match scope {
            Scope::Of(provider) => provider,
            Scope::Foreign => match self.unattended(key) {
                Some(complaint) => return (Wanted::Unattended(complaint), BTreeSet::new()),
                None => return (Wanted::Nothing, self.local.release(key, now)),
            },
            Scope::Refused(refusal) => {
                let complaint = Complaint {
                    reason: refusal.reason(),
                    message: refusal.to_string(),
                };
                return (Wanted::Unattended(complaint), BTreeSet::new());
            }
        };
        if !self.is_local(&provider) {
            let wanted = if self.clouds.is_supported {
                let state = self.clouds.state(&provider, key).cloned();
                Wanted::Cloud { provider, state }
            } else {
                Wanted::Unattended(unsupported(&provider))
            };
            return (wanted, BTreeSet::new());
        }
        let held = self.held(key);
        let service = self
            .world
            .services
            .get(key)
            .expect("only a Service has a scope")
            .clone();
        let Verdict {
            addresses,
            pool,
            complaint,
            again,
        } = match wish(&service) {
            Ok(wish) => {
                let case = Case {
                    key,
                    service: &service,
                    provider: &provider,
                    wish: &wish,
                    held: &held,
                    is_adopted: self.is_adopted(key),
                };
                self.local.decide(&self.world, &case, now)
            }
            // What cannot be understood changes nothing that works.
            Err(complaint) => Verdict {
                pool: self.pool_on_record(key),
                addresses: held,
                complaint: Some(complaint),
                again: BTreeSet::new(),
            },
        };
        let wanted = Wanted::LoadBalancer {
            provider,
            addresses,
            pool,
            complaint,
        };
        (wanted, again)
    }

    /// What a cloud is to be asked for: the provider, the wish, and the record that has to be there before anything is made.
    pub fn wish_of_cloud(&self, key: &ServiceName, wanted: &Wanted) -> Option<(String, Wish, Arc<LoadBalancer>)> {
        let record = self.world.load_balancers.get(key)?;
        let provider = record.spec.provider.clone();
        match wanted {
            Wanted::Cloud { provider: wanted, .. } if **wanted == provider => {
                let service = self.world.services.get(key)?;
                let is_kept = self.observed(key).is_kept();
                is_kept.then(|| (provider, Wish::Have(service.clone()), record.clone()))
            }
            Wanted::Leaving(_) => Some((provider, Wish::Leave, record.clone())),
            _ => None,
        }
    }

    /// What was made in a cloud for a key that is that provider's no more goes first.
    fn leaves_cloud(&self, key: &ServiceName, scope: &Scope) -> Option<Wanted> {
        let record = self.world.load_balancers.get(key)?;
        let before = &record.spec.provider;
        match scope {
            Scope::Of(provider) if **provider == **before => return None,
            Scope::Refused(_) => return None,
            Scope::Of(_) | Scope::Foreign => {}
        }
        match self.world.providers.get(before) {
            Some(provider) if provider.spec.aws.is_none() => None,
            Some(_) if !self.clouds.is_supported => Some(Wanted::Unattended(unsupported(before))),
            Some(_) if self.clouds.is_gone(before, key) => None,
            Some(_) => Some(Wanted::Leaving(self.clouds.state(before, key).cloned())),
            None => {
                let has_parts = record.status.as_ref().is_some_and(|status| !status.ids.is_empty());
                has_parts.then(|| {
                    Wanted::Unattended(Complaint {
                        reason: reason::UNKNOWN_PROVIDER,
                        message: format!(
                            "LoadBalancerProvider {before} is gone; what it made can only be deleted when it is there again"
                        ),
                    })
                })
            }
        }
    }

    fn is_local(&self, provider: &Arc<str>) -> bool {
        let provider = self.world.providers.get(&provider.to_string());
        provider.is_some_and(|provider| provider.spec.local.is_some())
    }

    fn pool_on_record(&self, key: &ServiceName) -> Option<Arc<str>> {
        let status = self.world.load_balancers.get(key)?.status.as_ref()?;
        status.pool.as_deref().map(Into::into)
    }

    /// A load balancer of ours whose provider is gone, while its Service still is as it was.
    fn unattended(&self, key: &ServiceName) -> Option<Complaint> {
        let service = self.world.services.get(key)?;
        let provider = &self.world.load_balancers.get(key)?.spec.provider;
        let is_wanted =
            service.metadata.deletion_timestamp.is_none() && asked(service).exposure == Exposure::LoadBalancer;
        (is_wanted && self.world.providers.get(provider).is_none()).then(|| Complaint {
            reason: reason::UNKNOWN_PROVIDER,
            message: format!("LoadBalancerProvider {provider} is gone; its addresses stay until the Service is"),
        })
    }
}

fn unsupported(provider: &str) -> Complaint {
    Complaint {
        reason: reason::UNSUPPORTED_PROVIDER,
        message: format!("LoadBalancerProvider {provider}: spec.aws: this build makes no load balancers of AWS"),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::controller::watch::{Change, Told};

    fn all<K: DeserializeOwned>(objects: &[Value]) -> Change<K> {
        let read = |object: &Value| Arc::new(serde_json::from_value(object.clone()).unwrap());
        Change::All(objects.iter().map(read).collect())
    }

    /// The Service default/web, and a pool for every provider.
    fn decider(providers: &[Value]) -> Decider {
        let mut decider = Decider::default();
        let ours = |kind: &str, name: &str, spec: &Value| json!({ "apiVersion": "fairlead.io/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        let providers: Vec<_> = providers
            .iter()
            .map(|spec| ours("LoadBalancerProvider", "lan", spec))
            .collect();
        let pool = ours("AddressPool", "pool", &json!({ "addresses": ["198.51.100.0/24"] }));
        let web = json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": { "type": "LoadBalancer", "ipFamilies": ["IPv4"], "ports": [{ "port": 80 }] },
        });
        for told in [
            Told::Provider(all(&providers)),
            Told::Pool(all(&[pool])),
            Told::Service(all(&[web])),
            Told::Namespace(all(&[])),
            Told::LoadBalancer(all(&[])),
        ] {
            decider.world.absorb(told);
        }
        decider.set_pools();
        decider
    }

    fn decide(provider: &Value) -> Wanted {
        let key = ServiceName::new("default", "web");
        decider(std::slice::from_ref(provider))
            .decide(&key, SystemTime::UNIX_EPOCH)
            .0
    }

    #[test]
    fn addresses_of_pools_are_for_local_providers() {
        let local = decide(&json!({ "default": true, "local": {} }));
        assert!(matches!(local, Wanted::LoadBalancer { addresses, .. } if addresses.len() == 1));
        let aws = decide(&json!({ "default": true, "aws": { "clusterName": "one" } }));
        assert!(matches!(aws, Wanted::Unattended(complaint) if complaint.reason == reason::UNSUPPORTED_PROVIDER));
    }
}
