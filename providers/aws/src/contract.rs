//! What a Service asks for: its annotations and the fields beside them, as one typed value with defaults.
//!
//! The words of each refusal are those that users of the AWS Load Balancer Controller know, where it has any. All that is wrong with a
//! Service is found in one reading.
//!
//! What can be judged only with the cluster or the VPC at hand (how many subnets there are, what scheme the load balancer has) is judged in
//! `desired`.

mod action;
mod adoption;
pub(crate) mod annotation;
mod defaults;
mod fault;
mod health_check;
mod identity;
mod kinds;
mod listeners;
mod placement;
pub(crate) mod reader;
mod security;
mod service;
mod settings;
mod target_groups;
pub(crate) mod value;

pub use action::{Backend, Forward, ForwardTo};
pub use adoption::{Adoption, LOAD_BALANCER_ARN, TARGET_GROUP_ARN};
pub use annotation::PREFIX;
pub use defaults::Defaults;
pub use fault::{Fault, Faults};
pub use health_check::{HealthCheck, HealthCheckPort, HealthCheckProtocol};
pub use identity::Identity;
pub use kinds::{IpAddressType, ListenerProtocol, Scheme, TargetType};
pub use listeners::{AlpnPolicy, ListenerSettings, Listeners};
pub use placement::{Placement, SourceNatPrefix};
pub use security::Security;
pub use service::{Exposure, Port, Service, TargetPort};
pub use settings::Settings;
pub use target_groups::TargetGroups;

#[cfg(test)]
mod tests;
