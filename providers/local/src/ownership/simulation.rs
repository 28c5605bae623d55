//! A cluster under a virtual clock, with faults drawn from a seed; and the invariants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::*;

mod faults;
mod scenarios;

const MS: u64 = 1_000;

/// Marsaglia's xorshift: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

struct Node {
    agent: Option<Agent>,
    paused: bool,
    queued: VecDeque<Vec<u8>>,
    starts: u64,
    resume: Vec<(GroupId, u64)>,
    eligibility: Eligibility,
    api: bool,
    /// Which part of a partition it is in.
    side: u64,
}

struct World {
    zero: Instant,
    now: u64,
    random: Random,
    /// Lost datagrams of 1,000.
    loss: u64,
    /// From, to: nothing arrives.
    cut: BTreeSet<(usize, usize)>,
    ids: Vec<NodeId>,
    nodes: Vec<Node>,
    groups: Vec<(GroupId, Mode)>,
    flying: BTreeMap<(u64, u64), (usize, usize, Vec<u8>)>,
    count: u64,
    bytes: u64,
    /// Since when a pair of nodes that reach each other has owned a group.
    double: BTreeMap<(GroupId, usize, usize), u64>,
    longest_double: u64,
    owns: usize,
    unowned: BTreeMap<GroupId, u64>,
    longest_unowned: u64,
}

const FIT: Eligibility = Eligibility::Eligible { weight: 0 };

impl World {
    fn new(seed: u64, nodes: usize, groups: u8, mode: Mode) -> Self {
        let mut world = Self {
            zero: Instant::now(),
            now: 0,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            loss: 0,
            cut: BTreeSet::new(),
            ids: (0..nodes).map(|node| NodeId::of(&format!("node-{node}"))).collect(),
            nodes: Vec::new(),
            groups: (0..groups).map(|group| (GroupId([group; 16]), mode)).collect(),
            flying: BTreeMap::new(),
            count: 0,
            bytes: 0,
            double: BTreeMap::new(),
            longest_double: 0,
            owns: 0,
            unowned: BTreeMap::new(),
            longest_unowned: 0,
        };
        for _ in 0..nodes {
            world.nodes.push(Node {
                agent: None,
                paused: false,
                queued: VecDeque::new(),
                starts: 0,
                resume: Vec::new(),
                eligibility: FIT,
                api: false,
                side: 0,
            });
        }
        (0..nodes).for_each(|node| world.start(node));
        world
    }

    fn instant(&self) -> Instant {
        self.zero + Duration::from_micros(self.now)
    }

    fn start(&mut self, node: usize) {
        let (now, id) = (self.instant(), self.ids[node]);
        let this = &mut self.nodes[node];
        this.starts += 1;
        let keys = [b"a key of the cluster".to_vec()];
        let mut agent = Agent::new(Config::default(), id, this.starts, &keys, &this.resume, now);
        agent.set_members(&self.ids);
        agent.set_groups(&self.groups);
        agent.set_api_reachable(this.api);
        for (group, _) in &self.groups {
            agent.set_eligibility(*group, this.eligibility);
        }
        this.agent = Some(agent);
    }

    /// The process is gone; what it owned last is kept on its node.
    fn stop(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        if let Some(agent) = this.agent.take() {
            this.resume = agent.owned().collect();
        }
        this.paused = false;
        this.queued.clear();
    }

    fn qualify(&mut self, node: usize, eligibility: Eligibility) {
        let this = &mut self.nodes[node];
        this.eligibility = eligibility;
        if let Some(agent) = &mut this.agent {
            self.groups
                .iter()
                .for_each(|(group, _)| agent.set_eligibility(*group, eligibility));
        }
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        self.nodes[from].side == self.nodes[to].side && !self.cut.contains(&(from, to))
    }

