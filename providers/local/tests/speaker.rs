//! Nodes on a LAN agree on who answers for an address, and a client reaches it there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use fairlead_lab::{Addresses, Lab, Node, Probe, in_namespace, test_name, wait_for, wait_until};
use fairlead_local::announcement::Scope;
use fairlead_local::ownership::{Eligibility, Mode, OwnReason, YieldReason};
use fairlead_local::speaker::{Heartbeats, Plan, Post, Report, Speaker, Start};
use ipnet::IpNet;

/// For what must happen.
const PATIENT: Duration = Duration::from_secs(20);
const LAN: &str = "eth0";
const VIP: Addresses = Addresses {
    v4: Ipv4Addr::new(172, 30, 0, 200),
    v6: Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, 0x200),
};

/// A node that speaks, and what it said when.
struct Voice<'a> {
    node: &'a Node,
    speaker: Option<Speaker>,
    reports: Receiver<(Instant, Report)>,
    owned: BTreeMap<IpAddr, (Instant, u64, OwnReason)>,
    yielded: BTreeMap<IpAddr, (Instant, YieldReason)>,
    others: Vec<Report>,
}

impl<'a> Voice<'a> {
    fn on(node: &'a Node, plan: Plan) -> Self {
        node.set_mac(LAN, mac_of(node)).unwrap();
        // The kernel must not forward what is for an address that no interface has; a rule sees to that on a real node.
        node.sysctl("ipv4/ip_forward", "0").unwrap();
        node.sysctl("ipv6/conf/all/forwarding", "0").unwrap();
        let (sender, reports) = mpsc::channel();
        let tell = move |report| {
            let _ = sender.send((Instant::now(), report));
        };
        let start = Start {
            node: name_of(node),
            incarnation: 1,
            keys: vec![b"a key of thirty-two bytes or more".to_vec()],
            resume: Vec::new(),
            plan,
        };
        let speaker = node.run(|| Speaker::start(start, tell).unwrap());
        Self {
            node,
            speaker: Some(speaker),
            reports,
            owned: BTreeMap::new(),
            yielded: BTreeMap::new(),
            others: Vec::new(),
        }
    }

    fn hear(&mut self) {
        for (at, report) in self.reports.try_iter() {
            match report {
                Report::Owns {
                    address, epoch, why, ..
                } => {
                    self.owned.insert(address, (at, epoch, why));
                }
                Report::Yields { address, why } => {
                    self.owned.remove(&address);
                    self.yielded.insert(address, (at, why));
                }
                other => self.others.push(other),
            }
        }
    }

    fn speaker(&self) -> &Speaker {
        self.speaker.as_ref().expect("it speaks")
    }
}

fn name_of(node: &Node) -> String {
    format!("node-{}", node.number())
}

fn mac_of(node: &Node) -> [u8; 6] {
    [2, 0, 0, 0, 7, node.number()]
}

/// All nodes may have both addresses.
fn plan(lab: &Lab) -> Plan {
    let post = Post {
        scope: Scope::default(),
        answers_echo: true,
        is_probed: true,
        is_contested: false,
        mode: Mode::Sticky,
        eligibility: Eligibility::Eligible { weight: 0 },
    };
    Plan {
        heartbeats: Heartbeats::default(),
        refresh: None,
        lost: BTreeSet::new(),
        members: lab
            .nodes()
            .iter()
            .map(|node| (name_of(node), node.addresses().both().to_vec()))
            .collect(),
        posts: VIP.both().into_iter().map(|vip| (vip, post.clone())).collect(),
    }
}

