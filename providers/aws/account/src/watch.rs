//! Who hears of every call.

use std::fmt;
use std::time::Duration;

/// One call of the API, after it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// What was called.
    pub operation: Operation,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it was held back, so that AWS would not be called too often.
    pub held: Duration,
    /// How long AWS took.
    pub took: Duration,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// There were too many calls.
    Throttled,
    /// There was no answer, or AWS had a fault of its own.
    Failed,
    /// AWS does not do it.
    Refused,
}

impl Outcome {
    /// One word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// Hears of every call, also of each that is made again.
pub trait Watch: Send + Sync {
    /// There was a call.
    fn called(&self, call: Call);
}

/// Nobody hears of it.
impl Watch for () {
    fn called(&self, _call: Call) {}
}

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Elastic Load Balancing v2
    LoadBalancing,
    /// EC2
    Ec2,
}

impl Service {
    /// As in policies of IAM.
    pub const fn word(self) -> &'static str {
        match self {
            Self::LoadBalancing => "elasticloadbalancing",
            Self::Ec2 => "ec2",
        }
    }
}

/// What can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation {
    /// Whose it is.
    pub service: Service,
    /// Its name.
    pub name: &'static str,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service.word(), self.name)
    }
}
