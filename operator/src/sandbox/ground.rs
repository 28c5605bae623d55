//! The lab's fixed facts: which nodes, addresses and networks there are. Everything that is planned is planned on them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairlead_lab::{Addresses, Cidrs, Lab};
use fairlead_model::Family;
use ipnet::IpNet;

/// Pod number of the sandbox's own pod, which asks the Services.
pub(super) const VISITOR: u8 = 250;
/// The pod networks of all nodes, as the agents are told them.
pub(super) const CLUSTER_CIDR: &str = "10.244.0.0/16,fd00:10:244::/48";

/// Nodes and clients.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// By number; the first is node-1.
    pub(super) nodes: Vec<NodeGround>,
    /// The pod on node-1 that asks.
    pub(super) visitor: Addresses,
    /// The client outside.
    pub(super) client: Addresses,
}

/// One node.
#[derive(Debug, Clone)]
pub(super) struct NodeGround {
    /// The number in its name; the first is 1.
    pub(super) number: u8,
    /// Its name.
    pub(super) name: String,
    /// Its addresses on the LAN.
    pub(super) addresses: Addresses,
    /// Its pods' networks.
    pub(super) pods: Cidrs,
}

/// Where an address is in the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The node's own.
    Node(u8),
    /// In the pod networks of the node.
    Pods(u8),
    /// Neither.
    Elsewhere,
}

impl Ground {
    /// The facts of a lab.
    pub(super) fn of(lab: &Lab) -> Self {
        let nodes = lab.nodes().iter().map(|node| NodeGround {
            number: node.number(),
            name: node.name().to_owned(),
            addresses: node.addresses(),
            pods: node.pod_cidrs(),
        });
        Self {
            nodes: nodes.collect(),
            visitor: lab.node(1).pod_addresses(VISITOR),
            client: lab.client().addresses(),
        }
    }

    /// Where an address is.
    pub(super) fn place_of(&self, address: IpAddr) -> Place {
        for node in &self.nodes {
            if node.addresses.both().contains(&address) {
                return Place::Node(node.number);
            }
            if node.pods.both().iter().any(|net| net.contains(&address)) {
                return Place::Pods(node.number);
            }
        }
        Place::Elsewhere
    }

    /// A node by its number.
    ///
    /// # Panics
    /// If there is none.
    pub(super) fn node(&self, number: u8) -> &NodeGround {
        self.nodes
            .iter()
            .find(|node| node.number == number)
            .expect("nodes are numbered from 1")
    }
}

impl NodeGround {
    /// Whether an address is one of the node's own: on the LAN, or that of its pod bridge.
    pub(super) fn owns(&self, address: IpAddr) -> bool {
        self.addresses.both().contains(&address) || self.pod(1).both().contains(&address)
    }

    /// The addresses of the pod with this number. Those of both families show the same digits.
    pub(super) fn pod(&self, number: u8) -> Addresses {
        let digits = number.to_string();
        let same_digits = u128::from_str_radix(&digits, 16).expect("decimal digits are hexadecimal digits");
        Addresses {
            v4: Ipv4Addr::from(u32::from(self.pods.v4.network()) | u32::from(number)),
            v6: Ipv6Addr::from(u128::from(self.pods.v6.network()) | same_digits),
        }
    }
}

/// The network that holds only this address.
pub(super) fn alone(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// The address of a family.
pub(super) fn of_family(addresses: Addresses, family: Family) -> IpAddr {
    match family {
        Family::V4 => addresses.v4.into(),
        Family::V6 => addresses.v6.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The ground of a lab with three nodes, without the lab.
    pub(in crate::sandbox) fn three_nodes() -> Ground {
        let nodes = (1..=3).map(|number| NodeGround {
            number,
            name: format!("node-{number}"),
            addresses: Addresses {
                v4: Ipv4Addr::new(172, 30, 0, 10 + number),
                v6: format!("fd00:172:30::1{number}").parse().unwrap(),
            },
            pods: Cidrs {
                v4: format!("10.244.{number}.0/24").parse().unwrap(),
                v6: format!("fd00:10:244:{number}::/64").parse().unwrap(),
            },
        });
        let nodes: Vec<_> = nodes.collect();
        Ground {
            visitor: nodes[0].pod(VISITOR),
            client: Addresses {
                v4: Ipv4Addr::new(172, 30, 0, 100),
                v6: "fd00:172:30::100".parse().unwrap(),
            },
            nodes,
        }
    }

    #[test]
    fn addresses_have_a_place() {
        let ground = three_nodes();
        let place = |text: &str| ground.place_of(text.parse().unwrap());
        assert_eq!(place("172.30.0.12"), Place::Node(2));
        assert_eq!(place("fd00:172:30::13"), Place::Node(3));
        assert_eq!(place("10.244.3.7"), Place::Pods(3));
        assert_eq!(place("fd00:10:244:1::abcd"), Place::Pods(1));
        assert_eq!(place("172.30.0.100"), Place::Elsewhere);
        assert!(ground.node(2).owns("10.244.2.1".parse().unwrap()));
        assert_eq!(ground.node(2).pod(250).v6.to_string(), "fd00:10:244:2::250");
    }
}
