//! Fairlead's own kinds, in the group `fairlead.io`.
//!
//! People write [`LoadBalancerProvider`]s (who makes load balancers, and for which Services) and [`AddressPool`]s (the addresses
//! of the local provider). The operator writes [`LoadBalancer`]s: one for each that exists, with what it came to in its status.
//!
//! One file holds one kind: `provider.rs`, `pool.rs`, `load_balancer.rs`. The comments on the fields are what `kubectl explain`
//! says. What one object can have wrong by itself is refused by the API server, by the schema and its CEL rules. What depends on
//! other objects becomes a condition, with a word of [`reason`].
//!
//! [`all`] makes the definitions, [`to_yaml`] the files of the chart `fairlead-crds`.

pub mod annotation;
pub mod condition;
mod definition;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "`KubeSchema` copies public structs into a function; columns of one type are no mistake"
)]
mod load_balancer;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "`KubeSchema` copies public structs into a function; columns of one type are no mistake"
)]
mod pool;
#[expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "`KubeSchema` copies public structs into a function; columns of one type are no mistake"
)]
mod provider;
pub mod reason;

pub use definition::{all, to_yaml};
pub use load_balancer::{AnnouncedBy, LoadBalancer, LoadBalancerSpec, LoadBalancerStatus, ServiceReference};
pub use pool::{
    AddressPool, AddressPoolSpec, AddressPoolStatus, Allocation, Announcement, PoolUsage, PreferredNode,
    QuarantinedAddress, RestingAddress,
};
pub use provider::{
    AwsProvider, CordonedNodes, Heartbeat, LoadBalancerProvider, LoadBalancerProviderSpec, LoadBalancerProviderStatus,
    LocalProvider, NodePortServices, Ownership, TargetType,
};

/// The API group of all kinds.
pub const GROUP: &str = "fairlead.io";
