//! Who claims and who yields: the rules, group by group.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::config::{Eligibility, Event, GroupId, Mode, Output, OwnReason, YieldReason};
use super::rank::{NodeId, score};
use super::wire::Standing;

/// What a group that this node does not hold looks like from here.
enum State {
    /// A living node holds it.
    Held,
    /// Free to be claimed, for a reason.
    Open(OwnReason),
    /// Its owner is alive and does not say that it holds it: it may not have been told yet.
    Doubtful,
}

impl Agent {
    /// Decides these groups, and notes when to decide those again that wait for time to pass.
    pub(super) fn decide(&mut self, ids: BTreeSet<GroupId>, now: Instant) {
        for id in ids {
            let Some(group) = self.groups.get(&id) else { continue };
            if group.holds {
                self.decide_held(id);
            } else if let Some(then) = self.decide_free(id, now) {
                self.waiting.insert((then, id));
            }
        }
    }

    fn decide_held(&mut self, id: GroupId) {
        let group = &self.groups[&id];
        if group.owner != self.me {
            let winner = group.owner;
            if group.mode == Mode::Sticky && group.eligibility != Eligibility::Leaving {
                self.out.push_back(Output::Event(Event::Conflict { group: id, winner }));
            }
            self.give_up(id, YieldReason::Superseded);
        } else if let Eligibility::Ineligible(why) = group.eligibility {
            self.give_up(id, YieldReason::Ineligible(why));
        }
    }

    /// When to decide it again, if nothing else happens.
    fn decide_free(&mut self, id: GroupId, now: Instant) -> Option<Instant> {
        let may = self.joined && self.entitled;
        let eligible = matches!(self.groups[&id].eligibility, Eligibility::Eligible { .. });
        let wait = if may && eligible { self.reason(id, now) } else { None };
        let group = self.groups.get_mut(&id).expect("decided groups exist");
        let Some((why, wait)) = wait else {
            group.open_since = None;
            return None;
        };
        let then = *group.open_since.get_or_insert(now) + wait;
        if now < then {
            return Some(then);
        }
        if why == OwnReason::OwnerDead && !self.majority {
            group.taken_from = Some(group.owner);
        }
        group.open_since = None;
        group.stays = false;
        group.epoch += 1;
        group.owner = self.me;
        group.holds = true;
        let epoch = group.epoch;
        self.touch(id);
        self.out.push_back(Output::Own { group: id, epoch, why });
        None
    }

    /// Why this node would claim the group, and how long that has to be so before it does.
    fn reason(&self, id: GroupId, now: Instant) -> Option<(OwnReason, Duration)> {
        let mode = self.groups[&id].mode;
        match self.state(id) {
            State::Open(why) => {
                let since = self.groups[&id].open_since.unwrap_or(now);
                let age = (self.groups[&id].learned_at).map(|learned| since.saturating_duration_since(learned));
                let is_news = why == OwnReason::OwnerDead && age.is_some_and(|age| age < self.config.silence);
                let sign_of_life = if is_news { self.config.silence } else { Duration::ZERO };
                let word = if self.groups[&id].epoch == 0 && self.is_unheard_of(id) {
                    self.config.interval
                } else {
                    Duration::ZERO
                };
                Some((why, sign_of_life + word + self.config.stagger * self.place(id)))
            }
            State::Doubtful => Some((
                OwnReason::Vacant,
                self.config.join + self.config.stagger * (self.place(id) + 1),
            )),
            // If the owner is not heard, nobody knows here who ranks better.
            State::Held
                if mode == Mode::Revertive
                    && self.majority
                    && self.peers.get(&self.groups[&id].owner).is_some_and(|owner| owner.heard)
                    && self.place(id) == 0 =>
            {
                Some((OwnReason::Reverted, self.config.revert_after))
            }
            State::Held => None,
        }
    }

    fn state(&self, id: GroupId) -> State {
        let group = &self.groups[&id];
        if group.epoch == 0 {
            return State::Open(OwnReason::Vacant);
        }
        if group.owner == self.me {
            return State::Open(OwnReason::Resumed);
        }
        let Some(peer) = self.peers.get(&group.owner) else {
            return State::Open(OwnReason::OwnerDead);
        };
        let answers = self.answers(group.owner);
        if !answers && !self.majority {
            // This node may be the one that is cut off.
            return if !peer.heard && self.may_take_alone(id) {
                State::Open(OwnReason::OwnerDead)
            } else {
                State::Held
            };
        }
        if peer.heard && !peer.joined {
            // It starts or wakes, and takes up what it owned when it has heard the others.
            return State::Doubtful;
        }
        if answers {
            return match peer.table.get(&id).filter(|entry| group.is_claim_of(entry)) {
                None => State::Doubtful,
                Some(entry) => match (entry.standing, entry.holds) {
                    (Standing::Eligible, true) => State::Held,
                    (Standing::Eligible, false) => State::Open(OwnReason::Vacant),
                    _ => State::Open(OwnReason::OwnerLeaves),
                },
            };
        }
        if peer.heard || self.is_alive(group.owner) {
            // Its table does not arrive here. Others have it.
            return if self.is_vouched_for(id) {
                State::Held
            } else {
                State::Doubtful
            };
        }
        State::Open(OwnReason::OwnerDead)
    }

    /// Whether a node without a majority, but with the API server, takes a group from an owner that it
    /// does not hear: it may be this node that is cut off, and the others that go on.
    fn may_take_alone(&self, id: GroupId) -> bool {
        let group = &self.groups[&id];
        let is_pair = self.peers.len() == 1;
        (is_pair && !group.by_api) || (self.lost.contains(&group.owner) && group.taken_from != Some(group.owner))
    }

    /// Whether a third node hears the owner and has its word that it holds the group and stays.
    fn is_vouched_for(&self, id: GroupId) -> bool {
        let group = &self.groups[&id];
        self.peers.values().any(|peer| {
            let says = peer
                .table
                .get(&id)
                .is_some_and(|entry| group.is_claim_of(entry) && entry.holds);
            says && peer.heard && peer.hears.contains(&group.owner)
        })
    }

    /// A node that is not heard lives as long as half of those that are heard, this one included, hear it.
    fn is_alive(&self, node: NodeId) -> bool {
        let heard = || self.peers.iter().filter(|(_, peer)| peer.heard);
        if heard().any(|(other, _)| *other == node) {
            return true;
        }
        let judges = heard().count() + 1;
        let vouching = heard().filter(|(_, peer)| peer.hears.contains(&node)).count();
        (judges - vouching) * 2 <= judges
    }

    /// Whether a node that may come before this one has not said of a new group that it knows it: it has not heard of it yet, or it has only just
    /// started, as all do where all start at once.
    fn is_unheard_of(&self, id: GroupId) -> bool {
        let mut heard = self.peers.values().filter(|peer| peer.heard);
        heard.any(|peer| !peer.joined || (peer.entitled && !peer.table.contains_key(&id)))
    }

    /// How many candidates come before this node.
    fn place(&self, id: GroupId) -> u32 {
        let group = &self.groups[&id];
        let rank = |node: NodeId, weight: u16| {
            let keeps = group.mode == Mode::Sticky && group.owner == node;
            Reverse((keeps, weight, score(node, id)))
        };
        let mine = rank(self.me, group.entry(id).weight);
        let before = (self.peers.iter())
            .filter(|(_, peer)| peer.is_candidate())
            .filter_map(|(node, peer)| Some((*node, peer.table.get(&id)?)))
            .filter(|(_, entry)| entry.standing == Standing::Eligible)
            .filter(|(node, entry)| rank(*node, entry.weight) < mine)
            .count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }
}
