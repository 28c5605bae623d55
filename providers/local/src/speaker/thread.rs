//! The thread: waits for datagrams, words and time, and does what the protocol says. It makes no choices of its own but those about links.

mod probing;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::plan::{MEMBERS, Plan, Post};
use super::sockets::Sockets;
use super::{Input, Report, Shared, Start, address_of, group_of, neighbours};
use crate::announcement::{Announcer, Holding, Link};
use crate::ownership::{Agent, Eligibility, Event, Ineligible, NodeId, Output, OwnReason, YieldReason};

/// Datagrams read from one socket before anything else is looked at.
const AT_A_TURN: usize = 64;
/// The longest datagram of UDP.
const LONGEST: usize = 65_535;
/// A port that could not be had is tried again so often: the last process may still have it.
const REOPEN: Duration = Duration::from_millis(200);
/// How often the MAC addresses of other nodes are looked up.
const LOOK_UP: Duration = Duration::from_secs(5);
/// The thread's state.
pub(super) struct Speaking {
    node: String,
    incarnation: u64,
    keys: Vec<Vec<u8>>,
    plan: Plan,
    peers: BTreeMap<NodeId, Vec<IpAddr>>,
    agent: Agent,
    announcer: Arc<Announcer>,
    shared: Arc<Shared>,
    tell: Box<dyn FnMut(Report) + Send>,
    sockets: Sockets,
    reopen: Option<Instant>,
    cannot_open: bool,
    look_up: Instant,
    is_leaving: bool,
    is_api_reachable: bool,
    /// The addresses that are this node's. Those that are asked for are not answered for yet.
    owned: BTreeSet<IpAddr>,
    probing: BTreeSet<IpAddr>,
    held: BTreeMap<IpAddr, Holding>,
    /// Addresses of this node's that another machine has, and when they are asked for again. They are kept, so that no other node takes
    /// them, and not answered for.
    conflicts: BTreeMap<IpAddr, Instant>,
    /// Those of which that was heard once at least.
    doubted: BTreeSet<IpAddr>,
    silent_since: BTreeMap<NodeId, Instant>,
    /// The links that were told of.
    links: Vec<Link>,
    buffer: Vec<u8>,
}

impl Speaking {
    pub(super) fn new(
        start: Start,
        announcer: Arc<Announcer>,
        shared: Arc<Shared>,
        tell: Box<dyn FnMut(Report) + Send>,
    ) -> Self {
        let now = Instant::now();
        let Start {
            node,
            incarnation,
            keys,
            resume,
            plan,
        } = start;
        let resume: Vec<_> = resume
            .into_iter()
            .map(|(address, epoch)| (group_of(address), epoch))
            .collect();
        let agent = Agent::new(
            plan.heartbeats.config(),
            NodeId::of(&node),
            incarnation,
            &keys,
            &resume,
            now,
        );
        Self {
            node,
            incarnation,
            keys,
            plan,
            peers: BTreeMap::new(),
            agent,
            announcer,
            shared,
            tell,
            sockets: Sockets::default(),
            reopen: Some(now),
            cannot_open: false,
            look_up: now,
            is_leaving: false,
            is_api_reachable: false,
            owned: BTreeSet::new(),
            probing: BTreeSet::new(),
            held: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            doubted: BTreeSet::new(),
            silent_since: BTreeMap::new(),
            links: Vec::new(),
            buffer: vec![0; LONGEST],
        }
    }

    pub(super) fn run(mut self) {
        self.follow_plan();
        while !self.shared.is_stopped.load(Ordering::Acquire) {
            for input in self.shared.take() {
                self.heed(input);
            }
            let now = Instant::now();
            self.keep_house(now);
            self.agent.tick(now);
            self.act();
            for socket in self.wait() {
                self.listen(socket);
            }
            self.act();
        }
    }

    fn heed(&mut self, input: Input) {
        match input {
            Input::Plan(plan) => {
                let before = std::mem::replace(&mut self.plan, *plan);
                if before.heartbeats != self.plan.heartbeats {
                    self.begin_anew(before.heartbeats.port != self.plan.heartbeats.port);
                }
                self.follow_plan();
            }
            Input::Keys(keys) => {
                self.agent.set_keys(&keys);
                self.keys = keys;
            }
            Input::ApiReachable(is_reachable) => {
                self.is_api_reachable = is_reachable;
                self.agent.set_api_reachable(is_reachable);
            }
            Input::Claim { address, epoch, node } => self.agent.api_claim(group_of(address), epoch, node),
            Input::Leave => {
                self.is_leaving = true;
                self.judge_all();
            }
            Input::Heard(event) => self.heard(event),
        }
    }

