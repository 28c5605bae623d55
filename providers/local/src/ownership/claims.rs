//! What this agent knows of one group: the highest claim, and whether it holds it.

use std::time::Instant;

use super::config::{Eligibility, GroupId, Ineligible, Mode};
use super::rank::{NodeId, score};
use super::wire::{Entry, Standing};

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each states one fact, in every combination"
)]
pub(super) struct Group {
    pub(super) mode: Mode,
    pub(super) eligibility: Eligibility,
    /// The highest claim known; epoch 0 is none.
    pub(super) epoch: u64,
    pub(super) owner: NodeId,
    pub(super) holds: bool,
    /// The owner is another node and has said to this one that it holds the claim and does not leave.
    pub(super) stays: bool,
    /// When it was learned: its owner lived then.
    pub(super) learned_at: Option<Instant>,
    /// Only the API has told of the highest claim.
    pub(super) by_api: bool,
    /// From whom this agent took it on the API server's word alone: once, until that one is heard again.
    pub(super) taken_from: Option<NodeId>,
    pub(super) removed: bool,
    /// Since when this agent has had a reason to claim it.
    pub(super) open_since: Option<Instant>,
    pub(super) revision: u64,
}

impl Group {
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            eligibility: Eligibility::Ineligible(Ineligible::Unknown),
            epoch: 0,
            owner: NodeId(0),
            holds: false,
            stays: false,
            learned_at: None,
            by_api: false,
            taken_from: None,
            removed: false,
            open_since: None,
            revision: 0,
        }
    }

    /// Takes a claim if it is higher: a higher epoch, or the same one by a node of higher score.
    pub(super) fn learn(&mut self, id: GroupId, epoch: u64, owner: NodeId, now: Option<Instant>) -> bool {
        let higher = epoch > self.epoch
            || (epoch == self.epoch && epoch > 0 && owner != self.owner && score(owner, id) > score(self.owner, id));
        if higher {
            self.epoch = epoch;
            self.owner = owner;
            self.stays = false;
            self.learned_at = now;
            self.by_api = false;
            self.open_since = None;
        }
        higher
    }

    /// Whether an entry is about the highest claim.
    pub(super) fn is_claim_of(&self, entry: &Entry) -> bool {
        (self.epoch, self.owner) == (entry.epoch, entry.owner)
    }

    pub(super) fn entry(&self, group: GroupId) -> Entry {
        let (standing, weight) = match self.eligibility {
            Eligibility::Eligible { weight } => (Standing::Eligible, weight),
            Eligibility::Leaving => (Standing::Leaving, 0),
            Eligibility::Ineligible(_) => (Standing::Ineligible, 0),
        };
        let (revision, epoch, owner, holds) = (self.revision, self.epoch, self.owner, self.holds || self.stays);
        Entry {
            group,
            revision,
            epoch,
            owner,
            holds,
            standing,
            weight,
        }
    }
}
