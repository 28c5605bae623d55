//! A cluster under a virtual clock, with faults drawn from a seed; and a watch over what must hold.
//!
//! One thread, no real time: a seed gives the same run each time. Nodes have clocks of their own
//! (`clock`), datagrams are lost, late, doubled and cut off (`network`), the API server is away at
//! times and late with its news (`api_server`). `watch` judges every step by what is true in the
//! simulated world, which no agent knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{Arguments, Write as _};
use std::time::{Duration, Instant};

use super::*;
use api_server::{ApiLink, ApiServer, News};
use clock::Clock;
use network::Network;
use watch::Watch;

mod api_server;
mod clock;
mod faults;
mod network;
mod scenarios;
mod seeds;
mod watch;

const MS: u64 = 1_000;
/// Lines of the trace that a failure prints.
const TRACE: usize = 400;

/// Marsaglia's xorshift: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }
}

struct Node {
    /// The process, if it runs.
    agent: Option<Agent>,
    clock: Clock,
    /// When its agent wants to be called, with the delay of its scheduler.
    due: u64,
    paused: bool,
    /// What the clock read when its machine stood still.
    frozen: Option<u64>,
    queued: VecDeque<Vec<u8>>,
    powered: bool,
    starts: u64,
    /// What its disk says that it owns, and what it said one process before.
    resume: Vec<(GroupId, u64)>,
    old_resume: Vec<(GroupId, u64)>,
    eligibility: BTreeMap<GroupId, Eligibility>,
    api: ApiLink,
    /// What it was told last.
    members: BTreeSet<usize>,
    lost: BTreeSet<usize>,
}

impl Node {
    fn works(&self) -> bool {
        self.agent.is_some() && !self.paused
    }
}

enum Happening {
    Arrives { from: usize, to: usize, bytes: Vec<u8> },
    Wakes { node: usize, start: u64 },
    Written { node: usize, group: GroupId, epoch: u64 },
    Told { node: usize, news: News },
    Judged { node: usize },
}

/// What its disk has for a process that starts.
#[derive(Debug, Clone, Copy)]
enum Disk {
    Current,
    Old,
    Empty,
}

struct World {
    zero: Instant,
    now: u64,
    random: Random,
    config: Config,
    network: Network,
    api: ApiServer,
    ids: Vec<NodeId>,
    nodes: Vec<Node>,
    groups: Vec<(GroupId, Mode)>,
    queue: BTreeMap<(u64, u64), Happening>,
    count: u64,
    bytes: u64,
    watch: Watch,
    trace: VecDeque<String>,
}

const FIT: Eligibility = Eligibility::Eligible { weight: 0 };

impl World {
    fn new(seed: u64, nodes: usize, groups: u8, mode: Mode) -> Self {
        let mut world = Self {
            zero: Instant::now(),
            now: 0,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            config: Config::default(),
            network: Network::new(),
            api: ApiServer::default(),
            ids: Vec::new(),
            nodes: Vec::new(),
            groups: (0..groups).map(|group| (GroupId([group; 16]), mode)).collect(),
            queue: BTreeMap::new(),
            count: 0,
            bytes: 0,
            watch: Watch::default(),
            trace: VecDeque::new(),
        };
        (0..nodes).for_each(|_| world.add_node());
        for node in 0..nodes {
            world.nodes[node].members = world.api.members.clone();
            world.start(node, Disk::Current);
        }
        world
    }

    /// A machine whose agent does not run yet.
    fn add_node(&mut self) {
        let node = self.nodes.len();
        self.ids.push(NodeId::of(&format!("node-{node}")));
        self.network.add();
        self.api.members.insert(node);
        let eligibility = self.groups.iter().map(|(group, _)| (*group, FIT)).collect();
        self.nodes.push(Node {
            agent: None,
            clock: Clock::default(),
            due: 0,
            paused: false,
            frozen: None,
            queued: VecDeque::new(),
            powered: true,
            starts: 0,
            resume: Vec::new(),
            old_resume: Vec::new(),
            eligibility,
            api: ApiLink::new(),
            members: BTreeSet::new(),
            lost: BTreeSet::new(),
        });
    }

