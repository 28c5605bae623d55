use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

/// Node a and b, a provider, a pool, and the Service shop/web with an address of each family.
fn surroundings() -> Surroundings {
    let provider = json!({
        "metadata": { "name": "lan" },
        "spec": { "default": true, "local": {} },
    });
    Surroundings {
        providers: [("lan".to_owned(), read(provider, "LoadBalancerProvider"))].into(),
        pools: [("pool".to_owned(), read(pool(&json!({})), "AddressPool"))].into(),
        load_balancers: [(web(), load_balancer("web", &["198.51.100.7", "2001:db8::7"]))].into(),
        members: [member("a"), member("b")].into(),
    }
}

fn read<T: serde::de::DeserializeOwned>(mut object: Value, kind: &str) -> Arc<T> {
    object["apiVersion"] = json!("fairlead.io/v1alpha1");
    object["kind"] = json!(kind);
    Arc::new(serde_json::from_value(object).unwrap())
}

fn pool(announcement: &Value) -> Value {
    json!({
        "metadata": { "name": "pool" },
        "spec": { "addresses": ["198.51.100.0/24", "2001:db8::/112"], "announcement": announcement },
    })
}

fn load_balancer(service: &str, addresses: &[&str]) -> Arc<LoadBalancer> {
    read(
        json!({
            "metadata": { "name": service, "namespace": "shop" },
            "spec": { "provider": "lan", "services": [{ "namespace": "shop", "name": service }] },
            "status": { "pool": "pool", "addresses": addresses },
        }),
        "LoadBalancer",
    )
}

fn member(name: &str) -> (String, Arc<Member>) {
    let member = Member {
        addresses: vec!["172.30.0.11".parse().unwrap()],
        labels: [("kubernetes.io/os", "linux"), ("kubernetes.io/hostname", name)]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
        ..Member::default()
    };
    (name.to_owned(), Arc::new(member))
}

fn web() -> ServiceName {
    ServiceName::new("shop", "web")
}

const SERVED: Backing = Backing {
    is_local: false,
    has_endpoint: true,
    has_local_endpoint: false,
};
const ELIGIBLE: Eligibility = Eligibility::Eligible { weight: 0 };

/// The plan of node a.
fn plan_with(surroundings: &Surroundings, backing: Backing) -> Plan {
    plan_of(surroundings, true, |_| Some(backing))
}

fn plan_of(surroundings: &Surroundings, is_in_sync: bool, backing: impl Fn(&ServiceName) -> Option<Backing>) -> Plan {
    let linux = "kubernetes.io/os=linux"
        .parse::<super::super::flags::NodeLabels>()
        .unwrap();
    let here = Here {
        node: "a",
        has_agent: &linux.selector(),
        is_in_sync,
    };
    plan(surroundings, here, backing)
}

/// Whether node a may have the first address after `change` of node a.
fn eligibility_after(change: impl FnOnce(&mut Member)) -> Eligibility {
    let mut surroundings = surroundings();
    change(Arc::make_mut(surroundings.members.get_mut("a").unwrap()));
    only(&plan_with(&surroundings, SERVED)).eligibility
}

fn only(plan: &Plan) -> &Post {
    plan.posts.values().next().unwrap()
}

/// Whether node a may have an address of a pool that is announced so.
fn eligibility_with(announcement: &Value) -> Eligibility {
    let mut surroundings = surroundings();
    surroundings.pools = [("pool".to_owned(), read(pool(announcement), "AddressPool"))].into();
    only(&plan_with(&surroundings, SERVED)).eligibility
}