    /// The times of the protocol are others: it begins anew, with what it has.
    fn begin_anew(&mut self, is_other_port: bool) {
        let resume: Vec<_> = self.agent.owned().collect();
        self.incarnation += 1;
        self.agent = Agent::new(
            self.plan.heartbeats.config(),
            NodeId::of(&self.node),
            self.incarnation,
            &self.keys,
            &resume,
            Instant::now(),
        );
        self.agent.set_api_reachable(self.is_api_reachable);
        for address in std::mem::take(&mut self.owned) {
            let why = YieldReason::Removed;
            (self.tell)(Report::Yields { address, why });
        }
        self.probing.clear();
        self.conflicts.clear();
        self.doubted.clear();
        self.hold(&BTreeSet::new());
        if is_other_port {
            self.sockets = Sockets::default();
            self.reopen = Some(Instant::now());
        }
    }

    fn follow_plan(&mut self) {
        // In the order of their names, so that all nodes leave the same ones out.
        let members = || self.plan.members.iter().take(MEMBERS);
        let ids: Vec<_> = members().map(|(name, _)| NodeId::of(name)).collect();
        self.peers = members()
            .filter(|(name, _)| **name != self.node)
            .map(|(name, addresses)| (NodeId::of(name), addresses.clone()))
            .collect();
        self.agent.set_members(&ids);
        let lost: Vec<_> = self.plan.lost.iter().map(|name| NodeId::of(name)).collect();
        self.agent.set_lost(&lost);
        let groups: Vec<_> = self
            .plan
            .posts
            .iter()
            .map(|(address, post)| (group_of(*address), post.mode))
            .collect();
        self.agent.set_groups(&groups);
        let refresh = self.plan.refresh;
        self.announcer.with(|responder| responder.set_refresh(refresh));
        self.judge_all();
        self.look_up = Instant::now();
        self.hold(&BTreeSet::new());
    }

    /// States of each address whether this node may have it.
    fn judge_all(&mut self) {
        let takes_part = self.plan.members.keys().take(MEMBERS).any(|name| *name == self.node);
        let links: Vec<Link> = self.announcer.look(|responder| responder.links().cloned().collect());
        for (address, post) in &self.plan.posts {
            let eligibility = if takes_part {
                self.judge(*address, post, &links)
            } else {
                Eligibility::Ineligible(Ineligible::Excluded)
            };
            self.agent.set_eligibility(group_of(*address), eligibility);
        }
        self.tell_links(links);
    }

    fn tell_links(&mut self, mut links: Vec<Link>) {
        let is_named = |link: &Link| self.plan.posts.values().any(|post| post.scope.interfaces.include(link));
        links
            .retain(|link| link.carries_packets() && link.has_neighbours() && (!link.leads_inside() || is_named(link)));
        if self.links != links {
            self.links.clone_from(&links);
            self.look_up = Instant::now();
            (self.tell)(Report::Links(links));
        }
    }

    fn judge(&self, address: IpAddr, post: &Post, links: &[Link]) -> Eligibility {
        if let Eligibility::Ineligible(_) = post.eligibility {
            return post.eligibility;
        }
        if !self
            .announcer
            .look(|responder| responder.can_announce(address, &post.scope))
        {
            let is_down = links.iter().any(|link| post.scope.includes(link, address));
            return Eligibility::Ineligible(if is_down {
                Ineligible::NoCarrier
            } else {
                Ineligible::PrefixDoesNotCover
            });
        }
        if self.is_leaving {
            return Eligibility::Leaving;
        }
        post.eligibility
    }

    /// What has to be done now and then.
    fn keep_house(&mut self, now: Instant) {
        if self.reopen.is_some_and(|reopen| reopen <= now) {
            let port = self.plan.heartbeats.port;
            match Sockets::open(port) {
                Ok(sockets) => {
                    self.sockets = sockets;
                    self.reopen = None;
                    if std::mem::take(&mut self.cannot_open) {
                        tracing::info!(port, "hearing the other nodes");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.cannot_open, true) {
                        tracing::warn!(port, %error, "cannot open the UDP port of heartbeats, trying again");
                    }
                    self.reopen = Some(now + REOPEN);
                }
            }
        }
        if self.look_up <= now {
            self.look_up = now + LOOK_UP;
            self.seek_routers();
            let addresses = self.peers.values().flatten().copied().collect();
            match neighbours::macs_of(&addresses) {
                Ok(macs) => self.announcer.with(|responder| responder.set_peers(macs)),
                Err(error) => tracing::debug!(%error, "cannot look up the MAC addresses of the other nodes"),
            }
        }
        let over: Vec<_> = self.conflicts.extract_if(.., |_, again| *again <= now).collect();
        for (address, _) in over {
            self.probe(address);
        }
    }

    /// Where there are several links, answers may have to leave by another one than their route's.
    fn seek_routers(&self) {
        if self.links.len() < 2 {
            return;
        }
        for link in &self.links {
            for router in &link.routers {
                if let Err(error) = neighbours::seek(link.index, *router) {
                    tracing::debug!(%error, %router, "cannot look for the MAC address of the router");
                }
            }
        }
    }

