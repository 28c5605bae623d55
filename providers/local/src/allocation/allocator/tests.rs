use std::time::Duration;

use super::*;
use crate::allocation::{Selector, Takes};

mod again;
mod properties;
mod quarantine;

const T0: SystemTime = SystemTime::UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    T0 + Duration::from_secs(seconds)
}

fn pool(name: &str, ranges: &[&str]) -> Pool {
    Pool {
        name: name.into(),
        provider: None,
        ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
        auto_assign: true,
        avoid_buggy: false,
        takes: Takes::default(),
        reuse_delay: Duration::ZERO,
    }
}

fn service(name: &str) -> ServiceName {
    ServiceName::new("shop", name)
}

fn request(name: &str) -> Request {
    Request {
        service: service(name),
        provider: "metal".into(),
        namespace_labels: [("team".to_owned(), "shop".to_owned())].into(),
        labels: [("app".to_owned(), name.to_owned())].into(),
        families: vec![Family::V4],
        prefers_only: false,
        addresses: Vec::new(),
        pool: None,
        sharing_key: None,
        ports: [(Protocol::Tcp, 80)].into(),
        held: Vec::new(),
        is_adopted: false,
    }
}

fn dual(name: &str, prefers_only: bool) -> Request {
    Request {
        families: vec![Family::V4, Family::V6],
        prefers_only,
        ..request(name)
    }
}

fn allocator(pools: &[Pool]) -> Allocator {
    let mut allocator = Allocator::default();
    assert_eq!(allocator.set_pools(pools.to_vec()), BTreeMap::new());
    allocator
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn stranger(until: Option<SystemTime>) -> Quarantine {
    Quarantine {
        mac: "02:00:00:00:09:09".to_owned(),
        node: "n2".to_owned(),
        until,
    }
}

impl Allocator {
    /// The decision in one line.
    fn says(&mut self, request: &Request) -> String {
        self.decide(request, T0).to_string()
    }
}

fn selector(json: &str) -> Selector {
    (&serde_json::from_str::<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>(json).unwrap())
        .try_into()
        .unwrap()
}

#[test]
fn the_lowest_free_address_is_given_and_kept() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1-198.51.100.2"])]);
    assert_eq!(allocator.says(&request("one")), "198.51.100.1 of pool a");
    assert_eq!(allocator.says(&request("two")), "198.51.100.2 of pool a");
    assert_eq!(
        allocator.says(&request("three")),
        "no address (PoolExhausted: every address of a is taken)"
    );
    assert_eq!(allocator.says(&request("one")), "198.51.100.1 of pool a");
    assert_eq!(allocator.release(&service("one"), T0), [service("three")].into());
    assert_eq!(allocator.says(&request("three")), "198.51.100.1 of pool a");
}

#[test]
fn a_released_address_rests_for_all_but_its_last_service() {
    let mut slow = pool("a", &["198.51.100.1/32"]);
    slow.reuse_delay = Duration::from_mins(1);
    let mut allocator = allocator(&[slow]);
    allocator.decide(&request("one"), T0);
    allocator.release(&service("one"), T0);
    assert_eq!(
        allocator.decide(&request("two"), at(20)).to_string(),
        "no address (PoolExhausted: every address of a is taken; 198.51.100.1 can be given out at 1970-01-01T00:01:00Z)"
    );
    assert_eq!(allocator.next_deadline(), Some(at(60)));
    assert_eq!(allocator.usage("a", Family::V4).unwrap().available, 1);
    let mut again = Allocator::default();
    again.set_pools(allocator.pools.values().cloned().collect());
    for (address, rest) in allocator.resting("a") {
        again.restore_rest(address, rest.clone());
    }
    assert!(
        again.decide(&request("two"), at(59)).refusal.is_some(),
        "a rest outlives the process"
    );
    assert_eq!(
        again.says(&request("one")),
        "198.51.100.1 of pool a",
        "and so does whose it is"
    );

    assert_eq!(
        allocator.decide(&request("one"), at(30)).addresses,
        addresses(&["198.51.100.1"])
    );
    allocator.release(&service("one"), at(30));
    assert_eq!(allocator.expire(at(90)), [service("two")].into());
    assert_eq!(
        allocator.decide(&request("two"), at(90)).addresses,
        addresses(&["198.51.100.1"])
    );
    // Who asks for it by name knows what it does.
    allocator.release(&service("two"), at(90));
    let mut three = request("three");
    three.addresses = addresses(&["198.51.100.1"]);
    assert_eq!(allocator.decide(&three, at(91)).addresses, three.addresses);
}

