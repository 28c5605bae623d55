//! Which workloads there must be: one for every endpoint address, with every port that some slice names. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use fairlead_lab::Addresses;
use fairlead_model::{Family, Protocol};

use super::ground::{Ground, NodeGround, Place, VISITOR, of_family};
use super::scene::Scene;

/// Where a workload runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Home {
    /// In a pod of this node, with these addresses.
    Pod(u8, Addresses),
    /// In the node's own network.
    Node(u8),
}

impl Home {
    /// The node's number.
    pub(super) fn node(self) -> u8 {
        match self {
            Self::Pod(node, _) | Self::Node(node) => node,
        }
    }
}

/// One listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listener {
    /// The protocol.
    pub(super) protocol: Protocol,
    /// The address and port.
    pub(super) address: SocketAddr,
}

/// A workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload {
    /// What it answers with.
    pub(super) name: String,
    /// Where it listens.
    pub(super) listeners: BTreeSet<Listener>,
}

/// An endpoint that the lab cannot have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unplaced {
    /// Its address.
    pub(super) address: IpAddr,
    /// Why.
    pub(super) reason: Misplaced,
}

/// Why the lab cannot have an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Misplaced {
    /// Its address is in no network of the lab.
    Elsewhere,
    /// Its node is not the one that has its address.
    OtherNode {
        /// What the slice says.
        said: String,
        /// Where the address is.
        found: String,
    },
    /// Its address is that of the node's pod bridge, or the sandbox's own.
    Reserved,
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match &self.reason {
            Misplaced::Elsewhere => write!(f, "{address} is in no network of the lab: nobody answers there"),
            Misplaced::OtherNode { said, found } => {
                write!(
                    f,
                    "{address} belongs to {found}, but its slice says {said}: nobody answers there"
                )
            }
            Misplaced::Reserved => write!(f, "{address} is reserved in the lab: no workload runs there"),
        }
    }
}

/// The workloads that there must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// By place.
    pub(super) workloads: BTreeMap<Home, Workload>,
    /// Endpoints without one.
    pub(super) unplaced: BTreeSet<Unplaced>,
    homes: BTreeMap<IpAddr, Home>,
}

impl Plan {
    /// The name of the workload with this address.
    pub(super) fn name_of(&self, address: IpAddr) -> Option<&str> {
        Some(&self.workloads.get(self.homes.get(&address)?)?.name)
    }
}

/// What the slices say of one address.
#[derive(Debug, Default)]
struct Found {
    node: Option<String>,
    service: String,
    ports: BTreeSet<(Protocol, u16)>,
}

/// Plans the workloads. An endpoint runs where its address is, whether it is ready or not: one that must not be sent to is
/// there to show it when it is.
pub(super) fn plan(scene: &Scene<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut numbers = Numbers::default();
    let mut placed: BTreeMap<Home, Vec<(IpAddr, Found)>> = BTreeMap::new();
    let (even, odd): (Vec<_>, Vec<_>) = addresses(scene)
        .into_iter()
        .partition(|(address, _)| !is_odd(scene.ground, *address));
    // Addresses that show a pod's number come first, so that none of the others takes it.
    for (address, found) in even.into_iter().chain(odd) {
        match home_of(scene.ground, &mut numbers, address, found.node.as_deref()) {
            Ok(home) => placed.entry(home).or_default().push((address, found)),
            Err(reason) => drop(plan.unplaced.insert(Unplaced { address, reason })),
        }
    }
    for (home, found) in placed {
        let told = found.iter().find_map(|(address, _)| scene.notes.pod_name(*address));
        let name = told.map_or_else(|| default_name(home, &found[0].1.service), str::to_owned);
        let listeners = found.iter().flat_map(|(address, found)| {
            let listener = |(protocol, port)| Listener {
                protocol,
                address: SocketAddr::new(*address, port),
            };
            found.ports.iter().copied().map(listener)
        });
        let listeners = listeners.collect();
        plan.homes.extend(found.iter().map(|(address, _)| (*address, home)));
        plan.workloads.insert(home, Workload { name, listeners });
    }
    plan
}

/// Every endpoint address. Where slices differ about its node, the first one counts.
fn addresses(scene: &Scene<'_>) -> BTreeMap<IpAddr, Found> {
    let mut addresses: BTreeMap<IpAddr, Found> = BTreeMap::new();
    for service in scene.service_names() {
        for slice in scene.clusters[0].slices(&service) {
            for endpoint in &slice.endpoints {
                let found = addresses.entry(endpoint.address).or_insert_with(|| Found {
                    service: service.name.to_string(),
                    ..Found::default()
                });
                if found.node.is_none() {
                    found.node = endpoint.node.as_deref().map(str::to_owned);
                }
                found
                    .ports
                    .extend(slice.ports.iter().map(|port| (port.protocol, port.port)));
            }
        }
    }
    addresses
}

/// The pod numbers in use, by node.
#[derive(Debug, Default)]
struct Numbers(BTreeSet<(u8, u8)>);

impl Numbers {
    /// A free number, the same for the same address unless others have it.
    fn free(&mut self, node: u8, address: Ipv6Addr) -> Option<u8> {
        let seed = u16::from(address.octets()[15]);
        let mut all = (0..253).map(|step| u8::try_from(2 + (seed + step) % 253).expect("at most 254"));
        all.find(|number| *number != VISITOR && self.0.insert((node, *number)))
    }
}

fn home_of(ground: &Ground, numbers: &mut Numbers, address: IpAddr, said: Option<&str>) -> Result<Home, Misplaced> {
    let place = ground.place_of(address);
    let (Place::Node(number) | Place::Pods(number)) = place else {
        return Err(Misplaced::Elsewhere);
    };
    let node = ground.node(number);
    if let Some(said) = said.filter(|said| *said != node.name) {
        return Err(Misplaced::OtherNode {
            said: said.to_owned(),
            found: node.name.clone(),
        });
    }
    if place == Place::Node(number) {
        return Ok(Home::Node(number));
    }
    match (number_of(node, address), address) {
        (Some(pod), _) if (2..=254).contains(&pod) && pod != VISITOR => {
            numbers.0.insert((number, pod));
            Ok(Home::Pod(number, node.pod(pod)))
        }
        (None, IpAddr::V6(v6)) => {
            let pod = numbers.free(number, v6).ok_or(Misplaced::Reserved)?;
            Ok(Home::Pod(
                number,
                Addresses {
                    v4: node.pod(pod).v4,
                    v6,
                },
            ))
        }
        _ => Err(Misplaced::Reserved),
    }
}

/// The number of the pod whose addresses show these digits.
fn number_of(node: &NodeGround, address: IpAddr) -> Option<u8> {
    let family = Family::of(address);
    (0..=u8::MAX).find(|number| of_family(node.pod(*number), family) == address)
}

/// Whether an address in a pod network shows no pod's number, as IPv6 addresses may.
fn is_odd(ground: &Ground, address: IpAddr) -> bool {
    match ground.place_of(address) {
        Place::Pods(number) => number_of(ground.node(number), address).is_none(),
        Place::Node(_) | Place::Elsewhere => false,
    }
}

fn default_name(home: Home, service: &str) -> String {
    match home {
        Home::Node(node) => format!("{service}-node-{node}"),
        Home::Pod(node, addresses) => format!("{service}-{node}-{}", addresses.v4.octets()[3]),
    }
}

#[cfg(test)]
mod tests;
