//! The order of steps, case by case.

use super::*;

#[test]
fn one_plan_leads_from_nothing_to_a_load_balancer() {
    let desired = wanted(&world(2), &[]);
    let mut account = account();
    assert_eq!(
        lines(&mut account, Some(&desired)),
        [
            "+ security group k8s-shop-web-85a4bebbf8",
            "+ rules of k8s-shop-web-85a4bebbf8: tcp 80 from 10.0.0.0/16",
            "+ target group k8s-shop-web-fa71989be5 (TCP 30080, instance, IPv4)",
            "+ targets of k8s-shop-web-fa71989be5: i-1:30080, i-2:30080",
            "+ load balancer k8s-shop-web-ec63f2cc37 (internal, ipv4) in subnet-1, subnet-2",
            "+ listener 80 TCP of k8s-shop-web-ec63f2cc37 -> k8s-shop-web-fa71989be5",
        ]
    );
    settle(&mut account, Some(&desired));
    check(&account, &desired);
    assert_eq!(lines(&mut account, Some(&desired)), [""; 0]);
}

#[test]
fn targets_come_before_others_go_unless_aws_takes_no_more() {
    let mut account = account();
    settle(&mut account, Some(&wanted(&world(2), &[])));
    let mut moved = world(3);
    moved.cluster.nodes.remove(0);
    let desired = wanted(&moved, &[]);
    let (register, deregister) = (
        "+ targets of k8s-shop-web-fa71989be5: i-3:30080",
        "- targets of k8s-shop-web-fa71989be5: i-1:30080",
    );
    assert_eq!(lines(&mut account, Some(&desired)), [register, deregister]);
    account.most_targets = 2;
    round(&mut account, Some(&desired), &mut usize::MAX.clone()).unwrap();
    assert_eq!(lines(&mut account, Some(&desired)), [deregister, register]);
    settle(&mut account, Some(&desired));
    check(&account, &desired);
}

/// Else nobody would learn its name before the next look at everything.
#[test]
fn a_new_load_balancer_is_waited_for_until_it_is_active() {
    let world = world(1);
    let mut account = account();
    account.delay = 2;
    let desired = wanted(&world, &[]);
    round(&mut account, Some(&desired), &mut usize::MAX.clone()).unwrap();
    let waiting = lines(&mut account, Some(&desired));
    assert!(
        waiting.len() == 1 && waiting[0].ends_with("is being provisioned"),
        "{waiting:?}"
    );
}

#[test]
fn another_scheme_is_another_load_balancer_and_the_old_one_goes_when_clients_have_left() {
    let world = world(1);
    let mut account = account();
    account.delay = 1;
    settle(&mut account, Some(&wanted(&world, &[])));
    let desired = wanted(
        &world,
        &[
            ("aws-load-balancer-scheme", "internet-facing"),
            ("aws-load-balancer-subnets", "subnet-1"),
        ],
    );
    let before = account.published.clone().unwrap().hostname;
    account.delay = 2;
    assert_eq!(
        lines(&mut account, Some(&desired)),
        [
            "+ rules of sg-8: tcp 80 from 0.0.0.0/0",
            "+ target group k8s-shop-web-d8e16e5a5a (TCP 30080, instance, IPv4)",
            "+ targets of k8s-shop-web-d8e16e5a5a: i-1:30080",
            "+ load balancer k8s-shop-web-9278f79dc4 (internet-facing, ipv4) in subnet-1",
            "+ listener 80 TCP of k8s-shop-web-9278f79dc4 -> k8s-shop-web-d8e16e5a5a",
            "- rules of sg-8: tcp 80 from 10.0.0.0/16",
            "? load balancer k8s-shop-web-9278f79dc4 is being provisioned",
        ]
    );
    round(&mut account, Some(&desired), &mut usize::MAX.clone()).unwrap();
    assert_eq!(
        lines(&mut account, Some(&desired)),
        ["? load balancer k8s-shop-web-9278f79dc4 is being provisioned"]
    );
    assert_eq!(
        existing(&owner(), None, &account.look()).unwrap().scheme,
        Scheme::Internal
    );
    assert_eq!(
        account.published.clone().unwrap().hostname,
        before,
        "clients use the old one still"
    );
    round(&mut account, Some(&desired), &mut usize::MAX.clone()).unwrap();
    let after = account.published.clone().unwrap().hostname;
    assert_ne!(after, before);
    assert_eq!(
        existing(&owner(), None, &account.look()).unwrap().scheme,
        Scheme::InternetFacing
    );
    assert_eq!(
        lines(&mut account, Some(&desired)),
        [format!("? clients are to learn the name {after}")]
    );
    assert_eq!(
        lines(&mut account, Some(&desired)),
        [
            "- load balancer k8s-shop-web-ec63f2cc37",
            "- target group k8s-shop-web-fa71989be5"
        ]
    );
    settle(&mut account, Some(&desired));
    check(&account, &desired);
}

