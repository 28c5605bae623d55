//! Tags of what is there already. What is made gets them with the call that makes it.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::{LoadBalancer, SecurityGroups, Tags};

use super::matching::Matching;
use super::{Draft, Step};

/// What AWS itself tags with, and nobody else may.
const AWS: &str = "aws:";

pub(super) fn all(draft: &mut Draft, desired: &LoadBalancer, matching: &Matching<'_>) {
    let mut changes = Changes::default();
    let kept = &desired.kept_tags;
    if let Some(current) = matching.current.filter(|_| desired.adopted.is_none()) {
        changes.of(&current.arn, &desired.tags, &current.tags, kept);
    }
    for (port, listener) in &desired.listeners {
        if let Some((found, true)) = matching.listener(*port) {
            changes.of(&found.arn, &listener.tags, &found.tags, kept);
        }
    }
    for (key, group) in desired
        .target_groups
        .iter()
        .filter(|(_, group)| group.adopted.is_none())
    {
        if let Some(found) = matching.found(key) {
            changes.of(&found.arn, &group.tags, &found.tags, kept);
        }
    }
    changes.tell(draft);
    if let (SecurityGroups::Managed { group, .. }, Some(found)) = (&desired.security_groups, matching.managed) {
        let (tags, keys) = differences(&group.tags, &found.tags, kept);
        let id = &found.id;
        if !tags.is_empty() {
            draft.steps.push(Step::CreateTags { id: id.clone(), tags });
        }
        if !keys.is_empty() {
            draft.steps.push(Step::DeleteTags { id: id.clone(), keys });
        }
    }
}

/// The same change of several things is one call.
#[derive(Default)]
struct Changes {
    add: BTreeMap<Tags, BTreeSet<String>>,
    remove: BTreeMap<BTreeSet<String>, BTreeSet<String>>,
}

impl Changes {
    fn of(&mut self, arn: &str, wanted: &Tags, found: &Tags, kept: &BTreeSet<String>) {
        let (add, remove) = differences(wanted, found, kept);
        if !add.is_empty() {
            self.add.entry(add).or_default().insert(arn.to_owned());
        }
        if !remove.is_empty() {
            self.remove.entry(remove).or_default().insert(arn.to_owned());
        }
    }

    fn tell(self, draft: &mut Draft) {
        let add = self.add.into_iter().map(|(tags, arns)| Step::AddTags { arns, tags });
        let remove = self
            .remove
            .into_iter()
            .map(|(keys, arns)| Step::RemoveTags { arns, keys });
        draft.steps.extend(add.chain(remove));
    }
}

/// What is to be set, and the keys of what is to go.
fn differences(wanted: &Tags, found: &Tags, kept: &BTreeSet<String>) -> (Tags, BTreeSet<String>) {
    let set = wanted.iter().filter(|(key, value)| found.get(*key) != Some(value));
    let gone = found
        .keys()
        .filter(|key| !wanted.contains_key(*key) && !kept.contains(*key) && !key.starts_with(AWS));
    (
        set.map(|(key, value)| (key.clone(), value.clone())).collect(),
        gone.cloned().collect(),
    )
}
