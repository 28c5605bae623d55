//! Network namespaces as nodes, pods and clients on a virtual LAN.
//!
//! A [`Lab`] is a small cluster network inside one process: packet tests and `fairlead sandbox` send real connections through it. Everything
//! in it is anonymous and held by file descriptors, so nothing is left behind when the process ends, however it ends. It talks to the kernel
//! itself and needs no `ip` program, and no root where user namespaces are allowed.
//!
//! ```text
//!                     LAN  172.30.0.0/24  fd00:172:30::/64
//!   ┌──────────────────── br0 .1 ::1 (a router that knows the LAN and the pods) ───┐
//!   │                  │                         │                        │        │
//!   │ eth0 .11 ::11    │ eth0 .12 ::12           │ eth0 .13 ::13          │ eth0 .100 ::100
//! ┌─┴── node-1 ──────┐ ┌┴──── node-2 ─────────┐ ┌┴───── node-3 ────────┐ ┌┴─ client ─┐
//! │ cni0 10.244.1.1  │ │ cni0 10.244.2.1      │ │ cni0 10.244.3.1      │ │           │
//! │ fd00:10:244:1::1 │ │ fd00:10:244:2::1     │ │ fd00:10:244:3::1     │ │ default   │
//! │   │        │     │ │   │                  │ │                      │ │ via node-1│
//! │ veth0102 veth0103│ │ veth0202             │ │                      │ └───────────┘
//! └───┼────────┼─────┘ └───┼──────────────────┘ └──────────────────────┘
//!   eth0 .2  eth0 .3     eth0 .2 ::2
//!   ┌─┴───┐  ┌─┴───┐     ┌─┴───┐       a pod has /32 and /128 addresses and reaches everything,
//!   │ pod │  │ pod │     │ pod │       its neighbours too, through the node's routing
//!   └─────┘  └─────┘     └─────┘
//! ```
//!
//! - Nodes forward, know each other's pod networks, and have a default route through `br0`, so that packets for service addresses are routed
//!   and meet the dataplane. `br0` has no route for service addresses: without a dataplane they are answered with "network unreachable".
//! - The client reaches each pod network through its node. [`Client::route`] sends any other prefix through a node of choice.
//! - Redirects, reverse path filters, duplicate address detection and the limits on ICMP errors are off: no answer depends on timing.
//! - [`Namespace::serve`] starts a workload that answers with its name and the client address it saw; a [`Probe`] asks one.
//!
//! Where to start reading: [`Lab`] builds the picture, [`Namespace`] is one box in it, [`in_namespace`] runs a test inside. [`Node`], [`Pod`] and
//! [`Client`] are namespaces with addresses, and can be used wherever a [`Namespace`] is asked for.
//!
//! ```no_run
//! use fairlead_lab::{Answer, Lab, Probe, Protocol};
//!
//! # fn main() -> Result<(), fairlead_lab::Error> {
//! fairlead_lab::enter_user_namespace()?;
//! let lab = Lab::new()?;
//! let pod = lab.node(2).add_pod("web-1")?;
//! let server = pod.listen(Protocol::Tcp, 8080)?;
//! let outcome = Probe::tcp((pod.addresses().v4, 8080)).send(lab.client());
//! assert_eq!(outcome.answer.server(), Some("web-1"));
//! # drop(server);
//! # Ok(())
//! # }
//! ```

mod addresses;
mod cable;
mod client;
mod connection;
mod error;
mod lab;
mod link;
mod load;
mod namespace;
mod neighbour;
mod netlink;
mod node;
mod opener;
pub mod outage;
mod pod;
mod probe;
mod process;
mod protocol;
mod server;
mod sys;
mod sysctl;
mod testing;
mod user_namespace;
mod wait;

pub use addresses::{Addresses, Cidrs, Family};
pub use client::Client;
pub use connection::Connection;
pub use error::Error;
pub use lab::Lab;
pub use load::{Failure, Load, Report, Tally};
pub use namespace::{LinkState, Namespace};
pub use neighbour::{Neighbour, NeighbourState};
pub use node::Node;
pub use opener::Opener;
pub use pod::Pod;
pub use probe::{Answer, Outcome, Probe};
pub use process::Process;
pub use protocol::Protocol;
pub use server::Server;
pub use testing::in_namespace;
#[doc(hidden)]
pub use testing::test_name_of;
pub use user_namespace::enter_user_namespace;
pub use wait::{wait_for, wait_for_every, wait_until};
