//! The form of every set and map, which follows from its name.

use fairlead_model::{Family, Protocol};

use super::{masquerade_nodeports, suffixed};
use crate::table::{FieldType, Holds, Set, SetData, SetSpec, Table};

macro_rules! fields {
    ($family:expr, $($field:tt),+) => {
        match $family {
            Family::V4 => &[$(fields!(@v4 $field)),+],
            Family::V6 => &[$(fields!(@v6 $field)),+],
        }
    };
    (@v4 address) => { FieldType::Ipv4Addr };
    (@v6 address) => { FieldType::Ipv6Addr };
    (@$family:ident $field:ident) => { FieldType::$field };
}

/// The form of the set or map with this name; `None` if the program has none of that name.
pub fn set_spec(name: &str) -> Option<SetSpec> {
    use SetData::{Fields, Nothing, Verdict};
    let port: &'static [FieldType] = &[FieldType::InetService];
    if ["masquerade_nodeports_", "vip4/", "vip6/"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return Some(SetSpec {
            key: port,
            data: Verdict,
            holds: Holds::Keys,
        });
    }
    // Sets that belong to one Service have its name behind a slash.
    let (stem, is_of_service) = match name.split_once('/') {
        Some((stem, _)) => (stem, true),
        None => (name, false),
    };
    let (stem, family) = match (stem.strip_suffix('4'), stem.strip_suffix('6')) {
        (Some(stem), _) => (stem, Family::V4),
        (_, Some(stem)) => (stem, Family::V6),
        _ => return None,
    };
    let endpoint = fields!(family, address, InetService);
    let (key, data, holds): (&'static [FieldType], _, _) = match stem {
        "affinity" if is_of_service => (fields!(family, address), Nothing, Holds::Learned),
        _ if is_of_service => return None,
        "services" | "shortcuts" | "local_services" | "no_endpoints" => {
            (fields!(family, address, InetProto, InetService), Verdict, Holds::Keys)
        }
        "nodeports" | "nodeport_shortcuts" | "local_nodeports" | "no_endpoint_nodeports" => {
            (&[FieldType::InetProto, FieldType::InetService], Verdict, Holds::Keys)
        }
        "endpoints" | "shortcut_endpoints" => (
            fields!(family, Slot, address, InetProto, InetService),
            Fields(endpoint),
            Holds::Keys,
        ),
        "nodeport_endpoints" | "nodeport_shortcut_endpoints" => (
            &[FieldType::Slot, FieldType::InetProto, FieldType::InetService],
            Fields(endpoint),
            Holds::Keys,
        ),
        "announced" => (fields!(family, address, InetService), Nothing, Holds::Keys),
        "pods" | "service_cidrs" => (fields!(family, address), Nothing, Holds::Ranges),
        "node_ips" | "cluster_ips" => (fields!(family, address), Nothing, Holds::Keys),
        "hairpin" => (fields!(family, address, address), Nothing, Holds::Keys),
        "masquerade" => (fields!(family, address), Verdict, Holds::Keys),
        "guarded" => (fields!(family, address, InetProto, InetService), Nothing, Holds::Keys),
        "source_ranges" => (
            fields!(family, address, InetProto, InetService, address),
            Nothing,
            Holds::Ranges,
        ),
        _ => return None,
    };
    Some(SetSpec { key, data, holds })
}

/// Names of the sets and maps that always exist, without the family's digit.
const SETS: [&str; 21] = [
    "announced",
    "services",
    "shortcuts",
    "local_services",
    "nodeports",
    "nodeport_shortcuts",
    "local_nodeports",
    "endpoints",
    "shortcut_endpoints",
    "nodeport_endpoints",
    "nodeport_shortcut_endpoints",
    "no_endpoints",
    "no_endpoint_nodeports",
    "pods",
    "node_ips",
    "cluster_ips",
    "service_cidrs",
    "hairpin",
    "masquerade",
    "guarded",
    "source_ranges",
];

/// Adds those sets, empty.
pub(super) fn add_all(table: &mut Table) {
    for family in Family::ALL {
        let by_protocol = Protocol::ALL.map(|protocol| masquerade_nodeports(protocol, family));
        for name in SETS.iter().map(|name| suffixed(name, family)).chain(by_protocol) {
            let spec = set_spec(&name).expect("every set of the program has a form");
            table.sets.insert(name, Set::new(spec));
        }
    }
}