#[test]
fn a_load_balancer_of_the_same_name_or_address_goes_first() {
    let world = world(1);
    for (before, after) in [
        (
            &[("aws-load-balancer-name", "shop")][..],
            &[
                ("aws-load-balancer-name", "shop"),
                ("aws-load-balancer-scheme", "internet-facing"),
                SUBNET,
            ][..],
        ),
        (
            &[("aws-load-balancer-private-ipv4-addresses", "10.0.1.8"), SUBNET],
            &[
                ("aws-load-balancer-scheme", "internet-facing"),
                ("aws-load-balancer-name", "other"),
                SUBNET,
            ],
        ),
    ] {
        let mut account = account();
        settle(&mut account, Some(&wanted(&world, before)));
        let desired = wanted(&world, after);
        let lines = lines(&mut account, Some(&desired));
        let deleted = lines.iter().position(|line| line.starts_with("- load balancer"));
        let created = lines.iter().position(|line| line.starts_with("+ load balancer"));
        assert_eq!(deleted.is_some(), desired.name == "shop", "{lines:?}");
        assert!(deleted.is_none_or(|deleted| Some(deleted) < created), "{lines:?}");
        settle(&mut account, Some(&desired));
        check(&account, &desired);
    }
}

const SUBNET: (&str, &str) = ("aws-load-balancer-subnets", "subnet-1");

#[test]
fn a_target_group_of_another_kind_has_its_targets_before_the_listener_turns_to_it() {
    let mut account = account();
    let mut world = world(1);
    settle(&mut account, Some(&wanted(&world, &[])));
    world.cluster.endpoints = crate::desired::tests::endpoints(&["10.0.1.5"]);
    let desired = wanted(&world, &[("aws-load-balancer-nlb-target-type", "ip")]);
    assert_eq!(
        lines(&mut account, Some(&desired)),
        [
            "+ target group k8s-shop-web-dec4d3d793 (TCP 8080, ip, IPv4)",
            "+ targets of k8s-shop-web-dec4d3d793: 10.0.1.5:8080",
            "~ listener 80 TCP -> k8s-shop-web-dec4d3d793",
            "- target group k8s-shop-web-fa71989be5",
        ]
    );
    settle(&mut account, Some(&desired));
    check(&account, &desired);
}

