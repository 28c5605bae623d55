//! The operator's decisions about a cluster and about what may be applied to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use fairlead_model::{Family, ServiceName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::cluster::Cluster;
use super::input::{Input, applied, cluster_families, key_of, succeed};
use super::why::why;
use crate::operator::controller::decide::Decider;
use crate::operator::controller::plan::{self, Wanted};
use crate::operator::controller::scope::Scope;
use crate::operator::controller::watch::{Change, Told};

/// No Service is looked at more often: what one does to others ends after a few rounds.
const LOOKS_AT_EACH: usize = 16;

/// What would happen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The IP families that Services get that name none.
    pub(super) ip_families: Vec<String>,
    /// Whether nothing says so, and they are only likely.
    pub(super) are_ip_families_assumed: bool,
    /// Pools that would not be used as they are written.
    pub(super) pools: Vec<PoolReport>,
    /// Those of the files, then others that something would be done for.
    pub(super) services: Vec<ServiceReport>,
}

/// What is wrong with a pool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolReport {
    pub(super) name: String,
    /// Whether it is of the files.
    pub(super) is_given: bool,
    #[serde(flatten)]
    pub(super) complaint: ComplaintReport,
}

/// What would happen for a Service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceReport {
    pub(super) name: String,
    /// Whether it is of the files.
    pub(super) is_given: bool,
    /// Who takes it.
    pub(super) provider: Option<String>,
    /// Why this one does, or why none does.
    pub(super) why: String,
    /// The addresses that it has then.
    pub(super) addresses: Vec<IpAddr>,
    /// Their pool.
    pub(super) pool: Option<String>,
    /// What it asks for and does not get.
    pub(super) complaint: Option<ComplaintReport>,
    /// What the operator does, in order, as it logs it.
    pub(super) steps: Vec<String>,
}

/// Why something is not as it is asked for.
#[derive(Debug, Serialize)]
pub(super) struct ComplaintReport {
    pub(super) reason: String,
    pub(super) message: String,
}

impl Report {
    /// How many objects of the files do not get what they ask for.
    pub(super) fn complaints(&self) -> usize {
        let services = self
            .services
            .iter()
            .filter(|service| service.is_given && service.complaint.is_some());
        let pools = self.pools.iter().filter(|pool| pool.is_given);
        services.count() + pools.count()
    }
}

/// What the operator would do if the files were applied to the cluster, or, without a cluster, if they were one.
pub(super) fn foresee(cluster: Option<Cluster>, input: Input, families: &[Family], now: SystemTime) -> Report {
    let Input { objects } = input;
    let (families, are_assumed) = ip_families(cluster.as_ref(), &objects, families);
    let given: Vec<_> = objects.services.iter().map(key_of).collect();
    let given_pools: BTreeSet<_> = objects.pools.iter().map(ResourceExt::name_any).collect();
    let time = Time(Timestamp::try_from(now).unwrap_or_default());
    let mut decider = Decider::default();
    let mut wanted = BTreeMap::new();
    if let Some(cluster) = cluster {
        let overlay = over(&cluster, objects, &families, &time);
        begin(&mut decider, cluster);
        // As the operator has it before anything is applied.
        let keys = decider.world.keys();
        settle(&mut decider, keys, &mut wanted, now);
        for told in overlay {
            decider.world.absorb(told);
        }
        decider.set_pools();
    } else {
        let services = objects.services.into_iter();
        let services = services.map(|service| applied(service, None, &families)).collect();
        begin(&mut decider, Cluster { services, ..objects });
    }
    let mut others = decider.world.keys();
    others.retain(|key| !given.contains(key));
    let keys: Vec<_> = others.into_iter().chain(given.clone()).collect();
    settle(&mut decider, keys, &mut wanted, now);

    let others = wanted
        .keys()
        .filter(|key| !given.contains(key))
        .cloned()
        .collect::<Vec<_>>();
    let all = given
        .iter()
        .map(|key| (key, true))
        .chain(others.iter().map(|key| (key, false)));
    let services = all.filter_map(|(key, is_given)| {
        let report = service_report(&decider, key, wanted.get(key)?, is_given, &time);
        (is_given || !report.steps.is_empty()).then_some(report)
    });
    Report {
        services: services.collect(),
        pools: pool_reports(&decider, &given_pools),
        ip_families: families.iter().map(ToString::to_string).collect(),
        are_ip_families_assumed: are_assumed,
    }
}

/// The cluster's IP families, and whether nothing says them.
pub(super) fn ip_families(cluster: Option<&Cluster>, files: &Cluster, told: &[Family]) -> (Vec<Family>, bool) {
    let known = cluster.map_or_else(|| cluster_families(files), cluster_families);
    match (told, known.as_slice()) {
        ([], []) => (vec![Family::V4], true),
        ([], _) => (known, false),
        _ => (told.to_vec(), false),
    }
}

