//! The node's dataplane: a fixed nftables program over tables that change with the Services.
//!
//! ```text
//! model::Cluster ──select──► compile ──► Table (a value) ──► Transaction ──netlink──► kernel
//!                                          │    ▲ diff                                │
//!                              Display, evaluate └──────────── read back ◄────────────┘
//! ```
//!
//! [`table`] is the rule set as a value: chains of a closed set of statements, sets and maps with their elements. It prints
//! as nft text, [`diff`](transaction::diff) turns one into another, and [`evaluate`] walks it for one packet, so what is
//! explained is what is loaded. [`program`] holds the part that does not depend on Services, [`compile`] the elements
//! that do. [`netlink`] speaks with the kernel; [`sync`] keeps it in step.
//!
//! Start reading at [`program`].

pub mod compile;
mod draft;
pub mod evaluate;
pub mod links;
pub mod netlink;
pub mod program;
mod ranges;
mod slots;
pub mod sync;
pub mod table;
pub mod transaction;
pub mod udp;
