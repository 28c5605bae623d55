//! The agent: datagrams, time and statements in; datagrams and decisions out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use aws_lc_rs::hmac;

use super::claims::Group;
use super::config::{Config, Event, GroupId, Mode, Output, YieldReason};
use super::membership::Peer;
use super::rank::NodeId;
use super::wire::{self, Body, Datagram, ENTRIES, Heartbeat, Standing, WireError};

/// One node's part in the decisions.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each states one fact, in every combination"
)]
pub struct Agent {
    pub(super) config: Config,
    pub(super) keys: Vec<hmac::Key>,
    pub(super) me: NodeId,
    incarnation: u64,
    sequence: u64,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// The groups by the revision at which their entry last changed.
    log: BTreeMap<u64, GroupId>,
    revision: u64,
    pub(super) api: bool,
    /// Nodes that the API server calls lost.
    pub(super) lost: BTreeSet<NodeId>,
    pub(super) last_call: Instant,
    next_beat: Instant,
    /// A peer is fresh if it has answered something sent after this.
    listening_from: u64,
    listening_since: Instant,
    pub(super) joined: bool,
    /// It hears a majority of the members.
    pub(super) majority: bool,
    pub(super) entitled: bool,
    /// Every group is to be decided again.
    pub(super) dirty: bool,
    /// These groups are to be decided again.
    stale: BTreeSet<GroupId>,
    /// These groups wait for a time to pass, and are to be decided again then.
    pub(super) waiting: BTreeSet<(Instant, GroupId)>,
    pub(super) out: VecDeque<Output>,
}

impl Agent {
    /// An agent that knows nothing but `resume`: the claims that this node held when its last
    /// process ended. `incarnation` must grow with every start on this node. The first key signs;
    /// all of them are accepted, so that keys can be rotated.
    pub fn new(
        config: Config,
        node: NodeId,
        incarnation: u64,
        keys: &[Vec<u8>],
        resume: &[(GroupId, u64)],
        now: Instant,
    ) -> Self {
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect();
        let mut agent = Self {
            config,
            keys,
            me: node,
            incarnation,
            sequence: 0,
            peers: BTreeMap::new(),
            groups: BTreeMap::new(),
            log: BTreeMap::new(),
            revision: 0,
            api: false,
            lost: BTreeSet::new(),
            last_call: now,
            next_beat: now,
            listening_from: 0,
            listening_since: now,
            joined: false,
            majority: false,
            entitled: false,
            dirty: true,
            stale: BTreeSet::new(),
            waiting: BTreeSet::new(),
            out: VecDeque::new(),
        };
        for (id, epoch) in resume {
            let mut group = Group::new(Mode::Sticky);
            group.learn(*id, *epoch, node, None);
            agent.groups.insert(*id, group);
            agent.touch(*id);
        }
        agent
    }

    /// Lets time pass. To be called by [`Self::next_deadline`], and after every other input.
    pub fn tick(&mut self, now: Instant) {
        self.notice_pause(now);
        self.settle(now);
    }

