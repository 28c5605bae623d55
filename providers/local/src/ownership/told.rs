//! What the agent is told by this node and by the API server: who takes part, which groups there are, and who has claimed them.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::hmac;

use super::agent::Agent;
use super::claims::Group;
use super::config::{Eligibility, GroupId, Mode, YieldReason};
use super::rank::NodeId;
use super::wire::MEMBERS;

impl Agent {
    /// From now on the first key signs, and all of them are accepted.
    pub fn set_keys(&mut self, keys: &[Vec<u8>]) {
        self.keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect();
    }

    /// States who the members are; this node may be among them. At most 129 take part.
    pub fn set_members(&mut self, members: &[NodeId]) {
        let others = || members.iter().copied().filter(|node| *node != self.me).take(MEMBERS);
        let kept: BTreeSet<NodeId> = others().collect();
        self.peers.retain(|node, _| kept.contains(node));
        for node in kept {
            self.peers.entry(node).or_default();
        }
        self.dirty = true;
    }

    /// States which groups exist. A group that is gone is yielded.
    pub fn set_groups(&mut self, groups: &[(GroupId, Mode)]) {
        let wanted: BTreeMap<GroupId, Mode> = groups.iter().copied().collect();
        let gone: Vec<GroupId> = (self.groups.iter())
            .filter(|(id, group)| !group.removed && !wanted.contains_key(id))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.give_up(id, YieldReason::Removed);
            self.set(id, |group| {
                group.removed = true;
                group.eligibility = Group::new(group.mode).eligibility;
            });
        }
        for (id, mode) in wanted {
            let new = self.groups.get(&id).is_none_or(|group| group.removed);
            let group = self.groups.entry(id).or_insert_with(|| Group::new(mode));
            group.mode = mode;
            group.removed = false;
            self.dirty = true;
            if new {
                for entry in self.peers.values().filter_map(|peer| peer.table.get(&id)) {
                    group.learn(id, entry.epoch, entry.owner, None);
                }
                self.touch(id);
            }
        }
    }

    /// States whether this node may own a group that was stated before.
    pub fn set_eligibility(&mut self, group: GroupId, eligibility: Eligibility) {
        self.set(group, |group| group.eligibility = eligibility);
    }

    /// States whether the API server answers this agent.
    pub fn set_api_reachable(&mut self, reachable: bool) {
        self.dirty |= self.api != reachable;
        self.api = reachable;
    }

    /// States which nodes the API server calls lost: their `Node` is not ready. They stay members. Who does not hear a majority takes over from them alone.
    pub fn set_lost(&mut self, nodes: &[NodeId]) {
        let lost = nodes.iter().copied().collect();
        self.dirty |= self.lost != lost;
        self.lost = lost;
    }

    /// A claim that its owner wrote to the API.
    pub fn api_claim(&mut self, group: GroupId, epoch: u64, node: NodeId) {
        let answers = self.answers(node);
        let Some(known) = self.groups.get_mut(&group) else {
            return;
        };
        // Of two claims with one epoch the API may have the one that lost, or one from before a loss of
        // memory. Those that hear each other know better.
        if epoch == known.epoch && (known.stays || (known.holds && answers)) {
            return;
        }
        if known.learn(group, epoch, node, Some(self.last_call)) {
            known.by_api = node != self.me;
            self.touch(group);
        }
    }
}
