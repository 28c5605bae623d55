//! Addresses are answered for on a LAN of network namespaces, whose other hosts are the kernel's own.

mod conflict;
mod links;
mod ping;
mod resolve;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use fairlead_lab::{Addresses, Namespace, wait_for};
use fairlead_local::announcement::{Announcer, Counters, Event, Holding, Mac, Responder, Timing};

/// For what must happen.
const PATIENT: Duration = Duration::from_secs(10);
/// The link of nodes and clients to the LAN.
const LAN: &str = "eth0";

/// The addresses to be held.
const VIP: Addresses = Addresses {
    v4: Ipv4Addr::new(172, 30, 0, 200),
    v6: Ipv6Addr::new(0xfd00, 0x172, 0x30, 0, 0, 0, 0, 0x200),
};

/// An announcer on a node or any other host.
struct Station {
    announcer: Announcer,
    events: Receiver<Event>,
}

impl Station {
    fn on(host: &Namespace) -> Self {
        Self::with(host, Timing::default())
    }

    fn with(host: &Namespace, timing: Timing) -> Self {
        let (sender, events) = mpsc::channel();
        let tell = move |event| {
            let _ = sender.send(event);
        };
        let announcer = host.run(|| Announcer::start(Responder::new(timing), tell).unwrap());
        Self { announcer, events }
    }

    /// Holds exactly these addresses, each with an endpoint.
    fn hold(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        let holding = Holding {
            answers_echo: true,
            ..Holding::default()
        };
        let held: BTreeMap<_, _> = addresses
            .into_iter()
            .map(|address| (address, holding.clone()))
            .collect();
        self.announcer
            .with(|responder| responder.hold(held, std::time::Instant::now()));
    }

    /// The numbers of its link to the LAN.
    fn counters(&self) -> Counters {
        self.announcer.look(|responder| {
            let lan = responder.links().find(|link| link.name == LAN).map(|link| link.index);
            lan.and_then(|index| responder.counters().get(&index))
                .cloned()
                .unwrap_or_default()
        })
    }

    /// The MAC address of its link to the LAN.
    fn mac(&self) -> Mac {
        self.announcer.look(|responder| {
            let lan = responder.links().find(|link| link.name == LAN);
            lan.and_then(|link| link.mac).expect("it is an Ethernet link")
        })
    }

    /// The next event that `pick` makes something of.
    fn wait_for<T>(&self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        wait_for(PATIENT, what, || self.events.try_iter().find_map(&mut pick)).unwrap()
    }
}

/// Lets the node's kernel drop what is for an address that no interface has.
///
/// Otherwise it forwards an echo request that was answered, to whom it believes to have the address. On a real node a rule must prevent that.
fn without_forwarding(node: &Namespace) -> &Namespace {
    node.sysctl("ipv4/ip_forward", "0").unwrap();
    node.sysctl("ipv6/conf/all/forwarding", "0").unwrap();
    node
}

/// Where the host believes that `address` is.
fn belief(host: &Namespace, address: IpAddr) -> Option<Mac> {
    host.neighbour(LAN, address).unwrap()?.mac.map(Mac)
}
