//! What is answered, and what is not.

use super::*;
use crate::announcement::link::{Interfaces, Reach};

#[test]
fn arp_requests_and_probes_are_answered_to_the_asker() {
    let now = Instant::now();
    let mut responder = responder(now);
    for (destination, sender) in [
        (Mac::BROADCAST, ASKER4),
        (OURS, ASKER4),
        (Mac::BROADCAST, Ipv4Addr::UNSPECIFIED),
    ] {
        let bytes = reply(responder.frame(LINK, &arp(destination, 1, (STRANGER, sender), VIP4), now));
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.destination, frame.source), (STRANGER, OURS));
        let packet = arp::Packet::parse(frame.payload).unwrap();
        assert_eq!(packet.operation, arp::Operation::Reply);
        assert_eq!((packet.sender_mac, packet.sender), (OURS, VIP4));
        assert_eq!((packet.target_mac, packet.target), (STRANGER, sender));
    }
    assert_eq!(responder.counters()[&LINK].arp_replies, 3);
}

#[test]
fn solicitations_are_answered_by_group_and_to_the_address_with_and_without_a_link_address() {
    let now = Instant::now();
    let mut responder = responder(now);
    let by_address = Ask {
        to: OURS,
        destination: VIP6,
        ..Ask::multicast(VIP6)
    };
    let without_option = Ask {
        options: Vec::new(),
        to: OURS,
        destination: VIP6,
        ..Ask::multicast(VIP6)
    };
    let with_a_nonce = Ask {
        options: [vec![14, 1, 1, 2, 3, 4, 5, 6], link_option(1, PEER)].concat(),
        ..Ask::multicast(VIP6)
    };
    for (ask, to) in [
        (Ask::multicast(VIP6), STRANGER),
        (by_address, STRANGER),
        (without_option, STRANGER),
        (with_a_nonce, PEER),
    ] {
        let bytes = reply(responder.frame(LINK, &ask.frame(), now));
        assert_eq!(advertised(&bytes), (to, VIP6, ASKER6, VIP6, 0x60, Some(OURS)));
    }
    assert_eq!(responder.counters()[&LINK].neighbour_replies, 4);
}

#[test]
fn duplicate_address_detection_is_told_by_everybody_that_the_address_is_taken() {
    let now = Instant::now();
    let mut responder = responder(now);
    let detection = Ask {
        source: Ipv6Addr::UNSPECIFIED,
        options: Vec::new(),
        ..Ask::multicast(VIP6)
    };
    let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    let bytes = reply(responder.frame(LINK, &detection.frame(), now));
    assert_eq!(
        advertised(&bytes),
        (Mac::of_group(all_nodes), VIP6, all_nodes, VIP6, 0x20, Some(OURS))
    );
    let with_option = Ask {
        options: link_option(1, STRANGER),
        ..detection
    };
    assert_eq!(
        dropped(&mut responder, &with_option.frame()),
        DropReason::DuplicateDetection
    );
}

#[test]
fn solicitations_that_break_the_rules_are_dropped() {
    let mut responder = responder(Instant::now());
    let good = || Ask::multicast(VIP6);
    let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    for (ask, reason) in [
        (Ask { hops: 254, ..good() }, DropReason::HopLimit),
        (Ask { code: 1, ..good() }, DropReason::Code),
        (
            Ask {
                target: all_nodes,
                ..good()
            },
            DropReason::TargetMulticast,
        ),
        (
            Ask {
                options: vec![1, 0, 0, 0, 0, 0, 0, 0],
                ..good()
            },
            DropReason::Malformed,
        ),
        (
            Ask {
                options: vec![1, 2, 0, 0, 0, 0, 0, 0],
                ..good()
            },
            DropReason::Malformed,
        ),
        (
            Ask {
                options: vec![1],
                ..good()
            },
            DropReason::Malformed,
        ),
        (Ask { to: STRANGER, ..good() }, DropReason::OtherDestination),
        (
            Ask {
                source: all_nodes,
                ..good()
            },
            DropReason::Sender,
        ),
        (
            Ask {
                options: link_option(1, OURS),
                ..good()
            },
            DropReason::OwnFrame,
        ),
        (Ask { kind: 133, ..good() }, DropReason::OtherProtocol),
        (Ask::multicast(ASKER6), DropReason::NotHeld),
    ] {
        assert_eq!(dropped(&mut responder, &ask.frame()), reason);
        assert!(responder.counters()[&LINK].dropped(reason) > 0);
    }
    let mut corrupt = good().frame();
    *corrupt.last_mut().unwrap() ^= 1;
    assert_eq!(dropped(&mut responder, &corrupt), DropReason::Checksum);
}

