//! From what is known of the cluster to what this node's speaker is asked to do. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use fairlead_crds::{
    Announcement, CordonedNodes, LoadBalancer, LoadBalancerProvider, LocalProvider, Ownership, ServiceReference,
};
use fairlead_local::allocation::Selector;
use fairlead_local::announcement::{Interfaces, Reach, Scope};
use fairlead_local::ownership::{Eligibility, Ineligible, Mode};
use fairlead_local::speaker::{Heartbeats, Plan, Post};
use fairlead_model::ServiceName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::source::Surroundings;
use crate::source::surroundings::Member;

/// What the dataplane knows of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backing {
    /// Whether it has `externalTrafficPolicy: Local`.
    pub is_local: bool,
    /// Whether it has an endpoint, anywhere.
    pub has_endpoint: bool,
    /// Whether it has one on this node.
    pub has_local_endpoint: bool,
}

impl Backing {
    /// Whether the node can send on what comes for the Service.
    fn is_served_here(self) -> bool {
        !self.is_local || self.has_local_endpoint
    }
}

/// The node and its dataplane.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Which nodes have an agent.
    pub has_agent: &'a Selector,
    /// Whether the kernel has the rules of everything that is known.
    pub is_in_sync: bool,
}

/// The addresses that Services have from local providers, by Service.
pub fn addresses_of_services(surroundings: &Surroundings) -> BTreeMap<ServiceName, BTreeSet<IpAddr>> {
    let mut addresses: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for load_balancer in local(surroundings).map(|(_, load_balancer)| load_balancer) {
        for service in services(load_balancer) {
            addresses
                .entry(service)
                .or_default()
                .extend(addresses_of(load_balancer));
        }
    }
    addresses
}

/// What the speaker is asked to do. `backing` is `None` for a Service that the dataplane does not know.
pub fn plan(surroundings: &Surroundings, here: Here<'_>, backing: impl Fn(&ServiceName) -> Option<Backing>) -> Plan {
    let Some(settings) = settings(surroundings) else {
        return Plan::default();
    };
    let mut posts = BTreeMap::new();
    for (provider, load_balancer) in local(surroundings) {
        let known: Vec<_> = services(load_balancer)
            .filter_map(|service| backing(&service))
            .collect();
        // Its rules come first, and then the address.
        if known.is_empty() {
            continue;
        }
        let announcement = announcement(surroundings, load_balancer);
        let post = Post {
            scope: scope(&announcement),
            answers_echo: provider.echo && known.iter().any(|backing| backing.has_endpoint),
            is_probed: provider.duplicate_address_detection,
            is_contested: false,
            mode: match provider.ownership {
                Ownership::Sticky => Mode::Sticky,
                Ownership::Revertive => Mode::Revertive,
            },
            eligibility: eligibility(surroundings, here, provider, &announcement, &known),
        };
        for address in addresses_of(load_balancer) {
            let post = Post {
                is_contested: is_contested(load_balancer, address),
                ..post.clone()
            };
            posts
                .entry(address)
                .and_modify(|shared| share(shared, &post))
                .or_insert_with(|| post.clone());
        }
    }
    let members = members(surroundings, here.has_agent);
    Plan {
        heartbeats: Heartbeats {
            port: settings.heartbeat.port,
            interval: settings.heartbeat.interval(),
            threshold: settings.heartbeat.failure_threshold,
        },
        refresh: settings.refresh(),
        lost: (members.keys())
            .filter(|name| surroundings.members[*name].is_lost)
            .cloned()
            .collect(),
        members,
        posts,
    }
}

/// The first local provider by name says how nodes hear of each other: there is one speaker on a node.
fn settings(surroundings: &Surroundings) -> Option<&LocalProvider> {
    surroundings
        .providers
        .values()
        .find_map(|provider| provider.spec.local.as_ref())
}

/// The load balancers of local providers.
fn local(surroundings: &Surroundings) -> impl Iterator<Item = (&LocalProvider, &LoadBalancer)> {
    let provider_of = |load_balancer: &LoadBalancer| -> Option<&LoadBalancerProvider> {
        surroundings
            .providers
            .get(&load_balancer.spec.provider)
            .map(AsRef::as_ref)
    };
    surroundings.load_balancers.values().filter_map(move |load_balancer| {
        let provider = provider_of(load_balancer)?.spec.local.as_ref()?;
        Some((provider, &**load_balancer))
    })
}

fn services(load_balancer: &LoadBalancer) -> impl Iterator<Item = ServiceName> {
    let name = |ServiceReference { namespace, name }: &ServiceReference| ServiceName::new(&**namespace, &**name);
    load_balancer.spec.services.iter().map(name)
}

