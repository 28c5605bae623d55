//! What must hold at every moment, judged by what is true in the simulated world.
//!
//! 1. Two owners do not last: [`Bond`] says how long two may both own a group.
//! 2. While an eligible majority is joined by good links, a group has an owner that it can reach: a
//!    break ends within [`VACANT`].
//! 3. Nothing moves without a cause: while no link is bad, no claim later than [`RESTLESS`] after the last change in the
//!    world, no more than [`CLAIMS`] of one group by one node after one change, and none against an owner that
//!    is fit and has been joined to the claimant by a good majority for [`SETTLED`].
//! 4. Epochs grow: what an agent knows never falls, and a claim is above all that the claimant's good
//!    neighbours knew [`SETTLED`] ago.

use super::network::{ALL, CLEAN};
use super::*;

/// Two owners between whom claims can travel, or of whom one has no right to own.
pub(super) const DOUBLE: u64 = 600 * MS;
/// Two owners that only the API server joins.
pub(super) const DOUBLE_BY_API: u64 = 800 * MS;
pub(super) const VACANT: u64 = 3_500 * MS;
const RESTLESS: u64 = 4_000 * MS;
const CLAIMS: u32 = 2;
const SETTLED: u64 = 1_000 * MS;

/// What can tell two owners of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bond {
    /// Links, perhaps over others.
    Linked,
    /// One of them can hear no majority, and is not told that the API server is in reach.
    Barred,
    /// The API server.
    Api,
    /// Nothing: bad links, or one side has the API server and the other the majority, or they know of
    /// so different members that both have a majority.
    Nothing,
}

#[derive(Default)]
pub(super) struct Watch {
    /// Whether breaking a rule ends the run.
    pub(super) strict: bool,
    /// Something that `reconsider` looks at.
    pub(super) changed: bool,
    disturbed_at: u64,
    claims: BTreeMap<(GroupId, usize), u32>,
    /// Since when a node's process holds a group, and by which claim.
    holders: BTreeMap<(GroupId, usize), (u64, u64)>,
    /// The highest claim that anybody ever made, and when.
    highest: BTreeMap<GroupId, (u64, u64)>,
    /// Groups of which every agent has lost the highest claim: an old one may come back.
    forgotten: BTreeSet<GroupId>,
    /// By node: what its agent knew, and when it learned it; the newest last.
    known: BTreeMap<(GroupId, usize), Vec<(u64, u64)>>,
    /// When a node's eligibility changed last.
    pub(super) qualified: BTreeMap<(GroupId, usize), u64>,
    double: BTreeMap<(GroupId, usize, usize), (Bond, u64)>,
    pub(super) longest_double: u64,
    pub(super) owns: usize,
    unowned: BTreeMap<GroupId, u64>,
    pub(super) longest_unowned: u64,
    /// Majorities joined by good links, as bits, and since when.
    majorities: BTreeMap<u32, u64>,
    /// Since when a majority has had no owner in reach.
    lacking: BTreeMap<(GroupId, u32), u64>,
    pub(super) longest_lacking: u64,
}

impl World {
    /// The world has changed in a way that may move something.
    pub(super) fn disturb(&mut self) {
        self.watch.changed = true;
        self.watch.disturbed_at = self.now;
        self.watch.claims.clear();
    }

    /// A node cannot tell what has happened to it from a pause.
    pub(super) fn interrupt(&mut self, node: usize) {
        let goes_on = |mask: &u32| mask & 1 << node == 0;
        self.watch.majorities.retain(|mask, _| goes_on(mask));
        self.watch.lacking.retain(|(_, mask), _| goes_on(mask));
        self.disturb();
    }