    fn wake(&mut self, node: usize) {
        self.nodes[node].paused = false;
        let now = self.instant();
        let queued = std::mem::take(&mut self.nodes[node].queued);
        if let Some(agent) = &mut self.nodes[node].agent {
            for bytes in queued {
                agent.received(&bytes, now).expect("sealed by a member");
            }
        }
        self.drain(node);
    }

    fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds * MS;
        loop {
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let due = |node: &Node| {
                let agent = node.agent.as_ref().filter(|_| !node.paused)?;
                let wait = agent.next_deadline().saturating_duration_since(self.zero);
                Some(u64::try_from(wait.as_micros()).expect("a short run"))
            };
            let deadline = self.nodes.iter().filter_map(due).min();
            let next = arrival.into_iter().chain(deadline).min().unwrap_or(end);
            if next >= end {
                self.now = end;
                self.observe();
                return;
            }
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (from, to, bytes)) = self.flying.pop_first().expect("one arrives");
                self.deliver(from, to, bytes);
            } else {
                // A process is never scheduled at once.
                let late = self
                    .nodes
                    .iter()
                    .position(|node| due(node) == Some(next))
                    .expect("one is due");
                let now = self.instant();
                if let Some(agent) = &mut self.nodes[late].agent {
                    agent.tick(now + Duration::from_micros(50));
                }
                self.now += 50;
                self.drain(late);
            }
            self.observe();
        }
    }

    fn deliver(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if !self.reaches(from, to) {
            return;
        }
        let now = self.instant();
        let node = &mut self.nodes[to];
        if node.paused {
            // A socket's buffer keeps the oldest ones.
            if node.queued.len() < 40 {
                node.queued.push_back(bytes);
            }
        } else if let Some(agent) = &mut node.agent {
            agent.received(&bytes, now).expect("sealed by a member");
            self.drain(to);
        }
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].agent.as_mut().and_then(Agent::poll) {
            match output {
                Output::Send { to, bytes } => {
                    assert!(bytes.len() <= 1_200, "{} bytes", bytes.len());
                    let to = self.ids.iter().position(|id| *id == to).expect("a member");
                    self.bytes += bytes.len() as u64;
                    if self.random.below(1_000) >= self.loss {
                        self.count += 1;
                        let at = self.now + 100 + self.random.below(4_900);
                        self.flying.insert((at, self.count), (node, to, bytes));
                    }
                }
                Output::Own { .. } => self.owns += 1,
                Output::Yield { .. } | Output::Event(_) => {}
            }
        }
    }

    fn owners(&self, group: GroupId) -> Vec<usize> {
        let owns = |node: &Node| {
            let agent = node.agent.as_ref().filter(|_| !node.paused);
            agent.is_some_and(|agent| agent.owned().any(|(owned, _)| owned == group))
        };
        (0..self.nodes.len()).filter(|node| owns(&self.nodes[*node])).collect()
    }

    fn observe(&mut self) {
        let mut double = BTreeMap::new();
        for (group, _) in self.groups.clone() {
            let owners = self.owners(group);
            if owners.is_empty() {
                let since = *self.unowned.entry(group).or_insert(self.now);
                self.longest_unowned = self.longest_unowned.max(self.now - since);
            } else {
                self.unowned.remove(&group);
            }
            for one in &owners {
                for other in owners.iter().filter(|other| *other > one) {
                    if self.reaches(*one, *other) && self.reaches(*other, *one) {
                        let key = (group, *one, *other);
                        let since = self.double.get(&key).copied().unwrap_or(self.now);
                        self.longest_double = self.longest_double.max(self.now - since);
                        double.insert(key, since);
                    }
                }
            }
        }
        self.double = double;
    }

    fn forget_observations(&mut self) {
        self.double.clear();
        self.unowned.clear();
        (self.longest_double, self.longest_unowned, self.owns) = (0, 0, 0);
    }

    fn assert_one_owner_each(&self, seed: u64) {
        for (group, _) in &self.groups {
            let owners = self.owners(*group);
            assert_eq!(owners.len(), 1, "seed {seed}: owners of {group:?} are {owners:?}");
        }
    }
}
