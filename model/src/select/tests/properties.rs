//! Properties of the choice over random slices, from ranges so small that endpoints clash.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select as one_of, subsequence};

use super::*;

const PORTS: [(&str, Protocol, u16); 4] = [
    ("", Protocol::Tcp, 80),
    ("", Protocol::Tcp, 81),
    ("", Protocol::Udp, 80),
    ("http", Protocol::Tcp, 80),
];

fn any_endpoint(family: Family) -> impl Strategy<Value = Endpoint> {
    let node = proptest::option::of(one_of(vec!["n1", "n2"]));
    let node_hints = subsequence(vec!["n1", "n2"], 0..=2);
    let zone_hints = subsequence(vec!["a", "b"], 0..=2);
    (1..5_u8, any::<[bool; 3]>(), node, node_hints, zone_hints).prop_map(
        move |(last, [is_ready, is_serving, is_terminating], node, node_hints, zone_hints)| Endpoint {
            address: address(family, last),
            is_ready,
            is_serving,
            is_terminating,
            node: node.map(Arc::from),
            zone: None,
            node_hints: hints(&node_hints),
            zone_hints: hints(&zone_hints),
        },
    )
}

fn any_slice() -> impl Strategy<Value = EndpointSlice> {
    one_of(Family::ALL.to_vec()).prop_flat_map(|family| {
        (subsequence(PORTS.to_vec(), 0..=4), vec(any_endpoint(family), 0..5))
            .prop_map(move |(ports, endpoints)| slice("s", family, &ports, endpoints))
    })
}

/// The rules said once more, endpoint by endpoint and without a thought for speed.
fn expected(slices: &[EndpointSlice], family: Family, here: Here<'_>) -> [Vec<Backend>; 2] {
    let rank = |e: &Endpoint| {
        (
            e.is_terminating,
            !e.is_ready,
            !e.is_serving,
            e.node.as_deref() != Some(here.node),
        )
    };
    let mut winners = BTreeMap::<(IpAddr, u16), &Endpoint>::new();
    for slice in slices.iter().filter(|slice| slice.family == family) {
        for port in slice
            .ports
            .iter()
            .filter(|port| port.name.is_empty() && port.protocol == Protocol::Tcp)
        {
            for endpoint in &slice.endpoints {
                let winner = winners.entry((endpoint.address, port.port)).or_insert(endpoint);
                if rank(endpoint) < rank(winner) {
                    *winner = endpoint;
                }
            }
        }
    }
    let backends = |chosen: &dyn Fn(&Endpoint) -> bool| {
        let chosen = winners.iter().filter(|(_, endpoint)| chosen(endpoint));
        let backend = |(&(address, port), endpoint): (&(IpAddr, u16), &&Endpoint)| Backend {
            address,
            port,
            is_local: endpoint.node.as_deref() == Some(here.node),
        };
        chosen.map(backend).collect::<Vec<_>>()
    };
    let is_local = |e: &Endpoint| e.node.as_deref() == Some(here.node);
    let is_leaving = |e: &Endpoint| !e.is_ready && e.is_serving && e.is_terminating;
    let names = |hints: &[Arc<str>], name: Option<&str>| hints.iter().any(|hint| Some(&**hint) == name);
    let ready: Vec<_> = winners.values().filter(|e| e.is_ready).collect();
    let by_node =
        ready.iter().all(|e| !e.node_hints.is_empty()) && ready.iter().any(|e| names(&e.node_hints, Some(here.node)));
    let by_zone =
        ready.iter().all(|e| !e.zone_hints.is_empty()) && ready.iter().any(|e| names(&e.zone_hints, here.zone));
    let cluster = if ready.is_empty() {
        backends(&is_leaving)
    } else if by_node {
        backends(&|e| e.is_ready && names(&e.node_hints, Some(here.node)))
    } else if by_zone {
        backends(&|e| e.is_ready && names(&e.zone_hints, here.zone))
    } else {
        backends(&|e| e.is_ready)
    };
    let mut local = backends(&|e| e.is_ready && is_local(e));
    if local.is_empty() {
        local = backends(&|e| is_leaving(e) && is_local(e));
    }
    [cluster, local]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_sets_are_those_of_the_rules(
        slices in vec(any_slice(), 0..4),
        family in one_of(Family::ALL.to_vec()),
        zone in proptest::option::of(one_of(vec!["a", "b", "c"])),
    ) {
        let here = Here { node: "n1", zone };
        let selection = select(slices.iter(), "", Protocol::Tcp, family, here);
        let [cluster, local] = expected(&slices, family, here);
        prop_assert_eq!(selection.cluster().collect::<Vec<_>>(), cluster);
        prop_assert_eq!(selection.local().collect::<Vec<_>>(), local);
    }

    #[test]
    fn every_selection_keeps_its_promises(slices in vec(any_slice(), 0..4)) {
        let selection = select(slices.iter(), "", Protocol::Tcp, Family::V4, HERE);
        let candidates = &selection.candidates;
        let keys: Vec<_> = candidates.iter().map(|c| (c.backend.address, c.backend.port)).collect();
        prop_assert!(keys.is_sorted_by(|a, b| a < b), "each once, in order");
        // Locality and readiness of the cluster set.
        let is_usable = |c: &Candidate| c.is_ready || matches!(c.cluster, ChosenTerminating);
        prop_assert_eq!(selection.cluster().next().is_none(), !candidates.iter().any(is_usable));
        prop_assert!(selection.local().all(|backend| backend.is_local));
        for candidate in candidates {
            prop_assert_eq!(candidate.backend.is_local, candidate.local != NotLocal);
            prop_assert!(!matches!(candidate.local, OtherNode | OtherZone));
            prop_assert!(candidate.cluster != NotLocal);
            let is_out_of_service = matches!(candidate.cluster, NotReady | Terminating | ChosenTerminating);
            prop_assert_eq!(is_out_of_service, !candidate.is_ready);
        }
        // Nobody is in the cluster set as terminating beside one that is ready.
        let mixed = candidates.iter().any(|c| c.cluster == ChosenTerminating) && candidates.iter().any(|c| c.is_ready);
        prop_assert!(!mixed);
        let reversed = select(slices.iter().rev(), "", Protocol::Tcp, Family::V4, HERE);
        let keys_reversed: Vec<_> = reversed.candidates.iter().map(|c| (c.backend, c.is_ready, c.is_serving)).collect();
        let keys: Vec<_> = candidates.iter().map(|c| (c.backend, c.is_ready, c.is_serving)).collect();
        prop_assert_eq!(keys, keys_reversed, "the slices' order decides neither conditions nor locality");
    }
}
