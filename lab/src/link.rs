//! Links, addresses and routes as rtnetlink requests.
//!
//! The lab chooses the interface indexes itself, so that a whole namespace is configured by one batch without asking for any.

use std::net::IpAddr;

use ipnet::IpNet;
use rustix::fd::{AsRawFd, BorrowedFd};

use crate::netlink::{Batch, Body, CREATE, PLAIN, REPLACE, find_attribute, word};

/// The index of `lo` in every namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// `linux/veth.h`
const VETH_INFO_PEER: u16 = 1;
/// `linux/if_link.h`
const IFLA_BR_MCAST_SNOOPING: u16 = 23;

const IFINFOMSG: usize = 16;
const RTMSG: usize = 12;
const UP: u32 = libc::IFF_UP.cast_unsigned();

/// A network interface to be made.
pub(crate) struct Link<'a> {
    pub(crate) name: &'a str,
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
}

impl Batch {
    /// Adds a bridge, up.
    pub(crate) fn add_bridge(&mut self, link: &Link<'_>) {
        self.push(format!("add bridge {}", link.name), libc::RTM_NEWLINK, CREATE, |body| {
            link.write(body, UP);
            body.nested(libc::IFLA_LINKINFO, |body| {
                body.text(libc::IFLA_INFO_KIND, "bridge");
                // Neighbour solicitations are multicast. Without a querier, snooping decides by timers where they go.
                body.nested(libc::IFLA_INFO_DATA, |body| {
                    body.attribute(IFLA_BR_MCAST_SNOOPING, &[0]);
                });
            });
        });
    }

    /// Adds a pair of interfaces: `near`, up, as a port of the bridge with index `bridge` if there is one, and `far`, down, in the namespace `other`.
    ///
    /// The kernel cannot bring `far` up in the same request, as it has no other end yet.
    pub(crate) fn add_veth(&mut self, near: &Link<'_>, bridge: Option<u32>, far: &Link<'_>, other: BorrowedFd<'_>) {
        self.push(format!("add veth {}", near.name), libc::RTM_NEWLINK, CREATE, |body| {
            near.write(body, UP);
            if let Some(bridge) = bridge {
                body.attribute(libc::IFLA_MASTER, &bridge.to_ne_bytes());
            }
            body.nested(libc::IFLA_LINKINFO, |body| {
                body.text(libc::IFLA_INFO_KIND, "veth");
                body.nested(libc::IFLA_INFO_DATA, |body| {
                    body.nested(VETH_INFO_PEER, |body| {
                        far.write(body, 0);
                        body.attribute(libc::IFLA_NET_NS_FD, &other.as_raw_fd().to_ne_bytes());
                    });
                });
            });
        });
    }

    /// Removes an interface, and the other end of a pair with it.
    pub(crate) fn delete_link(&mut self, index: u32) {
        self.push(format!("delete link {index}"), libc::RTM_DELLINK, PLAIN, |body| {
            write_ifinfomsg(body, index, 0, 0);
        });
    }

    /// Brings an interface up or down.
    pub(crate) fn set_link(&mut self, index: u32, is_up: bool) {
        let action = format!("set link {index} {}", if is_up { "up" } else { "down" });
        let flags = if is_up { UP } else { 0 };
        self.push(action, libc::RTM_NEWLINK, PLAIN, |body| {
            write_ifinfomsg(body, index, flags, UP);
        });
    }

    /// Gives an interface another MAC address.
    pub(crate) fn set_mac(&mut self, index: u32, mac: [u8; 6]) {
        self.push(
            format!("set MAC address of link {index}"),
            libc::RTM_NEWLINK,
            PLAIN,
            |body| {
                write_ifinfomsg(body, index, 0, 0);
                body.attribute(libc::IFLA_ADDRESS, &mac);
            },
        );
    }

    /// Asks for an interface by its index.
    pub(crate) fn look_at_link(&mut self, index: u32) {
        self.push(format!("look at link {index}"), libc::RTM_GETLINK, PLAIN, |body| {
            write_ifinfomsg(body, index, 0, 0);
        });
    }

    /// Asks for an interface by its name.
    pub(crate) fn find_link(&mut self, name: &str) {
        self.push(format!("find link {name}"), libc::RTM_GETLINK, PLAIN, |body| {
            write_ifinfomsg(body, 0, 0, 0);
            body.text(libc::IFLA_IFNAME, name);
        });
    }

    /// Gives an interface an address; it is not an error if it has it.
    pub(crate) fn add_address(&mut self, index: u32, address: IpNet) {
        self.push(format!("add address {address}"), libc::RTM_NEWADDR, REPLACE, |body| {
            write_address(body, index, address);
        });
    }

    /// Gives an interface an address that is a source only for sockets bound to it.
    pub(crate) fn add_address_for_binding(&mut self, index: u32, address: IpNet) {
        self.push(format!("add address {address}"), libc::RTM_NEWADDR, REPLACE, |body| {
            write_address(body, index, address);
            // struct ifa_cacheinfo: never preferred, valid for ever, and two time stamps that only the kernel writes.
            body.attribute(
                libc::IFA_CACHEINFO,
                [0, u32::MAX, 0, 0].map(u32::to_ne_bytes).as_flattened(),
            );
        });
    }