    fn start(&mut self, node: usize, disk: Disk) {
        self.note(format_args!("node {node}: starts, its disk is {disk:?}"));
        let now = self.local(node);
        let members = self.ids_of(&self.nodes[node].members);
        let this = &mut self.nodes[node];
        this.starts += 1;
        this.powered = true;
        let resume = match disk {
            Disk::Current => this.resume.clone(),
            Disk::Old => this.old_resume.clone(),
            Disk::Empty => Vec::new(),
        };
        let keys = [b"a key of the cluster".to_vec()];
        let mut agent = Agent::new(self.config.clone(), self.ids[node], this.starts, &keys, &resume, now);
        agent.set_members(&members);
        agent.set_groups(&self.groups);
        for (group, _) in &self.groups {
            agent.set_eligibility(*group, this.eligibility[group]);
        }
        this.agent = Some(agent);
        (this.api.told, this.api.listed) = (false, false);
        this.lost.clear();
        self.forget_known(node);
        self.disturb();
        self.act(node, |_, _| ());
        if self.reaches_api(node) {
            let delay = (5 + self.random.below(100)) * MS;
            self.tell(node, News::Reachable, delay);
        }
    }

    /// The process is gone. What it owned is on its node's disk.
    fn stop(&mut self, node: usize) {
        self.note(format_args!("node {node}: its process ends"));
        let this = &mut self.nodes[node];
        if let Some(agent) = this.agent.take() {
            this.old_resume = std::mem::replace(&mut this.resume, agent.owned().collect());
        }
        this.paused = false;
        this.frozen = None;
        this.queued.clear();
        self.holds_nothing(node);
        self.disturb();
    }

    fn power_off(&mut self, node: usize) {
        self.stop(node);
        self.note(format_args!("node {node}: no power"));
        self.nodes[node].powered = false;
        self.api_link_changed(node);
    }

    fn power_on(&mut self, node: usize, disk: Disk) {
        self.nodes[node].powered = true;
        self.api_link_changed(node);
        self.start(node, disk);
    }

    /// The process does not run; with `frozen`, its clock stands still too.
    fn pause(&mut self, node: usize, frozen: bool) {
        self.note(format_args!("node {node}: paused, frozen: {frozen}"));
        let reads = self.nodes[node].clock.read(self.now);
        self.nodes[node].paused = true;
        self.nodes[node].frozen = frozen.then_some(reads);
        self.disturb();
    }

    fn wake(&mut self, node: usize) {
        if !std::mem::take(&mut self.nodes[node].paused) {
            return;
        }
        self.note(format_args!("node {node}: wakes"));
        if let Some(reads) = self.nodes[node].frozen.take() {
            self.nodes[node].clock.go_on_from(reads, self.now);
        }
        self.disturb();
        for bytes in std::mem::take(&mut self.nodes[node].queued) {
            self.act(node, |agent, now| {
                agent.received(&bytes, now).expect("sealed by a member");
            });
        }
        self.act(node, Agent::tick);
    }

    fn qualify(&mut self, node: usize, eligibility: Eligibility) {
        for (group, _) in self.groups.clone() {
            self.qualify_for(node, group, eligibility);
        }
    }

    fn qualify_for(&mut self, node: usize, group: GroupId, eligibility: Eligibility) {
        let before = self.nodes[node].eligibility.insert(group, eligibility);
        if before == Some(eligibility) {
            return;
        }
        self.note(format_args!("node {node}: {eligibility:?} for {:x}", group.0[0]));
        self.disturb();
        self.watch.qualified.insert((group, node), self.now);
        if let Some(agent) = &mut self.nodes[node].agent {
            agent.set_eligibility(group, eligibility);
        }
        self.act(node, |_, _| ());
    }

    fn part(&mut self, node: usize, side: u64) {
        self.note(format_args!("node {node}: on side {side}"));
        self.network.set_side(node, side);
        self.disturb();
    }

    fn set_link(&mut self, from: usize, to: usize, loss: u64) {
        self.note(format_args!("from {from} to {to} {loss} of 1,000 are lost"));
        self.network.set_link(from, to, loss);
        self.disturb();
    }

    fn mend(&mut self, node: usize) {
        self.note(format_args!("node {node}: its links are mended"));
        self.network.mend(node);
        self.disturb();
    }

