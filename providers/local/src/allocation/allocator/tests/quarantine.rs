//! Addresses that machines outside of the cluster have.

use super::*;

const ADDRESS: &str = "198.51.100.1";
const SAID: &str = "198.51.100.1 belongs to a machine outside of the cluster, 02:00:00:00:09:09, as node n2 has heard";

fn by_name(name: &str) -> Request {
    Request {
        addresses: addresses(&[ADDRESS]),
        ..request(name)
    }
}

#[test]
fn who_did_not_ask_for_it_gets_another_one() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1-198.51.100.2"])]);
    allocator.decide(&request("web"), T0);
    let address = ADDRESS.parse().unwrap();
    assert_eq!(allocator.quarantine(address, stranger(None)), [service("web")].into());
    assert_eq!(
        allocator.quarantine(address, stranger(Some(at(9)))),
        BTreeSet::new(),
        "no news"
    );
    assert_eq!(allocator.says(&request("web")), "198.51.100.2 of pool a");
    assert_eq!(allocator.usage("a", Family::V4).unwrap().available, 0);
    let refused = format!("no address (AddressConflict: {SAID})");
    assert_eq!(allocator.says(&by_name("other")), refused);
    assert_eq!(
        allocator.says(&request("third")),
        "no address (PoolExhausted: every address of a is taken; machines outside of the cluster have 198.51.100.1)"
    );
    assert_eq!(allocator.quarantined("a").count(), 1);
    assert_eq!(
        allocator.unquarantine(address),
        [service("other"), service("third")].into()
    );
    assert_eq!(allocator.says(&by_name("other")), "198.51.100.1 of pool a");
    assert_eq!(
        allocator.says(&request("web")),
        "198.51.100.2 of pool a",
        "it does not move back"
    );
}

#[test]
fn who_asked_for_it_by_name_keeps_it_and_is_told() {
    let pool = pool("a", &["198.51.100.1-198.51.100.2"]);
    let mut allocator = allocator(std::slice::from_ref(&pool));
    allocator.decide(&by_name("web"), T0);
    let address = ADDRESS.parse().unwrap();
    let kept = format!("198.51.100.1 of pool a (AddressConflict: {SAID}. It stays, since it is asked for by name)");
    allocator.quarantine(address, stranger(None));
    assert_eq!(allocator.says(&by_name("web")), kept);
    // And keeps it when the operator is another one.
    let mut again = self::allocator(&[pool]);
    again.quarantine(address, stranger(None));
    let held = Request {
        held: addresses(&[ADDRESS]),
        ..by_name("web")
    };
    again.restore(&held);
    assert_eq!(again.says(&held), kept);

    assert_eq!(allocator.unquarantine(address), [service("web")].into());
    assert_eq!(allocator.says(&by_name("web")), "198.51.100.1 of pool a");
}

#[test]
fn who_came_with_it_keeps_it_until_it_has_another_one() {
    let mut allocator = allocator(&[pool("a", &["198.51.100.1-198.51.100.3"])]);
    let came = Request {
        held: addresses(&[ADDRESS]),
        is_adopted: true,
        ..request("web")
    };
    allocator.restore(&came);
    allocator.quarantine(ADDRESS.parse().unwrap(), stranger(None));
    let kept = format!("198.51.100.1 of pool a (AddressConflict: {SAID}. It stays, since the Service came with it)");
    // What it came with is known from the beginning.
    assert_eq!(allocator.says(&request("web")), kept);
    let mut moves = request("web");
    moves.addresses = addresses(&["198.51.100.2"]);
    assert_eq!(allocator.says(&moves), "198.51.100.2 of pool a");
    allocator.quarantine("198.51.100.2".parse().unwrap(), stranger(None));
    assert_eq!(allocator.says(&came), "198.51.100.3 of pool a");
}

#[test]
fn a_quarantine_can_have_an_end() {
    let mut slow = pool("a", &["198.51.100.1/32"]);
    slow.reuse_delay = Duration::from_mins(5);
    let mut allocator = allocator(&[slow]);
    allocator.decide(&request("web"), T0);
    allocator.quarantine(ADDRESS.parse().unwrap(), stranger(Some(at(60))));
    assert!(allocator.decide(&request("web"), at(1)).refusal.is_some());
    assert_eq!(allocator.next_deadline(), Some(at(60)), "it does not rest beside that");
    assert_eq!(allocator.expire(at(59)), BTreeSet::new());
    assert_eq!(allocator.expire(at(60)), [service("web")].into());
    assert_eq!(
        allocator.decide(&request("web"), at(60)).addresses,
        addresses(&[ADDRESS])
    );
    assert_eq!(allocator.next_deadline(), None);
}
