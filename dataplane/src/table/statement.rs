//! The closed list of rule forms.

use std::net::SocketAddr;
use std::time::Duration;

use fairlead_model::{Family, Protocol};

use super::{FieldType, Name};

/// One rule: statements from left to right. The first match that fails ends the rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Rule(pub Vec<Statement>);

/// One match or action. The comment shows its nft text.
///
/// Fields of one family imply `meta nfproto`: the encoder writes that match once before the first of them, as nft does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Statement {
    /// `meta l4proto tcp`
    L4Proto(Protocol),
    /// `meta l4proto icmp` or `meta l4proto ipv6-icmp`
    Icmp(Family),
    /// `iifname "cni0"` or `iifname "veth*"`
    IifName(InterfacePattern),
    /// `fib saddr type local`
    SaddrIsLocal,
    /// `ct state new`
    CtStateNew,
    /// `ct status dnat`
    CtStatusDnat,
    /// `numgen random mod 3 0`: true once in so many times; at least 2.
    OneIn(u32),
    /// `ip saddr . ip daddr @set`, or with `!= @set`
    Lookup {
        /// The key's fields.
        key: Vec<Field>,
        /// The set.
        set: Name,
        /// True for `!=`.
        is_negated: bool,
    },
    /// `ip daddr . meta l4proto . th dport vmap @map`; goes on with the next rule if the map lacks the key.
    VerdictMap {
        /// The key's fields.
        key: Vec<Field>,
        /// The verdict map.
        map: Name,
    },
    /// `update @set { ip saddr timeout 3h }`; the timeout is in whole seconds.
    Update {
        /// The key.
        key: Field,
        /// A set of learned keys.
        set: Name,
        /// How long the element stays after its last use here.
        timeout: Duration,
    },
    /// `dnat ip to numgen random mod 2 . ip daddr . meta l4proto . th dport map @map`
    DnatMap {
        /// Family of the new destination.
        family: Family,
        /// The key's fields.
        key: Vec<Field>,
        /// A map to address and port.
        map: Name,
    },
    /// `dnat ip to 10.244.1.2:8080`; nft wants a match on the protocol before it in the rule.
    Dnat(SocketAddr),
    /// `masquerade fully-random`
    Masquerade,
    /// `reject`: ICMP or ICMPv6 port unreachable
    Reject,
    /// `reject with tcp reset`; the kernel wants a match on TCP before it in the rule.
    Reset,
    /// `drop`, `return`, `jump other`, `goto other`
    Verdict(Verdict),
}

/// What ends a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// `drop`
    Drop,
    /// `return`
    Return,
    /// `jump chain`
    Jump(Name),
    /// `goto chain`
    Goto(Name),
}

/// Name of an interface, or the beginning of names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InterfacePattern {
    /// This interface; at most 15 bytes.
    Exact(String),
    /// Every interface whose name starts so; at most 14 bytes.
    Prefix(String),
}

impl InterfacePattern {
    /// Whether an interface's name fits.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name == exact,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

/// One field of a packet or of its connection, as part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// `ip saddr`, `ip6 saddr`
    Saddr(Family),
    /// `ip daddr`, `ip6 daddr`
    Daddr(Family),
    /// `meta l4proto`
    L4Proto,
    /// `th dport`
    Dport,
    /// `th sport` of an ICMP message: the type, and behind it the code.
    IcmpKind,
    /// `ct original ip daddr`, `ct original ip6 daddr`: where the connection went before DNAT.
    OriginalDaddr(Family),
    /// `ct original proto-dst`. Never part of a concatenation: nft 1.0.6 aborts when it lists one.
    OriginalDport,
    /// `numgen random mod 3`: the number of a slot, each as likely as any other.
    RandomSlot(u32),
}

impl Field {
    /// The type that a set's key must have at this place.
    pub const fn kind(self) -> FieldType {
        match self {
            Self::Saddr(Family::V4) | Self::Daddr(Family::V4) | Self::OriginalDaddr(Family::V4) => FieldType::Ipv4Addr,
            Self::Saddr(Family::V6) | Self::Daddr(Family::V6) | Self::OriginalDaddr(Family::V6) => FieldType::Ipv6Addr,
            Self::L4Proto => FieldType::InetProto,
            Self::Dport | Self::IcmpKind | Self::OriginalDport => FieldType::InetService,
            Self::RandomSlot(_) => FieldType::Slot,
        }
    }

    /// The family that a packet must be of to have this field; `None` if each has it.
    pub const fn family(self) -> Option<Family> {
        match self {
            Self::Saddr(family) | Self::Daddr(family) | Self::OriginalDaddr(family) => Some(family),
            Self::L4Proto | Self::Dport | Self::IcmpKind | Self::OriginalDport | Self::RandomSlot(_) => None,
        }
    }
}
