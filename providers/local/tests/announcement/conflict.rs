//! Others want an address that is held, or have it.

use std::net::IpAddr;
use std::time::Instant;

use fairlead_lab::{Lab, in_namespace, test_name, wait_for, wait_until};
use fairlead_local::announcement::{Event, ProbeResult, Scope};

use crate::ping::ping;
use crate::{LAN, PATIENT, Station, VIP, belief};

impl Station {
    /// Asks whether the address is free.
    fn probe(&self, address: IpAddr) -> ProbeResult {
        self.announcer
            .with(|responder| responder.probe(address, Scope::default(), Instant::now()));
        self.wait_for("the end of the probe", |event| match event {
            Event::Probed { address: about, result } if about == address => Some(result),
            _ => None,
        })
    }
}

#[test]
fn another_host_is_kept_from_the_address() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(1).unwrap();
        let node = Station::on(lab.node(1));
        node.hold(VIP.both());
        wait_until(PATIENT, "the first announcement", || node.counters().announcements == 3).unwrap();
        let host = lab.add_client("other").unwrap();
        for (key, value) in [("accept_dad", "1"), ("dad_transmits", "1")] {
            host.sysctl(&format!("ipv6/conf/{LAN}/{key}"), value).unwrap();
        }
        let free: IpAddr = "fd00:172:30::201".parse().unwrap();
        for (address, is_taken) in [(IpAddr::from(VIP.v6), true), (free, false)] {
            host.try_address(LAN, address.into()).unwrap();
            let flags = wait_for(PATIENT, "the detection to end", || {
                let flags = host.run(|| address_flags(address))?;
                (flags & (TENTATIVE | FAILED) != TENTATIVE).then_some(flags)
            });
            assert_eq!(flags.unwrap() & FAILED == FAILED, is_taken, "{address}");
        }
        assert_eq!(node.counters().neighbour_replies, 1);
    });
}

/// `IFA_F_*`
const FAILED: u8 = 0x08;
const TENTATIVE: u8 = 0x40;

/// The flags of an IPv6 address of the calling thread's namespace.
fn address_flags(address: IpAddr) -> Option<u8> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let wanted = format!("{:032x}", u128::from(address));
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    let line = table.lines().find(|line| line.starts_with(&wanted))?;
    u8::from_str_radix(line.split_whitespace().nth(4)?, 16).ok()
}

#[test]
fn an_address_that_somebody_has_is_found_out_before_it_is_taken() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(2).unwrap();
        let [node, owner] = [1, 2].map(|number| Station::on(lab.node(number)));
        for vip in VIP.both() {
            assert_eq!(node.probe(vip), ProbeResult::Free, "{vip}");
        }
        // Another node.
        node.announcer
            .with(|responder| responder.set_peers([owner.mac()].into()));
        owner.hold(VIP.both());
        for vip in VIP.both() {
            let result = node.probe(vip);
            assert!(
                matches!(result, ProbeResult::Conflict { mac, is_peer: true, .. } if mac == owner.mac()),
                "{vip}: {result:?}"
            );
        }
        owner.hold([]);
        // A stranger, whose kernel answers.
        for vip in VIP.both() {
            lab.client().add_address(LAN, vip.into()).unwrap();
            let result = node.probe(vip);
            assert!(
                matches!(result, ProbeResult::Conflict { is_peer: false, .. }),
                "{vip}: {result:?}"
            );
        }
        assert_eq!(node.counters().announcements, 0);
    });
}

#[test]
fn an_address_that_another_claims_is_told_of_and_kept() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(3).unwrap();
        let [node, peer, stranger] = [1, 2, 3].map(|number| Station::on(lab.node(number)));
        node.announcer
            .with(|responder| responder.set_peers([peer.mac()].into()));
        node.hold(VIP.both());
        for vip in VIP.both() {
            ping(lab.client(), vip);
        }
        for (other, is_peer) in [(&peer, true), (&stranger, false)] {
            other.hold(VIP.both());
            let mut left = VIP.both().to_vec();
            while !left.is_empty() {
                let claimed = node.wait_for("a conflict about each address", |event| match event {
                    Event::Conflict {
                        address,
                        mac,
                        is_peer: told,
                        ..
                    } if mac == other.mac() => {
                        assert_eq!(told, is_peer);
                        Some(address)
                    }
                    _ => None,
                });
                left.retain(|&vip| vip != claimed);
            }
            other.hold([]);
        }
        let counters = node.counters();
        assert!(
            counters.peer_conflicts >= 2 && counters.stranger_conflicts >= 2,
            "{counters:?}"
        );
        // It spoke against the stranger last.
        for vip in VIP.both() {
            wait_until(PATIENT, "the client to be told the truth", || {
                belief(lab.client(), vip) == Some(node.mac())
            })
            .unwrap();
        }
    });
}
