//! What this agent knows of one group: the highest claim, and whether it holds it.

use std::time::Instant;

use super::config::{Eligibility, GroupId, Ineligible, Mode};
use super::rank::{NodeId, score};
use super::wire::{Entry, Standing};

#[derive(Debug)]
pub(super) struct Group {
    pub(super) mode: Mode,
    pub(super) eligibility: Eligibility,
    /// The highest claim known; epoch 0 is none.
    pub(super) epoch: u64,
    pub(super) owner: NodeId,
    pub(super) holds: bool,
    /// Only the API has told of the highest claim.
    pub(super) by_api: bool,
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
            by_api: false,
            removed: false,
            open_since: None,
            revision: 0,
        }
    }

    /// Takes a claim if it is higher: a higher epoch, or the same one by a node of higher score.
    pub(super) fn learn(&mut self, id: GroupId, epoch: u64, owner: NodeId) -> bool {
        let higher = epoch > self.epoch
            || (epoch == self.epoch && epoch > 0 && owner != self.owner && score(owner, id) > score(self.owner, id));
        if higher {
            self.epoch = epoch;
            self.owner = owner;
            self.by_api = false;
            self.open_since = None;
        }
        higher
    }

    pub(super) fn entry(&self, group: GroupId) -> Entry {
        let (standing, weight) = match self.eligibility {
            Eligibility::Eligible { weight } => (Standing::Eligible, weight),
            Eligibility::Leaving => (Standing::Leaving, 0),
            Eligibility::Ineligible(_) => (Standing::Ineligible, 0),
        };
        let (revision, epoch, owner, holds) = (self.revision, self.epoch, self.owner, self.holds);
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
