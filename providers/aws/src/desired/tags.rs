//! The marks on what is made.
//!
//! They are not those of the AWS Load Balancer Controller. It deletes what bears its marks and belongs to no Service of its own, so that it
//! must not take ours for its.

use fairlead_model::ServiceName;

use crate::contract::{Defaults, Service, Settings};

use super::Tags;

/// Whose it is: the cluster's name.
pub const CLUSTER_TAG: &str = "fairlead.io/cluster";
/// Whose it is: the Service's namespace and name.
pub const SERVICE_TAG: &str = "fairlead.io/service";
/// What it is for.
pub const RESOURCE_TAG: &str = "fairlead.io/resource";

pub(super) fn of(service: &Service, settings: &Settings, defaults: &Defaults, resource: &str) -> Tags {
    let mut tags = settings.identity.tags.clone();
    tags.insert(CLUSTER_TAG.to_owned(), defaults.cluster.clone());
    tags.insert(SERVICE_TAG.to_owned(), service.name.to_string());
    tags.insert(RESOURCE_TAG.to_owned(), resource.to_owned());
    tags
}

/// What the security group that targets let in is for.
pub const BACKEND_GROUP: &str = "backend-sg";

/// The tags of the security group that targets let in.
pub fn backend_group_tags(defaults: &Defaults) -> Tags {
    let mut tags = defaults.tags.clone();
    tags.insert(CLUSTER_TAG.to_owned(), defaults.cluster.clone());
    tags.insert(RESOURCE_TAG.to_owned(), BACKEND_GROUP.to_owned());
    tags
}

/// True if something bears the marks of a cluster's Service.
pub fn is_ours(tags: &Tags, cluster: &str, service: &str) -> bool {
    let has = |key, value| tags.get(key).is_some_and(|found| found == value);
    has(CLUSTER_TAG, cluster) && has(SERVICE_TAG, service)
}

/// Whose something is that bears a cluster's marks.
pub fn owner_of(tags: &Tags) -> Option<ServiceName> {
    let (namespace, name) = tags.get(SERVICE_TAG)?.split_once('/')?;
    Some(ServiceName::new(namespace, name))
}
