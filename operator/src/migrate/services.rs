//! What becomes of the addresses that Services have: decided by the code that the operator decides with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use fairlead_crds::{AddressPool, LoadBalancerProvider, annotation};
use fairlead_local::allocation::AddressRange;
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::ResourceExt;

use super::convert::PROVIDER;
use super::metallb::Metallb;
use super::note::Note;
use crate::operator::controller::decide::Decider;
use crate::operator::controller::plan::Wanted;
use crate::operator::controller::scope::Scope;
use crate::operator::controller::watch::{Change, Told};
use crate::operator::controller::world::World;

/// How many Services have addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub all: usize,
    /// Those that keep all that they have.
    pub keep: usize,
}

/// Which Services the provider takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Those of this class.
    pub name: Option<String>,
    /// Those without a class.
    pub is_default: bool,
}

/// The class of the Services that `MetalLB` serves: what its operator is told, or else what the Services themselves have.
pub(super) fn class(metallb: &Metallb, pools: &[AddressPool], notes: &mut Vec<Note>) -> Class {
    if let Some(class) = &metallb.class {
        return Class {
            name: Some(class.clone()),
            is_default: false,
        };
    }
    let ranges = ranges(pools);
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for service in &metallb.services {
        if addresses(service).iter().any(|address| has(&ranges, *address)) {
            let class = service
                .spec
                .as_ref()
                .and_then(|spec| spec.load_balancer_class.as_deref());
            *counts.entry(class).or_default() += 1;
        }
    }
    let without = counts.remove(&None).unwrap_or_default();
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    let Some((Some(class), count)) = most.filter(|(_, count)| *count > without) else {
        return Class {
            name: None,
            is_default: true,
        };
    };
    let text = format!(
        "{class}, since {count} of the Services with addresses of the pools have it; those without a class are not taken, as MetalLB does \
         with --lb-class"
    );
    notes.push(Note::differs(
        &format!("LoadBalancerProvider {PROVIDER}"),
        "spec.loadBalancerClass",
        text,
    ));
    Class {
        name: Some(class.to_owned()),
        is_default: false,
    }
}

/// Who keeps what it has.
pub(super) fn check(metallb: &Metallb, provider: &LoadBalancerProvider, pools: &[AddressPool]) -> (Tally, Vec<Note>) {
    let mut notes = Vec::new();
    let mut decider = Decider {
        world: world(metallb, provider, pools, &mut notes),
        ..Decider::default()
    };
    decider.set_pools();
    for pool in pools {
        let name = pool.name_any();
        if let Some(fault) = decider.local.fault(&name) {
            notes.push(Note::lost(&format!("AddressPool {name}"), "", fault.message.clone()).with_pool(&name));
        }
    }
    decider.restore(SystemTime::now());
    let ranges = ranges(pools);
    let mut tally = Tally::default();
    for key in decider.world.keys() {
        let service = decider
            .world
            .services
            .get(&key)
            .expect("a key is a Service's here")
            .clone();
        let held = addresses(&service);
        notes.extend(unknown_annotations(&service, &format!("Service {key}")));
        let is_theirs = held.iter().any(|address| has(&ranges, *address)) || asks_metallb(&service);
        let about = format!("Service {key}");
        let scope = decider.scope_of(&key);
        match &scope {
            Scope::Of(_) if held.is_empty() => {
                notes.extend(hostname(&service).map(|hostname| {
                    let text = format!(
                        "it is {hostname}, of another load balancer; the provider would take the Service from it"
                    );
                    Note::differs(&about, "status.loadBalancer.ingress[0].hostname", text)
                }));
            }
            Scope::Of(_) => {
                tally.all += 1;
                let verdict = verdict(&mut decider, &key, &held);
                tally.keep += usize::from(verdict.is_kept);
                notes.extend(verdict.note);
            }
            Scope::Foreign | Scope::Refused(_) if is_theirs && !held.is_empty() => {
                tally.all += 1;
                let why = match &scope {
                    Scope::Refused(refusal) => refusal.to_string(),
                    _ => match service
                        .spec
                        .as_ref()
                        .and_then(|spec| spec.load_balancer_class.as_deref())
                    {
                        Some(class) => format!("spec.loadBalancerClass is {class}, which the provider does not have"),
                        None => "it has no spec.loadBalancerClass, and the provider takes only those with its own"
                            .to_owned(),
                    },
                };
                let text = format!("it keeps {} only as long as MetalLB looks after it: {why}", list(&held));
                notes.push(Note::lost(&about, "", text));
            }
            Scope::Foreign | Scope::Refused(_) => {}
        }
    }
    (tally, notes)
}

struct Verdict {
    is_kept: bool,
    note: Option<Note>,
}

