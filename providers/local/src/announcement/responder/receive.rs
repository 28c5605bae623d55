//! From a frame to a verdict.

use std::net::IpAddr;
use std::time::Instant;

use super::{CONFLICT_EVENTS_APART, Event, Responder, Verdict};
use crate::announcement::arp::{self, Operation};
use crate::announcement::counters::DropReason;
use crate::announcement::echo::{self, Request};
use crate::announcement::ip::Packet;
use crate::announcement::link::Link;
use crate::announcement::ndp::{self, Neighbour};
use crate::announcement::probe::ProbeResult;
use crate::announcement::timing::Limit;
use crate::announcement::wire::{self, Frame, Mac};

/// What a frame turned out to be.
enum Finding {
    Answer(Kind, Vec<u8>),
    Claim { address: IpAddr, mac: Mac },
}

#[derive(Clone, Copy)]
enum Kind {
    Arp,
    Neighbour,
    Echo,
}

impl Responder {
    /// Decides on a frame that arrived by the link with this index, and counts it.
    pub fn frame(&mut self, link: u32, bytes: &[u8], now: Instant) -> Verdict {
        match self.examine(link, bytes, now) {
            Ok(Finding::Answer(kind, reply)) => {
                let counters = self.counters.entry(link).or_default();
                *match kind {
                    Kind::Arp => &mut counters.arp_replies,
                    Kind::Neighbour => &mut counters.neighbour_replies,
                    Kind::Echo => &mut counters.echo_replies,
                } += 1;
                Verdict::Reply(reply)
            }
            Ok(Finding::Claim { address, mac }) => self.note_claim(link, address, mac, now),
            Err(reason) => {
                self.count_drop(link, reason);
                Verdict::Drop(reason)
            }
        }
    }

    fn examine(&mut self, index: u32, bytes: &[u8], now: Instant) -> Result<Finding, DropReason> {
        let link = self.links.get(&index).ok_or(DropReason::LinkExcluded)?;
        let own = link
            .mac
            .filter(|_| link.has_neighbours())
            .ok_or(DropReason::LinkExcluded)?;
        if !link.carries_packets() {
            return Err(DropReason::LinkDown);
        }
        let frame = Frame::parse(bytes)?;
        if !frame.source.is_station() {
            return Err(DropReason::Sender);
        }
        if self.is_own(frame.source) {
            return Err(DropReason::OwnFrame);
        }
        match frame.kind {
            wire::ARP => self.arp(link, own, &frame),
            wire::IPV4 => {
                let packet = Packet::parse_v4(frame.payload)?;
                let request = Request::v4(&packet)?;
                self.echo(index, own, &frame, &request, now)
            }
            wire::IPV6 => {
                let packet = Packet::parse_v6(frame.payload)?;
                match packet.message[0] {
                    ndp::SOLICITATION => self.solicitation(link, own, &frame, &Neighbour::parse(&packet)?),
                    ndp::ADVERTISEMENT => self.advertisement(&frame, &Neighbour::parse(&packet)?),
                    echo::REQUEST_V6 => {
                        let request = Request::v6(&packet)?;
                        self.echo(index, own, &frame, &request, now)
                    }
                    _ => Err(DropReason::OtherProtocol),
                }
            }
            _ => Err(DropReason::OtherProtocol),
        }
    }

    fn arp(&self, link: &Link, own: Mac, frame: &Frame<'_>) -> Result<Finding, DropReason> {
        if frame.destination != own && frame.destination != Mac::BROADCAST {
            return Err(DropReason::OtherDestination);
        }
        let packet = arp::Packet::parse(frame.payload)?;
        if !packet.sender_mac.is_station() {
            return Err(DropReason::Sender);
        }
        if self.is_own(packet.sender_mac) {
            return Err(DropReason::OwnFrame);
        }
        let (sender, target) = (IpAddr::from(packet.sender), IpAddr::from(packet.target));
        if self.held.contains_key(&sender) || self.probes.contains_key(&sender) {
            return Ok(Finding::Claim {
                address: sender,
                mac: packet.sender_mac,
            });
        }
        if packet.operation == Operation::Reply {
            return Err(DropReason::Answer);
        }
        if packet.sender.is_unspecified() && self.wants(target) {
            // Two hosts ask for the address at the same time.
            return Ok(Finding::Claim {
                address: target,
                mac: packet.sender_mac,
            });
        }
        self.check_announced(link, target)?;
        Ok(Finding::Answer(Kind::Arp, packet.answer(own)))
    }

