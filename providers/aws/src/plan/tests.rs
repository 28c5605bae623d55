//! Plans, carried out in an account that says no where AWS does.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::contract::{Scheme, Service};
use crate::desired::tests::{World, node, service};
use crate::desired::{SecurityGroups, Tags, TargetGroupRef};

use crate::testing::Contents;

mod calls;
mod kit;
mod limits;
mod order;
mod properties;
mod shared;

fn owner() -> Owner {
    Owner {
        cluster: "production".to_owned(),
        service: ServiceName::new("shop", "web"),
    }
}

/// The name of the group that targets let in.
const BACKEND_NAME: &str = "k8s-traffic-production-ab8e18ef4e";

const FOREIGN_LB: &str = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/theirs/1";
const FOREIGN_TG: &str = "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/theirs/2";

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// An account with the shared group, and things of others that look like ours: a load balancer of the other controller for the same
/// Service, with a listener and a target group; a target group that nobody uses; and security groups of the user.
fn account() -> Contents {
    let mut account = Contents::default();
    let theirs = tags(&[
        ("elbv2.k8s.aws/cluster", "production"),
        ("service.k8s.aws/stack", "shop/web"),
        ("fairlead.io/cluster", "production"),
        ("fairlead.io/service", "shop/webs"),
    ]);
    account.create_security_group(
        BACKEND_NAME.to_owned(),
        tags(&[
            ("fairlead.io/cluster", "production"),
            ("fairlead.io/resource", "backend-sg"),
        ]),
    );
    account.create_security_group("own".to_owned(), tags(&[("Name", "own")]));
    let world = World::new();
    let like = world.desired(&service(&[
        ("aws-load-balancer-name", "theirs"),
        ("aws-load-balancer-nlb-target-type", "ip"),
        ("aws-load-balancer-ip-address-type", "dualstack"),
        ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on"),
    ]));
    let wanted = &like.target_groups["shop/web:80"];
    // The same Service of another cluster: all that differs is the cluster's name.
    let other_cluster = tags(&[
        ("fairlead.io/cluster", "staging"),
        ("fairlead.io/resource", "shop/web:80"),
        ("fairlead.io/service", "shop/web"),
    ]);
    account.create_security_group("theirs".to_owned(), other_cluster.clone());
    for (name, tags) in [("theirs", &other_cluster), ("busy", &theirs)] {
        let made = account.create_target_group(NewTargetGroup {
            name: name.to_owned(),
            protocol: wanted.protocol,
            port: wanted.port,
            target_type: wanted.target_type,
            family: wanted.family,
            health_check: wanted.health_check.clone(),
            tags: tags.clone(),
        });
        made.unwrap();
    }
    let made = account.create_load_balancer(NewLoadBalancer {
        name: "theirs".to_owned(),
        scheme: Scheme::Internal,
        ip_address_type: like.ip_address_type,
        has_source_nat: true,
        subnets: like.subnets.clone(),
        security_groups: [crate::desired::Group::Named("own".to_owned())].into(),
        tags: theirs.clone(),
    });
    made.unwrap();
    let mut listener = like.listeners[&80].clone();
    listener.tags = theirs;
    let to = [(Ref::Named("busy".to_owned()), None)].into();
    account
        .create_listener(&Ref::Named("theirs".to_owned()), 8443, &listener, &to)
        .unwrap();
    rename(&mut account);
    account
}

/// Gives what is adopted ARNs that tests know.
fn rename(account: &mut Contents) {
    let arn = account.load_balancers.keys().next().unwrap().clone();
    let mut found = account.load_balancers.remove(&arn).unwrap();
    found.arn = FOREIGN_LB.to_owned();
    account.load_balancers.insert(FOREIGN_LB.to_owned(), found);
    let group = account
        .target_groups
        .values()
        .find(|group| group.name == "theirs")
        .unwrap();
    let mut group = account.target_groups[&group.arn].clone();
    account.target_groups.retain(|_, found| found.name != "theirs");
    group.arn = FOREIGN_TG.to_owned();
    let target = crate::desired::Target {
        id: "10.0.1.200".to_owned(),
        port: 80,
        zone: None,
        quic_server_id: None,
    };
    group.targets = [target].into();
    account.target_groups.insert(FOREIGN_TG.to_owned(), group);
    for group in account
        .target_groups
        .values_mut()
        .filter(|group| group.load_balancer.is_some())
    {
        group.load_balancer = Some(FOREIGN_LB.to_owned());
    }
}

/// A world of so many nodes that are targets.
fn world(nodes: usize) -> World {
    let mut world = World::new();
    world.cluster.nodes = (1..=nodes).map(|number| node(&format!("i-{number}"))).collect();
    world.vpc.security_groups = vec![crate::desired::SecurityGroup {
        id: "sg-2".to_owned(),
        tags: tags(&[("Name", "own")]),
    }];
    world
}

