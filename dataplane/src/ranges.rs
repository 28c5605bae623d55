//! Networks as disjoint ranges, the form that interval sets take.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::table::Datum;

/// First and last address of each range of the union of these networks, all of one family: disjoint and not adjacent, since
/// the kernel refuses ranges that overlap.
pub(crate) fn merge_addresses<'a>(nets: impl Iterator<Item = &'a IpNet>) -> Vec<(IpAddr, IpAddr)> {
    let mut ranges: Vec<_> = nets.map(|net| (net.network(), net.broadcast())).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(IpAddr, IpAddr)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end || next(*end) == Some(first) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// [`merge_addresses`] as keys of a set of addresses.
pub(crate) fn merge<'a>(nets: impl Iterator<Item = &'a IpNet>) -> BTreeSet<(Datum, Datum)> {
    merge_addresses(nets)
        .into_iter()
        .map(|(first, last)| (Datum::address(first), Datum::address(last)))
        .collect()
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address
            .to_bits()
            .checked_add(1)
            .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        IpAddr::V6(address) => address
            .to_bits()
            .checked_add(1)
            .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_nested_and_adjacent_networks_become_one_range() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["10.0.0.0/8", "10.1.0.0/16"], &["10.0.0.0-10.255.255.255"]),
            (
                &["10.0.0.0/25", "10.0.0.128/25", "10.0.2.0/24"],
                &["10.0.0.0-10.0.0.255", "10.0.2.0-10.0.2.255"],
            ),
            (&["0.0.0.0/0", "255.255.255.255/32"], &["0.0.0.0-255.255.255.255"]),
            (
                &["fd00::/16", "fd01::/16"],
                &["fd00::-fd01:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            ),
        ];
        for (nets, expected) in cases {
            let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
            let merged: Vec<_> = merge_addresses(nets.iter())
                .iter()
                .map(|(a, b)| format!("{a}-{b}"))
                .collect();
            assert_eq!(merged, expected);
        }
    }
}
