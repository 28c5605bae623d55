use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select as one_of;

use super::*;
use crate::{Family, Protocol, SlicePort, TrafficPolicy};

fn service_name(name: &str) -> ServiceName {
    ServiceName::new("shop", name)
}

fn slice_name(name: &str) -> SliceName {
    SliceName {
        namespace: "shop".into(),
        name: name.into(),
    }
}

/// A Service; another variant is another value.
fn service(name: &str, variant: u8) -> Change {
    let name = service_name(name);
    let service = Service {
        name: name.clone(),
        cluster_ips: vec!["10.96.0.1".parse().expect("address")],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        ports: Vec::new(),
        affinity: Some(Duration::from_secs(variant.into())),
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        uid: None,
    };
    Change::Service(name, Some(Arc::new(service)))
}

/// A slice of a Service; another variant is another value.
fn slice(name: &str, service: &str, variant: u16) -> Change {
    let name = slice_name(name);
    let slice = EndpointSlice {
        name: name.clone(),
        service: service_name(service),
        family: Family::V4,
        ports: vec![SlicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80 + variant,
        }],
        endpoints: Vec::new(),
        last_change_trigger_micros: None,
    };
    Change::EndpointSlice(name, Some(Arc::new(slice)))
}

fn node(zone: Option<&str>, is_eligible: bool) -> Change {
    Change::Node(Some(Node {
        name: "n1".into(),
        zone: zone.map(Into::into),
        is_eligible,
        ..Node::default()
    }))
}

fn service_cidr(name: &str, cidr: &str) -> Change {
    let name = Arc::<str>::from(name);
    let object = ServiceCidr {
        name: Arc::clone(&name),
        cidrs: vec![cidr.parse().expect("net")],
    };
    Change::ServiceCidr(name, Some(object))
}

fn services(names: &[&str]) -> Touched {
    Touched {
        services: names.iter().map(|name| service_name(name)).collect(),
        ..Touched::default()
    }
}

fn slice_names(cluster: &Cluster, service: &str) -> Vec<String> {
    cluster
        .slices(&service_name(service))
        .map(|slice| slice.name.name.to_string())
        .collect()
}

#[test]
fn a_service_touches_itself_once() {
    let mut cluster = Cluster::default();
    assert_eq!(cluster.apply(service("a", 1)), services(&["a"]));
    assert_eq!(cluster.apply(service("a", 1)), services(&[]), "nothing new");
    assert_eq!(cluster.apply(service("a", 2)), services(&["a"]));
    assert_eq!(
        cluster.apply(Change::Service(service_name("a"), None)),
        services(&["a"])
    );
    assert_eq!(cluster.apply(Change::Service(service_name("a"), None)), services(&[]));
    assert_eq!(cluster.services().count(), 0);
}

#[test]
fn a_slice_touches_its_service_known_or_not() {
    let mut cluster = Cluster::default();
    assert_eq!(cluster.apply(slice("s1", "a", 0)), services(&["a"]));
    assert_eq!(cluster.apply(slice("s1", "a", 0)), services(&[]), "nothing new");
    assert_eq!(cluster.apply(slice("s0", "a", 0)), services(&["a"]));
    assert_eq!(slice_names(&cluster, "a"), ["s0", "s1"]);
    assert_eq!(cluster.apply(service("a", 1)), services(&["a"]));
    assert_eq!(cluster.apply(slice("s1", "a", 1)), services(&["a"]));
    assert_eq!(slice_names(&cluster, "a"), ["s0", "s1"]);
    assert_eq!(
        cluster.apply(Change::EndpointSlice(slice_name("s0"), None)),
        services(&["a"])
    );
    assert_eq!(
        cluster.apply(Change::EndpointSlice(slice_name("s0"), None)),
        services(&[])
    );
    assert_eq!(slice_names(&cluster, "a"), ["s1"]);
}