#[test]
fn pings_are_answered_while_the_address_has_an_endpoint() {
    let now = Instant::now();
    let mut responder = responder(now);
    let pairs: [(IpAddr, IpAddr); 2] = [(ASKER4.into(), VIP4.into()), (ASKER6.into(), VIP6.into())];
    for (asker, vip) in pairs {
        let sent = ping(OURS, asker, vip);
        let bytes = reply(responder.frame(LINK, &sent, now));
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.destination, frame.source), (STRANGER, OURS));
        let (source, destination, message) = match asker {
            IpAddr::V4(_) => {
                let packet = ip::Packet::parse_v4(frame.payload).unwrap();
                (packet.source.into(), packet.destination.into(), packet.message)
            }
            IpAddr::V6(_) => {
                let packet = ip::Packet::parse_v6(frame.payload).unwrap();
                (packet.source.into(), packet.destination.into(), packet.message)
            }
        };
        assert_eq!((source, destination), (vip, asker));
        assert_eq!(message[0], if asker.is_ipv4() { 0 } else { 129 });
        assert_eq!(message[4..], *b"\x12\x34\x00\x01fairlead");

        assert_eq!(
            dropped(&mut responder, &ping(STRANGER, asker, vip)),
            DropReason::OtherDestination
        );
        assert_eq!(dropped(&mut responder, &bytes), DropReason::OwnFrame);
        let mut corrupt = sent;
        *corrupt.last_mut().unwrap() ^= 1;
        assert_eq!(dropped(&mut responder, &corrupt), DropReason::Checksum);
    }
    responder.hold(pairs.map(|(_, vip)| (vip, Holding::default())).into(), now);
    for (asker, vip) in pairs {
        assert_eq!(dropped(&mut responder, &ping(OURS, asker, vip)), DropReason::NoEndpoint);
        assert_eq!(dropped(&mut responder, &ping(OURS, asker, asker)), DropReason::NotHeld);
    }
}

#[test]
fn a_flood_of_pings_is_not_amplified_without_end() {
    let now = Instant::now();
    let mut responder = responder(now);
    let frame = ping(OURS, ASKER4.into(), VIP4.into());
    let answered = (0..1500)
        .filter(|_| matches!(responder.frame(LINK, &frame, now), Verdict::Reply(_)))
        .count();
    assert_eq!(answered, 1000);
    assert_eq!(responder.counters()[&LINK].dropped(DropReason::TooManyEchoes), 500);
}

#[test]
fn fragments_and_tagged_frames_are_not_answered() {
    let mut responder = responder(Instant::now());
    let mut fragment = ping(OURS, ASKER4.into(), VIP4.into());
    fragment[14 + 6] = 0x20;
    assert_eq!(dropped(&mut responder, &fragment), DropReason::Fragment);
    let mut tagged = request(VIP4);
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    assert_eq!(dropped(&mut responder, &tagged), DropReason::VlanTagged);
    assert_eq!(dropped(&mut responder, &[]), DropReason::Malformed);
}

#[test]
fn only_the_right_link_answers() {
    let now = Instant::now();
    let cases = [
        (Link { flags: 3, ..eth0() }, DropReason::LinkDown),
        (
            Link {
                is_port: true,
                ..eth0()
            },
            DropReason::LinkExcluded,
        ),
        (Link { index: 3, ..eth0() }, DropReason::LinkExcluded),
        (
            Link {
                name: "cni0".to_owned(),
                ..eth0()
            },
            DropReason::OtherLink,
        ),
        (
            Link {
                prefixes: BTreeSet::new(),
                ..eth0()
            },
            DropReason::OffLink,
        ),
    ];
    for (link, reason) in cases {
        let mut responder = responder(now);
        let index = link.index;
        responder.set_links([link], now);
        assert_eq!(dropped(&mut responder, &request(VIP4)), reason);
        assert_eq!(dropped(&mut responder, &Ask::multicast(VIP6).frame()), reason);
        assert_eq!(responder.counters()[&LINK].dropped(reason), 2);
        if index == LINK {
            assert!(responder.groups().is_empty() && responder.channels().is_empty());
            assert_eq!(responder.next_deadline(), None);
        }
    }
}

#[test]
fn a_routed_address_is_answered_for_without_a_prefix_and_a_named_link_although_it_leads_inside() {
    let now = Instant::now();
    let mut responder = bare(now);
    let scope = Scope {
        interfaces: Interfaces::Named(["cni0".to_owned()].into()),
        reach: Reach::Routed,
    };
    let far = Ipv4Addr::new(198, 51, 100, 7);
    let holding = Holding {
        scope,
        answers_echo: false,
    };
    responder.hold([(far.into(), holding)].into(), now);
    assert_eq!(dropped(&mut responder, &request(far)), DropReason::OtherLink);
    let cni0 = Link {
        name: "cni0".to_owned(),
        ..eth0()
    };
    responder.set_links([cni0], now);
    reply(responder.frame(LINK, &request(far), now));
}
