//! `fairlead operator`: what runs once for a cluster.
//!
//! Every replica serves its [probes and metrics](server), and takes part in the election by a [lease]; the leader does
//! the work. [`flags`] configures it, and [`run`](mod@run) puts the parts together.

pub mod controller;
pub mod flags;
pub mod lease;
pub mod metrics;
pub mod run;
pub mod server;
