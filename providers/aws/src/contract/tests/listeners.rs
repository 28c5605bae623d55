//! What a load balancer listens for.

use super::*;

/// The listeners as `PROTOCOL-PORT>TARGETS`.
fn listeners(annotations: &[(&str, &str)], ports: &[Port]) -> Vec<String> {
    let mut service = service(annotations);
    service.ports = ports.to_vec();
    let each = read(&service).listeners.each;
    let show = |it: &ListenerSettings| format!("{}-{}>{}", it.protocol, it.port.port, it.target_protocol);
    each.iter().map(show).collect()
}

#[test]
fn listeners_follow_ports_and_their_protocols() {
    let tcp = |number| port(number, Protocol::Tcp);
    let udp = |number| port(number, Protocol::Udp);
    let ssl_ports = |text| ("aws-load-balancer-ssl-ports", text);
    let quic = |text| ("aws-load-balancer-quic-enabled-ports", text);
    let cases: &[(Pairs<'_>, &[Port], &[&str])] = &[
        (&[], &[tcp(80), udp(53)], &["UDP-53>UDP", "TCP-80>TCP"]),
        (&[], &[tcp(53), udp(53)], &["TCP_UDP-53>TCP_UDP"]),
        (
            &[("aws-load-balancer-enable-tcp-udp-listener", "true")],
            &[udp(53), tcp(53)],
            &["TCP_UDP-53>TCP_UDP"],
        ),
        (
            &[CERTIFICATE],
            &[tcp(80), tcp(443), udp(53)],
            &["UDP-53>UDP", "TLS-80>TCP", "TLS-443>TCP"],
        ),
        (
            &[CERTIFICATE, ssl_ports("443")],
            &[tcp(80), tcp(443)],
            &["TCP-80>TCP", "TLS-443>TCP"],
        ),
        (
            &[CERTIFICATE, ssl_ports("p443")],
            &[tcp(80), tcp(443)],
            &["TCP-80>TCP", "TLS-443>TCP"],
        ),
        (&[ssl_ports("443")], &[tcp(443)], &["TCP-443>TCP"]),
        (
            &[CERTIFICATE, ("aws-load-balancer-backend-protocol", "ssl")],
            &[tcp(443)],
            &["TLS-443>TLS"],
        ),
        (
            &[CERTIFICATE, ("aws-load-balancer-backend-protocol", "http")],
            &[tcp(443)],
            &["TLS-443>TCP"],
        ),
        (&[CERTIFICATE], &[tcp(53), udp(53)], &["TCP_UDP-53>TCP_UDP"]),
        (&[quic("443")], &[udp(443), tcp(80)], &["TCP-80>TCP", "QUIC-443>QUIC"]),
        (&[quic("443")], &[udp(443), tcp(443)], &["TCP_QUIC-443>TCP_QUIC"]),
    ];
    for (annotations, ports, expected) in cases {
        assert_eq!(listeners(annotations, ports), *expected, "{annotations:?}");
    }
}

#[test]
fn tls_can_be_said() {
    let found = settings(&[
        CERTIFICATE,
        (
            "aws-load-balancer-ssl-negotiation-policy",
            "ELBSecurityPolicy-TLS13-1-2-2021-06",
        ),
        ("aws-load-balancer-alpn-policy", "HTTP2Preferred"),
    ])
    .listeners;
    assert_eq!(found.certificates, ["arn:a", "arn:b"]);
    assert_eq!(found.tls_policy, "ELBSecurityPolicy-TLS13-1-2-2021-06");
    assert_eq!(found.alpn, Some(AlpnPolicy::Http2Preferred));
    let plain = settings(&[("aws-load-balancer-alpn-policy", "nonsense")]).listeners;
    assert_eq!(plain.alpn, None, "without TLS nobody asks");
}

#[test]
fn attributes_of_listeners_are_found_by_protocol_and_port() {
    let found = settings(&[
        (
            "aws-load-balancer-listener-attributes.TCP-80",
            "tcp.idle_timeout.seconds=60",
        ),
        (
            "aws-load-balancer-listener-attributes.TCP-81",
            "tcp.idle_timeout.seconds=70",
        ),
    ])
    .listeners;
    assert_eq!(found.each[0].attributes, map(&[("tcp.idle_timeout.seconds", "60")]));
}

#[test]
fn a_listener_can_send_to_others_by_weight() {
    let found = settings(&[(
        "actions.TCP-80",
        r#"{"type":"forward","forwardConfig":{"baseServiceWeight":10,"targetGroups":[
            {"serviceName":"blue","servicePort":80,"weight":20,"decrypt":true},
            {"serviceName":"green","servicePort":"http","weight":0},
            {"targetGroupARN":"arn:tg","weight":999}],
            "targetGroupStickinessConfig":{"enabled":true}}}"#,
    )])
    .listeners;
    let service = |name: &str, port: &str, decrypts| Backend::Service {
        name: name.to_owned(),
        port: port.to_owned(),
        decrypts,
    };
    let to = |backend, weight| ForwardTo {
        backend,
        weight: Some(weight),
    };
    assert_eq!(
        found.of_port(80).unwrap().forward,
        Some(Forward {
            own_weight: Some(10),
            to: vec![
                to(service("blue", "80", Some(true)), 20),
                to(service("green", "http", None), 0),
                to(Backend::TargetGroup("arn:tg".to_owned()), 999),
            ],
            is_sticky: true,
        })
    );
    let only = settings(&[("actions.TCP-80", r#"{"type":"forward","targetGroupARN":"arn:tg"}"#)]).listeners;
    assert_eq!(
        only.each[0].forward.as_ref().unwrap().to.len(),
        1,
        "one alone needs no weight"
    );
}
