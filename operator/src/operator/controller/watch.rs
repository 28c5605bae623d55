//! What the API server tells: five kinds, each listed and then watched.

use std::fmt::Debug;
use std::sync::Arc;

use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::chain::Chain;

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

/// What became of objects of a kind.
#[derive(Debug, Clone)]
pub enum Change<K> {
    /// All that there are.
    All(Vec<Arc<K>>),
    /// It is there, or has changed.
    Is(Arc<K>),
    /// It is gone.
    Gone(Arc<K>),
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
        let kind = K::kind(&());
        let mut changes = std::pin::pin!(changes(
            watcher(api, watcher::Config::default()).default_backoff(),
            &kind
        ));
        while let Some(change) = changes.next().await {
            if sender.send(told(change)).await.is_err() {
                return;
            }
        }
    }
}

/// Lists become one message each, and troubles are logged: the first, and its end.
fn changes<K: ResourceExt + 'static>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    kind: &str,
) -> impl Stream<Item = Change<K>> {
    let mut list = Vec::new();
    let mut is_troubled = false;
    events.filter_map(move |event| {
        let change = match event {
            Err(error) => {
                if !is_troubled {
                    let hint = if kind == "Service" || kind == "Namespace" {
                        ""
                    } else {
                        "; is the chart fairlead-crds installed?"
                    };
                    tracing::warn!(kind, error = %Chain(&error), "cannot watch, trying again{hint}");
                }
                is_troubled = true;
                None
            }
            Ok(event) => {
                if std::mem::take(&mut is_troubled) {
                    tracing::info!(kind, "watching again");
                }
                match event {
                    watcher::Event::Init => {
                        list.clear();
                        None
                    }
                    watcher::Event::InitApply(object) => {
                        list.push(Arc::new(object));
                        None
                    }
                    watcher::Event::InitDone => Some(Change::All(std::mem::take(&mut list))),
                    watcher::Event::Apply(object) => Some(Change::Is(Arc::new(object))),
                    watcher::Event::Delete(object) => Some(Change::Gone(Arc::new(object))),
                }
            }
        };
        std::future::ready(change)
    })
}
