//! What goes wrong on the way, and what somebody else does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlead_aws::account::{Account as _, LIMIT_REACHED, Named, REFUSED};
use fairlead_aws_account::{Call, Lane, Limit, Watch};
use fairlead_e2e::aws::{Refusal, TokenBucket};
use fairlead_lab::test_name;
use fairlead_provider::Retry;
use serde_json::json;

use crate::cluster::{CLUSTER, Operator, connect, no_limits, owner, wish};
use crate::contents::contents;
use crate::with_network;

const IP: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");

/// Counts as the program's metrics do.
#[derive(Default)]
struct Counter(Mutex<BTreeMap<String, u64>>);

impl Watch for Counter {
    fn called(&self, call: Call) {
        *self.0.lock().unwrap().entry(call.operation.to_string()).or_default() += 1;
    }
}

#[test]
fn every_call_can_go_wrong_and_is_counted() {
    with_network(test_name!(), 2, async |aws, network| {
        let steps = async |operator: Operator| {
            let nodes: Vec<_> = network.instances.iter().map(|node| node.address.as_str()).collect();
            let mut seen = Vec::new();
            for pods in [&nodes[..1], &nodes[1..]] {
                operator
                    .settle(&owner("web"), Some(&wish("web", &[IP], pods)))
                    .await
                    .unwrap();
                seen.push(contents(aws, &network));
            }
            operator.settle(&owner("web"), None).await.unwrap();
            seen.push(contents(aws, &network));
            seen
        };
        let calm = steps(Operator::start(aws, &network).await).await;
        let used: Vec<_> = aws.faults().calls().into_keys().collect();
        assert!(used.len() >= 16, "{used:?}");
        aws.faults().reset();
        for operation in &used {
            aws.faults().on(operation).drop_reply(1);
            aws.faults().on(operation).throttle(1);
            aws.faults().on(operation).fail(503, 1);
        }
        let counter = Arc::new(Counter::default());
        let account = connect(aws, &network, no_limits(), counter.clone()).await;
        let troubled = steps(Operator::new(account, network.clone())).await;
        assert_eq!(troubled, calm);
        assert_eq!(*counter.0.lock().unwrap(), aws.faults().calls());
    });
}

#[test]
fn many_services_at_once_get_through_an_api_that_throttles() {
    const SERVICES: usize = 60;
    with_network(test_name!(), 1, async |aws, network| {
        // More than AWS grants here.
        let fast = Limit {
            rate: 40.0,
            burst: 40.0,
        };
        let mut limits = no_limits();
        limits.insert(Lane::ChangeLoadBalancers, fast);
        let account = connect(aws, &network, limits, Arc::new(())).await;
        let operator = Operator::new(account, network.clone());
        operator
            .settle(&owner("first"), Some(&wish("first", &[], &[])))
            .await
            .unwrap();
        aws.faults().forget_calls();
        let bucket = TokenBucket::new(10, Duration::from_millis(100));
        aws.faults().on("elasticloadbalancing:Create*").throttle_above(bucket);
        let each = (0..SERVICES).map(|number| {
            let operator = &operator;
            async move {
                let name = format!("web-{number}");
                operator.settle(&owner(&name), Some(&wish(&name, &[], &[]))).await
            }
        });
        for done in futures::future::join_all(each).await {
            done.unwrap();
        }
        let creates = |calls: BTreeMap<String, u64>| {
            let calls = calls
                .into_iter()
                .filter(|(name, _)| name.starts_with("elasticloadbalancing:Create"));
            calls.map(|(_, count)| count).sum::<u64>()
        };
        let (all, wasted) = (creates(aws.faults().calls()), creates(aws.faults().refused()));
        assert_eq!(all - wasted, 3 * SERVICES as u64, "each is made once");
        assert!(wasted > 0, "nothing was throttled");
        assert!(wasted * 10 <= all, "{wasted} of {all} calls were in vain");
        let lanes = operator.account.lanes();
        let lane = lanes
            .iter()
            .find(|lane| lane.lane == Lane::ChangeLoadBalancers)
            .unwrap();
        assert!(lane.rate < 30.0 && lane.waiting == 0, "{lane:?}");
    });
}

#[test]
fn what_is_refused_is_not_asked_for_again() {
    with_network(test_name!(), 1, async |aws, network| {
        let operator = Operator::start(aws, &network).await;
        let refusal = Refusal::new("ValidationError", "one of them is wrong");
        aws.faults().on("CreateTargetGroup").refuse(refusal, 1);
        let web = wish("web", &[], &[]);
        let error = operator.settle(&owner("web"), Some(&web)).await.unwrap_err();
        assert_eq!((error.reason, error.retry), (REFUSED, Retry::WhenChanged));
        let message = "elasticloadbalancing:CreateTargetGroup: ValidationError: one of them is wrong";
        assert_eq!(error.message, message);
        assert_eq!(aws.faults().calls()["elasticloadbalancing:CreateTargetGroup"], 1);

        let full = Refusal::new("TooManyTargets", "no more of them");
        aws.faults().on("RegisterTargets").refuse(full, 1);
        let error = operator.settle(&owner("web"), Some(&web)).await.unwrap_err();
        assert_eq!((error.reason, error.retry), (LIMIT_REACHED, Retry::Backoff));
        assert!(
            operator
                .account
                .read(|seen| seen.target_groups.values().all(|group| group.is_full))
        );
        operator.settle(&owner("web"), Some(&web)).await.unwrap();
        assert!(
            operator
                .account
                .read(|seen| seen.target_groups.values().all(|group| !group.is_full))
        );
    });
}