/// Who has the address, once exactly one node does, and the client finds it there.
fn wait_for_owner(lab: &Lab, voices: &mut [Voice<'_>], vip: IpAddr) -> usize {
    wait_for_other(lab, voices, vip, None)
}

/// The same, of another node than `last`.
fn wait_for_other(lab: &Lab, voices: &mut [Voice<'_>], vip: IpAddr, last: Option<usize>) -> usize {
    wait_for(PATIENT, "one owner that the client finds", || {
        voices.iter_mut().for_each(Voice::hear);
        let owners: Vec<_> = (0..voices.len())
            .filter(|&index| voices[index].owned.contains_key(&vip))
            .collect();
        let [owner] = owners[..] else { return None };
        if last == Some(owner) {
            return None;
        }
        // Looks for it if it is not known.
        let _ = Probe::udp(SocketAddr::new(vip, 9))
            .within(Duration::from_millis(1))
            .send(lab.client());
        let belief = lab
            .client()
            .neighbour(LAN, vip)
            .unwrap()
            .and_then(|neighbour| neighbour.mac);
        (belief == Some(mac_of(voices[owner].node))).then_some(owner)
    })
    .unwrap()
}

#[test]
fn a_dead_owner_is_replaced_and_the_client_follows() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let mut voices: Vec<_> = lab.nodes().iter().map(|node| Voice::on(node, plan(&lab))).collect();
        for vip in VIP.both() {
            let owner = wait_for_owner(&lab, &mut voices, vip);
            let died = Instant::now();
            voices[owner].speaker = None;
            voices[owner].owned.clear();
            let heir = wait_for_owner(&lab, &mut voices, vip);
            let (at, epoch, why) = voices[heir].owned[&vip];
            assert_eq!(why, OwnReason::OwnerDead);
            assert!(epoch >= 2, "{epoch}");
            println!("{vip}: taken over after {:?}", at - died);
            // For the other address there are three again.
            voices[owner] = Voice::on(lab.nodes().get(owner).unwrap(), plan(&lab));
            wait_until(PATIENT, "the others to hear it again", || {
                voices.iter_mut().for_each(Voice::hear);
                voices[heir]
                    .others
                    .iter()
                    .any(|report| matches!(report, Report::PeerHeard(_)))
            })
            .unwrap();
        }
    });
}

#[test]
fn who_leaves_answers_until_another_node_does() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let mut voices: Vec<_> = lab.nodes().iter().map(|node| Voice::on(node, plan(&lab))).collect();
        for vip in VIP.both() {
            let owner = wait_for_owner(&lab, &mut voices, vip);
            if voices[owner].yielded.contains_key(&vip) {
                continue;
            }
            voices[owner].speaker().leave();
            let heir = wait_for_other(&lab, &mut voices, vip, Some(owner));
            let is_disturbed = |voice: &Voice<'_>| {
                let mut others = voice.others.iter();
                others.any(|report| matches!(report, Report::Paused(_) | Report::PeerSilent(_)))
            };
            if voices.iter().any(is_disturbed) {
                // The machine held one of them up, so that it moved for another reason.
                continue;
            }
            let (taken, _, why) = voices[heir].owned[&vip];
            assert_eq!(why, OwnReason::OwnerLeaves);
            let (yielded, why) = voices[owner].yielded[&vip];
            assert_eq!(why, YieldReason::Superseded);
            assert!(taken <= yielded, "a gap of {:?}", taken - yielded);
            assert!(
                yielded - taken < Duration::from_secs(1),
                "both for {:?}",
                yielded - taken
            );
            assert!(
                !voices[owner]
                    .others
                    .iter()
                    .any(|report| matches!(report, Report::Conflict { is_peer: false, .. }))
            );
        }
    });
}

#[test]
fn an_address_that_another_machine_has_is_left_to_it() {
    in_namespace(test_name!(), || {
        let lab = Lab::with_nodes(2).unwrap();
        let stranger = lab.add_client("stranger").unwrap();
        stranger.set_mac(LAN, [2, 0, 0, 0, 9, 9]).unwrap();
        stranger.add_address(LAN, IpNet::from(IpAddr::from(VIP.v4))).unwrap();
        let mut voices: Vec<_> = lab.nodes().iter().map(|node| Voice::on(node, plan(&lab))).collect();
        wait_for_owner(&lab, &mut voices, VIP.v6.into());
        wait_until(PATIENT, "the owner to know the stranger", || {
            voices.iter_mut().for_each(Voice::hear);
            voices.iter().any(|voice| {
                voice.others.iter().any(
                    |report| matches!(report, Report::Conflict { address, is_peer: false, .. } if *address == IpAddr::from(VIP.v4)),
                )
            })
        })
        .unwrap();
        let stranger_mac = [2, 0, 0, 0, 9, 9];
        wait_until(PATIENT, "the client to find the stranger", || {
            let _ = Probe::udp(SocketAddr::new(VIP.v4.into(), 9))
                .within(Duration::from_millis(1))
                .send(lab.client());
            let belief = lab.client().neighbour(LAN, VIP.v4.into()).unwrap();
            belief.and_then(|neighbour| neighbour.mac) == Some(stranger_mac)
        })
        .unwrap();
        for voice in &voices {
            let counters = voice.speaker().counters();
            assert_eq!(counters.get(LAN).map_or(0, |lan| lan.arp_replies), 0);
        }
    });
}

