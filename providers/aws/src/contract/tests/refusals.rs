//! What is refused: one case for each rule.

use super::*;

/// What is wrong with the Service, without its name and the places.
fn refusal(service: &Service, defaults: &Defaults) -> Vec<String> {
    match Settings::read(service, defaults) {
        Ok(_) => Vec::new(),
        Err(Faults(faults)) => faults.into_iter().map(|fault| fault.message).collect(),
    }
}

const OFF_THE_LIST: &str = "2001:db8::/64";

#[test]
fn each_rule_has_its_words() {
    let cases: &[(Pairs<'_>, &[&str])] = &[
        (
            &[("aws-load-balancer-name", "a-name-of-more-than-thirty-two-chars")],
            &["load balancer name cannot be longer than 32 characters"],
        ),
        (
            &[("aws-load-balancer-name", "internal-web")],
            &[
                "load balancer name internal-web must have letters, digits and hyphens only, no hyphen at its ends, and not begin with internal-",
            ],
        ),
        (&[("aws-load-balancer-scheme", "public")], &["unknown scheme: public"]),
        (
            &[("aws-load-balancer-internal", "yes")],
            &["failed to parse bool annotation, service.beta.kubernetes.io/aws-load-balancer-internal: yes"],
        ),
        (
            &[("aws-load-balancer-ip-address-type", "ipv6")],
            &["unknown IPAddressType: ipv6"],
        ),
        (
            &[("aws-load-balancer-nlb-target-type", "pods")],
            &["unknown target type: pods"],
        ),
        (
            &[("aws-load-balancer-additional-resource-tags", "a=b,cost=1")],
            &["external managed tag key cost cannot be specified on Service"],
        ),
        (
            &[("aws-load-balancer-additional-resource-tags", "team")],
            &[
                "failed to parse stringMap annotation, service.beta.kubernetes.io/aws-load-balancer-additional-resource-tags: team",
            ],
        ),
        (
            &[("aws-load-balancer-multi-cluster-target-group", "maybe")],
            &[
                "failed to parse bool annotation, service.beta.kubernetes.io/aws-load-balancer-multi-cluster-target-group: maybe",
            ],
        ),
        (
            &[("aws-load-balancer-private-ipv4-addresses", "10.0.0,2001:db8::1")],
            &[
                "private IPv4 addresses must be valid IP address: 10.0.0",
                "private IPv4 addresses must be valid IPv4 address: 2001:db8::1",
            ],
        ),
        (
            &[("aws-load-balancer-ipv6-addresses", "2001:db8::1")],
            &["IPv6 addresses can only be set for dualstack load balancers"],
        ),
        (
            &[DUALSTACK, ("aws-load-balancer-ipv6-addresses", "10.0.0.1,x")],
            &[
                "IPv6 addresses must be valid IPv6 address: 10.0.0.1",
                "IPv6 addresses must be valid IP address: x",
            ],
        ),
        (
            &[
                DUALSTACK,
                ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "true"),
            ],
            &["Invalid enable-prefix-for-ipv6-source-nat value: true. Valid values are ['on', 'off']."],
        ),
        (
            &[("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on")],
            &[
                "enable-prefix-for-ipv6-source-nat annotation is only applicable to Network Load Balancers using Dualstack IP address type.",
            ],
        ),
        (
            &[("aws-load-balancer-source-nat-ipv6-prefixes", "auto_assigned")],
            &[
                "source-nat-ipv6-prefixes annotation can only be set for Network Load Balancers using Dualstack IP address type.",
                "source-nat-ipv6-prefixes annotation is only applicable if enable-prefix-for-ipv6-source-nat annotation is set to on.",
            ],
        ),
        (
            &[
                DUALSTACK,
                ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on"),
                (
                    "aws-load-balancer-source-nat-ipv6-prefixes",
                    "2001:db8::/64,10.0.0.0/24",
                ),
            ],
            &[
                "Invalid value in source-nat-ipv6-prefixes: 2001:db8::/64. Prefix length must be 80, but 64 is specified.",
                "Invalid value in source-nat-ipv6-prefixes: 10.0.0.0/24. Value must be a valid IPv6 CIDR.",
            ],
        ),
        (
            &[("load-balancer-source-ranges", "10.0.0.0/8,2001:db8::/64,10.0.0.1")],
            &[
                "unsupported v6 cidr 2001:db8::/64 when lb is not dualstack",
                "10.0.0.1 is not a CIDR",
            ],
        ),
        (
            &[("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "true")],
            &["Invalid value for securityGroupsInboundRulesOnPrivateLink status: true, value must be one of [on, off]"],
        ),
        (
            &[("aws-load-balancer-disable-nlb-sg", "off")],
            &["failed to parse bool annotation, service.beta.kubernetes.io/aws-load-balancer-disable-nlb-sg: off"],
        ),
        (
            &[CERTIFICATE, ("aws-load-balancer-ssl-ports", "443,p80,*")],
            &["Unused port in ssl-ports annotation [443 *]"],
        ),
        (
            &[CERTIFICATE, ("aws-load-balancer-alpn-policy", "h2")],
            &[
                "invalid ALPN policy h2, policy must be one of [None, HTTP1Only, HTTP2Only, HTTP2Optional, HTTP2Preferred]",
            ],
        ),
        (
            &[("aws-load-balancer-listener-attributes.TCP-80", "x")],
            &[
                "failed to parse stringMap annotation, service.beta.kubernetes.io/aws-load-balancer-listener-attributes.TCP-80: x",
            ],
        ),
        (
            &[("aws-load-balancer-quic-enabled-ports", "80")],
            &["Unsupported QUIC upgrade for protocol TCP"],
        ),
        (
            &[(
                "aws-load-balancer-target-group-attributes",
                "preserve_client_ip.enabled=maybe",
            )],
            &["failed to parse attribute preserve_client_ip.enabled=maybe"],
        ),
        (
            &[(
                "aws-load-balancer-target-group-attributes.80",
                "preserve_client_ip.enabled=2",
            )],
            &["failed to parse attribute preserve_client_ip.enabled=2"],
        ),
        (
            &[("aws-load-balancer-target-group-attributes.http", "a=b")],
            &["http is not the number of a port"],
        ),
        (
            &[("aws-load-balancer-proxy-protocol", "80")],
            &["invalid value 80 for Load Balancer proxy protocol v2 annotation, only value currently supported is *"],
        ),
        (
            &[("aws-load-balancer-proxy-protocol-per-target-group", "80,http")],
            &["invalid port number in proxy-protocol-per-target-group: http"],
        ),
        (
            &[("aws-load-balancer-healthcheck-protocol", "udp")],
            &["unsupported health check protocol udp"],
        ),
        (
            &[("aws-load-balancer-healthcheck-port", "nope")],
            &["failed to resolve healthCheckPort: the Service has no port named nope"],
        ),
        (
            &[("aws-load-balancer-healthcheck-interval", "ten")],
            &[
                "failed to parse int32 annotation, service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval: ten",
            ],
        ),
        (
            &[("aws-load-balancer-healthcheck-interval", "4")],
            &["4 is not from 5 to 300"],
        ),
        (
            &[("aws-load-balancer-healthcheck-timeout", "121")],
            &["121 is not from 2 to 120"],
        ),
        (
            &[("aws-load-balancer-healthcheck-healthy-threshold", "1")],
            &["1 is not from 2 to 10"],
        ),
        (
            &[("aws-load-balancer-healthcheck-unhealthy-threshold", "11")],
            &["11 is not from 2 to 10"],
        ),
        (
            &[("aws-load-balancer-attributes", "dns_record.client_routing_policy=near")],
            &[
                "invalid dns_record.client_routing_policy near, must be one of [any_availability_zone, partial_availability_zone_affinity, availability_zone_affinity]",
            ],
        ),
        (
            &[("aws-load-balancer-cross-zone-load-balancing-enabled", "on")],
            &[
                "failed to parse bool annotation, service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled: on",
            ],
        ),
        (
            &[("aws-load-balancer-minimum-load-balancer-capacity", "Units=3")],
            &["invalid key to set the capacity: Units, Expected key: CapacityUnits"],
        ),
        (
            &[("aws-load-balancer-minimum-load-balancer-capacity", "CapacityUnits=many")],
            &["invalid value to set the capacity: many"],
        ),
    ];
    for (annotations, expected) in cases {
        assert_eq!(
            refusal(&service(annotations), &defaults()),
            *expected,
            "{annotations:?}"
        );
    }
}

#[test]
fn each_rule_of_an_action_has_its_words() {
    let group = |text: &str| {
        format!(r#"{{"type":"forward","forwardConfig":{{"baseServiceWeight":1,"targetGroups":[{text}]}}}}"#)
    };
    let cases = [
        (r#"{"type":"redirect"}"#.to_owned(), "unknown action type: redirect"),
        (
            group(r#"{"serviceName":"a","servicePort":1,"targetGroupARN":"arn","weight":1}"#),
            "precisely one of targetGroupARN and serviceName can be specified",
        ),
        (
            group(r#"{"weight":1}"#),
            "precisely one of targetGroupARN and serviceName can be specified",
        ),
        (group(r#"{"serviceName":"a","weight":1}"#), "missing servicePort"),
        (
            group(r#"{"targetGroupARN":"arn","weight":1000}"#),
            "target group weight must be between 0 and 999",
        ),
        (
            group(r#"{"targetGroupARN":"arn","weight":-1}"#),
            "target group weight must be between 0 and 999",
        ),
        (
            group(r#"{"targetGroupARN":"arn"}"#),
            "weight must be set when routing to multiple target groups",
        ),
        (r#"{"type":"forward"}"#.to_owned(), "missing forwardConfig"),
        (
            "{".to_owned(),
            "failed to parse json annotation, service.beta.kubernetes.io/actions.TCP-80: {",
        ),
    ];
    for (text, expected) in cases {
        let found = refusal(&service(&[("actions.TCP-80", &text)]), &defaults());
        assert!(found.iter().any(|message| message == expected), "{text}: {found:?}");
    }
}

#[test]
fn what_targets_need_of_the_service_is_refused_where_it_lacks() {
    let mut plain = service(&[]);
    plain.exposure = Exposure::ClusterIp;
    assert_eq!(
        refusal(&plain, &defaults()),
        [r#"unsupported service type "ClusterIP" for load balancer target type "instance""#]
    );
    let mut unallocated = service(&[]);
    unallocated.ports[0].node_port = None;
    assert_eq!(
        refusal(&unallocated, &defaults()),
        [
            "TargetGroup port is empty. When using Instance targets, your service be must of type 'NodePort' or 'LoadBalancer'"
        ]
    );
    unallocated.allocates_node_ports = false;
    assert_eq!(
        refusal(&unallocated, &defaults()),
        ["unable to support instance target type with an unallocated NodePort"]
    );
    let mut named = service(&[IP_TARGETS, ("aws-load-balancer-healthcheck-port", "p80")]);
    named.ports[0].target = TargetPort::Name("http".to_owned());
    assert_eq!(
        refusal(&named, &defaults()),
        ["cannot use named healthCheckPort for IP TargetType when service's targetPort is a named port"]
    );
}

#[test]
fn ports_that_no_load_balancer_can_serve_are_refused() {
    let tcp_udp = ("aws-load-balancer-enable-tcp-udp-listener", "false");
    let ssl = ("aws-load-balancer-ssl-ports", "53");
    let numbered = |protocol, node_port| Port {
        node_port: Some(node_port),
        ..port(53, protocol)
    };
    let (tcp, udp, sctp) = (
        numbered(Protocol::Tcp, 30053),
        numbered(Protocol::Udp, 30053),
        numbered(Protocol::Sctp, 30053),
    );
    let cases: &[(Pairs<'_>, &[&Port], &str)] = &[
        (
            &[],
            &[&sctp],
            "port 53 is SCTP, which Network Load Balancers do not forward",
        ),
        (&[], &[&tcp, &sctp], "unsupported protocol for merging: SCTP"),
        (&[], &[&tcp, &tcp], "protocols can't match for merging: TCP"),
        (&[], &[&tcp, &udp, &sctp], "can only merge two ports, not 3"),
        (
            &[tcp_udp],
            &[&tcp, &udp],
            "port 53 is there twice, and only a TCP_UDP listener can serve both",
        ),
        (
            &[],
            &[&tcp, &numbered(Protocol::Udp, 31000)],
            "port 53 is there twice, and the target ports or node ports of TCP and UDP differ",
        ),
        (
            &[CERTIFICATE, ssl],
            &[&tcp, &udp],
            "unsupported protocol for merging: TLS",
        ),
    ];
    for (annotations, ports, expected) in cases {
        let mut service = service(annotations);
        service.ports = ports.iter().copied().cloned().collect();
        assert_eq!(refusal(&service, &defaults()), [*expected]);
    }
}

#[test]
fn rules_for_targets_need_the_group_that_they_name() {
    let without = Defaults {
        has_backend_group: false,
        ..defaults()
    };
    let own = service(&[
        ("aws-load-balancer-security-groups", "sg-1"),
        ("aws-load-balancer-manage-backend-security-group-rules", "true"),
    ]);
    assert_eq!(
        refusal(&own, &without),
        ["backendSG feature is required to manage worker node SG rules when frontendSG is manually specified"]
    );
}

#[test]
fn all_faults_are_told_at_once_and_each_names_service_and_place() {
    let mut bad = service(&[
        ("aws-load-balancer-scheme", "public"),
        ("aws-load-balancer-proxy-protocol", "on"),
    ]);
    bad.source_ranges = vec![OFF_THE_LIST.to_owned()];
    let faults = Settings::read(&bad, &defaults()).unwrap_err();
    assert_eq!(
        faults.to_string().split("; ").collect::<Vec<_>>(),
        [
            "Service shop/web: annotation service.beta.kubernetes.io/aws-load-balancer-scheme: unknown scheme: public",
            "Service shop/web: spec.loadBalancerSourceRanges: unsupported v6 cidr 2001:db8::/64 when lb is not dualstack",
            "Service shop/web: annotation service.beta.kubernetes.io/aws-load-balancer-proxy-protocol: invalid value on for Load Balancer proxy protocol v2 annotation, only value currently supported is *",
        ]
    );
}
