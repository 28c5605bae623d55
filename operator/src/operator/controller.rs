//! The leader's work: what Services ask for becomes load balancers.

pub mod queue;
pub mod scope;
