//! Who is to be decided again, and what a change leaves alone.

use super::*;

#[test]
fn deciding_again_wakes_nobody() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1/32"])]);
    allocator.decide(&sharing("one", "k", 80), T0);
    let joined = allocator.decide(&sharing("two", "k", 443), T0);
    assert_eq!(joined.again, BTreeSet::new(), "it takes nothing from whom it joins");
    for request in [sharing("one", "k", 80), sharing("two", "k", 443)] {
        assert_eq!(
            allocator.decide(&request, T0).again,
            BTreeSet::new(),
            "{}",
            request.service
        );
    }
}

#[test]
fn a_rest_that_ends_unnoticed_wakes_who_waits_for_it() {
    let mut slow = pool("a", &["198.51.100.1-198.51.100.2"]);
    slow.reuse_delay = Duration::from_mins(1);
    let mut allocator = allocator(&[slow]);
    for name in ["one", "two"] {
        allocator.decide(&request(name), T0);
        allocator.release(&service(name), T0);
    }
    assert!(allocator.decide(&request("waits"), at(1)).refusal.is_some());
    // Another Service is looked at after the end of the rests, and before anybody asks which have ended.
    let other = allocator.decide(&request("other"), at(61));
    assert_eq!(other.addresses, addresses(&["198.51.100.1"]));
    assert_eq!(other.again, [service("waits")].into());
    assert_eq!(allocator.next_deadline(), None);
}

#[test]
fn a_service_that_begins_to_share_wakes_those_with_its_key() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1/32"])]);
    allocator.decide(&request("one"), T0);
    assert!(allocator.says(&sharing("two", "k", 443)).contains("PoolExhausted"));
    assert!(allocator.says(&sharing("three", "l", 443)).contains("PoolExhausted"));
    let changed = allocator.decide(&sharing("one", "k", 80), T0);
    assert_eq!(changed.again, [service("two")].into());
    assert_eq!(allocator.says(&sharing("two", "k", 443)), "198.51.100.1 of pool a");
}

#[test]
fn a_port_that_becomes_free_wakes_those_with_the_same_key() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1/32"])]);
    allocator.decide(&sharing("one", "k", 80), T0);
    assert!(allocator.says(&sharing("two", "k", 80)).contains("PoolExhausted"));
    let changed = allocator.decide(&sharing("one", "k", 81), T0);
    assert_eq!(changed.again, [service("two")].into());
    assert_eq!(allocator.says(&sharing("two", "k", 80)), "198.51.100.1 of pool a");
}

#[test]
fn a_service_without_one_of_its_families_is_told_when_it_can_have_it() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1-198.51.100.9", "2001:db8::1/128"])]);
    let mut six = request("six");
    six.families = vec![Family::V6];
    allocator.decide(&six, T0);
    assert_eq!(allocator.says(&dual("web", true)), "198.51.100.1 of pool a");
    assert_eq!(allocator.release(&service("six"), T0), [service("web")].into());
    assert_eq!(
        allocator.says(&dual("web", true)),
        "198.51.100.1, 2001:db8::1 of pool a"
    );
}

#[test]
fn a_service_that_loses_one_address_keeps_the_other_where_its_pool_has_more() {
    for prefers_only in [true, false] {
        let mut allocator = allocator(&[
            pool("a", &["198.51.100.1-198.51.100.9", "2001:db8::1-2001:db8::9"]),
            pool("b", &["203.0.113.1-203.0.113.9", "2001:db8:1::1-2001:db8:1::9"]),
        ]);
        allocator.decide(&dual("web", prefers_only), T0);
        allocator.quarantine("2001:db8::1".parse().unwrap(), stranger(None));
        assert_eq!(
            allocator.says(&dual("web", prefers_only)),
            "198.51.100.1, 2001:db8::2 of pool a"
        );
    }
}

#[test]
fn an_older_pool_that_grows_into_another_takes_nothing_from_it() {
    let (a, b) = (pool("a", &["198.51.100.0/25"]), pool("b", &["198.51.100.128/25"]));
    let mut allocator = allocator(&[a.clone(), b.clone()]);
    let mut web = request("web");
    web.pool = Some("b".into());
    assert_eq!(allocator.says(&web), "198.51.100.128 of pool b");
    let grown = pool("a", &["198.51.100.0/24"]);
    let faults = allocator.set_pools(vec![grown, b.clone()]);
    let said: Vec<_> = faults.iter().map(|(name, fault)| format!("{name}: {fault}")).collect();
    assert_eq!(
        said,
        ["a: spec.addresses: 198.51.100.128-198.51.100.255 is in AddressPool b too"]
    );
    assert_eq!(allocator.says(&web), "198.51.100.128 of pool b");

    // Not even when the other one is to change as well, and cannot: what it had before it keeps.
    let twice = pool("b", &["203.0.113.0/24", "203.0.113.7/32"]);
    let faults = allocator.set_pools(vec![pool("a", &["198.51.100.0/24"]), twice]);
    assert_eq!(faults.len(), 2);
    assert_eq!(allocator.says(&web), "198.51.100.128 of pool b");

    // Pools that change places are right, as long as they are it together.
    let (a, b) = (pool("b", &["198.51.100.0/25"]), pool("a", &["198.51.100.128/25"]));
    assert_eq!(allocator.set_pools(vec![a, b]), BTreeMap::new());
}

