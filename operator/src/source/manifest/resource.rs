//! One document's tree to the objects in it.

use std::sync::Arc;

use fairlead_model::endpoint_slice::default_port_names;
use fairlead_model::service::has_selector;
use fairlead_model::{EndpointSlice, Node, ParseError, Service, ServiceCidr, ServiceName, SliceName};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Fault, Object, ServiceManifest};
use crate::source::surroundings::Member;

/// The API of Fairlead's own kinds.
const OURS: &str = "fairlead.io/v1alpha1";

/// How deep Lists may be nested. `kubectl` writes one level; the bound keeps the recursion finite.
const MAX_LIST_DEPTH: usize = 4;

/// The objects of a document, each with its place within it.
pub(super) fn read(document: Value) -> Result<Vec<(String, Object)>, Fault> {
    let mut found = Vec::new();
    collect(document, None, String::new(), 0, &mut found)?;
    Ok(found)
}

/// `apiVersion` and `kind` of a typed list's items, which may leave them out.
type ItemType = (String, String);

fn collect(
    value: Value,
    item_type: Option<&ItemType>,
    within: String,
    depth: usize,
    found: &mut Vec<(String, Object)>,
) -> Result<(), Fault> {
    let fault = |field: Option<&str>, problem: &str| Fault {
        within: within.clone(),
        object: None,
        field: field.map(str::to_owned),
        problem: problem.to_owned(),
    };
    let Value::Object(mut object) = value else {
        return Err(fault(None, "this is not an object with apiVersion, kind and metadata"));
    };
    let mut type_field = |key: &str, default: Option<&String>| match (object.get(key), default) {
        (Some(Value::String(text)), _) if !text.is_empty() => Ok(text.clone()),
        (None | Some(Value::Null), Some(text)) => {
            object.insert(key.to_owned(), Value::String(text.clone()));
            Ok(text.clone())
        }
        (None | Some(Value::Null), None) => Err(fault(Some(key), "it is missing")),
        (Some(_), _) => Err(fault(Some(key), "it must be a text that is not empty")),
    };
    let api_version = type_field("apiVersion", item_type.map(|(api_version, _)| api_version))?;
    let kind = type_field("kind", item_type.map(|(_, kind)| kind))?;

    if let Some(item_kind) = kind.strip_suffix("List") {
        let items = match object.remove("items") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(fault(Some("items"), "it must be a list")),
        };
        if depth == MAX_LIST_DEPTH {
            return Err(fault(None, "lists are nested too deeply"));
        }
        let item_type = (!item_kind.is_empty()).then(|| (api_version, item_kind.to_owned()));
        let prefix = if within.is_empty() {
            String::new()
        } else {
            format!("{within}.")
        };
        for (index, item) in items.into_iter().enumerate() {
            collect(
                item,
                item_type.as_ref(),
                format!("{prefix}items[{index}]"),
                depth + 1,
                found,
            )?;
        }
        return Ok(());
    }
    if let Some(object) = object_of(&api_version, &kind, object, &within)? {
        found.push((within, object));
    }
    Ok(())
}