/// What there is, and who has which address.
pub(super) fn begin(decider: &mut Decider, cluster: Cluster) {
    let world = &mut decider.world;
    world.absorb(Told::Namespace(Change::All(shared(cluster.namespaces))));
    world.absorb(Told::Provider(Change::All(shared(cluster.providers))));
    world.absorb(Told::Pool(Change::All(shared(cluster.pools))));
    world.absorb(Told::LoadBalancer(Change::All(shared(cluster.load_balancers))));
    world.absorb(Told::Service(Change::All(shared(cluster.services))));
    decider.set_pools();
    decider.restore(SystemTime::now());
}

fn shared<K>(objects: Vec<K>) -> Vec<Arc<K>> {
    objects.into_iter().map(Arc::new).collect()
}

/// What the watch would tell once the files were applied. `LoadBalancer`s are the operator's to write.
fn over(cluster: &Cluster, files: Cluster, families: &[Family], now: &Time) -> Vec<Told> {
    let mut told = Vec::new();
    for mut new in files.namespaces {
        let old = named(&cluster.namespaces, &new.name_any());
        succeed(&mut new, old, now);
        told.push(Told::Namespace(Change::Is(Arc::new(new))));
    }
    for mut new in files.providers {
        let old = named(&cluster.providers, &new.name_any());
        succeed(&mut new, old, now);
        told.push(Told::Provider(Change::Is(Arc::new(new))));
    }
    for mut new in files.pools {
        let old = named(&cluster.pools, &new.name_any());
        succeed(&mut new, old, now);
        new.status = old.and_then(|old| old.status.clone());
        told.push(Told::Pool(Change::Is(Arc::new(new))));
    }
    for mut new in files.services {
        // Who applies an object does not write its status.
        new.status = None;
        let old = cluster.services.iter().find(|old| key_of(old) == key_of(&new));
        succeed(&mut new, old, now);
        told.push(Told::Service(Change::Is(Arc::new(applied(new, old, families)))));
    }
    told
}

fn named<'a, K: ResourceExt>(objects: &'a [K], name: &str) -> Option<&'a K> {
    objects.iter().find(|object| object.name_any() == name)
}

/// Decides about these, and about those that this changes something for, until nothing changes any more.
pub(super) fn settle(
    decider: &mut Decider,
    keys: impl IntoIterator<Item = ServiceName>,
    wanted: &mut BTreeMap<ServiceName, Wanted>,
    now: SystemTime,
) {
    let mut queue: VecDeque<_> = keys.into_iter().collect();
    let mut looks: BTreeMap<ServiceName, usize> = BTreeMap::new();
    while let Some(key) = queue.pop_front() {
        let looks = looks.entry(key.clone()).or_default();
        *looks += 1;
        if *looks > LOOKS_AT_EACH {
            continue;
        }
        let (decision, again) = decider.decide(&key, now);
        wanted.insert(key, decision);
        for key in again {
            if !queue.contains(&key) {
                queue.push_back(key);
            }
        }
    }
}

fn service_report(decider: &Decider, key: &ServiceName, wanted: &Wanted, is_given: bool, now: &Time) -> ServiceReport {
    let observed = decider.observed(key);
    let steps = plan::plan(&observed, wanted, now);
    let scope = decider.scope_of(key);
    let (addresses, pool, complaint) = match wanted {
        Wanted::LoadBalancer {
            addresses,
            pool,
            complaint,
            ..
        } => (addresses.clone(), pool.clone(), complaint.clone()),
        Wanted::Unattended(complaint) => (observed.published(), None, Some(complaint.clone())),
        Wanted::Nothing | Wanted::Cloud { .. } | Wanted::Leaving(_) => (Vec::new(), None, wanted.complaint().cloned()),
    };
    ServiceReport {
        name: key.to_string(),
        is_given,
        why: observed.service.map_or_else(
            || "the Service is gone".to_owned(),
            |service| why(service, &decider.world.takers(&key.namespace), &scope),
        ),
        provider: match scope {
            Scope::Of(provider) => Some(provider.to_string()),
            Scope::Foreign | Scope::Refused(_) => None,
        },
        addresses,
        pool: pool.map(|pool| pool.to_string()),
        complaint: complaint.map(|complaint| ComplaintReport {
            reason: complaint.reason.to_string(),
            message: complaint.message,
        }),
        steps: steps.iter().map(ToString::to_string).collect(),
    }
}

fn pool_reports(decider: &Decider, given: &BTreeSet<String>) -> Vec<PoolReport> {
    let faults = decider.world.pools.iter().filter_map(|(name, _)| {
        let fault = decider.local.fault(name)?;
        Some(PoolReport {
            name: name.clone(),
            is_given: given.contains(name),
            complaint: ComplaintReport {
                reason: fault.reason.to_string(),
                message: fault.message.clone(),
            },
        })
    });
    faults.collect()
}
