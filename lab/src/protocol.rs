use std::fmt;
use std::net::SocketAddr;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

/// A transport protocol that workloads and probes speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP, in its one-to-one style. Many kernels have it as a module or not at all: see [`Protocol::is_supported`].
    Sctp,
}

impl Protocol {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Whether this kernel can open sockets of this protocol.
    pub fn is_supported(self) -> bool {
        self.open(AddressFamily::INET).is_ok()
    }

    /// A non-blocking socket in the calling thread's namespace, of the family of `address`.
    pub(crate) fn socket_for(self, address: SocketAddr) -> Result<OwnedFd, Errno> {
        self.open(match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        })
    }

    /// Whether a client connects, and the answer comes without being asked for.
    pub(crate) fn greets(self) -> bool {
        self != Self::Udp
    }

    fn open(self, family: AddressFamily) -> Result<OwnedFd, Errno> {
        let (kind, protocol) = match self {
            Self::Tcp => (SocketType::STREAM, ipproto::TCP),
            Self::Udp => (SocketType::DGRAM, ipproto::UDP),
            Self::Sctp => (SocketType::STREAM, ipproto::SCTP),
        };
        socket_with(
            family,
            kind,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(protocol),
        )
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}
