//! The objects of the files, and what an API server would make of them.

use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider};
use fairlead_model::{Family, ServiceName};
use k8s_openapi::api::core::v1::{Namespace, Service, ServiceSpec};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::cluster::Cluster;
use crate::objects::Object;

/// An object of the files that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InputError {
    /// One of its fields has another type.
    #[error("{object}: {field}: {problem}")]
    Field {
        /// Its kind and name.
        object: String,
        /// The field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// It has no name.
    #[error("{object}: metadata.name is missing")]
    NoName {
        /// Its kind.
        object: String,
    },
    /// It is there twice.
    #[error("{object} is in the files twice")]
    Twice {
        /// Its kind and name.
        object: String,
    },
}

/// The files' objects. Kinds that decide nothing are passed over.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) objects: Cluster,
}

impl Input {
    pub(super) fn read(objects: &[Object], namespace: &str) -> Result<Self, InputError> {
        let mut read = Cluster::default();
        let mut names = Vec::new();
        for object in objects {
            let has_namespace = matches!(object.kind.as_str(), "Service" | "LoadBalancer");
            match (object.group(), object.kind.as_str()) {
                ("", "Service") => read.services.push(typed::<Service>(object)?),
                ("", "Namespace") => read.namespaces.push(typed::<Namespace>(object)?),
                ("networking.k8s.io", "ServiceCIDR") => read.service_cidrs.push(typed::<ServiceCIDR>(object)?),
                (fairlead_crds::GROUP, "LoadBalancerProvider") => {
                    read.providers.push(typed::<LoadBalancerProvider>(object)?);
                }
                (fairlead_crds::GROUP, "AddressPool") => read.pools.push(typed::<AddressPool>(object)?),
                (fairlead_crds::GROUP, "LoadBalancer") => read.load_balancers.push(typed::<LoadBalancer>(object)?),
                _ => continue,
            }
            let of = match object.namespace() {
                "" if has_namespace => namespace,
                own => own,
            };
            let name = (object.kind.as_str(), of, object.name());
            if names.contains(&name) {
                return Err(InputError::Twice {
                    object: object.describe(),
                });
            }
            names.push(name);
        }
        let metadata = read.services.iter_mut().map(|service| &mut service.metadata);
        let metadata = metadata.chain(read.load_balancers.iter_mut().map(|one| &mut one.metadata));
        for metadata in metadata {
            metadata.namespace.get_or_insert_with(|| namespace.to_owned());
        }
        Ok(Self { objects: read })
    }
}

fn typed<T: DeserializeOwned>(object: &Object) -> Result<T, InputError> {
    if object.name().is_empty() {
        return Err(InputError::NoName {
            object: object.kind.clone(),
        });
    }
    object.read().map_err(|fault| InputError::Field {
        object: object.describe(),
        field: fault.field,
        problem: fault.problem,
    })
}

/// The cluster's IP families, the primary one first, as far as its objects say them.
pub(super) fn cluster_families(cluster: &Cluster) -> Vec<Family> {
    // The API server's own Service has the primary family.
    let is_own =
        |service: &&Service| service.name_any() == "kubernetes" && service.namespace().as_deref() == Some("default");
    let (own, others): (Vec<_>, Vec<_>) = cluster.services.iter().partition(is_own);
    let families_of = |services: Vec<&Service>| -> Vec<Family> {
        let specs = services.into_iter().map(|service| service.spec.as_ref());
        specs.flat_map(named_families).collect()
    };
    let cidrs = cluster
        .service_cidrs
        .iter()
        .filter_map(|cidr| cidr.spec.as_ref()?.cidrs.as_ref());
    // A CIDR has a colon if and only if it is IPv6.
    let of_cidr = |text: &String| if text.contains(':') { Family::V6 } else { Family::V4 };
    let of_cidrs = cidrs.flatten().map(of_cidr);
    let mut families = Vec::new();
    for family in families_of(own).into_iter().chain(of_cidrs).chain(families_of(others)) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

fn named_families(spec: Option<&ServiceSpec>) -> Vec<Family> {
    let names = spec.and_then(|spec| spec.ip_families.as_ref()).into_iter().flatten();
    names.filter_map(|name| super::family(name).ok()).collect()
}

/// The Service as it would be after it was applied: with what the API server fills in, and what it keeps of the old one.
pub(super) fn applied(mut service: Service, old: Option<&Service>, cluster: &[Family]) -> Service {
    let spec = service.spec.get_or_insert_default();
    let old_spec = old.and_then(|old| old.spec.as_ref());
    let is_without = spec.type_.as_deref() == Some("ExternalName");
    spec.type_.get_or_insert_with(|| "ClusterIP".to_owned());
    if !is_without {
        let mut families = named_families(Some(spec));
        if families.is_empty() {
            families = named_families(old_spec);
        }
        let policy = spec.ip_family_policy.clone().unwrap_or_else(|| match families.len() {
            2 if !named_families(Some(spec)).is_empty() => "RequireDualStack".to_owned(),
            _ => "SingleStack".to_owned(),
        });
        if policy == "SingleStack" {
            families.extend(cluster.first().filter(|_| families.is_empty()));
            families.truncate(1);
        } else {
            let missing: Vec<_> = cluster
                .iter()
                .filter(|family| !families.contains(family))
                .copied()
                .collect();
            families.extend(missing);
        }
        spec.ip_families = Some(families.iter().map(ToString::to_string).collect());
        spec.ip_family_policy = Some(policy);
    }
    if let Some(old) = old {
        service.status.clone_from(&old.status);
        service.metadata.finalizers.clone_from(&old.metadata.finalizers);
    }
    service
}

/// Gives an object what the API server keeps of the old one: it stays as old as it is. A new one is the youngest.
pub(super) fn succeed<K: ResourceExt>(new: &mut K, old: Option<&K>, now: &Time) {
    let metadata = new.meta_mut();
    let Some(old) = old.map(Resource::meta) else {
        metadata.creation_timestamp = Some(now.clone());
        return;
    };
    metadata.uid.clone_from(&old.uid);
    metadata.resource_version.clone_from(&old.resource_version);
    metadata.generation = old.generation;
    metadata.creation_timestamp.clone_from(&old.creation_timestamp);
    metadata.deletion_timestamp.clone_from(&old.deletion_timestamp);
}

/// The name of a Service.
pub(super) fn key_of(service: &Service) -> ServiceName {
    ServiceName::new(service.namespace().unwrap_or_default(), service.name_any())
}