#[test]
fn requested_addresses_are_given_or_refused_with_the_reason() {
    let mut buggy = pool("buggy", &["203.0.113.0/24"]);
    buggy.avoid_buggy = true;
    buggy.auto_assign = false;
    let mut fenced = pool("fenced", &["192.168.7.0/24"]);
    fenced.takes.namespaces = ["bank".to_owned()].into();
    let mut allocator = allocator(&[pool("a", &["198.51.100.0/24", "2001:db8::/120"]), buggy, fenced]);
    allocator.decide(&request("other"), T0);
    let mut ask = |texts: &[&str], from: Option<&str>| {
        let mut request = request("web");
        request.addresses = addresses(texts);
        request.pool = from.map(Into::into);
        let decision = allocator.decide(&request, T0);
        allocator.release(&service("web"), T0);
        decision.to_string()
    };
    assert_eq!(ask(&["198.51.100.255"], None), "198.51.100.255 of pool a");
    assert_eq!(ask(&["203.0.113.7"], None), "203.0.113.7 of pool buggy");
    assert_eq!(ask(&["203.0.113.7"], Some("buggy")), "203.0.113.7 of pool buggy");
    for (texts, from, refusal) in [
        (
            &["198.51.100.0"][..],
            None,
            "AddressInUse: Service shop/other has 198.51.100.0 and does not share it with this one",
        ),
        (&["10.0.0.1"], None, "AddressNotInPool: 10.0.0.1 is in no AddressPool"),
        (
            &["198.51.100.9"],
            Some("buggy"),
            "AddressNotInPool: 198.51.100.9 is in AddressPool a, and AddressPool buggy is asked for",
        ),
        (
            &["203.0.113.255"],
            None,
            "AddressReserved: AddressPool buggy leaves out addresses like 203.0.113.255 (avoidBuggyIPs)",
        ),
        (
            &["192.168.7.1"],
            None,
            "PoolNotAllowed: AddressPool fenced, which has 192.168.7.1, does not take this Service",
        ),
        (
            &["2001:db8::1"],
            None,
            "FamilyMismatch: 2001:db8::1 is asked for, and the Service has no IPv6 in spec.ipFamilies",
        ),
        (
            &["198.51.100.9", "198.51.100.8"],
            None,
            "FamilyMismatch: two addresses of one IP family are asked for; there can be one of each",
        ),
    ] {
        assert_eq!(ask(texts, from), format!("no address ({refusal})"));
    }
}

#[test]
fn a_request_that_cannot_be_met_changes_nothing_that_works() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1-198.51.100.9"])]);
    allocator.decide(&request("web"), T0);
    let mut bad = request("web");
    bad.addresses = addresses(&["10.0.0.1"]);
    assert_eq!(
        allocator.says(&bad),
        "198.51.100.1 of pool a (AddressNotInPool: 10.0.0.1 is in no AddressPool)"
    );
    bad.addresses.clear();
    bad.pool = Some("none".into());
    assert_eq!(
        allocator.says(&bad),
        "198.51.100.1 of pool a (UnknownPool: there is no AddressPool none)"
    );
    bad.pool = None;
    bad.addresses = addresses(&["198.51.100.5"]);
    assert_eq!(allocator.says(&bad), "198.51.100.5 of pool a");
}