/// The lines of the plan for what is there now.
fn lines(account: &mut Contents, desired: Option<&LoadBalancer>) -> Vec<String> {
    let outcome = plan(&owner(), desired, &account.observe()).unwrap();
    let steps = outcome.steps.steps().iter().map(ToString::to_string);
    let waits = outcome.waits.iter().map(|wait| format!("? {wait}"));
    let notes = outcome.notes.iter().map(|note| format!("! {note}"));
    steps.chain(waits).chain(notes).collect()
}

/// What a round came to.
enum Round {
    Settled,
    Died,
    GoesOn,
}

/// Plans once and carries it out, up to so many steps.
fn round(account: &mut Contents, desired: Option<&LoadBalancer>, lives: &mut usize) -> Result<Round, ProviderError> {
    let observed = account.observe();
    let outcome = plan(&owner(), desired, &observed)?;
    lint(&outcome, desired, account);
    let hostname = desired.and_then(|desired| hostname(&owner(), desired, &observed));
    account.publish(hostname.as_deref());
    if outcome.is_settled() {
        return Ok(Round::Settled);
    }
    for step in outcome.steps.steps() {
        if *lives == 0 {
            return Ok(Round::Died);
        }
        *lives -= 1;
        match account.perform(step) {
            Ok(()) => {}
            // The next plan knows.
            Err(refused) if refused.code == "TooManyTargets" => break,
            Err(refused) => panic!(
                "{step}: {refused}\nin the plan\n{}\nfor {desired:#?}\nin {account:#?}",
                outcome.steps
            ),
        }
    }
    Ok(Round::GoesOn)
}

/// Plans and carries out until nothing is left to do or wait for.
fn settle(account: &mut Contents, desired: Option<&LoadBalancer>) {
    for _ in 0..20 {
        if let Round::Settled = round(account, desired, &mut usize::MAX.clone()).unwrap() {
            return;
        }
    }
    panic!("it does not settle: {:?}", lines(account, desired));
}

/// What no plan may do.
fn lint(outcome: &Outcome, desired: Option<&LoadBalancer>, account: &Contents) {
    let is_ours = |tags: &Tags| owner().has(tags);
    let steps = outcome.steps.steps();
    let position = |wanted: &dyn Fn(&Step) -> bool| steps.iter().position(wanted);
    for (at, step) in steps.iter().enumerate() {
        assert!(!step.to_string().contains('\n'), "a step is one line");
        match step {
            Step::DeleteLoadBalancer { arn } => {
                let found = &account.load_balancers[arn];
                assert!(is_ours(&found.tags), "{step}: it is somebody else's");
                let created = position(&|step| matches!(step, Step::CreateLoadBalancer(_)));
                if created.is_some_and(|created| created > at) {
                    let new = desired.expect("something is made");
                    let has_eip = new.subnets.iter().any(|mapping| mapping.eip_allocation.is_some());
                    assert!(
                        new.name == found.name || has_eip,
                        "{step}: it goes before another comes"
                    );
                }
            }
            Step::DeleteTargetGroup { arn } => {
                assert!(
                    is_ours(&account.target_groups[arn].tags),
                    "{step}: it is somebody else's"
                );
            }
            Step::DeleteSecurityGroup { id } => {
                assert!(
                    is_ours(&account.security_groups[id].tags),
                    "{step}: it is somebody else's"
                );
            }
            Step::DeleteListener { arn, .. } | Step::ModifyListener { arn, .. } => {
                let mut all = account.load_balancers.values().flat_map(|found| &found.listeners);
                let found = all.find(|listener| listener.arn == *arn).expect("it is there");
                assert!(is_ours(&found.tags), "{step}: it is somebody else's");
            }
            Step::DeregisterTargets { group, .. } => {
                let registers = |step: &Step| matches!(step, Step::RegisterTargets { group: of, .. } if of == group);
                let is_full = account
                    .target_groups
                    .values()
                    .any(|found| found.is_full && *group == Ref::Arn(found.arn.clone()));
                if let Some(registered) = position(&registers) {
                    assert_eq!(registered > at, is_full, "{step}: the order is wrong");
                }
            }
            _ => {}
        }
    }
}

