use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::addresses::{self, Addresses};
use crate::lab::ETH0;
use crate::link::Link;
use crate::netlink::Batch;
use crate::node::{CNI0, Leases};
use crate::{Error, Namespace, Node, Protocol, Server};

/// The index of a pod's end in the node is this plus the last part of its IPv4 address. See the LAN's ports for why not equal to [`ETH0`].
const FIRST_PORT: u32 = 1000;

/// A pod: a namespace with `eth0` behind a node's `cni0`. Dropping it removes it from the node; its addresses are free again.
#[derive(Debug)]
pub struct Pod {
    namespace: Namespace,
    node: Namespace,
    addresses: Addresses,
    leases: Arc<Leases>,
}

impl Pod {
    /// Starts the pod. `addresses` are already taken from the node's leases; they are given back if it fails.
    pub(crate) fn new(node: &Node, name: &str, addresses: Addresses) -> Result<Self, Error> {
        let leases = Arc::clone(node.leases());
        let namespace = Namespace::new(name).inspect_err(|_| leases.give_back(addresses))?;
        // From here on, dropping it cleans up.
        let pod = Self {
            namespace,
            node: Namespace::clone(node),
            addresses,
            leases,
        };
        pod.plug(node)?;
        Ok(pod)
    }

    /// Its addresses.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The name of the node it runs on.
    pub fn node_name(&self) -> &str {
        self.node.name()
    }

    /// The name of the node's end of its link.
    pub fn host_interface(&self) -> String {
        let [_, _, node, number] = self.addresses.v4.octets();
        format!("veth{node:02x}{number:02x}")
    }

    /// Starts a workload with the pod's name, on both of its addresses.
    pub fn listen(&self, protocol: Protocol, port: u16) -> Result<Server, Error> {
        self.serve(
            self.name(),
            &self
                .addresses
                .both()
                .map(|address| (protocol, SocketAddr::new(address, port))),
        )
    }

    fn plug(&self, node: &Node) -> Result<(), Error> {
        let v4 = self.addresses.v4;
        let mut on_node = Batch::default();
        on_node.add_veth(
            &Link {
                name: &self.host_interface(),
                index: self.port(),
                mac: addresses::port_mac(v4),
            },
            Some(CNI0),
            &Link {
                name: "eth0",
                index: ETH0,
                mac: addresses::mac(v4),
            },
            self.namespace.handle(),
        );
        node.configure(on_node)?;

        let gateway = node.gateway();
        let mut on_pod = Batch::default();
        on_pod.set_link(ETH0, true);
        // Host prefixes: were its neighbours on the same network, a pod would answer them without the node, and the node could not turn
        // the addresses of a Service's answer back.
        for address in self.addresses.both() {
            on_pod.add_address(ETH0, addresses::host_route(address));
        }
        on_pod.add_address(ETH0, addresses::link_local(v4));
        for address in gateway.both() {
            on_pod.add_route(addresses::host_route(address), None, ETH0);
        }
        on_pod.add_default_routes(gateway, ETH0);
        self.namespace.configure(on_pod)?;

        node.settle(&[self.port(), CNI0], &[])?;
        self.namespace.settle(&[ETH0], &self.addresses.both())
    }

    fn port(&self) -> u32 {
        FIRST_PORT + u32::from(self.addresses.v4.octets()[3])
    }
}

impl Deref for Pod {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // The link goes at once and not when the kernel has cleaned the namespace up. It fails only if the pod never had a link.
        let mut batch = Batch::default();
        batch.delete_link(self.port());
        let _ = self.node.configure(batch);
        self.leases.give_back(self.addresses);
    }
}