#[test]
fn a_slice_that_moves_touches_both_services() {
    let mut cluster = Cluster::default();
    cluster.apply(slice("s", "a", 0));
    assert_eq!(cluster.apply(slice("s", "b", 0)), services(&["a", "b"]));
    assert_eq!(slice_names(&cluster, "a"), [""; 0]);
    assert_eq!(slice_names(&cluster, "b"), ["s"]);
}

#[test]
fn slices_of_one_name_in_two_namespaces_are_two() {
    let mut cluster = Cluster::default();
    cluster.apply(slice("s", "a", 0));
    let Change::EndpointSlice(mut name, Some(other)) = slice("s", "a", 0) else {
        unreachable!()
    };
    name.namespace = "other".into();
    let moved = EndpointSlice {
        name: name.clone(),
        service: ServiceName::new("other", "a"),
        ..(*other).clone()
    };
    let touched = cluster.apply(Change::EndpointSlice(name, Some(Arc::new(moved))));
    assert_eq!(
        touched.services.into_iter().collect::<Vec<_>>(),
        [ServiceName::new("other", "a")]
    );
    assert_eq!(slice_names(&cluster, "a"), ["s"]);
}

#[test]
fn a_new_zone_touches_every_known_service_and_another_change_of_the_node_none() {
    let node_only = Touched {
        node: true,
        ..Touched::default()
    };
    let mut cluster = Cluster::default();
    cluster.apply(service("a", 0));
    cluster.apply(service("b", 0));
    cluster.apply(slice("s", "unknown", 0));
    assert_eq!(cluster.apply(node(None, true)), node_only);
    assert_eq!(cluster.apply(node(None, true)), Touched::default());
    assert_eq!(
        cluster.apply(node(Some("a"), true)),
        Touched {
            node: true,
            ..services(&["a", "b"])
        }
    );
    assert_eq!(cluster.apply(node(Some("a"), false)), node_only);
    assert_eq!(
        cluster.apply(node(Some("b"), false)),
        Touched {
            node: true,
            ..services(&["a", "b"])
        }
    );
    assert_eq!(
        cluster.apply(Change::Node(None)),
        Touched {
            node: true,
            ..services(&["a", "b"])
        }
    );
    assert_eq!(cluster.apply(Change::Node(None)), Touched::default());
}

#[test]
fn service_cidrs_are_told_apart_by_name() {
    let changed = Touched {
        service_cidrs: true,
        ..Touched::default()
    };
    let ranges = |cluster: &Cluster| cluster.service_cidrs().map(|net| net.to_string()).collect::<Vec<_>>();
    let mut cluster = Cluster::default();
    assert_eq!(cluster.apply(service_cidr("b", "10.97.0.0/16")), changed);
    assert_eq!(cluster.apply(service_cidr("b", "10.97.0.0/16")), Touched::default());
    assert_eq!(cluster.apply(service_cidr("a", "fd00::/112")), changed);
    assert_eq!(ranges(&cluster), ["fd00::/112", "10.97.0.0/16"]);
    assert_eq!(cluster.apply(service_cidr("b", "10.98.0.0/16")), changed);
    assert_eq!(cluster.apply(Change::ServiceCidr("a".into(), None)), changed);
    assert_eq!(cluster.apply(Change::ServiceCidr("a".into(), None)), Touched::default());
    assert_eq!(ranges(&cluster), ["10.98.0.0/16"]);
}

#[test]
fn the_cluster_is_complete_when_all_four_lists_are() {
    let mut cluster = Cluster::default();
    for kind in [Kind::Service, Kind::EndpointSlice, Kind::EndpointSlice, Kind::Node] {
        assert_eq!(cluster.apply(Change::InitialListComplete(kind)), Touched::default());
        assert!(!cluster.is_complete());
    }
    cluster.apply(Change::InitialListComplete(Kind::ServiceCidr));
    assert!(cluster.is_complete());
}

