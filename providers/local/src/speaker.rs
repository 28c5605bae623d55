//! A node's voice: the thread that decides with those of the other nodes which addresses are its, and answers for them.
//!
//! ```text
//!  Plan (who takes part, which addresses there are) ─┐
//!  heartbeats (UDP) ─────────────────────────────────┼─► ownership::Agent ─► addresses that are its ─► Announcer
//!  links, other claims on the network ───────────────┘                    └─► reports
//! ```
//!
//! Each address is a group of its own in the words of [`ownership`](crate::ownership): the IPv4 and the IPv6 address of a Service may be on
//! different nodes, since a link may reach only one of them.
//!
//! The protocol takes a thread that sleeps for longer than [`Config::pause`](crate::ownership::Config::pause) for a paused one. So the thread
//! does nothing that waits, and what it has to tell goes to a function that must not wait either.

mod neighbours;
mod plan;
mod sockets;
mod thread;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::announcement::{self, Announcer, Counters, Link, Responder, StartError, Timing};
use crate::ownership::{GroupId, NodeId, OwnReason, YieldReason};
use thread::Speaking;

pub use plan::{Heartbeats, MEMBERS, Plan, Post};

/// Before an address is announced for the first time, it is asked for so often and so far apart that a first answer takes no longer than
/// people notice. RFC 5227 waits seconds; every host that answers at all does so in milliseconds.
const PROBES: u8 = 3;
const PROBE_SPACING: Duration = Duration::from_millis(30);

/// What a speaker tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The node answers for an address from now on.
    Owns {
        /// The address.
        address: IpAddr,
        /// How often it has changed hands.
        epoch: u64,
        /// Why.
        why: OwnReason,
        /// How long ago the last sign of life of a dead owner was.
        silence: Option<Duration>,
    },
    /// The node does not answer for it any more.
    Yields {
        /// The address.
        address: IpAddr,
        /// Why.
        why: YieldReason,
    },
    /// The links that lead outside of the node and carry packets, now.
    Links(Vec<Link>),
    /// A node is heard no more.
    PeerSilent(NodeId),
    /// A node is heard.
    PeerHeard(NodeId),
    /// This process did not run for so long.
    Paused(Duration),
    /// Two nodes answered for an address, and this one gives it up.
    Split {
        /// The address.
        address: IpAddr,
        /// Who keeps it.
        winner: NodeId,
    },
    /// Somebody else on the network answers for an address.
    Conflict {
        /// The address.
        address: IpAddr,
        /// Who, as a MAC address.
        mac: String,
        /// Whether that is a node of the cluster.
        is_peer: bool,
        /// Whether this node has the address, and leaves it to the other one: it was there first.
        is_silent: bool,
    },
    /// Nobody else has an address of this node's, as far as was asked.
    Free {
        /// The address.
        address: IpAddr,
    },
}

/// What a speaker starts with.
#[derive(Debug, Clone)]
pub struct Start {
    /// The node's name.
    pub node: String,
    /// A number that grows with each start on this node.
    pub incarnation: u64,
    /// The first one signs heartbeats; all of them are accepted.
    pub keys: Vec<Vec<u8>>,
    /// The addresses that were the node's when its last process ended, with their epochs.
    pub resume: Vec<(IpAddr, u64)>,
    /// The first plan.
    pub plan: Plan,
}

/// Speaks until it is dropped.
#[derive(Debug)]
pub struct Speaker {
    shared: Arc<Shared>,
    announcer: Arc<Announcer>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Input {
    Plan(Box<Plan>),
    Keys(Vec<Vec<u8>>),
    ApiReachable(bool),
    Claim { address: IpAddr, epoch: u64, node: NodeId },
    Leave,
    Heard(announcement::Event),
}

#[derive(Debug)]
struct Shared {
    inbox: Mutex<Vec<Input>>,
    /// Wakes the thread.
    wake: OwnedFd,
    is_stopped: AtomicBool,
}

impl Speaker {
    /// Starts to speak in the network namespace of the calling thread. `tell` is called on the speaker's thread and must not wait.
    pub fn start(start: Start, tell: impl FnMut(Report) + Send + 'static) -> Result<Self, StartError> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| StartError::Thread(errno.into()))?;
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            wake,
            is_stopped: AtomicBool::new(false),
        });
        let timing = Timing {
            probes: PROBES,
            probe_spacing: PROBE_SPACING,
            ..Timing::default()
        };
        let heard = Arc::clone(&shared);
        let announcer = Arc::new(Announcer::start(Responder::new(timing), move |event| {
            heard.put(Input::Heard(event));
        })?);
        let speaking = Speaking::new(start, Arc::clone(&announcer), Arc::clone(&shared), Box::new(tell));
        let thread = std::thread::Builder::new()
            .name("speaker".to_owned())
            .spawn(move || speaking.run())
            .map_err(StartError::Thread)?;
        Ok(Self {
            shared,
            announcer,
            thread: Some(thread),
        })
    }

    /// This is to be done from now on.
    pub fn set_plan(&self, plan: Plan) {
        self.shared.put(Input::Plan(Box::new(plan)));
    }

    /// From now on the first key signs, and all of them are accepted.
    pub fn set_keys(&self, keys: Vec<Vec<u8>>) {
        self.shared.put(Input::Keys(keys));
    }

    /// Whether the API server answers this node.
    pub fn set_api_reachable(&self, is_reachable: bool) {
        self.shared.put(Input::ApiReachable(is_reachable));
    }

    /// A node has told the API server that an address is its.
    pub fn api_claim(&self, address: IpAddr, epoch: u64, node: &str) {
        let node = NodeId::of(node);
        self.shared.put(Input::Claim { address, epoch, node });
    }

    /// The numbers of each link, by its name.
    pub fn counters(&self) -> BTreeMap<String, Counters> {
        self.announcer.look(|responder| {
            let counters = |link: &Link| Some((link.name.clone(), responder.counters().get(&link.index)?.clone()));
            responder.links().filter_map(counters).collect()
        })
    }

    /// Hands everything over to other nodes, as far as there are any that can take it. Each address is reported.
    pub fn leave(&self) {
        self.shared.put(Input::Leave);
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn put(&self, input: Input) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(input);
        self.wake();
    }

    fn take(&self) -> Vec<Input> {
        std::mem::take(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wake(&self) {
        // Full means that it is awake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// The group of an address: the address itself, IPv4 as it is written into IPv6.
fn group_of(address: IpAddr) -> GroupId {
    GroupId(match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    })
}

fn address_of(group: GroupId) -> IpAddr {
    Ipv6Addr::from(group.0).to_canonical()
}
