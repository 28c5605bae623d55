//! What the table at the links shall hold: which ports are handed on to which nodes, and by which link answers leave. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use fairlead_dataplane::links::{BUCKETS, Link, LinkTable, Port, Steering};
use fairlead_local::announcement;
use fairlead_local::ownership::NodeId;
use fairlead_local::speaker::Plan;
use fairlead_model::{Family, Protocol, Selection, Service, ServiceName, ServicePort, TrafficPolicy};

/// The node, and what it hears.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The node's name.
    pub node: &'a str,
    /// What its speaker is asked to do.
    pub plan: &'a Plan,
    /// The links that lead outside.
    pub links: &'a [announcement::Link],
    /// The other nodes that are heard.
    pub heard: &'a BTreeSet<NodeId>,
    /// The addresses of Services.
    pub of_services: &'a BTreeMap<ServiceName, BTreeSet<IpAddr>>,
}

/// A port of a Service with `externalTrafficPolicy: Local`, and where its endpoints are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPort {
    /// Of addresses of this family.
    pub family: Family,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
    /// Whether a client stays with its endpoint.
    pub is_by_client: bool,
    /// How many endpoints a node has, of those that have any.
    pub nodes: BTreeMap<Arc<str>, u32>,
}

/// The ports of a Service, if its policy is Local.
pub fn local_ports(service: &Service, select: impl Fn(&ServicePort, Family) -> Selection) -> Vec<LocalPort> {
    if service.external_policy != TrafficPolicy::Local {
        return Vec::new();
    }
    let families = Family::ALL
        .into_iter()
        .filter(|family| service.cluster_ip(*family).is_some());
    let ports = families.flat_map(|family| service.ports.iter().map(move |port| (family, port)));
    let ports = ports.map(|(family, port)| LocalPort {
        family,
        protocol: port.protocol,
        number: port.port,
        is_by_client: service.affinity.is_some(),
        nodes: endpoints_by_node(&select(port, family)),
    });
    ports.collect()
}

/// Ready endpoints; where there are none at all, those that serve while they terminate.
fn endpoints_by_node(selection: &Selection) -> BTreeMap<Arc<str>, u32> {
    let is_any_ready = selection.candidates.iter().any(|candidate| candidate.is_ready);
    let served = selection
        .candidates
        .iter()
        .filter(|candidate| candidate.is_ready || (!is_any_ready && candidate.is_serving));
    let mut nodes = BTreeMap::new();
    for node in served.filter_map(|candidate| candidate.node.clone()) {
        *nodes.entry(node).or_default() += 1;
    }
    nodes
}

/// The table. `owned` are the addresses that this node answers for; `local_ports` gives what a Service has.
pub fn link_table(
    around: Around<'_>,
    owned: &BTreeSet<IpAddr>,
    local_ports: impl Fn(&ServiceName) -> Vec<LocalPort>,
) -> LinkTable {
    let mut table = LinkTable {
        links: links(around),
        steered: BTreeMap::new(),
    };
    for &address in owned {
        let services = || {
            around
                .of_services
                .iter()
                .filter(|(_, addresses)| addresses.contains(&address))
        };
        let is_shared = services().count() > 1;
        for port in services().flat_map(|(service, _)| local_ports(service)) {
            if port.family == Family::of(address)
                && let Some(steering) = steering(around, &port, is_shared)
            {
                let port = Port {
                    address,
                    protocol: port.protocol,
                    number: port.number,
                };
                table.steered.insert(port, steering);
            }
        }
    }
    table
}

fn links(around: Around<'_>) -> BTreeMap<String, Link> {
    let reached_by_one = |index: u32| {
        let posts = around.plan.posts.iter().filter(move |(address, post)| {
            let mut reaching = around.links.iter().filter(|link| post.scope.includes(link, **address));
            reaching.next().is_some_and(|link| link.index == index) && reaching.next().is_none()
        });
        posts.map(|(address, _)| *address).collect()
    };
    let links = around.links.iter().map(|link| {
        let parts = around.links.iter().filter(|part| part.lower == Some(link.index));
        let value = Link {
            index: link.index,
            routers: link.routers.clone(),
            addresses: reached_by_one(link.index),
            carries: parts.map(|part| part.index).collect(),
        };
        (link.name.clone(), value)
    });
    links.collect()
}

/// Where the port goes; `None` if it stays here.
///
/// An address that one Service has alone is where its endpoints are, and is served there, as its users expect of `Local`; its port is handed on only while the last
/// endpoint here is gone and the address is not yet on another node.
fn steering(around: Around<'_>, port: &LocalPort, is_shared: bool) -> Option<Steering> {
    let here = port.nodes.get(around.node);
    if here.is_some() && !is_shared {
        return None;
    }
    let others = port.nodes.iter().filter_map(|(node, weight)| {
        let (link, address) = neighbour(around, node, port.family)?;
        Some((link, address, Share::of(node, *weight)))
    });
    let others: Vec<_> = others.collect();
    // All of them have to be behind one link; in all but the strangest clusters they are.
    let count = |link: u32| others.iter().filter(|(by, ..)| *by == link).count();
    let by = others.iter().map(|(by, ..)| *by).max_by_key(|by| (count(*by), *by))?;
    let name = around.links.iter().find(|link| link.index == by)?.name.clone();
    let mut shares: Vec<_> = here
        .map(|weight| (None, Share::of(around.node, *weight)))
        .into_iter()
        .collect();
    let others = others.into_iter().filter(|(link, ..)| *link == by);
    shares.extend(others.map(|(_, address, share)| (Some(address), share)));
    let buckets = (0..BUCKETS).filter_map(|bucket| {
        let (node, _) = shares.iter().max_by_key(|(_, share)| share.score(bucket))?;
        Some((bucket, (*node)?))
    });
    Some(Steering {
        by: (name, by),
        buckets: buckets.collect(),
        is_by_client: port.is_by_client,
    })
}

/// Another node that is heard: the link that it is behind, and its address there.
fn neighbour(around: Around<'_>, node: &str, family: Family) -> Option<(u32, IpAddr)> {
    let is_heard = around.heard.is_empty() || around.heard.contains(&NodeId::of(node));
    if node == around.node || !is_heard {
        return None;
    }
    let addresses = around.plan.members.get(node)?.iter();
    let mut addresses = addresses.filter(|address| Family::of(**address) == family);
    addresses.find_map(|address| {
        let link = around.links.iter().find(|link| link.reaches(*address))?;
        Some((link.index, *address))
    })
}

/// A node's claim to buckets, in proportion to its endpoints. When a node comes or goes, only the buckets that it gets or had move (rendezvous hashing), so the
/// connections of the others stay where they are; and all nodes come to the same result.
#[derive(Debug, Clone, Copy)]
struct Share {
    node: u64,
    weight: u32,
}

/// Beyond that, shares are even enough.
const LARGEST_WEIGHT: u32 = 64;

impl Share {
    fn of(node: &str, weight: u32) -> Self {
        Self {
            node: NodeId::of(node).0,
            weight: weight.min(LARGEST_WEIGHT),
        }
    }

    fn score(self, bucket: u32) -> u64 {
        let tickets =
            (0..self.weight).map(|ticket| mixed(self.node ^ mixed(u64::from(bucket) << 32 | u64::from(ticket))));
        tickets.max().unwrap_or(0)
    }
}

/// The finalizer of `SplitMix64`: every bit of the result depends on every bit of the input.
const fn mixed(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
