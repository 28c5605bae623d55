//! What can go wrong between us and the kernel.

use std::io;

/// A failed exchange with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call failed.
    #[error("cannot {action}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a request. If that was part of a transaction, nothing of it was carried out.
    #[error(
        "the kernel refused to {operation}{}{}",
        explanation.as_ref().map(|text| format!(" ({text})")).unwrap_or_default(),
        if *others == 0 { String::new() } else { format!(" and {others} more operations") }
    )]
    Refused {
        /// The request, or the first refused operation of the transaction.
        operation: String,
        /// What the kernel said about it, beyond the code.
        explanation: Option<String>,
        /// How many more operations were refused.
        others: usize,
        /// The kernel's code.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the table's flags: it does not know them, or the table exists with others.
    #[error("the kernel refused the flags of our table")]
    FlagsRefused {
        /// The kernel's code.
        #[source]
        source: io::Error,
    },
    /// The process lacks `CAP_NET_ADMIN` in the network namespace.
    #[error("not permitted to change nf_tables: CAP_NET_ADMIN is missing")]
    NotPermitted,
    /// Another process owns the table, so that only it can change it.
    #[error("another process owns the table `{table}`")]
    OwnedByAnother {
        /// Family and name.
        table: String,
        /// The netlink port of its owner, if the kernel tells.
        port_id: Option<u32>,
    },
    /// Somebody changed `nf_tables` since the generation that the transaction expects. Nothing was carried out.
    #[error("nf_tables changed since generation {expected}")]
    StaleGeneration {
        /// The generation that was expected.
        expected: u32,
    },
    /// The answers were lost: the transaction was carried out wholly or not at all, and only reading tells which.
    #[error("the kernel's answer was lost, so the outcome is unknown")]
    OutcomeUnknown,
    /// A message does not fit: an attribute of more than 64 KiB, or a transaction of more than the socket may send.
    #[error("{what} is too large to send")]
    TooLarge {
        /// What does not fit.
        what: &'static str,
    },
    /// The kernel gave no answer in time.
    #[error("no answer from the kernel while we {action}")]
    TimedOut {
        /// What was tried.
        action: &'static str,
    },
    /// `nf_tables` kept changing while we read it.
    #[error("nf_tables kept changing during {attempts} attempts to read it")]
    KeptChanging {
        /// How often we tried.
        attempts: u32,
    },
    /// A transaction changes ranges of a set that is neither in the kernel nor made by it.
    #[error("the form of set `{set}` is unknown")]
    UnknownSet {
        /// The set.
        set: String,
    },
}

impl NetlinkError {
    /// A fixed word for each variant, for metrics and events.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Socket { .. } => "SocketFailed",
            Self::Refused { .. } => "RefusedByKernel",
            Self::FlagsRefused { .. } => "TableFlagsRefused",
            Self::NotPermitted => "NotPermitted",
            Self::OwnedByAnother { .. } => "TableOwnedByAnother",
            Self::StaleGeneration { .. } => "StaleGeneration",
            Self::OutcomeUnknown => "OutcomeUnknown",
            Self::TooLarge { .. } => "TransactionTooLarge",
            Self::TimedOut { .. } => "KernelTimedOut",
            Self::KeptChanging { .. } => "KeptChanging",
            Self::UnknownSet { .. } => "UnknownSet",
        }
    }

    /// The kernel's code, if it refused.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}
