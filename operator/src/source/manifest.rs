//! Manifests: YAML or JSON text to values.
//!
//! Everything here is pure and total: whatever the text is, the answer is objects or one [`ManifestError`].
//! A file is one unit. If anything in it is wrong, none of it counts, so that a half-written file changes nothing.

mod locate;
mod resource;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider};
use fairlead_model::{EndpointSlice, Node, Service, ServiceCidr, ServiceName, SliceName};
use kube::ResourceExt;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::surroundings::{Member, key_of};
pub use locate::Position;
pub(crate) use locate::yaml_options;

/// An object of a manifest that means something to a proxy.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A v1 Service.
    Service(ServiceManifest),
    /// A discovery.k8s.io/v1 `EndpointSlice`; `None` if it is none of a proxy's business.
    EndpointSlice(SliceName, Option<Arc<EndpointSlice>>),
    /// A v1 Endpoints object as the slices that mirror it.
    Endpoints(ServiceName, Vec<Arc<EndpointSlice>>),
    /// A v1 Node, as a proxy and as announcing need it.
    Node(Node, Arc<Member>),
    /// A networking.k8s.io/v1 `ServiceCIDR`.
    ServiceCidr(ServiceCidr),
    /// A `LoadBalancerProvider`.
    Provider(Arc<LoadBalancerProvider>),
    /// An `AddressPool`.
    Pool(Arc<AddressPool>),
    /// A `LoadBalancer`.
    LoadBalancer(Arc<LoadBalancer>),
}

/// A Service of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceManifest {
    /// Its name.
    pub name: ServiceName,
    /// Whether it selects pods. Endpoints objects are mirrored only for Services that do not.
    pub has_selector: bool,
    /// Whether it needs a cluster IP and names none. An API server would assign one; in a folder nobody does.
    pub lacks_cluster_ip: bool,
    /// What a proxy needs to know of it; `None` if it is none of a proxy's business.
    pub service: Option<Arc<Service>>,
}

impl Object {
    /// Kind and name, as people say them: `Service default/web`.
    pub fn describe(&self) -> String {
        match self {
            Self::Service(service) => format!("Service {}", service.name),
            Self::EndpointSlice(name, _) => format!("EndpointSlice {}/{}", name.namespace, name.name),
            Self::Endpoints(name, _) => format!("Endpoints {name}"),
            Self::Node(node, _) => format!("Node {}", node.name),
            Self::ServiceCidr(object) => format!("ServiceCIDR {}", object.name),
            Self::Provider(object) => format!("LoadBalancerProvider {}", object.name_any()),
            Self::Pool(object) => format!("AddressPool {}", object.name_any()),
            Self::LoadBalancer(object) => format!("LoadBalancer {}", key_of(object)),
        }
    }
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ManifestError {
    /// The file.
    pub file: String,
    /// Line and column, where they are known.
    pub position: Option<Position>,
    /// The object, as in `Service default/web`, where it is known. After a syntax error it is guessed from the lines
    /// before.
    pub object: Option<String>,
    /// Path of the field, as in `spec.ports[1].port`, where it is known.
    pub field: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for ManifestError {
    /// `web.yaml:12:9: Service default/web: spec.ports[1].port: …`, without the parts that are not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(position) = self.position {
            write!(f, ":{position}")?;
        }
        for part in [&self.object, &self.field].into_iter().flatten() {
            write!(f, ": {part}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// What is wrong with one object of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    /// Where the object is within its document: empty, or `items[3]` of a List.
    within: String,
    object: Option<String>,
    field: Option<String>,
    problem: String,
}

/// Reads the objects of a manifest file: YAML with one or more documents, or JSON if the name ends in `.json`. Lists are
/// taken apart, kinds that a proxy does not need are skipped, and `default` is filled in for a missing namespace.
pub fn parse(file_name: &str, text: &str) -> Result<Vec<Object>, ManifestError> {
    // No YAML or JSON has one, but a power cut leaves them in files. The YAML parser loses count of its lines there.
    if let Some((before, _)) = text.split_once('\0') {
        let position = Position::after(before);
        return Err(broken(
            file_name,
            text,
            Some(position),
            "a zero byte: the file is damaged".to_owned(),
        ));
    }
    let documents = documents(file_name, text)?;
    let mut objects = Vec::new();
    let mut names = BTreeSet::new();
    for (index, document) in documents.into_iter().enumerate() {
        let found = document.0.map_err(|fault| located(file_name, text, index, fault))?;
        for (within, object) in found {
            let name = object.describe();
            if !names.insert(name.clone()) {
                let problem = "this object is in the file twice".to_owned();
                let fault = Fault {
                    within,
                    object: Some(name),
                    field: Some("metadata.name".to_owned()),
                    problem,
                };
                return Err(located(file_name, text, index, fault));
            }
            objects.push(object);
        }
    }
    Ok(objects)
}

/// One document as the objects in it, each with its place within the document. Documents are reduced while they are
/// read, so that a large file never exists as a tree.
struct Document(Result<Vec<(String, Object)>, Fault>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| Self(resource::read(value)))
    }
}

fn documents(file_name: &str, text: &str) -> Result<Vec<Document>, ManifestError> {
    if Path::new(file_name)
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error: serde_json::Error| {
                let position = Position {
                    line: error.line() as u64,
                    column: error.column() as u64,
                };
                // serde_json ends its message with the position, which is shown in front already.
                let message = error.to_string();
                let problem = message
                    .rsplit_once(" at line ")
                    .map_or(message.as_str(), |(problem, _)| problem);
                broken(file_name, text, Some(position), problem.to_owned())
            })
    } else {
        serde_saphyr::from_multiple_with_options(text, yaml_options()).map_err(|error| {
            let position = locate::position_of(&error);
            broken(file_name, text, position, locate::message_of(&error))
        })
    }
}

/// An error of the syntax: object and field are guessed from the text.
fn broken(file_name: &str, text: &str, position: Option<Position>, problem: String) -> ManifestError {
    let (object, field) = position
        .map(|position| locate::surroundings(text, position.line))
        .unwrap_or_default();
    ManifestError {
        file: file_name.to_owned(),
        position,
        object,
        field,
        problem,
    }
}

/// An error of the content: the position is looked up from the field's path.
fn located(file_name: &str, text: &str, document: usize, fault: Fault) -> ManifestError {
    let Fault {
        within,
        object,
        field,
        problem,
    } = fault;
    let path = match (&field, within.is_empty()) {
        (None, _) => within,
        (Some(field), true) => field.clone(),
        (Some(field), false) => format!("{within}.{field}"),
    };
    let position = locate::position_of_path(text, document, &path);
    ManifestError {
        file: file_name.to_owned(),
        position,
        object,
        field,
        problem,
    }
}
