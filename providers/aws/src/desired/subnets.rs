//! Which subnets a load balancer is in.

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::annotation::SUBNETS;
use crate::contract::reader::Reader;
use crate::contract::value::go_list;
use crate::contract::{IpAddressType, Scheme, Settings};

use super::{Subnet, Surroundings};

/// The load balancer that a Service has already, or the one of somebody else that it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Where it can be reached from.
    pub scheme: Scheme,
    /// Its subnets, by id.
    pub subnets: Vec<String>,
    /// Its security groups, by id. One that was made without can never get any.
    pub security_groups: Vec<String>,
    /// The one that was made for it, by id.
    pub managed_group: Option<String>,
}

/// AWS needs so many in each subnet.
const LEAST_FREE_ADDRESSES: u32 = 8;
const CLUSTER_TAG_PREFIX: &str = "kubernetes.io/cluster/";

/// Those that are named, or those that it is in, or those that are tagged for it, or those from which its clients can be reached.
pub(super) fn choose<'a>(
    reader: &mut Reader<'_>,
    settings: &Settings,
    scheme: Scheme,
    around: Surroundings<'a>,
) -> Vec<&'a Subnet> {
    let named = &settings.placement.subnets;
    let kept = around
        .existing
        .filter(|existing| existing.scheme == scheme && !existing.subnets.is_empty());
    let chosen = if !named.is_empty() {
        resolve(reader, named, &around.vpc.subnets)
    } else if let Some(existing) = kept {
        resolve(reader, &existing.subnets, &around.vpc.subnets)
    } else {
        let found = discover(reader, settings.identity.ip_address_type, scheme, around);
        check_zone_kind(reader, &found);
        return found;
    };
    check_zones(reader, &chosen);
    check_zone_kind(reader, &chosen);
    let without: Vec<_> = chosen
        .iter()
        .filter(|subnet| subnet.ipv6.is_empty())
        .map(|subnet| &subnet.id)
        .collect();
    if settings.identity.ip_address_type == IpAddressType::Dualstack && !without.is_empty() {
        reader.fault(
            SUBNETS,
            format!(
                "subnets {} do not have an associated IPv6 CIDR block, which is required for dualstack load balancers",
                go_list(without)
            ),
        );
    }
    chosen
}

/// Ids and names, in the order in which they are written.
fn resolve<'a>(reader: &mut Reader<'_>, named: &[String], subnets: &'a [Subnet]) -> Vec<&'a Subnet> {
    let is_id = |text: &str| text.starts_with("subnet-");
    let find = |text: &String| {
        subnets.iter().find(|subnet| {
            if is_id(text) {
                subnet.id == *text
            } else {
                subnet.tags.get("Name") == Some(text)
            }
        })
    };
    let mut chosen: Vec<&Subnet> = Vec::new();
    for subnet in named.iter().filter_map(find) {
        if !chosen.contains(&subnet) {
            chosen.push(subnet);
        }
    }
    let missing = |wants_ids: bool| {
        named
            .iter()
            .any(|text| is_id(text) == wants_ids && find(text).is_none())
    };
    if missing(true) {
        let ids: Vec<_> = named.iter().filter(|text| is_id(text)).collect();
        let found: Vec<_> = ids.iter().filter(|id| find(id).is_some()).collect();
        let message = format!(
            "couldn't find all subnets, want: {}, found: {}",
            go_list(&ids),
            go_list(found)
        );
        reader.fault(SUBNETS, message);
    }
    if missing(false) {
        let lost: Vec<_> = named
            .iter()
            .filter(|text| !is_id(text) && find(text).is_none())
            .collect();
        reader.fault(
            SUBNETS,
            format!("couldn't find all subnets, missing names: {}", go_list(lost)),
        );
    }
    chosen
}

fn check_zones(reader: &mut Reader<'_>, chosen: &[&Subnet]) {
    let mut by_zone: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for subnet in chosen {
        by_zone.entry(&subnet.zone).or_default().insert(&subnet.id);
    }
    for (zone, ids) in by_zone.into_iter().filter(|(_, ids)| ids.len() > 1) {
        let message = format!("multiple subnets in same Availability Zone {zone}: {}", go_list(ids));
        reader.fault(SUBNETS, message);
    }
}

fn check_zone_kind(reader: &mut Reader<'_>, chosen: &[&Subnet]) {
    let kinds: BTreeSet<_> = chosen.iter().map(|subnet| subnet.zone_kind).collect();
    if kinds.len() > 1 {
        let words = kinds.iter().map(|kind| kind.word());
        reader.fault(SUBNETS, format!("subnets in multiple locales: {}", go_list(words)));
    }
}

/// What subnets say of the cluster they are for.
enum Claim {
    Ours,
    Nobody,
    Others,
}

fn claim(subnet: &Subnet, cluster: &str) -> Claim {
    let mut clusters = subnet
        .tags
        .keys()
        .filter_map(|key| key.strip_prefix(CLUSTER_TAG_PREFIX))
        .peekable();
    if clusters.peek().is_none() {
        Claim::Nobody
    } else if clusters.any(|name| name == cluster) {
        Claim::Ours
    } else {
        Claim::Others
    }
}

fn discover<'a>(
    reader: &mut Reader<'_>,
    kind: IpAddressType,
    scheme: Scheme,
    around: Surroundings<'a>,
) -> Vec<&'a Subnet> {
    let role = match scheme {
        Scheme::InternetFacing => "kubernetes.io/role/elb",
        Scheme::Internal => "kubernetes.io/role/internal-elb",
    };
    let all = &around.vpc.subnets;
    let is_tagged = |subnet: &&Subnet| {
        subnet
            .tags
            .get(role)
            .is_some_and(|value| matches!(value.as_str(), "" | "1"))
    };
    let mut evaluated: Vec<&Subnet> = all.iter().filter(is_tagged).collect();
    if evaluated.is_empty() {
        let is_public = scheme == Scheme::InternetFacing;
        evaluated = all.iter().filter(|subnet| subnet.is_public == is_public).collect();
    }
    let (mut others, mut full, mut without_ipv6) = (0, 0, 0);
    let mut by_zone: BTreeMap<&str, (bool, &Subnet)> = BTreeMap::new();
    for &subnet in &evaluated {
        let is_ours = match claim(subnet, &around.defaults.cluster) {
            Claim::Others => {
                others += 1;
                continue;
            }
            Claim::Ours => true,
            Claim::Nobody => false,
        };
        if subnet.free_addresses < LEAST_FREE_ADDRESSES {
            full += 1;
        } else if kind == IpAddressType::Dualstack && subnet.ipv6.is_empty() {
            without_ipv6 += 1;
        } else {
            let best = by_zone.entry(&subnet.zone).or_insert((is_ours, subnet));
            if (is_ours, &best.1.id) > (best.0, &subnet.id) {
                *best = (is_ours, subnet);
            }
        }
    }
    if by_zone.is_empty() {
        let evaluated = evaluated.len();
        let ipv6 = match kind {
            IpAddressType::Ipv4 => String::new(),
            IpAddressType::Dualstack => format!(
                ", and {without_ipv6} don't have an associated IPv6 CIDR block, which is required for dualstack load balancers"
            ),
        };
        let message = format!(
            "unable to resolve at least one subnet. Evaluated {evaluated} subnets: {others} are tagged for other clusters, and {full} have insufficient available IP addresses{ipv6}"
        );
        reader.fault(SUBNETS, message);
    }
    let mut chosen: Vec<_> = by_zone.into_values().map(|(_, subnet)| subnet).collect();
    chosen.sort_by(|one, other| one.id.cmp(&other.id));
    chosen
}
