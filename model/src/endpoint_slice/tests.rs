use serde_json::{Value, json};

use super::*;

fn object(overlay: &Value) -> discovery::EndpointSlice {
    let mut object = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "namespace": "shop", "name": "web-abcde", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": 8080, "protocol": "TCP" }],
        "endpoints": [{ "addresses": ["10.1.0.1"] }],
    });
    object
        .as_object_mut()
        .expect("object")
        .extend(overlay.as_object().expect("object").clone());
    serde_json::from_value(object).expect("an EndpointSlice")
}

fn read(overlay: &Value) -> Result<Option<EndpointSlice>, String> {
    EndpointSlice::from_resource(&object(overlay)).map_err(|error| error.to_string())
}

fn served(overlay: &Value) -> EndpointSlice {
    read(overlay).expect("valid").expect("served")
}

fn metadata(labels: &Value) -> Value {
    json!({ "metadata": { "namespace": "shop", "name": "web-abcde", "labels": labels } })
}

#[test]
fn only_slices_of_services_that_a_proxy_serves_count() {
    let cases = [
        ("plain", json!({}), true),
        ("IPv6", json!({ "addressType": "IPv6", "endpoints": [] }), true),
        (
            "FQDN",
            json!({ "addressType": "FQDN", "endpoints": [{ "addresses": ["example.org"] }] }),
            false,
        ),
        ("no label", metadata(&json!({})), false),
        (
            "empty label",
            metadata(&json!({ "kubernetes.io/service-name": "" })),
            false,
        ),
        (
            "headless",
            metadata(&json!({ "kubernetes.io/service-name": "web", "service.kubernetes.io/headless": "" })),
            false,
        ),
    ];
    for (case, overlay, is_served) in cases {
        assert_eq!(read(&overlay).expect(case).is_some(), is_served, "{case}");
    }
}

#[test]
fn a_slice_belongs_to_the_service_of_its_label_in_its_namespace() {
    let slice = served(&metadata(&json!({ "kubernetes.io/service-name": "other" })));
    assert_eq!(slice.service, ServiceName::new("shop", "other"));
    assert_eq!((&*slice.name.namespace, &*slice.name.name), ("shop", "web-abcde"));
    let labels = json!({ "kubernetes.io/service-name": "web" });
    let slice = served(&json!({ "metadata": { "name": "web-abcde", "labels": labels } }));
    assert_eq!(slice.service, ServiceName::new("default", "web"));
    assert_eq!(&*slice.name.namespace, "default");
}

#[test]
fn ports_without_a_name_or_a_number_are_left_out() {
    let ports = json!([
        { "port": 1 },
        { "name": "no-number" },
        { "name": "zero", "port": 0 },
        { "name": "", "port": 2 },
        { "name": "dns", "port": 53, "protocol": "UDP" },
        { "name": "sig", "port": 3868, "protocol": "SCTP" },
    ]);
    let ports = served(&json!({ "ports": ports })).ports;
    let ports: Vec<_> = ports
        .iter()
        .map(|port| (&*port.name, port.protocol, port.port))
        .collect();
    assert_eq!(
        ports,
        [
            ("", Protocol::Tcp, 2),
            ("dns", Protocol::Udp, 53),
            ("sig", Protocol::Sctp, 3868)
        ]
    );
    assert_eq!(served(&json!({ "ports": null })).ports, []);
}

#[test]
fn the_api_servers_default_makes_an_absent_port_name_empty() {
    let mut slice = object(&json!({ "ports": [{ "port": 1 }, { "name": "b", "port": 2 }] }));
    default_port_names(&mut slice);
    let names: Vec<_> = slice.ports.into_iter().flatten().map(|port| port.name).collect();
    assert_eq!(names, [Some(String::new()), Some("b".into())]);
}

#[test]
fn absent_conditions_mean_ready_serving_and_not_terminating() {
    let of = |conditions: Value| {
        let endpoint = json!({ "addresses": ["10.1.0.1"], "conditions": conditions });
        let endpoint = served(&json!({ "endpoints": [endpoint] })).endpoints.remove(0);
        (endpoint.is_ready, endpoint.is_serving, endpoint.is_terminating)
    };
    assert_eq!(of(json!(null)), (true, true, false));
    assert_eq!(of(json!({})), (true, true, false));
    assert_eq!(of(json!({ "ready": false })), (false, true, false));
    assert_eq!(
        of(json!({ "ready": false, "serving": false, "terminating": true })),
        (false, false, true)
    );
    assert_eq!(
        of(json!({ "ready": true, "serving": true, "terminating": true })),
        (true, true, true)
    );
}

