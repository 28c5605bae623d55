use serde_json::{Value, json};

use super::super::report::Objects;
use super::*;
use crate::terminal::Paint;

const SCREEN: Screen = Screen {
    width: 120,
    paint: Paint { has_colours: false },
};

fn object<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn conditions(accepted: (&str, &str, &str), ready: (&str, &str, &str)) -> Value {
    let condition = |type_, (status, reason, message): (&str, &str, &str)| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    json!([condition("Accepted", accepted), condition("Ready", ready)])
}

fn objects() -> Objects {
    let good = conditions(("True", "Accepted", ""), ("True", "Ready", ""));
    let pod = |name: &str, component: &str, status: &str| {
        object(json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/component": component}},
            "spec": {"nodeName": "node-1", "containers": []},
            "status": {
                "conditions": [{"type": "Ready", "status": status}],
                "containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 2}],
            },
        }))
    };
    let kind = |kind: &str, name: &str, spec: Value, status: Value| {
        json!({
            "apiVersion": "fairlead.io/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "shop"},
            "spec": spec, "status": status,
        })
    };
    Objects {
        providers: vec![object(kind(
            "LoadBalancerProvider",
            "metal",
            json!({"loadBalancerClass": "fairlead.io/metal", "default": true, "local": {}}),
            json!({"loadBalancers": 2, "conditions": good}),
        ))],
        pools: vec![object(kind(
            "AddressPool",
            "public",
            json!({"addresses": ["198.51.100.0/31", "2001:db8::/64"]}),
            json!({
                "ipv4": {"assigned": 2, "available": 0}, "ipv6": {"assigned": 1, "available": i64::MAX},
                "conditions": conditions(("False", "PoolOverlap", "spec.addresses: it is in another"), ("True", "Ready", "")),
            }),
        ))],
        load_balancers: vec![
            object(kind(
                "LoadBalancer",
                "web",
                json!({"provider": "metal", "services": []}),
                json!({"addresses": ["198.51.100.0", "2001:db8::"], "node": "node-1", "conditions": good}),
            )),
            object(kind(
                "LoadBalancer",
                "late",
                json!({"provider": "metal", "services": []}),
                json!({"conditions": conditions(
                    ("False", "PoolExhausted", "every address of public is taken"),
                    ("False", "PoolExhausted", "every address of public is taken"),
                )}),
            )),
        ],
        pods: vec![pod("operator-a", "operator", "True"), pod("agent-a", "agent", "False")],
        lease: Some(object(json!({"spec": {"holderIdentity": "operator-a_0123"}}))),
    }
}

#[test]
fn one_screen_shows_what_is_there_and_what_is_wrong() {
    let report = Report::of(&objects());
    insta::assert_snapshot!(text(&report, SCREEN));
    assert_eq!(report.complaints(), 3);
}

#[test]
fn what_is_not_there_is_said() {
    let report = Report::of(&Objects::default());
    assert_eq!(
        text(&report, SCREEN),
        "Pods  nobody leads\nnone\n\nProviders\nnone\n\nPools  addresses that Services have, of those that there are\nnone\n\nLoad \
         balancers\nnone\n"
    );
    assert_eq!(report.complaints(), 0);
}
