//! What of the cluster matters to load balancers of AWS, beside Services: watched only where there is a provider of them.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Node, PodCondition, PodReadinessGate};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::watch::{self, Change, IfUnknown};

/// Messages that may wait to be read.
const AHEAD: usize = 1024;

/// One message.
#[derive(Debug, Clone)]
pub enum Told {
    /// A node.
    Node(Change<Node>),
    /// Endpoints.
    EndpointSlice(Change<EndpointSlice>),
    /// A pod.
    Pod(Change<Pod>),
}

/// The part of a pod that readiness gates are about. There are many pods, and the rest of each is long.
#[derive(Debug, Clone, Deserialize)]
pub struct Pod {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What it asks for.
    #[serde(default)]
    pub spec: PodSpec,
    /// What it came to.
    #[serde(default)]
    pub status: PodStatus,
}

/// The part of `spec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// What it waits for before it is ready.
    pub readiness_gates: Vec<PodReadinessGate>,
}

/// The part of `status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Its conditions.
    pub conditions: Vec<PodCondition>,
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What it means that a kind is not known.
const IF_UNKNOWN: IfUnknown = IfUnknown::Warn("every API server has this kind");

/// Follows all kinds until the tasks are dropped.
pub fn follow(client: &Client) -> (mpsc::Receiver<Told>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let mut tasks = JoinSet::new();
    tasks.spawn(watch::forward(
        Api::all(client.clone()),
        IF_UNKNOWN,
        sender.clone(),
        Told::Node,
    ));
    tasks.spawn(watch::forward(
        Api::all(client.clone()),
        IF_UNKNOWN,
        sender.clone(),
        Told::EndpointSlice,
    ));
    tasks.spawn(watch::forward(Api::all(client.clone()), IF_UNKNOWN, sender, Told::Pod));
    (receiver, tasks)
}
