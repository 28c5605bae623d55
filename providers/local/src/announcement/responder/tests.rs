use std::net::Ipv4Addr;

use super::*;
use crate::announcement::ip;
use crate::announcement::wire::{self, Frame};

mod announcements;
mod answers;
mod bytes;

const LINK: u32 = 2;
const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const VIP4: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 200);
const ASKER4: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 100);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, 0x200);
const ASKER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, 0x100);
/// Up, broadcast, lower up.
const UP: u32 = 0x1_0003;

fn eth0() -> Link {
    Link {
        index: LINK,
        name: "eth0".to_owned(),
        mac: Some(OURS),
        flags: UP,
        is_port: false,
        prefixes: ["172.30.0.11/24", "fd00:172:30::11/64", "fe80::1/64"]
            .map(|prefix| prefix.parse().unwrap())
            .into(),
        carrier_changes: 1,
        lower: None,
        routers: Vec::new(),
    }
}

fn pingable() -> Holding {
    Holding {
        answers_echo: true,
        ..Holding::default()
    }
}

/// Holds both addresses, and knows one peer.
fn responder(now: Instant) -> Responder {
    let mut responder = Responder::new(Timing::default());
    responder.set_links([eth0()], now);
    responder.set_peers([PEER].into());
    responder.hold([(VIP4.into(), pingable()), (VIP6.into(), pingable())].into(), now);
    assert_eq!(responder.events().collect::<Vec<_>>(), [Event::LinksChanged]);
    responder
}

fn bare(now: Instant) -> Responder {
    let mut responder = responder(now);
    responder.hold(BTreeMap::new(), now);
    responder
}

fn arp(destination: Mac, operation: u8, (mac, sender): (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend(mac.0);
    packet.extend(sender.octets());
    packet.extend([0; 6]);
    packet.extend(target.octets());
    wire::frame(destination, mac, wire::ARP, &packet)
}

fn request(target: Ipv4Addr) -> Vec<u8> {
    arp(Mac::BROADCAST, 1, (STRANGER, ASKER4), target)
}

/// A neighbour message about `target`.
struct Ask {
    kind: u8,
    code: u8,
    hops: u8,
    to: Mac,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    options: Vec<u8>,
}

impl Ask {
    fn multicast(target: Ipv6Addr) -> Self {
        let group = ndp::group_of(target);
        Self {
            kind: 135,
            code: 0,
            hops: 255,
            to: Mac::of_group(group),
            source: ASKER6,
            destination: group,
            target,
            options: link_option(1, STRANGER),
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0, 0, 0, 0, 0];
        message.extend(self.target.octets());
        message.extend(&self.options);
        let packet = ip::icmpv6(self.source, self.destination, self.hops, message).unwrap();
        wire::frame(self.to, STRANGER, wire::IPV6, &packet)
    }
}

fn link_option(kind: u8, mac: Mac) -> Vec<u8> {
    let mut option = vec![kind, 1];
    option.extend(mac.0);
    option
}

fn ping(to: Mac, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let mut message = vec![0, 0, 0, 0, 0x12, 0x34, 0, 1];
    message.extend(b"fairlead");
    let (kind, packet) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            message[0] = 8;
            (wire::IPV4, ip::icmp(source, destination, message))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            message[0] = 128;
            (wire::IPV6, ip::icmpv6(source, destination, 61, message))
        }
        other => panic!("{other:?}"),
    };
    wire::frame(to, STRANGER, kind, &packet.unwrap())
}

fn reply(verdict: Verdict) -> Vec<u8> {
    match verdict {
        Verdict::Reply(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn dropped(responder: &mut Responder, frame: &[u8]) -> DropReason {
    match responder.frame(LINK, frame, Instant::now()) {
        Verdict::Drop(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// Destination of the frame, then source, destination, target, flags and MAC of the advertisement in it.
fn advertised(bytes: &[u8]) -> (Mac, Ipv6Addr, Ipv6Addr, Ipv6Addr, u8, Option<Mac>) {
    let frame = Frame::parse(bytes).unwrap();
    assert_eq!((frame.source, frame.kind), (OURS, wire::IPV6));
    let packet = ip::Packet::parse_v6(frame.payload).unwrap();
    let told = ndp::Neighbour::parse(&packet).unwrap();
    assert_eq!(packet.message[0], ndp::ADVERTISEMENT);
    let flags = packet.message[4];
    (
        frame.destination,
        told.source,
        told.destination,
        told.target,
        flags,
        told.link_address,
    )
}

/// An advertisement of `VIP6` to everybody by `mac`.
fn told_to_all(mac: Mac) -> Vec<u8> {
    ndp::announcement(mac, VIP6)
}

fn drain(responder: &mut Responder, until: Instant) {
    while let Some(at) = responder.next_deadline().filter(|&at| at <= until) {
        responder.due(at);
    }
}