#[test]
fn what_is_no_longer_asked_for_is_put_back() {
    let mut account = account();
    let world = world(1);
    let before = wanted(
        &world,
        &[
            ("aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=true"),
            (
                "aws-load-balancer-target-group-attributes",
                "deregistration_delay.timeout_seconds=5",
            ),
            (
                "aws-load-balancer-listener-attributes.TCP-80",
                "tcp.idle_timeout.seconds=60",
            ),
            ("aws-load-balancer-minimum-load-balancer-capacity", "CapacityUnits=10"),
            ("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "off"),
            ("aws-load-balancer-additional-resource-tags", "team=shop"),
        ],
    );
    settle(&mut account, Some(&before));
    check(&account, &before);
    let desired = wanted(&world, &[]);
    assert_eq!(
        lines(&mut account, Some(&desired)),
        [
            "~ target group k8s-shop-web-fa71989be5: deregistration_delay.timeout_seconds=300",
            "~ load balancer k8s-shop-web-ec63f2cc37: security groups sg-1, sg-8",
            "~ load balancer k8s-shop-web-ec63f2cc37: load_balancing.cross_zone.enabled=false",
            "~ load balancer k8s-shop-web-ec63f2cc37: 0 capacity units",
            "~ listener 80: tcp.idle_timeout.seconds=350",
            "- tags of a listener of k8s-shop-web-ec63f2cc37, k8s-shop-web-ec63f2cc37, k8s-shop-web-fa71989be5: team",
            "- tags of sg-8: team",
        ]
    );
    settle(&mut account, Some(&desired));
    check(&account, &desired);
}

#[test]
fn deletion_waits_for_interfaces_and_leaves_what_was_there_before() {
    let mut account = account();
    let before = account.shown();
    account.delay = 2;
    settle(&mut account, Some(&wanted(&world(1), &[])));
    assert_eq!(
        lines(&mut account, None),
        [
            "- load balancer k8s-shop-web-ec63f2cc37",
            "- target group k8s-shop-web-fa71989be5",
            "? network interfaces still have security group sg-8",
        ]
    );
    round(&mut account, None, &mut usize::MAX.clone()).unwrap();
    assert_eq!(
        lines(&mut account, None),
        ["? network interfaces still have security group sg-8"]
    );
    assert_eq!(lines(&mut account, None), ["- security group sg-8"]);
    settle(&mut account, None);
    assert_eq!(account.shown(), before);
}

#[test]
fn a_protected_load_balancer_is_not_deleted_whoever_protects_it() {
    let mut account = account();
    let world = world(1);
    let desired = wanted(
        &world,
        &[("aws-load-balancer-attributes", "deletion_protection.enabled=true")],
    );
    settle(&mut account, Some(&desired));
    let refused = plan(&owner(), None, &account.observe()).unwrap_err();
    assert_eq!(refused.reason, DELETION_PROTECTED);
    assert_eq!(
        refused.message,
        "deletion_protection is enabled, cannot delete the service: shop/web"
    );
    assert_eq!(
        lines(&mut account, Some(&wanted(&world, &[]))),
        [""; 0],
        "silence does not switch it off"
    );
    let facing = wanted(&world, &[("aws-load-balancer-scheme", "internet-facing"), SUBNET]);
    settle(&mut account, Some(&facing));
    assert_eq!(
        lines(&mut account, Some(&facing)),
        ["! load balancer k8s-shop-web-ec63f2cc37 is not wanted any more, but deletion_protection is enabled"]
    );
    let off = ("aws-load-balancer-attributes", "deletion_protection.enabled=false");
    settle(&mut account, Some(&wanted(&world, &[off])));
    settle(&mut account, None);
}

#[test]
fn what_others_made_gets_our_listeners_and_targets_and_nothing_else() {
    let mut account = account();
    let before = account.shown();
    let mut world = world(1);
    world.cluster.endpoints = crate::desired::tests::endpoints(&["10.0.1.5"]);
    let pods = ("aws-load-balancer-nlb-target-type", "ip");
    let desired = wanted(
        &world,
        &[
            pods,
            ("fairlead.io/aws-load-balancer-arn", FOREIGN_LB),
            ("fairlead.io/aws-target-group-arn.80", FOREIGN_TG),
        ],
    );
    assert_eq!(
        lines(&mut account, Some(&desired)),
        [
            "~ record of theirs: 10.0.1.5:8080",
            "+ targets of theirs: 10.0.1.5:8080",
            "+ listener 80 TCP of theirs -> theirs",
        ]
    );
    settle(&mut account, Some(&desired));
    check(&account, &desired);
    assert_eq!(
        lines(&mut account, None),
        [
            "- listener 80",
            "- targets of theirs: 10.0.1.5:8080",
            "~ record of theirs: none"
        ]
    );
    settle(&mut account, None);
    assert_eq!(account.shown(), before);
}

const PODS: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");

/// The target group that somebody else's load balancer uses.
fn busy(account: &Contents) -> String {
    let mut all = account.target_groups.values();
    all.find(|group| group.name == "busy").unwrap().arn.clone()
}

#[test]
fn what_cannot_be_used_is_refused_before_anything_is_made() {
    let mut account = account();
    let world = world(1);
    let own = service(&[("fairlead.io/aws-load-balancer-arn", FOREIGN_LB)]);
    for (desired, reason) in [
        (world.desired(&with_ports(own, &[80, 8443])), LISTENER_CONFLICT),
        (
            wanted(
                &world,
                &[(
                    "fairlead.io/aws-load-balancer-arn",
                    &FOREIGN_LB.replace("theirs", "nobodys"),
                )],
            ),
            UNKNOWN_LOAD_BALANCER,
        ),
        (
            wanted(
                &world,
                &[PODS, ("fairlead.io/aws-target-group-arn.80", &busy(&account))],
            ),
            TARGET_GROUP_IN_USE,
        ),
        // It takes pods, and these are nodes.
        (
            wanted(&world, &[("fairlead.io/aws-target-group-arn.80", FOREIGN_TG)]),
            UNKNOWN_TARGET_GROUP,
        ),
    ] {
        assert_eq!(
            plan(&owner(), Some(&desired), &account.observe()).unwrap_err().reason,
            reason
        );
    }
}

#[test]
fn clusters_that_share_a_target_group_take_away_only_their_own_targets() {
    let mut account = account();
    let shared = ("aws-load-balancer-multi-cluster-target-group", "true");
    settle(&mut account, Some(&wanted(&world(2), &[shared])));
    let group = account
        .target_groups
        .values_mut()
        .find(|group| owner().has(&group.tags))
        .unwrap();
    let mut theirs = group.targets.first().unwrap().clone();
    theirs.id = "i-77".to_owned();
    group.targets.insert(theirs);
    assert_eq!(
        lines(&mut account, Some(&wanted(&world(1), &[shared]))),
        [
            "- targets of k8s-shop-web-fa71989be5: i-2:30080",
            "~ record of k8s-shop-web-fa71989be5: i-1:30080",
        ]
    );
    assert_eq!(
        lines(&mut account, Some(&wanted(&world(2), &[]))),
        ["- targets of k8s-shop-web-fa71989be5: i-77:30080"],
        "without sharing all are ours"
    );
}

#[test]
fn certificates_and_dual_stack_follow_in_place() {
    let mut account = account();
    let mut world = world(1);
    let cert = |text| ("aws-load-balancer-ssl-cert", text);
    settle(&mut account, Some(&wanted(&world, &[cert("arn:a,arn:b")])));
    assert_eq!(
        lines(&mut account, Some(&wanted(&world, &[cert("arn:c,arn:d")]))),
        [
            "~ listener 80 TLS -> k8s-shop-web-fa71989be5",
            "+ certificates of listener 80: arn:d",
            "- certificates of listener 80: arn:b",
        ]
    );
    world.cluster.endpoints = crate::desired::tests::endpoints(&["10.0.1.5", "2001:db8::5"]);
    let mut six = service(&[
        ("aws-load-balancer-nlb-target-type", "ip"),
        ("aws-load-balancer-ip-address-type", "dualstack"),
    ]);
    six.families = vec![fairlead_model::Family::V6];
    let six = world.desired(&six);
    let found = lines(&mut account, Some(&six));
    let position = |text: &str| {
        found
            .iter()
            .position(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{found:?}"))
    };
    assert!(
        position(": dualstack") < position("~ listener"),
        "addresses come before listeners need them"
    );
    settle(&mut account, Some(&six));
    check(&account, &six);
    let four = wanted(&world, &[("aws-load-balancer-nlb-target-type", "ip")]);
    let found = lines(&mut account, Some(&four));
    let position = |text: &str| {
        found
            .iter()
            .position(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{found:?}"))
    };
    assert!(position("~ listener") < position(": ipv4"), "and go when they do not");
    settle(&mut account, Some(&four));
    check(&account, &four);
}
