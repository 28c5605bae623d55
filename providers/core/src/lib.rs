//! What every provider of load balancers is asked for.
//!
//! ```text
//!   desired ──┐
//!             ├─► plan (pure) ─► steps ─► perform (I/O) ─► observe again …  until the plan is empty
//!   observe ──┘
//! ```
//!
//! [`Provider`] is the port, [`converge()`] the loop that drives it for one load balancer, [`kit`] the tests that each provider must
//! pass: it is driven against its backend with a crash after every single step.

mod converge;
mod error;
pub mod kit;
mod provider;

pub use converge::{Converged, Given, converge};
pub use error::{ProviderError, Retry};
pub use provider::{Plan, Provider};