    /// Gives an interface an address that is used only when nobody else on the link has it.
    pub(crate) fn add_address_after_detection(&mut self, index: u32, address: IpNet) {
        self.push(format!("add address {address}"), libc::RTM_NEWADDR, REPLACE, |body| {
            write_address_with(body, index, address, 0);
        });
    }

    /// Takes an address from an interface.
    pub(crate) fn delete_address(&mut self, index: u32, address: IpNet) {
        self.push(format!("delete address {address}"), libc::RTM_DELADDR, PLAIN, |body| {
            write_address(body, index, address);
        });
    }

    /// Sends `destination` through the interface, to `gateway` or directly; an earlier route to it is replaced.
    pub(crate) fn add_route(&mut self, destination: IpNet, gateway: Option<IpAddr>, index: u32) {
        let action = match gateway {
            Some(gateway) => format!("route {destination} via {gateway}"),
            None => format!("route {destination} directly"),
        };
        self.push(action, libc::RTM_NEWROUTE, REPLACE, |body| {
            let scope = if gateway.is_some() {
                libc::RT_SCOPE_UNIVERSE
            } else {
                libc::RT_SCOPE_LINK
            };
            write_rtmsg(body, destination, [libc::RTPROT_STATIC, scope, libc::RTN_UNICAST]);
            if let Some(gateway) = gateway {
                body.attribute(libc::RTA_GATEWAY, &octets(gateway));
            }
            body.attribute(libc::RTA_OIF, &index.to_ne_bytes());
        });
    }

    /// Removes the route to exactly `destination`.
    pub(crate) fn delete_route(&mut self, destination: IpNet) {
        self.push(
            format!("delete route {destination}"),
            libc::RTM_DELROUTE,
            PLAIN,
            |body| {
                write_rtmsg(
                    body,
                    destination,
                    [libc::RTPROT_UNSPEC, libc::RT_SCOPE_NOWHERE, libc::RTN_UNSPEC],
                );
            },
        );
    }

    /// Asks where packets to `address` go.
    pub(crate) fn look_up_route(&mut self, address: IpAddr) {
        self.push(
            format!("look up route to {address}"),
            libc::RTM_GETROUTE,
            PLAIN,
            |body| {
                write_rtmsg(
                    body,
                    IpNet::from(address),
                    [libc::RTPROT_UNSPEC, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNSPEC],
                );
            },
        );
    }
}

/// The index of the interface that an answer describes.
pub(crate) fn index_of(answer: &[u8]) -> Option<u32> {
    (answer.len() >= IFINFOMSG).then(|| word(answer, 4))
}

/// Whether an answer describes an interface that carries packets: it is up, and so is the other end.
pub(crate) fn carries_packets(answer: &[u8]) -> bool {
    let state = answer
        .get(IFINFOMSG..)
        .and_then(|attributes| find_attribute(attributes, libc::IFLA_OPERSTATE));
    state
        .and_then(<[u8]>::first)
        .is_some_and(|&state| i32::from(state) == libc::IF_OPER_UP)
}

/// Whether an answer says that packets go to this namespace itself.
pub(crate) fn is_local(answer: &[u8]) -> bool {
    answer.len() >= RTMSG && answer[7] == libc::RTN_LOCAL
}

impl Link<'_> {
    fn write(&self, body: &mut Body<'_>, flags: u32) {
        write_ifinfomsg(body, self.index, flags, UP);
        body.text(libc::IFLA_IFNAME, self.name);
        body.attribute(libc::IFLA_ADDRESS, &self.mac);
    }
}

fn write_ifinfomsg(body: &mut Body<'_>, index: u32, flags: u32, change: u32) {
    // The family, a hole, and the type of the device.
    body.raw(&[0; 4]);
    body.raw(&index.to_ne_bytes());
    body.raw(&flags.to_ne_bytes());
    body.raw(&change.to_ne_bytes());
}

fn write_address(body: &mut Body<'_>, index: u32, address: IpNet) {
    write_address_with(body, index, address, libc::IFA_F_NODAD);
}

fn write_address_with(body: &mut Body<'_>, index: u32, address: IpNet, flags: u32) {
    body.raw(&[family(address.addr()), address.prefix_len(), 0, libc::RT_SCOPE_UNIVERSE]);
    body.raw(&index.to_ne_bytes());
    body.attribute(libc::IFA_LOCAL, &octets(address.addr()));
    body.attribute(libc::IFA_ADDRESS, &octets(address.addr()));
    body.attribute(libc::IFA_FLAGS, &flags.to_ne_bytes());
}

fn write_rtmsg(body: &mut Body<'_>, destination: IpNet, [protocol, scope, kind]: [u8; 3]) {
    let table = libc::RT_TABLE_MAIN;
    body.raw(&[
        family(destination.addr()),
        destination.prefix_len(),
        0,
        0,
        table,
        protocol,
        scope,
        kind,
    ]);
    body.raw(&[0; 4]);
    if destination.prefix_len() > 0 {
        body.attribute(libc::RTA_DST, &octets(destination.addr()));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel keeps a family in one byte")]
pub(crate) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