    /// Does what the protocol says.
    fn act(&mut self) {
        let mut taken = BTreeSet::new();
        let mut is_changed = false;
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Send { to, bytes } => {
                    let addresses = self.peers.get(&to).map_or(&[][..], Vec::as_slice);
                    // A node that cannot be sent to is silent soon.
                    let _ = self.sockets.send(addresses, self.plan.heartbeats.port, &bytes);
                }
                Output::Own { group, epoch, why } => {
                    let address = address_of(group);
                    // Nobody has announced it lately, as far as is known.
                    let is_first = why == OwnReason::Vacant;
                    let is_doubtful = |post: &Post| is_first || post.is_contested;
                    self.owned.insert(address);
                    is_changed = true;
                    match self.plan.posts.get(&address) {
                        Some(post) if is_doubtful(post) && post.is_probed => self.probe(address),
                        _ => {
                            taken.insert(address);
                        }
                    }
                    let silence = (why == OwnReason::OwnerDead).then(|| self.last_silence());
                    (self.tell)(Report::Owns {
                        address,
                        epoch,
                        why,
                        silence,
                    });
                }
                Output::Yield { group, why } => {
                    let address = address_of(group);
                    self.owned.remove(&address);
                    self.probing.remove(&address);
                    self.conflicts.remove(&address);
                    self.doubted.remove(&address);
                    self.announcer.with(|responder| responder.cancel_probe(address));
                    taken.remove(&address);
                    is_changed = true;
                    (self.tell)(Report::Yields { address, why });
                }
                Output::Event(event) => self.note(&event),
            }
        }
        if is_changed {
            self.hold(&taken);
        }
    }

    fn note(&mut self, event: &Event) {
        let report = match event {
            Event::PeerSilent(node) => {
                self.silent_since.insert(*node, Instant::now());
                Report::PeerSilent(*node)
            }
            Event::PeerHeard(node) => {
                self.silent_since.remove(node);
                // Its MAC address may not be known yet.
                self.look_up = Instant::now();
                Report::PeerHeard(*node)
            }
            Event::Paused(gap) => Report::Paused(*gap),
            Event::Conflict { group, winner } => Report::Split {
                address: address_of(*group),
                winner: *winner,
            },
        };
        (self.tell)(report);
    }

    /// How long ago the node that fell silent last was heard: the dead owner, unless several died.
    fn last_silence(&self) -> Duration {
        let silence = self.plan.heartbeats.config().silence;
        self.silent_since
            .values()
            .max()
            .map_or(silence, |since| since.elapsed() + silence)
    }

    /// Answers for the addresses that are this node's; `taken` are announced from the beginning.
    fn hold(&mut self, taken: &BTreeSet<IpAddr>) {
        let is_mute = |address: &&IpAddr| self.probing.contains(address) || self.conflicts.contains_key(address);
        let answers = self.owned.iter().filter(|address| !is_mute(address));
        let held: BTreeMap<_, _> = answers
            .filter_map(|address| {
                let post = self.plan.posts.get(address)?;
                let holding = Holding {
                    scope: post.scope.clone(),
                    answers_echo: post.answers_echo,
                };
                Some((*address, holding))
            })
            .collect();
        if taken.is_empty() && held == self.held {
            return;
        }
        self.held.clone_from(&held);
        self.announcer.with(|responder| {
            let now = Instant::now();
            responder.hold(held, now);
            for address in taken {
                responder.took(*address, now);
            }
        });
    }

    /// Waits for something to do: the sockets that have datagrams.
    fn wait(&self) -> Vec<usize> {
        let again = self.conflicts.values().min().copied();
        let deadlines = [Some(self.agent.next_deadline()), self.reopen, Some(self.look_up), again];
        let deadline = deadlines.into_iter().flatten().min();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut descriptors = vec![PollFd::from_borrowed_fd(self.shared.wake.as_fd(), PollFlags::IN)];
        descriptors.extend(self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
        if let Err(errno) = poll(&mut descriptors, timeout.as_ref())
            && errno != Errno::INTR
        {
            tracing::error!(%errno, "cannot wait for heartbeats");
        }
        let mut is_ready = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty());
        if is_ready.next() == Some(true) {
            let mut count = [0; 8];
            let _ = rustix::io::read(&self.shared.wake, &mut count);
        }
        is_ready
            .enumerate()
            .filter_map(|(index, is_ready)| is_ready.then_some(index))
            .collect()
    }

    /// Reads what one socket has.
    fn listen(&mut self, socket: usize) {
        for _ in 0..AT_A_TURN {
            let Some(socket) = self.sockets.iter().nth(socket) else {
                return;
            };
            match socket.recv(&mut self.buffer) {
                Ok(len) => {
                    if let Err(error) = self.agent.received(&self.buffer[..len], Instant::now()) {
                        tracing::debug!(%error, "a datagram that is no heartbeat of a node");
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // A node's answer that its port is closed comes as an error too.
                Err(error) => {
                    tracing::trace!(%error, "cannot receive heartbeats");
                    return;
                }
            }
        }
    }
}
