//! Neighbour solicitations and advertisements (RFC 4861, sections 4.3, 4.4 and 7).

use std::net::Ipv6Addr;

use super::counters::DropReason;
use super::ip::{self, Packet};
use super::wire::{self, Mac};

pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;
/// Nobody off the link can send a packet that arrives with it.
const ON_LINK_HOPS: u8 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const FIXED_LEN: usize = 24;

/// A solicitation or an advertisement about `target`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) target: Ipv6Addr,
    /// Where the sender of a solicitation, or the target of an advertisement, says it is.
    pub(super) link_address: Option<Mac>,
}

impl Neighbour {
    /// Validates as RFC 4861 says in sections 7.1.1 and 7.1.2. The message is one of the two kinds.
    pub(super) fn parse(packet: &Packet<'_, Ipv6Addr>) -> Result<Self, DropReason> {
        if packet.hops != ON_LINK_HOPS {
            return Err(DropReason::HopLimit);
        }
        let (fixed, mut options) = packet
            .message
            .split_first_chunk::<FIXED_LEN>()
            .ok_or(DropReason::Malformed)?;
        if fixed[1] != 0 {
            return Err(DropReason::Code);
        }
        let is_solicitation = fixed[0] == SOLICITATION;
        let target = Ipv6Addr::from(<[u8; 16]>::try_from(&fixed[8..]).expect("16 bytes"));
        if target.is_multicast() {
            return Err(DropReason::TargetMulticast);
        }
        let wanted = if is_solicitation {
            SOURCE_LINK_ADDRESS
        } else {
            TARGET_LINK_ADDRESS
        };
        let mut link_address = None;
        while let [kind, words, ..] = *options {
            let (option, rest) = options
                .split_at_checked(usize::from(words) * 8)
                .filter(|(option, _)| !option.is_empty())
                .ok_or(DropReason::Malformed)?;
            if kind == wanted && option.len() == 8 {
                link_address = Some(Mac(option[2..].try_into().expect("six bytes")));
            }
            options = rest;
        }
        if !options.is_empty() {
            return Err(DropReason::Malformed);
        }
        let asks_for_duplicates = is_solicitation && packet.source.is_unspecified();
        if asks_for_duplicates && (link_address.is_some() || packet.destination != group_of(target)) {
            return Err(DropReason::DuplicateDetection);
        }
        Ok(Self {
            source: packet.source,
            destination: packet.destination,
            target,
            link_address,
        })
    }

    /// What `mac` says to the one who asked where `self.target` is, and whose frame came from `asker`.
    pub(super) fn answer(&self, mac: Mac, asker: Mac) -> Vec<u8> {
        if self.source.is_unspecified() {
            // Another host wants the address, and has none yet that an answer could go to.
            return announcement(mac, self.target);
        }
        let asker = self.link_address.filter(|mac| mac.is_station()).unwrap_or(asker);
        advertisement(mac, asker, self.target, self.source, SOLICITED | OVERRIDE)
    }
}

/// Tells everybody that `mac` has `address`.
pub(super) fn announcement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    advertisement(mac, Mac::of_group(ALL_NODES), address, ALL_NODES, OVERRIDE)
}

/// Asks whether anybody has `address`, without claiming it (RFC 4862, section 5.4.2).
pub(super) fn probe(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    let group = group_of(address);
    write(mac, Mac::of_group(group), Ipv6Addr::UNSPECIFIED, group, message)
}

/// The group that whoever has `address` must listen to (RFC 4291, section 2.7.1).
pub(super) const fn group_of(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

fn advertisement(mac: Mac, to: Mac, address: Ipv6Addr, destination: Ipv6Addr, flags: u8) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    message.extend([TARGET_LINK_ADDRESS, 1]);
    message.extend(mac.0);
    write(mac, to, address, destination, message)
}

fn write(mac: Mac, to: Mac, source: Ipv6Addr, destination: Ipv6Addr, message: Vec<u8>) -> Vec<u8> {
    let packet = ip::icmpv6(source, destination, ON_LINK_HOPS, message).expect("32 bytes at most");
    wire::frame(to, mac, wire::IPV6, &packet)
}
