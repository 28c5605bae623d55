//! Address families, transport protocols, and the spellings of addresses that Kubernetes accepts.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

#[cfg(test)]
mod tests;

/// An IP address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The family of a network.
    pub const fn of_net(net: &IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A transport protocol that a Service port can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, IP protocol 6
    Tcp,
    /// UDP, IP protocol 17
    Udp,
    /// SCTP, IP protocol 132
    Sctp,
}

impl Protocol {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The protocol's number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol with this number in the IP header, if a Service port can have it.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    /// In lower case, as nft and the command line write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Reads an address as Kubernetes does since before it was strict, because old objects keep such spellings: octets and
/// hextets may have leading zeros (and are decimal, and hexadecimal), and an IPv4-mapped IPv6 address is the IPv4
/// address.
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok().or_else(|| {
        if text.contains(':') {
            parse_padded_v6(text).map(IpAddr::V6)
        } else {
            parse_padded_v4(text).map(IpAddr::V4)
        }
    })?;
    Some(address.to_canonical())
}

/// Reads a CIDR with the same freedom as [`parse_address`] and clears its host bits.
pub(crate) fn parse_net(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let length = parse_padded(length, 10).and_then(|length| u8::try_from(length).ok())?;
    let written_as_v6 = address.contains(':');
    let net = match parse_address(address)? {
        // Only where all of the mapped prefix is kept is the network one of IPv4 addresses.
        IpAddr::V4(address) if written_as_v6 => match length.checked_sub(96) {
            Some(length) => IpNet::V4(Ipv4Net::new(address, length).ok()?),
            None => IpNet::V6(Ipv6Net::new(address.to_ipv6_mapped(), length).ok()?),
        },
        IpAddr::V4(address) => IpNet::V4(Ipv4Net::new(address, length).ok()?),
        IpAddr::V6(address) => IpNet::V6(Ipv6Net::new(address, length).ok()?),
    };
    Some(net.trunc())
}

/// A number of any width, without a sign.
fn parse_padded(digits: &str, radix: u32) -> Option<u32> {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    match digits.trim_start_matches('0') {
        "" => Some(0),
        significant => u32::from_str_radix(significant, radix).ok(),
    }
}

fn parse_padded_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = u8::try_from(parse_padded(parts.next()?, 10)?).ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// Rewrites each part in the strict spelling and leaves the rest (`::`, the number of parts) to the strict parser.
fn parse_padded_v6(text: &str) -> Option<Ipv6Addr> {
    let mut strict = String::with_capacity(text.len());
    for (i, part) in text.split(':').enumerate() {
        if i > 0 {
            strict.push(':');
        }
        if part.contains('.') {
            strict += &parse_padded_v4(part)?.to_string();
        } else if !part.is_empty() {
            let hextet = u16::try_from(parse_padded(part, 16)?).ok()?;
            write!(strict, "{hextet:x}").expect("a String takes all");
        }
    }
    strict.parse().ok()
}
