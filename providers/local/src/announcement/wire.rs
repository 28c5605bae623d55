//! MAC addresses, Ethernet frames and the internet checksum.

use std::fmt;
use std::net::Ipv6Addr;

use super::counters::DropReason;

/// `linux/if_ether.h`
pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad and the older double tag.
const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

const HEADER_LEN: usize = 14;

/// A MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// Not known yet: the target of an ARP request.
    pub(super) const UNKNOWN: Self = Self([0; 6]);

    /// Whether it stands for several stations: a group or everybody.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether one station can have it.
    pub(super) fn is_station(self) -> bool {
        !self.is_group() && self != Self::UNKNOWN
    }

    /// Where frames for an IPv6 multicast group go (RFC 2464, section 7).
    pub(super) const fn of_group(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, octet) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ":" };
            write!(f, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

/// A frame that arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) destination: Mac,
    pub(super) source: Mac,
    pub(super) kind: u16,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let split = || {
            let (destination, rest) = bytes.split_first_chunk()?;
            let (source, rest) = rest.split_first_chunk()?;
            let (kind, payload) = rest.split_first_chunk()?;
            Some(Self {
                destination: Mac(*destination),
                source: Mac(*source),
                kind: u16::from_be_bytes(*kind),
                payload,
            })
        };
        let frame = split().ok_or(DropReason::Malformed)?;
        if VLAN.contains(&frame.kind) {
            return Err(DropReason::VlanTagged);
        }
        Ok(frame)
    }
}

/// A frame to be sent.
pub(super) fn frame(destination: Mac, source: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + payload.len());
    bytes.extend(destination.0);
    bytes.extend(source.0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The internet checksum (RFC 1071) over all the parts, each but the last of an even length. Zero when the parts hold a right one.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("the carries are folded in")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_with_its_checksum_is_zero() {
        // The example of RFC 1071, section 3.
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        let sum = checksum(&[&data]);
        assert_eq!(sum, !0xddf2);
        assert_eq!(checksum(&[&data, &sum.to_be_bytes()]), 0);
        assert_eq!(checksum(&[&[0xab]]), !0xab00);
    }

    #[test]
    fn groups_have_mac_addresses_of_their_own() {
        let group = "ff02::1:ff00:7".parse().unwrap();
        assert_eq!(Mac::of_group(group).to_string(), "33:33:ff:00:00:07");
        assert!(Mac::of_group(group).is_group());
        assert!(!Mac([2, 0, 0, 0, 0, 1]).is_group());
    }

    #[test]
    fn a_tagged_frame_belongs_to_another_network() {
        let tagged = frame(Mac::BROADCAST, Mac([2, 0, 0, 0, 0, 1]), 0x8100, &[0, 7, 8, 6]);
        assert_eq!(Frame::parse(&tagged).unwrap_err(), DropReason::VlanTagged);
        assert_eq!(Frame::parse(&tagged[..13]).unwrap_err(), DropReason::Malformed);
    }
}
