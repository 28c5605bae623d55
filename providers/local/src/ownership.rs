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
//! 1. *Entitled* is who hears a majority of the members (itself included), or reaches the API server.
//!    An owner that is not entitled yields.
//! 2. A claim has the highest known epoch plus one. The higher epoch wins; of equal ones, the node of
//!    higher score for the group. Whoever learns of a higher claim than its own yields, also when a
//!    third node or the API tells it.
//!    A node without a majority that knows such a claim from the API alone does not claim against it
//!    while the owner is a member.
//! 3. A group is claimed when nobody has it, or its owner is dead, leaving or not eligible, by the
//!    first candidate: weight, then the rendezvous hash. The next one waits `stagger` for it.
//! 4. A peer is *silent* after [`Config::silence`], having been asked several times. It is *dead* when
//!    also most of those that are heard do not hear it.
//! 5. An agent that starts, was paused, or was isolated owns nothing until its peers have answered what
//!    it sent *since then*, and it has their tables: all members, or those that answer within `join`.
//!    Answers that were queued meanwhile do not count. It then takes up what it owned last, if nobody
//!    else has claimed it: the peers know, and so does `resume`.
//! 6. A move is make-before-break: the successor of a `Leaving` owner claims, and the claim makes the
//!    owner yield.
//!
//! # Bounds
//!
//! - Take-over: at most one interval has passed since the owner's last heartbeat when it dies, so it is
//!   silent for all within `silence`, and each tells the others at once.
//! - Two owners that hear each other: a claim is sent at once and again every half interval until it is
//!   acknowledged, so each lost datagram adds half an interval.
//! - A partition: both sides go silent to each other at the same age of the last heartbeat, at most one
//!   interval apart, so the minority yields within about one interval of the claim. If both sides reach
//!   the API server, both own, until either learns of the other's claim.
//! - A pause: shorter than `pause`, others have not taken over, since `pause` plus an interval is below
//!   `silence`; longer, the first act after it is to yield.
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
mod wire;

pub use agent::Agent;
pub use config::{Config, Eligibility, Event, GroupId, Ineligible, Mode, Output, OwnReason, YieldReason};
pub use rank::NodeId;
pub use wire::{Datagram, WireError, decode};
