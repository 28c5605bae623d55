//! How many calls each case is, counted where they arrive.

use std::collections::BTreeMap;

use fairlead_aws::account::{Account as _, Named};
use fairlead_e2e::aws::AwsBackend;
use fairlead_lab::test_name;

use crate::cluster::{Operator, owner, wish};
use crate::with_network;

const PODS: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");

/// The calls since the last time, by operation.
fn take_calls(aws: &AwsBackend) -> BTreeMap<String, u64> {
    let calls = aws.faults().calls();
    aws.faults().forget_calls();
    calls
}

fn sum(calls: &BTreeMap<String, u64>) -> u64 {
    calls.values().sum()
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts
        .map(|(name, count)| {
            let name = if name.contains(':') {
                name.to_owned()
            } else {
                format!("elasticloadbalancing:{name}")
            };
            (name, count)
        })
        .into()
}

#[test]
fn one_service_from_its_creation_to_its_end() {
    with_network(test_name!(), 3, async |aws, network| {
        let operator = Operator::start(aws, &network).await;
        // Warm: there is another Service already, and the pods were seen.
        let pods: Vec<_> = network.instances.iter().map(|node| node.address.as_str()).collect();
        operator
            .settle(&owner("first"), Some(&wish("first", &[PODS], &pods)))
            .await
            .unwrap();
        take_calls(aws);

        let web = wish("web", &[PODS], &pods[..2]);
        operator.settle(&owner("web"), Some(&web)).await.unwrap();
        let created = take_calls(aws);
        let expected = counts([
            ("CreateListener", 1),
            ("CreateLoadBalancer", 1),
            ("CreateTargetGroup", 1),
            ("RegisterTargets", 1),
            // Whether it is active.
            ("DescribeLoadBalancers", 1),
            ("ec2:AuthorizeSecurityGroupIngress", 1),
            ("ec2:CreateSecurityGroup", 1),
        ]);
        assert_eq!(created, expected, "8 are promised");

        operator.settle(&owner("web"), Some(&web)).await.unwrap();
        assert_eq!(take_calls(aws), counts([]), "what has not changed is known");

        let moved = wish("web", &[PODS], &pods[1..]);
        operator.settle(&owner("web"), Some(&moved)).await.unwrap();
        let expected = counts([("RegisterTargets", 1), ("DeregisterTargets", 1)]);
        assert_eq!(take_calls(aws), expected, "2 are promised");

        operator.settle(&owner("web"), None).await.unwrap();
        let expected = counts([
            ("DeleteLoadBalancer", 1),
            ("DeleteTargetGroup", 1),
            ("ec2:DeleteSecurityGroup", 1),
            ("ec2:DescribeNetworkInterfaces", 1),
        ]);
        assert_eq!(take_calls(aws), expected, "5 are promised, and what is waited for");
    });
}

#[test]
fn the_first_service_pays_for_what_all_share_and_the_last_one_takes_it_away() {
    with_network(test_name!(), 1, async |aws, network| {
        let operator = Operator::start(aws, &network).await;
        let web = wish("web", &[], &[]);
        let targets = operator.targets(&web);
        operator.account.interface_groups(&targets).await.unwrap();
        operator.account.look(&Named::default()).await.unwrap();
        take_calls(aws);
        operator.settle(&owner("web"), Some(&web)).await.unwrap();
        // The driver of this test looks once more when it begins.
        let created: u64 = take_calls(aws)
            .iter()
            .filter(|(name, _)| !name.contains(":Describe"))
            .map(|it| it.1)
            .sum();
        assert_eq!(created, 8);
        operator.settle(&owner("web"), None).await.unwrap();
        let deleted = take_calls(aws);
        assert_eq!(
            sum(&deleted) - deleted["ec2:DescribeNetworkInterfaces"],
            5,
            "{deleted:?}"
        );
    });
}

/// With 500 Services the listings are a fifth of a call for each.
#[test]
fn looking_at_many_services_that_have_not_changed_is_less_than_two_calls_for_each() {
    const SERVICES: u64 = 60;
    with_network(test_name!(), 1, async |aws, network| {
        let operator = Operator::start(aws, &network).await;
        for number in 0..SERVICES {
            let name = format!("web-{number}");
            operator
                .settle(&owner(&name), Some(&wish(&name, &[], &[])))
                .await
                .unwrap();
        }
        for round in 0..4 {
            take_calls(aws);
            operator.account.look(&Named::default()).await.unwrap();
            operator.account.vpc().await.unwrap();
            for number in 0..SERVICES {
                let name = format!("web-{number}");
                let steps = operator
                    .settle(&owner(&name), Some(&wish(&name, &[], &[])))
                    .await
                    .unwrap();
                assert_eq!(steps, 0, "{name} in round {round}");
            }
            let calls = take_calls(aws);
            assert!(sum(&calls) < 2 * SERVICES, "round {round}: {calls:?}");
        }
    });
}
