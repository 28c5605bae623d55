//! The addresses of a load balancer in its subnets.

use crate::contract::annotation::{EIP_ALLOCATIONS, IPV6, PRIVATE_IPV4, SOURCE_NAT, SOURCE_NAT_PREFIXES};
use crate::contract::reader::Reader;
use crate::contract::value::go_list;
use crate::contract::{Scheme, Settings, SourceNatPrefix};

use super::{Subnet, SubnetMapping};

pub(super) fn assign(
    reader: &mut Reader<'_>,
    settings: &Settings,
    scheme: Scheme,
    subnets: &[&Subnet],
) -> Vec<SubnetMapping> {
    // Where there are no subnets, that has been said.
    if subnets.is_empty() {
        return Vec::new();
    }
    check_scheme(reader, settings, scheme);
    check_counts(reader, settings, subnets.len());
    check_source_nat(reader, settings, subnets);
    let placement = &settings.placement;
    let mut mappings = Vec::new();
    for (position, subnet) in subnets.iter().enumerate() {
        mappings.push(SubnetMapping {
            subnet: subnet.id.clone(),
            eip_allocation: placement.eip_allocations.get(position).cloned(),
            private_ipv4: only_one(
                reader,
                PRIVATE_IPV4,
                "private IPv4",
                subnet,
                &placement.private_ipv4,
                |address| subnet.ipv4.is_some_and(|range| range.contains(address)),
            ),
            ipv6: only_one(reader, IPV6, "IPv6", subnet, &placement.ipv6, |address| {
                subnet.ipv6.iter().any(|range| range.contains(address))
            }),
            source_nat_prefix: source_nat_prefix(reader, settings, position, subnet),
        });
    }
    mappings
}

fn check_scheme(reader: &mut Reader<'_>, settings: &Settings, scheme: Scheme) {
    let placement = &settings.placement;
    if scheme == Scheme::Internal && !placement.eip_allocations.is_empty() {
        let message = "EIP allocations can only be set for internet facing load balancers";
        reader.fault(EIP_ALLOCATIONS, message);
    }
    if scheme == Scheme::InternetFacing && !placement.private_ipv4.is_empty() {
        let message = "private IPv4 addresses can only be set for internal load balancers";
        reader.fault(PRIVATE_IPV4, message);
    }
}

fn check_counts(reader: &mut Reader<'_>, settings: &Settings, subnets: usize) {
    let placement = &settings.placement;
    for (name, words, count) in [
        (EIP_ALLOCATIONS, "EIP allocations", placement.eip_allocations.len()),
        (PRIVATE_IPV4, "private IPv4 addresses", placement.private_ipv4.len()),
        (IPV6, "IPv6 addresses", placement.ipv6.len()),
    ] {
        if count != 0 && count != subnets {
            reader.fault(
                name,
                format!("count of {words} ({count}) and subnets ({subnets}) must match"),
            );
        }
    }
    let count = placement.source_nat_prefixes.len();
    if count != 0 && count != subnets {
        reader.fault(
            SOURCE_NAT_PREFIXES,
            format!(
                "Number of values in source-nat-ipv6-prefixes ({count}) must match the number of subnets ({subnets})."
            ),
        );
    }
}

fn check_source_nat(reader: &mut Reader<'_>, settings: &Settings, subnets: &[&Subnet]) {
    let without: Vec<_> = subnets
        .iter()
        .filter(|subnet| subnet.ipv6.is_empty())
        .map(|subnet| &subnet.id)
        .collect();
    if settings.placement.source_nat == Some(true) && !without.is_empty() {
        reader.fault(
            SOURCE_NAT,
            format!(
                "To enable prefix for source NAT, all associated subnets must have an IPv6 CIDR. Subnets without IPv6 CIDR: {}.",
                go_list(without)
            ),
        );
    }
}

/// The one address that lies in a subnet, where addresses are given at all.
fn only_one<A: Copy>(
    reader: &mut Reader<'_>,
    name: &str,
    words: &str,
    subnet: &Subnet,
    addresses: &[A],
    lies_in: impl Fn(&A) -> bool,
) -> Option<A> {
    let mut inside = addresses.iter().filter(|address| lies_in(address));
    match (inside.next(), inside.next()) {
        (Some(address), None) => Some(*address),
        _ if addresses.is_empty() => None,
        _ => {
            reader.fault(
                name,
                format!("expect one {words} address configured for subnet: {}", subnet.id),
            );
            None
        }
    }
}

fn source_nat_prefix(
    reader: &mut Reader<'_>,
    settings: &Settings,
    position: usize,
    subnet: &Subnet,
) -> Option<SourceNatPrefix> {
    let prefix = *settings.placement.source_nat_prefixes.get(position)?;
    if let SourceNatPrefix::Prefix(net) = prefix {
        let lies_within = subnet.ipv6.iter().any(|range| range.contains(&net));
        if !lies_within {
            let ranges = go_list(&subnet.ipv6);
            reader.fault(
                SOURCE_NAT_PREFIXES,
                format!("Invalid value in source-nat-ipv6-prefixes: {net}. Value must be within subnet CIDR range: {ranges}."),
            );
        }
    }
    Some(prefix)
}