#[test]
fn each_address_of_a_known_service_is_a_post_of_its_own() {
    let plan = plan_with(&surroundings(), SERVED);
    let addresses: Vec<_> = plan.posts.keys().map(ToString::to_string).collect();
    assert_eq!(addresses, ["198.51.100.7", "2001:db8::7"]);
    assert!(
        plan.posts
            .values()
            .all(|post| post.answers_echo && post.is_probed && post.eligibility == ELIGIBLE)
    );
    assert_eq!(plan.members.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(plan.refresh, Some(std::time::Duration::from_mins(1)));
}

#[test]
fn an_address_is_announced_only_after_its_rules_are_there() {
    assert!(plan_of(&surroundings(), true, |_| None).posts.is_empty());
    let behind = plan_of(&surroundings(), false, |_| Some(SERVED));
    let reason = Eligibility::Ineligible(Ineligible::DataplaneNotInSync);
    assert!(behind.posts.values().all(|post| post.eligibility == reason));
}

#[test]
fn without_a_local_provider_there_is_nothing_to_do() {
    let mut surroundings = surroundings();
    surroundings.providers.clear();
    assert_eq!(plan_with(&surroundings, SERVED), Plan::default());
    assert!(addresses_of_services(&surroundings).is_empty());
}

#[test]
fn a_node_is_left_without_a_gap_when_a_person_wants_it() {
    assert_eq!(eligibility_after(|_| {}), ELIGIBLE);
    assert_eq!(
        eligibility_after(|member| member.is_excluded = true),
        Eligibility::Leaving
    );
    // A cordon is for pods, unless the provider says otherwise.
    assert_eq!(eligibility_after(|member| member.is_cordoned = true), ELIGIBLE);
    let mut moving = surroundings();
    moving.providers = [(
        "lan".to_owned(),
        read(
            json!({ "metadata": { "name": "lan" }, "spec": { "local": { "cordonedNodes": "Move" } } }),
            "LoadBalancerProvider",
        ),
    )]
    .into();
    Arc::make_mut(moving.members.get_mut("a").unwrap()).is_cordoned = true;
    assert_eq!(only(&plan_with(&moving, SERVED)).eligibility, Eligibility::Leaving);
}

#[test]
fn a_node_that_cannot_serve_has_no_address() {
    assert_eq!(
        eligibility_after(|member| member.is_without_network = true),
        Eligibility::Ineligible(Ineligible::NetworkUnavailable)
    );
    let mut gone = surroundings();
    gone.members.remove("a");
    let unknown = Eligibility::Ineligible(Ineligible::Unknown);
    assert_eq!(only(&plan_with(&gone, SERVED)).eligibility, unknown);
}

#[test]
fn a_node_that_the_api_server_has_given_up_is_lost_and_stays_a_member() {
    let mut surroundings = surroundings();
    assert!(plan_with(&surroundings, SERVED).lost.is_empty());
    Arc::make_mut(surroundings.members.get_mut("b").unwrap()).is_lost = true;
    let plan = plan_with(&surroundings, SERVED);
    assert_eq!(plan.lost, ["b".to_owned()].into());
    assert!(plan.members.contains_key("b"));
    surroundings.pools = [(
        "pool".to_owned(),
        read(
            pool(&json!({ "nodeSelectors": [{ "matchLabels": { "kubernetes.io/hostname": "a" } }] })),
            "AddressPool",
        ),
    )]
    .into();
    assert!(plan_with(&surroundings, SERVED).lost.is_empty(), "it has no say");
}

#[test]
fn policy_local_wants_an_endpoint_on_the_node() {
    let elsewhere = Backing {
        is_local: true,
        ..SERVED
    };
    let here = Backing {
        has_local_endpoint: true,
        ..elsewhere
    };
    assert_eq!(
        only(&plan_with(&surroundings(), elsewhere)).eligibility,
        Eligibility::Leaving
    );
    assert_eq!(only(&plan_with(&surroundings(), here)).eligibility, ELIGIBLE);
}

#[test]
fn pings_are_answered_while_there_is_an_endpoint() {
    let empty = Backing::default();
    let plan = plan_with(&surroundings(), empty);
    assert!(
        plan.posts
            .values()
            .all(|post| !post.answers_echo && post.eligibility == ELIGIBLE)
    );
}

#[test]
fn the_pool_says_which_nodes_and_where() {
    let on = |name: &str| json!({ "matchLabels": { "kubernetes.io/hostname": name } });
    assert_eq!(
        eligibility_with(&json!({ "nodeSelectors": [on("b"), on("a")] })),
        ELIGIBLE
    );
    // Another node can take it, and here none can.
    assert_eq!(
        eligibility_with(&json!({ "nodeSelectors": [on("b")] })),
        Eligibility::Leaving
    );
    assert_eq!(
        eligibility_with(&json!({ "nodeSelectors": [on("c")] })),
        Eligibility::Ineligible(Ineligible::Excluded)
    );
    let preferred = json!({ "preferredNodes": [
        { "weight": 70, "preference": on("a") },
        { "weight": 5, "preference": { "matchLabels": { "kubernetes.io/os": "linux" } } },
        { "weight": 100, "preference": on("b") },
    ]});
    assert_eq!(eligibility_with(&preferred), Eligibility::Eligible { weight: 75 });

    let mut named = surroundings();
    let announcement = json!({ "interfaces": ["eth1"], "requireOnLink": false });
    named.pools = [("pool".to_owned(), read(pool(&announcement), "AddressPool"))].into();
    let scope = only(&plan_with(&named, SERVED)).scope.clone();
    assert_eq!(scope.interfaces, Interfaces::Named(["eth1".to_owned()].into()));
    assert_eq!(scope.reach, Reach::Routed);
}

#[test]
fn nodes_that_no_pool_selects_and_those_without_an_agent_have_no_say() {
    let mut surroundings = surroundings();
    let announcement = json!({ "nodeSelectors": [{ "matchLabels": { "kubernetes.io/hostname": "a" } }] });
    surroundings.pools = [("pool".to_owned(), read(pool(&announcement), "AddressPool"))].into();
    let members = |surroundings: &Surroundings| plan_with(surroundings, SERVED).members.into_keys().collect::<Vec<_>>();
    assert_eq!(members(&surroundings), ["a"]);
    surroundings.pools = [("pool".to_owned(), read(pool(&json!({})), "AddressPool"))].into();
    let b = Arc::make_mut(surroundings.members.get_mut("b").unwrap());
    b.labels.insert("kubernetes.io/os".to_owned(), "windows".to_owned());
    assert_eq!(members(&surroundings), ["a"]);
}

#[test]
fn a_shared_address_may_be_where_one_of_its_services_is_served() {
    let mut surroundings = surroundings();
    let other = ServiceName::new("shop", "mail");
    surroundings
        .load_balancers
        .insert(other.clone(), load_balancer("mail", &["198.51.100.7"]));
    let served_nowhere_here = Backing {
        is_local: true,
        has_endpoint: true,
        has_local_endpoint: false,
    };
    let plan = plan_of(&surroundings, true, |service| {
        Some(if *service == other { SERVED } else { served_nowhere_here })
    });
    let by_address: Vec<_> = plan.posts.values().map(|post| post.eligibility).collect();
    assert_eq!(by_address, [ELIGIBLE, Eligibility::Leaving]);
    let addresses = addresses_of_services(&surroundings);
    assert_eq!(addresses[&other].len(), 1);
    assert_eq!(addresses[&web()].len(), 2);
}
