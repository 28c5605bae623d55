//! What all load balancers of a cluster share: the security group that targets let in, and the rules by which they do.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::{BackendRules, Group, Rule, RuleSource, Tags};

use super::security_groups::{authorize, differences, revoke};
use super::{Draft, ObservedSecurityGroup, Outcome, Step, Wait};

const DESCRIPTION: &str = "[k8s] Shared Backend SecurityGroup for LoadBalancer";

/// What shall be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The name of the group.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// Whether there is a load balancer that has it, or is to have it.
    pub is_wanted: bool,
    /// What targets let in: for Services that have a load balancer, for those that are to have one, before it is made, and for those that
    /// shall have none any more, until it is gone.
    pub rules: BackendRules,
    /// Whether the rules are those of all Services. One that cannot be read is in them with what it had; until each has been read once,
    /// nothing is taken away.
    pub is_complete: bool,
}

/// What there is of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedShared {
    /// The group.
    pub group: Option<ObservedSecurityGroup>,
    /// The rules of targets' security groups that bear our mark, by the group's id.
    pub rules: BTreeMap<String, BTreeSet<Rule>>,
    /// The other rules there: what they let in needs none of ours.
    pub others: BTreeMap<String, BTreeSet<Rule>>,
}

/// The steps from what there is to what shall be.
pub fn plan_shared(desired: &Shared, observed: &ObservedShared) -> Outcome {
    let mut draft = Draft::default();
    if desired.is_wanted && observed.group.is_none() {
        draft.steps.push(Step::CreateSecurityGroup {
            name: desired.name.clone(),
            description: DESCRIPTION,
            tags: desired.tags.clone(),
        });
    }
    let nothing = BTreeSet::new();
    let mut surplus = Vec::new();
    let ids: BTreeSet<_> = desired.rules.keys().chain(observed.rules.keys()).collect();
    for id in ids {
        let wanted: BTreeSet<_> = desired
            .rules
            .get(id)
            .into_iter()
            .flatten()
            .map(|rule| known(rule, desired, observed))
            .collect();
        let found = observed.rules.get(id).unwrap_or(&nothing);
        let (mut missing, too_much) = differences(&wanted, found);
        let others = observed.others.get(id).unwrap_or(&nothing);
        missing.retain(|rule| !others.contains(rule));
        surplus.push((id, too_much));
        authorize(&mut draft, Group::Id(id.clone()), missing);
    }
    if desired.is_complete {
        for (id, rules) in surplus {
            revoke(&mut draft, Group::Id(id.clone()), rules);
        }
        remove_group(&mut draft, desired, observed);
    }
    Outcome {
        steps: draft.steps.into_iter().collect(),
        waits: draft.waits,
        notes: draft.notes,
    }
}

/// The group goes when neither a load balancer has it nor a rule names it.
fn remove_group(draft: &mut Draft, desired: &Shared, observed: &ObservedShared) {
    let Some(group) = observed.group.as_ref().filter(|_| !desired.is_wanted) else {
        return;
    };
    if group.is_in_use {
        draft.wait(Wait::Interfaces(group.id.clone()));
    } else {
        draft.steps.push(Step::DeleteSecurityGroup { id: group.id.clone() });
    }
}

/// The rule with the group's id, where it has one.
fn known(rule: &Rule, desired: &Shared, observed: &ObservedShared) -> Rule {
    let source = match (&rule.source, &observed.group) {
        (RuleSource::Group(Group::Named(name)), Some(group)) if *name == desired.name => {
            RuleSource::Group(Group::Id(group.id.clone()))
        }
        (source, _) => source.clone(),
    };
    Rule { source, ..rule.clone() }
}