fn object_of(
    api_version: &str,
    kind: &str,
    mut object: Map<String, Value>,
    within: &str,
) -> Result<Option<Object>, Fault> {
    let is_namespaced = match (api_version, kind) {
        ("v1", "Service" | "Endpoints") | ("discovery.k8s.io/v1", "EndpointSlice") | (OURS, "LoadBalancer") => true,
        ("v1", "Node") | ("networking.k8s.io/v1", "ServiceCIDR") | (OURS, "LoadBalancerProvider" | "AddressPool") => {
            false
        }
        _ => {
            tracing::debug!(api_version, kind, "a proxy does not need objects of this kind");
            return Ok(None);
        }
    };
    let (namespace, name) = name_object(kind, is_namespaced, &mut object, within)?;
    let shown = if is_namespaced {
        format!("{kind} {namespace}/{name}")
    } else {
        format!("{kind} {name}")
    };
    let typed = Typed { within, object: &shown };
    let value = Value::Object(object);
    Ok(Some(match kind {
        "Service" => {
            let resource: core::Service = typed.read(value)?;
            Object::Service(ServiceManifest {
                name: ServiceName::new(namespace, name),
                has_selector: has_selector(&resource),
                lacks_cluster_ip: lacks_cluster_ip(&resource),
                service: typed.check(Service::from_resource(&resource))?.map(Arc::new),
            })
        }
        "EndpointSlice" => {
            let mut resource: discovery::EndpointSlice = typed.read(value)?;
            default_port_names(&mut resource);
            let slice = typed.check(EndpointSlice::from_resource(&resource))?.map(Arc::new);
            Object::EndpointSlice(
                SliceName {
                    namespace: namespace.into(),
                    name: name.into(),
                },
                slice,
            )
        }
        "Endpoints" => {
            let resource: core::Endpoints = typed.read(value)?;
            let slices = typed.check(EndpointSlice::from_endpoints(&resource))?;
            Object::Endpoints(
                ServiceName::new(namespace, name),
                slices.into_iter().map(Arc::new).collect(),
            )
        }
        "Node" => {
            let resource: core::Node = typed.read(value)?;
            let member = Arc::new(Member::from(&resource));
            Object::Node(typed.check(Node::from_resource(&resource))?, member)
        }
        "LoadBalancerProvider" => Object::Provider(Arc::new(typed.read(value)?)),
        "AddressPool" => Object::Pool(Arc::new(typed.read(value)?)),
        "LoadBalancer" => Object::LoadBalancer(Arc::new(typed.read(value)?)),
        _ => {
            let resource: networking::ServiceCIDR = typed.read(value)?;
            Object::ServiceCidr(typed.check(ServiceCidr::from_resource(&resource))?)
        }
    }))
}

/// Namespace and name of an object; a missing namespace is filled in. The managed fields go: nobody reads them, and
/// they are the largest part of what `kubectl get -o yaml --show-managed-fields` writes.
fn name_object(
    kind: &str,
    is_namespaced: bool,
    object: &mut Map<String, Value>,
    within: &str,
) -> Result<(String, String), Fault> {
    let fault = |field: &str, problem: &str| Fault {
        within: within.to_owned(),
        object: Some(kind.to_owned()),
        field: Some(field.to_owned()),
        problem: problem.to_owned(),
    };
    let metadata = match object.get_mut("metadata") {
        Some(Value::Object(metadata)) => metadata,
        None | Some(Value::Null) => return Err(fault("metadata", "it is missing")),
        Some(_) => return Err(fault("metadata", "it must be a mapping")),
    };
    metadata.remove("managedFields");
    let name = match metadata.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        None | Some(Value::Null) => return Err(fault("metadata.name", "it is missing")),
        Some(other) => return Err(fault("metadata.name", &format!("it must be a name, not {other}"))),
    };
    if !is_namespaced {
        metadata.remove("namespace");
        return Ok((String::new(), name));
    }
    let namespace = match metadata.get("namespace") {
        Some(Value::String(namespace)) if !namespace.is_empty() => namespace.clone(),
        None | Some(Value::Null | Value::String(_)) => "default".to_owned(),
        Some(other) => return Err(fault("metadata.namespace", &format!("it must be a name, not {other}"))),
    };
    metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
    Ok((namespace, name))
}

/// An object while it is read into its type.
struct Typed<'a> {
    within: &'a str,
    object: &'a str,
}

impl Typed<'_> {
    fn read<T: DeserializeOwned>(&self, value: Value) -> Result<T, Fault> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            self.fault((path != ".").then_some(path), error.into_inner().to_string())
        })
    }

    fn check<T>(&self, parsed: Result<T, ParseError>) -> Result<T, Fault> {
        parsed.map_err(|error| self.fault(Some(error.field), error.problem))
    }

    fn fault(&self, field: Option<String>, problem: String) -> Fault {
        Fault {
            within: self.within.to_owned(),
            object: Some(self.object.to_owned()),
            field,
            problem,
        }
    }
}

/// Whether a Service needs a cluster IP and names none.
fn lacks_cluster_ip(service: &core::Service) -> bool {
    let Some(spec) = &service.spec else { return true };
    let is_empty = |text: Option<&String>| text.is_none_or(String::is_empty);
    spec.type_.as_deref() != Some("ExternalName")
        && is_empty(spec.cluster_ip.as_ref())
        && is_empty(spec.cluster_ips.as_ref().and_then(|ips| ips.first()))
}
