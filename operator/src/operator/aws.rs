//! Load balancers of AWS.
//!
//! ```text
//!   controller ── wishes ──► driver ── steps ──► account (AWS)
//!       ▲                    │  ▲                   │
//!       └── how they stand ──┘  └──── snapshot ─────┘
//!   nodes, EndpointSlices, pods ─► inputs ─┘
//! ```
//!
//! A [`driver`] looks after everything of one `LoadBalancerProvider`. It reads the account as a whole, once in a while, and goes on from what it
//! has done itself in between. What it decides is pure: [`inputs`] says what the cluster is, [`reconcile`] what is to be done next for one
//! Service and for what all share, [`gates`] what pods hear of their targets' health, [`orphans`] what nobody wants any more. [`accounts`] is
//! where accounts come from, [`watch`] what is watched, [`figures`] what metrics show.

pub mod accounts;
pub mod driver;
pub mod figures;
pub mod gates;
pub mod inputs;
pub mod orphans;
pub mod reconcile;
pub mod records;
pub mod watch;
mod work;
