//! ICMP and ICMPv6 echo, so that an address can be pinged although no interface has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::counters::DropReason;
use super::ip::{self, Packet};
use super::wire::{self, Mac};

pub(super) const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
pub(super) const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
const HEADER_LEN: usize = 8;

/// An echo request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    message: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn v4(packet: &Packet<'a, Ipv4Addr>) -> Result<Self, DropReason> {
        Self::read(packet, REQUEST_V4)
    }

    pub(super) fn v6(packet: &Packet<'a, Ipv6Addr>) -> Result<Self, DropReason> {
        Self::read(packet, REQUEST_V6)
    }

    fn read<A: Copy + Into<IpAddr>>(packet: &Packet<'a, A>, request: u8) -> Result<Self, DropReason> {
        match *packet.message {
            [kind, ..] if kind != request => Err(DropReason::OtherProtocol),
            [_, code, ..] if code != 0 => Err(DropReason::Code),
            _ if packet.message.len() < HEADER_LEN => Err(DropReason::Malformed),
            _ => Ok(Self {
                source: packet.source.into(),
                destination: packet.destination.into(),
                message: packet.message,
            }),
        }
    }

    /// Whether a reply would reach one host.
    pub(super) fn has_return_address(&self) -> bool {
        let is_broadcast = self.source == IpAddr::V4(Ipv4Addr::BROADCAST);
        !(is_broadcast || self.source.is_unspecified() || self.source.is_multicast() || self.source.is_loopback())
    }

    /// The reply, to the neighbour that the request came from: an asker behind a router is answered by the same router.
    pub(super) fn answer(&self, mac: Mac, neighbour: Mac) -> Option<Vec<u8>> {
        let mut message = self.message.to_vec();
        match (self.destination, self.source) {
            (IpAddr::V4(own), IpAddr::V4(asker)) => {
                message[0] = REPLY_V4;
                let packet = ip::icmp(own, asker, message)?;
                Some(wire::frame(neighbour, mac, wire::IPV4, &packet))
            }
            (IpAddr::V6(own), IpAddr::V6(asker)) => {
                message[0] = REPLY_V6;
                let packet = ip::icmpv6(own, asker, ip::HOPS, message)?;
                Some(wire::frame(neighbour, mac, wire::IPV6, &packet))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }
}
