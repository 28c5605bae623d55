//! The API server: keeps claims, members and readiness, tells those that reach it, and is away at times.

use super::*;

/// For how long a node is out of its reach before it calls the node lost. Real ones take 50 s.
const GRACE: u64 = 5_000 * MS;

#[derive(Default)]
pub(super) struct ApiServer {
    pub(super) up: bool,
    pub(super) members: BTreeSet<usize>,
    lost: BTreeSet<usize>,
    claims: BTreeMap<GroupId, (u64, NodeId)>,
}

/// One node's way to it.
pub(super) struct ApiLink {
    pub(super) up: bool,
    /// What the agent was told last.
    pub(super) told: bool,
    /// Since the server came into reach again, the node has been told all that it missed.
    pub(super) listed: bool,
    /// Since when the server has not heard of the node.
    away_since: Option<u64>,
}

impl ApiLink {
    pub(super) fn new() -> Self {
        Self {
            up: true,
            told: false,
            listed: false,
            away_since: None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    Reachable,
    Unreachable,
    Members,
    Lost,
    Claim(GroupId),
}

impl World {
    pub(super) fn reaches_api(&self, node: usize) -> bool {
        let this = &self.nodes[node];
        self.api.up && this.api.up && this.powered
    }

    pub(super) fn set_api(&mut self, up: bool) {
        self.note(format_args!("the API server is {}", if up { "back" } else { "away" }));
        self.api.up = up;
        (0..self.nodes.len()).for_each(|node| self.api_link_changed(node));
    }

    pub(super) fn set_api_link(&mut self, node: usize, up: bool) {
        self.note(format_args!(
            "node {node}: API {}",
            if up { "in reach" } else { "out of reach" }
        ));
        self.nodes[node].api.up = up;
        self.api_link_changed(node);
    }

    /// Each side finds out after a while.
    pub(super) fn api_link_changed(&mut self, node: usize) {
        let (news, delay) = if self.reaches_api(node) {
            (News::Reachable, 50 + self.random.below(1_500))
        } else {
            (News::Unreachable, 300 + self.random.below(2_500))
        };
        self.tell(node, news, delay * MS);
        self.nodes[node].api.listed = false;
        let reached = self.nodes[node].api.up && self.nodes[node].powered;
        self.nodes[node].api.away_since = if reached { None } else { Some(self.now) };
        let then = if reached { 500 * MS } else { GRACE };
        self.schedule(then, Happening::Judged { node });
        self.disturb();
    }

    pub(super) fn judge_readiness(&mut self, node: usize) {
        let is_lost = self.nodes[node]
            .api
            .away_since
            .is_some_and(|since| self.now >= since + GRACE);
        if !self.api.up {
            self.schedule(GRACE, Happening::Judged { node });
            return;
        }
        let changed = if is_lost {
            self.api.lost.insert(node)
        } else {
            self.api.lost.remove(&node)
        };
        if changed {
            self.note(format_args!(
                "node {node}: {}",
                if is_lost { "not ready" } else { "ready" }
            ));
            self.tell_all(News::Lost);
        }
    }

    pub(super) fn tell(&mut self, node: usize, news: News, delay: u64) {
        self.schedule(delay, Happening::Told { node, news });
    }

    pub(super) fn tell_all(&mut self, news: News) {
        for node in 0..self.nodes.len() {
            let delay = (2 + self.random.below(150)) * MS;
            self.tell(node, news, delay);
        }
    }

    /// A claim arrives at the server, which keeps the last one of the highest epoch.
    pub(super) fn written(&mut self, node: usize, group: GroupId, epoch: u64) {
        let known = self.api.claims.get(&group).map_or(0, |claim| claim.0);
        if self.reaches_api(node) && epoch >= known {
            self.note(format_args!(
                "the API has {:x} epoch {epoch} of node {node}",
                group.0[0]
            ));
            self.api.claims.insert(group, (epoch, self.ids[node]));
            self.tell_all(News::Claim(group));
        }
    }

    pub(super) fn told(&mut self, node: usize, news: News) {
        if self.nodes[node].paused {
            self.schedule(20 * MS, Happening::Told { node, news });
            return;
        }
        let reaches = self.reaches_api(node);
        match news {
            News::Reachable if reaches => {
                for part in [News::Members, News::Lost] {
                    self.state(node, part);
                }
                let claimed: Vec<GroupId> = self.api.claims.keys().copied().collect();
                for group in claimed {
                    self.state(node, News::Claim(group));
                }
                self.state(node, news);
                self.nodes[node].api.listed = true;
                self.disturb();
                let agent = self.nodes[node].agent.as_ref();
                let owned: Vec<_> = agent.map_or_else(Vec::new, |agent| agent.owned().collect());
                for (group, epoch) in owned {
                    self.schedule(5 * MS, Happening::Written { node, group, epoch });
                }
            }
            News::Unreachable if !reaches => self.state(node, news),
            News::Members | News::Lost | News::Claim(_) if reaches => self.state(node, news),
            _ => {}
        }
    }

    fn state(&mut self, node: usize, news: News) {
        if self.nodes[node].agent.is_none() {
            return;
        }
        match news {
            News::Reachable | News::Unreachable => {
                let reachable = matches!(news, News::Reachable);
                if self.nodes[node].api.told != reachable {
                    self.nodes[node].api.told = reachable;
                    self.disturb();
                }
                self.act(node, |agent, _| agent.set_api_reachable(reachable));
            }
            News::Members => {
                if self.nodes[node].members != self.api.members {
                    self.nodes[node].members = self.api.members.clone();
                    self.disturb();
                }
                let members = self.ids_of(&self.api.members);
                self.act(node, |agent, _| agent.set_members(&members));
                if !self.api.members.contains(&node) {
                    self.qualify(node, Eligibility::Ineligible(Ineligible::Excluded));
                }
            }
            News::Lost => {
                let lost = self.ids_of(&self.api.lost);
                self.nodes[node].lost = self.api.lost.clone();
                self.disturb();
                self.act(node, |agent, _| agent.set_lost(&lost));
            }
            News::Claim(group) => {
                let (epoch, owner) = self.api.claims[&group];
                self.act(node, |agent, _| agent.api_claim(group, epoch, owner));
                // Of two claims with one epoch the server may have kept the lower one.
                let agent = self.nodes[node].agent.as_ref();
                let held = agent.and_then(|agent| agent.owned().find(|(id, _)| *id == group));
                if let Some((_, epoch)) = held.filter(|_| owner != self.ids[node]) {
                    self.schedule(5 * MS, Happening::Written { node, group, epoch });
                }
            }
        }
    }

    pub(super) fn ids_of(&self, nodes: &BTreeSet<usize>) -> Vec<NodeId> {
        nodes.iter().map(|node| self.ids[*node]).collect()
    }
}
