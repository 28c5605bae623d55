//! What the API server tells: five kinds, each listed and then watched.

use std::fmt::Debug;

use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use crate::watch::Change;
use crate::watch::{self, IfUnknown};

/// Messages that may wait to be read.
const AHEAD: usize = 1024;

/// One message.
#[derive(Debug, Clone)]
pub enum Told {
    /// A Service.
    Service(Change<Service>),
    /// A Namespace, for its labels.
    Namespace(Change<Namespace>),
    /// A provider.
    Provider(Change<LoadBalancerProvider>),
    /// A pool.
    Pool(Change<AddressPool>),
    /// A load balancer.
    LoadBalancer(Change<LoadBalancer>),
}

/// What it means that a kind is not known.
const IF_UNKNOWN: IfUnknown = IfUnknown::Warn("is the chart fairlead-crds installed?");

/// Follows all kinds until the tasks are dropped. A kind that cannot be listed is tried again, and said once.
pub fn follow(client: &Client) -> (mpsc::Receiver<Told>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let mut tasks = JoinSet::new();
    tasks.spawn(watch::forward(
        Api::all(client.clone()),
        IF_UNKNOWN,
        sender.clone(),
        Told::Service,
    ));
    tasks.spawn(watch::forward(
        Api::all(client.clone()),
        IF_UNKNOWN,
        sender.clone(),
        Told::Namespace,
    ));
    tasks.spawn(watch::forward(
        Api::all(client.clone()),
        IF_UNKNOWN,
        sender.clone(),
        Told::Provider,
    ));
    tasks.spawn(watch::forward(
        Api::all(client.clone()),
        IF_UNKNOWN,
        sender.clone(),
        Told::Pool,
    ));
    tasks.spawn(watch::forward(
        Api::all(client.clone()),
        IF_UNKNOWN,
        sender,
        Told::LoadBalancer,
    ));
    (receiver, tasks)
}
