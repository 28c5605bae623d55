//! The annotations on Services that Fairlead reads.
//!
//! Three of them have twins under the prefixes that MetalLB reads, so that Services can stay as they are. If several of one meaning
//! are set, the first of its list counts.

/// A Service of type `NodePort` asks the [`LoadBalancerProvider`](crate::LoadBalancerProvider) of this name for a load balancer.
/// That provider must have `nodePortServices: OptIn`.
pub const PROVIDER: &str = "fairlead.io/provider";

/// The name of the [`AddressPool`](crate::AddressPool) to take addresses from.
pub const ADDRESS_POOL: &str = "fairlead.io/address-pool";
/// [`ADDRESS_POOL`] and its twins.
pub const ADDRESS_POOL_ALL: [&str; 3] = [
    ADDRESS_POOL,
    "metallb.io/address-pool",
    "metallb.universe.tf/address-pool",
];

/// The addresses that the Service wants, at most one of each IP family, separated by commas.
pub const LOAD_BALANCER_IPS: &str = "fairlead.io/loadBalancerIPs";
/// [`LOAD_BALANCER_IPS`] and its twins.
pub const LOAD_BALANCER_IPS_ALL: [&str; 3] = [
    LOAD_BALANCER_IPS,
    "metallb.io/loadBalancerIPs",
    "metallb.universe.tf/loadBalancerIPs",
];

/// A key of the user's choice: Services with the same one may share an address if their ports differ.
pub const ALLOW_SHARED_IP: &str = "fairlead.io/allow-shared-ip";
/// [`ALLOW_SHARED_IP`] and its twins.
pub const ALLOW_SHARED_IP_ALL: [&str; 3] = [
    ALLOW_SHARED_IP,
    "metallb.io/allow-shared-ip",
    "metallb.universe.tf/allow-shared-ip",
];
