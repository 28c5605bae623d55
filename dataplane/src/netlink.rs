//! `nf_tables`, conntrack and addresses by netlink, with our own codec.
//!
//! [`Connection`] writes transactions and reads the table back; [`Monitor`] tells when somebody else changes it;
//! [`conntrack`] deletes entries that outlived their endpoint; [`addresses`] lists what addresses this host has.
//!
//! A table is written as nft would write it, down to the notes that nft keeps for itself, so that plain `nft list ruleset`
//! prints it; and what is read back is the same value that was written. A message passes these stations:
//!
//! ```text
//! Transaction ─► encode ─► expression::lower ─► attribute::Writer ─► socket ─► kernel
//!       Table ◄─ decode ◄─ expression::raise ◄─ attribute::Attributes ◄─┘
//! ```

pub mod addresses;
mod attribute;
mod connection;
pub mod conntrack;
mod decode;
mod encode;
mod error;
mod expression;
mod form;
mod message;
mod monitor;
mod socket;
mod sys;
mod uapi;

use std::fmt;

pub use connection::{Committed, Connection, Loaded, Ownership};
#[doc(hidden)]
pub use decode::decode_message;
pub use error::NetlinkError;
pub use monitor::{Activity, Monitor};

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NfFamily {
    /// `inet`: IPv4 and IPv6
    Inet,
    /// `ip`
    Ip,
    /// `ip6`
    Ip6,
    /// `arp`, `bridge`, `netdev` or one that came later.
    Other(u8),
}

impl NfFamily {
    /// `netdev`
    pub const NETDEV: Self = Self::Other(5);

    const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Ip6 => 10,
            Self::Other(number) => number,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Inet,
            2 => Self::Ip,
            10 => Self::Ip6,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for NfFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet => f.write_str("inet"),
            Self::Ip => f.write_str("ip"),
            Self::Ip6 => f.write_str("ip6"),
            Self::Other(3) => f.write_str("arp"),
            Self::Other(5) => f.write_str("netdev"),
            Self::Other(7) => f.write_str("bridge"),
            Self::Other(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
