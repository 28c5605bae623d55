//! What all load balancers share.

use super::*;
use crate::desired::{BackendRules, Group, Rule, RuleProtocol, RuleSource};

fn rule(from: u16, to: u16, group: Group) -> Rule {
    Rule {
        protocol: RuleProtocol::Tcp(from, to),
        source: RuleSource::Group(group),
    }
}

fn named() -> Group {
    Group::Named("shared".to_owned())
}

fn known() -> Group {
    Group::Id("sg-1".to_owned())
}

fn shared(rules: &[(&str, Rule)]) -> Shared {
    let mut all = BackendRules::new();
    for (group, rule) in rules {
        all.entry((*group).to_owned()).or_default().insert(rule.clone());
    }
    Shared {
        name: "shared".to_owned(),
        tags: Tags::new(),
        is_wanted: true,
        rules: all,
        is_complete: true,
    }
}

fn observed(rules: &[(&str, Rule)], is_in_use: bool) -> ObservedShared {
    ObservedShared {
        group: Some(ObservedSecurityGroup {
            id: "sg-1".to_owned(),
            name: "shared".to_owned(),
            rules: BTreeSet::new(),
            is_full: false,
            is_in_use,
            tags: Tags::new(),
        }),
        rules: shared(rules).rules,
        others: BTreeMap::new(),
    }
}

fn lines(desired: &Shared, observed: &ObservedShared) -> Vec<String> {
    let outcome = plan_shared(desired, observed);
    let steps = outcome.steps.steps().iter().map(ToString::to_string);
    steps
        .chain(outcome.waits.iter().map(|wait| format!("? {wait}")))
        .collect()
}

#[test]
fn the_group_is_made_before_targets_let_it_in() {
    let desired = shared(&[("sg-n", rule(80, 80, named()))]);
    assert_eq!(
        lines(&desired, &ObservedShared::default()),
        ["+ security group shared", "+ rules of sg-n: tcp 80 from shared"]
    );
    assert_eq!(
        lines(&desired, &observed(&[("sg-n", rule(80, 80, known()))], true)),
        [""; 0]
    );
}

#[test]
fn a_wider_range_comes_before_the_narrower_one_goes() {
    let desired = shared(&[("sg-n", rule(80, 90, named()))]);
    assert_eq!(
        lines(
            &desired,
            &observed(
                &[("sg-n", rule(80, 80, known())), ("sg-z", rule(80, 80, known()))],
                true
            )
        ),
        [
            "+ rules of sg-n: tcp 80-90 from sg-1",
            "- rules of sg-n: tcp 80 from sg-1",
            "- rules of sg-z: tcp 80 from sg-1",
        ]
    );
}

#[test]
fn nothing_is_taken_away_until_every_service_has_been_read() {
    let mut desired = shared(&[]);
    desired.is_complete = false;
    desired.is_wanted = false;
    let seen = observed(&[("sg-n", rule(80, 80, known()))], false);
    assert_eq!(lines(&desired, &seen), [""; 0]);
    desired.is_complete = true;
    assert_eq!(
        lines(&desired, &seen),
        ["- rules of sg-n: tcp 80 from sg-1", "- security group sg-1"]
    );
    let used = observed(&[], true);
    assert_eq!(
        lines(&desired, &used),
        ["? network interfaces still have security group sg-1"]
    );
}

#[test]
fn what_somebody_else_lets_in_already_needs_no_rule_of_ours() {
    let desired = shared(&[("sg-n", rule(80, 80, named()))]);
    let mut seen = observed(&[], true);
    seen.others = shared(&[("sg-n", rule(80, 80, known()))]).rules;
    assert_eq!(lines(&desired, &seen), [""; 0]);
    seen.others = shared(&[("sg-n", rule(81, 81, known())), ("sg-z", rule(80, 80, known()))]).rules;
    assert_eq!(lines(&desired, &seen), ["+ rules of sg-n: tcp 80 from sg-1"]);
}
