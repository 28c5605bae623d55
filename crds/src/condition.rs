//! The types of conditions in the status of our kinds. Their reasons are the words of [`crate::reason`].

/// The object as written is one that Fairlead works with: nothing in it, nor in other objects, stands against it. While it is
/// `False`, what the object said before keeps its effect.
pub const ACCEPTED: &str = "Accepted";

/// It does what it is for: a provider takes Services, a pool gives out addresses, a load balancer is reached at its addresses.
pub const READY: &str = "Ready";