#[test]
fn a_pool_for_all_can_say_when_it_is_tried_and_that_there_is_no_other() {
    let mut meant = pool("meant", &["198.51.100.1/32"]);
    meant.takes.namespaces = ["shop".to_owned()].into();
    let mut urgent = pool("urgent", &["203.0.113.1/32"]);
    urgent.takes.priority = Some(5);
    let open = pool("open", &["203.0.113.2/32"]);
    let mut pools = [meant, urgent, open];
    let mut in_order = allocator(&pools);
    for (name, said) in [
        ("one", "203.0.113.1 of pool urgent"),
        ("two", "198.51.100.1 of pool meant"),
        ("three", "203.0.113.2 of pool open"),
    ] {
        assert_eq!(in_order.says(&request(name)), said);
    }
    pools[1].takes.is_exclusive = true;
    let mut fenced = allocator(&pools);
    fenced.decide(&request("one"), T0);
    fenced.decide(&request("two"), T0);
    assert_eq!(
        fenced.says(&request("three")),
        "no address (PoolExhausted: every address of urgent, meant is taken)"
    );
}

#[test]
fn an_address_rests_after_its_pool_was_made_anew() {
    let mut slow = pool("a", &["198.51.100.1/32"]);
    slow.reuse_delay = Duration::from_mins(1);
    let mut allocator = allocator(&[slow.clone()]);
    allocator.decide(&request("web"), T0);
    allocator.set_pools(Vec::new());
    assert_eq!(allocator.decide(&request("web"), at(1)).addresses, Vec::<IpAddr>::new());
    allocator.set_pools(vec![slow]);
    assert!(allocator.decide(&request("other"), at(2)).refusal.is_some());
    assert_eq!(
        allocator.decide(&request("web"), at(3)).addresses,
        addresses(&["198.51.100.1"])
    );
}

#[test]
fn who_needs_both_families_is_told_that_no_pool_has_them() {
    let mut allocator = allocator(&[pool("v4", &["198.51.100.1/32"]), pool("v6", &["2001:db8::1/128"])]);
    assert_eq!(
        allocator.says(&dual("must", false)),
        "no address (FamilyMismatch: the Service is RequireDualStack, and none of v4, v6 has addresses of both IP families)"
    );
}

/// What has to be looked at does not grow with the number of addresses that rest, nor with that of the Services that wait.
#[test]
fn ten_thousand_services_come_and_go_one_by_one() {
    let mut slow = pool("a", &["10.0.0.0/8"]);
    slow.reuse_delay = Duration::from_mins(1);
    let mut allocator = allocator(&[slow]);
    for number in 0..10_000 {
        allocator.decide(&request(&format!("s{number}")), T0);
    }
    let mut nowhere = request("nowhere");
    nowhere.pool = Some("none".into());
    assert!(allocator.decide(&nowhere, T0).refusal.is_some());
    for number in 0..10_000 {
        let again = allocator.release(&service(&format!("s{number}")), T0);
        assert_eq!(again, BTreeSet::new(), "an address that rests is for nobody");
    }
    let before = allocator.looks();
    for number in (0..10_000).rev() {
        let [_, b, c, d] = u32::to_be_bytes(number);
        let back = allocator.decide(&request(&format!("s{number}")), at(1));
        assert_eq!(back.addresses, [IpAddr::from([10, b, c, d])]);
    }
    assert_eq!(allocator.looks() - before, 10_000);
}

/// A newcomer looks neither at every address of its key nor at everybody who shares an address, and wakes none of them.
#[test]
fn thousands_of_services_with_one_key_do_not_look_at_each_other() {
    let mut allocator = allocator(&[pool("a", &["10.0.0.0/8"])]);
    let join = |allocator: &mut Allocator, name: String, port: u16| {
        let joined = allocator.decide(&sharing(&name, "k", port), T0);
        assert_eq!((joined.refusal, joined.again), (None, BTreeSet::new()), "{name}");
        joined.addresses[0]
    };
    // Each needs an address of its own, and others have every second one.
    for number in 0..4_000 {
        allocator.decide(&request(&format!("alone-{number}")), T0);
        join(&mut allocator, format!("web-{number}"), 80);
    }
    // All of these fit to the first one.
    let first = allocator.services[&service("web-0")].addresses[0];
    for number in 0..4_000 {
        assert_eq!(join(&mut allocator, format!("port-{number}"), 1000 + number), first);
    }
    // Places that are left are found again, wherever they are.
    for number in (0..4_000).step_by(2) {
        allocator.release(&service(&format!("web-{number}")), T0);
    }
    let before = allocator.looks();
    for number in 0..4_000 {
        join(&mut allocator, format!("again-{number}"), 80);
    }
    assert!(
        allocator.looks() - before < 3 * 4_000,
        "{} looks",
        allocator.looks() - before
    );
    assert!(before < 4 * 12_000, "{before} looks");
}

#[test]
fn a_service_that_gives_way_wakes_those_with_the_key_of_who_stays() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1/32"])]);
    allocator.decide(&sharing("one", "l", 80), T0);
    allocator.decide(&sharing("two", "l", 443), T0);
    assert!(allocator.says(&sharing("waits", "k", 443)).contains("PoolExhausted"));
    let changed = allocator.decide(&sharing("one", "k", 80), T0);
    assert_eq!(changed.again, [service("two"), service("waits")].into());
    // It is looked at too early.
    assert!(allocator.says(&sharing("waits", "k", 443)).contains("PoolExhausted"));
    let gone = allocator.decide(&sharing("two", "l", 443), T0);
    assert_eq!(gone.addresses, Vec::<IpAddr>::new());
    assert!(gone.again.contains(&service("waits")));
    assert_eq!(allocator.says(&sharing("waits", "k", 443)), "198.51.100.1 of pool a");
}
