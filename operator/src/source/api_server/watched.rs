//! The kinds that are watched, and objects that are reduced to what a proxy needs while they are read.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use fairlead_model::{Change, EndpointSlice, Kind, Node, ParseError, Service, ServiceCidr, ServiceName, SliceName};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A kind of object that is watched.
pub(super) trait Watched: Clone + Debug + Send + Sync + 'static {
    /// Kubernetes' type.
    type Object: Resource<DynamicType = ()> + DeserializeOwned;
    /// What distinguishes objects of this kind.
    type Key: Clone + Debug + Eq + Hash + Send;
    /// The model's type.
    type Value: Clone + Debug + Send;

    /// The model's kind.
    const KIND: Kind;
    /// The kind's name.
    const NAME: &'static str;

    /// Whether a proxy can do without objects of this kind, where the API server does not have them or does not give them.
    const IS_OPTIONAL: bool = false;

    /// Reads what a proxy needs; `None` if the object is none of its business.
    fn reduce(object: &Self::Object) -> Result<Option<Self::Value>, ParseError>;

    /// The key of an object of this namespace and name.
    fn key(namespace: &str, name: &str) -> Self::Key;

    /// The key of a value. It shares the value's memory.
    fn key_of(value: &Self::Value) -> Self::Key;

    /// The key as people write it.
    fn shown(key: &Self::Key) -> String;

    /// The change to be sent.
    fn change(key: Self::Key, value: Option<Self::Value>) -> Change;
}

/// Services.
#[derive(Debug, Clone)]
pub(super) struct Services;

impl Watched for Services {
    type Object = core::Service;
    type Key = ServiceName;
    type Value = Arc<Service>;

    const KIND: Kind = Kind::Service;
    const NAME: &'static str = "Service";

    fn reduce(object: &core::Service) -> Result<Option<Arc<Service>>, ParseError> {
        Ok(Service::from_resource(object)?.map(Arc::new))
    }

    fn key(namespace: &str, name: &str) -> ServiceName {
        ServiceName::new(namespace, name)
    }

    fn key_of(value: &Arc<Service>) -> ServiceName {
        value.name.clone()
    }

    fn shown(key: &ServiceName) -> String {
        key.to_string()
    }

    fn change(key: ServiceName, value: Option<Arc<Service>>) -> Change {
        Change::Service(key, value)
    }
}

/// `EndpointSlice`s.
#[derive(Debug, Clone)]
pub(super) struct EndpointSlices;

impl Watched for EndpointSlices {
    type Object = discovery::EndpointSlice;
    type Key = SliceName;
    type Value = Arc<EndpointSlice>;

    const KIND: Kind = Kind::EndpointSlice;
    const NAME: &'static str = "EndpointSlice";

    fn reduce(object: &discovery::EndpointSlice) -> Result<Option<Arc<EndpointSlice>>, ParseError> {
        Ok(EndpointSlice::from_resource(object)?.map(Arc::new))
    }

    fn key(namespace: &str, name: &str) -> SliceName {
        SliceName {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    fn key_of(value: &Arc<EndpointSlice>) -> SliceName {
        value.name.clone()
    }

    fn shown(key: &SliceName) -> String {
        format!("{}/{}", key.namespace, key.name)
    }

    fn change(key: SliceName, value: Option<Arc<EndpointSlice>>) -> Change {
        Change::EndpointSlice(key, value)
    }
}

/// The own Node; a field selector leaves the others out.
#[derive(Debug, Clone)]
pub(super) struct OwnNode;

impl Watched for OwnNode {
    type Object = core::Node;
    type Key = Arc<str>;
    type Value = Node;

    const KIND: Kind = Kind::Node;
    const NAME: &'static str = "Node";

    fn reduce(object: &core::Node) -> Result<Option<Node>, ParseError> {
        Node::from_resource(object).map(Some)
    }

    fn key(_: &str, name: &str) -> Arc<str> {
        name.into()
    }

    fn key_of(value: &Node) -> Arc<str> {
        Arc::clone(&value.name)
    }

    fn shown(key: &Arc<str>) -> String {
        key.to_string()
    }

    fn change(_: Arc<str>, value: Option<Node>) -> Change {
        Change::Node(value)
    }
}

/// `ServiceCIDR`s.
#[derive(Debug, Clone)]
pub(super) struct ServiceCidrs;

impl Watched for ServiceCidrs {
    type Object = networking::ServiceCIDR;
    type Key = Arc<str>;
    type Value = ServiceCidr;

    const KIND: Kind = Kind::ServiceCidr;
    const NAME: &'static str = "ServiceCIDR";
    // v1 came with Kubernetes 1.33, and a role written before does not name it.
    const IS_OPTIONAL: bool = true;

    fn reduce(object: &networking::ServiceCIDR) -> Result<Option<ServiceCidr>, ParseError> {
        ServiceCidr::from_resource(object).map(Some)
    }

    fn key(_: &str, name: &str) -> Arc<str> {
        name.into()
    }

    fn key_of(value: &ServiceCidr) -> Arc<str> {
        Arc::clone(&value.name)
    }

    fn shown(key: &Arc<str>) -> String {
        key.to_string()
    }

    fn change(key: Arc<str>, value: Option<ServiceCidr>) -> Change {
        Change::ServiceCidr(key, value)
    }
}

/// What is wrong with an object: its field and the problem with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) problem: String,
}

/// An object of a watched kind, reduced while it is deserialized: the object itself never outlives its own
/// deserialization, so that a page of a list is small. One that cannot be used does not spoil those around it.
#[derive(Debug, Clone)]
pub(super) struct Reduced<W: Watched> {
    /// Namespace, name and resource version; nothing else.
    pub(super) meta: ObjectMeta,
    pub(super) value: Result<Option<W::Value>, Fault>,
}

impl<'de, W: Watched> Deserialize<'de> for Reduced<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tree = Value::deserialize(deserializer)?;
        let metadata = tree.get_mut("metadata").and_then(Value::as_object_mut);
        let metadata = metadata.ok_or_else(|| D::Error::custom("an object without metadata"))?;
        // Nobody reads them, and they are often the largest part of an object.
        metadata.remove("managedFields");
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).map(str::to_owned);
        let meta = ObjectMeta {
            namespace: text("namespace"),
            name: text("name"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        let value = match serde_path_to_error::deserialize::<_, W::Object>(tree) {
            Ok(object) => W::reduce(&object).map_err(|ParseError { field, problem, .. }| Fault { field, problem }),
            Err(error) => Err(Fault {
                field: error.path().to_string(),
                problem: error.into_inner().to_string(),
            }),
        };
        Ok(Self { meta, value })
    }
}

impl<W: Watched> Resource for Reduced<W> {
    type DynamicType = ();
    type Scope = <W::Object as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        W::Object::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        W::Object::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        W::Object::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        W::Object::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
