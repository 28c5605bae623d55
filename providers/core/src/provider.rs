use std::fmt;

use crate::ProviderError;

/// A provider of load balancers.
///
/// What it makes carries its mark, so that it can be found again without anything remembered; what does not carry it is never
/// touched. A key is *desired*, *observed*, or both: [`plan`](Self::plan) is asked for the union.
pub trait Provider: Send + Sync {
    /// Which load balancer.
    type Key: Clone + Ord + fmt::Display + Send + Sync;
    /// A load balancer as it shall be.
    type Desired: Send + Sync;
    /// What there is of one, as far as it carries our mark.
    type Observed: Send + Sync;
    /// One thing to do. It shows itself as one line.
    type Step: fmt::Display + Send + Sync;

    /// Looks what there is.
    fn observe(&self, key: &Self::Key) -> impl Future<Output = Result<Self::Observed, ProviderError>> + Send;

    /// What to do next, so that what there is becomes what shall be; nothing is desired of one that shall go.
    ///
    /// Pure. The steps are in the order in which they are to be done, and each is right whether the one after it follows or not. It
    /// may stop short where the rest depends on what a step brings: it is asked again after the steps.
    fn plan(
        &self,
        desired: Option<&Self::Desired>,
        observed: &Self::Observed,
    ) -> Result<Plan<Self::Step>, ProviderError>;

    /// Does one step. Doing it again does no harm.
    fn perform(&self, step: &Self::Step) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// True if nothing of it is left. Only an observation says so.
    fn is_gone(observed: &Self::Observed) -> bool;
}

/// What to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<S>(Vec<S>);

impl<S> Plan<S> {
    /// Nothing to do.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The steps.
    pub fn steps(&self) -> &[S] {
        &self.0
    }
}

impl<S> FromIterator<S> for Plan<S> {
    fn from_iter<I: IntoIterator<Item = S>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

impl<S: fmt::Display> fmt::Display for Plan<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to do");
        }
        for (number, step) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            step.fmt(f)?;
        }
        Ok(())
    }
}
