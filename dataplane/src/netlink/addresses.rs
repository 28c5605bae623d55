//! The addresses of this network namespace, and hearing of their changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::attribute::{Attribute, Writer};
use super::error::NetlinkError;
use super::message::Message;
use super::socket::{Drained, Sequence, Socket};
use super::uapi::{netlink, route};

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// How many bits of it are the network's.
    pub prefix_len: u8,
    /// The interface's index.
    pub interface: u32,
    /// `RT_SCOPE_*`: 0 reaches everywhere, 253 this link, 254 this host.
    pub scope: u8,
    /// `IFA_F_*`
    pub flags: u32,
}

/// Lists all addresses of this network namespace.
pub fn list() -> Result<Vec<InterfaceAddress>, NetlinkError> {
    let mut socket = Socket::open(libc::NETLINK_ROUTE)?;
    let write = |w: &mut Writer, sequence: Sequence| {
        let start = w.begin_message(route::GET_ADDRESS, netlink::DUMP, sequence);
        w.raw(&[0; route::ADDRESS_HEADER_LEN]);
        w.end_message(start);
    };
    let each = |addresses: &mut Vec<InterfaceAddress>, message: &Message<'_>| {
        if message.kind == route::NEW_ADDRESS {
            addresses.extend(decode(message));
        }
    };
    socket.request("list the addresses", write, Vec::new, each)
}

/// The address that a message tells of.
pub(super) fn decode(message: &Message<'_>) -> Option<InterfaceAddress> {
    let [_, prefix_len, flags, scope, i0, i1, i2, i3] = *message.payload.first_chunk()?;
    let attributes = message.attributes(route::ADDRESS_HEADER_LEN);
    // On a point-to-point link `ADDRESS` is the other end's.
    let address = attributes
        .find(route::LOCAL)
        .or_else(|| attributes.find(route::ADDRESS))?;
    let long_flags = attributes
        .find(route::FLAGS)
        .and_then(|flags| Some(u32::from_ne_bytes(flags.value.try_into().ok()?)));
    Some(InterfaceAddress {
        address: read_address(address)?,
        prefix_len,
        interface: u32::from_ne_bytes([i0, i1, i2, i3]),
        scope,
        flags: long_flags.unwrap_or_else(|| u32::from(flags)),
    })
}

fn read_address(attribute: Attribute<'_>) -> Option<IpAddr> {
    if let Ok(address) = <[u8; 4]>::try_from(attribute.value) {
        return Some(Ipv4Addr::from(address).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(attribute.value).ok()?).into())
}

/// Hears of addresses that come and go. Readable when something changed.
#[derive(Debug)]
pub struct AddressMonitor {
    socket: Socket,
}

impl AddressMonitor {
    /// Begins to listen.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = Socket::open(libc::NETLINK_ROUTE)?;
        socket.join(route::GROUP_IPV4_ADDRESSES)?;
        socket.join(route::GROUP_IPV6_ADDRESSES)?;
        Ok(Self { socket })
    }

    /// Reads every event that waits; whether an address came or went, or may have. Does not wait for one.
    pub fn read(&mut self) -> Result<bool, NetlinkError> {
        let mut has_changed = false;
        let drained = self.socket.drain(|message| {
            has_changed |= matches!(message.kind, route::NEW_ADDRESS | route::DELETE_ADDRESS);
        })?;
        Ok(has_changed || drained == Drained::WithLoss)
    }
}

impl AsFd for AddressMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for AddressMonitor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
