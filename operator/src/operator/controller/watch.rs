//! What the API server tells: five kinds, each listed and then watched.

use std::fmt::Debug;
use std::pin::pin;

use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
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

/// Follows all kinds until the tasks are dropped. A kind that cannot be listed is tried again, and said once.
pub fn follow(client: &Client) -> (mpsc::Receiver<Told>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let mut tasks = JoinSet::new();
    tasks.spawn(follow_one(client, sender.clone(), Told::Service));
    tasks.spawn(follow_one(client, sender.clone(), Told::Namespace));
    tasks.spawn(follow_one(client, sender.clone(), Told::Provider));
    tasks.spawn(follow_one(client, sender.clone(), Told::Pool));
    tasks.spawn(follow_one(client, sender, Told::LoadBalancer));
    (receiver, tasks)
}

fn follow_one<K>(
    client: &Client,
    sender: mpsc::Sender<Told>,
    told: fn(Change<K>) -> Told,
) -> impl Future<Output = ()> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<K> = Api::all(client.clone());
    async move {
        let if_unknown = IfUnknown::Warn("is the chart fairlead-crds installed?");
        let mut changes = pin!(watch::follow(api, watcher::Config::default(), if_unknown));
        while let Some(change) = changes.next().await {
            if sender.send(told(change)).await.is_err() {
                return;
            }
        }
    }
}
