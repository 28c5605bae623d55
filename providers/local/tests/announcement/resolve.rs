//! A host on the LAN finds an address, and follows it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use fairlead_lab::{Lab, NeighbourState, in_namespace, test_name, wait_until};
use fairlead_local::announcement::Timing;

use crate::ping::{Answer, Pinger, ping};
use crate::{LAN, PATIENT, Station, VIP, belief, without_forwarding};

#[test]
fn a_host_finds_and_pings_an_address_of_each_family() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = Station::on(lab.node(1));
        node.hold(VIP.both());
        // It would do for a client that is asking, too.
        wait_until(PATIENT, "the first announcement", || node.counters().announcements == 3).unwrap();
        for vip in VIP.both() {
            ping(lab.client(), vip);
            assert_eq!(belief(lab.client(), vip), Some(node.mac()), "{vip}");
        }
        let counters = node.counters();
        assert_eq!(
            (
                counters.arp_replies,
                counters.neighbour_replies,
                counters.echo_replies,
                counters.send_failures
            ),
            (1, 1, 2, 0)
        );
    });
}

#[test]
fn one_echo_request_has_one_answer() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(2).unwrap();
        let [node, other] = [1, 2].map(|number| Station::on(without_forwarding(lab.node(number))));
        // The nodes' kernels believe each other to have it.
        for station in [&node, &other, &node] {
            station.hold(VIP.both());
            for vip in VIP.both() {
                wait_until(PATIENT, "the client to follow", || {
                    belief(lab.client(), vip).is_none_or(|mac| mac == station.mac())
                })
                .unwrap();
                let pinger = Pinger::new(lab.client(), vip);
                pinger.ask(1);
                assert_eq!(pinger.answer(PATIENT), Some(Answer::Reply), "{vip}");
                assert_eq!(pinger.answer(Duration::from_millis(200)), None, "{vip}");
            }
            station.hold([]);
        }
    });
}

#[test]
fn hosts_follow_an_address_to_another_node_without_asking() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(2).unwrap();
        let [first, second] = [1, 2].map(|number| Station::on(without_forwarding(lab.node(number))));
        let mut owners = [&first, &second];
        first.hold(VIP.both());
        for vip in VIP.both() {
            ping(lab.client(), vip);
        }
        for _ in 0..4 {
            let [old, new] = owners;
            let before = new.counters();
            old.hold([]);
            new.hold(VIP.both());
            // Sooner than the first repetition.
            wait_until(Duration::from_secs(1), "the client to follow", || {
                let mut both = VIP.both().into_iter();
                both.all(|vip| belief(lab.client(), vip) == Some(new.mac()))
            })
            .unwrap();
            let after = new.counters();
            assert_eq!(
                (after.arp_replies, after.neighbour_replies),
                (before.arp_replies, before.neighbour_replies),
                "the client had no need to ask"
            );
            for vip in VIP.both() {
                ping(lab.client(), vip);
            }
            assert_eq!(new.counters().echo_replies, before.echo_replies + 2);
            owners.reverse();
        }
    });
}

#[test]
fn a_host_that_asks_the_one_it_knows_is_answered() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = Station::on(lab.node(1));
        node.hold(VIP.both());
        for vip in VIP.both() {
            ping(lab.client(), vip);
            let before = node.counters();
            lab.client().probe_neighbour(LAN, vip).unwrap();
            wait_until(PATIENT, "the neighbour to be confirmed", || {
                let neighbour = lab.client().neighbour(LAN, vip).unwrap();
                neighbour.is_some_and(|neighbour| neighbour.state == NeighbourState::Reachable)
            })
            .unwrap();
            let after = node.counters();
            assert_eq!(
                after.arp_replies + after.neighbour_replies,
                before.arp_replies + before.neighbour_replies + 1,
                "{vip}"
            );
        }
        // And not when it is no longer there.
        node.hold([]);
        for vip in VIP.both() {
            lab.client().probe_neighbour(LAN, vip).unwrap();
            wait_until(PATIENT, "the neighbour to be given up", || {
                let neighbour = lab.client().neighbour(LAN, vip).unwrap();
                neighbour.is_none_or(|neighbour| neighbour.state == NeighbourState::Failed)
            })
            .unwrap();
        }
    });
}

#[test]
fn an_address_without_an_endpoint_is_found_but_not_pinged() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = Station::on(lab.node(1));
        let held = VIP
            .both()
            .map(|vip| (vip, fairlead_local::announcement::Holding::default()));
        node.announcer
            .with(|responder| responder.hold(held.into(), std::time::Instant::now()));
        for vip in VIP.both() {
            let pinger = Pinger::new(lab.client(), vip);
            pinger.ask(1);
            wait_until(PATIENT, "the client to find the node", || {
                belief(lab.client(), vip) == Some(node.mac())
            })
            .unwrap();
            assert_ne!(pinger.answer(Duration::from_millis(300)), Some(Answer::Reply));
        }
        assert_eq!(node.counters().echo_replies, 0);
    });
}

#[test]
fn a_thousand_addresses_are_all_found() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let timing = Timing {
            announcements: 1,
            ..Timing::default()
        };
        let node = Station::with(lab.node(1), timing);
        let addresses: Vec<IpAddr> = (0..1000)
            .map(|number| IpAddr::from(Ipv6Addr::from(u128::from(VIP.v6) + 0x1000 + number)))
            .collect();
        node.hold(addresses.iter().copied());
        wait_until(PATIENT, "all to be announced", || node.counters().announcements == 1000).unwrap();
        let groups = lab
            .node(1)
            .run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap());
        let joined = groups
            .lines()
            .filter(|line| line.contains("ff0200000000000000000001ff"))
            .count();
        // One for each, and those of the node's own addresses.
        assert!(joined >= 1000, "{joined}");
        for &vip in addresses.iter().step_by(100) {
            ping(lab.client(), vip);
        }
        assert_eq!(node.counters().send_failures, 0);
    });
}
