use serde_json::{Value, json};

use super::*;

fn object(metadata: &Value, spec: &Value, ingress: &Value) -> core::Service {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": "shop", "name": "web" },
        "spec": { "clusterIP": "10.96.0.1", "ports": [{ "port": 80 }] },
        "status": { "loadBalancer": { "ingress": ingress } },
    });
    for (part, overlay) in [("metadata", metadata), ("spec", spec)] {
        let fields = overlay.as_object().expect("object").clone();
        object[part].as_object_mut().expect("object").extend(fields);
    }
    serde_json::from_value(object).expect("a Service")
}

fn read(spec: &Value) -> Result<Option<Service>, String> {
    Service::from_resource(&object(&json!({}), spec, &json!([]))).map_err(|error| error.to_string())
}

fn served(spec: &Value) -> Service {
    read(spec).expect("valid").expect("served")
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn only_services_with_a_cluster_ip_and_of_this_proxy_count() {
    let label = |key: &str, value: &str| json!({ "labels": { key: value } });
    let cases = [
        ("plain", json!({}), json!({}), true),
        ("other label", label("app", "web"), json!({}), true),
        (
            "another proxy",
            label("service.kubernetes.io/service-proxy-name", "other"),
            json!({}),
            false,
        ),
        (
            "another proxy without a name",
            label("service.kubernetes.io/service-proxy-name", ""),
            json!({}),
            false,
        ),
        ("headless", json!({}), json!({ "clusterIP": "None" }), false),
        (
            "headless, new form",
            json!({}),
            json!({ "clusterIP": "None", "clusterIPs": ["None"] }),
            false,
        ),
        ("not allocated", json!({}), json!({ "clusterIP": "" }), false),
        (
            "not allocated, no field",
            json!({}),
            json!({ "clusterIP": null }),
            false,
        ),
        (
            "not allocated, new form",
            json!({}),
            json!({ "clusterIPs": [""] }),
            false,
        ),
        (
            "external name",
            json!({}),
            json!({ "type": "ExternalName", "externalName": "example.org" }),
            false,
        ),
        (
            "external name, no IP",
            json!({}),
            json!({ "type": "ExternalName", "clusterIP": null }),
            false,
        ),
        ("NodePort", json!({}), json!({ "type": "NodePort" }), true),
        ("LoadBalancer", json!({}), json!({ "type": "LoadBalancer" }), true),
    ];
    for (case, metadata, spec, is_served) in cases {
        let read = Service::from_resource(&object(&metadata, &spec, &json!([]))).expect(case);
        assert_eq!(read.is_some(), is_served, "{case}");
    }
    let without_spec = core::Service::default();
    assert_eq!(Service::from_resource(&without_spec), Ok(None));
}

#[test]
fn a_service_of_no_business_is_not_even_looked_at() {
    let spec = json!({ "type": "ExternalName", "ports": [{ "port": 0 }], "externalIPs": ["nonsense"] });
    assert_eq!(read(&spec), Ok(None));
}

#[test]
fn cluster_ips_come_from_the_list_before_the_single_field() {
    let ips = |spec: Value| texts(&served(&spec).cluster_ips);
    assert_eq!(ips(json!({})), ["10.96.0.1"]);
    assert_eq!(ips(json!({ "clusterIPs": [] })), ["10.96.0.1"]);
    assert_eq!(
        ips(json!({ "clusterIPs": ["10.96.0.1", "fd00:96::1"] })),
        ["10.96.0.1", "fd00:96::1"]
    );
    assert_eq!(
        ips(json!({ "clusterIP": "fd00:96::1", "clusterIPs": ["fd00:96::1"] })),
        ["fd00:96::1"]
    );
    assert_eq!(ips(json!({ "clusterIP": "010.096.000.001" })), ["10.96.0.1"]);
}

#[test]
fn a_service_counts_for_the_families_of_its_cluster_ips() {
    let v6 = served(&json!({ "clusterIPs": ["fd00:96::1"] }));
    assert_eq!(v6.cluster_ip(Family::V6), Some("fd00:96::1".parse().expect("address")));
    assert_eq!(v6.cluster_ip(Family::V4), None);
}

#[test]
fn external_addresses_of_both_families_are_kept_once_each() {
    let service = served(&json!({ "externalIPs": ["203.0.113.1", "2001:db8::1", "203.0.113.001", "203.0.113.2"] }));
    assert_eq!(
        texts(&service.external_ips),
        ["203.0.113.1", "2001:db8::1", "203.0.113.2"]
    );
}

#[test]
fn node_ports_and_load_balancer_addresses_follow_the_type() {
    let ports = json!([
        { "name": "a", "port": 80, "nodePort": 30080 },
        { "name": "b", "port": 80, "protocol": "UDP", "nodePort": 0 },
        { "name": "c", "port": 81 },
    ]);
    let ingress = json!([{ "ip": "203.0.113.9" }]);
    let cases = [
        ("ClusterIP", None, 0),
        ("NodePort", Some(30080), 0),
        ("LoadBalancer", Some(30080), 1),
    ];
    for (type_, node_port, addresses) in cases {
        let spec = json!({ "type": type_, "ports": ports });
        let service = Service::from_resource(&object(&json!({}), &spec, &ingress))
            .expect("valid")
            .expect("served");
        let node_ports: Vec<_> = service.ports.iter().map(|port| port.node_port).collect();
        assert_eq!(node_ports, [node_port, None, None], "{type_}");
        assert_eq!(service.load_balancer_ips.len(), addresses, "{type_}");
    }
}

#[test]
fn ip_mode_proxy_and_host_names_are_not_captured() {
    let ingress = json!([
        { "ip": "203.0.113.1" },
        { "ip": "203.0.113.2", "ipMode": "VIP" },
        { "ip": "203.0.113.3", "ipMode": "Proxy" },
        { "ip": "2001:db8::1", "ipMode": "VIP" },
        { "hostname": "lb.example.org" },
        { "hostname": "lb.example.org", "ip": "" },
        { "ip": "203.0.113.01" },
    ]);
    let service = object(&json!({}), &json!({ "type": "LoadBalancer" }), &ingress);
    let service = Service::from_resource(&service).expect("valid").expect("served");
    assert_eq!(
        texts(&service.load_balancer_ips),
        ["203.0.113.1", "203.0.113.2", "2001:db8::1"]
    );
}

#[test]
fn source_ranges_are_trimmed_and_lose_their_host_bits() {
    let ranges = json!([" 10.1.2.3/8\t", "010.0.0.0/8", "2001:db8::1/32", "0.0.0.0/0"]);
    let service = served(&json!({ "type": "LoadBalancer", "loadBalancerSourceRanges": ranges }));
    assert_eq!(
        texts(&service.source_ranges),
        ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]
    );
}

