//! `fairlead operator`: what runs once for a cluster.
//!
//! Every replica serves its [probes and metrics](server), and takes part in the election by a [lease]; the leader does
//! the work, and keeps the [key of heartbeats](heartbeat_key). [`flags`] configures it, and [`run`](mod@run) puts the parts together.

pub mod aws;
pub mod controller;
pub mod flags;
pub mod heartbeat_key;
pub mod lease;
pub mod metrics;
pub mod run;
pub mod server;
