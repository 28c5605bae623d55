use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use super::reader::Reader;
use super::settings::on_or_off;
use super::{IpAddressType, annotation};

/// Where in the VPC a load balancer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Its subnets, by id or by the value of their tag `Name`; empty: those that are found.
    pub subnets: Vec<String>,
    /// Elastic IP addresses by allocation id, in the order of the subnets.
    pub eip_allocations: Vec<String>,
    /// Its addresses, one in each subnet.
    pub private_ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses, one in each subnet.
    pub ipv6: Vec<Ipv6Addr>,
    /// Whether it sends to IPv6 targets from addresses of its own, as UDP needs; `None` without a word about it.
    pub source_nat: Option<bool>,
    /// The prefixes of those addresses, in the order of the subnets.
    pub source_nat_prefixes: Vec<SourceNatPrefix>,
}

/// The prefix of the addresses that a load balancer sends from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceNatPrefix {
    /// AWS chooses it.
    AutoAssigned,
    /// This one, of length 80.
    Prefix(Ipv6Net),
}

const PREFIX_LENGTH: u8 = 80;

impl Placement {
    pub(super) fn read(reader: &mut Reader<'_>, kind: IpAddressType) -> Self {
        let is_dualstack = kind == IpAddressType::Dualstack;
        let source_nat = source_nat(reader, is_dualstack);
        Self {
            subnets: reader.list(annotation::SUBNETS),
            eip_allocations: reader.list(annotation::EIP_ALLOCATIONS),
            private_ipv4: private_ipv4(reader),
            ipv6: ipv6(reader, is_dualstack),
            source_nat,
            source_nat_prefixes: source_nat_prefixes(reader, is_dualstack, source_nat == Some(true)),
        }
    }
}

fn private_ipv4(reader: &mut Reader<'_>) -> Vec<Ipv4Addr> {
    let mut addresses = Vec::new();
    for text in reader.list(annotation::PRIVATE_IPV4) {
        match text.parse() {
            Ok(IpAddr::V4(address)) => addresses.push(address),
            Ok(IpAddr::V6(_)) => reader.fault(
                annotation::PRIVATE_IPV4,
                format!("private IPv4 addresses must be valid IPv4 address: {text}"),
            ),
            Err(_) => reader.fault(
                annotation::PRIVATE_IPV4,
                format!("private IPv4 addresses must be valid IP address: {text}"),
            ),
        }
    }
    addresses
}

fn ipv6(reader: &mut Reader<'_>, is_dualstack: bool) -> Vec<Ipv6Addr> {
    let texts = reader.list(annotation::IPV6);
    if !is_dualstack && !texts.is_empty() {
        let message = "IPv6 addresses can only be set for dualstack load balancers";
        reader.fault(annotation::IPV6, message);
    }
    let mut addresses = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(IpAddr::V6(address)) => addresses.push(address),
            Ok(IpAddr::V4(_)) => {
                reader.fault(
                    annotation::IPV6,
                    format!("IPv6 addresses must be valid IPv6 address: {text}"),
                );
            }
            Err(_) => reader.fault(
                annotation::IPV6,
                format!("IPv6 addresses must be valid IP address: {text}"),
            ),
        }
    }
    addresses
}

fn source_nat(reader: &mut Reader<'_>, is_dualstack: bool) -> Option<bool> {
    let text = reader.text(annotation::SOURCE_NAT)?;
    let is_on = on_or_off(text);
    if is_on.is_none() {
        reader.fault(
            annotation::SOURCE_NAT,
            format!("Invalid enable-prefix-for-ipv6-source-nat value: {text}. Valid values are ['on', 'off']."),
        );
    }
    if !is_dualstack && is_on == Some(true) {
        reader.fault(
            annotation::SOURCE_NAT,
            "enable-prefix-for-ipv6-source-nat annotation is only applicable to Network Load Balancers using Dualstack IP address type.",
        );
    }
    is_on
}

fn source_nat_prefixes(reader: &mut Reader<'_>, is_dualstack: bool, is_on: bool) -> Vec<SourceNatPrefix> {
    let texts = reader.list(annotation::SOURCE_NAT_PREFIXES);
    if texts.is_empty() {
        return Vec::new();
    }
    if !is_dualstack {
        reader.fault(
            annotation::SOURCE_NAT_PREFIXES,
            "source-nat-ipv6-prefixes annotation can only be set for Network Load Balancers using Dualstack IP address type.",
        );
    }
    if !is_on {
        reader.fault(
            annotation::SOURCE_NAT_PREFIXES,
            "source-nat-ipv6-prefixes annotation is only applicable if enable-prefix-for-ipv6-source-nat annotation is set to on.",
        );
    }
    let mut prefixes = Vec::new();
    for text in texts {
        if text == "auto_assigned" {
            prefixes.push(SourceNatPrefix::AutoAssigned);
            continue;
        }
        match text.parse::<Ipv6Net>() {
            Ok(net) if net.prefix_len() == PREFIX_LENGTH => prefixes.push(SourceNatPrefix::Prefix(net.trunc())),
            Ok(net) => reader.fault(
                annotation::SOURCE_NAT_PREFIXES,
                format!(
                    "Invalid value in source-nat-ipv6-prefixes: {text}. Prefix length must be {PREFIX_LENGTH}, but {} is specified.",
                    net.prefix_len()
                ),
            ),
            Err(_) => reader.fault(
                annotation::SOURCE_NAT_PREFIXES,
                format!("Invalid value in source-nat-ipv6-prefixes: {text}. Value must be a valid IPv6 CIDR."),
            ),
        }
    }
    prefixes
}
