//! What is known without a call.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use fairlead_aws::account::Snapshot;
use fairlead_aws::desired::SecurityGroup;
use fairlead_aws::plan::{ObservedLoadBalancer, ObservedTargetGroup};
use ipnet::IpNet;

/// How long something that was just made may be missing where everything is listed.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// What is known, and how well.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) snapshot: Snapshot,
    /// All security groups of the VPC; `None` before the first look.
    pub(crate) groups: Option<Vec<SecurityGroup>>,
    /// In which round each detail was seen.
    pub(crate) details: BTreeMap<Detail, u64>,
    pub(crate) round: u64,
    pub(crate) interfaces: Interfaces,
    /// When each thing was last changed by us, by ARN or id.
    changes: BTreeMap<String, Change>,
    sequence: u64,
}

#[derive(Debug, Clone, Copy)]
struct Change {
    sequence: u64,
    at: Instant,
}

/// What a call of its own tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Detail {
    pub(crate) kind: DetailKind,
    pub(crate) arn: String,
}

/// In the order of what matters most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DetailKind {
    Listeners,
    Targets,
    Certificates,
    LoadBalancerAttributes,
    TargetGroupAttributes,
    ListenerAttributes,
    Capacity,
}

/// The interfaces of targets.
#[derive(Debug, Default)]
pub(crate) struct Interfaces {
    /// The security groups, by an instance's id or an address; none for what has no interface.
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    /// Those that were asked for since the last look.
    pub(crate) asked: BTreeSet<String>,
    /// Ranges of addresses that interfaces have, once somebody had to list them.
    pub(crate) ranges: Option<Vec<(IpNet, Vec<String>)>>,
}

impl Interfaces {
    /// The security groups of an address within a range.
    pub(crate) fn in_range(&self, target: &str) -> Option<&Vec<String>> {
        let address: IpAddr = target.parse().ok()?;
        let mut ranges = self.ranges.iter().flatten();
        ranges
            .find(|(range, _)| range.contains(&address))
            .map(|(_, groups)| groups)
    }
}

/// A look that began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    sequence: u64,
    at: Instant,
}

impl Memory {
    /// Begins a look.
    pub(crate) fn begin(&self) -> Look {
        self.begin_at(Instant::now())
    }

    fn begin_at(&self, at: Instant) -> Look {
        let sequence = self.sequence;
        Look { sequence, at }
    }

    /// Something is being changed, or was.
    pub(crate) fn changed(&mut self, keys: impl IntoIterator<Item = String>) {
        self.changed_at(Instant::now(), keys);
    }

    fn changed_at(&mut self, at: Instant, keys: impl IntoIterator<Item = String>) {
        self.sequence += 1;
        let sequence = self.sequence;
        let change = Change { sequence, at };
        self.changes.extend(keys.into_iter().map(|key| (key, change)));
    }

    /// True if something was changed since a look began.
    pub(crate) fn is_newer(&self, look: Look, key: &str) -> bool {
        let change = self.changes.get(key);
        change.is_some_and(|change| change.sequence > look.sequence)
    }

    /// Takes what a look at some things has seen.
    pub(crate) fn add(
        &mut self,
        look: Look,
        load_balancers: BTreeMap<String, ObservedLoadBalancer>,
        target_groups: BTreeMap<String, ObservedTargetGroup>,
    ) {
        for (arn, found) in load_balancers {
            if !self.is_newer(look, &arn) {
                self.snapshot.load_balancers.insert(arn, found);
            }
        }
        for (arn, found) in target_groups {
            if !self.is_newer(look, &arn) {
                self.snapshot.target_groups.insert(arn, found);
            }
        }
    }

    /// Forgets when details of things were seen that are gone.
    pub(crate) fn forget_details(&mut self) {
        let listeners = self.snapshot.load_balancers.values().flat_map(|found| &found.listeners);
        let arns = listeners.map(|listener| &listener.arn);
        let arns = arns.chain(self.snapshot.load_balancers.keys());
        let arns: BTreeSet<_> = arns.chain(self.snapshot.target_groups.keys()).collect();
        self.details.retain(|detail, _| arns.contains(&detail.arn));
    }

