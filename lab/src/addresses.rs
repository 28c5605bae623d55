//! The address plan: which address everything in the picture has. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Nodes have the host numbers 11 to 99, clients those from 100 on.
pub(crate) const NODES: std::ops::RangeInclusive<u8> = 1..=89;
pub(crate) const CLIENTS: std::ops::RangeInclusive<u8> = 100..=199;
/// `.1` of a pod network is the gateway.
pub(crate) const PODS: std::ops::RangeInclusive<u8> = 2..=254;

/// The IP family of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// One host's address in each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// The address of this family.
    pub fn of(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// Both addresses.
    pub fn both(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// A network in each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidrs {
    /// The IPv4 network.
    pub v4: Ipv4Net,
    /// The IPv6 network.
    pub v6: Ipv6Net,
}

impl Cidrs {
    /// The network of this family.
    pub fn of(&self, family: Family) -> IpNet {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// Both networks.
    pub fn both(&self) -> [IpNet; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// Host `number` in both families, written with the same digits: `172.30.0.11` and `fd00:172:30::11`.
    pub(crate) fn host(&self, number: u8) -> Addresses {
        Addresses {
            v4: Ipv4Addr::from(u32::from(self.v4.network()) | u32::from(number)),
            v6: Ipv6Addr::from(u128::from(self.v6.network()) | u128::from(same_digits(number))),
        }
    }

    /// `address` with the length of this network's prefix.
    pub(crate) fn assign(&self, address: Addresses) -> [IpNet; 2] {
        [
            with_length(address.v4.into(), self.v4.prefix_len()),
            with_length(address.v6.into(), self.v6.prefix_len()),
        ]
    }
}

/// The LAN that nodes and clients are on.
pub(crate) fn lan() -> Cidrs {
    Cidrs {
        v4: Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 24),
        v6: Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, 0), 64),
    }
}

/// The pod networks of node `number`.
pub(crate) fn pods_of(number: u8) -> Cidrs {
    Cidrs {
        v4: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, number, 0), 24),
        v6: Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x10, 0x244, same_digits(number), 0, 0, 0, 0), 64),
    }
}

/// The LAN address of node `number`.
pub(crate) fn node(number: u8) -> Addresses {
    lan().host(10 + number)
}

/// The network that holds only this address.
pub(crate) fn host_route(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// The networks that hold everything.
pub(crate) fn everywhere() -> Cidrs {
    Cidrs {
        v4: Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0),
        v6: Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0),
    }
}

/// The link-local address of the interface that has this IPv4 address. The kernel would make one from the MAC address, but later.
pub(crate) fn link_local(v4: Ipv4Addr) -> IpNet {
    let [a, b, c, d] = v4.octets();
    let address = Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        0,
        0,
        u16::from_be_bytes([a, b]),
        u16::from_be_bytes([c, d]),
    );
    with_length(address.into(), 64)
}

/// The MAC address of the interface that has this IPv4 address. The same again for the next pod with that address, so that no neighbour entry
/// is ever stale.
pub(crate) fn mac(v4: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = v4.octets();
    [0x02, 0, a, b, c, d]
}

/// The MAC address of the bridge port that the interface with this IPv4 address is plugged into.
pub(crate) fn port_mac(v4: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = v4.octets();
    [0x02, 1, a, b, c, d]
}

fn with_length(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).expect("the length comes from a network of the same family")
}

/// The number whose hexadecimal digits are the decimal digits of `number`.
fn same_digits(number: u8) -> u16 {
    let number = u16::from(number);
    (number / 100 * 0x100) + (number / 10 % 10 * 0x10) + number % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_show_the_same_digits() {
        assert_eq!(
            node(1),
            Addresses {
                v4: "172.30.0.11".parse().unwrap(),
                v6: "fd00:172:30::11".parse().unwrap()
            }
        );
        assert_eq!(lan().host(100).v6, "fd00:172:30::100".parse::<Ipv6Addr>().unwrap());
        let pods = pods_of(12);
        assert_eq!(pods.v4.to_string(), "10.244.12.0/24");
        assert_eq!(pods.v6.to_string(), "fd00:10:244:12::/64");
        assert_eq!(pods.host(254).v6, "fd00:10:244:12::254".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn interface_addresses_follow_from_the_ipv4_address() {
        assert_eq!(link_local(Ipv4Addr::new(10, 244, 1, 2)).to_string(), "fe80::af4:102/64");
        assert_ne!(
            mac(Ipv4Addr::new(10, 244, 1, 2)),
            port_mac(Ipv4Addr::new(10, 244, 1, 2))
        );
    }
}
