//! What target groups and health checks are like.

use super::*;

#[test]
fn attributes_of_target_groups_are_laid_over_each_other() {
    let all = (
        "aws-load-balancer-target-group-attributes",
        "deregistration_delay.timeout_seconds=60,stickiness.enabled=true",
    );
    let of_port = (
        "aws-load-balancer-target-group-attributes.80",
        "deregistration_delay.timeout_seconds=5,stickiness.enabled=",
    );
    let found = settings(&[all, of_port]).target_groups;
    let expected = |seconds, proxy| {
        map(&[
            ("deregistration_delay.timeout_seconds", seconds),
            ("proxy_protocol_v2.enabled", proxy),
            ("stickiness.enabled", "true"),
        ])
    };
    assert_eq!(
        found.attributes(80),
        expected("5", "false"),
        "an empty value overrides nothing"
    );
    assert_eq!(found.attributes(81), expected("60", "false"));
    let proxied = settings(&[all, ("aws-load-balancer-proxy-protocol", "*")]).target_groups;
    assert_eq!(proxied.attributes(81), expected("60", "true"));
}

#[test]
fn proxy_protocol_has_three_ways_to_be_said() {
    let attribute = (
        "aws-load-balancer-target-group-attributes",
        "proxy_protocol_v2.enabled=true",
    );
    let list = ("aws-load-balancer-proxy-protocol-per-target-group", "80, 82");
    let all = ("aws-load-balancer-proxy-protocol", "*");
    for (annotations, expected) in [
        (&[attribute][..], ["true", "true"]),
        (&[list], ["true", "false"]),
        (&[attribute, list], ["true", "false"]),
        (&[list, all], ["true", "true"]),
    ] {
        let groups = settings(annotations).target_groups;
        let found = [80, 81].map(|port| groups.attributes(port)["proxy_protocol_v2.enabled"].clone());
        assert_eq!(found, expected, "{annotations:?}");
    }
}

#[test]
fn nodes_can_be_chosen_by_label() {
    let found = settings(&[("aws-load-balancer-target-node-labels", "pool=edge,zone=")]).target_groups;
    assert_eq!(found.node_labels, map(&[("pool", "edge"), ("zone", "")]));
}

/// A health check in one line.
fn check(check: &HealthCheck) -> String {
    format!(
        "{} {} {} {} {}/{} {}/{}",
        check.protocol.word(),
        check.port,
        check.path.as_deref().unwrap_or("-"),
        check.success_codes.as_deref().unwrap_or("-"),
        check.interval,
        check.timeout,
        check.healthy_threshold,
        check.unhealthy_threshold
    )
}

#[test]
fn health_checks_can_be_said_and_have_other_defaults_with_policy_local() {
    let http = ("aws-load-balancer-healthcheck-protocol", "HTTP");
    let port = |text| ("aws-load-balancer-healthcheck-port", text);
    let cases: &[(TrafficPolicy, Pairs<'_>, &str)] = &[
        (TrafficPolicy::Cluster, &[], "TCP traffic-port - - 10/10 3/3"),
        (TrafficPolicy::Cluster, &[http], "HTTP traffic-port / 200-399 10/10 3/3"),
        (
            TrafficPolicy::Cluster,
            &[
                ("aws-load-balancer-healthcheck-path", "/x"),
                ("aws-load-balancer-healthcheck-success-codes", "200"),
            ],
            "TCP traffic-port - - 10/10 3/3",
        ),
        (
            TrafficPolicy::Cluster,
            &[
                ("aws-load-balancer-healthcheck-protocol", "hTTps"),
                port("8443"),
                ("aws-load-balancer-healthcheck-path", "/x"),
                ("aws-load-balancer-healthcheck-success-codes", "204"),
                ("aws-load-balancer-healthcheck-interval", "20"),
                ("aws-load-balancer-healthcheck-timeout", "7"),
                ("aws-load-balancer-healthcheck-healthy-threshold", "4"),
                ("aws-load-balancer-healthcheck-unhealthy-threshold", "5"),
            ],
            "HTTPS 8443 /x 204 20/7 4/5",
        ),
        (TrafficPolicy::Cluster, &[port("p80")], "TCP 30080 - - 10/10 3/3"),
        (
            TrafficPolicy::Cluster,
            &[port("p80"), IP_TARGETS],
            "TCP 8080 - - 10/10 3/3",
        ),
        (
            TrafficPolicy::Cluster,
            &[port("traffic-port")],
            "TCP traffic-port - - 10/10 3/3",
        ),
        (TrafficPolicy::Local, &[], "HTTP 32000 /healthz 200-399 10/6 2/2"),
        (TrafficPolicy::Local, &[IP_TARGETS], "TCP traffic-port - - 10/10 3/3"),
        (
            TrafficPolicy::Local,
            &[("aws-load-balancer-healthcheck-protocol", "tcp"), port("traffic-port")],
            "TCP traffic-port - - 10/6 2/2",
        ),
        (
            TrafficPolicy::Local,
            &[("aws-load-balancer-healthcheck-timeout", "3")],
            "HTTP 32000 /healthz 200-399 10/3 2/2",
        ),
    ];
    for (policy, annotations, expected) in cases {
        let mut service = service(annotations);
        service.external_policy = *policy;
        service.health_check_node_port = (*policy == TrafficPolicy::Local).then_some(32000);
        assert_eq!(
            check(&read(&service).health_check),
            *expected,
            "{policy:?} {annotations:?}"
        );
    }
}
