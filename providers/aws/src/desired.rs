//! The load balancer as it shall be: settings, put into this cluster and this VPC.
//!
//! [`desired()`] is a function of values; what it refuses it refuses as the contract does, with everything that is wrong at once. Start
//! reading at [`LoadBalancer`], which is what comes out.

mod backend_rules;
mod cluster;
mod listeners;
mod load_balancer;
mod mappings;
mod names;
mod security_groups;
mod subnets;
mod tags;
mod target_groups;
mod targets;
mod vpc;

use crate::contract::reader::Reader;
use crate::contract::{Defaults, Faults, Scheme, Service, Settings};

pub use backend_rules::{BackendNeed, BackendRules, backend_needs, backend_rules};
pub use cluster::{Cluster, Endpoint, Node, PortKey, Taint};
pub use load_balancer::{
    Destination, Group, Listener, LoadBalancer, ManagedGroup, Rule, RuleProtocol, RuleSource, SecurityGroups,
    SubnetMapping, Tags, Target, TargetGroup, TargetGroupRef, Tls,
};
pub use names::{backend_group_name, replacement_name};
pub use subnets::Existing;
pub use tags::{BACKEND_GROUP, CLUSTER_TAG, RESOURCE_TAG, SERVICE_TAG, backend_group_tags, is_ours, owner_of};
pub use vpc::{SecurityGroup, Subnet, Vpc, ZoneKind};

/// What a load balancer is made for and in.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The provider's defaults.
    pub defaults: &'a Defaults,
    /// The VPC.
    pub vpc: &'a Vpc,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The Service's load balancer, if it has one already or uses somebody else's.
    pub existing: Option<&'a Existing>,
}

/// The load balancer that a Service shall have.
pub fn desired(service: &Service, settings: &Settings, around: Surroundings<'_>) -> Result<LoadBalancer, Faults> {
    let mut reader = Reader::new(service);
    let scheme = scheme(settings, around);
    let subnets = match &settings.adoption.load_balancer {
        Some(_) => Vec::new(),
        None => subnets::choose(&mut reader, settings, scheme, around),
    };
    let load_balancer = LoadBalancer {
        adopted: settings.adoption.load_balancer.clone(),
        name: names::load_balancer(service, settings, scheme, &around.defaults.cluster),
        scheme,
        ip_address_type: settings.identity.ip_address_type,
        has_source_nat: settings.placement.source_nat.unwrap_or_default(),
        subnets: mappings::assign(&mut reader, settings, scheme, &subnets),
        security_groups: security_groups::build(&mut reader, settings, scheme, around),
        applies_to_private_link: settings.security.applies_to_private_link,
        attributes: settings.attributes.clone(),
        capacity_units: settings.capacity_units,
        tags: tags::of(service, settings, around.defaults, "LoadBalancer"),
        kept_tags: around.defaults.external_managed_tags.clone(),
        target_groups: target_groups::build(&mut reader, settings, around),
        listeners: listeners::build(&mut reader, settings, around),
    };
    reader.finish(load_balancer)
}

/// As asked for, or as it is, or by default.
fn scheme(settings: &Settings, around: Surroundings<'_>) -> Scheme {
    let existing = around.existing.map(|existing| existing.scheme);
    settings.identity.scheme.or(existing).unwrap_or(around.defaults.scheme)
}

#[cfg(test)]
pub(crate) mod tests;
