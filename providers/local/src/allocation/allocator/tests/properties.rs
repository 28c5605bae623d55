//! Random lives of an allocator.

use proptest::prelude::*;

use super::*;
use crate::allocation::AddressRange;

#[derive(Debug, Clone)]
enum Act {
    Decide(Box<Request>),
    Release(u8),
    Pools(Vec<Pool>),
    Later(u64),
    Quarantine(u8, Option<u64>),
    Unquarantine(u8),
}

fn a_pool() -> impl Strategy<Value = Pool> {
    let first = 0_u8..12;
    (
        0_u8..3,
        first,
        0_u8..6,
        any::<bool>(),
        any::<bool>(),
        0_u64..3,
        any::<bool>(),
    )
        .prop_map(|(name, first, length, is_dual, auto_assign, delay, is_fenced)| {
            let mut ranges = vec![format!("10.0.0.{first}-10.0.0.{}", first + length)];
            if is_dual {
                ranges.push(format!("fd00::{first:x}-fd00::{:x}", first + length));
            }
            let texts: Vec<_> = ranges.iter().map(String::as_str).collect();
            let mut pool = pool(&format!("p{name}"), &texts);
            pool.auto_assign = auto_assign;
            pool.reuse_delay = Duration::from_secs(delay);
            if is_fenced {
                pool.takes.service_selectors = vec![selector(
                    r#"{"matchExpressions": [{"key": "app", "operator": "In", "values": ["s0", "s1"]}]}"#,
                )];
            }
            pool
        })
}

fn a_request() -> impl Strategy<Value = Request> {
    let wish = prop::option::weighted(0.2, 0_u8..16);
    (
        0_u8..8,
        0_u8..4,
        any::<bool>(),
        wish,
        prop::option::weighted(0.2, 0_u8..3),
        prop::option::of(0_u8..2),
        0_u16..3,
    )
        .prop_map(|(name, families, prefers_only, wish, pool, key, port)| Request {
            families: match families {
                0 | 1 => vec![Family::V4],
                2 => vec![Family::V4, Family::V6],
                _ => vec![Family::V6, Family::V4],
            },
            prefers_only: prefers_only && families > 1,
            addresses: wish.map(|last| IpAddr::from([10, 0, 0, last])).into_iter().collect(),
            pool: pool.map(|pool| format!("p{pool}").into()),
            sharing_key: key.map(|key| key.to_string().into()),
            ports: [(Protocol::Tcp, port)].into(),
            ..request(&format!("s{name}"))
        })
}

fn an_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => a_request().prop_map(|request| Act::Decide(Box::new(request))),
        2 => (0_u8..8).prop_map(Act::Release),
        1 => prop::collection::vec(a_pool(), 0..4).prop_map(Act::Pools),
        1 => (0_u64..4).prop_map(Act::Later),
        1 => (0_u8..16, prop::option::of(0_u64..3)).prop_map(|(last, lasts)| Act::Quarantine(last, lasts)),
        1 => (0_u8..16).prop_map(Act::Unquarantine),
    ]
}

/// Decides until nothing is to be decided again. Those that are not told of have nothing to gain.
fn settle(
    allocator: &mut Allocator,
    requests: &BTreeMap<ServiceName, Request>,
    mut queue: BTreeSet<ServiceName>,
    now: SystemTime,
) {
    queue.retain(|name| requests.contains_key(name));
    let mut rounds = 0;
    while let Some(next) = queue.pop_first() {
        rounds += 1;
        assert!(rounds < 1_000, "it never settles");
        let decision = allocator.decide(&requests[&next], now);
        queue.extend(decision.again.into_iter().filter(|name| requests.contains_key(name)));
    }
}

