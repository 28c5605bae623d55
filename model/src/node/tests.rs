use serde_json::{Value, json};

use super::*;

fn read(metadata: &Value, spec: &Value, addresses: &Value) -> Result<Node, String> {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": "node-1.example.org" },
        "spec": spec,
        "status": { "addresses": addresses },
    });
    object["metadata"]
        .as_object_mut()
        .expect("object")
        .extend(metadata.as_object().expect("object").clone());
    Node::from_resource(&serde_json::from_value(object).expect("a Node")).map_err(|error| error.to_string())
}

fn ips(addresses: &[(&str, &str)]) -> Vec<String> {
    let addresses: Vec<_> = addresses
        .iter()
        .map(|(type_, ip)| json!({ "type": type_, "address": ip }))
        .collect();
    let node = read(&json!({}), &json!({}), &json!(addresses)).expect("valid");
    node.primary_ips.iter().map(ToString::to_string).collect()
}

#[test]
fn the_zone_is_the_topology_label() {
    let with_label = |value: &str| {
        let metadata = json!({ "labels": { "topology.kubernetes.io/zone": value } });
        read(&metadata, &json!({}), &json!([])).expect("valid").zone
    };
    assert_eq!(with_label("a").as_deref(), Some("a"));
    assert_eq!(with_label(""), None);
    assert_eq!(read(&json!({}), &json!({}), &json!([])).expect("valid").zone, None);
}

#[test]
fn a_node_on_its_way_out_is_not_eligible() {
    let eligible = |metadata: &Value, spec: &Value| read(metadata, spec, &json!([])).expect("valid").is_eligible;
    let taint = |key: &str, effect: &str| json!({ "taints": [{ "key": key, "effect": effect }] });
    assert!(eligible(&json!({}), &json!({})));
    assert!(!eligible(
        &json!({ "deletionTimestamp": "2026-01-02T03:04:05Z" }),
        &json!({})
    ));
    assert!(!eligible(
        &json!({}),
        &taint("ToBeDeletedByClusterAutoscaler", "NoSchedule")
    ));
    assert!(!eligible(
        &json!({}),
        &taint("ToBeDeletedByClusterAutoscaler", "PreferNoSchedule")
    ));
    assert!(
        eligible(&json!({}), &taint("node.kubernetes.io/unschedulable", "NoSchedule")),
        "a cordon is no farewell"
    );
}

#[test]
fn primary_addresses_are_internal_before_external_and_one_per_family() {
    assert_eq!(
        ips(&[
            ("ExternalIP", "203.0.113.1"),
            ("Hostname", "n"),
            ("InternalIP", "10.0.0.1"),
            ("InternalIP", "10.0.0.2")
        ]),
        ["10.0.0.1"]
    );
    assert_eq!(
        ips(&[("InternalIP", "10.0.0.1"), ("InternalIP", "fd00::1")]),
        ["10.0.0.1", "fd00::1"]
    );
    assert_eq!(
        ips(&[("InternalIP", "fd00::1"), ("InternalIP", "10.0.0.1")]),
        ["fd00::1", "10.0.0.1"]
    );
    assert_eq!(
        ips(&[("ExternalIP", "203.0.113.1"), ("InternalIP", "fd00::1")]),
        ["fd00::1", "203.0.113.1"]
    );
    assert_eq!(ips(&[("ExternalIP", "203.0.113.1")]), ["203.0.113.1"]);
    assert_eq!(
        ips(&[("InternalIP", "not-an-ip"), ("InternalIP", "010.0.0.1")]),
        ["10.0.0.1"]
    );
    assert_eq!(ips(&[]), [""; 0]);
}

#[test]
fn pod_cidrs_fall_back_to_the_single_one() {
    let cidrs = |spec: &Value| {
        let node = read(&json!({}), spec, &json!([]))?;
        Ok::<_, String>(node.pod_cidrs.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(
        cidrs(&json!({ "podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24", "fd00:1::/64"] })),
        Ok(vec!["10.1.0.0/24".into(), "fd00:1::/64".into()])
    );
    assert_eq!(
        cidrs(&json!({ "podCIDR": "10.1.0.9/24" })),
        Ok(vec!["10.1.0.0/24".into()])
    );
    assert_eq!(cidrs(&json!({})), Ok(vec![]));
    assert_eq!(
        cidrs(&json!({ "podCIDRs": ["10.1.0.0/24", "fd00:1::/200"] })),
        Err("Node node-1.example.org: spec.podCIDRs[1]: \"fd00:1::/200\" is not a CIDR".into())
    );
    assert_eq!(
        cidrs(&json!({ "podCIDR": "10.1" })),
        Err("Node node-1.example.org: spec.podCIDR: \"10.1\" is not a CIDR".into())
    );
}
