//! How the node that owns an address answers for it on the LAN: ARP, neighbour discovery, ICMP echo, and a watch for others that claim it.
//!
//! No interface has the address, so that the kernel answers for none: not on a node that lost it, and not on a link where it is not announced.
//!
//! ```text
//!  links (netlink) ─┐                    ┌─► replies, announcements, questions ─► packet sockets
//!  held addresses ──┼──►  Responder  ────┼─► multicast groups to join
//!  frames ──────────┘      (pure)        └─► events: somebody else claims an address; an address is free
//! ```
//!
//! The kernel sees the same packets and knows nothing of the addresses. It forwards an echo request or a unicast solicitation that was answered
//! here: it looks for the address on the LAN, and after three seconds tells the asker that there is none. If its neighbour table still has another
//! node for the address, which sends the packet back, one request has up to 32 replies before its hops run out. So the node needs a rule that
//! drops, in prerouting, echo requests and neighbour solicitations to the addresses; packet sockets come before it. Echo requests in several
//! fragments are not answered.
//!
//! [`Responder`] decides; start reading there. Time is an argument, and frames come in and go out as bytes. [`Announcer`] runs it on a thread.

mod announcer;
mod arp;
mod counters;
mod echo;
mod ip;
mod link;
mod link_monitor;
mod membership;
mod ndp;
mod packet_socket;
mod probe;
mod responder;
mod router;
pub(crate) mod rtnetlink;
mod schedule;
mod sys;
mod timing;
mod wire;

pub use announcer::{Announcer, StartError};
pub use counters::{Counters, DropReason};
pub use link::{Interfaces, Link, Reach, Scope};
pub use probe::ProbeResult;
pub use responder::{Channel, Event, Holding, Outgoing, Responder, Verdict};
pub use timing::Timing;
pub use wire::Mac;
