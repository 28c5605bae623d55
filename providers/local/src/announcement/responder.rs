//! What is answered and announced. Pure: frames and the time come in, frames go out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::counters::{Counters, DropReason};
use super::link::{Link, Scope};
use super::probe::{Probe, ProbeResult, Step};
use super::schedule::Schedule;
use super::timing::{Limit, Timing};
use super::wire::Mac;
use super::{arp, ndp};

mod receive;

/// A claim that goes on is told of so often.
const CONFLICT_EVENTS_APART: Duration = Duration::from_secs(1);

/// An address that this node answers for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// Where.
    pub scope: Scope,
    /// Whether it may be pinged: only while it has an endpoint.
    pub answers_echo: bool,
}

/// What becomes of a frame that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This goes out by the same link.
    Reply(Vec<u8>),
    /// Nothing.
    Drop(DropReason),
    /// Somebody else claims an address that is held, or asked for, here.
    Conflict {
        /// The address.
        address: IpAddr,
        /// Who claims it.
        mac: Mac,
        /// Whether that is a node of the cluster, and the cluster's mind is split.
        is_peer: bool,
    },
}

/// Something that others should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody else claims an address that is held here. Told at most once a second.
    Conflict {
        /// The address.
        address: IpAddr,
        /// The link that the claim came by.
        link: u32,
        /// Who claims it.
        mac: Mac,
        /// Whether that is a node of the cluster.
        is_peer: bool,
    },
    /// The node's links are others now: it may be able to announce what it was not, or the other way round.
    LinksChanged,
    /// What came of [`Responder::probe`].
    Probed {
        /// The address.
        address: IpAddr,
        /// Whether it is free.
        result: ProbeResult,
    },
}

/// A frame to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The index of the link.
    pub link: u32,
    /// All of it.
    pub frame: Vec<u8>,
}

/// Kinds of frames that a link must be listened to for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// ARP.
    Arp,
    /// ICMP echo requests.
    Echo,
    /// Neighbour solicitations and advertisements, and ICMPv6 echo requests.
    Icmpv6,
}

/// Answers for the addresses that this node holds.
#[derive(Debug)]
pub struct Responder {
    timing: Timing,
    links: BTreeMap<u32, Link>,
    peers: BTreeSet<Mac>,
    held: BTreeMap<IpAddr, Holding>,
    probes: BTreeMap<IpAddr, Probe>,
    schedule: Schedule,
    echoes: BTreeMap<u32, Limit>,
    counters: BTreeMap<u32, Counters>,
    events: VecDeque<Event>,
    told: BTreeMap<(IpAddr, bool), Instant>,
    defended: BTreeMap<IpAddr, Instant>,
}

impl Responder {
    /// Holds nothing and knows no link.
    pub fn new(timing: Timing) -> Self {
        Self {
            schedule: Schedule::new(timing.clone()),
            timing,
            links: BTreeMap::new(),
            peers: BTreeSet::new(),
            held: BTreeMap::new(),
            probes: BTreeMap::new(),
            echoes: BTreeMap::new(),
            counters: BTreeMap::new(),
            events: VecDeque::new(),
            told: BTreeMap::new(),
            defended: BTreeMap::new(),
        }
    }

    /// These are all links there are now. Where one begins to carry packets, did so anew, or has another MAC address, everything is announced.
    pub fn set_links(&mut self, links: impl IntoIterator<Item = Link>, now: Instant) {
        let links = links.into_iter().map(|link| (link.index, link)).collect();
        let before = std::mem::replace(&mut self.links, links);
        if before != self.links && !self.events.contains(&Event::LinksChanged) {
            self.events.push_back(Event::LinksChanged);
        }
        for (index, old) in &before {
            if !self
                .links
                .get(index)
                .is_some_and(|link| is_usable(link) && link.name == old.name)
            {
                self.schedule.end_link(*index);
            }
            if !self.links.contains_key(index) {
                self.echoes.remove(index);
            }
        }
        let Self {
            links, held, schedule, ..
        } = self;
        for link in links.values().filter(|link| is_usable(link)) {
            let old = before
                .get(&link.index)
                .filter(|old| is_usable(old) && old.name == link.name);
            let is_same = old.is_some_and(|old| old.mac == link.mac && old.carrier_changes == link.carrier_changes);
            for (&address, holding) in held.iter() {
                let is_announced = holding.scope.includes(link, address);
                let was_announced = old.is_some_and(|old| holding.scope.includes(old, address));
                if !is_announced {
                    schedule.end(link.index, address);
                } else if !(is_same && was_announced) {
                    schedule.begin(link.index, address, now);
                }
            }
        }
    }

    /// The links as they were last told of.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Whether there is a link to announce the address on: a node without one must not own it.
    pub fn can_announce(&self, address: IpAddr, scope: &Scope) -> bool {
        self.links
            .values()
            .any(|link| is_usable(link) && scope.includes(link, address))
    }

    /// How often an address is announced after the first announcements; `None`: not at all. It counts from the next announcement on.
    pub fn set_refresh(&mut self, refresh: Option<Duration>) {
        self.timing.refresh = refresh;
        self.schedule.set_refresh(refresh);
    }

    /// These are the MAC addresses of the cluster's other nodes.
    pub fn set_peers(&mut self, peers: BTreeSet<Mac>) {
        self.peers = peers;
    }

