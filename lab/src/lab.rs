use std::sync::atomic::{AtomicU8, Ordering};

use crate::addresses::{self, Addresses, CLIENTS, Cidrs, NODES};
use crate::link::Link;
use crate::netlink::Batch;
use crate::sysctl::Role;
use crate::{Client, Error, Namespace, Node};

/// The LAN's bridge, in the LAN's namespace.
const BRIDGE: u32 = 100;
const BRIDGE_NAME: &str = "br0";
/// Index of the bridge port for the LAN host `n` is this plus `n`. Never the index of the other end: to the kernel that is a link to itself,
/// whose carrier it may notice a second late.
const FIRST_PORT: u32 = 1000;
/// The interface of nodes, clients and pods.
pub(crate) const ETH0: u32 = 101;
const ETH0_NAME: &str = "eth0";
/// As in a data centre, the LAN's router has the first address.
const ROUTER: u8 = 1;
/// Nodes come after this host number.
const BEFORE_NODES: u8 = 10;

/// Nodes and clients on a LAN: see the picture at the top of this crate.
///
/// When it is dropped, everything in it is gone, except for what is still held: clones of its namespaces, and pods.
#[derive(Debug)]
pub struct Lab {
    lan: Lan,
    nodes: Vec<Node>,
    client: Client,
    next_client: AtomicU8,
}

/// The LAN's bridge and router.
#[derive(Debug)]
pub(crate) struct Lan {
    namespace: Namespace,
}

impl Lab {
    /// A lab with three nodes.
    pub fn new() -> Result<Self, Error> {
        Self::with_nodes(3)
    }

    /// A lab with this many nodes, at most 89.
    pub fn with_nodes(count: u8) -> Result<Self, Error> {
        if count > *NODES.end() {
            return Err(Error::Full {
                what: format!("{count} nodes"),
            });
        }
        let lan = Lan::new(count)?;
        let nodes = (1..=count)
            .map(|number| Node::new(&lan, number, count))
            .collect::<Result<Vec<_>, _>>()?;
        let client = Client::new(&lan, "client", *CLIENTS.start(), &nodes)?;
        Ok(Self {
            lan,
            nodes,
            client,
            next_client: AtomicU8::new(CLIENTS.start() + 1),
        })
    }

    /// Node `number`; the first is 1, as in its name.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn node(&self, number: u8) -> &Node {
        let node = usize::from(number)
            .checked_sub(1)
            .and_then(|index| self.nodes.get(index));
        node.unwrap_or_else(|| panic!("the lab has nodes 1 to {}, not {number}", self.nodes.len()))
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The client outside the cluster.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// One more client outside the cluster, with the next address from `.101` on.
    ///
    /// Its name is also that of its port on the LAN's bridge, which the kernel limits to 15 bytes.
    pub fn add_client(&self, name: &str) -> Result<Client, Error> {
        let number = self.next_client.fetch_add(1, Ordering::Relaxed);
        if !CLIENTS.contains(&number) {
            self.next_client.store(CLIENTS.end() + 1, Ordering::Relaxed);
            return Err(Error::Full {
                what: format!("client `{name}`"),
            });
        }
        Client::new(&self.lan, name, number, &self.nodes)
    }

    /// The LAN's namespace. Its bridge ports are called as the hosts behind them: `set_link("node-2", Down)` pulls a cable.
    pub fn lan(&self) -> &Namespace {
        &self.lan.namespace
    }

    /// The networks of the LAN.
    pub fn lan_cidrs() -> Cidrs {
        addresses::lan()
    }
}

impl Lan {
    fn new(nodes: u8) -> Result<Self, Error> {
        let namespace = Namespace::with_role("lan", Role::Router)?;
        let router = Self::router();
        let mut batch = Batch::default();
        batch.add_bridge(&Link {
            name: BRIDGE_NAME,
            index: BRIDGE,
            mac: addresses::mac(router.v4),
        });
        for address in addresses::lan().assign(router) {
            batch.add_address(BRIDGE, address);
        }
        batch.add_address(BRIDGE, addresses::link_local(router.v4));
        for node in 1..=nodes {
            batch.add_routes_to_pods(node, BRIDGE);
        }
        namespace.configure(batch)?;
        namespace.settle(&[], &router.both())?;
        Ok(Self { namespace })
    }

    pub(crate) fn router() -> Addresses {
        addresses::lan().host(ROUTER)
    }

    /// Plugs a namespace into the LAN as host `number`: `eth0` with its addresses. What else `batch` holds follows in the same step.
    pub(crate) fn plug(
        &self,
        host: &Namespace,
        number: u8,
        batch: impl FnOnce(&mut Batch),
    ) -> Result<Addresses, Error> {
        let own = addresses::lan().host(number);
        let port = FIRST_PORT + u32::from(number);
        let mut on_lan = Batch::default();
        on_lan.add_veth(
            &Link {
                name: host.name(),
                index: port,
                mac: addresses::port_mac(own.v4),
            },
            Some(BRIDGE),
            &Link {
                name: ETH0_NAME,
                index: ETH0,
                mac: addresses::mac(own.v4),
            },
            host.handle(),
        );
        self.namespace.configure(on_lan)?;

        let mut on_host = Batch::default();
        on_host.set_link(ETH0, true);
        for address in addresses::lan().assign(own) {
            on_host.add_address(ETH0, address);
        }
        on_host.add_address(ETH0, addresses::link_local(own.v4));
        batch(&mut on_host);
        host.configure(on_host)?;

        self.namespace.settle(&[port, BRIDGE], &[])?;
        host.settle(&[ETH0], &own.both())?;
        Ok(own)
    }
}

impl Batch {
    /// Routes the pod networks of node `number` to it.
    pub(crate) fn add_routes_to_pods(&mut self, number: u8, interface: u32) {
        let node = addresses::node(number);
        self.add_route(addresses::pods_of(number).v4.into(), Some(node.v4.into()), interface);
        self.add_route(addresses::pods_of(number).v6.into(), Some(node.v6.into()), interface);
    }

    /// Routes everything else to `gateway`.
    pub(crate) fn add_default_routes(&mut self, gateway: Addresses, interface: u32) {
        self.add_route(addresses::everywhere().v4.into(), Some(gateway.v4.into()), interface);
        self.add_route(addresses::everywhere().v6.into(), Some(gateway.v6.into()), interface);
    }
}

/// The LAN host number of node `number`.
pub(crate) fn host_number(number: u8) -> u8 {
    BEFORE_NODES + number
}