    fn solicitation(&self, link: &Link, own: Mac, frame: &Frame<'_>, asked: &Neighbour) -> Result<Finding, DropReason> {
        let target = IpAddr::from(asked.target);
        let group = ndp::group_of(asked.target);
        if frame.destination != own && frame.destination != Mac::of_group(group) {
            return Err(DropReason::OtherDestination);
        }
        if asked.destination != asked.target && asked.destination != group {
            return Err(DropReason::OtherDestination);
        }
        if asked.link_address.is_some_and(|mac| self.is_own(mac)) {
            return Err(DropReason::OwnFrame);
        }
        if asked.source.is_multicast() || asked.source.is_loopback() {
            return Err(DropReason::Sender);
        }
        if asked.source.is_unspecified() && self.wants(target) {
            return Ok(Finding::Claim {
                address: target,
                mac: frame.source,
            });
        }
        let source = IpAddr::from(asked.source);
        if self.held.contains_key(&source) || self.probes.contains_key(&source) {
            // It asks in the name of an address that is ours.
            return Ok(Finding::Claim {
                address: source,
                mac: frame.source,
            });
        }
        self.check_announced(link, target)?;
        Ok(Finding::Answer(Kind::Neighbour, asked.answer(own, frame.source)))
    }

    fn advertisement(&self, frame: &Frame<'_>, told: &Neighbour) -> Result<Finding, DropReason> {
        let address = IpAddr::from(told.target);
        let mac = told.link_address.filter(|mac| mac.is_station()).unwrap_or(frame.source);
        if self.is_own(mac) {
            return Err(DropReason::OwnFrame);
        }
        if self.held.contains_key(&address) || self.probes.contains_key(&address) {
            return Ok(Finding::Claim { address, mac });
        }
        Err(DropReason::Answer)
    }

    fn echo(
        &mut self,
        link: u32,
        own: Mac,
        frame: &Frame<'_>,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<Finding, DropReason> {
        if frame.destination != own {
            return Err(DropReason::OtherDestination);
        }
        let holding = self.held.get(&request.destination).ok_or(DropReason::NotHeld)?;
        let description = self.links.get(&link).ok_or(DropReason::LinkExcluded)?;
        if !holding.scope.interfaces.include(description) {
            return Err(DropReason::OtherLink);
        }
        if !holding.answers_echo {
            return Err(DropReason::NoEndpoint);
        }
        if !request.has_return_address() || self.held.contains_key(&request.source) {
            return Err(DropReason::Sender);
        }
        let per_second = self.timing.echoes_per_second;
        let limit = self
            .echoes
            .entry(link)
            .or_insert_with(|| Limit::new(per_second, per_second));
        if !limit.admits(now) {
            return Err(DropReason::TooManyEchoes);
        }
        let reply = request.answer(own, frame.source).ok_or(DropReason::Malformed)?;
        Ok(Finding::Answer(Kind::Echo, reply))
    }

    /// Whether this node may say on this link that it has the address.
    fn check_announced(&self, link: &Link, address: IpAddr) -> Result<(), DropReason> {
        let holding = self.held.get(&address).ok_or(DropReason::NotHeld)?;
        if !holding.scope.interfaces.include(link) {
            return Err(DropReason::OtherLink);
        }
        if !holding.scope.includes(link, address) {
            return Err(DropReason::OffLink);
        }
        Ok(())
    }

    fn is_own(&self, mac: Mac) -> bool {
        self.links.values().any(|link| link.mac == Some(mac))
    }

    /// Whether it is being asked for, and not held yet.
    fn wants(&self, address: IpAddr) -> bool {
        self.probes.contains_key(&address) && !self.held.contains_key(&address)
    }

    fn note_claim(&mut self, link: u32, address: IpAddr, mac: Mac, now: Instant) -> Verdict {
        let is_peer = self.peers.contains(&mac);
        if self.probes.remove(&address).is_some() {
            let result = ProbeResult::Conflict { link, mac, is_peer };
            self.events.push_back(Event::Probed { address, result });
        }
        if self.held.contains_key(&address) {
            let counters = self.counters.entry(link).or_default();
            if is_peer {
                counters.peer_conflicts += 1;
            } else {
                counters.stranger_conflicts += 1;
                self.defend(link, address, now);
            }
            let last = self.told.get(&(address, is_peer));
            if last.is_none_or(|&last| now.saturating_duration_since(last) >= CONFLICT_EVENTS_APART) {
                self.told.insert((address, is_peer), now);
                self.events.push_back(Event::Conflict {
                    address,
                    link,
                    mac,
                    is_peer,
                });
            }
        }
        Verdict::Conflict { address, mac, is_peer }
    }

    /// Says once that the address is ours. Not against another node of the cluster: which of the two yields is not decided on the wire.
    fn defend(&mut self, link: u32, address: IpAddr, now: Instant) {
        let last = self.defended.get(&address);
        if last.is_none_or(|&last| now.saturating_duration_since(last) >= self.timing.defence) {
            self.defended.insert(address, now);
            self.schedule.hurry(link, address, now);
        }
    }
}
