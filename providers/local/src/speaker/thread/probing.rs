//! Whether an address is free, and what becomes of one that another machine has.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Report, Speaking};
use crate::announcement::{self, ProbeResult};

/// How long nodes have to agree before an address is asked for once more.
const DOUBT: Duration = Duration::from_millis(100);
/// How long an address that another machine has is left alone.
const CONFLICT_LASTS: Duration = Duration::from_mins(1);

impl Speaking {
    /// What the announcer heard.
    pub(super) fn heard(&mut self, event: announcement::Event) {
        match event {
            announcement::Event::LinksChanged => self.judge_all(),
            announcement::Event::Probed { address, result } => {
                if !self.probing.remove(&address) {
                    return;
                }
                match result {
                    ProbeResult::Conflict {
                        mac, is_peer: false, ..
                    } => self.conflict(address, mac),
                    // Another node answers: the protocol sees to that.
                    ProbeResult::Conflict { .. } | ProbeResult::Free | ProbeResult::NoLink => {
                        self.doubted.remove(&address);
                        self.hold(&[address].into());
                        if result == ProbeResult::Free {
                            (self.tell)(Report::Free { address });
                        }
                    }
                }
            }
            announcement::Event::Conflict {
                address, mac, is_peer, ..
            } => (self.tell)(Report::Conflict {
                address,
                mac: mac.to_string(),
                is_peer,
                is_silent: false,
            }),
        }
    }

    /// Asks on the network whether the address is free, before it is answered for.
    pub(super) fn probe(&mut self, address: IpAddr) {
        let Some(post) = self.plan.posts.get(&address) else {
            return;
        };
        let scope = post.scope.clone();
        self.probing.insert(address);
        self.announcer
            .with(|responder| responder.probe(address, scope, Instant::now()));
    }

    /// Another machine has the address. It was there first.
    fn conflict(&mut self, address: IpAddr, mac: announcement::Mac) {
        // The first time it may be a node that wants the address too, and gives way within milliseconds.
        let is_first = self.doubted.insert(address);
        let pause = if is_first { DOUBT } else { CONFLICT_LASTS };
        self.conflicts.insert(address, Instant::now() + pause);
        if is_first {
            return;
        }
        (self.tell)(Report::Conflict {
            address,
            mac: mac.to_string(),
            is_peer: false,
            is_silent: true,
        });
    }
}
