//! What pools and providers came to: their status, written when it has changed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use fairlead_crds::reason::{self, Reason};
use fairlead_crds::{
    AddressPool, AddressPoolStatus, LoadBalancerProvider, LoadBalancerProviderStatus, PoolUsage, QuarantinedAddress,
    RestingAddress, ServiceReference,
};
use fairlead_local::allocation::Usage;
use fairlead_model::Family;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::{Timestamp, Unit};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::timeout;

use super::cloud::Clouds;
use super::conditions::{Finding, conditions};
use super::decide::Decider;
use super::local::Local;
use super::plan::Complaint;
use super::world::World;
use crate::chain::Chain;

/// How long one status may take to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// A status that differs from what the API server has.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Of a pool.
    Pool(String, AddressPoolStatus),
    /// Of a provider.
    Provider(String, LoadBalancerProviderStatus),
}

/// Every status that is to be written.
pub fn reports(decider: &Decider, now: &Time) -> Vec<Report> {
    let Decider { world, local, clouds } = decider;
    let pools = world.pools.iter().filter_map(|(name, pool)| {
        let status = pool_status(pool, local, now);
        (pool.status.as_ref() != Some(&status)).then(|| Report::Pool(name.clone(), status))
    });
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, load_balancer) in world.load_balancers.iter() {
        *counts.entry(&load_balancer.spec.provider).or_default() += 1;
    }
    let providers = world.providers.iter().filter_map(|(name, provider)| {
        let count = counts.get(name.as_str()).copied().unwrap_or_default();
        let status = provider_status(provider, count, world, clouds, now);
        (provider.status.as_ref() != Some(&status)).then(|| Report::Provider(name.clone(), status))
    });
    pools.chain(providers).collect()
}

fn pool_status(pool: &AddressPool, local: &Local, now: &Time) -> AddressPoolStatus {
    let name = pool.name_any();
    let usage = |family| local.allocator().usage(&name, family).map(usage);
    let complaint = local.fault(&name);
    let is_used = local.allocator().pools().any(|pool| *pool.name == *name);
    let old = pool.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let mut resting: Vec<_> = local
        .allocator()
        .resting(&name)
        .map(|(address, rest)| RestingAddress {
            address: address.to_string(),
            until: second(rest.until),
            service: rest.of.as_ref().map(|service| ServiceReference {
                namespace: service.namespace.to_string(),
                name: service.name.to_string(),
            }),
        })
        .collect();
    resting.sort_by(|one, other| one.address.cmp(&other.address));
    let quarantined = local.allocator().quarantined(&name);
    let mut quarantined: Vec<_> = quarantined
        .map(|(address, quarantine)| QuarantinedAddress {
            address: address.to_string(),
            mac: quarantine.mac.clone(),
            node: quarantine.node.clone(),
            until: quarantine.until.map(second),
        })
        .collect();
    quarantined.sort_by(|one, other| one.address.cmp(&other.address));
    AddressPoolStatus {
        ipv4: usage(Family::V4),
        ipv6: usage(Family::V6),
        resting,
        quarantined,
        conditions: conditions_of(old, pool.metadata.generation, complaint, is_used, now),
        observed_generation: pool.metadata.generation,
    }
}

fn second(time: SystemTime) -> Time {
    let time = Timestamp::try_from(time).unwrap_or_default();
    Time(time.round(Unit::Second).unwrap_or_default())
}

fn usage(usage: Usage) -> PoolUsage {
    PoolUsage {
        assigned: i64::try_from(usage.assigned).unwrap_or(i64::MAX),
        available: i64::try_from(usage.available).unwrap_or(i64::MAX),
    }
}

fn provider_status(
    provider: &LoadBalancerProvider,
    count: i64,
    world: &World,
    clouds: &Clouds,
    now: &Time,
) -> LoadBalancerProviderStatus {
    let is_supported = provider.spec.local.is_some() || clouds.is_supported;
    let complaint = if is_supported {
        rival(provider, world).or_else(|| clouds.trouble(&provider.name_any()).cloned())
    } else {
        Some(Complaint {
            reason: reason::UNSUPPORTED_PROVIDER,
            message: "spec.aws: this build makes no load balancers of AWS".to_owned(),
        })
    };
    let is_ready = is_supported && clouds.trouble(&provider.name_any()).is_none();
    let old = provider.status.as_ref().map_or(&[][..], |status| &status.conditions);
    LoadBalancerProviderStatus {
        conditions: conditions_of(old, provider.metadata.generation, complaint.as_ref(), is_ready, now),
        observed_generation: provider.metadata.generation,
        load_balancers: count,
    }
}

/// An older provider that takes the same Services.
fn rival(provider: &LoadBalancerProvider, world: &World) -> Option<Complaint> {
    let age = |provider: &LoadBalancerProvider| {
        let made = provider.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (made, provider.name_any())
    };
    let older = || world.providers.iter().filter(|(_, other)| age(other) < age(provider));
    let class = provider.spec.load_balancer_class.as_ref();
    let of_class = older().find(|(_, other)| class.is_some() && other.spec.load_balancer_class.as_ref() == class);
    let default = older().find(|(_, other)| provider.spec.is_default && other.spec.is_default);
    match (of_class, default) {
        (Some((name, _)), _) => Some(Complaint {
            reason: reason::TWO_OF_CLASS,
            message: format!("spec.loadBalancerClass: LoadBalancerProvider {name}, which is older, has the same class"),
        }),
        (None, Some((name, _))) => Some(Complaint {
            reason: reason::TWO_DEFAULTS,
            message: format!("spec.default: LoadBalancerProvider {name}, which is older, is the default"),
        }),
        (None, None) => None,
    }
}