    /// Takes a datagram. An error says that it was not a member's, and nothing has changed.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> Result<(), WireError> {
        // First: what was queued while this process was paused is old.
        self.notice_pause(now);
        let Datagram {
            from,
            to,
            incarnation,
            sequence,
            body,
        } = wire::open(bytes, &self.keys)?;
        let Some(peer) = self.peers.get_mut(&from).filter(|_| to == self.me) else {
            return Ok(());
        };
        if !peer.admits(incarnation, sequence) {
            return Ok(());
        }
        peer.last_heard = Some(now);
        match body {
            Body::Heartbeat(beat) => {
                peer.owed |= beat.probe;
                if peer.beat(sequence, beat, (self.incarnation, self.listening_from)) {
                    self.dirty = true;
                    let owned = self.groups.iter().filter(|(_, group)| group.owner == from);
                    let owned: Vec<GroupId> = owned.map(|(id, _)| *id).collect();
                    for id in owned {
                        self.hear_owner(id);
                    }
                }
            }
            Body::State { after, entries } => {
                peer.learn(after, &entries);
                peer.owed = true;
                for entry in entries {
                    let Some(known) = self.groups.get_mut(&entry.group) else {
                        continue;
                    };
                    let learned = known.learn(entry.group, entry.epoch, entry.owner, Some(now));
                    known.by_api &= !known.is_claim_of(&entry);
                    if learned {
                        self.touch(entry.group);
                    }
                    self.hear_owner(entry.group);
                    self.stale.insert(entry.group);
                }
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Takes the word of a group's owner, which this node passes on to those that do not hear it.
    fn hear_owner(&mut self, id: GroupId) {
        let group = self.groups.get_mut(&id).expect("the group is known");
        let stays = self.peers.get(&group.owner).is_some_and(|peer| {
            let entry = peer.table.get(&id).filter(|entry| group.is_claim_of(entry));
            let says = entry.is_some_and(|entry| entry.holds && entry.standing == Standing::Eligible);
            says && peer.joined && peer.hears.contains(&self.me)
        });
        if group.stays != stays {
            group.stays = stays;
            self.touch(id);
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Self::tick`] is due at the latest.
    pub fn next_deadline(&self) -> Instant {
        if self.dirty || !self.stale.is_empty() {
            return self.last_call;
        }
        let busy = (self.entitled && !self.joined)
            || self
                .peers
                .values()
                .any(|peer| peer.heard && (peer.has_of_me < self.revision || self.is_quiet(peer, self.next_beat)));
        let probe = busy.then(|| self.last_call + self.config.probe_interval);
        let decide = self.waiting.first().map(|(then, _)| *then);
        probe.into_iter().chain(decide).fold(self.next_beat, Instant::min)
    }

    /// The groups that this node owns now, with their epochs: what to keep for `resume`.
    pub fn owned(&self) -> impl Iterator<Item = (GroupId, u64)> {
        self.groups
            .iter()
            .filter(|(_, group)| group.holds && group.owner == self.me)
            .map(|(id, group)| (*id, group.epoch))
    }

    /// Whether a peer and this node hear each other.
    pub(super) fn answers(&self, node: NodeId) -> bool {
        let peer = self.peers.get(&node);
        peer.is_some_and(|peer| peer.heard && peer.hears.contains(&self.me))
    }

    fn is_quiet(&self, peer: &Peer, now: Instant) -> bool {
        peer.silent_for(now)
            .is_some_and(|silence| silence >= self.config.probe_after)
    }

    fn notice_pause(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last_call);
        self.last_call = now;
        if gap <= self.config.pause {
            return;
        }
        self.out.push_back(Output::Event(Event::Paused(gap)));
        self.give_up_all(YieldReason::Paused);
        self.listen(now);
    }

    /// From here on only answers to what is sent from here on count.
    fn listen(&mut self, now: Instant) {
        self.listening_from = self.sequence;
        self.listening_since = now;
        self.joined = false;
        self.entitled = self.api;
        for peer in self.peers.values_mut() {
            peer.fresh = false;
        }
        self.next_beat = now;
        self.dirty = true;
    }

    fn settle(&mut self, now: Instant) {
        let changed = self.judge_peers(now);
        self.judge_myself(now);
        let mut ids = std::mem::take(&mut self.stale);
        if std::mem::take(&mut self.dirty) {
            ids = self.groups.keys().copied().collect();
            self.waiting.clear();
        }
        while let Some((_, id)) = self.waiting.first().filter(|(then, _)| *then <= now) {
            ids.insert(*id);
            self.waiting.pop_first();
        }
        self.decide(ids, now);
        let beat_due = changed || now >= self.next_beat;
        if beat_due {
            self.next_beat = now + self.config.interval;
            self.forget_removed();
        }
        let targets: Vec<NodeId> = self.peers.keys().copied().collect();
        for to in targets {
            self.serve(to, beat_due, now);
        }
    }

    fn judge_peers(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for (node, peer) in &mut self.peers {
            let heard = peer
                .silent_for(now)
                .is_some_and(|silence| silence < self.config.silence);
            if heard != peer.heard {
                peer.heard = heard;
                changed = true;
                let event = if heard {
                    // What follows is another story: it may die this time.
                    let taken = self.groups.values_mut().filter(|group| group.taken_from == Some(*node));
                    taken.for_each(|group| group.taken_from = None);
                    Event::PeerHeard(*node)
                } else {
                    Event::PeerSilent(*node)
                };
                self.out.push_back(Output::Event(event));
            }
        }
        self.dirty |= changed;
        changed
    }

    /// Whether this agent may own anything, and whether it knows enough to claim.
    fn judge_myself(&mut self, now: Instant) {
        let fresh = self.peers.values().filter(|peer| peer.heard && peer.fresh).count();
        let joins = |peer: &&Peer| peer.heard && peer.fresh && peer.hears.contains(&self.me);
        let joined = self.peers.values().filter(joins).count();
        let majority = (joined + 1) * 2 > self.peers.len() + 1;
        self.dirty |= majority != self.majority;
        self.majority = majority;
        let entitled = self.api || majority;
        if self.entitled && !entitled {
            self.give_up_all(YieldReason::Isolated);
            self.listen(now);
        }
        self.dirty |= entitled != self.entitled;
        self.entitled = entitled;
        if !self.joined && entitled {
            let late = now.saturating_duration_since(self.listening_since) >= self.config.join;
            // Who does not hear this node tells it nothing.
            let is_known = |peer: &Peer| peer.fresh && peer.in_sync() || late && !peer.hears.contains(&self.me);
            let heard_are_known = self.peers.values().all(|peer| !peer.heard || is_known(peer));
            let complete = fresh == self.peers.len();
            self.joined = heard_are_known && (complete || late);
            self.dirty |= self.joined;
            if self.joined {
                self.next_beat = now;
            }
        }
    }

    fn serve(&mut self, to: NodeId, beat_due: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let silence = peer.silent_for(now);
        let quiet = peer.heard && silence.is_some_and(|silence| silence >= self.config.probe_after);
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let probe = quiet && since(peer.probed_at).is_none_or(|ago| ago >= self.config.probe_interval);
        if probe {
            peer.probed_at = Some(now);
        }
        if since(peer.sent_at).is_some_and(|ago| ago >= self.config.interval / 2) {
            peer.sent = peer.has_of_me;
        }
        let owed = std::mem::take(&mut peer.owed);
        let from = if peer.heard { peer.sent } else { self.revision };
        if from < self.revision {
            peer.sent = self.revision;
            peer.sent_at = Some(now);
            let news: Vec<_> = self
                .log
                .range(from + 1..)
                .map(|(_, id)| self.groups[id].entry(*id))
                .collect();
            let mut after = from;
            for part in news.chunks(ENTRIES) {
                self.send(
                    to,
                    Body::State {
                        after,
                        entries: part.to_vec(),
                    },
                );
                after = part.last().map_or(after, |entry| entry.revision);
            }
        }
        if beat_due || probe || owed {
            let beat = self.heartbeat(to, probe);
            self.send(to, Body::Heartbeat(beat));
        }
    }

    fn heartbeat(&self, to: NodeId, probe: bool) -> Heartbeat {
        let peer = &self.peers[&to];
        Heartbeat {
            echo: (peer.incarnation, peer.newest),
            has: peer.has_of_it,
            revision: self.log.last_key_value().map_or(0, |(revision, _)| *revision),
            joined: self.joined,
            entitled: self.entitled,
            probe,
            hears: self
                .peers
                .iter()
                .filter(|(_, peer)| peer.heard)
                .map(|(node, _)| *node)
                .collect(),
        }
    }

    fn send(&mut self, to: NodeId, body: Body) {
        self.sequence += 1;
        let datagram = Datagram {
            from: self.me,
            to,
            incarnation: self.incarnation,
            sequence: self.sequence,
            body,
        };
        let bytes = wire::seal(&datagram, self.keys.first().expect("an agent has a key"));
        self.out.push_back(Output::Send { to, bytes });
    }

    pub(super) fn set(&mut self, id: GroupId, change: impl FnOnce(&mut Group)) {
        if let Some(group) = self.groups.get_mut(&id) {
            let before = group.entry(id);
            change(group);
            self.stale.insert(id);
            if group.entry(id) != before || group.removed {
                self.touch(id);
            }
        }
    }

    /// The group's entry has changed: the peers are to be told.
    pub(super) fn touch(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        self.log.remove(&group.revision);
        self.revision += 1;
        group.revision = self.revision;
        self.log.insert(self.revision, id);
        self.stale.insert(id);
    }

    pub(super) fn give_up(&mut self, id: GroupId, why: YieldReason) {
        let held = self
            .groups
            .get_mut(&id)
            .is_some_and(|group| std::mem::take(&mut group.holds));
        if held {
            self.touch(id);
            self.out.push_back(Output::Yield { group: id, why });
        }
    }

    fn give_up_all(&mut self, why: YieldReason) {
        let held = self.groups.iter().filter(|(_, group)| group.holds);
        let held: Vec<GroupId> = held.map(|(id, _)| *id).collect();
        for id in held {
            self.give_up(id, why);
        }
    }

    /// A removed group is told until every peer knows of it.
    fn forget_removed(&mut self) {
        let known = self
            .peers
            .values()
            .map(|peer| peer.has_of_me)
            .min()
            .unwrap_or(self.revision);
        let newest = self.revision;
        let log = &mut self.log;
        self.groups.retain(|_, group| {
            let keep = !group.removed || group.revision > known || group.revision == newest;
            if !keep {
                log.remove(&group.revision);
            }
            keep
        });
    }
}