    /// Takes what a look has seen in the place of what was known, but for what was changed since it began.
    pub(crate) fn merge(&mut self, look: Look, seen: Snapshot) {
        let newer = |key: &String| {
            let change = self.changes.get(key);
            change.is_some_and(|change| change.sequence > look.sequence)
        };
        let young = |key: &String| {
            let change = self.changes.get(key);
            change.is_some_and(|change| look.at.saturating_duration_since(change.at) < SETTLES_WITHIN)
        };
        let known = std::mem::take(&mut self.snapshot);
        let full: BTreeSet<_> = known
            .target_groups
            .values()
            .filter(|group| group.is_full)
            .map(|group| group.arn.clone())
            .chain(
                known
                    .security_groups
                    .values()
                    .filter(|it| it.is_full)
                    .map(|it| it.id.clone()),
            )
            .collect();
        self.snapshot = Snapshot {
            load_balancers: merged(known.load_balancers, seen.load_balancers, newer, young),
            target_groups: merged(known.target_groups, seen.target_groups, newer, young),
            security_groups: merged(known.security_groups, seen.security_groups, newer, young),
            rules: merged(known.rules, seen.rules, newer, |_| false),
            others: seen.others,
        };
        // Only a step finds out that there is room again.
        for id in full {
            if let Some(group) = self.snapshot.target_groups.get_mut(&id) {
                group.is_full = true;
            }
            if let Some(group) = self.snapshot.security_groups.get_mut(&id) {
                group.is_full = true;
            }
        }
        self.changes
            .retain(|_, it| it.sequence > look.sequence || look.at.saturating_duration_since(it.at) < SETTLES_WITHIN);
    }
}

/// What is newer stays, or stays away; what is young stays although it is not seen.
fn merged<T>(
    known: BTreeMap<String, T>,
    seen: BTreeMap<String, T>,
    newer: impl Fn(&String) -> bool,
    young: impl Fn(&String) -> bool,
) -> BTreeMap<String, T> {
    let mut all: BTreeMap<_, _> = seen.into_iter().filter(|(key, _)| !newer(key)).collect();
    for (key, value) in known {
        if newer(&key) || (young(&key) && !all.contains_key(&key)) {
            all.insert(key, value);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use fairlead_aws::plan::ObservedSecurityGroup;

    use super::*;

    fn snapshot(groups: &[(&str, &str)]) -> Snapshot {
        let group = |(id, name): &(&str, &str)| ObservedSecurityGroup {
            id: (*id).to_owned(),
            name: (*name).to_owned(),
            rules: BTreeSet::new(),
            is_full: false,
            is_in_use: false,
            tags: BTreeMap::new(),
        };
        Snapshot {
            security_groups: groups.iter().map(|it| (it.0.to_owned(), group(it))).collect(),
            ..Snapshot::default()
        }
    }

    fn names(memory: &Memory) -> Vec<&str> {
        let groups = memory.snapshot.security_groups.values();
        groups.map(|group| group.name.as_str()).collect()
    }

    #[test]
    fn what_changes_during_a_look_is_as_the_change_left_it() {
        let start = Instant::now();
        let mut memory = Memory {
            snapshot: snapshot(&[("a", "old"), ("b", "old"), ("c", "old")]),
            ..Memory::default()
        };
        let look = memory.begin_at(start);
        memory.snapshot = snapshot(&[("a", "changed"), ("b", "old"), ("d", "made")]);
        memory.changed_at(start, ["a", "c", "d"].map(str::to_owned));
        memory.merge(look, snapshot(&[("a", "seen"), ("b", "seen"), ("c", "seen")]));
        assert_eq!(names(&memory), ["changed", "seen", "made"]);
        let look = memory.begin_at(start + SETTLES_WITHIN / 2);
        memory.merge(look, snapshot(&[("a", "seen"), ("c", "seen")]));
        assert_eq!(
            names(&memory),
            ["seen", "seen", "made"],
            "it may be too young to be listed"
        );
        let look = memory.begin_at(start + SETTLES_WITHIN);
        memory.merge(look, snapshot(&[("a", "seen")]));
        assert_eq!(names(&memory), ["seen"]);
    }

    #[test]
    fn what_is_full_stays_so_until_a_step_says_otherwise() {
        let mut memory = Memory {
            snapshot: snapshot(&[("a", "full")]),
            ..Memory::default()
        };
        memory.snapshot.security_groups.get_mut("a").unwrap().is_full = true;
        memory.merge(memory.begin(), snapshot(&[("a", "full")]));
        assert!(memory.snapshot.security_groups["a"].is_full);
    }
}
