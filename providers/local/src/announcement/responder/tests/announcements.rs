//! What is said without being asked, and what others say of our addresses.

use super::*;

#[test]
fn a_claim_by_a_stranger_is_told_and_answered_once() {
    let now = Instant::now();
    let mut responder = responder(now);
    drain(&mut responder, now + Duration::from_secs(10));
    let now = now + Duration::from_secs(10);
    let claims = [
        (VIP4.into(), arp(Mac::BROADCAST, 1, (STRANGER, VIP4), VIP4)),
        (VIP4.into(), arp(Mac::BROADCAST, 2, (STRANGER, VIP4), VIP4)),
        (VIP4.into(), arp(OURS, 1, (STRANGER, VIP4), ASKER4)),
        (VIP6.into(), told_to_all(STRANGER)),
    ];
    for (address, frame) in &claims {
        assert_eq!(
            responder.frame(LINK, frame, now),
            Verdict::Conflict {
                address: *address,
                mac: STRANGER,
                is_peer: false
            }
        );
    }
    let told: Vec<_> = responder.events().collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(responder.counters()[&LINK].stranger_conflicts, 4);
    // One pair of ARP frames, one advertisement.
    assert_eq!(responder.due(now).len(), 3);
    let later = now + Duration::from_secs(2);
    drain(&mut responder, later);
    responder.frame(LINK, &claims[0].1, later);
    assert_eq!(responder.events().count(), 1);
    assert!(
        responder.due(later).is_empty(),
        "two neighbours must not shout at each other"
    );
}

#[test]
fn a_claim_by_a_peer_is_told_but_not_fought() {
    let now = Instant::now();
    let mut responder = responder(now);
    drain(&mut responder, now + Duration::from_secs(10));
    let now = now + Duration::from_secs(10);
    for frame in [arp(Mac::BROADCAST, 1, (PEER, VIP4), VIP4), told_to_all(PEER)] {
        assert!(matches!(
            responder.frame(LINK, &frame, now),
            Verdict::Conflict {
                mac: PEER,
                is_peer: true,
                ..
            }
        ));
    }
    assert_eq!(responder.events().count(), 2);
    assert_eq!(responder.counters()[&LINK].peer_conflicts, 2);
    assert!(responder.due(now).is_empty());
}

#[test]
fn a_new_address_is_announced_and_a_lost_one_is_not() {
    let now = Instant::now();
    let mut responder = responder(now);
    let sent = responder.due(now);
    assert_eq!(sent.len(), 3);
    let frame = Frame::parse(&sent[0].frame).unwrap();
    assert_eq!((frame.kind, frame.destination), (wire::ARP, Mac::BROADCAST));
    assert_eq!(advertised(&sent[2].frame).4, 0x20);
    assert_eq!(responder.counters()[&LINK].announcements, 3);

    // The same again is no news; taking it once more is.
    let held: BTreeMap<_, _> = [(VIP4.into(), pingable()), (VIP6.into(), pingable())].into();
    responder.hold(held, now);
    assert!(responder.due(now).is_empty());
    responder.took(VIP4.into(), now);
    assert_eq!(responder.due(now).len(), 2);

    responder.hold([(VIP6.into(), pingable())].into(), now);
    let later = now + Duration::from_secs(2);
    assert_eq!(responder.due(later).len(), 1);
    assert_eq!(dropped(&mut responder, &request(VIP4)), DropReason::NotHeld);
}

#[test]
fn a_link_that_comes_back_or_changes_is_told_everything_with_its_mac_of_now() {
    let now = Instant::now();
    let mut responder = responder(now);
    drain(&mut responder, now);
    responder.set_links([Link { flags: 3, ..eth0() }], now);
    assert_eq!(responder.next_deadline(), None);
    responder.set_links([eth0()], now);
    assert_eq!(responder.due(now).len(), 3);
    responder.set_links([eth0()], now);
    assert!(responder.due(now).is_empty());

    let flapped = Link {
        carrier_changes: 3,
        ..eth0()
    };
    responder.set_links([flapped.clone()], now);
    assert_eq!(responder.due(now).len(), 3);

    let moved = Link {
        mac: Some(PEER),
        ..flapped
    };
    responder.set_links([moved], now);
    let sent = responder.due(now);
    assert!(sent.iter().all(|out| Frame::parse(&out.frame).unwrap().source == PEER));
    let bytes = reply(responder.frame(LINK, &request(VIP4), now));
    assert_eq!(Frame::parse(&bytes).unwrap().source, PEER);
}