    pub(super) fn owners(&self, group: GroupId) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.owns(group, *node)).collect()
    }

    fn owns(&self, group: GroupId, node: usize) -> bool {
        self.nodes[node].works() && self.watch.holders.contains_key(&(group, node))
    }

    pub(super) fn holds_nothing(&mut self, node: usize) {
        self.watch.holders.retain(|(_, holder), _| *holder != node);
        self.watch.changed = true;
    }

    pub(super) fn yielded(&mut self, node: usize, group: GroupId) {
        let held = self.watch.holders.remove(&(group, node));
        assert!(held.is_some(), "node {node} yields {group:?} and does not hold it");
        self.watch.changed = true;
    }

    /// A process starts and knows nothing.
    pub(super) fn forget_known(&mut self, node: usize) {
        self.watch.known.retain(|(_, knower), _| *knower != node);
    }

    /// Notes the claims that a node's agent knows now.
    pub(super) fn learned(&mut self, node: usize) {
        if !self.watch.strict {
            return;
        }
        let Some(agent) = &self.nodes[node].agent else { return };
        let mut fallen = None;
        for (id, _) in &self.groups {
            let epoch = agent.groups.get(id).map_or(0, |group| group.epoch);
            let known = self.watch.known.entry((*id, node)).or_default();
            let before = known.last().map_or(0, |(_, epoch)| *epoch);
            if epoch > before {
                known.push((self.now, epoch));
            } else if epoch < before {
                fallen = Some((*id, before, epoch));
            }
        }
        if let Some((id, before, epoch)) = fallen {
            self.fail(format_args!(
                "node {node} knew epoch {before} of {id:?}, and now {epoch}"
            ));
        }
    }

    fn knew(&self, group: GroupId, node: usize, at: u64) -> u64 {
        let known = self.watch.known.get(&(group, node));
        let then = known.and_then(|known| known.iter().rev().find(|(when, _)| *when <= at));
        then.map_or(0, |(_, epoch)| *epoch)
    }

    pub(super) fn claimed(&mut self, node: usize, group: GroupId, epoch: u64) {
        self.watch.owns += 1;
        self.watch.changed = true;
        if self.watch.strict && self.groups.iter().any(|(id, _)| *id == group) {
            self.judge_claim(node, group, epoch);
        }
        let highest = self.watch.highest.entry(group).or_default();
        if epoch > highest.0 {
            *highest = (epoch, self.now);
            self.watch.forgotten.remove(&group);
        } else if self.now > highest.1 + SETTLED {
            self.watch.forgotten.insert(group);
        }
        let held = self.watch.holders.insert((group, node), (self.now, epoch));
        assert!(held.is_none(), "node {node} owns {group:?} a second time");
    }

    fn judge_claim(&mut self, node: usize, group: GroupId, epoch: u64) {
        let quiet = self.now - self.watch.disturbed_at;
        let claims = self.watch.claims.entry((group, node)).or_default();
        *claims += 1;
        let claims = *claims;
        let joined = self.watch.majorities.keys().any(|mask| mask & 1 << node != 0);
        if self.network.is_clear() && (claims > CLAIMS || (joined && quiet > RESTLESS)) {
            self.fail(format_args!(
                "flapping: node {node} claims {group:?}, the {claims}. time, {quiet} µs after a cause"
            ));
        }
        let Some(then) = self.now.checked_sub(SETTLED) else {
            return;
        };
        let settled = self.watch.majorities.iter();
        let settled: Vec<u32> = settled
            .filter(|(_, since)| **since <= then)
            .map(|(mask, _)| *mask)
            .collect();
        let with = |other: usize| {
            settled
                .iter()
                .any(|mask| mask & (1 << node | 1 << other) == 1 << node | 1 << other)
        };
        for other in (0..self.nodes.len()).filter(|other| *other != node && with(*other)) {
            let knew = self.knew(group, other, then);
            if knew >= epoch {
                self.fail(format_args!(
                    "node {node} claims {group:?} with epoch {epoch}, and its neighbour {other} knows {knew}"
                ));
            }
            let held = self.watch.holders.get(&(group, other));
            let changed = self.watch.qualified.get(&(group, other));
            let fit = self.is_fit(other, group) && changed.is_none_or(|changed| *changed <= then);
            let is_known = !self.watch.forgotten.contains(&group) && self.is_sticky(group);
            if held.is_some_and(|(since, by)| *since <= then && by + 1 == epoch) && fit && is_known {
                self.fail(format_args!("node {node} takes {group:?} from {other}, which is fit"));
            }
        }
    }

    fn is_fit(&self, node: usize, group: GroupId) -> bool {
        matches!(self.nodes[node].eligibility[&group], Eligibility::Eligible { .. })
    }

    fn is_sticky(&self, group: GroupId) -> bool {
        self.groups
            .iter()
            .any(|(id, mode)| *id == group && *mode == Mode::Sticky)
    }

    /// Looks at all of it again, after a change.
    pub(super) fn reconsider(&mut self) {
        self.find_majorities();
        let (mut double, mut lacking) = (BTreeMap::new(), BTreeMap::new());
        for (group, _) in self.groups.clone() {
            let owners = self.owners(group);
            if owners.is_empty() {
                self.watch.unowned.entry(group).or_insert(self.now);
            } else {
                self.watch.unowned.remove(&group);
            }
            for (at, one) in owners.iter().enumerate() {
                for other in &owners[at + 1..] {
                    let (key, bond) = ((group, *one, *other), self.bond(*one, *other));
                    let before = self.watch.double.get(&key).filter(|(before, _)| *before == bond);
                    double.insert(key, before.copied().unwrap_or((bond, self.now)));
                }
            }
            for mask in self.watch.majorities.keys() {
                let members = || (0..self.nodes.len()).filter(|node| mask & 1 << node != 0);
                let fit = members().any(|node| self.is_fit(node, group));
                let reached = members().any(|node| (owners.iter()).any(|owner| self.is_linked(*owner, node, ALL - 1)));
                if fit && !reached {
                    let since = self.watch.lacking.get(&(group, *mask)).copied();
                    lacking.insert((group, *mask), since.unwrap_or(self.now));
                }
            }
        }
        self.watch.double = double;
        self.watch.lacking = lacking;
    }

    /// How long what is wrong has been so.
    pub(super) fn judge(&mut self) {
        let (now, strict) = (self.now, self.watch.strict);
        let mut wrong = None;
        for ((group, one, other), (bond, since)) in &self.watch.double {
            let bound = match bond {
                Bond::Linked => {
                    self.watch.longest_double = self.watch.longest_double.max(now - since);
                    DOUBLE
                }
                Bond::Barred => DOUBLE,
                Bond::Api => DOUBLE_BY_API,
                Bond::Nothing => continue,
            };
            if now - since > bound {
                wrong = Some(format!(
                    "{one} and {other} both own {group:?} for {} µs, {bond:?}",
                    now - since
                ));
            }
        }
        for since in self.watch.unowned.values() {
            self.watch.longest_unowned = self.watch.longest_unowned.max(now - since);
        }
        for ((group, mask), since) in &self.watch.lacking {
            self.watch.longest_lacking = self.watch.longest_lacking.max(now - since);
            if now - since > VACANT {
                wrong = Some(format!(
                    "nobody owns {group:?} for {} µs, majority {mask:b}",
                    now - since
                ));
            }
        }
        if let Some(wrong) = wrong.filter(|_| strict) {
            self.fail(format_args!("{wrong}"));
        }
    }

    fn knows(&self, one: usize, other: usize) -> bool {
        self.nodes[one].members.contains(&other) && self.nodes[other].members.contains(&one)
    }

    fn joined(&self, one: usize, other: usize, loss: u64) -> bool {
        self.nodes[one].works()
            && self.nodes[other].works()
            && self.knows(one, other)
            && self.network.joins(one, other, loss)
    }

    fn find_majorities(&mut self) {
        let mut found = BTreeMap::new();
        if !self.watch.strict {
            return;
        }
        let count = self.nodes.len();
        let neighbours: Vec<u32> = (0..count)
            .map(|one| {
                let joined = |other: &usize| *other == one || self.joined(one, *other, CLEAN);
                (0..count).filter(joined).map(|other| 1 << other).sum()
            })
            .collect();
        for mask in 1_u32..1 << count {
            let nodes = || (0..count).filter(|node| mask & 1 << node != 0);
            let whole = nodes().all(|node| self.nodes[node].works() && neighbours[node] & mask == mask);
            if whole
                && (nodes().all(|node| self.has_majority(node, mask)) || nodes().all(|node| self.is_left(node, mask)))
            {
                let since = self.watch.majorities.get(&mask).copied();
                found.insert(mask, since.unwrap_or(self.now));
            }
        }
        self.watch.majorities = found;
    }

    fn has_majority(&self, node: usize, mask: u32) -> bool {
        let members = &self.nodes[node].members;
        let others = members.iter().filter(|member| **member != node).count();
        mask.count_ones() as usize * 2 > others + 1
    }

    /// The API server is in reach, and has told that all others are lost, as they are.
    fn is_left(&self, node: usize, mask: u32) -> bool {
        let this = &self.nodes[node];
        let mut others = this.members.iter().filter(|other| mask & 1 << **other == 0);
        this.api.told
            && self.reaches_api(node)
            && others.all(|other| this.lost.contains(other) && !self.nodes[*other].works())
    }

    fn bond(&self, one: usize, other: usize) -> Bond {
        if self.is_linked(one, other, CLEAN) {
            return Bond::Linked;
        }
        if self.is_linked(one, other, ALL - 1) {
            return Bond::Nothing;
        }
        let may = |node: usize| self.nodes[node].api.told || self.may_have_majority(node);
        let by_api = |node: usize| self.nodes[node].api.told && self.nodes[node].api.listed && self.reaches_api(node);
        if !may(one) || !may(other) {
            Bond::Barred
        } else if by_api(one) && by_api(other) {
            Bond::Api
        } else {
            Bond::Nothing
        }
    }

    /// Datagrams travel both ways between it and a majority of its members, however few.
    fn may_have_majority(&self, node: usize) -> bool {
        let joined = (0..self.nodes.len()).filter(|other| *other != node && self.joined(node, *other, ALL - 1));
        (joined.count() + 1) * 2
            > self.nodes[node]
                .members
                .iter()
                .filter(|member| **member != node)
                .count()
                + 1
    }

    fn is_linked(&self, one: usize, other: usize, loss: u64) -> bool {
        let (mut reached, mut next) = (BTreeSet::from([one]), vec![one]);
        while let Some(from) = next.pop() {
            for to in 0..self.nodes.len() {
                if self.joined(from, to, loss) && reached.insert(to) {
                    next.push(to);
                }
            }
        }
        reached.contains(&other)
    }

    pub(super) fn forget_observations(&mut self) {
        let watch = &mut self.watch;
        watch.double.clear();
        watch.unowned.clear();
        watch.lacking.clear();
        (
            watch.longest_double,
            watch.longest_unowned,
            watch.longest_lacking,
            watch.owns,
        ) = (0, 0, 0, 0);
        watch.changed = true;
    }

    /// Every group has one owner, and each process knows which, and what it holds.
    pub(super) fn assert_one_owner_each(&self) {
        for (group, _) in &self.groups {
            let owners = self.owners(*group);
            if owners.len() != 1 {
                self.fail(format_args!("owners of {group:?} are {owners:?}"));
            }
        }
        for (node, this) in self.nodes.iter().enumerate() {
            let Some(agent) = this.agent.as_ref().filter(|_| this.works()) else {
                continue;
            };
            for (group, _) in &self.groups {
                let holds = agent.owned().any(|(owned, _)| owned == *group);
                assert_eq!(holds, self.owns(*group, node), "what node {node} says of {group:?}");
            }
        }
    }
}
