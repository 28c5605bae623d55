//! What a load balancer shall be, part by part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use fairlead_model::{Family, Protocol};
use ipnet::IpNet;

use crate::contract::{AlpnPolicy, HealthCheck, IpAddressType, ListenerProtocol, Scheme, SourceNatPrefix, TargetType};

/// Keys and values on something in AWS.
pub type Tags = BTreeMap<String, String>;

/// A load balancer as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBalancer {
    /// The ARN of the one that somebody else made, if it is such: then only `listeners` and `target_groups` count.
    pub adopted: Option<String>,
    /// Its name when it is made.
    pub name: String,
    /// Where it can be reached from.
    pub scheme: Scheme,
    /// Its addresses.
    pub ip_address_type: IpAddressType,
    /// Whether it sends to IPv6 targets from addresses of its own.
    pub has_source_nat: bool,
    /// Where it is.
    pub subnets: Vec<SubnetMapping>,
    /// Who may reach it.
    pub security_groups: SecurityGroups,
    /// Whether the rules hold for `PrivateLink`; `None`: as AWS has it, which is yes.
    pub applies_to_private_link: Option<bool>,
    /// Its attributes; those not named are at their defaults.
    pub attributes: BTreeMap<String, String>,
    /// The capacity that is reserved.
    pub capacity_units: Option<i32>,
    /// Its tags.
    pub tags: Tags,
    /// Tags that somebody else keeps.
    pub kept_tags: BTreeSet<String>,
    /// Its listeners by port.
    pub listeners: BTreeMap<u16, Listener>,
    /// Its target groups by what they are for.
    pub target_groups: BTreeMap<String, TargetGroup>,
}

/// A subnet of a load balancer and its addresses there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubnetMapping {
    /// The subnet's id.
    pub subnet: String,
    /// An elastic IP address.
    pub eip_allocation: Option<String>,
    /// An address of an internal one.
    pub private_ipv4: Option<Ipv4Addr>,
    /// An IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// What it sends from to IPv6 targets.
    pub source_nat_prefix: Option<SourceNatPrefix>,
}

/// The security groups of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecurityGroups {
    /// It has none, and can never get any.
    None,
    /// The user's own.
    Own {
        /// By id.
        groups: Vec<String>,
        /// And the one that targets let in.
        with_backend: bool,
    },
    /// One that is made for it.
    Managed {
        /// The one.
        group: ManagedGroup,
        /// And the one that targets let in.
        with_backend: bool,
    },
}

/// A security group that is made for a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedGroup {
    /// Its name.
    pub name: String,
    /// What it lets in, and nothing else.
    pub rules: BTreeSet<Rule>,
    /// Its tags.
    pub tags: Tags,
}

/// A security group, known or still to be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// By id.
    Id(String),
    /// By the name that it is made with.
    Named(String),
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(text) | Self::Named(text) => f.write_str(text),
        }
    }
}

/// One thing that a security group lets in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// What.
    pub protocol: RuleProtocol,
    /// From where.
    pub source: RuleSource,
}

/// What a rule lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleProtocol {
    /// TCP to these ports.
    Tcp(u16, u16),
    /// UDP to these ports.
    Udp(u16, u16),
    /// "Fragmentation needed" (RFC 792, type 3 code 4).
    IcmpFragmentationNeeded,
    /// "Packet too big" (RFC 4443, type 2 code 0).
    Icmpv6PacketTooBig,
}

impl RuleProtocol {
    pub(crate) const fn of_ports(protocol: Protocol, from: u16, to: u16) -> Option<Self> {
        match protocol {
            Protocol::Tcp => Some(Self::Tcp(from, to)),
            Protocol::Udp => Some(Self::Udp(from, to)),
            Protocol::Sctp => None,
        }
    }
}

/// Where a rule lets in from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleSource {
    /// A range of addresses.
    Range(IpNet),
    /// A list of ranges.
    PrefixList(String),
    /// Whatever has this security group.
    Group(Group),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = |f: &mut fmt::Formatter<'_>, word, from, to| {
            if from == to {
                write!(f, "{word} {from}")
            } else {
                write!(f, "{word} {from}-{to}")
            }
        };
        match self.protocol {
            RuleProtocol::Tcp(from, to) => ports(f, "tcp", from, to)?,
            RuleProtocol::Udp(from, to) => ports(f, "udp", from, to)?,
            RuleProtocol::IcmpFragmentationNeeded => f.write_str("icmp fragmentation-needed")?,
            RuleProtocol::Icmpv6PacketTooBig => f.write_str("icmpv6 packet-too-big")?,
        }
        match &self.source {
            RuleSource::Range(range) => write!(f, " from {range}"),
            RuleSource::PrefixList(list) => write!(f, " from {list}"),
            RuleSource::Group(group) => write!(f, " from {group}"),
        }
    }
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What clients speak.
    pub protocol: ListenerProtocol,
    /// How TLS is ended, for a listener that does.
    pub tls: Option<Tls>,
    /// Where it sends to.
    pub to: Vec<Destination>,
    /// Whether a client stays with the target group that it was sent to.
    pub is_sticky: bool,
    /// Its attributes; those not named are at their defaults.
    pub attributes: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Tags,
}

/// How a listener ends TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate of clients that name no host.
    pub certificate: String,
    /// Further ones.
    pub more_certificates: BTreeSet<String>,
    /// The security policy.
    pub policy: String,
    /// What is agreed on about HTTP.
    pub alpn: Option<AlpnPolicy>,
}

/// Where a listener sends a part of its connections to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// The target group.
    pub group: TargetGroupRef,
    /// The part; nothing if there is only one.
    pub weight: Option<u16>,
}

/// A target group of a listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetGroupRef {
    /// Ours, by what it is for.
    Ours(String),
    /// Somebody else's, by ARN.
    Foreign(String),
}

/// A target group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroup {
    /// The ARN of the one that somebody else made, if it is such: then only `targets` count.
    pub adopted: Option<String>,
    /// Its name when it is made.
    pub name: String,
    /// What targets speak.
    pub protocol: ListenerProtocol,
    /// Its port, which no target uses that is registered with its own.
    pub port: u16,
    /// What targets are.
    pub target_type: TargetType,
    /// The family of their addresses.
    pub family: Family,
    /// How they are checked.
    pub health_check: HealthCheck,
    /// Its attributes; those not named are at their defaults.
    pub attributes: BTreeMap<String, String>,
    /// Its targets.
    pub targets: BTreeSet<Target>,
    /// Whether others register targets there too, which are theirs.
    pub has_foreign_targets: bool,
    /// Its tags.
    pub tags: Tags,
}

/// A target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// An instance's id or an address.
    pub id: String,
    /// Its port.
    pub port: u16,
    /// `all` for an address outside the VPC.
    pub zone: Option<String>,
    /// How QUIC packets find it.
    pub quic_server_id: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.id.contains(':') {
            write!(f, "[{}]:{}", self.id, self.port)
        } else {
            write!(f, "{}:{}", self.id, self.port)
        }
    }
}
