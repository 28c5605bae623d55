//! `fairlead agent`: what runs on each node.
//!
//! [`flags`] configures it and [`run`] is its loop. The dataplane itself is the crate `fairlead-dataplane`. Around it:
//!
//! ```text
//!                    ┌─► health ──────┬─► server (healthz, metrics, probes)
//! sync loop ─────────┼─► metrics ─────┘        ▲
//! (source, dataplane)└─► health_check_node_port ──► load balancers
//! at start: sysctl
//! ```
//!
//! [`health`] is the state behind `/healthz` and `/livez`, [`metrics`] what `/metrics` shows, [`server`] the HTTP
//! servers, [`listen`] how every HTTP server of the agent listens and bounds its clients, [`health_check_node_port`] the
//! servers that external load balancers ask, [`sysctl`] the conntrack settings, [`replace`] what becomes of a kube-proxy's
//! rules, [`go_duration`] durations of flags.

pub mod conntrack;
pub mod flags;
pub mod go_duration;
pub mod health;
pub mod health_check_node_port;
pub mod listen;
pub mod metrics;
pub mod replace;
pub mod run;
pub mod server;
pub mod sysctl;
pub mod tally;
