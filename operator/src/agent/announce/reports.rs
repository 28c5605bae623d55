//! What the speaker reports: kept for claims, told to metrics and to the log.

use fairlead_local::ownership::{Ineligible, NodeId, OwnReason, YieldReason};
use fairlead_local::speaker::Report;

use super::Announcing;
use super::claims::{Claim, Stranger};

impl Announcing {
    pub(super) fn hear(&mut self, report: Report) {
        self.metrics.heard(&report);
        let is_of_links = matches!(
            report,
            Report::Owns { .. }
                | Report::Yields { .. }
                | Report::Links(_)
                | Report::PeerSilent(_)
                | Report::PeerHeard(_)
        );
        self.is_stale.link_table |= is_of_links;
        match report {
            Report::Owns {
                address,
                epoch,
                why,
                silence,
            } => {
                let reason = reason_to_own(why);
                tracing::info!(%address, epoch, reason, ?silence, "answering for the address");
                let claim = Claim {
                    epoch,
                    reason,
                    stranger: Stranger::Unknown,
                };
                self.owned.insert(address, claim);
                self.resuming.remove(&address);
                self.remember_soon();
            }
            Report::Yields { address, why } => {
                tracing::info!(%address, reason = reason_to_yield(why), "not answering for the address any more");
                self.owned.remove(&address);
                self.resuming.remove(&address);
                self.remember_soon();
            }
            Report::PeerSilent(node) => {
                self.heard.remove(&node);
                self.show_silence();
                tracing::info!(node = self.name_of(node), "the node is silent");
                // Perhaps only the API server can tell who goes on.
                if let Some(reach) = &self.reach {
                    reach.ask();
                }
            }
            Report::PeerHeard(node) => {
                self.heard.insert(node);
                self.show_silence();
                tracing::info!(node = self.name_of(node), "the node is heard");
            }
            Report::Links(links) => self.links = links,
            Report::Paused(gap) => tracing::warn!(?gap, "this process did not run for a while"),
            Report::Split { address, winner } => {
                tracing::warn!(%address, winner = self.name_of(winner), "two nodes answered for the address");
            }
            Report::Conflict {
                address, mac, is_peer, ..
            } if is_peer => tracing::info!(%address, mac, "another node announces the address too"),
            Report::Conflict {
                address,
                mac,
                is_silent,
                ..
            } => {
                tracing::error!(%address, mac, is_silent, "a machine outside of the cluster has the address");
                if let Some(claim) = self.owned.get_mut(&address).filter(|_| is_silent) {
                    claim.stranger = Stranger::Present(mac);
                }
            }
            Report::Free { address } => {
                if let Some(claim) = self.owned.get_mut(&address) {
                    claim.stranger = Stranger::Absent;
                }
            }
        }
        self.metrics.owned(self.owned.len());
    }

    fn name_of(&self, node: NodeId) -> &str {
        let members = &self.memory.plan.members;
        let name = members.keys().find(|name| NodeId::of(name) == node);
        name.map_or("?", String::as_str)
    }
}

pub(super) fn reason_to_own(why: OwnReason) -> &'static str {
    match why {
        OwnReason::Vacant => "Vacant",
        OwnReason::OwnerDead => "OwnerDead",
        OwnReason::OwnerLeaves => "OwnerLeaves",
        OwnReason::Resumed => "Resumed",
        OwnReason::Reverted => "Reverted",
    }
}

pub(super) fn reason_to_yield(why: YieldReason) -> &'static str {
    match why {
        YieldReason::Isolated => "Isolated",
        YieldReason::Superseded => "Superseded",
        YieldReason::Paused => "Paused",
        YieldReason::Removed => "Removed",
        YieldReason::Ineligible(why) => match why {
            Ineligible::Unknown => "Unknown",
            Ineligible::NoCarrier => "NoCarrier",
            Ineligible::PrefixDoesNotCover => "PrefixDoesNotCover",
            Ineligible::DataplaneNotInSync => "DataplaneNotInSync",
            Ineligible::NoLocalEndpoint => "NoLocalEndpoint",
            Ineligible::Excluded => "Excluded",
            Ineligible::NetworkUnavailable => "NetworkUnavailable",
            Ineligible::Cordoned => "Cordoned",
        },
    }
}