/// The owner of an address that another machine has is silent, and so is who comes after it, until the other machine is gone.
#[test]
fn an_heir_asks_first_for_an_address_that_its_last_owner_left_to_another_machine() {
    in_namespace(test_name!(), || {
        let lab = Lab::new().unwrap();
        let vip = IpAddr::from(VIP.v4);
        let stranger = lab.add_client("stranger").unwrap();
        stranger.set_mac(LAN, [2, 0, 0, 0, 9, 9]).unwrap();
        stranger.add_address(LAN, IpNet::from(vip)).unwrap();
        let mut plan = plan(&lab);
        plan.posts.retain(|address, _| *address == vip);
        let mut voices: Vec<_> = lab.nodes().iter().map(|node| Voice::on(node, plan.clone())).collect();
        let leaves_it = |voice: &Voice<'_>| {
            let is_it = |report: &Report| matches!(report, Report::Conflict { address, is_silent: true, .. } if *address == vip);
            voice.owned.contains_key(&vip) && voice.others.iter().any(is_it)
        };
        let wait_for_silent = |voices: &mut [Voice<'_>], last: Option<usize>| {
            wait_for(PATIENT, "an owner that leaves it to the other machine", || {
                voices.iter_mut().for_each(Voice::hear);
                (0..voices.len()).find(|index| Some(*index) != last && leaves_it(&voices[*index]))
            })
            .unwrap()
        };
        let owner = wait_for_silent(&mut voices, None);
        // As the agents learn from what the owner tells the API server.
        plan.posts.get_mut(&vip).unwrap().is_contested = true;
        for voice in &voices {
            voice.speaker().set_plan(plan.clone());
        }
        let hears_all = |voice: &Voice<'_>| {
            let heard = voice.others.iter();
            heard.filter(|report| matches!(report, Report::PeerHeard(_))).count() >= 2
        };
        wait_until(PATIENT, "the nodes to hear each other", || {
            voices.iter_mut().for_each(Voice::hear);
            voices.iter().all(hears_all)
        })
        .unwrap();
        voices[owner].speaker = None;
        voices[owner].owned.clear();
        let heir = wait_for_silent(&mut voices, Some(owner));
        assert_eq!(voices[heir].owned[&vip].2, OwnReason::OwnerDead);
        let announced = |voice: &Voice<'_>| voice.speaker().counters().get(LAN).map_or(0, |lan| lan.announcements);
        assert_eq!(
            announced(&voices[heir]),
            0,
            "the heir of a silent owner announces nothing"
        );

        // The stranger goes, and the node that comes after the heir finds the address free.
        stranger.delete_address(LAN, IpNet::from(vip)).unwrap();
        voices[owner] = Voice::on(lab.nodes().get(owner).unwrap(), plan);
        wait_until(PATIENT, "the nodes to hear each other again", || {
            voices.iter_mut().for_each(Voice::hear);
            hears_all(&voices[owner])
        })
        .unwrap();
        voices[heir].speaker = None;
        voices[heir].owned.clear();
        let last = wait_for_owner(&lab, &mut voices, vip);
        wait_until(PATIENT, "it to be told that the address is free", || {
            voices.iter_mut().for_each(Voice::hear);
            let mut others = voices[last].others.iter();
            others.any(|report| matches!(report, Report::Free { address } if *address == vip))
        })
        .unwrap();
    });
}
