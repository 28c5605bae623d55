//! Which interface leads where, by this network namespace's routes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairlead_model::Family;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

/// The interface that packets to an address leave by, and that packets from it arrive at. `None` if no route leads there.
pub(crate) fn interface_towards(address: IpAddr) -> Option<String> {
    let path = if address.is_ipv4() {
        "/proc/thread-self/net/route"
    } else {
        "/proc/thread-self/net/ipv6_route"
    };
    best(&fs::read_to_string(path).ok()?, address)
}

/// The index of the interface that the default route leaves by.
pub(crate) fn default_interface(family: Family) -> Option<u32> {
    // No other route holds the unspecified address.
    let unspecified = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let name = interface_towards(unspecified)?;
    name_to_index(socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?, &name).ok()
}

/// The interface of the longest prefix that holds the address; of several the lowest metric.
fn best(routes: &str, address: IpAddr) -> Option<String> {
    let parsed = routes.lines().filter_map(|line| match address {
        IpAddr::V4(_) => parse_v4(line),
        IpAddr::V6(_) => parse_v6(line),
    });
    let bits = |address| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let holds = |route: &Route| {
        let mask = u128::MAX.checked_shl(128 - route.prefix_len).unwrap_or(0);
        (bits(route.network) ^ bits(address)) & mask == 0
    };
    parsed
        .filter(holds)
        .max_by_key(|route| (route.prefix_len, u32::MAX - route.metric))
        .map(|route| route.interface)
}

struct Route {
    network: IpAddr,
    prefix_len: u32,
    metric: u32,
    interface: String,
}

/// `eth0 00001EAC 00000000 0001 0 0 0 00FFFFFF …`: addresses in host order, as the kernel prints a `be32`.
fn parse_v4(line: &str) -> Option<Route> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [
        interface,
        network,
        _gateway,
        _flags,
        _references,
        _use,
        metric,
        mask,
        ..,
    ] = fields[..]
    else {
        return None;
    };
    let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
    Some(Route {
        network: address(network)?.into(),
        prefix_len: address(mask)?.to_bits().count_ones(),
        metric: metric.parse().ok()?,
        interface: interface.to_owned(),
    })
}

/// `fd00…00 40 00…00 00 00…00 00000100 00000001 00000000 00000001 eth0`
fn parse_v6(line: &str) -> Option<Route> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let [
        network,
        prefix_len,
        _source,
        _source_len,
        _hop,
        metric,
        _references,
        _use,
        flags,
        interface,
    ] = fields[..]
    else {
        return None;
    };
    // The table ends with a route that rejects everything (RTF_REJECT).
    let is_reject = u32::from_str_radix(flags, 16).ok()? & 0x0200 != 0;
    (!is_reject).then_some(Route {
        network: Ipv6Addr::from(u128::from_str_radix(network, 16).ok()?).into(),
        prefix_len: u32::from_str_radix(prefix_len, 16).ok()?,
        metric: u32::from_str_radix(metric, 16).ok()?,
        interface: interface.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_longest_prefix_names_the_interface() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t01001EAC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  cni0\t0001F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(best(v4, "10.244.1.7".parse().unwrap()).as_deref(), Some("cni0"));
        assert_eq!(best(v4, "10.244.2.7".parse().unwrap()).as_deref(), Some("eth0"));
        let v6 = "fd000010024400010000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     cni0\n\
                  00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
        assert_eq!(best(v6, "fd00:10:244:1::7".parse().unwrap()).as_deref(), Some("cni0"));
        assert_eq!(best(v6, "2001:db8::1".parse().unwrap()), None);
    }
}
