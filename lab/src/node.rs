use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crate::addresses::{self, Addresses, Cidrs, PODS};
use crate::lab::{ETH0, Lan, host_number};
use crate::link::Link;
use crate::sysctl::Role;
use crate::{Error, Namespace, Pod, Protocol, Server};

/// The bridge of a node's pods.
pub(crate) const CNI0: u32 = 102;
const CNI0_NAME: &str = "cni0";
/// The host number of the bridge in its pod networks.
const GATEWAY: u8 = 1;

/// A node: a namespace with `eth0` on the LAN, the pod bridge `cni0`, and forwarding.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    number: u8,
    addresses: Addresses,
    pod_addresses: Arc<Leases>,
}

/// The pod addresses in use on a node.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    taken: Mutex<BTreeSet<Addresses>>,
}

impl Node {
    pub(crate) fn new(lan: &Lan, number: u8, count: u8) -> Result<Self, Error> {
        let namespace = Namespace::with_role(&format!("node-{number}"), Role::Router)?;
        let pods = addresses::pods_of(number);
        let gateway = pods.host(GATEWAY);
        let own = lan.plug(&namespace, host_number(number), |batch| {
            batch.add_bridge(&Link {
                name: CNI0_NAME,
                index: CNI0,
                mac: addresses::mac(gateway.v4),
            });
            for address in pods.assign(gateway) {
                batch.add_address(CNI0, address);
            }
            batch.add_address(CNI0, addresses::link_local(gateway.v4));
            for other in (1..=count).filter(|&other| other != number) {
                batch.add_routes_to_pods(other, ETH0);
            }
            batch.add_default_routes(Lan::router(), ETH0);
        })?;
        namespace.settle(&[], &gateway.both())?;
        Ok(Self {
            namespace,
            number,
            addresses: own,
            pod_addresses: Arc::default(),
        })
    }

    /// The number in its name and in its addresses.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its addresses on the LAN.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The MAC address of its interface on the LAN.
    pub fn mac(&self) -> [u8; 6] {
        addresses::mac(self.addresses.v4)
    }

    /// The networks of its pods.
    pub fn pod_cidrs(&self) -> Cidrs {
        addresses::pods_of(self.number)
    }

    /// The addresses of a pod with this host number: `.2` and `::2` for 2.
    pub fn pod_addresses(&self, number: u8) -> Addresses {
        self.pod_cidrs().host(number)
    }

    /// Starts a pod with the next free addresses.
    pub fn add_pod(&self, name: &str) -> Result<Pod, Error> {
        let free = PODS
            .map(|number| self.pod_addresses(number))
            .find(|&addresses| self.pod_addresses.take(addresses));
        let addresses = free.ok_or_else(|| Error::Full {
            what: format!("pod `{name}` on node-{}", self.number),
        })?;
        Pod::new(self, name, addresses)
    }

    /// Starts a pod with these addresses, which must be free and in the node's pod networks.
    pub fn add_pod_at(&self, name: &str, addresses: Addresses) -> Result<Pod, Error> {
        let cidrs = self.pod_cidrs();
        let refuse = |address| {
            Err(Error::Address {
                pod: name.to_owned(),
                address,
            })
        };
        if !cidrs.v4.contains(&addresses.v4) || !PODS.contains(&addresses.v4.octets()[3]) {
            return refuse(addresses.v4.into());
        }
        if !cidrs.v6.contains(&addresses.v6)
            || addresses.v6 == cidrs.host(GATEWAY).v6
            || addresses.v6 == cidrs.v6.network()
        {
            return refuse(addresses.v6.into());
        }
        if !self.pod_addresses.take(addresses) {
            return refuse(addresses.v4.into());
        }
        Pod::new(self, name, addresses)
    }

    /// Starts a workload in the node's own network, as a pod with `hostNetwork` has it, on both LAN addresses.
    pub fn listen(&self, name: &str, protocol: Protocol, port: u16) -> Result<Server, Error> {
        self.serve(
            name,
            &self
                .addresses
                .both()
                .map(|address| (protocol, SocketAddr::new(address, port))),
        )
    }

    pub(crate) fn gateway(&self) -> Addresses {
        self.pod_cidrs().host(GATEWAY)
    }

    pub(crate) fn leases(&self) -> &Arc<Leases> {
        &self.pod_addresses
    }
}

impl Deref for Node {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Leases {
    /// Takes the pair if neither address is in use.
    fn take(&self, addresses: Addresses) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = taken
            .iter()
            .all(|other| other.v4 != addresses.v4 && other.v6 != addresses.v6);
        is_free && taken.insert(addresses)
    }

    pub(crate) fn give_back(&self, addresses: Addresses) {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&addresses);
    }
}
