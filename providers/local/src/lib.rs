//! The local provider: load balancers without a cloud, in the manner of MetalLB's layer 2 mode.
//!
//! Three parts, none of which needs another, and one that puts two of them together:
//!
//! - [`allocation`]: which Service has which address. The operator asks it, one process at a time.
//! - [`ownership`]: which node answers for an address. The agents decide it among themselves.
//! - [`announcement`]: how the owner answers: ARP, NDP, and ICMP echo.
//! - [`speaker`]: the thread on each node that owns and answers.
//!
//! The first three decide purely: time is an argument, and datagrams and frames come in and go out as bytes.

pub mod allocation;
pub mod announcement;
pub mod ownership;
pub mod speaker;
