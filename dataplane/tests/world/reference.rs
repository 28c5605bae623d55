//! What kube-proxy would do with a connection, written down from its documented behaviour and sharing no code with the
//! compiler: it goes through Services, slices and policies, where the rule set goes through maps.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use fairlead_dataplane::evaluate::{Endpoint as Sent, Outcome};
use fairlead_dataplane::program::LocalPods;
use fairlead_model::{Endpoint, Family, Protocol, Service, ServicePort, TrafficPolicy};

use crate::world::{NODE, World, ZONE, node_ips, service_cidrs};

/// A connection attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) source: IpAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) protocol: Protocol,
}

/// Every address of the host.
pub(crate) fn host_addresses() -> Vec<IpAddr> {
    let others = ["127.0.0.1", "::1", "10.244.1.254", "fd00:10:244:1::fe"].map(|address| address.parse().unwrap());
    node_ips().into_iter().chain(others).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClusterIp,
    External,
    LoadBalancer,
    NodePort,
}

struct Found<'a> {
    service: &'a Service,
    port: &'a ServicePort,
    kind: Kind,
}

/// The Service port that a connection is for. A Service's cluster IP beats its load balancer address, and that its external
/// IP; addresses beat node ports; of several Services the first by name and port name wins.
fn find<'a>(world: &'a World, attempt: &Attempt) -> Option<Found<'a>> {
    let address = attempt.destination.ip();
    let family = Family::of(address);
    let mut ports: Vec<_> = world
        .services
        .values()
        .filter(|service| service.cluster_ips.iter().any(|ip| Family::of(*ip) == family))
        .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
        .filter(|(_, port)| port.protocol == attempt.protocol)
        .collect();
    ports.sort_by_key(|(service, port)| (service.name.clone(), port.name.clone()));
    let by_address = ports.iter().find_map(|(service, port)| {
        let kind = if service.cluster_ips.contains(&address) {
            Kind::ClusterIp
        } else if service.load_balancer_ips.contains(&address) {
            Kind::LoadBalancer
        } else if service.external_ips.contains(&address) {
            Kind::External
        } else {
            return None;
        };
        (port.port == attempt.destination.port()).then_some(Found { service, port, kind })
    });
    by_address.or_else(|| {
        let is_node = node_ips().contains(&address);
        let (service, port) = ports
            .iter()
            .find(|(_, port)| is_node && port.node_port == Some(attempt.destination.port()))?;
        Some(Found {
            service,
            port,
            kind: Kind::NodePort,
        })
    })
}

/// Every endpoint of a port, each address once: one that does not terminate beats one that does, then ready beats not ready.
fn endpoints(world: &World, found: &Found<'_>, family: Family) -> Vec<(SocketAddr, Endpoint)> {
    let mut all: Vec<(SocketAddr, Endpoint)> = Vec::new();
    for slice in world
        .slices
        .values()
        .filter(|s| s.service == found.service.name && s.family == family)
    {
        for port in slice
            .ports
            .iter()
            .filter(|p| p.name == found.port.name && p.protocol == found.port.protocol)
        {
            for endpoint in &slice.endpoints {
                let address = SocketAddr::new(endpoint.address, port.port);
                match all.iter_mut().find(|(other, _)| *other == address) {
                    Some((_, other)) if rank(endpoint) < rank(other) => *other = endpoint.clone(),
                    Some(_) => {}
                    None => all.push((address, endpoint.clone())),
                }
            }
        }
    }
    all
}

fn rank(endpoint: &Endpoint) -> (bool, bool, bool) {
    (endpoint.is_terminating, !endpoint.is_ready, !endpoint.is_serving)
}

fn is_here(endpoint: &Endpoint) -> bool {
    endpoint.node.as_deref() == Some(NODE)
}

fn ready_or_terminating(all: &[(SocketAddr, Endpoint)]) -> Vec<(SocketAddr, Endpoint)> {
    let ready: Vec<_> = all.iter().filter(|(_, e)| e.is_ready).cloned().collect();
    if !ready.is_empty() {
        return ready;
    }
    all.iter()
        .filter(|(_, e)| e.is_serving && e.is_terminating)
        .cloned()
        .collect()
}

fn cluster_set(all: &[(SocketAddr, Endpoint)]) -> Vec<(SocketAddr, Endpoint)> {
    let chosen = ready_or_terminating(all);
    if !chosen.iter().any(|(_, e)| e.is_ready) {
        return chosen;
    }
    for (hints, here) in [(0, NODE), (1, ZONE)] {
        let hints_of = |e: &Endpoint| {
            if hints == 0 {
                e.node_hints.clone()
            } else {
                e.zone_hints.clone()
            }
        };
        let names_us = |e: &Endpoint| hints_of(e).iter().any(|hint| &**hint == here);
        let all_hinted = chosen.iter().all(|(_, e)| !hints_of(e).is_empty());
        if all_hinted && chosen.iter().any(|(_, e)| names_us(e)) {
            return chosen.into_iter().filter(|(_, e)| names_us(e)).collect();
        }
    }
    chosen
}

fn local_set(all: &[(SocketAddr, Endpoint)]) -> Vec<(SocketAddr, Endpoint)> {
    let here: Vec<_> = all.iter().filter(|(_, e)| is_here(e)).cloned().collect();
    ready_or_terminating(&here)
}

