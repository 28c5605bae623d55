//! The table at the links, `netdev fairlead`: what is decided about an announced address before a packet enters this host's stack, and
//! after it has left it. Only a node that announces addresses has one.
//!
//! - **Steering.** Services that share an address with `externalTrafficPolicy: Local` may have their endpoints on several nodes, and one node
//!   answers for the address. It hands a packet for a port on to a node that has an endpoint of it, as it is: only its destination on the link
//!   changes, so the client's address is kept, and the other node answers the client itself. Which node is a hash of the client's address and port,
//!   so that no state is kept, and every node that may ever answer for the address chooses the same one.
//! - **Return.** What comes for an address by one link leaves by the same one, although the route to the client is by another.
//!
//! Both are done where packets enter or leave a link, since there the next hop can be said without marks, routing rules and ICMP redirects.
//! The table is small, and is written as a whole.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use fairlead_model::{Family, Protocol};

/// Shares that the clients of a port are spread over.
pub const BUCKETS: u32 = 256;

/// Starts the hash, so that all nodes come to the same.
pub const SEED: u32 = 0xfa1_2ead;

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkTable {
    /// The links that lead outside, by name.
    pub links: BTreeMap<String, Link>,
    /// What is handed on to other nodes.
    pub steered: BTreeMap<Port, Steering>,
}

/// A link that leads outside of the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// The routers behind it, at most one of a family.
    pub routers: Vec<IpAddr>,
    /// The addresses that are reached by this link alone.
    pub addresses: BTreeSet<IpAddr>,
    /// The links that are a part of this one, such as its VLANs. What leaves by them leaves by this one too.
    pub carries: BTreeSet<u32>,
}

/// A port of an announced address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub number: u16,
}

/// Where packets for a port go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Steering {
    /// The link that they are behind: name and index.
    pub by: (String, u32),
    /// Addresses of the nodes that the buckets below [`BUCKETS`] go to. One that is missing stays here.
    pub buckets: BTreeMap<u32, IpAddr>,
    /// Whether all connections of a client go to one node.
    pub is_by_client: bool,
}

/// A chain that hands on, for all ports that are handed on alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread<'a> {
    /// The family of the addresses.
    pub(crate) family: Family,
    /// Where to.
    pub(crate) steering: &'a Steering,
}

/// What leaves by one link and shall leave by another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detour<'a> {
    /// By which link.
    pub(crate) by: (&'a str, &'a Link),
    /// To which router.
    pub(crate) router: IpAddr,
}

impl LinkTable {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steered.is_empty() && self.detours().next().is_none()
    }

    /// The different ways of handing on; chains and maps are numbered by them from 1.
    pub(crate) fn spreads(&self) -> Vec<Spread<'_>> {
        let ports = self.steered.iter();
        let distinct: BTreeSet<_> = ports
            .map(|(port, steering)| (Family::of(port.address), steering))
            .collect();
        let spread = |(family, steering)| Spread { family, steering };
        distinct.into_iter().map(spread).collect()
    }

    /// The number of a port's spread.
    pub(crate) fn number_of(spreads: &[Spread<'_>], port: Port, steering: &Steering) -> usize {
        let family = Family::of(port.address);
        let place = spreads
            .iter()
            .position(|spread| spread.family == family && spread.steering == steering);
        place.expect("every port has a spread") + 1
    }

    /// Links with what shall leave by another one.
    pub(crate) fn detours(&self) -> impl Iterator<Item = (&str, &Link, Vec<Detour<'_>>)> {
        self.links.iter().filter_map(|(name, link)| {
            let detours: Vec<_> = self.links.iter().flat_map(|by| detours(link, by)).collect();
            (!detours.is_empty()).then_some((name.as_str(), link, detours))
        })
    }
}

/// What leaves by `link` and shall leave by `by`.
fn detours<'a>(link: &Link, by: (&'a String, &'a Link)) -> impl Iterator<Item = Detour<'a>> {
    let (name, by) = by;
    // What leaves by a part of this link passes this link as well, and would never end.
    let is_other = by.index != link.index && !link.carries.contains(&by.index);
    let routers = by.routers.iter().filter(move |router| {
        let family = Family::of(**router);
        is_other && by.addresses.iter().any(|address| Family::of(*address) == family)
    });
    routers.map(move |router| Detour {
        by: (name, by),
        router: *router,
    })
}

impl Detour<'_> {
    /// The set of the addresses that it is for.
    pub(crate) fn set(&self) -> String {
        format!("of{}_{}", digit(Family::of(self.router)), self.by.1.index)
    }

    /// The addresses that it is for.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let family = Family::of(self.router);
        self.by
            .1
            .addresses
            .iter()
            .copied()
            .filter(move |address| Family::of(*address) == family)
    }
}

pub(crate) const fn digit(family: Family) -> char {
    match family {
        Family::V4 => '4',
        Family::V6 => '6',
    }
}