#[test]
fn a_node_can_announce_where_a_link_reaches_the_address() {
    let now = Instant::now();
    let mut responder = responder(now);
    let (near, far) = (IpAddr::from(VIP4), IpAddr::from([198, 51, 100, 7]));
    let scope = Scope::default();
    assert!(responder.can_announce(near, &scope) && !responder.can_announce(far, &scope));
    responder.set_links([eth0()], now);
    assert_eq!(responder.events().count(), 0);
    responder.set_links([Link { flags: 3, ..eth0() }], now);
    assert_eq!(responder.events().collect::<Vec<_>>(), [Event::LinksChanged]);
    assert!(!responder.can_announce(near, &scope));
}

#[test]
fn groups_and_channels_follow_the_addresses_and_the_links() {
    let now = Instant::now();
    let mut responder = responder(now);
    assert_eq!(responder.groups(), [(LINK, "ff02::1:ff00:200".parse().unwrap())].into());
    assert_eq!(
        responder.channels(),
        [(LINK, Channel::Arp), (LINK, Channel::Echo), (LINK, Channel::Icmpv6)].into()
    );
    responder.hold([(VIP4.into(), Holding::default())].into(), now);
    assert!(responder.groups().is_empty());
    responder.hold(BTreeMap::new(), now);
    assert!(responder.channels().is_empty());
    responder.probe(VIP6.into(), Scope::default(), now);
    assert_eq!(responder.channels(), [(LINK, Channel::Icmpv6)].into());
    assert_eq!(responder.groups().len(), 1);
}

#[test]
fn an_address_is_free_when_nobody_answers() {
    let now = Instant::now();
    let mut responder = bare(now);
    for vip in [VIP4.into(), VIP6.into()] {
        responder.probe(vip, Scope::default(), now);
    }
    let mut asked = 0;
    while let Some(at) = responder.next_deadline() {
        assert!(at <= now + Duration::from_millis(600));
        asked += responder.due(at).len();
    }
    assert_eq!((asked, responder.counters()[&LINK].probes), (6, 6));
    let results: Vec<_> = responder.events().collect();
    let free = [VIP4.into(), VIP6.into()].map(|address| Event::Probed {
        address,
        result: ProbeResult::Free,
    });
    assert_eq!(results, free);
}

#[test]
fn an_address_is_not_free_when_somebody_has_it_or_wants_it_too() {
    let now = Instant::now();
    let detection = Ask {
        source: Ipv6Addr::UNSPECIFIED,
        options: Vec::new(),
        ..Ask::multicast(VIP6)
    };
    let cases: [(IpAddr, Vec<u8>); 4] = [
        (VIP4.into(), arp(OURS, 2, (STRANGER, VIP4), Ipv4Addr::UNSPECIFIED)),
        (
            VIP4.into(),
            arp(Mac::BROADCAST, 1, (STRANGER, Ipv4Addr::UNSPECIFIED), VIP4),
        ),
        (VIP6.into(), told_to_all(STRANGER)),
        (VIP6.into(), detection.frame()),
    ];
    for (address, frame) in cases {
        let mut responder = bare(now);
        responder.probe(address, Scope::default(), now);
        responder.due(now);
        responder.frame(LINK, &frame, now);
        let result = ProbeResult::Conflict {
            link: LINK,
            mac: STRANGER,
            is_peer: false,
        };
        let told: Vec<_> = responder.events().collect();
        assert_eq!(told, [Event::Probed { address, result }]);
        assert_eq!(responder.next_deadline(), None);
    }
}

#[test]
fn two_nodes_that_ask_and_answer_understand_each_other() {
    let now = Instant::now();
    let mut owner = responder(now);
    let mut other = Responder::new(Timing::default());
    other.set_links(
        [Link {
            mac: Some(PEER),
            ..eth0()
        }],
        now,
    );
    other.events().for_each(drop);
    for vip in [VIP4.into(), VIP6.into()] {
        other.probe(vip, Scope::default(), now);
    }
    for question in other.due(now) {
        let answer = reply(owner.frame(LINK, &question.frame, now));
        assert!(matches!(
            other.frame(LINK, &answer, now),
            Verdict::Conflict { mac: OURS, .. }
        ));
    }
    assert_eq!(other.events().count(), 2);
    for announcement in owner.due(now) {
        let verdict = other.frame(LINK, &announcement.frame, now);
        assert!(
            matches!(verdict, Verdict::Drop(DropReason::Answer | DropReason::NotHeld)),
            "{verdict:?}"
        );
    }
}