/// Whether the source is recognised as a pod; `None` if pods of this family are not.
fn is_pod(world: &World, source: IpAddr) -> Option<bool> {
    match &world.options.local_pods {
        LocalPods::Cidrs(nets) => {
            let mut nets = nets
                .iter()
                .filter(|net| Family::of_net(net) == Family::of(source))
                .peekable();
            nets.peek().is_some().then(|| nets.any(|net| net.contains(&source)))
        }
        LocalPods::Unknown | LocalPods::Interface(_) => None,
    }
}

fn is_guarded_off(found: &Found<'_>, source: IpAddr) -> bool {
    if found.kind != Kind::LoadBalancer {
        return false;
    }
    let family = Family::of(source);
    let ranges: Vec<_> = found
        .service
        .source_ranges
        .iter()
        .filter(|net| Family::of_net(net) == family)
        .collect();
    if ranges.is_empty() || ranges.iter().any(|net| net.contains(&source)) {
        return false;
    }
    let node_may = node_ips().iter().any(|ip| ranges.iter().any(|net| net.contains(ip)));
    !(node_may && found.service.load_balancer_ips.contains(&source))
}

/// What becomes of a connection.
pub(crate) fn expected(world: &World, attempt: &Attempt) -> Outcome {
    let source = attempt.source;
    let family = Family::of(source);
    let Some(found) = find(world, attempt) else {
        return not_served(world, attempt);
    };
    if is_guarded_off(&found, source) {
        return Outcome::Dropped;
    }
    let all = endpoints(world, &found, family);
    let (cluster, local) = (cluster_set(&all), local_set(&all));
    if cluster.is_empty() {
        return Outcome::Rejected;
    }
    let is_host = host_addresses().contains(&source);
    let from_pod = is_pod(world, source) == Some(true);
    let (chosen, masquerade) = match (found.kind, found.service.internal_policy, found.service.external_policy) {
        (Kind::ClusterIp, policy, _) => {
            let chosen = if policy == TrafficPolicy::Local { local } else { cluster };
            (
                chosen,
                world.options.masquerade_all || is_pod(world, source) == Some(false),
            )
        }
        (_, _, TrafficPolicy::Cluster) => (cluster, true),
        (_, _, TrafficPolicy::Local) if from_pod => (cluster, false),
        (_, _, TrafficPolicy::Local) if is_host => (cluster, true),
        (_, _, TrafficPolicy::Local) => (local, false),
    };
    if chosen.is_empty() {
        return Outcome::Dropped;
    }
    let sent = chosen.into_iter().map(|(address, endpoint)| {
        // What arrives for the host itself never passes postrouting.
        let passes_postrouting = is_host || !host_addresses().contains(&address.ip());
        let is_hairpin = address.ip() == source && is_here(&endpoint);
        Sent {
            address,
            is_masqueraded: passes_postrouting && (masquerade || is_hairpin),
        }
    });
    Outcome::Sent(sent.collect::<BTreeSet<_>>())
}

fn not_served(world: &World, attempt: &Attempt) -> Outcome {
    let address = attempt.destination.ip();
    // The filter for cluster IPs sits in forward and output: what is for the host itself and comes from outside passes.
    let is_for_host = host_addresses().contains(&address) && !host_addresses().contains(&attempt.source);
    if is_for_host {
        Outcome::Untouched
    } else if world
        .services
        .values()
        .any(|service| service.cluster_ips.contains(&address))
    {
        Outcome::Rejected
    } else if service_cidrs().iter().any(|net| net.contains(&address)) {
        Outcome::Dropped
    } else {
        Outcome::Untouched
    }
}

/// Protocols, addresses and ports that a random world may serve, and some that it may not.
pub(crate) fn attempts() -> Vec<Attempt> {
    let sources = [
        [
            "10.244.1.1",
            "10.244.1.2",
            "10.244.2.1",
            "172.30.0.100",
            "172.30.0.11",
            "10.244.1.254",
            "198.51.100.1",
        ],
        [
            "fd00:10:244:1::1",
            "fd00:10:244:1::2",
            "fd00:10:244:2::1",
            "fd00:172:30::64",
            "fd00:172:30::11",
            "fd00:10:244:1::fe",
            "2001:db8:100::1",
        ],
    ];
    let destinations = [
        [
            "10.96.0.1",
            "10.96.0.2",
            "10.96.0.3",
            "10.96.0.77",
            "198.51.100.1",
            "198.51.100.2",
            "172.30.0.11",
            "172.30.0.12",
        ],
        [
            "fd00:10:96::1",
            "fd00:10:96::2",
            "fd00:10:96::3",
            "fd00:10:96::77",
            "2001:db8:100::1",
            "2001:db8:100::2",
            "fd00:172:30::11",
            "fd00:172:30::12",
        ],
    ];
    let mut attempts = Vec::new();
    for (sources, destinations) in sources.iter().zip(destinations) {
        for source in sources {
            for destination in destinations {
                for protocol in Protocol::ALL {
                    for port in [80, 81, 30080, 30081] {
                        let destination = SocketAddr::new(destination.parse().unwrap(), port);
                        attempts.push(Attempt {
                            source: source.parse().unwrap(),
                            destination,
                            protocol,
                        });
                    }
                }
            }
        }
    }
    attempts
}
