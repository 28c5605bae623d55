//! Security groups, of load balancers and of targets.

use super::*;

const DUALSTACK: (&str, &str) = ("aws-load-balancer-ip-address-type", "dualstack");
const FACING: (&str, &str) = ("aws-load-balancer-scheme", "internet-facing");
const OWN: &str = "aws-load-balancer-security-groups";
const MTU: (&str, &str) = ("aws-load-balancer-enable-icmp-for-path-mtu-discovery", "on");

fn world() -> World {
    let mut world = World::new();
    for subnet in &mut world.vpc.subnets {
        subnet.tags.insert("kubernetes.io/role/elb".to_owned(), "1".to_owned());
    }
    world
}

fn rules(service: &Service) -> Vec<String> {
    match world().desired(service).security_groups {
        SecurityGroups::Managed { group, .. } => group.rules.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_managed_group_lets_in_clients_at_the_services_ports() {
    let ranges = ("load-balancer-source-ranges", "198.51.100.0/24");
    let lists = ("aws-load-balancer-security-group-prefix-lists", "pl-1,pl-2");
    let cases: &[(Pairs<'_>, &[&str])] = &[
        (&[], &["tcp 80 from 10.0.0.0/16"]),
        (&[DUALSTACK], &["tcp 80 from 10.0.0.0/16", "tcp 80 from 2001:db8::/56"]),
        (&[FACING], &["tcp 80 from 0.0.0.0/0"]),
        (&[FACING, DUALSTACK], &["tcp 80 from 0.0.0.0/0", "tcp 80 from ::/0"]),
        (&[FACING, ranges], &["tcp 80 from 198.51.100.0/24"]),
        (&[FACING, lists], &["tcp 80 from pl-1", "tcp 80 from pl-2"]),
        (
            &[FACING, lists, ranges],
            &["tcp 80 from 198.51.100.0/24", "tcp 80 from pl-1", "tcp 80 from pl-2"],
        ),
        (
            &[FACING, DUALSTACK, MTU],
            &[
                "tcp 80 from 0.0.0.0/0",
                "tcp 80 from ::/0",
                "icmp fragmentation-needed from 0.0.0.0/0",
                "icmpv6 packet-too-big from ::/0",
            ],
        ),
    ];
    for (annotations, expected) in cases {
        assert_eq!(rules(&service(annotations)), *expected, "{annotations:?}");
    }
    let mut dns = service(&[]);
    dns.ports = vec![port(53, Protocol::Tcp), port(53, Protocol::Udp)];
    assert_eq!(rules(&dns), ["tcp 53 from 10.0.0.0/16", "udp 53 from 10.0.0.0/16"]);
}

#[test]
fn groups_of_the_users_own_are_found_by_id_and_by_name() {
    let mut world = world();
    world.vpc.security_groups = vec![
        SecurityGroup {
            id: "sg-1".to_owned(),
            tags: tags(&[]),
        },
        SecurityGroup {
            id: "sg-2".to_owned(),
            tags: tags(&[("Name", "front")]),
        },
    ];
    let manage = ("aws-load-balancer-manage-backend-security-group-rules", "true");
    for (annotations, with_backend) in [
        (&[(OWN, "front,sg-1")][..], false),
        (&[(OWN, "front,sg-1"), manage], true),
    ] {
        let expected = SecurityGroups::Own {
            groups: ["sg-2", "sg-1"].map(str::to_owned).into(),
            with_backend,
        };
        assert_eq!(world.desired(&service(annotations)).security_groups, expected);
    }
    assert_eq!(
        world.refusal(&service(&[(OWN, "front,back")])),
        ["couldn't find all security groups, want: [front back], found: [sg-2]"]
    );
}

#[test]
fn a_load_balancer_made_without_groups_stays_so_and_one_made_with_them_too() {
    let mut world = world();
    let disabled = service(&[("aws-load-balancer-disable-nlb-sg", "true")]);
    assert_eq!(world.desired(&disabled).security_groups, SecurityGroups::None);
    let existing = |groups: &[&str]| Existing {
        scheme: Scheme::Internal,
        subnets: vec!["subnet-1".to_owned()],
        security_groups: groups.iter().map(|id| (*id).to_owned()).collect(),
        managed_group: None,
    };
    world.existing = Some(existing(&["sg-1"]));
    assert_eq!(world.refusal(&disabled), ["conflicting security groups configuration"]);
    world.existing = Some(existing(&[]));
    assert_eq!(world.desired(&service(&[])).security_groups, SecurityGroups::None);
    let replaced = world.desired(&service(&[FACING])).security_groups;
    assert!(
        matches!(replaced, SecurityGroups::Managed { .. }),
        "the next one is made with groups: {replaced:?}"
    );
}

/// A world of two nodes, the second with two security groups.
fn with_nodes() -> World {
    let mut world = world();
    world.cluster.nodes = ["i-1", "i-2"].map(targets::node).into();
    world.cluster.backend_group = Some("sg-b".to_owned());
    world.cluster.interface_groups = [("i-1", vec!["sg-n"]), ("i-2", vec!["sg-z", "sg-n"])]
        .map(|(id, groups)| (id.to_owned(), groups.into_iter().map(str::to_owned).collect()))
        .into();
    world
}

fn backend(world: &World, services: &[&Service]) -> Vec<String> {
    let mut needs = BTreeSet::new();
    for service in services {
        let load_balancer = world.desired(service);
        needs.extend(backend_needs(&load_balancer, &world.settings(service), world.around()));
    }
    let rules = backend_rules(&needs);
    let lines = rules
        .iter()
        .flat_map(|(group, rules)| rules.iter().map(move |rule| format!("{group}: {rule}")));
    lines.collect()
}

#[test]
fn targets_let_in_the_shared_group_by_one_range_for_each_protocol() {
    let world = with_nodes();
    let web = service(&[]);
    assert_eq!(backend(&world, &[&web]), ["sg-n: tcp 30080 from sg-b"]);
    let mut dns = service(&[]);
    dns.ports = vec![port(53, Protocol::Udp)];
    assert_eq!(
        backend(&world, &[&web, &dns]),
        ["sg-n: tcp 30053-30080 from sg-b", "sg-n: udp 30053 from sg-b"],
        "datagrams are checked by TCP on the same port"
    );
    let checked = service(&[("aws-load-balancer-healthcheck-port", "9000")]);
    assert_eq!(backend(&world, &[&checked]), ["sg-n: tcp 9000-30080 from sg-b"]);
}

#[test]
fn of_several_groups_the_one_that_is_tagged_for_the_cluster_gets_the_rules() {
    let mut world = with_nodes();
    world.vpc.security_groups = vec![SecurityGroup {
        id: "sg-z".to_owned(),
        tags: tags(&[("kubernetes.io/cluster/production", "owned")]),
    }];
    assert_eq!(
        backend(&world, &[&service(&[])]),
        ["sg-n: tcp 30080 from sg-b", "sg-z: tcp 30080 from sg-b"]
    );
}

#[test]
fn without_security_groups_targets_let_in_addresses() {
    let world = with_nodes();
    let disabled = ("aws-load-balancer-disable-nlb-sg", "true");
    let no_preserve = (
        "aws-load-balancer-target-group-attributes",
        "preserve_client_ip.enabled=false",
    );
    let unmanaged = ("aws-load-balancer-manage-backend-security-group-rules", "false");
    let cases: &[(Pairs<'_>, &[&str])] = &[
        (
            &[disabled, FACING],
            &[
                "sg-n: tcp 30080 from 0.0.0.0/0",
                "sg-n: tcp 30080 from 10.0.1.0/24",
                "sg-n: tcp 30080 from 10.0.2.0/24",
            ],
        ),
        (
            &[disabled],
            &[
                "sg-n: tcp 30080 from 10.0.0.0/16",
                "sg-n: tcp 30080 from 10.0.1.0/24",
                "sg-n: tcp 30080 from 10.0.2.0/24",
            ],
        ),
        (
            &[disabled, no_preserve],
            &["sg-n: tcp 30080 from 10.0.1.0/24", "sg-n: tcp 30080 from 10.0.2.0/24"],
        ),
        (&[disabled, unmanaged], &[]),
    ];
    for (annotations, expected) in cases {
        assert_eq!(backend(&world, &[&service(annotations)]), *expected, "{annotations:?}");
    }
}

#[test]
fn without_the_shared_group_targets_let_in_the_one_that_was_made() {
    let mut world = with_nodes();
    world.defaults.has_backend_group = false;
    let web = service(&[]);
    assert_eq!(
        backend(&world, &[&web]),
        ["sg-n: tcp 30080 from k8s-shop-web-85a4bebbf8"]
    );
    world.existing = Some(Existing {
        scheme: Scheme::Internal,
        subnets: vec!["subnet-1".to_owned()],
        security_groups: vec!["sg-m".to_owned()],
        managed_group: Some("sg-m".to_owned()),
    });
    assert_eq!(backend(&world, &[&web]), ["sg-n: tcp 30080 from sg-m"]);
}

#[test]
fn targets_let_in_somebody_elses_load_balancer_by_what_it_has() {
    let mut world = with_nodes();
    let lb = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/theirs/1";
    let adopting = service(&[("fairlead.io/aws-load-balancer-arn", lb)]);
    let theirs = |groups: &[&str]| Existing {
        scheme: Scheme::Internal,
        subnets: vec!["subnet-2".to_owned()],
        security_groups: groups.iter().map(|id| (*id).to_owned()).collect(),
        managed_group: None,
    };
    world.existing = Some(theirs(&["sg-7", "sg-8"]));
    assert_eq!(
        backend(&world, &[&adopting]),
        ["sg-n: tcp 30080 from sg-7", "sg-n: tcp 30080 from sg-8"]
    );
    world.existing = Some(theirs(&[]));
    assert_eq!(
        backend(&world, &[&adopting]),
        ["sg-n: tcp 30080 from 10.0.0.0/16", "sg-n: tcp 30080 from 10.0.2.0/24"]
    );
}
