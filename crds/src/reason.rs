//! Why a condition is as it is: words for machines. They are the reasons of events too, and values of metric labels.

/// Accepted: nothing stands against the object.
pub const ACCEPTED: &str = "Accepted";
/// Ready: it does what it is for.
pub const READY: &str = "Ready";
/// Not ready yet: work on it goes on, nothing is wrong.
pub const PENDING: &str = "Pending";

/// Two pools have addresses in common. The one that had them first keeps them.
pub const POOL_OVERLAP: &str = "PoolOverlap";
/// No address is free in any pool that the Service may use.
pub const POOL_EXHAUSTED: &str = "PoolExhausted";
/// No pool of the wanted name exists.
pub const UNKNOWN_POOL: &str = "UnknownPool";
/// The pool exists, but its `allocation` does not select the Service.
pub const POOL_NOT_ALLOWED: &str = "PoolNotAllowed";
/// A pool names addresses that are none, or a range that ends before it begins.
pub const INVALID_ADDRESSES: &str = "InvalidAddresses";

/// A label selector cannot be read.
pub const INVALID_SELECTOR: &str = "InvalidSelector";

/// The wanted address belongs to another Service which does not share it.
pub const ADDRESS_IN_USE: &str = "AddressInUse";
/// The wanted address is in no pool, or not in the wanted pool.
pub const ADDRESS_NOT_IN_POOL: &str = "AddressNotInPool";
/// Another machine on the network answers for the address.
pub const ADDRESS_CONFLICT: &str = "AddressConflict";
/// The wanted addresses, or those of the pool, are not of the Service's IP families.
pub const FAMILY_MISMATCH: &str = "FamilyMismatch";
/// An annotation cannot be read, or two of them contradict each other.
pub const INVALID_ANNOTATION: &str = "InvalidAnnotation";

/// More than one provider is the default. The oldest one is it.
pub const TWO_DEFAULTS: &str = "TwoDefaults";
/// More than one provider has the same `loadBalancerClass`. The oldest one has it.
pub const TWO_OF_CLASS: &str = "TwoOfClass";
/// No provider of that name exists.
pub const UNKNOWN_PROVIDER: &str = "UnknownProvider";
/// The provider does not take Services of type `NodePort`, or not from this namespace.
pub const NODE_PORTS_NOT_TAKEN: &str = "NodePortsNotTaken";
/// This build of Fairlead has no code for such a provider.
pub const UNSUPPORTED_PROVIDER: &str = "UnsupportedProvider";

/// No node may announce the address now.
pub const NO_ELIGIBLE_NODE: &str = "NoEligibleNode";
/// No endpoint of the Services is there to answer.
pub const NO_ENDPOINTS: &str = "NoEndpoints";
/// The provider could not do what is to be done; the message says what, and it is tried again.
pub const PROVIDER_ERROR: &str = "ProviderError";
