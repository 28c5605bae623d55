//! Where somebody or something else sets a limit.

use super::*;

#[test]
fn a_target_group_that_somebody_else_uses_stays_and_it_is_told() {
    let mut account = account();
    let two = world(1).desired(&with_ports(service(&[]), &[80, 443]));
    settle(&mut account, Some(&two));
    let used = account.target_groups.values().find(|group| {
        group
            .tags
            .get("fairlead.io/resource")
            .is_some_and(|resource| resource == "shop/web:443")
            && owner().has(&group.tags)
    });
    let used = used.unwrap().clone();
    let ours = account
        .load_balancers
        .values_mut()
        .find(|found| owner().has(&found.tags))
        .unwrap();
    let mut by_hand = ours.listeners[0].clone();
    by_hand.arn.push_str("-by-hand");
    by_hand.port = 9443;
    by_hand.tags = Tags::new();
    by_hand.to = [(used.arn.clone(), None)].into();
    ours.listeners.push(by_hand);
    assert_eq!(
        lines(&mut account, Some(&wanted(&world(1), &[]))),
        [
            "- listener 443".to_owned(),
            "- rules of sg-8: tcp 443 from 10.0.0.0/16".to_owned(),
            format!(
                "! target group {} is not wanted any more, but somebody else uses it",
                used.name
            ),
        ]
    );
}

#[test]
fn rules_come_before_others_go_unless_aws_takes_no_more() {
    let mut account = account();
    settle(&mut account, Some(&wanted(&world(1), &[])));
    let desired = wanted(&world(1), &[("load-balancer-source-ranges", "198.51.100.0/24")]);
    let (come, go) = (
        "+ rules of sg-8: tcp 80 from 198.51.100.0/24",
        "- rules of sg-8: tcp 80 from 10.0.0.0/16",
    );
    assert_eq!(lines(&mut account, Some(&desired)), [come, go]);
    account.security_groups.get_mut("sg-8").unwrap().is_full = true;
    assert_eq!(lines(&mut account, Some(&desired)), [go, come]);
}

#[test]
fn security_groups_come_with_the_load_balancer_or_never() {
    let mut account = account();
    let with = wanted(&world(1), &[("aws-load-balancer-security-groups", "own")]);
    let without = LoadBalancer {
        security_groups: SecurityGroups::None,
        ..with.clone()
    };
    settle(&mut account, Some(&with));
    assert_eq!(
        lines(&mut account, Some(&without)),
        ["! load balancer k8s-shop-web-ec63f2cc37 cannot do without its security groups"]
    );
    settle(&mut account, None);
    settle(&mut account, Some(&without));
    assert_eq!(
        lines(&mut account, Some(&with)),
        ["! load balancer k8s-shop-web-ec63f2cc37 was made without security groups and cannot get any"]
    );
}

#[test]
fn tags_that_others_keep_stay() {
    let mut account = account();
    let mut world = world(1);
    world.defaults.external_managed_tags = ["cost".to_owned()].into();
    let desired = wanted(&world, &[]);
    settle(&mut account, Some(&desired));
    let found = account
        .load_balancers
        .values_mut()
        .find(|found| owner().has(&found.tags))
        .unwrap();
    found.tags.extend(tags(&[
        ("cost", "1"),
        ("aws:cloudformation:stack-name", "x"),
        ("stray", "y"),
    ]));
    assert_eq!(
        lines(&mut account, Some(&desired)),
        ["- tags of k8s-shop-web-ec63f2cc37: stray"]
    );
}

#[test]
fn addresses_in_a_subnet_are_given_once_and_it_is_told() {
    let mut account = account();
    let subnet = ("aws-load-balancer-subnets", "subnet-1");
    let address = |text| ("aws-load-balancer-private-ipv4-addresses", text);
    settle(&mut account, Some(&wanted(&world(1), &[subnet, address("10.0.1.8")])));
    assert_eq!(
        lines(&mut account, Some(&wanted(&world(1), &[subnet]))),
        [""; 0],
        "silence is no wish"
    );
    assert_eq!(
        lines(&mut account, Some(&wanted(&world(1), &[subnet, address("10.0.1.9")]))),
        ["! the addresses of load balancer k8s-shop-web-ec63f2cc37 in subnet-1 cannot be changed"]
    );
}
