//! The words of AWS for what a load balancer is.

use std::fmt;

use fairlead_model::Protocol;

/// Where a load balancer can be reached from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// From the VPC and what is connected to it.
    Internal,
    /// From the internet.
    InternetFacing,
}

impl Scheme {
    /// As AWS writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::InternetFacing => "internet-facing",
        }
    }
}

/// The addresses that a load balancer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum IpAddressType {
    /// IPv4 only.
    #[default]
    Ipv4,
    /// IPv4 and IPv6.
    Dualstack,
}

impl IpAddressType {
    /// As AWS writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
        }
    }
}

/// What a load balancer sends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum TargetType {
    /// Node ports of nodes.
    #[default]
    Instance,
    /// Pods.
    Ip,
}

impl TargetType {
    /// As AWS writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Ip => "ip",
        }
    }
}

/// What a listener or a target group speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenerProtocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// Both, on one port.
    TcpUdp,
    /// TCP with TLS that the load balancer ends.
    Tls,
    /// QUIC
    Quic,
    /// TCP and QUIC on one port.
    TcpQuic,
}

impl ListenerProtocol {
    /// As AWS writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::TcpUdp => "TCP_UDP",
            Self::Tls => "TLS",
            Self::Quic => "QUIC",
            Self::TcpQuic => "TCP_QUIC",
        }
    }

    /// What packets between load balancer and targets are.
    pub const fn transports(self) -> &'static [Protocol] {
        match self {
            Self::Tcp | Self::Tls => &[Protocol::Tcp],
            Self::Udp | Self::Quic => &[Protocol::Udp],
            Self::TcpUdp | Self::TcpQuic => &[Protocol::Tcp, Protocol::Udp],
        }
    }

    /// True if its targets need a QUIC server id.
    pub const fn is_quic(self) -> bool {
        matches!(self, Self::Quic | Self::TcpQuic)
    }
}

macro_rules! display_as_word {
    ($($kind:ty),+) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    )+};
}

display_as_word!(Scheme, IpAddressType, TargetType, ListenerProtocol);
