//! Random worlds from small ranges of values.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use fairlead_dataplane::program::Options;
use fairlead_model::{
    Endpoint, EndpointSlice, Family, Protocol, Service, ServiceName, ServicePort, SliceName, SlicePort, TrafficPolicy,
};

use super::{Change, World, pod_options};

const SERVICES: [&str; 3] = ["a", "b", "c"];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(Protocol::ALL.to_vec())
}

fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let node_port = prop::option::of(select(vec![30080, 30081]));
    let port = (protocol(), select(vec![80, 81]), node_port);
    prop::collection::vec(port, 1..3).prop_map(|ports| {
        let names = ["", "x"].into_iter();
        let mut unique: Vec<ServicePort> = Vec::new();
        for ((protocol, port, node_port), name) in ports.into_iter().zip(names) {
            let clashes = unique
                .iter()
                .any(|other| other.protocol == protocol && (other.port == port || other.node_port == node_port));
            if !clashes {
                unique.push(ServicePort {
                    name: name.into(),
                    protocol,
                    port,
                    node_port,
                });
            }
        }
        unique
    })
}

pub(crate) fn service() -> impl Strategy<Value = Service> {
    let external = [
        "198.51.100.1",
        "198.51.100.2",
        "172.30.0.11",
        "2001:db8:100::1",
        "fd00:172:30::11",
    ]
    .map(address);
    let balanced = ["198.51.100.1", "198.51.100.2", "2001:db8:100::1", "2001:db8:100::2"].map(address);
    let ranges: Vec<ipnet::IpNet> = [
        "172.30.0.0/24",
        "172.30.0.64/26",
        "10.244.1.1/32",
        "fd00:172:30::/64",
        "fd00:10:244:1::/64",
    ]
    .map(|net| net.parse().unwrap())
    .into();
    let affinity = prop::option::weighted(0.3, select(vec![Duration::from_mins(1), Duration::from_hours(3)]));
    (
        0..SERVICES.len(),
        subsequence(vec![0, 1], 1..=2),
        subsequence(external.to_vec(), 0..=2),
        subsequence(balanced.to_vec(), 0..=2),
        subsequence(ranges, 0..=2),
        ports(),
        affinity,
        policy(),
        policy(),
    )
        .prop_map(
            |(index, families, external_ips, load_balancer_ips, source_ranges, ports, affinity, internal, outer)| {
                let cluster_ips = [format!("10.96.0.{}", index + 1), format!("fd00:10:96::{}", index + 1)];
                Service {
                    name: ServiceName::new("default", SERVICES[index]),
                    cluster_ips: families
                        .into_iter()
                        .map(|family: usize| address(&cluster_ips[family]))
                        .collect(),
                    external_ips,
                    load_balancer_ips,
                    source_ranges,
                    ports,
                    affinity,
                    internal_policy: internal,
                    external_policy: outer,
                    health_check_node_port: None,
                    uid: None,
                }
            },
        )
}

fn hints(names: [&'static str; 2]) -> impl Strategy<Value = Arc<[Arc<str>]>> {
    subsequence(names.to_vec(), 0..=2).prop_map(|names| names.into_iter().map(Arc::from).collect())
}

fn endpoint(family: Family) -> impl Strategy<Value = Endpoint> {
    let addresses = match family {
        Family::V4 => ["10.244.1.1", "10.244.1.2", "10.244.2.1", "172.30.0.11"],
        Family::V6 => [
            "fd00:10:244:1::1",
            "fd00:10:244:1::2",
            "fd00:10:244:2::1",
            "fd00:172:30::11",
        ],
    };
    let conditions = select(vec![
        (true, true, false),
        (true, true, false),
        (false, true, true),
        (false, false, true),
        (false, false, false),
        (true, true, true),
    ]);
    let hinted = (hints(["node-1", "node-2"]), hints(["zone-a", "zone-b"]));
    let hints = prop_oneof![2 => Just(None), 3 => hinted.prop_map(Some)];
    (select(addresses.to_vec()), conditions, hints).prop_map(|(text, (is_ready, is_serving, is_terminating), hints)| {
        // An address is on one node only.
        let node = if text.contains("244:2") || text.contains("244.2") {
            "node-2"
        } else {
            "node-1"
        };
        let (node_hints, zone_hints) = hints.unwrap_or_else(|| (Arc::default(), Arc::default()));
        Endpoint {
            address: address(text),
            is_ready,
            is_serving,
            is_terminating,
            node: Some(node.into()),
            zone: None,
            node_hints,
            zone_hints,
        }
    })
}

pub(crate) fn slice() -> impl Strategy<Value = EndpointSlice> {
    (0..SERVICES.len(), 0..2, select(Family::ALL.to_vec())).prop_flat_map(move |(service, number, family)| {
        let endpoints = prop::collection::vec(endpoint(family), 0..5);
        let port = (select(vec!["", "x"]), protocol(), select(vec![8080, 8081]));
        (prop::collection::vec(port, 1..4), endpoints).prop_map(move |(ports, endpoints)| EndpointSlice {
            name: slice_name(service, number, family),
            service: ServiceName::new("default", SERVICES[service]),
            family,
            ports: ports
                .into_iter()
                .map(|(name, protocol, port)| SlicePort {
                    name: name.into(),
                    protocol,
                    port,
                })
                .collect(),
            endpoints,
            last_change_trigger_micros: None,
        })
    })
}

fn slice_name(service: usize, number: i32, family: Family) -> SliceName {
    SliceName {
        namespace: "default".into(),
        name: format!("{}-{family}-{number}", SERVICES[service]).into(),
    }
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let services = prop::collection::vec(service(), 0..5);
    let slices = prop::collection::vec(slice(), 0..10);
    (services, slices, select(pod_options()), prop::bool::weighted(0.2)).prop_map(
        |(services, slices, local_pods, masquerade_all)| World {
            services: services
                .into_iter()
                .map(|service| (service.name.clone(), service))
                .collect(),
            slices: slices.into_iter().map(|slice| (slice.name.clone(), slice)).collect(),
            options: Options {
                local_pods,
                masquerade_all,
            },
        },
    )
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let removed_slice = (0..SERVICES.len(), 0..2, select(Family::ALL.to_vec()));
    prop_oneof![
        3 => service().prop_map(|service| Change::SetService(Box::new(service))),
        1 => select(SERVICES.to_vec()).prop_map(|name| Change::RemoveService(ServiceName::new("default", name))),
        4 => slice().prop_map(Change::SetSlice),
        1 => removed_slice.prop_map(|(service, number, family)| Change::RemoveSlice(slice_name(service, number, family))),
    ]
}
