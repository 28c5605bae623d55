//! Which node answers for an address: decided by the agents among themselves, in well under a second,
//! and with the API server away.
//!
//! The unit is a *group*: the addresses that must be on one node together. Each agent keeps a table
//! with one entry for each group: whether it is eligible, the highest claim it knows (epoch and
//! owner), and whether it holds that claim. Tables travel as numbered changes, and a heartbeat says up
//! to which change the receiver's table is known, so a lost datagram is sent again.
//!
//! # Rules
//!
//! 1. *Entitled* is who hears a majority of the members and is heard by it (itself included), or reaches
//!    the API server. An owner that is not entitled yields.
//! 2. A claim has the highest known epoch plus one. The higher epoch wins; of equal ones, the node of
//!    higher score for the group. Whoever learns of a higher claim than its own yields, also when a
//!    third node or the API tells it.
//! 3. A group is claimed when nobody has it, or its owner is dead, leaving or not eligible, by the
//!    first candidate: weight, then the rendezvous hash. The next one waits `stagger` for it.
//! 4. A peer is *silent* after [`Config::silence`], having been asked several times. It is *dead* when
//!    also most of those that are heard do not hear it, and it has claimed nothing for as long.
//!    What an owner that is not heard says is believed of a third node that it has told.
//! 5. An agent that starts, was paused, or was isolated owns nothing until its peers have answered what
//!    it sent *since then*, and it has their tables: all members, or those that answer within `join`.
//!    Answers that were queued meanwhile do not count. It then takes up what it owned last, if nobody
//!    else has claimed it: the peers know, and so does `resume`.
//! 6. A move is make-before-break: the successor of a `Leaving` owner claims, and the claim makes the
//!    owner yield.
//! 7. Without a majority, with the API server alone, an agent keeps what it has and takes what nobody has
//!    had. From an owner that it does not hear it takes only if the two are all there is (and then not
//!    what the other has claimed through the API), or if the API server calls the owner lost; from
//!    the same owner once until it is heard again.
//!
//! # Bounds
//!
//! - Take-over: at most one interval has passed since the owner's last heartbeat when it dies, so it is
//!   silent for all within `silence`, and each tells the others at once.
//! - While a majority of joined members that hear each other has an eligible node, a group is without an
//!   owner for at most 3.5 s, whatever else fails.
//! - Two owners that hear each other, also over third nodes: 600 ms. A claim is sent at once and again
//!   every half interval until it is acknowledged, so each lost datagram adds half an interval.
//! - A partition: both sides go silent to each other at the same age of the last heartbeat, at most one
//!   interval apart, so the minority yields within about one interval of the claim. If both sides reach
//!   the API server, until it has told of the claim.
//! - Nothing bounds two owners that cannot tell each other, of whom one has the API server and the other
//!   the majority, or who know of so different members that each has a majority.
//! - A pause: shorter than `pause`, others have not taken over, since `pause` plus an interval is below
//!   `silence`; longer, the first act after it is to yield. If the clock stood still too, the first
//!   heartbeat tells that nobody hears this node.
//! - Epochs that every agent and the API have lost may come again.
//!
//! Every agent sends to every other: fine up to about 100 nodes, refused beyond 129.

mod agent;
mod claims;
mod config;
mod decide;
mod membership;
mod rank;
#[cfg(test)]
mod simulation;
mod told;
mod wire;

pub use agent::Agent;
pub use config::{Config, Eligibility, Event, GroupId, Ineligible, Mode, Output, OwnReason, YieldReason};
pub use rank::NodeId;
pub use wire::{Datagram, WireError, decode};
