//! The routers that lead everywhere: gateways of default routes, of whichever table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rtnetlink::Attributes;

/// Bytes of `struct rtmsg`.
pub(super) const HEADER_LEN: usize = 12;
/// The kernel's notes of where packets went, which are no routes.
const CLONED: u32 = 0x200;

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    link: u32,
    /// The lower, the better.
    metric: u32,
    gateway: IpAddr,
}

/// Default routes by link.
#[derive(Debug, Default)]
pub(super) struct Routers(BTreeMap<u32, BTreeSet<(u32, IpAddr)>>);

impl Routers {
    /// Whether that is news.
    pub(super) fn add(&mut self, route: &Route) -> bool {
        self.0
            .entry(route.link)
            .or_default()
            .insert((route.metric, route.gateway))
    }

    /// Whether that is news.
    pub(super) fn remove(&mut self, route: &Route) -> bool {
        let routes = self.0.get_mut(&route.link);
        routes.is_some_and(|routes| routes.remove(&(route.metric, route.gateway)))
    }

    /// The link has no routes any more.
    pub(super) fn forget(&mut self, link: u32) {
        self.0.remove(&link);
    }

    /// The best one of each family.
    pub(super) fn behind(&self, link: u32) -> Vec<IpAddr> {
        let routes = self.0.get(&link);
        let best = |is_wanted: fn(&IpAddr) -> bool| {
            let mut gateways = routes.into_iter().flatten().map(|(_, gateway)| *gateway);
            gateways.find(is_wanted)
        };
        [best(IpAddr::is_ipv4), best(IpAddr::is_ipv6)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Reads a message about a route; `None` if it is no default route through a gateway.
pub(super) fn decode(payload: &[u8]) -> Option<Route> {
    let (header, attributes) = payload.split_first_chunk::<HEADER_LEN>()?;
    let [_, prefix_len, _, _, _, _, _, kind, f0, f1, f2, f3] = *header;
    if prefix_len != 0 || kind != libc::RTN_UNICAST || u32::from_ne_bytes([f0, f1, f2, f3]) & CLONED != 0 {
        return None;
    }
    let number = |value: &[u8]| value.first_chunk().map(|number| u32::from_ne_bytes(*number));
    let (mut link, mut metric, mut gateway) = (None, 0, None);
    for (kind, value) in Attributes(attributes) {
        match kind {
            libc::RTA_OIF => link = number(value),
            libc::RTA_PRIORITY => metric = number(value)?,
            libc::RTA_GATEWAY => gateway = address(value),
            _ => {}
        }
    }
    Some(Route {
        link: link?,
        metric,
        gateway: gateway?,
    })
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match *value {
        [a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d).into()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(prefix_len: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![2, prefix_len, 0, 0, 254, 3, 0, libc::RTN_UNICAST, 0, 0, 0, 0];
        for (kind, value) in attributes {
            let len = u16::try_from(value.len() + 4).unwrap();
            bytes.extend(len.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn only_default_routes_through_a_gateway_have_a_router() {
        let link = (libc::RTA_OIF, &3_u32.to_ne_bytes()[..]);
        let gateway = (libc::RTA_GATEWAY, &[198, 51, 100, 1][..]);
        let route = decode(&message(0, &[link, gateway])).unwrap();
        assert_eq!(
            (route.link, route.metric, route.gateway.to_string()),
            (3, 0, "198.51.100.1".to_owned())
        );
        assert_eq!(decode(&message(24, &[link, gateway])), None);
        assert_eq!(decode(&message(0, &[link])), None);
    }

    #[test]
    fn the_best_router_of_each_family_counts() {
        let mut routers = Routers::default();
        let route = |metric, gateway: &str| Route {
            link: 3,
            metric,
            gateway: gateway.parse().unwrap(),
        };
        assert!(routers.add(&route(200, "198.51.100.2")));
        assert!(routers.add(&route(100, "198.51.100.9")));
        assert!(routers.add(&route(1024, "fe80::1")));
        assert!(!routers.add(&route(1024, "fe80::1")));
        let text = |routers: &Routers| routers.behind(3).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&routers), ["198.51.100.9", "fe80::1"]);
        assert!(routers.remove(&route(100, "198.51.100.9")));
        assert_eq!(text(&routers), ["198.51.100.2", "fe80::1"]);
        routers.forget(3);
        assert!(text(&routers).is_empty());
    }
}
