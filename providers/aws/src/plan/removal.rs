//! What goes.

use std::collections::BTreeSet;

use fairlead_provider::ProviderError;

use crate::desired::{LoadBalancer, TargetGroupRef};

use super::matching::Matching;
use super::{
    DELETION_PROTECTED, DNS_MEMORY, Draft, Observed, ObservedListener, ObservedLoadBalancer, ObservedTargetGroup,
    Owner, Ref, State, Step, Wait, attributes, listeners, security_groups, target_groups,
};

fn is_protected(found: &ObservedLoadBalancer) -> bool {
    found
        .attributes
        .get(attributes::DELETION_PROTECTION)
        .is_some_and(|value| value == "true")
}

fn check_protection(owner: &Owner, found: &ObservedLoadBalancer) -> Result<(), ProviderError> {
    if is_protected(found) {
        let message = format!(
            "deletion_protection is enabled, cannot delete the service: {}",
            owner.service
        );
        return Err(ProviderError::refused(DELETION_PROTECTED, message));
    }
    Ok(())
}

fn delete(found: &ObservedLoadBalancer) -> Step {
    Step::DeleteLoadBalancer { arn: found.arn.clone() }
}

/// What stands in the way of what is to come: load balancers in whose place a new one is to be, and listeners that hold somebody else's
/// target group, which only one load balancer can use.
pub(super) fn first(
    draft: &mut Draft,
    owner: &Owner,
    desired: &LoadBalancer,
    matching: &Matching<'_>,
) -> Result<(), ProviderError> {
    let (obstacles, others): (Vec<_>, Vec<_>) =
        left_behind(matching).partition(|found| matching.obstacles.contains(found.arn.as_str()));
    for found in obstacles {
        check_protection(owner, found)?;
        draft.steps.push(delete(found));
    }
    let adopted = desired
        .target_groups
        .values()
        .filter_map(|group| group.adopted.as_ref());
    let foreign = desired
        .listeners
        .values()
        .flat_map(|listener| &listener.to)
        .filter_map(|to| match &to.group {
            TargetGroupRef::Foreign(arn) => Some(arn),
            TargetGroupRef::Ours(_) => None,
        });
    let wanted: BTreeSet<_> = adopted.chain(foreign).collect();
    for listener in others
        .iter()
        .flat_map(|found| &found.listeners)
        .filter(|listener| owner.has(&listener.tags))
    {
        if listener.to.keys().any(|arn| wanted.contains(arn)) {
            draft.steps.push(listeners::delete(listener));
        }
    }
    Ok(())
}

/// All but the one that is wanted.
fn left_behind<'a>(matching: &Matching<'a>) -> impl Iterator<Item = &'a ObservedLoadBalancer> {
    let current = matching.current.map(|current| current.arn.as_str());
    matching
        .observed
        .load_balancers
        .iter()
        .filter(move |found| Some(found.arn.as_str()) != current)
}

/// Load balancers that another one has replaced, and our listeners on those of others.
pub(super) fn replaced(draft: &mut Draft, owner: &Owner, name: &str, matching: &Matching<'_>) {
    let mut steps = Vec::new();
    for found in matching
        .retired
        .iter()
        .filter(|found| !matching.obstacles.contains(found.arn.as_str()))
    {
        if is_protected(found) {
            let note = format!(
                "load balancer {} is not wanted any more, but deletion_protection is enabled",
                found.name
            );
            draft.notes.push(note);
        } else {
            steps.push(delete(found));
        }
    }
    let others = left_behind(matching).filter(|found| !owner.has(&found.tags));
    steps.extend(others.flat_map(|found| our_listeners(owner, found)));
    steps.retain(|step| !draft.steps.contains(step));
    match wait_for_clients(name, matching) {
        _ if steps.is_empty() => {}
        Some(wait) => draft.wait(wait),
        None => draft.steps.extend(steps),
    }
}

fn our_listeners(owner: &Owner, found: &ObservedLoadBalancer) -> impl Iterator<Item = Step> {
    let ours = found.listeners.iter().filter(|listener| owner.has(&listener.tags));
    ours.map(listeners::delete)
}

/// What has to be before the last client can have left for the new one.
fn wait_for_clients(name: &str, matching: &Matching<'_>) -> Option<Wait> {
    let Some(current) = matching.current.filter(|current| current.state == State::Active) else {
        return Some(Wait::Provisioning(name.to_owned()));
    };
    let published = matching.observed.published.as_ref();
    let is_known = published.is_some_and(|it| it.names(current) && it.age >= DNS_MEMORY);
    (!is_known).then(|| Wait::Published(current.dns_name.to_lowercase()))
}

/// Target groups that nothing sends to any more.
pub(super) fn unused(draft: &mut Draft, owner: &Owner, matching: &Matching<'_>) {
    for found in matching
        .observed
        .target_groups
        .iter()
        .filter(|found| !matching.is_wanted(&found.arn))
    {
        remove_group(draft, owner, matching.observed, found);
    }
}

/// Deletes ours, unless a listener uses it behind this plan still. Of others' it takes our targets.
fn remove_group(draft: &mut Draft, owner: &Owner, observed: &Observed, found: &ObservedTargetGroup) {
    if !owner.has(&found.tags) {
        target_groups::withdraw(draft, found);
        return;
    }
    let users: Vec<_> = users(draft, observed, found).collect();
    if users.iter().any(|user| !owner.has(&user.tags)) {
        draft.notes.push(format!(
            "target group {} is not wanted any more, but somebody else uses it",
            found.name
        ));
    } else if users.is_empty() {
        draft.steps.push(Step::DeleteTargetGroup { arn: found.arn.clone() });
    }
    // Otherwise its load balancer goes later, and that is waited for.
}

/// The listeners that send to a target group behind this plan.
fn users<'a>(
    draft: &Draft,
    observed: &'a Observed,
    found: &ObservedTargetGroup,
) -> impl Iterator<Item = &'a ObservedListener> {
    let group = Ref::Arn(found.arn.clone());
    let all = observed
        .load_balancers
        .iter()
        .flat_map(|user| user.listeners.iter().map(move |listener| (user, listener)));
    let users = all.filter(move |(user, listener)| {
        let lets_go = |step: &Step| match step {
            Step::DeleteLoadBalancer { arn } => *arn == user.arn,
            Step::DeleteListener { arn, .. } => *arn == listener.arn,
            Step::ModifyListener { arn, to, .. } => *arn == listener.arn && !to.contains_key(&group),
            _ => false,
        };
        listener.to.contains_key(&found.arn) && !draft.steps.iter().any(lets_go)
    });
    users.map(|(_, listener)| listener)
}

/// All of it.
pub(super) fn everything(draft: &mut Draft, owner: &Owner, observed: &Observed) -> Result<(), ProviderError> {
    for found in &observed.load_balancers {
        if owner.has(&found.tags) {
            check_protection(owner, found)?;
            draft.steps.push(delete(found));
        } else {
            draft.steps.extend(our_listeners(owner, found));
        }
    }
    for found in &observed.target_groups {
        remove_group(draft, owner, observed, found);
    }
    security_groups::delete_all_but(draft, owner, observed, None);
    Ok(())
}
