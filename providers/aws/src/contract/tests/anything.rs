//! Whatever an annotation says, it is taken or refused.

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 22] = [
    "load-balancer-source-ranges",
    "actions.TCP-80",
    "aws-load-balancer-additional-resource-tags",
    "aws-load-balancer-attributes",
    "aws-load-balancer-eip-allocations",
    "aws-load-balancer-healthcheck-interval",
    "aws-load-balancer-healthcheck-port",
    "aws-load-balancer-internal",
    "aws-load-balancer-ipv6-addresses",
    "aws-load-balancer-listener-attributes.TCP-80",
    "aws-load-balancer-minimum-load-balancer-capacity",
    "aws-load-balancer-name",
    "aws-load-balancer-nlb-target-type",
    "aws-load-balancer-private-ipv4-addresses",
    "aws-load-balancer-proxy-protocol-per-target-group",
    "aws-load-balancer-quic-enabled-ports",
    "aws-load-balancer-scheme",
    "aws-load-balancer-source-nat-ipv6-prefixes",
    "aws-load-balancer-ssl-cert",
    "aws-load-balancer-ssl-ports",
    "aws-load-balancer-target-group-attributes.80",
    "aws-load-balancer-target-node-labels",
];

proptest! {
    #[test]
    fn nothing_that_is_written_ends_the_reading(
        written in prop::collection::vec((prop::sample::select(&NAMES[..]), r#"[a-z0-9=,\\ .:/*{}"é-]{0,24}"#), 0..6),
    ) {
        let written: Vec<_> = written.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let service = service(&written);
        match Settings::read(&service, &defaults()) {
            Ok(settings) => prop_assert_eq!(settings.listeners.each.len(), 1),
            Err(Faults(faults)) => {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!(!fault.message.is_empty() && fault.to_string().starts_with("Service shop/web: annotation "));
                }
            }
        }
    }
}