fn addresses_of(load_balancer: &LoadBalancer) -> impl Iterator<Item = IpAddr> {
    let status = load_balancer.status.iter();
    status.flat_map(|status| status.addresses.iter().filter_map(|text| text.parse().ok()))
}

/// Whether its last owner has left the address to a machine outside of the cluster.
fn is_contested(load_balancer: &LoadBalancer, address: IpAddr) -> bool {
    let status = load_balancer.status.iter();
    let mut announcements = status.flat_map(|status| &status.announcements);
    announcements.any(|(text, by)| by.stranger.is_some() && text.parse() == Ok(address))
}

/// How the pool's addresses are announced. Those of a pool that is gone are announced everywhere.
fn announcement(surroundings: &Surroundings, load_balancer: &LoadBalancer) -> Announcement {
    let pool = load_balancer.status.as_ref().and_then(|status| status.pool.as_ref());
    pool.and_then(|pool| surroundings.pools.get(pool)?.spec.announcement.clone())
        .unwrap_or_default()
}

fn scope(announcement: &Announcement) -> Scope {
    Scope {
        interfaces: if announcement.interfaces.is_empty() {
            Interfaces::Outside
        } else {
            Interfaces::Named(announcement.interfaces.iter().cloned().collect())
        },
        reach: if announcement.require_on_link {
            Reach::OnLink
        } else {
            Reach::Routed
        },
    }
}

/// One of the selectors is enough; none at all selects every node. One that cannot be read selects none.
fn selects(selectors: &[LabelSelector], member: &Member) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| is_selected(selector, member))
}

fn is_selected(selector: &LabelSelector, member: &Member) -> bool {
    Selector::try_from(selector).is_ok_and(|selector| selector.selects(&member.labels))
}

/// The nodes that have an agent and that a pool selects: others have no say in what they can never own.
fn members(surroundings: &Surroundings, has_agent: &Selector) -> BTreeMap<String, Vec<IpAddr>> {
    let everywhere = Announcement::default();
    let is_wanted = |member: &Member| {
        surroundings.pools.values().any(|pool| {
            let announcement = pool.spec.announcement.as_ref().unwrap_or(&everywhere);
            selects(&announcement.node_selectors, member)
        })
    };
    let members = surroundings.members.iter();
    members
        .filter(|(_, member)| has_agent.selects(&member.labels) && is_wanted(member))
        .map(|(name, member)| (name.clone(), member.addresses.clone()))
        .collect()
}

/// Whether this node may have an address, links aside.
///
/// What a person or an autoscaler asks for lets a node keep its address until another one has it. What makes the address useless on this
/// node does not.
fn eligibility(
    surroundings: &Surroundings,
    here: Here<'_>,
    provider: &LocalProvider,
    announcement: &Announcement,
    services: &[Backing],
) -> Eligibility {
    let Some(member) = surroundings.members.get(here.node) else {
        return Eligibility::Ineligible(Ineligible::Unknown);
    };
    if !here.is_in_sync {
        return Eligibility::Ineligible(Ineligible::DataplaneNotInSync);
    }
    if member.is_without_network {
        return Eligibility::Ineligible(Ineligible::NetworkUnavailable);
    }
    if !selects(&announcement.node_selectors, member) {
        let has_heir = surroundings
            .members
            .values()
            .any(|other| selects(&announcement.node_selectors, other) && here.has_agent.selects(&other.labels));
        return if has_heir {
            Eligibility::Leaving
        } else {
            Eligibility::Ineligible(Ineligible::Excluded)
        };
    }
    let moves_with_cordon = provider.cordoned_nodes == CordonedNodes::Move;
    let is_served = services.iter().any(|backing| backing.is_served_here());
    if member.is_excluded || (member.is_cordoned && moves_with_cordon) || !is_served {
        return Eligibility::Leaving;
    }
    let weights = announcement.preferred_nodes.iter();
    let weight: u32 = weights
        .filter(|preferred| is_selected(&preferred.preference, member))
        .map(|preferred| preferred.weight)
        .sum();
    Eligibility::Eligible {
        weight: u16::try_from(weight).unwrap_or(u16::MAX),
    }
}

/// Two load balancers have the address: a node may have it that may have it for one of them.
fn share(shared: &mut Post, other: &Post) {
    shared.answers_echo |= other.answers_echo;
    shared.is_contested |= other.is_contested;
    let rank = |eligibility: &Eligibility| match eligibility {
        Eligibility::Eligible { weight } => (2, *weight),
        Eligibility::Leaving => (1, 0),
        Eligibility::Ineligible(_) => (0, 0),
    };
    if rank(&other.eligibility) > rank(&shared.eligibility) {
        shared.eligibility = other.eligibility;
    }
}

#[cfg(test)]
mod tests;
