//! `fairlead operator`: what runs once for a cluster.

pub mod lease;