#[test]
fn affinity_has_a_timeout_only_for_client_ip() {
    let affinity = |spec: Value| served(&spec).affinity.map(|timeout| timeout.as_secs());
    let with_timeout = |seconds: i32| {
        json!({
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": seconds } },
        })
    };
    assert_eq!(affinity(json!({})), None);
    assert_eq!(affinity(json!({ "sessionAffinity": "None" })), None);
    assert_eq!(affinity(json!({ "sessionAffinity": "ClientIP" })), Some(10_800));
    assert_eq!(
        affinity(json!({ "sessionAffinity": "ClientIP", "sessionAffinityConfig": {} })),
        Some(10_800)
    );
    assert_eq!(affinity(with_timeout(1)), Some(1));
    assert_eq!(affinity(with_timeout(86_400)), Some(86_400));
    let mut without_affinity = with_timeout(5);
    without_affinity["sessionAffinity"] = json!("None");
    assert_eq!(affinity(without_affinity), None);
}

#[test]
fn external_policy_needs_an_external_frontend() {
    use TrafficPolicy::{Cluster, Local};
    let cases = [
        (json!({}), Cluster, Cluster),
        (json!({ "internalTrafficPolicy": "Local" }), Local, Cluster),
        (
            json!({ "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster" }),
            Cluster,
            Cluster,
        ),
        (json!({ "externalTrafficPolicy": "Local" }), Cluster, Cluster),
        (
            json!({ "externalTrafficPolicy": "Local", "externalIPs": ["203.0.113.1"] }),
            Cluster,
            Local,
        ),
        (
            json!({ "externalTrafficPolicy": "Local", "type": "NodePort" }),
            Cluster,
            Local,
        ),
        (
            json!({ "externalTrafficPolicy": "Local", "type": "LoadBalancer" }),
            Cluster,
            Local,
        ),
    ];
    for (spec, internal, external) in cases {
        let service = served(&spec);
        assert_eq!(
            (service.internal_policy, service.external_policy),
            (internal, external),
            "{spec}"
        );
    }
}

#[test]
fn health_check_node_ports_are_for_load_balancers_with_policy_local() {
    let cases = [
        ("LoadBalancer", "Local", 32000, Some(32000)),
        ("LoadBalancer", "Local", 0, None),
        ("LoadBalancer", "Cluster", 32000, None),
        ("NodePort", "Local", 32000, None),
        ("ClusterIP", "Local", 32000, None),
    ];
    for (type_, policy, port, expected) in cases {
        let spec = json!({
            "type": type_,
            "externalTrafficPolicy": policy,
            "externalIPs": ["203.0.113.1"],
            "healthCheckNodePort": port,
        });
        let object = object(&json!({ "uid": "b7c1" }), &spec, &json!([]));
        let service = Service::from_resource(&object).unwrap().expect("served");
        assert_eq!(
            service.health_check_node_port.map(|port| port.0),
            expected,
            "{type_} {policy} {port}"
        );
        // Its events need the UID.
        assert_eq!(service.uid.as_deref(), expected.map(|_| "b7c1"));
    }
}

#[test]
fn one_number_can_be_a_port_of_each_protocol() {
    let service = served(&json!({ "ports": [
        { "name": "dns", "port": 53, "protocol": "UDP" },
        { "name": "dns-tcp", "port": 53, "protocol": "TCP" },
        { "name": "dns-sctp", "port": 53, "protocol": "SCTP" },
    ] }));
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| (&*port.name, port.protocol, port.port))
        .collect();
    assert_eq!(
        ports,
        [
            ("dns", Protocol::Udp, 53),
            ("dns-tcp", Protocol::Tcp, 53),
            ("dns-sctp", Protocol::Sctp, 53)
        ]
    );
}

