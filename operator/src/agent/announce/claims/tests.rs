use std::sync::Arc;

use serde_json::json;

use super::*;

const V4: &str = "198.51.100.7";
const V6: &str = "2001:db8::7";

fn surroundings(status: &Value) -> Surroundings {
    let load_balancer = json!({
        "apiVersion": "fairlead.io/v1alpha1",
        "kind": "LoadBalancer",
        "metadata": { "name": "web", "namespace": "shop", "resourceVersion": "42" },
        "spec": { "provider": "lan", "services": [{ "namespace": "shop", "name": "web" }] },
        "status": status,
    });
    let key = ServiceName::new("shop", "web");
    Surroundings {
        load_balancers: [(key, Arc::new(serde_json::from_value(load_balancer).unwrap()))].into(),
        ..Surroundings::default()
    }
}

fn by(node: &str, epoch: u64) -> Value {
    json!({ "node": node, "reason": "Vacant", "epoch": epoch })
}

fn owned(claims: &[(&str, u64)]) -> BTreeMap<IpAddr, Claim> {
    let claims = claims.iter().map(|&(address, epoch)| {
        let claim = Claim {
            epoch,
            reason: "OwnerDead",
            stranger: Stranger::Unknown,
        };
        (address.parse().unwrap(), claim)
    });
    claims.collect()
}

/// What node a writes.
fn written(status: &Value, claims: &[(&str, u64)]) -> Vec<Value> {
    let mut writes = writes(&surroundings(status), "a", &owned(claims));
    writes.remove(&ServiceName::new("shop", "web")).unwrap_or_default()
}

#[test]
fn what_is_owned_is_claimed_and_the_first_address_is_shown() {
    let status = json!({ "addresses": [V4, V6] });
    assert_eq!(written(&status, &[]), [] as [Value; 0]);
    let entry = json!({ "node": "a", "reason": "OwnerDead", "epoch": 2 });
    let both = json!({ "status": {
        "announcements": { V4: entry, V6: entry }, "node": "a", "nodeReason": "OwnerDead",
    }});
    assert_eq!(written(&status, &[(V4, 2), (V6, 2)]), [both]);
    let second = json!({ "status": { "announcements": { V6: entry } } });
    assert_eq!(written(&status, &[(V6, 2)]), [second]);
}

#[test]
fn what_is_written_already_is_not_written_again() {
    let status = json!({ "addresses": [V4], "node": "a", "announcements": { V4: by("a", 2) } });
    assert_eq!(written(&status, &[(V4, 2)]), [] as [Value; 0]);
    // Of this one's own an older one is replaced, and of another's a newer one stays.
    let newer = written(&status, &[(V4, 3)]);
    assert_eq!(newer[0]["status"]["announcements"][V4]["epoch"], 3);
    assert_eq!(newer[0]["status"]["node"], "a");
    let status = json!({ "addresses": [V4], "node": "b", "announcements": { V4: by("b", 4) } });
    assert_eq!(written(&status, &[(V4, 3)]), [] as [Value; 0]);
}

#[test]
fn a_late_write_of_the_last_owner_is_put_right() {
    let status = json!({ "addresses": [V4], "node": "b", "announcements": { V4: by("a", 2) } });
    let patches = written(&status, &[(V4, 2)]);
    assert_eq!(
        patches,
        [json!({ "status": { "node": "a", "nodeReason": "OwnerDead" } })]
    );
}

#[test]
fn what_is_not_owned_any_more_is_withdrawn_from_the_object_that_was_seen() {
    let status = json!({
        "addresses": [V4, V6], "node": "a", "announcements": { V4: by("a", 2), V6: by("b", 1), "192.0.2.9": by("a", 7) },
    });
    let withdrawn = json!({
        "metadata": { "resourceVersion": "42" },
        "status": { "announcements": { V4: null, "192.0.2.9": null }, "node": null, "nodeReason": null },
    });
    assert_eq!(written(&status, &[]), [withdrawn]);
    // An address that the load balancer has no more is withdrawn even by its owner.
    let patches = written(&status, &[(V4, 2), ("192.0.2.9", 7)]);
    assert_eq!(
        patches,
        [json!({
            "metadata": { "resourceVersion": "42" }, "status": { "announcements": { "192.0.2.9": null } },
        })]
    );
}

#[test]
fn a_stranger_is_told_until_it_is_known_to_be_gone() {
    let written = |status: &Value, stranger: &Stranger| {
        let mut owned = owned(&[(V4, 2)]);
        owned.get_mut(&V4.parse::<IpAddr>().unwrap()).unwrap().stranger = stranger.clone();
        let mut writes = writes(&surroundings(status), "a", &owned);
        let patches = writes.remove(&ServiceName::new("shop", "web")).unwrap_or_default();
        let entries = patches
            .into_iter()
            .map(|patch| patch["status"]["announcements"][V4].clone());
        entries.collect::<Vec<_>>()
    };
    let status = |by: Value| json!({ "addresses": [V4], "node": "a", "announcements": { V4: by } });
    let entry = |stranger: Value| json!({ "node": "a", "reason": "OwnerDead", "epoch": 2, "stranger": stranger });
    let here = Stranger::Present("02:00:00:00:09:09".to_owned());
    let told = json!({ "node": "a", "reason": "Vacant", "epoch": 2, "stranger": "02:00:00:00:09:09" });

    assert_eq!(written(&status(by("a", 2)), &here), [entry(json!("02:00:00:00:09:09"))]);
    assert_eq!(written(&status(told.clone()), &here), [] as [Value; 0]);
    assert_eq!(written(&status(told.clone()), &Stranger::Unknown), [] as [Value; 0]);
    assert_eq!(written(&status(told.clone()), &Stranger::Absent), [entry(Value::Null)]);
    assert_eq!(written(&status(by("a", 2)), &Stranger::Absent), [] as [Value; 0]);
    // The heir of an address knows nothing yet: what was told stays.
    let mut last = told;
    last["node"] = json!("b");
    last["epoch"] = json!(1);
    assert_eq!(
        written(&status(last), &Stranger::Unknown),
        [json!({ "node": "a", "reason": "OwnerDead", "epoch": 2 })]
    );
}

#[test]
fn the_claims_of_others_are_learned() {
    let status =
        json!({ "addresses": [V4, V6], "announcements": { V4: by("a", 2), V6: by("b", 5), "what": by("b", 1) } });
    let claims = claims_of_others(&surroundings(&status), "a");
    assert_eq!(claims, BTreeMap::from([(V6.parse().unwrap(), (5, "b".to_owned()))]));
}
