//! Network Load Balancers of AWS, without AWS: everything here is decided from values, and nothing asks or tells anybody.
//!
//! ```text
//!   Service ── contract ──► Settings ─┐
//!                                     ├─ desired ──► LoadBalancer ─┐
//!   cluster, VPC ─────────────────────┘                            ├─ plan ──► steps
//!   what exists ───────────────────────────────────────────────────┘
//! ```
//!
//! [`contract`] reads the annotations that the AWS Load Balancer Controller reads, with its meaning and its words where it refuses.
//! [`desired`] puts what they ask for into a cluster and a VPC. [`mod@plan`] holds it against what there is. [`account`] is the port to
//! AWS itself. Where Fairlead differs on purpose is written in `docs/aws-deviations.md`.

pub mod account;
pub mod contract;
pub mod desired;
pub mod plan;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
