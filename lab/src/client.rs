use std::net::IpAddr;
use std::ops::Deref;

use ipnet::IpNet;

use crate::addresses::{self, Addresses};
use crate::lab::{ETH0, Lan};
use crate::netlink::Batch;
use crate::{Error, Namespace, Node};

/// A client outside the cluster: a namespace with `eth0` on the LAN.
///
/// It reaches the pods of a node through that node, and everything else through node-1 until it is [routed](Client::route) otherwise.
#[derive(Debug)]
pub struct Client {
    namespace: Namespace,
    addresses: Addresses,
}

impl Client {
    pub(crate) fn new(lan: &Lan, name: &str, number: u8, nodes: &[Node]) -> Result<Self, Error> {
        let namespace = Namespace::new(name)?;
        let addresses = lan.plug(&namespace, number, |batch| {
            for node in nodes {
                batch.add_routes_to_pods(node.number(), ETH0);
            }
            if let Some(first) = nodes.first() {
                batch.add_default_routes(first.addresses(), ETH0);
            }
        })?;
        Ok(Self { namespace, addresses })
    }

    /// Its first addresses on the LAN.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The MAC address of its interface.
    pub fn mac(&self) -> [u8; 6] {
        addresses::mac(self.addresses.v4)
    }

    /// Sends packets for `destination` through `node`, as a router would that learned it from that node.
    pub fn route(&self, destination: IpNet, node: &Node) -> Result<(), Error> {
        let gateway: IpAddr = match destination {
            IpNet::V4(_) => node.addresses().v4.into(),
            IpNet::V6(_) => node.addresses().v6.into(),
        };
        let mut batch = Batch::default();
        batch.add_route(destination.trunc(), Some(gateway), ETH0);
        self.configure(batch)
    }

    /// Forgets what [`Client::route`] set for exactly `destination`.
    pub fn unroute(&self, destination: IpNet) -> Result<(), Error> {
        self.delete_route(destination)
    }

    /// Gives the client one more address on the LAN. It is used only by probes that name it as their source.
    pub fn add_source(&self, address: IpAddr) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.add_address_for_binding(ETH0, addresses::host_route(address));
        self.configure(batch)?;
        self.settle(&[], &[address])
    }
}

impl Deref for Client {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}