/// What is accepted is what the object says; what is ready may be what it said before.
fn conditions_of(
    old: &[Condition],
    generation: Option<i64>,
    complaint: Option<&Complaint>,
    is_ready: bool,
    now: &Time,
) -> Vec<Condition> {
    let finding = |is_true: bool, reason: Reason, otherwise: &str| match complaint {
        Some(complaint) if !is_true => Finding {
            is_true,
            reason: complaint.reason,
            message: complaint.message.clone(),
        },
        Some(_) => Finding {
            is_true,
            reason,
            message: otherwise.to_owned(),
        },
        None => Finding {
            is_true,
            reason,
            message: String::new(),
        },
    };
    let accepted = finding(complaint.is_none(), reason::ACCEPTED, "");
    let ready = finding(is_ready, reason::READY, "as far as it is accepted, or as it was before");
    conditions(old, generation, accepted, ready, now)
}

/// Writes them. One that cannot be written is logged, and is written with the next change.
pub async fn write(client: Client, reports: Vec<Report>) {
    for report in reports {
        let parameters = PatchParams::default();
        let (name, written) = match report {
            Report::Pool(name, status) => {
                let api: Api<AddressPool> = Api::all(client.clone());
                let patch = Patch::Merge(json!({"status": {
                    "ipv4": status.ipv4, "ipv6": status.ipv6, "resting": status.resting,
                    "quarantined": status.quarantined,
                    "conditions": status.conditions, "observedGeneration": status.observed_generation,
                }}));
                let written = timeout(WRITE_WITHIN, api.patch_status(&name, &parameters, &patch)).await;
                (name, written.map(|written| written.map(drop)))
            }
            Report::Provider(name, status) => {
                let api: Api<LoadBalancerProvider> = Api::all(client.clone());
                let patch = Patch::Merge(json!({"status": status}));
                let written = timeout(WRITE_WITHIN, api.patch_status(&name, &parameters, &patch)).await;
                (name, written.map(|written| written.map(drop)))
            }
        };
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(name, error = %Chain(&error), "status was not written"),
            Err(_) => tracing::debug!(name, "status was not written in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fairlead_model::ServiceName;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::*;
    use crate::operator::controller::decide::Decider;
    use crate::operator::controller::plan::Wanted;
    use crate::operator::controller::watch::{Change, Told};

    fn all<K: DeserializeOwned>(objects: &[Value]) -> Change<K> {
        let read = |object: &Value| Arc::new(serde_json::from_value(object.clone()).unwrap());
        Change::All(objects.iter().map(read).collect())
    }

    /// A decider that has just begun, in a cluster with these Services and one pool.
    fn begin(services: &[&str], pool_status: &Value) -> Decider {
        let mut decider = Decider::default();
        let ours = |kind: &str, spec: &Value, status: &Value| json!({ "apiVersion": "fairlead.io/v1alpha1", "kind": kind, "metadata": { "name": "only" }, "spec": spec, "status": status });
        let service = |name: &&str| {
            json!({
                "metadata": { "name": name, "namespace": "shop" },
                "spec": { "type": "LoadBalancer", "ipFamilies": ["IPv4"], "ports": [{ "port": 80 }] },
            })
        };
        let pool = json!({ "addresses": ["198.51.100.7/32"], "reuseDelaySeconds": 60 });
        let provider = json!({ "default": true, "local": {} });
        for told in [
            Told::Provider(all(&[ours("LoadBalancerProvider", &provider, &Value::Null)])),
            Told::Pool(all(&[ours("AddressPool", &pool, pool_status)])),
            Told::Service(all(&services.iter().map(service).collect::<Vec<_>>())),
            Told::Namespace(all(&[])),
            Told::LoadBalancer(all(&[])),
        ] {
            decider.world.absorb(told);
        }
        decider.set_pools();
        decider.restore(SystemTime::now());
        decider
    }

    fn addresses(decider: &mut Decider, name: &str, now: SystemTime) -> usize {
        match decider.decide(&ServiceName::new("shop", name), now).0 {
            Wanted::LoadBalancer { addresses, .. } => addresses.len(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_rests_for_its_last_service_across_operators() {
        let now = SystemTime::now();
        let mut first = begin(&["one"], &Value::Null);
        assert_eq!(addresses(&mut first, "one", now), 1);
        first.local.release(&ServiceName::new("shop", "one"), now);
        let reports = reports(&first, &Time(Timestamp::now()));
        let status = reports.into_iter().find_map(|report| match report {
            Report::Pool(_, status) => Some(serde_json::to_value(status).unwrap()),
            Report::Provider(..) => None,
        });
        let status = status.unwrap();
        assert_eq!(
            status["resting"][0]["service"],
            json!({ "namespace": "shop", "name": "one" })
        );
        // The next one finds the Service made again, and another one that would like the address.
        let mut second = begin(&["one", "two"], &status);
        assert_eq!(addresses(&mut second, "two", now), 0);
        assert_eq!(addresses(&mut second, "one", now), 1);
    }
}
