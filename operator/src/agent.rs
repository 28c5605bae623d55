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
//! [`health`] is the state behind `/healthz` and `/livez`, [`metrics`] what `/metrics` shows, [`server`] the pages
//! that are served, [`health_check_node_port`] the servers that external load balancers ask, [`sysctl`] the conntrack settings,
//! [`replace`] what becomes of a kube-proxy's rules. [`announce`] answers on the network for addresses of local providers.
//!
//! What the operator has as well is not here: [`http`](crate::http) is how servers listen and bound their clients,
//! [`go_duration`](crate::go_duration) reads durations of flags, and `process_metrics` tells of the process.

pub mod announce;
pub mod conntrack;
pub mod flags;
pub mod health;
pub mod health_check_node_port;
pub mod link_table;
pub mod metrics;
pub mod replace;
pub mod run;
pub mod server;
pub mod sysctl;
pub mod tally;
