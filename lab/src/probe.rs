use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::connection::{Connection, Socket};
use crate::load::{Load, Tally};
use crate::{Namespace, Protocol};

/// Long enough for a first packet that is lost and sent again, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(3);

/// A question to a workload: where it goes, and how long the answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Whom it asks.
    pub target: SocketAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// The address and port it is sent from; a port of 0 is any. Without it, the kernel chooses.
    pub source: Option<SocketAddr>,
    /// How long it waits.
    pub timeout: Duration,
}

/// What came back, seen by the client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// A workload answered.
    Reply {
        /// Its name.
        server: String,
        /// The client address and port that it saw.
        client: SocketAddr,
    },
    /// A reset, or an ICMP error "port unreachable".
    Refused,
    /// Nothing came.
    TimedOut,
    /// Another error of the network or of this host: no route, a prohibition, a source address that is not here.
    Unreachable(io::ErrorKind),
    /// The connection stood, and broke before the answer was there.
    Lost(io::ErrorKind),
}

/// An answer and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What came back.
    pub answer: Answer,
    /// From the first packet to the answer, the timeout if there was none.
    pub took: Duration,
}

impl Probe {
    /// A probe from any source that waits three seconds.
    pub fn new(protocol: Protocol, target: impl Into<SocketAddr>) -> Self {
        Self {
            target: target.into(),
            protocol,
            source: None,
            timeout: PATIENCE,
        }
    }

    /// A TCP connection.
    pub fn tcp(target: impl Into<SocketAddr>) -> Self {
        Self::new(Protocol::Tcp, target)
    }

    /// A UDP datagram.
    pub fn udp(target: impl Into<SocketAddr>) -> Self {
        Self::new(Protocol::Udp, target)
    }

    /// An SCTP association.
    pub fn sctp(target: impl Into<SocketAddr>) -> Self {
        Self::new(Protocol::Sctp, target)
    }

    /// The same probe from this address, and from any port of it.
    #[must_use]
    pub fn from_address(self, source: IpAddr) -> Self {
        self.from_socket(SocketAddr::new(source, 0))
    }

    /// The same probe from this address and port. Its connection ends with a reset, so that the port is free at once.
    #[must_use]
    pub fn from_socket(self, source: SocketAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// The same probe that waits this long.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Asks once, from inside `namespace`, over a new connection that is closed afterwards.
    pub fn send(&self, namespace: &Namespace) -> Outcome {
        namespace.run(|| self.send_here())
    }

    /// Asks `count` times, one after the other.
    pub fn burst(&self, namespace: &Namespace, count: usize) -> Tally {
        namespace.run(|| {
            let mut tally = Tally::default();
            for _ in 0..count {
                tally.add(&self.send_here());
            }
            tally
        })
    }

    /// Asks again and again in the background, with `pause` between an answer and the next question.
    pub fn load(&self, namespace: &Namespace, pause: Duration) -> Load {
        Load::start(*self, namespace, pause)
    }

    /// Opens a connection that stays open, and takes the greeting. The error is the answer, which is not a reply.
    ///
    /// Over UDP it is a socket that keeps its source port, and nothing is sent yet.
    pub fn open(&self, namespace: &Namespace) -> Result<Connection, Answer> {
        namespace.run(|| Connection::open(*self))
    }

    /// [`Probe::send`] from the calling thread's namespace.
    pub(crate) fn send_here(&self) -> Outcome {
        let started = Instant::now();
        let deadline = started + self.timeout;
        let answer = Socket::open(self, deadline).and_then(|mut socket| socket.ask(deadline));
        Outcome {
            answer: answer.unwrap_or_else(|failure| failure),
            took: started.elapsed(),
        }
    }
}

impl Answer {
    /// The name of the workload that replied.
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::Reply { server, .. } => Some(server),
            _ => None,
        }
    }

    /// The client address that the workload saw.
    pub fn client(&self) -> Option<IpAddr> {
        match self {
            Self::Reply { client, .. } => Some(client.ip()),
            _ => None,
        }
    }

    /// Whether a workload replied.
    pub fn is_reply(&self) -> bool {
        matches!(self, Self::Reply { .. })
    }
}