fn verdict(decider: &mut Decider, key: &ServiceName, held: &[IpAddr]) -> Verdict {
    let about = format!("Service {key}");
    let (wanted, _) = decider.decide(key, SystemTime::now());
    let (gets, complaint) = match wanted {
        Wanted::LoadBalancer {
            addresses, complaint, ..
        } => (addresses, complaint),
        Wanted::Unattended(complaint) => (Vec::new(), Some(complaint)),
        Wanted::Nothing | Wanted::Cloud { .. } | Wanted::Leaving(_) => (Vec::new(), None),
    };
    let told = complaint.map(|complaint| format!("{}: {}", complaint.reason, complaint.message));
    let lost: Vec<_> = held.iter().copied().filter(|address| !gets.contains(address)).collect();
    let more: Vec<_> = gets.iter().copied().filter(|address| !held.contains(address)).collect();
    if !lost.is_empty() {
        let why = told.unwrap_or_else(|| match holder(decider, key, &lost) {
            Some(other) => format!("Service {other} has it too, and the two may not share it"),
            None => "no AddressPool that takes this Service has it".to_owned(),
        });
        let then = if more.is_empty() {
            String::new()
        } else {
            format!("; it would get {}", list(&more))
        };
        let text = format!("it does not keep {}: {why}{then}", list(&lost));
        return Verdict {
            is_kept: false,
            note: Some(Note::lost(&about, "", text)),
        };
    }
    let text = match (told, more.is_empty()) {
        (Some(why), _) => Some(format!(
            "it keeps {}, but not all that it asks for can be had: {why}",
            list(held)
        )),
        (None, false) => Some(format!("it keeps {}, and gets {} too", list(held), list(&more))),
        (None, true) => None,
    };
    Verdict {
        is_kept: true,
        note: text.map(|text| Note::differs(&about, "", text)),
    }
}

/// Another Service with one of these addresses.
fn holder(decider: &Decider, key: &ServiceName, lost: &[IpAddr]) -> Option<ServiceName> {
    let others = decider.world.services.iter().filter(|(other, _)| *other != key);
    let mut holders = others.filter(|(_, service)| addresses(service).iter().any(|address| lost.contains(address)));
    holders.next().map(|(other, _)| other.clone())
}

fn world(metallb: &Metallb, provider: &LoadBalancerProvider, pools: &[AddressPool], notes: &mut Vec<Note>) -> World {
    let mut namespaces = metallb.namespaces.clone();
    let selects_namespaces = |pool: &AddressPool| {
        let allocation = pool.spec.allocation.as_ref();
        allocation.is_some_and(|allocation| !allocation.namespace_selectors.is_empty())
    };
    let known: BTreeSet<String> = namespaces.iter().map(ResourceExt::name_any).collect();
    let used: BTreeSet<String> = metallb.services.iter().filter_map(ResourceExt::namespace).collect();
    for name in used.difference(&known) {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.clone());
        // The API server gives every one this label.
        namespace
            .labels_mut()
            .insert("kubernetes.io/metadata.name".to_owned(), name.clone());
        namespaces.push(namespace);
        if pools.iter().any(selects_namespaces) {
            let text = "it was not given, so that its Services were checked as if it had no labels but its name";
            notes.push(Note::differs(&format!("Namespace {name}"), "metadata.labels", text));
        }
    }
    let mut world = World::default();
    world.absorb(Told::Namespace(Change::All(shared(namespaces))));
    world.absorb(Told::Provider(Change::All(vec![Arc::new(provider.clone())])));
    world.absorb(Told::Pool(Change::All(shared(pools.to_vec()))));
    world.absorb(Told::LoadBalancer(Change::All(Vec::new())));
    world.absorb(Told::Service(Change::All(shared(metallb.services.clone()))));
    world
}

fn shared<K>(objects: Vec<K>) -> Vec<Arc<K>> {
    objects.into_iter().map(Arc::new).collect()
}

/// The addresses in a Service's status.
fn addresses(service: &Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    ingress
        .filter_map(|ingress| ingress.ip.as_ref()?.parse().ok())
        .collect()
}

fn hostname(service: &Service) -> Option<String> {
    let status = service.status.as_ref()?.load_balancer.as_ref()?;
    status
        .ingress
        .iter()
        .flatten()
        .find_map(|ingress| ingress.hostname.clone())
}

/// Whether it speaks to `MetalLB`.
fn asks_metallb(service: &Service) -> bool {
    let all = [
        annotation::ADDRESS_POOL_ALL,
        annotation::LOAD_BALANCER_IPS_ALL,
        annotation::ALLOW_SHARED_IP_ALL,
    ];
    let asks = |name: &str| name.starts_with("metallb.") && service.annotations().contains_key(name);
    all.iter().flatten().any(|name| asks(name))
}

/// Annotations for `MetalLB` that nobody reads here.
fn unknown_annotations(service: &Service, about: &str) -> Vec<Note> {
    let known = ["address-pool", "loadBalancerIPs", "allow-shared-ip"];
    let unknown = service.annotations().keys().filter(|name| {
        let own = name
            .strip_prefix("metallb.io/")
            .or_else(|| name.strip_prefix("metallb.universe.tf/"));
        // The last one is MetalLB's note to itself.
        own.is_some_and(|own| !known.contains(&own) && own != "ip-allocated-from-pool")
    });
    let note = |name: &String| Note::lost(about, format!("annotation {name}"), "Fairlead does not read it");
    unknown.map(note).collect()
}

fn ranges(pools: &[AddressPool]) -> Vec<AddressRange> {
    let texts = pools.iter().flat_map(|pool| &pool.spec.addresses);
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn has(ranges: &[AddressRange], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

fn list(addresses: &[IpAddr]) -> String {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    all.join(", ")
}