fn check(allocator: &mut Allocator, requests: &BTreeMap<ServiceName, Request>, now: SystemTime) {
    for (name, held) in &allocator.services {
        let request = &requests[name];
        let pool = &allocator.pools[&held.pool];
        assert!(
            pool.takes(request),
            "{name} has addresses of a pool that does not take it"
        );
        assert!(is_enough(request, &held.addresses));
        for address in &held.addresses {
            assert!(pool.has(*address) && request.families.contains(&Family::of(*address)));
            assert!(!allocator.resting.contains(*address));
            assert!(
                !allocator.quarantined.contains(*address)
                    || request.addresses.contains(address)
                    || held.adopted.contains(address)
            );
            for other in allocator.users[address].names().filter(|other| *other != name) {
                let theirs = &allocator.services[other];
                let may_share = held.sharing_key.is_some() && held.sharing_key == theirs.sharing_key;
                assert!(
                    may_share && held.ports.is_disjoint(&theirs.ports),
                    "{name} and {other} cannot be together"
                );
            }
        }
    }
    // The index of shared addresses hides none, and shows none that is not open.
    for request in requests.values() {
        let Some(key) = &request.sharing_key else { continue };
        for (pool, family) in allocator
            .pools
            .keys()
            .flat_map(|pool| Family::ALL.map(|family| (pool, family)))
        {
            let with_key = allocator
                .services
                .values()
                .filter(|held| held.sharing_key.as_ref() == Some(key) && held.pool == *pool);
            let all = |is_shown: &dyn Fn(&Assignment) -> bool| -> BTreeSet<IpAddr> {
                let shown = with_key.clone().filter(|held| is_shown(held));
                let addresses = shown.flat_map(|held| held.addresses.iter().copied());
                addresses.filter(|address| Family::of(*address) == family).collect()
            };
            let closed = all(&|held| !held.ports.is_disjoint(&request.ports));
            let open: Vec<_> = allocator.shared.open(key, pool, family, &request.ports).collect();
            let expected: BTreeSet<_> = all(&|_| true).difference(&closed).copied().collect();
            assert_eq!(open.iter().copied().collect::<BTreeSet<_>>(), expected);
            assert_eq!(open.len(), expected.len());
        }
    }
    // Deciding again changes nothing, so that nobody was forgotten.
    for request in requests.values() {
        let before = allocator.services.get(&request.service).cloned();
        let decision = allocator.decide(request, now);
        assert_eq!(allocator.services.get(&request.service), before.as_ref(), "{request:?}");
        assert_eq!(decision.again, BTreeSet::new());
    }
    // A restart moves nothing, whatever the order, and the index of what is taken is right.
    let mut restarted = Allocator::default();
    restarted.set_pools(allocator.pools.values().cloned().collect());
    let all: [AddressRange; 2] = ["10.0.0.0/24", "fd00::/64"].map(|text| text.parse().unwrap());
    for (address, quarantine) in all.iter().flat_map(|range| allocator.quarantined.within(range)) {
        restarted.quarantine(address, quarantine.clone());
    }
    for (name, request) in requests.iter().rev() {
        let held = allocator
            .services
            .get(name)
            .map(|held| held.addresses.clone())
            .unwrap_or_default();
        restarted.restore(&Request {
            is_adopted: allocator
                .services
                .get(name)
                .is_some_and(|held| !held.adopted.is_empty()),
            held,
            ..request.clone()
        });
    }
    for (name, held) in &allocator.services {
        assert_eq!(
            restarted.services.get(name).map(|again| &again.addresses),
            Some(&held.addresses),
            "{name} moves"
        );
    }
    let expected: BTreeSet<_> = allocator
        .users
        .keys()
        .copied()
        .chain(allocator.quarantined.within(&all[0]).map(|(address, _)| address))
        .chain(allocator.resting.within(&all[0]).map(|(address, _)| address))
        .filter(IpAddr::is_ipv4)
        .collect();
    assert_eq!(allocator.taken.count(&all[0]), expected.len() as u128);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_gets_what_is_not_for_them_and_nothing_moves_by_itself(acts in prop::collection::vec(an_act(), 1..40)) {
        let mut allocator = allocator(&[pool("p0", &["10.0.0.0-10.0.0.3", "fd00::0-fd00::3"]), pool("p1", &["10.0.0.4-10.0.0.7"])]);
        let mut requests = BTreeMap::new();
        let mut seconds = 0;
        for act in acts {
            let again = match act {
                Act::Decide(request) => {
                    let moved = allocator.services.clone();
                    let name = request.service.clone();
                    requests.insert(name.clone(), Request::clone(&request));
                    let again = allocator.decide(&request, at(seconds)).again;
                    for (other, before) in moved.iter().filter(|(other, _)| **other != name) {
                        prop_assert_eq!(&allocator.services[other].addresses, &before.addresses, "a decision moves another");
                    }
                    again
                }
                Act::Release(number) => {
                    let name = service(&format!("s{number}"));
                    requests.remove(&name);
                    allocator.release(&name, at(seconds))
                }
                Act::Pools(pools) => {
                    allocator.set_pools(pools);
                    requests.keys().cloned().collect()
                }
                Act::Later(more) => {
                    seconds += more;
                    // Now and then a decision comes first.
                    if more == 1 { BTreeSet::new() } else { allocator.expire(at(seconds)) }
                }
                Act::Quarantine(last, lasts) => {
                    let until = lasts.map(|lasts| at(seconds + lasts));
                    allocator.quarantine(IpAddr::from([10, 0, 0, last]), stranger(until))
                }
                Act::Unquarantine(last) => allocator.unquarantine(IpAddr::from([10, 0, 0, last])),
            };
            settle(&mut allocator, &requests, again, at(seconds));
            if allocator.next_deadline().is_none_or(|deadline| deadline > at(seconds)) {
                check(&mut allocator, &requests, at(seconds));
            }
        }
    }
}
