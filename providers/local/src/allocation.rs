//! Which Service has which address.
//!
//! The semantics are MetalLB's where it has any: what a Service has it keeps while it may; then the addresses that it asks for; then the
//! pool that it asks for; then the pools that are meant for it, by priority; then those that are for all. Beyond that:
//!
//! - Pools are tried in a fixed order, and an address is the lowest that is free.
//! - A pool that takes every Service and has a priority, or is exclusive, is among those that are meant for it.
//! - A pool can be exclusive: Services that it is meant for get its addresses or none.
//! - A pool that grows into another one takes nothing from it, whichever is older: it keeps the form that it had.
//! - A selector that selects no namespace is a restriction, and takes no Service.
//! - Services with one sharing key share an address whatever their traffic policy and their pods.
//! - A released address rests before somebody else gets it. Its last Service gets it back at once, and so does one that asks for it.
//! - An address that a machine outside of the cluster has is given to nobody. A Service that asked for it by name, or came with
//!   it from another controller, keeps it, and is told.
//! - What cannot be had changes nothing that works: the Service keeps what it may keep, and is told why it gets nothing else.
//! - Of Services that can no longer be together, the one that came first stays.
//! - Each change says which Services it concerns, and deciding again where nothing has changed concerns nobody.

mod allocator;
mod intervals;
mod pool;
mod quarantine;
mod range;
mod request;
mod rest;
mod selector;

pub use allocator::{Allocator, Usage};
pub use pool::{Pool, PoolFault, Takes};
pub use quarantine::Quarantine;
pub use range::{AddressRange, RangeError, is_buggy};
pub use request::{Decision, Objection, Refusal, Request};
pub use rest::Rest;
pub use selector::{Selector, SelectorError};