/// That the account has what is wanted, found out without planning.
fn check(account: &Contents, desired: &LoadBalancer) {
    let ours: Vec<_> = account
        .load_balancers
        .values()
        .filter(|found| owner().has(&found.tags))
        .collect();
    let found = match &desired.adopted {
        Some(arn) => &account.load_balancers[arn],
        None => ours[0],
    };
    assert_eq!(ours.len(), usize::from(desired.adopted.is_none()), "one load balancer");
    if desired.adopted.is_none() {
        assert_eq!(
            (found.scheme, found.ip_address_type),
            (desired.scheme, desired.ip_address_type)
        );
        let ids = |mappings: &[crate::desired::SubnetMapping]| -> BTreeSet<String> {
            mappings.iter().map(|mapping| mapping.subnet.clone()).collect()
        };
        assert_eq!(ids(&found.subnets), ids(&desired.subnets));
        assert_eq!(found.tags, desired.tags);
        assert_eq!(found.capacity_units, desired.capacity_units.unwrap_or_default());
        assert_eq!(
            found.applies_to_private_link,
            desired.applies_to_private_link.unwrap_or(true)
        );
        let cross_zone = "load_balancing.cross_zone.enabled";
        let wanted = desired.attributes.get(cross_zone).map_or("false", String::as_str);
        assert_eq!(found.attributes[cross_zone], wanted);
        check_security_groups(account, found, desired);
    }
    let listeners = found.listeners.iter().filter(|listener| owner().has(&listener.tags));
    let listeners: BTreeMap<_, _> = listeners.map(|listener| (listener.port, listener)).collect();
    assert_eq!(
        listeners.keys().collect::<Vec<_>>(),
        desired.listeners.keys().collect::<Vec<_>>()
    );
    for (port, wanted) in &desired.listeners {
        let listener = listeners[port];
        assert_eq!((listener.protocol, &listener.tls), (wanted.protocol, &wanted.tls));
        assert_eq!(listener.is_sticky, wanted.is_sticky);
        let parts = |weights: Vec<Option<u16>>| weights.into_iter().collect::<BTreeSet<_>>();
        assert_eq!(
            parts(listener.to.values().copied().collect()),
            parts(wanted.to.iter().map(|to| to.weight).collect())
        );
        assert_eq!(listener.to.len(), wanted.to.len());
        for to in &wanted.to {
            let TargetGroupRef::Ours(key) = &to.group else {
                continue;
            };
            let wanted = &desired.target_groups[key];
            let mut groups = listener.to.keys().map(|arn| &account.target_groups[arn]);
            let is_it = |group: &&ObservedTargetGroup| match &wanted.adopted {
                Some(arn) => group.arn == *arn,
                None => group.tags == wanted.tags,
            };
            let group = groups.find(is_it).expect("it sends there");
            let others: BTreeSet<_> = group.targets.difference(&wanted.targets).collect();
            assert!(
                wanted.targets.is_subset(&group.targets),
                "{:?} lacks {:?}",
                group.targets,
                wanted.targets
            );
            assert!(
                wanted.has_foreign_targets || others.is_empty(),
                "{others:?} are too much"
            );
            if wanted.adopted.is_none() {
                assert_eq!(group.health_check, wanted.health_check);
                let delay = "deregistration_delay.timeout_seconds";
                assert_eq!(
                    group.attributes[delay],
                    wanted.attributes.get(delay).map_or("300", String::as_str)
                );
            }
        }
    }
    let groups = account
        .target_groups
        .values()
        .filter(|group| owner().has(&group.tags))
        .count();
    let wanted = desired
        .target_groups
        .values()
        .filter(|group| group.adopted.is_none())
        .count();
    assert_eq!(groups, wanted, "no target group is left over");
}

fn check_security_groups(account: &Contents, found: &ObservedLoadBalancer, desired: &LoadBalancer) {
    let ours: Vec<_> = account
        .security_groups
        .values()
        .filter(|group| owner().has(&group.tags))
        .collect();
    let names: BTreeSet<_> = found
        .security_groups
        .iter()
        .map(|id| account.security_groups[id].name.as_str())
        .collect();
    match &desired.security_groups {
        SecurityGroups::Managed { group, .. } => {
            assert_eq!(ours.len(), 1);
            assert_eq!(ours[0].rules, group.rules);
            assert_eq!(names, BTreeSet::from([group.name.as_str(), BACKEND_NAME]));
        }
        SecurityGroups::Own { with_backend, .. } => {
            assert_eq!(ours.len(), 0, "no security group is left over");
            assert_eq!(names.contains(BACKEND_NAME), *with_backend);
        }
        SecurityGroups::None => unreachable!("no test asks for it"),
    }
}

fn wanted(world: &World, annotations: &[(&str, &str)]) -> LoadBalancer {
    world.desired(&service(annotations))
}

/// A Service with more ports.
fn with_ports(mut service: Service, numbers: &[u16]) -> Service {
    let first = service.ports[0].clone();
    service.ports = numbers
        .iter()
        .map(|number| crate::contract::Port {
            name: format!("p{number}"),
            port: *number,
            node_port: Some(30000 + number),
            ..first.clone()
        })
        .collect();
    service
}