#[test]
fn a_selector_decides_about_mirroring() {
    let with = |spec: Value| has_selector(&object(&json!({}), &spec, &json!([])));
    assert!(with(json!({ "selector": { "app": "web" } })));
    assert!(!with(json!({ "selector": {} })));
    assert!(!with(json!({})));
}

#[test]
fn what_cannot_be_used_is_named() {
    let cases = [
        (
            json!({ "clusterIP": "10.96.0.256" }),
            r#"spec.clusterIP: "10.96.0.256" is not an IP address"#,
        ),
        (
            json!({ "clusterIPs": ["10.96.0.1", "10.96.0.2"] }),
            r#"spec.clusterIPs[1]: "10.96.0.2" is a second IPv4 address"#,
        ),
        (
            json!({ "clusterIPs": ["10.96.0.1", "None"] }),
            r#"spec.clusterIPs[1]: "None" is not an IP address"#,
        ),
        (
            json!({ "externalIPs": ["203.0.113.1", "x"] }),
            r#"spec.externalIPs[1]: "x" is not an IP address"#,
        ),
        (
            json!({ "loadBalancerSourceRanges": ["10.0.0.0/8", "10.0.0.0/33"] }),
            r#"spec.loadBalancerSourceRanges[1]: "10.0.0.0/33" is not a CIDR"#,
        ),
        (
            json!({ "type": "Cluster" }),
            r#"spec.type: "Cluster" is not a type of Service"#,
        ),
        (
            json!({ "ports": [] }),
            "spec.ports: a Service with a cluster IP needs at least one port",
        ),
        (
            json!({ "ports": [{ "port": 80 }, { "name": "b", "port": 70000 }] }),
            "spec.ports[1].port: 70000 is not a port from 1 to 65535",
        ),
        (
            json!({ "ports": [{ "port": 0 }] }),
            "spec.ports[0].port: 0 is not a port from 1 to 65535",
        ),
        (
            json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": -1 }] }),
            "spec.ports[0].nodePort: -1 is not a port from 1 to 65535",
        ),
        (
            json!({ "ports": [{ "port": 80, "protocol": "ICMP" }] }),
            r#"spec.ports[0].protocol: "ICMP" is not TCP, UDP or SCTP"#,
        ),
        (
            json!({ "ports": [{ "port": 80, "name": "Web" }] }),
            r#"spec.ports[0].name: "Web" is not a DNS label (a-z, 0-9 and -, at most 63)"#,
        ),
        (
            json!({ "ports": [{ "port": 80, "name": "a" }, { "port": 81, "name": "a" }] }),
            r#"spec.ports[1].name: "a" is the name of another tcp port of this Service"#,
        ),
        (
            json!({ "ports": [{ "port": 80, "name": "a" }, { "port": 80, "name": "b" }] }),
            "spec.ports[1].port: 80 is another tcp port of this Service",
        ),
        (
            json!({ "type": "NodePort", "ports": [
                { "port": 80, "name": "a", "nodePort": 30080 },
                { "port": 81, "name": "b", "nodePort": 30080 },
            ] }),
            "spec.ports[1].nodePort: 30080 is another tcp port of this Service",
        ),
        (
            json!({ "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 65536 }),
            "spec.healthCheckNodePort: 65536 is not a port from 1 to 65535",
        ),
        (
            json!({ "sessionAffinity": "Cookie" }),
            r#"spec.sessionAffinity: "Cookie" is not ClientIP or None"#,
        ),
        (
            json!({
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 86401 } },
            }),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 86401 is not from 1 to 86400",
        ),
        (
            json!({ "externalTrafficPolicy": "Global" }),
            r#"spec.externalTrafficPolicy: "Global" is not Cluster or Local"#,
        ),
        (json!({ "internalTrafficPolicy": "" }), ""),
        (
            json!({ "internalTrafficPolicy": "local" }),
            r#"spec.internalTrafficPolicy: "local" is not Cluster or Local"#,
        ),
    ];
    for (spec, problem) in cases {
        let read = read(&spec).map(|_| ());
        let expected = if problem.is_empty() {
            Ok(())
        } else {
            Err(format!("Service shop/web: {problem}"))
        };
        assert_eq!(read, expected, "{spec}");
    }
    let ingress = json!([{ "ip": "203.0.113.1" }, { "ip": "203.0.113" }]);
    let service = object(&json!({}), &json!({ "type": "LoadBalancer" }), &ingress);
    assert_eq!(
        Service::from_resource(&service).map_err(|error| error.to_string()),
        Err(r#"Service shop/web: status.loadBalancer.ingress[1].ip: "203.0.113" is not an IP address"#.into())
    );
    let service = object(&json!({ "name": "Web" }), &json!({}), &json!([]));
    assert_eq!(
        Service::from_resource(&service).map_err(|error| error.field),
        Err("metadata.name".into())
    );
}