fn any_change() -> impl Strategy<Value = Change> {
    let names = || one_of(vec!["a", "b", "c"]);
    let slice_names = || one_of(vec!["s0", "s1", "s2", "s3"]);
    prop_oneof![
        (names(), 0..2_u8).prop_map(|(name, variant)| service(name, variant)),
        names().prop_map(|name| Change::Service(service_name(name), None)),
        (slice_names(), names(), 0..2_u16).prop_map(|(name, service, variant)| slice(name, service, variant)),
        slice_names().prop_map(|name| Change::EndpointSlice(slice_name(name), None)),
        (one_of(vec![None, Some("a"), Some("b")]), any::<bool>()).prop_map(|(zone, eligible)| node(zone, eligible)),
        Just(Change::Node(None)),
        (names(), one_of(vec!["10.96.0.0/16", "fd00::/112"])).prop_map(|(name, cidr)| service_cidr(name, cidr)),
        names().prop_map(|name| Change::ServiceCidr(name.into(), None)),
    ]
}

/// Everything that ever came last, with nothing kept sorted or by owner.
#[derive(Debug, Default, Clone)]
struct Naive {
    services: BTreeMap<ServiceName, Service>,
    slices: BTreeMap<SliceName, EndpointSlice>,
    node: Option<Node>,
    service_cidrs: BTreeMap<Arc<str>, ServiceCidr>,
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

impl Naive {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Service(name, value) => put(&mut self.services, name, value.map(|value| (*value).clone())),
            Change::EndpointSlice(name, value) => put(&mut self.slices, name, value.map(|value| (*value).clone())),
            Change::Node(node) => self.node = node,
            Change::ServiceCidr(name, value) => put(&mut self.service_cidrs, name, value),
            Change::InitialListComplete(_) => {}
        }
    }

    /// All that the rules of one Service follow from, but for the node.
    fn view(&self, name: &ServiceName) -> (Option<&Service>, Vec<&EndpointSlice>) {
        (
            self.services.get(name),
            self.slices.values().filter(|slice| slice.service == *name).collect(),
        )
    }

    /// What is different between two moments.
    fn difference(&self, later: &Self) -> Touched {
        let zone = |naive: &Self| naive.node.as_ref().and_then(|node| node.zone.clone());
        let mut touched = Touched {
            services: ["a", "b", "c"].map(service_name).into_iter().collect(),
            node: self.node != later.node,
            service_cidrs: self.service_cidrs != later.service_cidrs,
        };
        let is_new_zone = zone(self) != zone(later);
        touched
            .services
            .retain(|name| self.view(name) != later.view(name) || (is_new_zone && later.services.contains_key(name)));
        touched
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_touched_is_exactly_what_is_different(changes in vec(any_change(), 0..40)) {
        let mut cluster = Cluster::default();
        let mut naive = Naive::default();
        for change in changes {
            let before = naive.clone();
            naive.apply(change.clone());
            prop_assert_eq!(cluster.apply(change.clone()), before.difference(&naive), "{:?}", change);
            prop_assert_eq!(cluster.apply(change.clone()), Touched::default(), "again: {:?}", change);

            for name in ["a", "b", "c"].map(service_name) {
                let (service, slices) = naive.view(&name);
                prop_assert_eq!(cluster.service(&name).map(Arc::as_ref), service);
                prop_assert_eq!(cluster.slices(&name).collect::<Vec<_>>(), slices);
            }
            prop_assert_eq!(cluster.services().count(), naive.services.len());
            prop_assert_eq!(cluster.node(), naive.node.as_ref());
            let ranges = naive.service_cidrs.values().flat_map(|object| object.cidrs.clone());
            prop_assert_eq!(cluster.service_cidrs().collect::<Vec<_>>(), ranges.collect::<Vec<_>>());
            // Nothing is left behind for Services without slices.
            let with_slices: BTreeSet<_> = naive.slices.values().map(|slice| &slice.service).collect();
            prop_assert_eq!(cluster.slices.len(), with_slices.len());
            prop_assert_eq!(cluster.slice_by_name.len(), naive.slices.len());
        }
    }
}