    fn schedule(&mut self, delay: u64, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.now + delay, self.count), happening);
    }

    fn local(&self, node: usize) -> Instant {
        self.zero + Duration::from_micros(self.nodes[node].clock.read(self.now))
    }

    /// Calls a node's agent, if it runs, and does what it says.
    fn act(&mut self, node: usize, act: impl FnOnce(&mut Agent, Instant)) {
        let now = self.local(node);
        let this = &mut self.nodes[node];
        let Some(agent) = this.agent.as_mut().filter(|_| !this.paused) else {
            return;
        };
        act(agent, now);
        let deadline = agent.next_deadline().saturating_duration_since(self.zero);
        let deadline = u64::try_from(deadline.as_micros()).expect("a short run");
        // A process is never scheduled at once.
        let late = match self.random.below(50) {
            0 => self.random.below(20 * MS),
            _ => 20 + self.random.below(100),
        };
        this.due = this.clock.reaches(deadline).max(self.now) + late;
        self.learned(node);
        self.drain(node);
    }

    fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds * MS;
        loop {
            if std::mem::take(&mut self.watch.changed) {
                self.reconsider();
            }
            let arrival = self.queue.first_key_value().map(|((at, _), _)| *at);
            let works = self.nodes.iter().enumerate().filter(|(_, node)| node.works());
            let due = works.map(|(index, node)| (node.due, index)).min();
            let first = arrival.into_iter().chain(due.map(|(at, _)| at)).min().unwrap_or(end);
            self.now = self.now.max(first.min(end));
            self.judge();
            if first >= end {
                return;
            }
            match due {
                Some((at, node)) if arrival.is_none_or(|arrival| at < arrival) => {
                    self.act(node, Agent::tick);
                }
                _ => {
                    let (_, happening) = self.queue.pop_first().expect("one is first");
                    self.happen(happening);
                }
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { from, to, bytes } => self.deliver(from, to, bytes),
            Happening::Wakes { node, start } if start == self.nodes[node].starts => self.wake(node),
            Happening::Wakes { .. } => {}
            Happening::Written { node, group, epoch } => self.written(node, group, epoch),
            Happening::Told { node, news } => self.told(node, news),
            Happening::Judged { node } => self.judge_readiness(node),
        }
    }

    fn deliver(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.network.loss(from, to) == network::ALL {
            return;
        }
        let node = &mut self.nodes[to];
        if !node.paused {
            self.act(to, |agent, now| {
                agent.received(&bytes, now).expect("sealed by a member");
            });
        } else if node.queued.len() < 40 {
            // A socket's buffer keeps the oldest ones.
            node.queued.push_back(bytes);
        }
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].agent.as_mut().and_then(Agent::poll) {
            match output {
                Output::Send { to, bytes } => {
                    assert!(bytes.len() <= 1_200, "{} bytes", bytes.len());
                    let to = self.ids.iter().position(|id| *id == to).expect("a member");
                    self.bytes += bytes.len() as u64;
                    if self.random.below(1_000) < self.network.twice {
                        self.send(node, to, bytes.clone());
                    }
                    self.send(node, to, bytes);
                }
                Output::Own { group, epoch, why } => {
                    self.note(format_args!(
                        "node {node}: owns {:x} epoch {epoch}, {why:?}",
                        group.0[0]
                    ));
                    self.claimed(node, group, epoch);
                    let delay = (2 + self.random.below(30)) * MS;
                    if self.api.up {
                        self.schedule(delay, Happening::Written { node, group, epoch });
                    }
                }
                Output::Yield { group, why } => {
                    self.note(format_args!("node {node}: yields {:x}, {why:?}", group.0[0]));
                    self.yielded(node, group);
                }
                Output::Event(event) => self.note(format_args!("node {node}: {event:?}")),
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let loss = self.network.loss(from, to);
        if loss < network::ALL && self.random.below(1_000) >= loss {
            let delay = 100 + self.random.below(4_900);
            self.schedule(delay, Happening::Arrives { from, to, bytes });
        }
    }

    fn note(&mut self, what: Arguments) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        let (seconds, rest) = (self.now / 1_000_000, self.now % 1_000_000);
        self.trace.push_back(format!("{seconds:>4}.{rest:06}  {what}"));
    }

    /// Ends the run with what led to it and what each agent knows.
    fn fail(&self, what: Arguments) -> ! {
        let mut story: String = self.trace.iter().flat_map(|line| [line, "\n"]).collect();
        let names: BTreeMap<NodeId, usize> = self.ids.iter().copied().zip(0..).collect();
        for (node, this) in self.nodes.iter().enumerate() {
            let Some(agent) = &this.agent else { continue };
            let hears: Vec<usize> = (agent.peers.iter().filter(|(_, peer)| peer.heard))
                .map(|(id, _)| names[id])
                .collect();
            let _ = writeln!(
                story,
                "node {node}: hears {hears:?} of {:?}, joined {}, majority {}, API {}",
                this.members, agent.joined, agent.majority, this.api.told
            );
            for (id, group) in &agent.groups {
                let owner = names.get(&group.owner);
                let _ = writeln!(
                    story,
                    "    {:x}: epoch {} of {owner:?}, holds {}, stays {}, by API {}, {:?}",
                    id.0[0], group.epoch, group.holds, group.stays, group.by_api, group.eligibility
                );
            }
        }
        for (id, index) in names {
            story = story.replace(&format!("{id:?}"), &format!("node {index}"));
        }
        panic!("{story}at {} µs: {what}", self.now);
    }
}
