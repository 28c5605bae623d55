//! Random lives of a Service, with crashes.

use fairlead_model::{Family, Protocol};
use proptest::prelude::*;

use super::*;
use crate::contract::Port;
use crate::desired::tests::endpoints;

/// One of the values, or nothing of it.
fn one_of(
    name: &'static str,
    values: &'static [&'static str],
) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    (0..=values.len()).prop_map(move |index| match index.checked_sub(1) {
        None => Vec::new(),
        Some(index) => vec![(name, values[index])],
    })
}

const NAT: (&str, &str) = ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on");
const PODS: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");
const SUBNETS: &str = "aws-load-balancer-subnets";

const STICKY: &str =
    r#"{"type":"forward","forwardConfig":{"baseServiceWeight":1,"targetGroupStickinessConfig":{"enabled":true}}}"#;
const TO_BLUE: &str = r#"{"type":"forward","forwardConfig":{"baseServiceWeight":1,
    "targetGroups":[{"serviceName":"blue","servicePort":80,"weight":9}]}}"#;

/// Annotations that go together.
fn annotations() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let identity = (
        one_of("aws-load-balancer-scheme", &["internet-facing", "internal"]),
        one_of("aws-load-balancer-name", &["fixed"]),
        one_of("aws-load-balancer-ip-address-type", &["dualstack"]),
        one_of("aws-load-balancer-nlb-target-type", &["ip"]),
        one_of(
            "aws-load-balancer-additional-resource-tags",
            &["team=shop", "team=web,cost=1"],
        ),
        one_of("aws-load-balancer-multi-cluster-target-group", &["true"]),
    );
    let parts = (
        one_of("aws-load-balancer-ssl-cert", &["arn:a", "arn:a,arn:b", "arn:c,arn:b"]),
        one_of("aws-load-balancer-ssl-ports", &["443"]),
        one_of(
            "aws-load-balancer-attributes",
            &["load_balancing.cross_zone.enabled=true"],
        ),
        one_of(
            "aws-load-balancer-target-group-attributes",
            &["deregistration_delay.timeout_seconds=5"],
        ),
        one_of("aws-load-balancer-security-groups", &["own"]),
        one_of("aws-load-balancer-healthcheck-interval", &["20"]),
        one_of("aws-load-balancer-minimum-load-balancer-capacity", &["CapacityUnits=7"]),
        one_of("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", &["off"]),
        one_of("actions.TCP-80", &[STICKY, TO_BLUE]),
    );
    let adopted = prop_oneof![
        4 => Just(Vec::new()),
        1 => Just(vec![("fairlead.io/aws-load-balancer-arn", FOREIGN_LB)]),
        2 => Just(vec![("fairlead.io/aws-target-group-arn.80", FOREIGN_TG), PODS]),
        1 => Just(vec![
            ("fairlead.io/aws-load-balancer-arn", FOREIGN_LB),
            ("fairlead.io/aws-target-group-arn.80", FOREIGN_TG),
            PODS,
        ]),
    ];
    (identity, parts, adopted, any::<bool>()).prop_map(|(i, p, adopted, is_one)| {
        let identity = [i.0, i.1, i.2, i.3, i.4, i.5];
        let parts = [p.0, p.1, p.2, p.3, p.4, p.5, p.6, p.7, p.8];
        let mut all: Vec<_> = identity.into_iter().chain(parts).flatten().chain(adopted).collect();
        if all.contains(&("aws-load-balancer-ip-address-type", "dualstack")) {
            all.push(NAT);
        }
        all.push((SUBNETS, if is_one { "subnet-1" } else { "subnet-1,subnet-2" }));
        all
    })
}

fn a_port(number: u16, protocol: Protocol) -> Port {
    Port {
        name: format!("p{number}{protocol}"),
        protocol,
        port: number,
        target: crate::contract::TargetPort::Number(8000 + number),
        node_port: Some(30000 + number),
    }
}

fn ports() -> impl Strategy<Value = Vec<Port>> {
    let all = vec![
        a_port(80, Protocol::Tcp),
        a_port(443, Protocol::Tcp),
        a_port(53, Protocol::Tcp),
        a_port(53, Protocol::Udp),
    ];
    prop::sample::subsequence(all, 1..=4)
}

/// What a Service shall have; nothing where the random choice is none that can be.
fn a_desire() -> impl Strategy<Value = Option<LoadBalancer>> {
    (
        annotations(),
        ports(),
        any::<bool>(),
        0_usize..4,
        prop::sample::subsequence(vec![1, 2, 3, 4], 0..=4),
    )
        .prop_map(|(annotations, ports, is_six, nodes, pods)| {
            let mut service = service(&annotations);
            service.families = vec![if is_six { Family::V6 } else { Family::V4 }];
            let mut world = world(nodes);
            let mut blue = crate::desired::tests::service(&[]);
            blue.name = ServiceName::new("shop", "blue");
            blue.uid = "blue".to_owned();
            world.cluster.services.insert("blue".to_owned(), blue);
            for port in &ports {
                let addresses = pods
                    .iter()
                    .flat_map(|pod| [format!("10.0.1.{pod}"), format!("2001:db8::{pod}")]);
                let addresses: Vec<_> = addresses.collect();
                let mut all = endpoints(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
                let (mut key, endpoints) = all.pop_first().expect("the fixture has one port");
                key.port.clone_from(&port.name);
                key.protocol = port.protocol;
                world.cluster.endpoints.insert(key, endpoints);
            }
            service.ports = ports;
            let settings = crate::contract::Settings::read(&service, &world.defaults).ok()?;
            crate::desired::desired(&service, &settings, world.around()).ok()
        })
}

/// Something that is wanted, after so many steps of which the operator dies, if it does.
fn an_act() -> impl Strategy<Value = (Option<LoadBalancer>, Option<usize>)> {
    let desire = prop_oneof![8 => a_desire().prop_filter("it can be", Option::is_some), 1 => Just(None)];
    (desire, prop::option::of(0_usize..12))
}

/// What is not ours.
fn foreign(account: &Contents) -> BTreeSet<String> {
    let is_ours =
        |line: &String| line.contains(r#""production""#) && line.contains(r#""fairlead.io/service": "shop/web""#);
    account.shown().into_iter().filter(|line| !is_ours(line)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_life_ends_where_it_shall(
        acts in prop::collection::vec(an_act(), 1..6),
        delay in 0_u8..3,
        most_targets in prop_oneof![Just(0_usize), Just(5)],
    ) {
        let mut account = account();
        account.delay = delay;
        account.most_targets = most_targets;
        let before = foreign(&account);
        for (desired, lives) in &acts {
            let desired = desired.as_ref();
            let mut lives = lives.unwrap_or(usize::MAX);
            for rounds in 0.. {
                prop_assert!(rounds < 30, "it does not settle: {:?}", lines(&mut account, desired));
                match round(&mut account, desired, &mut lives) {
                    // Somebody else's target group takes only what it takes.
                    Err(error) => {
                        prop_assert_eq!(error.reason, UNKNOWN_TARGET_GROUP);
                        break;
                    }
                    Ok(Round::Died) => break,
                    Ok(Round::GoesOn) => {}
                    Ok(Round::Settled) => {
                        if let Some(desired) = desired {
                            check(&account, desired);
                        }
                        break;
                    }
                }
            }
        }
        settle(&mut account, None);
        prop_assert_eq!(foreign(&account), before.clone());
        prop_assert_eq!(account.shown().len(), before.len(), "nothing of ours is left");
    }
}
