//! The leader's work: what Services ask for becomes load balancers.
//!
//! ```text
//!   watch ──► world ──► scope, wish ──► local (allocator) ──► plan ──► perform ──► notes
//!   (I/O)              (whose, what)                         (pure)     (I/O)      (I/O)
//! ```
//!
//! [`run`](mod@run) is the loop, [`decide`] what it decides, `work` the steps of one key on their way, [`queue`] says which key is
//! looked at when, [`reports`] what pools and providers came to.

pub mod cloud;
pub mod conditions;
pub mod conflicts;
pub mod decide;
pub mod drivers;
pub mod figures;
pub mod local;
pub mod notes;
pub mod perform;
pub mod plan;
pub mod queue;
pub mod reports;
pub mod run;
pub mod scope;
pub mod watch;
pub mod wish;
mod work;
pub mod world;
