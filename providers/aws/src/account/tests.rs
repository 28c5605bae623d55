//! The port, with an account in memory behind it: what steps leave behind is noted as a look would see it.

use fairlead_model::ServiceName;

use super::*;
use crate::contract::Defaults;
use crate::desired::tests::{World, endpoints, node, service};
use crate::desired::{
    CLUSTER_TAG, Group, LoadBalancer, Rule, RuleProtocol, RuleSource, SERVICE_TAG, Tags, backend_group_name,
    backend_group_tags,
};
use crate::plan::{ListenerRef, Outcome, Owner, Ref, Shared, State, plan, plan_shared};
use crate::testing::{Contents, TestAccount};

const PODS: (&str, &str) = ("aws-load-balancer-nlb-target-type", "ip");
const ATTRIBUTES: (&str, &str) = ("aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=true");

fn owner() -> Owner {
    Owner {
        cluster: "production".to_owned(),
        service: ServiceName::new("shop", "web"),
    }
}

fn world() -> World {
    let mut world = World::new();
    world.cluster.nodes = ["i-1", "i-2"].map(node).into();
    world.cluster.endpoints = endpoints(&["10.0.1.5", "10.0.1.6"]);
    world
}

fn account(world: &World) -> TestAccount {
    TestAccount::new("production", world.vpc.clone(), Contents::default())
}

/// What AWS called what a step made, found by looking.
fn made(step: &Step, account: &TestAccount) -> Made {
    account.read(|seen| match step {
        Step::CreateSecurityGroup { name, .. } => Made::SecurityGroup {
            id: seen
                .security_groups
                .values()
                .find(|found| found.name == *name)
                .unwrap()
                .id
                .clone(),
        },
        Step::CreateTargetGroup(new) => Made::TargetGroup {
            arn: seen.target_group(&Ref::Named(new.name.clone())).unwrap().to_owned(),
        },
        Step::CreateLoadBalancer(new) => {
            let arn = seen.load_balancer(&Ref::Named(new.name.clone())).unwrap();
            Made::LoadBalancer {
                arn: arn.to_owned(),
                dns_name: seen.load_balancers[arn].dns_name.clone(),
                state: State::Active,
            }
        }
        Step::CreateListener {
            load_balancer, port, ..
        } => Made::Listener {
            arn: seen
                .listener(&ListenerRef::At(load_balancer.clone(), *port))
                .unwrap()
                .to_owned(),
        },
        _ => Made::Nothing,
    })
}

/// Without what only a look finds out: attributes that nobody has set, and whether interfaces are gone.
fn comparable(mut snapshot: Snapshot) -> Snapshot {
    for found in snapshot.load_balancers.values_mut() {
        found.attributes.retain(|_, value| value == "true");
    }
    for found in snapshot.target_groups.values_mut() {
        found.attributes.retain(|key, _| key == "preserve_client_ip.enabled");
    }
    for found in snapshot.security_groups.values_mut() {
        found.is_in_use = false;
    }
    snapshot
}

async fn perform(account: &TestAccount, outcome: &Outcome, memory: &mut Snapshot) {
    for step in outcome.steps.steps() {
        account.perform(step).await.unwrap();
        memory.note(step, made(step, account));
        assert_eq!(
            comparable(memory.clone()),
            comparable(account.read(Snapshot::clone)),
            "after {step}"
        );
    }
}

/// What all Services share: the group that targets let in, and a rule by which they do.
async fn share(account: &TestAccount, memory: &mut Snapshot) {
    let name = backend_group_name("production");
    let rule = Rule {
        protocol: RuleProtocol::Tcp(80, 80),
        source: RuleSource::Group(Group::Named(name.clone())),
    };
    account.with(|contents| contents.create_security_group("nodes".to_owned(), Tags::new()));
    let desired = Shared {
        name,
        tags: backend_group_tags(&Defaults::of_cluster("production")),
        is_wanted: true,
        rules: [("sg-1".to_owned(), [rule].into())].into(),
        is_complete: true,
    };
    account.look(&Named::default()).await.unwrap();
    for steps in [2, 0] {
        let outcome = plan_shared(&desired, &account.read(|seen| seen.shared("production")));
        assert_eq!(outcome.steps.steps().len(), steps, "{}", outcome.steps);
        perform(account, &outcome, memory).await;
    }
}

/// Plans and performs until nothing is left to do, and notes each step in a memory of its own.
async fn settle(account: &TestAccount, desired: Option<&LoadBalancer>, memory: &mut Snapshot) {
    for _ in 0..10 {
        account.look(&Named::default()).await.unwrap();
        let observed = account.read(|seen| seen.observed(&owner(), Known::default()));
        let outcome = plan(&owner(), desired, &observed).unwrap();
        if outcome.steps.is_empty() {
            return;
        }
        perform(account, &outcome, memory).await;
    }
    panic!("it does not settle");
}

#[tokio::test]
async fn what_is_noted_is_what_a_look_sees() {
    let world = world();
    let account = account(&world);
    let mut memory = Snapshot::default();
    share(&account, &mut memory).await;
    let two = [PODS, ("aws-load-balancer-name", "other")];
    for annotations in [&[][..], &[ATTRIBUTES], &[PODS, ATTRIBUTES], &two] {
        let desired = world.desired(&service(annotations));
        settle(&account, Some(&desired), &mut memory).await;
    }
    assert!(memory.security_groups.values().all(|found| found.is_in_use));
    settle(&account, None, &mut memory).await;
    assert!(memory.load_balancers.is_empty() && memory.target_groups.is_empty());
}

#[tokio::test]
async fn a_service_sees_its_own_and_what_it_names() {
    let world = world();
    let account = account(&world);
    let desired = world.desired(&service(&[PODS]));
    let mut memory = Snapshot::default();
    share(&account, &mut memory).await;
    settle(&account, Some(&desired), &mut memory).await;
    let (arn, group) = account.with(|contents| {
        let arn = contents.load_balancers.keys().next().unwrap().clone();
        let group = contents.target_groups.keys().next().unwrap().clone();
        for found in contents.load_balancers.values_mut() {
            found.tags.insert(SERVICE_TAG.to_owned(), "shop/other".to_owned());
            found.listeners.clear();
        }
        contents.target_groups.values_mut().for_each(|found| {
            found.tags.insert(CLUSTER_TAG.to_owned(), "staging".to_owned());
            found.load_balancer = None;
        });
        (arn, group)
    });
    account.look(&Named::default()).await.unwrap();
    let observed = account.read(|seen| seen.observed(&owner(), Known::default()));
    assert!(observed.load_balancers.is_empty() && observed.target_groups.is_empty());
    assert_eq!(observed.security_groups.len(), 1);
    let known = Known {
        named: [arn.clone(), group.clone()].into(),
        ..Known::default()
    };
    let observed = account.read(|seen| seen.observed(&owner(), known));
    assert_eq!(
        (&observed.load_balancers[0].arn, &observed.target_groups[0].arn),
        (&arn, &group)
    );
    let owners: Vec<_> = account.read(|seen| seen.owners("production")).into_iter().collect();
    let names: Vec<_> = owners.iter().map(|owner| owner.service.to_string()).collect();
    assert_eq!(names, ["shop/other", "shop/web"]);
}
