//! The servers that tell external load balancers which nodes have endpoints of a Service (`healthCheckNodePort`, for
//! Services of type `LoadBalancer` with `externalTrafficPolicy: Local`).
//!
//! ```text
//! desired + addresses ─► plan ─► steps ─► HealthCheckServers::sync ─► failures ─► publish
//!               observed ─┘
//! ```
//!
//! The sync loop calls [`HealthCheckServers::sync`] after each sync of the rules that succeeded, so that no load balancer is
//! sent to endpoints that the kernel does not know. What could not be opened is tried again at the next call.

mod answer;
mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fairlead_model::{HealthCheckNodePort, ServiceName};
use tokio::task::JoinHandle;

pub use self::event::{publish, recorder};
use super::health::SharedHealth;
use crate::http::listen::{listen, serve};

/// What a load balancer is to be told of one Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCheck {
    /// The Service's `healthCheckNodePort`.
    pub port: HealthCheckNodePort,
    /// Distinct addresses of ready endpoints on this node, over all ports of the Service; of the family that has more.
    pub local_ready_endpoints: usize,
}

/// The node's addresses that the servers listen on: those that accept node ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddresses {
    /// Every address of both families.
    All,
    /// These.
    Only(BTreeSet<IpAddr>),
}

impl ListenAddresses {
    fn iter(&self) -> impl Iterator<Item = IpAddr> {
        // A wildcard of one family listens on both, see `listen`.
        let all = matches!(self, Self::All).then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let these = match self {
            Self::All => None,
            Self::Only(addresses) => Some(addresses.iter().copied()),
        };
        all.into_iter().chain(these.into_iter().flatten())
    }
}

/// One listening socket of one Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// The Service it answers for.
    pub service: ServiceName,
    /// Where it listens; the wildcard of IPv6 means both families.
    pub address: SocketAddr,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "health check of {} on {}", self.service, self.address)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Stop answering.
    Close(Socket),
    /// Answer with another number of endpoints.
    Update(Socket, usize),
    /// Begin to answer, with this number of endpoints.
    Open(Socket, usize),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(socket) => write!(f, "- {socket}"),
            Self::Update(socket, endpoints) => write!(f, "~ {socket}: {endpoints} local endpoints"),
            Self::Open(socket, endpoints) => write!(f, "+ {socket}: {endpoints} local endpoints"),
        }
    }
}

/// The steps from what listens to what should. Sockets close before others open, since a port may pass from one Service to
/// another.
pub fn plan(
    desired: &BTreeMap<ServiceName, HealthCheck>,
    addresses: &ListenAddresses,
    observed: &BTreeMap<Socket, usize>,
) -> Vec<Step> {
    let wanted: BTreeMap<Socket, usize> = desired
        .iter()
        .flat_map(|(service, check)| {
            addresses.iter().map(move |ip| {
                let address = SocketAddr::new(ip, check.port.0);
                (
                    Socket {
                        service: service.clone(),
                        address,
                    },
                    check.local_ready_endpoints,
                )
            })
        })
        .collect();
    let closing = observed
        .keys()
        .filter(|socket| !wanted.contains_key(socket))
        .cloned()
        .map(Step::Close);
    let updating = wanted
        .iter()
        .filter_map(|(socket, &endpoints)| match observed.get(socket) {
            Some(&shown) if shown != endpoints => Some(Step::Update(socket.clone(), endpoints)),
            _ => None,
        });
    let opening = wanted
        .iter()
        .filter(|(socket, _)| !observed.contains_key(socket))
        .map(|(socket, &endpoints)| Step::Open(socket.clone(), endpoints));
    closing.chain(updating).chain(opening).collect()
}

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {socket}")]
pub struct ListenFailure {
    /// What was tried.
    pub socket: Socket,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl ListenFailure {
    /// The event's and metric's word for it.
    pub fn reason(&self) -> &'static str {
        "FailedToStartServiceHealthcheck"
    }
}

#[derive(Debug)]
struct Server {
    endpoints: Arc<AtomicUsize>,
    task: JoinHandle<Infallible>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The servers. Dropping it closes them all.
#[derive(Debug)]
pub struct HealthCheckServers {
    health: SharedHealth,
    servers: BTreeMap<Socket, Server>,
    /// What fails since an earlier call, and with which text.
    failing: BTreeMap<Socket, String>,
}

impl HealthCheckServers {
    /// No servers yet. All of them will answer that the proxy is healthy while `health` is, in the sense of `/livez`: a
    /// node on its way out serves its endpoints to the end.
    pub fn new(health: SharedHealth) -> Self {
        Self {
            health,
            servers: BTreeMap::new(),
            failing: BTreeMap::new(),
        }
    }

    /// What listens, and the number of endpoints it tells. A server whose task ended is not among them.
    pub fn observe(&self) -> BTreeMap<Socket, usize> {
        let running = self.servers.iter().filter(|(_, server)| !server.task.is_finished());
        running
            .map(|(socket, server)| (socket.clone(), server.endpoints.load(Ordering::Relaxed)))
            .collect()
    }

    /// Makes the servers as desired. Returns the sockets that could not be opened, except those that failed in the same way
    /// at the call before.
    pub async fn sync(
        &mut self,
        desired: &BTreeMap<ServiceName, HealthCheck>,
        addresses: &ListenAddresses,
    ) -> Vec<ListenFailure> {
        let mut failures = Vec::new();
        let mut failing = BTreeMap::new();
        for step in plan(desired, addresses, &self.observe()) {
            match self.perform(&step).await {
                Ok(()) => match &step {
                    Step::Update(..) => tracing::debug!(%step, "performed"),
                    Step::Close(_) | Step::Open(..) => tracing::info!(%step, "performed"),
                },
                Err(failure) => {
                    let text = failure.source.to_string();
                    let is_known = self.failing.get(&failure.socket) == Some(&text);
                    failing.insert(failure.socket.clone(), text);
                    if !is_known {
                        failures.push(failure);
                    }
                }
            }
        }
        self.failing = failing;
        failures
    }

    async fn perform(&mut self, step: &Step) -> Result<(), ListenFailure> {
        match step {
            Step::Close(socket) => {
                if let Some(mut server) = self.servers.remove(socket) {
                    server.task.abort();
                    // The socket is closed when the task is gone, not before; its port may be wanted by the next step.
                    let _ = (&mut server.task).await;
                }
            }
            Step::Update(socket, endpoints) => {
                if let Some(server) = self.servers.get(socket) {
                    server.endpoints.store(*endpoints, Ordering::Relaxed);
                }
            }
            Step::Open(socket, endpoints) => {
                let listener = listen(socket.address).map_err(|source| ListenFailure {
                    socket: socket.clone(),
                    source,
                })?;
                let endpoints = Arc::new(AtomicUsize::new(*endpoints));
                let router = answer::router(socket.service.clone(), Arc::clone(&endpoints), self.health.clone());
                let task = tokio::spawn(serve(listener, router));
                self.servers.insert(socket.clone(), Server { endpoints, task });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
