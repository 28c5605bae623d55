//! What a speaker is asked to do, as values that can be printed and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::announcement::Scope;
use crate::ownership::{Config, Eligibility, Mode};

/// Nodes that can take part at most.
pub const MEMBERS: usize = 129;

/// What a speaker is asked to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How the nodes hear of each other.
    pub heartbeats: Heartbeats,
    /// How often the network is told again where an address is; `None`: only when it has moved.
    pub refresh: Option<Duration>,
    /// The nodes that take part, by name, with the addresses that they are reached at. This node is one of them, or owns nothing.
    pub members: BTreeMap<String, Vec<IpAddr>>,
    /// Those of them that the API server has given up. Not kept: the next process asks anew.
    #[serde(skip)]
    pub lost: BTreeSet<String>,
    /// The addresses that a node shall answer for.
    pub posts: BTreeMap<IpAddr, Post>,
}

/// An address that a node shall answer for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// On which links.
    pub scope: Scope,
    /// Whether pings are answered.
    pub answers_echo: bool,
    /// Whether it is asked on the network whether the address is free before it is announced for the first time.
    pub is_probed: bool,
    /// Whether a machine outside of the cluster had it when last somebody asked: then who takes it over asks too.
    #[serde(default)]
    pub is_contested: bool,
    /// What happens when a better node comes back.
    pub mode: Mode,
    /// Whether this node may have it, as far as that does not depend on its links.
    pub eligibility: Eligibility,
}

/// How the nodes hear of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeats {
    /// The UDP port of every node.
    pub port: u16,
    /// The time between two.
    pub interval: Duration,
    /// So many missing ones make a node silent.
    pub threshold: u32,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self {
            port: 7956,
            interval: Duration::from_millis(100),
            threshold: 3,
        }
    }
}

impl Heartbeats {
    /// The times of the protocol, in the proportions of its defaults.
    pub(super) fn config(&self) -> Config {
        let interval = self.interval;
        let silence = interval * self.threshold + interval / 5;
        Config {
            interval,
            probe_after: interval * 3 / 2,
            probe_interval: interval / 4,
            silence,
            // A paused owner must have yielded by its first act after the others may have taken over.
            pause: silence.saturating_sub(interval * 6 / 5),
            join: (silence * 3).max(Duration::from_secs(1)),
            stagger: interval * 5 / 2,
            revert_after: Duration::from_secs(2).max(silence * 3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_heartbeats_make_the_times_that_the_protocol_was_tried_with() {
        let config = Heartbeats::default().config();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn a_paused_owner_always_yields_before_it_can_be_taken_for_dead() {
        for (interval, threshold) in [(20, 2), (20, 20), (100, 2), (1000, 3), (10_000, 20)] {
            let heartbeats = Heartbeats {
                interval: Duration::from_millis(interval),
                threshold,
                ..Heartbeats::default()
            };
            let config = heartbeats.config();
            assert!(config.pause + config.interval < config.silence, "{config:?}");
            assert!(config.pause >= config.interval / 2, "{config:?}");
        }
    }
}
