//! IPv4 and IPv6 headers around ICMP.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::counters::DropReason;
use super::wire::checksum;

pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// What hosts put into packets that need not stay on the link (RFC 1700).
pub(super) const HOPS: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments", and the offset.
const FRAGMENT: u16 = 0x3fff;

/// An ICMP message and who sent it to whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a, A> {
    pub(super) source: A,
    pub(super) destination: A,
    pub(super) hops: u8,
    /// At least four bytes, with a right checksum.
    pub(super) message: &'a [u8],
}

impl<'a> Packet<'a, Ipv4Addr> {
    pub(super) fn parse_v4(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let header = bytes.first_chunk::<IPV4_HEADER>().ok_or(DropReason::Malformed)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        let (version, header_len) = (header[0] >> 4, usize::from(header[0] & 15) * 4);
        if version != 4 || header_len < IPV4_HEADER {
            return Err(DropReason::Malformed);
        }
        // A short frame is padded: the packet's own length counts.
        let packet = bytes.get(..usize::from(word(2))).ok_or(DropReason::Malformed)?;
        let (header_bytes, message) = packet.split_at_checked(header_len).ok_or(DropReason::Malformed)?;
        if header[9] != ICMP {
            return Err(DropReason::OtherProtocol);
        }
        if word(6) & FRAGMENT != 0 {
            return Err(DropReason::Fragment);
        }
        if checksum(&[header_bytes]) != 0 || checksum(&[message]) != 0 {
            return Err(DropReason::Checksum);
        }
        if message.len() < 4 {
            return Err(DropReason::Malformed);
        }
        Ok(Self {
            source: address(12),
            destination: address(16),
            hops: header[8],
            message,
        })
    }
}

impl<'a> Packet<'a, Ipv6Addr> {
    pub(super) fn parse_v6(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let (header, rest) = bytes.split_first_chunk::<IPV6_HEADER>().ok_or(DropReason::Malformed)?;
        let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&header[at..at + 16]).expect("16 bytes"));
        if header[0] >> 4 != 6 {
            return Err(DropReason::Malformed);
        }
        if header[6] != ICMPV6 {
            return Err(DropReason::OtherProtocol);
        }
        let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let message = rest.get(..len).ok_or(DropReason::Malformed)?;
        if message.len() < 4 {
            return Err(DropReason::Malformed);
        }
        let (source, destination) = (address(8), address(24));
        if checksum(&[&pseudo_header(source, destination, message), message]) != 0 {
            return Err(DropReason::Checksum);
        }
        Ok(Self {
            source,
            destination,
            hops: header[7],
            message,
        })
    }
}

/// An IPv4 packet with this ICMP message, whose checksum is filled in. `None` if it is too long for one.
pub(super) fn icmp(source: Ipv4Addr, destination: Ipv4Addr, mut message: Vec<u8>) -> Option<Vec<u8>> {
    let total = u16::try_from(IPV4_HEADER + message.len()).ok()?;
    put_checksum(&mut message, &[])?;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(DONT_FRAGMENT.to_be_bytes());
    packet.extend([HOPS, ICMP, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(message);
    Some(packet)
}

/// An IPv6 packet with this ICMPv6 message, whose checksum is filled in. `None` if it is too long for one.
pub(super) fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, hops: u8, mut message: Vec<u8>) -> Option<Vec<u8>> {
    let len = u16::try_from(message.len()).ok()?;
    let before = pseudo_header(source, destination, &message);
    put_checksum(&mut message, &before)?;
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([ICMPV6, hops]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(message);
    Some(packet)
}

fn put_checksum(message: &mut [u8], before: &[u8]) -> Option<()> {
    message.get_mut(2..4)?.fill(0);
    let sum = checksum(&[before, message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// RFC 8200, section 8.1.
fn pseudo_header(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> [u8; IPV6_HEADER] {
    let mut header = [0; IPV6_HEADER];
    header[..16].copy_from_slice(&source.octets());
    header[16..32].copy_from_slice(&destination.octets());
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    header[32..36].copy_from_slice(&len.to_be_bytes());
    header[39] = ICMPV6;
    header
}
