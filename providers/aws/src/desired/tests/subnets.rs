//! Which subnets are taken.

use super::*;

const NAMED: &str = "aws-load-balancer-subnets";

fn ids(world: &World, service: &Service) -> Vec<String> {
    world
        .desired(service)
        .subnets
        .into_iter()
        .map(|mapping| mapping.subnet)
        .collect()
}

/// The subnet with one more tag.
fn tagged(mut subnet: Subnet, key: &str, value: &str) -> Subnet {
    subnet.tags.insert(key.to_owned(), value.to_owned());
    subnet
}

fn world(subnets: &[Subnet]) -> World {
    World {
        vpc: vpc(subnets),
        ..World::new()
    }
}

const INTERNAL: &str = "kubernetes.io/role/internal-elb";
const FACING: &str = "kubernetes.io/role/elb";
const OURS: &str = "kubernetes.io/cluster/production";
const THEIRS: &str = "kubernetes.io/cluster/other";

#[test]
fn those_that_are_named_are_taken_in_their_order_whatever_is_free() {
    let mut full = subnet(1, "a");
    full.free_addresses = 0;
    let world = world(&[full, tagged(subnet(2, "b"), THEIRS, "shared"), subnet(3, "c")]);
    assert_eq!(
        ids(&world, &service(&[(NAMED, "private-2,subnet-1")])),
        ["subnet-2", "subnet-1"]
    );
}

#[test]
fn a_load_balancer_stays_where_it_is() {
    let mut world = world(&[subnet(1, "a"), subnet(2, "b"), tagged(subnet(3, "c"), INTERNAL, "1")]);
    assert_eq!(ids(&world, &service(&[])), ["subnet-3"]);
    world.existing = Some(Existing {
        scheme: Scheme::Internal,
        subnets: vec!["subnet-2".to_owned()],
        security_groups: vec!["sg-1".to_owned()],
        managed_group: None,
    });
    assert_eq!(ids(&world, &service(&[])), ["subnet-2"]);
    assert_eq!(ids(&world, &service(&[(NAMED, "subnet-1")])), ["subnet-1"]);
}

#[test]
fn tags_say_which_are_for_load_balancers() {
    let facing = service(&[("aws-load-balancer-scheme", "internet-facing")]);
    let cases: &[(&[Subnet], &Service, &[&str])] = &[
        (
            &[
                tagged(subnet(1, "a"), INTERNAL, ""),
                tagged(subnet(2, "b"), FACING, "1"),
                subnet(3, "c"),
            ],
            &service(&[]),
            &["subnet-1"],
        ),
        (
            &[
                tagged(subnet(1, "a"), INTERNAL, ""),
                tagged(subnet(2, "b"), FACING, "1"),
                subnet(3, "c"),
            ],
            &facing,
            &["subnet-2"],
        ),
        (
            &[tagged(subnet(1, "a"), INTERNAL, "no"), subnet(2, "b")],
            &service(&[]),
            &["subnet-1", "subnet-2"],
        ),
        // One of each zone: the one that is the cluster's, then the first by id.
        (
            &[subnet(2, "a"), subnet(1, "a"), subnet(3, "b")],
            &service(&[]),
            &["subnet-1", "subnet-3"],
        ),
        (
            &[subnet(1, "a"), tagged(subnet(2, "a"), OURS, "owned")],
            &service(&[]),
            &["subnet-2"],
        ),
        (
            &[tagged(subnet(1, "a"), THEIRS, "owned"), subnet(2, "b")],
            &service(&[]),
            &["subnet-2"],
        ),
        (
            &[tagged(tagged(subnet(1, "a"), THEIRS, "shared"), OURS, "shared")],
            &service(&[]),
            &["subnet-1"],
        ),
    ];
    for (subnets, service, expected) in cases {
        assert_eq!(ids(&world(subnets), service), *expected, "{subnets:?}");
    }
}

#[test]
fn without_tags_the_routes_say_which_are_reachable() {
    let mut public = subnet(1, "a");
    public.is_public = true;
    let world = world(&[public, subnet(2, "a")]);
    assert_eq!(ids(&world, &service(&[])), ["subnet-2"]);
    assert_eq!(
        ids(&world, &service(&[("aws-load-balancer-scheme", "internet-facing")])),
        ["subnet-1"]
    );
}

#[test]
fn each_rule_has_its_words() {
    let four_only = |number, zone| Subnet {
        ipv6: Vec::new(),
        ..subnet(number, zone)
    };
    let full = |number, zone| Subnet {
        free_addresses: 7,
        ..subnet(number, zone)
    };
    let dualstack = ("aws-load-balancer-ip-address-type", "dualstack");
    let cases: &[(&[Subnet], Service, &str)] = &[
        (
            &[subnet(1, "a")],
            service(&[(NAMED, "subnet-1,subnet-9")]),
            "couldn't find all subnets, want: [subnet-1 subnet-9], found: [subnet-1]",
        ),
        (
            &[subnet(1, "a")],
            service(&[(NAMED, "subnet-1,x,y")]),
            "couldn't find all subnets, missing names: [x y]",
        ),
        (
            &[subnet(1, "a"), subnet(2, "a")],
            service(&[(NAMED, "subnet-2,subnet-1")]),
            "multiple subnets in same Availability Zone eu-central-1a: [subnet-1 subnet-2]",
        ),
        (
            &[four_only(1, "a"), subnet(2, "b")],
            service(&[(NAMED, "subnet-1,subnet-2"), dualstack]),
            "subnets [subnet-1] do not have an associated IPv6 CIDR block, which is required for dualstack load balancers",
        ),
        (
            &[full(1, "a"), tagged(subnet(2, "b"), THEIRS, "")],
            service(&[]),
            "unable to resolve at least one subnet. Evaluated 2 subnets: 1 are tagged for other clusters, and 1 have insufficient available IP addresses",
        ),
        (
            &[four_only(1, "a")],
            service(&[dualstack]),
            "unable to resolve at least one subnet. Evaluated 1 subnets: 0 are tagged for other clusters, and 0 have insufficient available IP addresses, and 1 don't have an associated IPv6 CIDR block, which is required for dualstack load balancers",
        ),
        (
            &[
                subnet(1, "a"),
                Subnet {
                    zone_kind: ZoneKind::LocalZone,
                    ..subnet(2, "b")
                },
            ],
            service(&[]),
            "subnets in multiple locales: [availabilityZone localZone]",
        ),
    ];
    for (subnets, service, expected) in cases {
        assert_eq!(world(subnets).refusal(service), [*expected]);
    }
}