#[test]
fn what_somebody_else_changes_is_found_and_mended() {
    with_network(test_name!(), 2, async |aws, network| {
        let operator = Operator::start(aws, &network).await;
        let web = wish("web", &[], &[]);
        operator.settle(&owner("web"), Some(&web)).await.unwrap();
        let whole = contents(aws, &network);
        let boto = aws.boto();
        let seen = boto.describe().unwrap();
        let group = &seen["TargetGroups"][0]["TargetGroupArn"];
        let listener = &seen["LoadBalancers"][0]["Listeners"][0]["ListenerArn"];
        let target = json!({ "TargetGroupArn": group, "Targets": [{ "Id": network.instances[0].id }] });
        boto.call("elbv2", "deregister_targets", &target).unwrap();
        boto.call("elbv2", "delete_listener", &json!({ "ListenerArn": listener }))
            .unwrap();
        // Each look sees a part, and all is seen in turns.
        for _ in 0..6 {
            operator.account.look(&Named::default()).await.unwrap();
            operator.settle(&owner("web"), Some(&web)).await.unwrap();
        }
        assert_eq!(contents(aws, &network), whole);

        let balancer = &seen["LoadBalancers"][0]["LoadBalancerArn"];
        boto.call("elbv2", "delete_load_balancer", &json!({ "LoadBalancerArn": balancer }))
            .unwrap();
        boto.call("elbv2", "delete_target_group", &json!({ "TargetGroupArn": group }))
            .unwrap();
        // What was just made is not taken for gone where it is not listed yet, but this one knows of nothing.
        let operator = Operator::start(aws, &network).await;
        operator.settle(&owner("web"), Some(&web)).await.unwrap();
        assert_eq!(contents(aws, &network), whole);
    });
}

#[test]
fn what_others_made_is_seen_while_it_is_named() {
    with_network(test_name!(), 1, async |aws, network| {
        let operator = Operator::start(aws, &network).await;
        operator.account.look(&Named::default()).await.unwrap();
        let theirs = {
            let other = Operator::start(aws, &network).await;
            other
                .settle(&owner("theirs"), Some(&wish("theirs", &[], &[])))
                .await
                .unwrap();
            let boto = aws.boto();
            let seen = boto.describe().unwrap();
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let balancer = text(&seen["LoadBalancers"][0]["LoadBalancerArn"]);
            let listener = text(&seen["LoadBalancers"][0]["Listeners"][0]["ListenerArn"]);
            let group = text(&seen["TargetGroups"][0]["TargetGroupArn"]);
            let arns = [&balancer, &listener, &group];
            let tags = json!({ "ResourceArns": arns, "TagKeys": ["fairlead.io/cluster"] });
            boto.call("elbv2", "remove_tags", &tags).unwrap();
            (balancer, group)
        };
        let look = async |named: Named, everything: bool| {
            if everything {
                operator.account.look(&named).await.unwrap();
            } else {
                operator.account.look_at(&named).await.unwrap();
            }
            operator.account.read(|seen| {
                let listeners = seen.load_balancers.values().map(|found| found.listeners.len());
                (
                    listeners.sum::<usize>(),
                    seen.target_groups.values().map(|it| it.targets.len()).sum::<usize>(),
                )
            })
        };
        let named = |balancers: &[&String], groups: &[&String]| Named {
            load_balancers: balancers.iter().map(|arn| (*arn).clone()).collect(),
            target_groups: groups.iter().map(|arn| (*arn).clone()).collect(),
        };
        assert_eq!(look(Named::default(), true).await, (0, 0), "nobody named it");
        let gone = theirs.0.replace("loadbalancer/net/", "loadbalancer/net/not-");
        assert_eq!(
            look(named(&[&theirs.0, &gone], &[]), false).await,
            (1, 0),
            "what is not there is left out"
        );
        assert_eq!(look(named(&[], &[&theirs.1]), false).await, (1, 1));
        assert_eq!(look(named(&[], &[&theirs.1]), true).await, (1, 1), "with who uses it");
        assert_eq!(look(Named::default(), true).await, (0, 0));
    });
}

#[test]
fn a_rule_that_somebody_else_has_made_serves_and_stays() {
    with_network(test_name!(), 1, async |aws, network| {
        let operator = Operator::start(aws, &network).await;
        let web = wish("web", &[], &[]);
        operator.settle(&owner("web"), Some(&web)).await.unwrap();
        let shared = operator.account.read(|seen| seen.shared(CLUSTER).group.unwrap().id);
        // Somebody puts theirs in the place of ours.
        let rule = |description: &str| {
            json!({
                "GroupId": network.node_security_group,
                "IpPermissions": [{
                    "IpProtocol": "tcp",
                    "FromPort": 30080,
                    "ToPort": 30080,
                    "UserIdGroupPairs": [{ "GroupId": shared, "Description": description }],
                }],
            })
        };
        let boto = aws.boto();
        let ours = rule("fairlead.io/cluster=production");
        boto.call("ec2", "revoke_security_group_ingress", &ours).unwrap();
        boto.call("ec2", "authorize_security_group_ingress", &rule("theirs"))
            .unwrap();
        operator.account.look(&Named::default()).await.unwrap();
        assert_eq!(operator.settle(&owner("web"), Some(&web)).await.unwrap(), 0);
        let observed = operator.account.read(|seen| seen.shared(CLUSTER));
        assert!(observed.rules.is_empty(), "{observed:?}");
        assert_eq!(observed.others[&network.node_security_group].len(), 1);
    });
}