#[test]
fn the_first_address_counts_and_an_endpoint_without_any_is_skipped() {
    let slice = served(&json!({ "endpoints": [
        { "addresses": [] },
        { "addresses": ["010.1.0.2", "10.1.0.3"] },
        { "addresses": ["::ffff:10.1.0.4"] },
    ] }));
    let addresses: Vec<_> = slice
        .endpoints
        .iter()
        .map(|endpoint| endpoint.address.to_string())
        .collect();
    assert_eq!(addresses, ["10.1.0.2", "10.1.0.4"]);
}

#[test]
fn nodes_zones_and_hints_are_read_and_shared() {
    let endpoint = |address: &str| {
        json!({
            "addresses": [address],
            "nodeName": "endpoint-slice-test-node",
            "zone": "a",
            "hints": {
                "forNodes": [{ "name": "endpoint-slice-test-node" }],
                "forZones": [{ "name": "a" }, { "name": "b" }],
            },
        })
    };
    let slice =
        served(&json!({ "endpoints": [endpoint("10.1.0.1"), endpoint("10.1.0.2"), { "addresses": ["10.1.0.3"] }] }));
    let [first, second, bare] = slice.endpoints.as_slice() else {
        panic!("three endpoints")
    };
    assert_eq!(first.node.as_deref(), Some("endpoint-slice-test-node"));
    assert_eq!(first.zone.as_deref(), Some("a"));
    assert_eq!(*first.node_hints, [Arc::from("endpoint-slice-test-node")]);
    assert_eq!(*first.zone_hints, [Arc::from("a"), Arc::from("b")]);
    assert!(Arc::ptr_eq(
        first.node.as_ref().expect("node"),
        second.node.as_ref().expect("node")
    ));
    assert!(Arc::ptr_eq(&first.zone_hints, &second.zone_hints));
    assert_eq!((&bare.node, &bare.zone), (&None, &None));
    assert!(bare.node_hints.is_empty() && bare.zone_hints.is_empty());
}

#[test]
fn the_trigger_time_is_read_to_the_microsecond_or_not_at_all() {
    let of = |text: &str| {
        let mut metadata = metadata(&json!({ "kubernetes.io/service-name": "web" }));
        metadata["metadata"]["annotations"] = json!({ "endpoints.kubernetes.io/last-change-trigger-time": text });
        served(&metadata).last_change_trigger_micros
    };
    assert_eq!(of("1970-01-01T00:00:01.000002999Z"), Some(1_000_002));
    assert_eq!(of("2026-01-02T03:04:05Z"), Some(1_767_323_045_000_000));
    assert_eq!(of("2026-01-02T04:04:05+01:00"), Some(1_767_323_045_000_000));
    assert_eq!(of("yesterday"), None);
    assert_eq!(of(""), None);
    assert_eq!(served(&json!({})).last_change_trigger_micros, None);
}

#[test]
fn what_cannot_be_used_is_named() {
    let cases = [
        (
            json!({ "addressType": "IPv5" }),
            r#"addressType: "IPv5" is not IPv4, IPv6 or FQDN"#,
        ),
        (
            json!({ "endpoints": [{ "addresses": ["10.1.0.1"] }, { "addresses": ["fd00::1"] }] }),
            r#"endpoints[1].addresses[0]: "fd00::1" is not an IPv4 address, as addressType says"#,
        ),
        (
            json!({ "addressType": "IPv6", "endpoints": [{ "addresses": ["::ffff:10.1.0.1"] }] }),
            r#"endpoints[0].addresses[0]: "::ffff:10.1.0.1" is not an IPv6 address, as addressType says"#,
        ),
        (
            json!({ "endpoints": [{ "addresses": ["pod-1"] }] }),
            r#"endpoints[0].addresses[0]: "pod-1" is not an IP address"#,
        ),
        (
            json!({ "ports": [{ "name": "", "port": 65536 }] }),
            "ports[0].port: 65536 is not a port from 1 to 65535",
        ),
        (
            json!({ "ports": [{ "name": "", "port": 1, "protocol": "tcp" }] }),
            r#"ports[0].protocol: "tcp" is not TCP, UDP or SCTP"#,
        ),
        (
            json!({ "ports": [{ "name": "a b", "port": 1 }] }),
            r#"ports[0].name: "a b" is not a DNS label (a-z, 0-9 and -, at most 63)"#,
        ),
        (
            metadata(&json!({ "kubernetes.io/service-name": "we.b" })),
            "metadata.labels[kubernetes.io/service-name]: \"we.b\" is not a DNS label (a-z, 0-9 and -, at most 63)",
        ),
    ];
    for (overlay, problem) in cases {
        assert_eq!(
            read(&overlay),
            Err(format!("EndpointSlice shop/web-abcde: {problem}")),
            "{overlay}"
        );
    }
}