#[test]
fn pools_are_tried_by_what_they_are_for_and_by_priority() {
    let mut meant = pool("meant", &["198.51.100.1/32"]);
    meant.takes.namespace_selectors = vec![selector(r#"{"matchLabels": {"team": "shop"}}"#)];
    let mut first = pool("urgent", &["198.51.100.2/32"]);
    first.takes.namespaces = ["shop".to_owned()].into();
    first.takes.priority = Some(5);
    let open = pool("aaa", &["203.0.113.1/32"]);
    let mut other = pool("other", &["203.0.113.2/32"]);
    other.takes.service_selectors = vec![selector(r#"{"matchLabels": {"app": "none"}}"#)];
    let mut manual = pool("manual", &["203.0.113.3/32"]);
    manual.auto_assign = false;
    let mut nobody = pool("nobody", &["203.0.113.4/32"]);
    nobody.takes.namespace_selectors = vec![selector(r#"{"matchLabels": {"team": "nobody"}}"#)];
    let mut pools = vec![meant, first, open, other, manual, nobody];
    let mut allocator = allocator(&pools);
    for (name, said) in [
        ("one", "198.51.100.2 of pool urgent"),
        ("two", "198.51.100.1 of pool meant"),
        ("three", "203.0.113.1 of pool aaa"),
        (
            "four",
            "no address (PoolExhausted: every address of urgent, meant, aaa is taken)",
        ),
    ] {
        assert_eq!(allocator.says(&request(name)), said);
    }
    let mut by_name = request("four");
    by_name.pool = Some("manual".into());
    assert_eq!(allocator.says(&by_name), "203.0.113.3 of pool manual");
    by_name.pool = Some("nobody".into());
    by_name.service = service("five");
    assert!(allocator.says(&by_name).contains("PoolNotAllowed"));

    pools[0].takes.is_exclusive = true;
    let mut fenced = self::allocator(&pools);
    fenced.decide(&request("one"), T0);
    fenced.decide(&request("two"), T0);
    assert_eq!(
        fenced.says(&request("three")),
        "no address (PoolExhausted: every address of urgent, meant is taken)"
    );
}

#[test]
fn a_pool_of_another_provider_is_none() {
    let mut theirs = pool("theirs", &["198.51.100.1/32"]);
    theirs.provider = Some("other".into());
    let mut allocator = allocator(&[theirs]);
    assert_eq!(
        allocator.says(&request("web")),
        "no address (NoPool: no AddressPool gives addresses to this Service by itself)"
    );
}

fn sharing(name: &str, key: &str, port: u16) -> Request {
    Request {
        sharing_key: Some(key.into()),
        ports: [(Protocol::Tcp, port)].into(),
        ..request(name)
    }
}

#[test]
fn services_with_one_key_share_an_address_unless_their_ports_overlap() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1-198.51.100.2"])]);
    assert_eq!(allocator.says(&sharing("one", "k", 80)), "198.51.100.1 of pool a");
    assert_eq!(allocator.says(&sharing("two", "k", 443)), "198.51.100.1 of pool a");
    assert_eq!(allocator.says(&sharing("same-port", "k", 80)), "198.51.100.2 of pool a");
    let mut udp = sharing("udp", "k", 80);
    udp.ports = [(Protocol::Udp, 80)].into();
    assert_eq!(allocator.says(&udp), "198.51.100.1 of pool a");
    assert!(allocator.says(&sharing("other-key", "l", 81)).contains("PoolExhausted"));
    let mut by_name = sharing("by-name", "k", 443);
    by_name.addresses = addresses(&["198.51.100.1"]);
    assert_eq!(
        allocator.says(&by_name),
        "no address (AddressInUse: Service shop/two, which shares 198.51.100.1, has port 443/tcp too)"
    );
    assert_eq!(
        allocator.usage("a", Family::V4).unwrap(),
        Usage {
            assigned: 2,
            available: 0
        }
    );
}

#[test]
fn of_services_that_can_no_longer_be_together_the_first_one_stays() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1-198.51.100.2"])]);
    allocator.decide(&sharing("one", "k", 80), T0);
    allocator.decide(&sharing("two", "k", 443), T0);
    let changed = allocator.decide(&sharing("one", "l", 80), T0);
    assert_eq!(changed.addresses, addresses(&["198.51.100.1"]));
    assert_eq!(changed.again, [service("two")].into());
    assert_eq!(allocator.says(&sharing("two", "k", 443)), "198.51.100.2 of pool a");
    // The only one changes its key in place.
    assert_eq!(allocator.says(&sharing("one", "m", 80)), "198.51.100.1 of pool a");
    assert_eq!(allocator.says(&request("one")), "198.51.100.1 of pool a");
}

#[test]
fn dual_stack_comes_from_one_pool() {
    let v4 = pool("v4", &["198.51.100.1-198.51.100.9"]);
    let v6 = pool("v6", &["2001:db8::1-2001:db8::9"]);
    let both = pool("zz", &["203.0.113.1-203.0.113.9", "2001:db8:1::1-2001:db8:1::9"]);
    let mut separate = allocator(&[v4.clone(), v6.clone()]);
    assert_eq!(
        separate.says(&dual("must", false)),
        "no address (FamilyMismatch: the Service is RequireDualStack, and none of v4, v6 has addresses of both IP families)"
    );
    assert_eq!(separate.says(&dual("may", true)), "198.51.100.1 of pool v4");
    let mut v6_first = dual("six", true);
    v6_first.families.reverse();
    assert_eq!(separate.says(&v6_first), "2001:db8::1 of pool v6");

    let mut all = allocator(&[v4.clone(), v6, both]);
    assert_eq!(all.says(&dual("must", false)), "203.0.113.1, 2001:db8:1::1 of pool zz");
    assert_eq!(all.says(&dual("may", true)), "203.0.113.2, 2001:db8:1::2 of pool zz");
    assert_eq!(all.says(&request("single")), "198.51.100.1 of pool v4");
    // Only IPv6 of a Service with one family.
    let mut single = request("may");
    single.families = vec![Family::V6];
    assert_eq!(all.says(&single), "2001:db8:1::2 of pool zz");
}

#[test]
fn a_missing_family_is_added_from_the_same_pool_and_no_other() {
    let single = pool("a", &["198.51.100.1-198.51.100.9"]);
    let mut grown = single.clone();
    grown.ranges.push("2001:db8::1-2001:db8::9".parse().unwrap());
    let both = pool("b", &["203.0.113.1-203.0.113.9", "2001:db8:1::1-2001:db8:1::9"]);
    let mut allocator = allocator(std::slice::from_ref(&single));
    assert_eq!(allocator.says(&dual("web", true)), "198.51.100.1 of pool a");
    // A pool with both does not draw it over.
    allocator.set_pools(vec![single.clone(), both.clone()]);
    assert_eq!(allocator.says(&dual("web", true)), "198.51.100.1 of pool a");
    allocator.set_pools(vec![grown.clone(), both.clone()]);
    assert_eq!(
        allocator.says(&dual("web", true)),
        "198.51.100.1, 2001:db8::1 of pool a"
    );
    // One that loses a family goes where both are.
    allocator.set_pools(vec![single.clone(), both]);
    assert_eq!(
        allocator.says(&dual("web", true)),
        "203.0.113.1, 2001:db8:1::1 of pool b"
    );
    // And stays with what is left where there is no such pool.
    allocator.set_pools(vec![pool("b", &["203.0.113.1-203.0.113.9"])]);
    assert_eq!(allocator.says(&dual("web", true)), "203.0.113.1 of pool b");
    assert!(
        allocator
            .says(&dual("web", false))
            .starts_with("no address (FamilyMismatch: there are no IPv6")
    );
    assert_eq!(allocator.says(&dual("web", true)), "203.0.113.1 of pool b");
}

#[test]
fn a_service_of_a_pool_that_is_gone_moves() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1/32"]), pool("b", &["203.0.113.1/32"])]);
    allocator.decide(&request("web"), T0);
    allocator.set_pools(vec![pool("b", &["203.0.113.1/32"])]);
    assert_eq!(allocator.says(&request("web")), "203.0.113.1 of pool b");
    allocator.set_pools(Vec::new());
    assert!(allocator.says(&request("web")).starts_with("no address (NoPool"));
}

#[test]
fn a_pool_that_is_wrong_keeps_its_last_good_form() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.0/25"]), pool("b", &["198.51.100.128/25"])]);
    allocator.decide(&request("web"), T0);
    let faults = allocator.set_pools(vec![pool("a", &["198.51.100.0/25"]), pool("b", &["198.51.100.0/24"])]);
    assert_eq!(
        faults["b"].to_string(),
        "spec.addresses: 198.51.100.0-198.51.100.127 is in AddressPool a too"
    );
    assert!(matches!(faults["b"], PoolFault::Overlap { .. }));
    let mut other = request("other");
    other.pool = Some("b".into());
    assert_eq!(allocator.says(&other), "198.51.100.128 of pool b");
    let faults = allocator.set_pools(vec![pool("a", &["198.51.100.0/25", "198.51.100.9/32"])]);
    assert_eq!(
        faults["a"].to_string(),
        "spec.addresses: 198.51.100.9 is in the list twice"
    );
    assert_eq!(allocator.says(&request("web")), "198.51.100.0 of pool a");
}

#[test]
fn usage_of_wide_pools_does_not_overflow() {
    let mut all = pool("all", &["::/0", "10.0.0.0/8"]);
    all.avoid_buggy = true;
    let mut allocator = allocator(&[all]);
    allocator.decide(&dual("web", false), T0);
    let six = allocator.usage("all", Family::V6).unwrap();
    assert_eq!((six.assigned, six.available), (1, u128::MAX - 1));
    let four = allocator.usage("all", Family::V4).unwrap();
    assert_eq!((four.assigned, four.available), (1, (1 << 24) - 131_072 - 1));
    assert_eq!(allocator.usage("none", Family::V4), None);
}

/// What a search costs does not grow with the number of Services.
#[test]
fn ten_thousand_services_are_not_quadratic() {
    let mut allocator = allocator(&[pool("a", &["10.0.0.0/8", "2001:db8::/64"])]);
    for number in 0..10_000 {
        assert_eq!(allocator.decide(&dual(&format!("s{number}"), false), T0).refusal, None);
    }
    assert!(
        allocator.looks() < 3 * 20_000,
        "{} places were looked at",
        allocator.looks()
    );
}
