//! The account of AWS that load balancers are in, as whoever drives the plans sees it.
//!
//! An [`Account`] remembers. [`look`](Account::look) lists everything that bears the cluster's marks, for all Services together;
//! [`perform`](Account::perform) does one step and notes what came of it; [`read`](Account::read) shows the [`Snapshot`] that both
//! leave, without a call. So a Service that changes between two looks costs the calls that change it and no others:
//!
//! ```text
//!   at the start, and at each resync      look, vpc
//!   for each Service                      read → Observed → plan → perform …
//!   while a plan waits                    look_for, then the same again
//! ```
//!
//! Steps do no harm when they are done again, so that a memory which misses the last one before a fault is good enough to go on from.

mod note;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use fairlead_provider::ProviderError;

use crate::desired::{Target, Vpc};
use crate::plan::{Step, Wait};

pub use note::Made;
pub use snapshot::{Known, Snapshot};

/// Too many calls, and AWS has had enough.
pub const THROTTLED: &str = "Throttled";
/// AWS does not answer, or has a fault of its own.
pub const UNAVAILABLE: &str = "Unavailable";
/// AWS does not let us.
pub const ACCESS_DENIED: &str = "AccessDenied";
/// What a step is about is not there any more, or not yet.
pub const NOT_FOUND: &str = "NotFound";
/// Something else is to go first.
pub const IN_USE: &str = "InUse";
/// There is no room for more.
pub const LIMIT_REACHED: &str = "LimitReached";
/// AWS refuses what is asked for.
pub const REFUSED: &str = "Refused";

/// What others made and a Service uses, by ARN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// Load balancers.
    pub load_balancers: BTreeSet<String>,
    /// Target groups.
    pub target_groups: BTreeSet<String>,
}

impl Named {
    /// True if there is nothing.
    pub fn is_empty(&self) -> bool {
        self.load_balancers.is_empty() && self.target_groups.is_empty()
    }
}

/// An account of AWS, seen from one cluster and one VPC.
pub trait Account: Send + Sync {
    /// Lists everything again that bears the cluster's marks, and what is named. What was named before and is not any more is forgotten.
    ///
    /// What is done at the same time counts: the look may have come before it or after.
    fn look(&self, named: &Named) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Looks at what others made and is named now for the first time. Where there is no such thing, the snapshot has none.
    fn look_at(&self, named: &Named) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Looks whether what is waited for has come: one call for each kind of wait, for up to twenty load balancers or two hundred security
    /// groups.
    fn look_for(&self, waits: &[Wait]) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Shows what is known without a call. Before the first look, that is nothing.
    fn read<T>(&self, reader: impl FnOnce(&Snapshot) -> T) -> T;

    /// The VPC, as it is now.
    fn vpc(&self) -> impl Future<Output = Result<Vpc, ProviderError>> + Send;

    /// The security groups of the interfaces that targets have, by an instance's id or an address. What has no interface, as an address
    /// outside the VPC, is left out. A target that was asked for before costs no call.
    fn interface_groups(
        &self,
        targets: &BTreeSet<String>,
    ) -> impl Future<Output = Result<BTreeMap<String, Vec<String>>, ProviderError>> + Send;

    /// How targets of a target group are, by its ARN.
    fn health(
        &self,
        target_group: &str,
    ) -> impl Future<Output = Result<BTreeMap<Target, Health>, ProviderError>> + Send;

    /// Does one step and notes it. Of [`Step::RecordTargets`] it does nothing: that record is the cluster's.
    fn perform(&self, step: &Step) -> impl Future<Output = Result<(), ProviderError>> + Send;
}

/// How a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// In one word.
    pub state: HealthState,
    /// Why, in AWS' words, unless it is healthy.
    pub description: Option<String>,
}

/// How a target is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthState {
    /// Its checks succeed.
    Healthy,
    /// Its checks fail.
    Unhealthy,
    /// It is too early to know.
    Initial,
    /// No listener sends to it.
    Unused,
    /// It is going.
    Draining,
    /// AWS does not know.
    Unavailable,
}

#[cfg(test)]
mod tests;
