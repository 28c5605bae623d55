use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::Protocol;

/// Why the lab could not do what it was asked to do.
///
/// What a packet met on its way is never an error: that is an [`Answer`](crate::Answer).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel does not let this process make network namespaces. Tests skip on it, a program tells its user.
    #[error("network namespaces are unavailable: {reason}")]
    Unavailable {
        /// What was refused, and which setting is known to refuse it.
        reason: String,
    },
    /// A network namespace could not be made.
    #[error("cannot make network namespace `{namespace}`")]
    Make {
        /// The name it would have had.
        namespace: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A setting under `/proc/sys/net` could not be written.
    #[error("cannot set `{key}` to `{value}` in `{namespace}`")]
    Sysctl {
        /// Where.
        namespace: String,
        /// The path below `/proc/sys/net`.
        key: String,
        /// What should have been written.
        value: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a change of links, addresses or routes.
    #[error("cannot {action} in `{namespace}`")]
    Netlink {
        /// Where.
        namespace: String,
        /// What was tried.
        action: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The lab has no room for so many nodes, pods or clients.
    #[error("cannot add {what}: the lab's address plan has no room for it")]
    Full {
        /// What was to be added.
        what: String,
    },
    /// A pod address is outside the node's pod networks, or reserved, or in use.
    #[error("cannot give pod `{pod}` the address {address}: it is not a free address of the node's pod networks")]
    Address {
        /// The pod that asked for it.
        pod: String,
        /// The address.
        address: IpAddr,
    },
    /// A workload's socket could not be opened.
    #[error("cannot listen on {address} ({protocol}) in `{namespace}`")]
    Listen {
        /// Where.
        namespace: String,
        /// The address.
        address: SocketAddr,
        /// The protocol.
        protocol: Protocol,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// This kernel does not speak the protocol.
    #[error("the kernel does not support {protocol}")]
    Unsupported {
        /// The protocol.
        protocol: Protocol,
    },
    /// A thread or a process could not be started, or not be waited for.
    #[error("cannot {action} in `{namespace}`")]
    Process {
        /// Where.
        namespace: String,
        /// What was tried.
        action: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A condition did not become true in time.
    #[error("waited {waited:?} in vain for: {what}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
}
