//! `fairlead cleanup`: removes what stays in the kernel when the agent, or the kube-proxy before it, is gone.
//!
//! ```text
//! fairlead cleanup               the table `inet fairlead`
//! fairlead cleanup --kube-proxy  kube-proxy's nftables tables; its iptables chains, of both back ends; its ipvs
//!                                virtual services, ip sets and dummy device
//! ```
//!
//! Each kind of leftover is one module: it observes, plans (for iptables with a pure function of the text of `iptables-save`),
//! and removes. Everything but iptables is done over netlink, so that no program need be installed; iptables rules are
//! taken apart by the programs that wrote them, since only they know both back ends' formats. What belongs to others, the
//! kubelet's chains among it, is not touched. Everything may be run again and again.
//!
//! [`detect`] only looks, for a warning when the agent starts: what kube-proxy left keeps intercepting connections.
//!
//! All of it blocks, for a second or so. The network namespace is that of the calling thread.

mod ipset;
mod iptables;
mod ipvs;
mod link;
mod netlink;
mod nftables;
mod program;

use std::error::Error;
use std::fmt;

use fairlead_dataplane::table::TABLE;

use crate::chain::Chain;

/// The flags of `fairlead cleanup`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CleanupFlags {
    /// Remove what kube-proxy left (nftables, iptables, ipvs) instead of our own table
    #[arg(long)]
    pub kube_proxy: bool,
}

/// What became of one thing. It prints as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was there and is gone.
    Removed(String),
    /// It stays on purpose.
    Kept(String),
    /// It could not be looked for.
    NotChecked(String),
    /// It should be gone and is not.
    Failed(String),
    /// Of all that was looked at, nothing was there.
    Nothing,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed(what) => write!(f, "removed {what}"),
            Self::Kept(what) => write!(f, "kept {what}"),
            Self::NotChecked(what) => write!(f, "not checked: {what}"),
            Self::Failed(what) => write!(f, "failed: {what}"),
            Self::Nothing => f.write_str("nothing to remove"),
        }
    }
}

/// Something remains.
#[derive(Debug, thiserror::Error)]
#[error("{} of the things to remove remain", remaining.len())]
pub struct CleanupError {
    /// One line for each.
    pub remaining: Vec<String>,
}

/// Removes what the flags name, and reports each thing as it goes. An error means that something which should be gone is
/// still there; everything that could be removed has been, all the same.
pub fn cleanup(flags: &CleanupFlags, report: &mut dyn FnMut(&Outcome)) -> Result<(), CleanupError> {
    let mut remaining = Vec::new();
    let mut was_something_there = false;
    let mut record = |outcome: Outcome| {
        was_something_there |= matches!(outcome, Outcome::Removed(_) | Outcome::Failed(_));
        report(&outcome);
        if let Outcome::Failed(what) = outcome {
            remaining.push(what);
        }
    };
    if flags.kube_proxy {
        remove_kube_proxy(&mut record);
    } else {
        remove_own(&mut record);
    }
    if !was_something_there {
        report(&Outcome::Nothing);
    }
    if remaining.is_empty() {
        Ok(())
    } else {
        Err(CleanupError { remaining })
    }
}

fn remove_own(record: &mut dyn FnMut(Outcome)) {
    nftables::remove(nftables::Family::Inet, TABLE, record);
    nftables::remove(nftables::Family::NETDEV, TABLE, record);
}

fn remove_kube_proxy(record: &mut dyn FnMut(Outcome)) {
    for family in [nftables::Family::Ip, nftables::Family::Ip6] {
        nftables::remove(family, KUBE_PROXY_TABLE, record);
    }
    // The sets and the device are what tells kube-proxy's virtual services from another program's, so they go last. A set
    // goes after the rules that look into it.
    let is_ipvs_mode = ipvs::is_kube_proxys();
    if is_ipvs_mode {
        ipvs::remove_services(record);
    }
    iptables::remove(record);
    ipset::remove(record);
    if is_ipvs_mode {
        link::remove(ipvs::DEVICE, record);
    }
}

/// kube-proxy's table, one in each of the families ip and ip6.
const KUBE_PROXY_TABLE: &str = "kube-proxy";

/// What kube-proxy left in this network namespace, one line for each kind; empty if nothing. What cannot be looked at is
/// left out.
pub fn detect() -> Vec<String> {
    let mut found = Vec::new();
    for family in [nftables::Family::Ip, nftables::Family::Ip6] {
        if nftables::exists(family, KUBE_PROXY_TABLE).unwrap_or(false) {
            found.push(format!("nftables table {family} {KUBE_PROXY_TABLE}"));
        }
    }
    iptables::detect(&mut found);
    if ipvs::is_kube_proxys() {
        found.push(format!("ipvs with device {} or ip sets KUBE-*", ipvs::DEVICE));
    }
    found
}

/// The outcome of a removal that should have found something.
fn outcome(what: String, result: Result<(), impl Error + 'static>) -> Outcome {
    match result {
        Ok(()) => Outcome::Removed(what),
        Err(err) => Outcome::Failed(format!("{what}: {}", Chain(&err))),
    }
}
