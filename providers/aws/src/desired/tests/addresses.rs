//! The addresses in the subnets.

use super::*;

const DUALSTACK: (&str, &str) = ("aws-load-balancer-ip-address-type", "dualstack");
const FACING: (&str, &str) = ("aws-load-balancer-scheme", "internet-facing");
const BOTH: (&str, &str) = ("aws-load-balancer-subnets", "subnet-2,subnet-1");
const EIPS: &str = "aws-load-balancer-eip-allocations";
const PRIVATE: &str = "aws-load-balancer-private-ipv4-addresses";
const IPV6: &str = "aws-load-balancer-ipv6-addresses";
const NAT: (&str, &str) = ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on");
const PREFIXES: &str = "aws-load-balancer-source-nat-ipv6-prefixes";

#[test]
fn elastic_addresses_and_prefixes_go_by_position_and_others_by_range() {
    let found = World::new().desired(&service(&[
        BOTH,
        FACING,
        DUALSTACK,
        NAT,
        (EIPS, "eipalloc-1,eipalloc-2"),
        (IPV6, "2001:db8:0:1::8,2001:db8:0:2::8"),
        (PREFIXES, "2001:db8:0:2:1::/80,auto_assigned"),
    ]));
    let shown: Vec<_> = found
        .subnets
        .iter()
        .map(|it| {
            (
                it.subnet.as_str(),
                it.eip_allocation.as_deref().unwrap(),
                it.ipv6.unwrap().to_string(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("subnet-2", "eipalloc-1", "2001:db8:0:2::8".to_owned()),
            ("subnet-1", "eipalloc-2", "2001:db8:0:1::8".to_owned()),
        ]
    );
    assert!(found.has_source_nat && found.subnets.iter().all(|it| it.source_nat_prefix.is_some()));
    let internal = World::new().desired(&service(&[BOTH, (PRIVATE, "10.0.1.8,10.0.2.8")]));
    let shown: Vec<_> = internal
        .subnets
        .iter()
        .map(|it| it.private_ipv4.unwrap().to_string())
        .collect();
    assert_eq!(shown, ["10.0.2.8", "10.0.1.8"]);
}

#[test]
fn each_rule_has_its_words() {
    let cases: &[(Pairs<'_>, &[&str])] = &[
        (
            &[BOTH, (EIPS, "eipalloc-1,eipalloc-2")],
            &["EIP allocations can only be set for internet facing load balancers"],
        ),
        (
            &[BOTH, FACING, (EIPS, "eipalloc-1")],
            &["count of EIP allocations (1) and subnets (2) must match"],
        ),
        (
            &[BOTH, FACING, (PRIVATE, "10.0.1.8,10.0.2.8")],
            &["private IPv4 addresses can only be set for internal load balancers"],
        ),
        (
            &[BOTH, (PRIVATE, "10.0.1.8")],
            &[
                "count of private IPv4 addresses (1) and subnets (2) must match",
                "expect one private IPv4 address configured for subnet: subnet-2",
            ],
        ),
        (
            &[BOTH, (PRIVATE, "10.0.1.8,10.0.1.9")],
            &[
                "expect one private IPv4 address configured for subnet: subnet-2",
                "expect one private IPv4 address configured for subnet: subnet-1",
            ],
        ),
        (
            &[BOTH, DUALSTACK, (IPV6, "2001:db8:0:1::8")],
            &[
                "count of IPv6 addresses (1) and subnets (2) must match",
                "expect one IPv6 address configured for subnet: subnet-2",
            ],
        ),
        (
            &[BOTH, DUALSTACK, NAT, (PREFIXES, "auto_assigned")],
            &["Number of values in source-nat-ipv6-prefixes (1) must match the number of subnets (2)."],
        ),
        (
            &[BOTH, DUALSTACK, NAT, (PREFIXES, "2001:db8:0:9:1::/80,auto_assigned")],
            &[
                "Invalid value in source-nat-ipv6-prefixes: 2001:db8:0:9:1::/80. Value must be within subnet CIDR range: [2001:db8:0:2::/64].",
            ],
        ),
    ];
    for (annotations, expected) in cases {
        assert_eq!(
            World::new().refusal(&service(annotations)),
            *expected,
            "{annotations:?}"
        );
    }
}

#[test]
fn a_prefix_needs_ipv6_in_every_subnet() {
    let mut world = World::new();
    world.vpc.subnets[0].ipv6.clear();
    assert_eq!(
        world.refusal(&service(&[BOTH, DUALSTACK, NAT])),
        [
            "subnets [subnet-1] do not have an associated IPv6 CIDR block, which is required for dualstack load balancers",
            "To enable prefix for source NAT, all associated subnets must have an IPv6 CIDR. Subnets without IPv6 CIDR: [subnet-1].",
        ]
    );
}
