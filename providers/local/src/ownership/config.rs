//! The times that the protocol runs by, and what a caller states about groups.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rank::NodeId;

/// The times of the protocol. Every agent of a cluster should run with the same ones.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time between two heartbeats to one peer.
    pub interval: Duration,
    /// Silence after which a peer is asked for an answer: one lost heartbeat, and some.
    pub probe_after: Duration,
    /// Time between two such questions.
    pub probe_interval: Duration,
    /// Silence after which a peer counts as not heard.
    pub silence: Duration,
    /// A gap between two calls that counts as a pause of this process. Below `silence`, so that a
    /// paused owner has yielded by its first act after the others may have taken over.
    pub pause: Duration,
    /// How long an agent that starts or wakes listens when it does not hear every member.
    pub join: Duration,
    /// How long each next candidate waits for the one before it.
    pub stagger: Duration,
    /// How long a better candidate is fit before it takes a revertive group back.
    pub revert_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            probe_after: Duration::from_millis(150),
            probe_interval: Duration::from_millis(25),
            silence: Duration::from_millis(320),
            pause: Duration::from_millis(200),
            join: Duration::from_secs(1),
            stagger: Duration::from_millis(250),
            revert_after: Duration::from_secs(2),
        }
    }
}

/// The addresses that must be on one node together, by a stable hash of what they serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub [u8; 16]);

/// Whether a better candidate takes a group from a living owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mode {
    /// An eligible living owner keeps the group.
    #[default]
    Sticky,
    /// The best rank takes the group back.
    Revertive,
}

/// What this agent says about itself for one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Eligibility {
    /// It may own the group; a higher weight is preferred.
    Eligible {
        /// Preference among the candidates.
        weight: u16,
    },
    /// It keeps the group only until a successor has claimed it.
    Leaving,
    /// It must not own the group.
    Ineligible(Ineligible),
}

/// Why a node must not own a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ineligible {
    /// The agent has not been told yet.
    Unknown,
    /// The interface has no carrier.
    NoCarrier,
    /// No prefix of the interface covers the addresses.
    PrefixDoesNotCover,
    /// The dataplane is not in sync.
    DataplaneNotInSync,
    /// `externalTrafficPolicy: Local` without a ready endpoint on this node.
    NoLocalEndpoint,
    /// A label or a selector excludes the node.
    Excluded,
    /// The node's condition `NetworkUnavailable` is true.
    NetworkUnavailable,
    /// The node is cordoned, and the policy is to move then.
    Cordoned,
}

/// Why this node owns a group from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnReason {
    /// Nobody owned it.
    Vacant,
    /// The last owner is dead.
    OwnerDead,
    /// The last owner is alive and leaves, or is not eligible.
    OwnerLeaves,
    /// This node was the last owner, and nobody has taken over since.
    Resumed,
    /// This node ranks better, and the group is revertive.
    Reverted,
}

/// Why this node stops to own a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YieldReason {
    /// It hears no majority of the members, and not the API server.
    Isolated,
    /// A higher claim is known.
    Superseded,
    /// It is no longer eligible.
    Ineligible(Ineligible),
    /// It was paused, and others may have taken over meanwhile.
    Paused,
    /// The group is gone.
    Removed,
}

/// What the caller has to do or to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram to a peer.
    Send {
        /// The peer.
        to: NodeId,
        /// The sealed datagram.
        bytes: Vec<u8>,
    },
    /// Answer for the addresses of a group from now on.
    Own {
        /// The group.
        group: GroupId,
        /// The claim's epoch, to be written to the API over any claim of a lower or equal epoch, and
        /// again when the API has such a one by another node.
        epoch: u64,
        /// Why.
        why: OwnReason,
    },
    /// Stop answering.
    Yield {
        /// The group.
        group: GroupId,
        /// Why.
        why: YieldReason,
    },
    /// For metrics and logs.
    Event(Event),
}

/// What happened that a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A peer went silent.
    PeerSilent(NodeId),
    /// A peer is heard.
    PeerHeard(NodeId),
    /// This process did not run for so long.
    Paused(Duration),
    /// Two nodes answered for one group; this one yields it to the other.
    Conflict {
        /// The group.
        group: GroupId,
        /// Who keeps it.
        winner: NodeId,
    },
}
