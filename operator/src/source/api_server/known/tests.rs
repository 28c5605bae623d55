use fairlead_model::Kind;
use serde_json::{Value, json};

use super::super::watched::{OwnNode, Services};
use super::*;

fn service(name: &str, spec: &Value) -> Reduced<Services> {
    let metadata = json!({"namespace": "default", "name": name, "resourceVersion": "1", "managedFields": 5});
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})).unwrap()
}

fn good(name: &str) -> Reduced<Services> {
    service(name, &json!({"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}))
}

fn bad(name: &str) -> Reduced<Services> {
    service(name, &json!({"clusterIP": "10.96.0.1", "ports": [{"port": 0}]}))
}

/// `+name` for a value, `-name` for none, `!name` and `ok name` for what is noted, `complete`.
fn show(steps: &[Step]) -> Vec<String> {
    let show = |step: &Step| match step {
        Step::Change(Change::Service(name, Some(service))) => {
            assert_eq!(*name, service.name);
            format!("+{}", name.name)
        }
        Step::Change(Change::Service(name, None)) => format!("-{}", name.name),
        Step::Change(Change::InitialListComplete(Kind::Service)) => "complete".into(),
        Step::Change(other) => panic!("{other:?}"),
        Step::Faulty { object, fault } => format!("!{object}: {}", fault.field),
        Step::Sound { object } => format!("ok {object}"),
    };
    let mut shown: Vec<_> = steps.iter().map(show).collect();
    shown.sort();
    shown
}

fn run(known: &mut Known<Services>, events: Vec<Event<Reduced<Services>>>) -> Vec<String> {
    let steps: Vec<Step> = events.into_iter().flat_map(|event| known.translate(event)).collect();
    show(&steps)
}

fn listed(names: &[&str]) -> Vec<Event<Reduced<Services>>> {
    let objects = names.iter().map(|name| Event::InitApply(good(name)));
    [Event::Init]
        .into_iter()
        .chain(objects)
        .chain([Event::InitDone])
        .collect()
}

#[test]
fn the_initial_list_is_complete_once() {
    let mut known = Known::default();
    assert_eq!(run(&mut known, listed(&["a", "b"])), ["+a", "+b", "complete"]);
    assert_eq!(
        run(&mut known, vec![Event::Apply(good("a")), Event::Delete(good("b"))]),
        ["+a", "-b"]
    );
    assert_eq!(run(&mut known, listed(&["a"])), ["+a"]);
}

#[test]
fn a_repeated_list_removes_what_is_not_in_it() {
    let mut known = Known::default();
    run(&mut known, listed(&["a", "b", "c"]));
    assert_eq!(run(&mut known, listed(&["b"])), ["+b", "-a", "-c"]);
    assert_eq!(run(&mut known, listed(&[])), ["-b"]);
}

#[test]
fn a_list_that_breaks_off_removes_nothing_until_one_is_complete() {
    let mut known = Known::default();
    run(&mut known, listed(&["a", "b"]));
    assert_eq!(run(&mut known, vec![Event::Init, Event::InitApply(good("c"))]), ["+c"]);
    // "c" was only in the list that broke off.
    assert_eq!(run(&mut known, listed(&["a"])), ["+a", "-b", "-c"]);
}

#[test]
fn the_last_good_value_of_a_faulty_object_stays_until_the_object_goes() {
    let mut known = Known::default();
    run(&mut known, listed(&["a"]));
    assert_eq!(
        run(&mut known, vec![Event::Apply(bad("a"))]),
        ["!Service default/a: spec.ports[0].port"]
    );
    let relist = vec![Event::Init, Event::InitApply(bad("a")), Event::InitDone];
    assert_eq!(run(&mut known, relist), ["!Service default/a: spec.ports[0].port"]);
    assert_eq!(
        run(&mut known, vec![Event::Apply(good("a"))]),
        ["+a", "ok Service default/a"]
    );
    run(&mut known, vec![Event::Apply(bad("a"))]);
    assert_eq!(run(&mut known, listed(&[])), ["-a", "ok Service default/a"]);
}

#[test]
fn a_faulty_object_without_a_good_value_is_only_noted() {
    let mut known = Known::default();
    let list = vec![
        Event::Init,
        Event::InitApply(bad("a")),
        Event::InitApply(good("b")),
        Event::InitDone,
    ];
    assert_eq!(
        run(&mut known, list),
        ["!Service default/a: spec.ports[0].port", "+b", "complete"]
    );
    assert_eq!(run(&mut known, vec![Event::Delete(bad("a"))]), ["ok Service default/a"]);
}

#[test]
fn a_service_that_becomes_headless_is_gone_for_a_proxy() {
    let mut known = Known::default();
    run(&mut known, listed(&["a"]));
    let headless = || service("a", &json!({"clusterIP": "None"}));
    assert_eq!(run(&mut known, vec![Event::Apply(headless())]), ["-a"]);
    assert_eq!(
        run(&mut known, vec![Event::Apply(headless()), Event::Delete(headless())]),
        Vec::<String>::new()
    );
}

#[test]
fn an_object_that_does_not_fit_its_type_spoils_nothing_else() {
    let text = json!({
        "apiVersion": "v1", "kind": "ServiceList", "metadata": {"resourceVersion": "1"},
        "items": [
            {"metadata": {"namespace": "default", "name": "a"}, "spec": {"ports": "none"}},
            {"metadata": {"namespace": "default", "name": "b"}, "spec": {"clusterIP": "fd00::1", "ports": [{"port": 1}]}},
        ],
    })
    .to_string();
    let list: kube::api::ObjectList<Reduced<Services>> = serde_json::from_str(&text).unwrap();
    let mut known = Known::default();
    let steps = run(&mut known, list.items.into_iter().map(Event::Apply).collect());
    assert_eq!(steps, ["!Service default/a: spec.ports", "+b"]);
}

#[test]
fn the_own_node_comes_and_goes() {
    let node = || -> Reduced<OwnNode> {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.0.0.0/24"]}})).unwrap()
    };
    let mut known = Known::<OwnNode>::default();
    let steps = known.translate(Event::Apply(node()));
    assert!(
        matches!(&steps[..], [Step::Change(Change::Node(Some(node)))] if &*node.name == "a"),
        "{steps:?}"
    );
    let steps = known.translate(Event::Delete(node()));
    assert_eq!(steps, [Step::Change(Change::Node(None))]);
    assert_eq!(known.translate(Event::Delete(node())), []);
}

#[test]
fn an_empty_list_is_complete_too() {
    let mut known = Known::<Services>::default();
    assert_eq!(run(&mut known, listed(&[])), ["complete"]);
    assert_eq!(known.complete(), None);
}
