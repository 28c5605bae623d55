//! The security group that is made for a load balancer.

use std::collections::BTreeSet;

use crate::desired::{Group, LoadBalancer, ManagedGroup, Rule, SecurityGroups};

use super::matching::Matching;
use super::{Draft, Owner, Step, Wait};

const DESCRIPTION: &str = "[k8s] Managed SecurityGroup for LoadBalancer";

fn wanted(desired: &LoadBalancer) -> Option<&ManagedGroup> {
    match &desired.security_groups {
        SecurityGroups::Managed { group, .. } if desired.adopted.is_none() => Some(group),
        _ => None,
    }
}

/// Makes it and lets in what is to be let in.
pub(super) fn open(draft: &mut Draft, desired: &LoadBalancer, matching: &Matching<'_>) {
    let Some(group) = wanted(desired) else {
        return;
    };
    let Some(found) = matching.managed else {
        draft.steps.push(Step::CreateSecurityGroup {
            name: group.name.clone(),
            description: DESCRIPTION,
            tags: group.tags.clone(),
        });
        authorize(draft, Group::Named(group.name.clone()), group.rules.clone());
        return;
    };
    let (missing, surplus) = differences(&group.rules, &found.rules);
    let id = Group::Id(found.id.clone());
    if found.is_full && !missing.is_empty() {
        revoke(draft, id.clone(), surplus);
    }
    authorize(draft, id, missing);
}

/// Lets in no longer what is not to be let in.
pub(super) fn close(draft: &mut Draft, owner: &Owner, desired: &LoadBalancer, matching: &Matching<'_>) {
    if let (Some(group), Some(found)) = (wanted(desired), matching.managed) {
        let (missing, surplus) = differences(&group.rules, &found.rules);
        if !found.is_full || missing.is_empty() {
            revoke(draft, Group::Id(found.id.clone()), surplus);
        }
    }
    let kept = matching.managed.map(|found| found.id.as_str());
    delete_all_but(draft, owner, matching.observed, kept);
}

/// Deletes those of ours that nothing has any more.
pub(super) fn delete_all_but(draft: &mut Draft, owner: &Owner, observed: &super::Observed, kept: Option<&str>) {
    let ours = observed.security_groups.iter().filter(|found| owner.has(&found.tags));
    for group in ours.filter(|group| Some(group.id.as_str()) != kept) {
        let mut load_balancers = observed.load_balancers.iter();
        if group.is_in_use || load_balancers.any(|found| found.security_groups.contains(&group.id)) {
            draft.wait(Wait::Interfaces(group.id.clone()));
        } else {
            draft.steps.push(Step::DeleteSecurityGroup { id: group.id.clone() });
        }
    }
}

/// What is missing and what is too much.
pub(super) fn differences(wanted: &BTreeSet<Rule>, found: &BTreeSet<Rule>) -> (BTreeSet<Rule>, BTreeSet<Rule>) {
    let missing = wanted.difference(found).cloned().collect();
    (missing, found.difference(wanted).cloned().collect())
}

pub(super) fn authorize(draft: &mut Draft, group: Group, rules: BTreeSet<Rule>) {
    if !rules.is_empty() {
        draft.steps.push(Step::AuthorizeIngress { group, rules });
    }
}

pub(super) fn revoke(draft: &mut Draft, group: Group, rules: BTreeSet<Rule>) {
    if !rules.is_empty() {
        draft.steps.push(Step::RevokeIngress { group, rules });
    }
}
