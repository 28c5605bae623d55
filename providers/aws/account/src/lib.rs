//! An account of AWS, by its API.
//!
//! [`AwsAccount`] is the [`Account`](fairlead_aws::account::Account) that is really there: what the plans of `fairlead-aws` ask for is
//! called here, and what there is is read here into their terms. Nothing is decided here but how to ask.
//!
//! | file | what |
//! |---|---|
//! | `connect.rs` | credentials, region, VPC, time-outs |
//! | `caller.rs` | one call, made until it is done or cannot be |
//! | `pace.rs` | how often AWS is called |
//! | `look.rs` | everything that bears the cluster's marks, in few calls |
//! | `perform.rs` | one step |
//! | `network.rs` | the VPC, and the interfaces of targets |
//! | `convert/` | between AWS' terms and ours |
//!
//! What the credentials must allow:
//!
//! | service | actions |
//! |---|---|
//! | `elasticloadbalancing` | `Describe*` of load balancers, target groups, listeners, their attributes and certificates, target health, tags and capacity reservations; `Create*`, `Modify*` and `Delete*` of load balancers, target groups and listeners; `ModifyCapacityReservation`, `SetSubnets`, `SetSecurityGroups`, `SetIpAddressType`, `RegisterTargets`, `DeregisterTargets`, `AddListenerCertificates`, `RemoveListenerCertificates`, `AddTags`, `RemoveTags` |
//! | `ec2` | `DescribeVpcs`, `DescribeSubnets`, `DescribeRouteTables`, `DescribeAvailabilityZones`, `DescribeSecurityGroups`, `DescribeNetworkInterfaces`, `CreateSecurityGroup`, `DeleteSecurityGroup`, `AuthorizeSecurityGroupIngress`, `RevokeSecurityGroupIngress`, `CreateTags`, `DeleteTags` |
//!
//! Only this crate links the SDK: it takes minutes and gigabytes to compile.

mod account;
mod caller;
mod connect;
mod convert;
mod error;
mod look;
mod memory;
mod network;
mod pace;
mod perform;
mod trust;
mod watch;

pub use account::AwsAccount;
pub use connect::{NO_REGION, NO_VPC, Settings};
pub use pace::{Lane, LaneState, Limit, usual_limits};
pub use trust::NO_TRUST;
pub use watch::{Call, Operation, Outcome, Service, Watch};
