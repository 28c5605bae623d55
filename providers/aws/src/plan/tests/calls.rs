//! How many calls each case is, the shared rules included.

use super::*;
use crate::desired::{backend_group_name, backend_group_tags, backend_needs, backend_rules, tests::endpoints};

/// The calls from what there is to what shall be; and it is done.
struct Counted {
    account: Contents,
    shared: ObservedShared,
    calls: usize,
}

impl Counted {
    fn new() -> Self {
        let account = account();
        let group = account
            .security_groups
            .values()
            .find(|group| group.name == BACKEND_NAME)
            .cloned();
        // Another Service has opened one port already.
        let others = wanted(&world(0), &[]);
        assert!(others.target_groups["shop/web:80"].targets.is_empty());
        Self {
            account,
            shared: ObservedShared {
                group,
                rules: BTreeMap::new(),
                others: BTreeMap::new(),
            },
            calls: 0,
        }
    }

    fn change(&mut self, world: &World, service: Option<&Service>) -> usize {
        self.calls = 0;
        let desired = service.map(|service| world.desired(service));
        let needs = match (&desired, service) {
            (Some(desired), Some(service)) => backend_needs(desired, &world.settings(service), world.around()),
            _ => BTreeSet::new(),
        };
        let shared = Shared {
            name: backend_group_name("production"),
            tags: backend_group_tags(&world.defaults),
            is_wanted: true,
            rules: backend_rules(&needs),
            is_complete: true,
        };
        let outcome = plan_shared(&shared, &self.shared);
        self.calls += outcome.calls();
        self.shared.rules = shared.rules;
        for _ in 0..10 {
            let outcome = plan(&owner(), desired.as_ref(), &self.account.observe()).unwrap();
            if outcome.is_settled() {
                return self.calls;
            }
            self.calls += outcome.calls();
            for step in outcome.steps.steps() {
                self.account.perform(step).unwrap();
            }
        }
        panic!("it does not settle");
    }
}

/// Pods with one security group for all.
fn pods(addresses: &[&str]) -> World {
    let mut world = world(0);
    world.cluster.endpoints = endpoints(addresses);
    world.cluster.backend_group = Some("sg-1".to_owned());
    let groups = addresses
        .iter()
        .map(|address| ((*address).to_owned(), vec!["sg-n".to_owned()]));
    world.cluster.interface_groups = groups.collect();
    world
}

#[test]
fn each_case_stays_in_its_budget() {
    let mut counted = Counted::new();
    let web = service(&[("aws-load-balancer-nlb-target-type", "ip")]);
    let create = counted.change(&pods(&["10.0.1.5", "10.0.1.6"]), Some(&web));
    let unchanged = counted.change(&pods(&["10.0.1.5", "10.0.1.6"]), Some(&web));
    let endpoint = counted.change(&pods(&["10.0.1.5", "10.0.1.7"]), Some(&web));
    let delete = counted.change(&pods(&[]), None);
    assert_eq!((create, unchanged, endpoint, delete), (7, 0, 2, 4));
    // What the project promises: 8, 2, 2 and 5.
}

#[test]
fn another_port_is_three_calls_and_one_attribute_one() {
    let mut counted = Counted::new();
    let web = service(&[]);
    let nodes = world(3);
    assert_eq!(counted.change(&nodes, Some(&web)), 6);
    let more = with_ports(web, &[80, 443]);
    assert_eq!(
        counted.change(&nodes, Some(&more)),
        4,
        "a target group, its targets, a listener and a rule"
    );
    let mut attribute = more.clone();
    attribute.annotations = service(&[("aws-load-balancer-cross-zone-load-balancing-enabled", "true")]).annotations;
    assert_eq!(counted.change(&nodes, Some(&attribute)), 1);
    assert_eq!(counted.change(&nodes, Some(&more)), 1, "and back");
}

#[test]
fn many_targets_and_many_tags_are_several_calls() {
    let mut counted = Counted::new();
    assert_eq!(counted.change(&world(401), Some(&service(&[]))), 5 + 3);
    let tagged = service(&[("aws-load-balancer-additional-resource-tags", "team=shop")]);
    assert_eq!(
        counted.change(&world(401), Some(&tagged)),
        2,
        "one for all of load balancing, one for the security group"
    );
}
