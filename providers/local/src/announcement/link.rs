//! The node's links, and which of them addresses are announced on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::wire::Mac;

/// `linux/if.h`
const UP: u32 = 1;
const BROADCAST: u32 = 1 << 1;
const LOOPBACK: u32 = 1 << 3;
const NO_NEIGHBOURS: u32 = 1 << 7;
const HAS_CARRIER: u32 = 1 << 16;
const DORMANT: u32 = 1 << 17;

/// Names of links that lead to pods and containers of this node, or nowhere: as they begin.
const INSIDE: [&str; 14] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "nodelocaldns",
    "lxc",
    "br-",
];

/// A network interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address, if it is one of Ethernet.
    pub mac: Option<Mac>,
    /// `IFF_*`
    pub flags: u32,
    /// Whether it is a port of a bridge, bond or team, which speaks for it.
    pub is_port: bool,
    /// The networks that hosts on the link are in: the prefixes of its addresses.
    pub prefixes: BTreeSet<IpNet>,
    /// How often the carrier came or went. It tells a short loss from none.
    pub carrier_changes: u32,
    /// The link that it is a part of, as a VLAN is.
    pub lower: Option<u32>,
    /// The routers behind it that lead everywhere: the best one of each family.
    pub routers: Vec<IpAddr>,
}

impl Link {
    /// Whether it is switched on.
    pub const fn is_up(&self) -> bool {
        self.flags & UP != 0
    }

    /// Whether packets go through it now.
    pub const fn carries_packets(&self) -> bool {
        self.flags & UP != 0 && self.flags & HAS_CARRIER != 0 && self.flags & DORMANT == 0
    }

    /// Whether the hosts behind it ask for MAC addresses.
    pub const fn has_neighbours(&self) -> bool {
        let is_plain = self.flags & BROADCAST != 0 && self.flags & (LOOPBACK | NO_NEIGHBOURS) == 0;
        is_plain && self.mac.is_some() && !self.is_port
    }

    /// Whether its name is that of a link to this node's own pods and containers.
    pub fn leads_inside(&self) -> bool {
        INSIDE.iter().any(|start| self.name.starts_with(start))
    }

    /// Whether the address is in one of its networks.
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(&address))
    }
}

/// The links that an address is announced on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interfaces {
    /// All but those that lead to pods and containers of the node.
    #[default]
    Outside,
    /// Those with these names.
    Named(BTreeSet<String>),
}

impl Interfaces {
    /// Whether this link is one of them.
    pub fn include(&self, link: &Link) -> bool {
        match self {
            Self::Outside => !link.leads_inside(),
            Self::Named(names) => names.contains(&link.name),
        }
    }
}

/// Whether an address must be in a network of the link that it is announced on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// It must: an address of another network is not asked for there, and would not be routed back.
    #[default]
    OnLink,
    /// It need not: the routers have a route for it to this link, or the link has no addresses.
    Routed,
}

/// Where an address may be announced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// On these links.
    pub interfaces: Interfaces,
    /// And of them, on those that reach it.
    pub reach: Reach,
}

impl Scope {
    /// Whether `address` is announced on `link`, when that carries packets.
    pub fn includes(&self, link: &Link, address: IpAddr) -> bool {
        self.interfaces.include(link) && (self.reach == Reach::Routed || link.reaches(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: u32 = UP | BROADCAST | HAS_CARRIER;

    fn link(name: &str, flags: u32) -> Link {
        Link {
            index: 2,
            name: name.to_owned(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            flags,
            is_port: false,
            prefixes: ["172.30.0.11/24".parse().unwrap()].into(),
            carrier_changes: 1,
            lower: None,
            routers: Vec::new(),
        }
    }

    #[test]
    fn only_ethernet_links_that_speak_for_themselves_have_neighbours() {
        assert!(link("eth0", PLAIN).has_neighbours());
        assert!(!link("lo", PLAIN | LOOPBACK).has_neighbours());
        assert!(!link("ipvlan0", PLAIN | NO_NEIGHBOURS).has_neighbours());
        assert!(!link("tun0", UP | HAS_CARRIER).has_neighbours());
        let port = Link {
            is_port: true,
            ..link("eth0", PLAIN)
        };
        assert!(!port.has_neighbours());
        let infiniband = Link {
            mac: None,
            ..link("ib0", PLAIN)
        };
        assert!(!infiniband.has_neighbours());
    }

    #[test]
    fn packets_need_a_link_that_is_up_with_a_carrier() {
        assert!(link("eth0", PLAIN).carries_packets());
        assert!(!link("eth0", UP | BROADCAST).carries_packets());
        assert!(!link("eth0", BROADCAST | HAS_CARRIER).carries_packets());
        assert!(!link("eth0", PLAIN | DORMANT).carries_packets());
    }

    #[test]
    fn links_to_pods_are_used_only_when_they_are_named() {
        let named = Interfaces::Named(["cni0".to_owned()].into());
        for name in ["cni0", "docker0", "veth12ab", "cali5", "br-5f2a"] {
            assert!(!Interfaces::Outside.include(&link(name, PLAIN)), "{name}");
        }
        for name in ["eth0", "bond0", "eno1.100", "br0"] {
            assert!(Interfaces::Outside.include(&link(name, PLAIN)), "{name}");
            assert!(!named.include(&link(name, PLAIN)), "{name}");
        }
        assert!(named.include(&link("cni0", PLAIN)));
    }

    #[test]
    fn an_address_of_another_network_is_announced_only_when_it_is_routed() {
        let eth0 = link("eth0", PLAIN);
        let (near, far): (IpAddr, IpAddr) = ("172.30.0.200".parse().unwrap(), "198.51.100.7".parse().unwrap());
        let mut scope = Scope::default();
        assert!(scope.includes(&eth0, near) && !scope.includes(&eth0, far));
        scope.reach = Reach::Routed;
        assert!(scope.includes(&eth0, far));
    }
}
