//! Why a condition is as it is, and what an event is about: words for machines. They are values of metric labels too.
//!
//! This is the only place where one can be made, so that there is no other list of them. `docs/configuration.md` explains each.

use std::fmt;

/// One word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(&'static str);

impl Reason {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// The reason of this word, if there is one.
pub fn of(word: &str) -> Option<Reason> {
    ALL.iter().copied().find(|reason| reason.0 == word)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl PartialEq<Reason> for String {
    fn eq(&self, reason: &Reason) -> bool {
        self == reason.0
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $word:literal;)+) => {
        $($(#[$doc])+ pub const $name: Reason = Reason($word);)+

        /// All of them.
        pub const ALL: &[Reason] = &[$($name),+];
    };
}

reasons! {
    /// Accepted: nothing stands against the object.
    ACCEPTED = "Accepted";
    /// Ready: it does what it is for.
    READY = "Ready";
    /// Not ready yet: work on it goes on, nothing is wrong.
    PENDING = "Pending";
    /// Not ready any more: it is being deleted.
    DELETING = "Deleting";

    /// Two pools have addresses in common. The one that had them first keeps them.
    POOL_OVERLAP = "PoolOverlap";
    /// A pool names addresses that are none, one of them twice, or a range that ends before it begins.
    INVALID_ADDRESSES = "InvalidAddresses";
    /// A label selector cannot be read.
    INVALID_SELECTOR = "InvalidSelector";

    /// No pool gives addresses to the Service by itself.
    NO_POOL = "NoPool";
    /// No address is free in any pool that the Service may use.
    POOL_EXHAUSTED = "PoolExhausted";
    /// No pool of the wanted name exists.
    UNKNOWN_POOL = "UnknownPool";
    /// The pool exists, but its `allocation` does not select the Service.
    POOL_NOT_ALLOWED = "PoolNotAllowed";
    /// The wanted address belongs to another Service which does not share it.
    ADDRESS_IN_USE = "AddressInUse";
    /// The wanted address is in no pool, or not in the wanted pool.
    ADDRESS_NOT_IN_POOL = "AddressNotInPool";
    /// The pool never gives the wanted address out.
    ADDRESS_RESERVED = "AddressReserved";
    /// A machine outside of the cluster has the address.
    ADDRESS_CONFLICT = "AddressConflict";
    /// The wanted addresses, or those of the pool, are not of the Service's IP families.
    FAMILY_MISMATCH = "FamilyMismatch";
    /// An annotation cannot be read, or two of them contradict each other.
    INVALID_ANNOTATION = "InvalidAnnotation";

    /// More than one provider is the default. The oldest one is it.
    TWO_DEFAULTS = "TwoDefaults";
    /// More than one provider has the same `loadBalancerClass`. The oldest one has it.
    TWO_OF_CLASS = "TwoOfClass";
    /// No provider of that name exists.
    UNKNOWN_PROVIDER = "UnknownProvider";
    /// The Service names one provider, and its class belongs to another.
    CLASS_OF_ANOTHER = "ClassOfAnother";
    /// The provider does not take Services of type `NodePort`, or not from this namespace.
    NODE_PORTS_NOT_TAKEN = "NodePortsNotTaken";
    /// This build of Fairlead has no code for such a provider.
    UNSUPPORTED_PROVIDER = "UnsupportedProvider";
    /// The provider could not do what is to be done; the message says what, and it is tried again.
    PROVIDER_ERROR = "ProviderError";

    /// The load balancer that the Service names by ARN is not there.
    UNKNOWN_LOAD_BALANCER = "UnknownLoadBalancer";
    /// The target group that the Service names by ARN is not there, or not of the kind that the port needs.
    UNKNOWN_TARGET_GROUP = "UnknownTargetGroup";
    /// Somebody else's load balancer uses the target group that the Service names.
    TARGET_GROUP_IN_USE = "TargetGroupInUse";
    /// Somebody else has a listener on a port of the Service.
    LISTENER_CONFLICT = "ListenerConflict";
    /// The load balancer is protected against deletion.
    DELETION_PROTECTED = "DeletionProtected";
    /// AWS does not let the operator.
    ACCESS_DENIED = "AccessDenied";
    /// AWS takes no more of something.
    LIMIT_REACHED = "LimitReached";
    /// AWS refuses what the Service asks for.
    REFUSED = "Refused";

    /// Event: a load balancer is being made.
    ENSURING_LOAD_BALANCER = "EnsuringLoadBalancer";
    /// Event: it is made.
    ENSURED_LOAD_BALANCER = "EnsuredLoadBalancer";
    /// Event: it is being deleted.
    DELETING_LOAD_BALANCER = "DeletingLoadBalancer";
    /// Event: it cannot be deleted.
    DELETE_LOAD_BALANCER_FAILED = "DeleteLoadBalancerFailed";
    /// Event: it is gone.
    DELETED_LOAD_BALANCER = "DeletedLoadBalancer";
    /// Event: a Service that asks for a provider cannot have it, or its load balancer cannot be made as it asks for.
    SYNC_LOAD_BALANCER_FAILED = "SyncLoadBalancerFailed";
    /// Event: a Service has addresses.
    IP_ALLOCATED = "IPAllocated";
    /// Event: a Service does not get what it asks for.
    ALLOCATION_FAILED = "AllocationFailed";
    /// Event: its addresses were taken back.
    CLEAR_ASSIGNMENT = "ClearAssignment";
    /// Event: a node answers for an address.
    NODE_ASSIGNED = "nodeAssigned";
}
