//! Links lose their carrier, and get it back.

use fairlead_lab::{Lab, LinkState, Namespace, in_namespace, test_name, wait_until};
use fairlead_local::announcement::Mac;

use crate::ping::{ping, ping_until_answered};
use crate::{LAN, PATIENT, Station, VIP, belief};

/// Whether the host is a member of the group of `VIP.v6` on its link to the LAN.
fn is_member(host: &Namespace) -> bool {
    let groups = host.run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap());
    groups
        .lines()
        .any(|line| line.contains(LAN) && line.contains("ff0200000000000000000001ff000200"))
}

impl Station {
    fn carries_packets(&self) -> bool {
        self.announcer
            .look(|responder| responder.links().any(|link| link.name == LAN && link.carries_packets()))
    }

    fn listens(&self) -> bool {
        self.announcer.look(|responder| !responder.channels().is_empty())
    }
}

#[test]
fn a_pulled_cable_ends_all_announcements_and_a_plugged_one_begins_them_anew() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = Station::on(lab.node(1));
        node.hold(VIP.both());
        wait_until(PATIENT, "the node to join the group", || is_member(lab.node(1))).unwrap();
        for vip in VIP.both() {
            ping(lab.client(), vip);
        }

        for round in 0..2 {
            // The far end, as when a cable is pulled; then the node's own.
            let (host, link) = if round == 0 {
                (lab.lan(), "node-1")
            } else {
                (&**lab.node(1), LAN)
            };
            host.set_link(link, LinkState::Down).unwrap();
            wait_until(PATIENT, "the node to notice", || {
                !node.carries_packets() && !node.listens()
            })
            .unwrap();
            wait_until(PATIENT, "the node to leave the group", || !is_member(lab.node(1))).unwrap();
            let before = node.counters();
            // Due now, and not said.
            node.announcer.with(|responder| {
                for vip in VIP.both() {
                    responder.took(vip, std::time::Instant::now());
                }
                assert_eq!(responder.next_deadline(), None);
            });

            host.set_link(link, LinkState::Up).unwrap();
            // The kernel takes the IPv6 addresses from a link that is set down.
            let own = ipnet::IpNet::new(lab.node(1).addresses().v6.into(), 64).unwrap();
            lab.node(1).add_address(LAN, own).unwrap();
            wait_until(PATIENT, "the node to announce both addresses", || {
                node.counters().announcements >= before.announcements + 3
            })
            .unwrap();
            wait_until(PATIENT, "the node to join the group again", || is_member(lab.node(1))).unwrap();
            for vip in VIP.both() {
                ping_until_answered(lab.client(), vip);
                assert_eq!(belief(lab.client(), vip), Some(node.mac()));
            }
        }
    });
}

#[test]
fn hosts_follow_a_link_to_another_mac_address() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = Station::on(lab.node(1));
        node.hold(VIP.both());
        for vip in VIP.both() {
            ping(lab.client(), vip);
        }
        let mac = Mac([2, 0, 0, 0, 0xab, 0xcd]);
        assert_ne!(node.mac(), mac);
        lab.node(1).set_mac(LAN, mac.0).unwrap();
        for vip in VIP.both() {
            wait_until(PATIENT, "the client to follow", || {
                belief(lab.client(), vip) == Some(mac)
            })
            .unwrap();
            ping_until_answered(lab.client(), vip);
        }
        assert_eq!(node.mac(), mac);
    });
}

#[test]
fn an_address_outside_of_the_links_networks_is_not_answered_for_until_the_link_has_its_network() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = Station::on(lab.node(1));
        let far: std::net::IpAddr = "198.51.100.7".parse().unwrap();
        lab.client()
            .add_route("198.51.100.0/24".parse().unwrap(), None, LAN)
            .unwrap();
        node.hold([far]);
        assert!(!node.listens());

        lab.node(1)
            .add_address(LAN, "198.51.100.1/24".parse().unwrap())
            .unwrap();
        wait_until(PATIENT, "the node to listen", || node.listens()).unwrap();
        ping(lab.client(), far);
        lab.node(1)
            .delete_address(LAN, "198.51.100.1/24".parse().unwrap())
            .unwrap();
        wait_until(PATIENT, "the node to fall silent", || !node.listens()).unwrap();
    });
}
