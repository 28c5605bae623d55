//! Target groups and their targets.

use std::collections::BTreeSet;

use crate::desired::{LoadBalancer, Target, TargetGroup};

use super::matching::Matching;
use super::{Draft, NewTargetGroup, ObservedTargetGroup, Ref, Step, attributes};

/// Makes them and brings them up to date, before any listener sends there.
pub(super) fn prepare(draft: &mut Draft, desired: &LoadBalancer, matching: &Matching<'_>) {
    for (key, wanted) in &desired.target_groups {
        let group = matching.group(key);
        let found = matching.found(key);
        match found {
            None => draft.steps.push(create(&group, wanted)),
            Some(found) if wanted.adopted.is_none() && found.health_check != wanted.health_check => {
                draft.steps.push(Step::ModifyTargetGroup {
                    group: group.clone(),
                    health_check: wanted.health_check.clone(),
                });
            }
            Some(_) => {}
        }
        if wanted.adopted.is_none() {
            set_attributes(draft, &group, wanted, found);
        }
        targets(draft, &group, wanted, found);
    }
}

fn create(group: &Ref, wanted: &TargetGroup) -> Step {
    Step::CreateTargetGroup(Box::new(NewTargetGroup {
        name: group.to_string(),
        protocol: wanted.protocol,
        port: wanted.port,
        target_type: wanted.target_type,
        family: wanted.family,
        health_check: wanted.health_check.clone(),
        tags: wanted.tags.clone(),
    }))
}

fn set_attributes(draft: &mut Draft, group: &Ref, wanted: &TargetGroup, found: Option<&ObservedTargetGroup>) {
    let found = found.map(|found| found.attributes.clone()).unwrap_or_default();
    let changes = attributes::of_target_group(&wanted.attributes, &found, wanted.protocol, wanted.target_type);
    if !changes.is_empty() {
        draft.steps.push(Step::ModifyTargetGroupAttributes {
            group: group.clone(),
            attributes: changes,
        });
    }
}

fn targets(draft: &mut Draft, group: &Ref, wanted: &TargetGroup, found: Option<&ObservedTargetGroup>) {
    let nothing = BTreeSet::new();
    let (registered, recorded) = found.map_or((&nothing, &nothing), |found| (&found.targets, &found.recorded));
    let missing: BTreeSet<_> = wanted.targets.difference(registered).cloned().collect();
    let mut surplus: BTreeSet<_> = registered.difference(&wanted.targets).cloned().collect();
    // The record has all that may be ours, whenever we end, so that it is longer before a registration and shorter after the reverse.
    let mut record = recorded.clone();
    if wanted.has_foreign_targets {
        surplus.retain(|target| recorded.contains(target));
        record.extend(missing.iter().cloned());
        set_record(draft, group, recorded, &record);
    }
    if found.is_some_and(|found| found.is_full) {
        deregister(draft, group, surplus);
        register(draft, group, missing);
    } else {
        register(draft, group, missing);
        deregister(draft, group, surplus);
    }
    if wanted.has_foreign_targets {
        let shorter = record.intersection(&wanted.targets).cloned().collect();
        set_record(draft, group, &record, &shorter);
    }
}

/// Takes away our targets of somebody else's target group.
pub(super) fn withdraw(draft: &mut Draft, found: &ObservedTargetGroup) {
    let group = Ref::Arn(found.arn.clone());
    deregister(
        draft,
        &group,
        found.targets.intersection(&found.recorded).cloned().collect(),
    );
    set_record(draft, &group, &found.recorded, &BTreeSet::new());
}

fn set_record(draft: &mut Draft, group: &Ref, is: &BTreeSet<Target>, wanted: &BTreeSet<Target>) {
    if is != wanted {
        draft.steps.push(Step::RecordTargets {
            group: group.clone(),
            targets: wanted.clone(),
        });
    }
}

fn register(draft: &mut Draft, group: &Ref, targets: BTreeSet<Target>) {
    if !targets.is_empty() {
        let group = group.clone();
        draft.steps.push(Step::RegisterTargets { group, targets });
    }
}

fn deregister(draft: &mut Draft, group: &Ref, targets: BTreeSet<Target>) {
    if !targets.is_empty() {
        let group = group.clone();
        draft.steps.push(Step::DeregisterTargets { group, targets });
    }
}
