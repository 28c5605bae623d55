use serde_json::{Value, json};

use super::*;

fn object(metadata: &Value, subsets: &Value) -> core::Endpoints {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": { "namespace": "shop", "name": "web" },
        "subsets": subsets,
    });
    object["metadata"]
        .as_object_mut()
        .expect("object")
        .extend(metadata.as_object().expect("object").clone());
    serde_json::from_value(object).expect("Endpoints")
}

fn mirrored(subsets: &Value) -> Result<Vec<EndpointSlice>, String> {
    mirror(&object(&json!({}), subsets)).map_err(|error| error.to_string())
}

/// `name family ports addresses`, with `!` before an address that is not ready.
fn lines(subsets: &Value) -> Vec<String> {
    let line = |slice: EndpointSlice| {
        assert_eq!(slice.service, crate::ServiceName::new("shop", "web"));
        let ports = slice
            .ports
            .iter()
            .map(|port| format!("{}:{}/{}", port.name, port.port, port.protocol));
        let endpoints = slice
            .endpoints
            .iter()
            .map(|e| format!("{}{}", if e.is_ready { "" } else { "!" }, e.address));
        let (ports, endpoints): (Vec<_>, Vec<_>) = (ports.collect(), endpoints.collect());
        format!(
            "{} {} {} {}",
            slice.name.name,
            slice.family,
            ports.join(","),
            endpoints.join(",")
        )
    };
    mirrored(subsets).expect("valid").into_iter().map(line).collect()
}

#[test]
fn one_slice_per_family_and_set_of_ports() {
    let ips = |ips: &[&str]| ips.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>();
    let subsets = json!([
        {
            "addresses": ips(&["10.1.0.2", "10.1.0.1", "fd00::1"]),
            "notReadyAddresses": ips(&["10.1.0.3"]),
            "ports": [{ "name": "http", "port": 80 }, { "name": "dns", "port": 53, "protocol": "UDP" }],
        },
        { "addresses": ips(&["10.1.0.9"]), "ports": [{ "name": "http", "port": 8080 }] },
    ]);
    let expected = [
        "web~ipv4-0 IPv4 dns:53/udp,http:80/tcp 10.1.0.1,10.1.0.2,!10.1.0.3",
        "web~ipv4-1 IPv4 http:8080/tcp 10.1.0.9",
        "web~ipv6-0 IPv6 dns:53/udp,http:80/tcp fd00::1",
    ];
    assert_eq!(lines(&subsets), expected);
    // The same said in another order is the same.
    let reversed: Vec<_> = subsets.as_array().expect("array").iter().rev().collect();
    assert_eq!(lines(&json!(reversed)), expected);
}

#[test]
fn subsets_that_share_an_address_or_a_port_are_merged() {
    let subset = |ip: &str, field: &str, port: u16| {
        let name = format!("p{port}");
        json!({ field: [{ "ip": ip }], "ports": [{ "name": name, "port": port }] })
    };
    // One address on two ports, said apart.
    assert_eq!(
        lines(&json!([
            subset("10.1.0.1", "addresses", 80),
            subset("10.1.0.1", "addresses", 81)
        ])),
        ["web~ipv4-0 IPv4 p80:80/tcp,p81:81/tcp 10.1.0.1"]
    );
    // One set of ports, said twice.
    assert_eq!(
        lines(&json!([
            subset("10.1.0.2", "addresses", 80),
            subset("10.1.0.1", "addresses", 80)
        ])),
        ["web~ipv4-0 IPv4 p80:80/tcp 10.1.0.1,10.1.0.2"]
    );
    // Ready on one port only.
    assert_eq!(
        lines(&json!([
            subset("10.1.0.1", "addresses", 80),
            subset("10.1.0.1", "notReadyAddresses", 81)
        ])),
        [
            "web~ipv4-0 IPv4 p80:80/tcp 10.1.0.1",
            "web~ipv4-1 IPv4 p81:81/tcp !10.1.0.1"
        ]
    );
    // Ready and not ready on the same port, in both orders.
    for fields in [["addresses", "notReadyAddresses"], ["notReadyAddresses", "addresses"]] {
        assert_eq!(
            lines(&json!(fields.map(|field| subset("10.1.0.1", field, 80)))),
            ["web~ipv4-0 IPv4 p80:80/tcp !10.1.0.1"]
        );
    }
}