    /// These are all addresses that are held now. What is new among them is announced, what is missing is not answered for any more.
    pub fn hold(&mut self, held: BTreeMap<IpAddr, Holding>, now: Instant) {
        let before = std::mem::replace(&mut self.held, held);
        for address in before.keys().filter(|address| !self.held.contains_key(address)) {
            for &link in self.links.keys() {
                self.schedule.end(link, *address);
            }
        }
        let held = &self.held;
        self.told.retain(|(address, _), _| held.contains_key(address));
        self.defended.retain(|address, _| held.contains_key(address));
        for (&address, holding) in held {
            let old = before.get(&address);
            for link in self.links.values().filter(|link| is_usable(link)) {
                let was_announced = old.is_some_and(|old| old.scope.includes(link, address));
                match (was_announced, holding.scope.includes(link, address)) {
                    (false, true) => self.schedule.begin(link.index, address, now),
                    (true, false) => self.schedule.end(link.index, address),
                    (true, true) | (false, false) => {}
                }
            }
        }
    }

    /// An address that is held was taken from another node, perhaps once more: announce it from the beginning.
    pub fn took(&mut self, address: IpAddr, now: Instant) {
        let Some(holding) = self.held.get(&address) else {
            return;
        };
        for link in self.links.values() {
            if is_usable(link) && holding.scope.includes(link, address) {
                self.schedule.begin(link.index, address, now);
            }
        }
    }

    /// Asks whether an address is free; the answer is an [`Event`], at the latest after [`Timing::probes`] times [`Timing::probe_spacing`].
    pub fn probe(&mut self, address: IpAddr, scope: Scope, now: Instant) {
        self.probes.insert(address, Probe::new(scope, now));
    }

    /// Asks no more whether an address is free, and tells nothing of it.
    pub fn cancel_probe(&mut self, address: IpAddr) {
        self.probes.remove(&address);
    }

    /// What happened since the last call.
    pub fn events(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }

    /// When [`due`](Self::due) has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let probes = self.probes.values().map(Probe::next_deadline);
        probes.chain(self.schedule.next_deadline()).min()
    }

    /// The frames whose time has come.
    pub fn due(&mut self, now: Instant) -> Vec<Outgoing> {
        let mut outgoing = self.questions(now);
        for (index, address) in self.schedule.due(now) {
            let Some(mac) = self.links.get(&index).and_then(|link| link.mac) else {
                continue;
            };
            let frames = match address {
                IpAddr::V4(address) => arp::announcement(mac, address).to_vec(),
                IpAddr::V6(address) => vec![ndp::announcement(mac, address)],
            };
            self.counters.entry(index).or_default().announcements += frames.len() as u64;
            outgoing.extend(frames.into_iter().map(|frame| Outgoing { link: index, frame }));
        }
        outgoing
    }

    fn questions(&mut self, now: Instant) -> Vec<Outgoing> {
        let Self {
            probes,
            links,
            counters,
            timing,
            events,
            ..
        } = self;
        let mut outgoing = Vec::new();
        probes.retain(|&address, probe| match probe.step(timing, now) {
            None => true,
            Some(Step::Finish(result)) => {
                events.push_back(Event::Probed { address, result });
                false
            }
            Some(Step::Ask) => {
                for link in links.values().filter(|link| is_usable(link)) {
                    let Some(mac) = link.mac.filter(|_| probe.scope.includes(link, address)) else {
                        continue;
                    };
                    let frame = match address {
                        IpAddr::V4(address) => arp::probe(mac, address),
                        IpAddr::V6(address) => ndp::probe(mac, address),
                    };
                    probe.asked_on(link.index);
                    counters.entry(link.index).or_default().probes += 1;
                    outgoing.push(Outgoing {
                        link: link.index,
                        frame,
                    });
                }
                true
            }
        });
        outgoing
    }

    /// The multicast groups to be a member of, by link: neighbours look for IPv6 addresses in them.
    pub fn groups(&self) -> BTreeSet<(u32, Ipv6Addr)> {
        self.announced()
            .filter_map(|(link, address)| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some((link, ndp::group_of(address))),
            })
            .collect()
    }

    /// What to listen for, by link: nothing where nothing is held.
    pub fn channels(&self) -> BTreeSet<(u32, Channel)> {
        let mut channels = BTreeSet::new();
        for (link, address) in self.announced() {
            if address.is_ipv6() {
                channels.insert((link, Channel::Icmpv6));
                continue;
            }
            channels.insert((link, Channel::Arp));
            if self.held.contains_key(&address) {
                channels.insert((link, Channel::Echo));
            }
        }
        channels
    }

    /// The addresses that are held or asked for on each link that carries packets.
    fn announced(&self) -> impl Iterator<Item = (u32, IpAddr)> {
        let held = self.held.iter().map(|(&address, holding)| (address, &holding.scope));
        let asked = self.probes.iter().map(|(&address, probe)| (address, &probe.scope));
        held.chain(asked).flat_map(|(address, scope)| {
            let links = self.links.values();
            links
                .filter(move |link| is_usable(link) && scope.includes(link, address))
                .map(move |link| (link.index, address))
        })
    }

    /// The numbers of each link, by its index.
    pub const fn counters(&self) -> &BTreeMap<u32, Counters> {
        &self.counters
    }

    /// Counts a frame that was dropped before anybody looked into it.
    pub fn count_drop(&mut self, link: u32, reason: DropReason) {
        self.counters.entry(link).or_default().drop(reason);
    }

    /// Counts a frame that the kernel did not take.
    pub fn count_send_failure(&mut self, link: u32) {
        self.counters.entry(link).or_default().send_failures += 1;
    }
}

fn is_usable(link: &Link) -> bool {
    link.carries_packets() && link.has_neighbours()
}

#[cfg(test)]
mod tests;