#[test]
fn two_pods_with_one_address_stay_two_endpoints() {
    let entry = |uid: &str| json!({ "ip": "10.1.0.1", "targetRef": { "kind": "Pod", "uid": uid } });
    let subset = json!({ "addresses": [entry("a")], "notReadyAddresses": [entry("b")], "ports": [{ "port": 80 }] });
    assert_eq!(lines(&json!([subset])), ["web~ipv4-0 IPv4 :80/tcp 10.1.0.1,!10.1.0.1"]);
}

#[test]
fn an_endpoint_keeps_its_node_and_counts_as_serving() {
    let subset = json!({
        "addresses": [{ "ip": "010.1.0.1", "nodeName": "node-1" }],
        "notReadyAddresses": [{ "ip": "10.1.0.2" }],
        "ports": [{ "port": 80 }],
    });
    let slices = mirrored(&json!([subset])).expect("valid");
    let [first, second] = slices[0].endpoints.as_slice() else {
        panic!("two endpoints")
    };
    assert_eq!(first.node.as_deref(), Some("node-1"));
    assert_eq!(first.address.to_string(), "10.1.0.1");
    assert!(first.is_ready && first.is_serving && !first.is_terminating);
    assert_eq!(second.node, None);
    assert!(!second.is_ready && second.is_serving && !second.is_terminating);
}

#[test]
fn some_endpoints_are_not_mirrored() {
    let subsets = json!([{ "addresses": [{ "ip": "10.1.0.1" }], "ports": [{ "port": 80 }] }]);
    let cases = [
        (json!({}), 1),
        (
            json!({ "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } }),
            0,
        ),
        (
            json!({ "labels": { "endpointslice.kubernetes.io/skip-mirror": "false" } }),
            1,
        ),
        (json!({ "labels": { "service.kubernetes.io/headless": "" } }), 0),
        (
            json!({ "annotations": { "control-plane.alpha.kubernetes.io/leader": "{}" } }),
            0,
        ),
        (
            json!({ "annotations": { "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-02T03:04:05Z" } }),
            1,
        ),
    ];
    for (metadata, count) in cases {
        let slices = mirror(&object(&metadata, &subsets)).expect("valid");
        assert_eq!(slices.len(), count, "{metadata}");
        assert!(slices.iter().all(|slice| slice.last_change_trigger_micros.is_none()));
    }
    assert_eq!(lines(&json!(null)), [""; 0]);
    assert_eq!(
        lines(&json!([{ "addresses": [{ "ip": "10.1.0.1" }] }])),
        [""; 0],
        "nothing without a port"
    );
}

#[test]
fn what_cannot_be_used_is_named() {
    let cases = [
        (
            json!([{}, { "notReadyAddresses": [{ "ip": "10.1.0.1" }, { "ip": "x" }] }]),
            r#"subsets[1].notReadyAddresses[1].ip: "x" is not an IP address"#,
        ),
        (
            json!([{ "addresses": [{ "ip": "x" }] }]),
            r#"subsets[0].addresses[0].ip: "x" is not an IP address"#,
        ),
        (
            json!([{ "ports": [{ "port": 0 }] }]),
            "subsets[0].ports[0].port: 0 is not a port from 1 to 65535",
        ),
        (
            json!([{ "ports": [{ "port": 1, "protocol": "X" }] }]),
            r#"subsets[0].ports[0].protocol: "X" is not TCP, UDP or SCTP"#,
        ),
        (
            json!([{ "ports": [{ "port": 1, "name": "X" }] }]),
            r#"subsets[0].ports[0].name: "X" is not a DNS label (a-z, 0-9 and -, at most 63)"#,
        ),
    ];
    for (subsets, problem) in cases {
        assert_eq!(
            mirrored(&subsets),
            Err(format!("Endpoints shop/web: {problem}")),
            "{subsets}"
        );
    }
}
