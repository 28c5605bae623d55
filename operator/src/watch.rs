//! Objects of one kind, listed and then watched for ever, as plain messages.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::chain::Chain;

/// The wait after a first failure; doubled with each further one up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

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

/// What it means that the API server does not know a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfUnknown {
    /// Something is wrong, and this may be it.
    Warn(&'static str),
    /// It is not used in this cluster, with this consequence.
    Inform(&'static str),
}

/// Follows a kind. One that cannot be listed is tried again, ever more rarely; that is logged once, and so is its end.
pub fn follow<K>(api: Api<K>, config: watcher::Config, if_unknown: IfUnknown) -> impl Stream<Item = Change<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let follower = Follower {
        events: watcher(api, config).boxed(),
        list: Vec::new(),
        wait: None,
        if_unknown,
    };
    futures::stream::unfold(follower, |mut follower| async move {
        let change = follower.next().await?;
        Some((change, follower))
    })
}

/// Follows a kind and sends what is told, until nobody listens any more.
pub async fn forward<K, T>(api: Api<K>, if_unknown: IfUnknown, sender: mpsc::Sender<T>, told: fn(Change<K>) -> T)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut changes = pin!(follow(api, watcher::Config::default(), if_unknown));
    while let Some(change) = changes.next().await {
        if sender.send(told(change)).await.is_err() {
            return;
        }
    }
}

struct Follower<K> {
    events: futures::stream::BoxStream<'static, watcher::Result<watcher::Event<K>>>,
    list: Vec<Arc<K>>,
    /// The last wait, while the kind cannot be had.
    wait: Option<Duration>,
    if_unknown: IfUnknown,
}

impl<K: Resource<DynamicType = ()> + 'static> Follower<K> {
    /// Lists become one message each.
    async fn next(&mut self) -> Option<Change<K>> {
        loop {
            let change = match self.events.next().await? {
                Err(error) => {
                    self.failed(&error);
                    let wait = self.wait.map_or(FIRST_WAIT, |wait| (wait * 2).min(LONGEST_WAIT));
                    self.wait = Some(wait);
                    sleep(wait).await;
                    continue;
                }
                // A list that begins says nothing of its end.
                Ok(watcher::Event::Init) => {
                    self.list.clear();
                    continue;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    self.list.push(Arc::new(object));
                    continue;
                }
                Ok(watcher::Event::InitDone) => Change::All(std::mem::take(&mut self.list)),
                Ok(watcher::Event::Apply(object)) => Change::Is(Arc::new(object)),
                Ok(watcher::Event::Delete(object)) => Change::Gone(Arc::new(object)),
            };
            if self.wait.take().is_some() {
                tracing::info!(kind = &*K::kind(&()), "watching again");
            }
            return Some(change);
        }
    }

    fn failed(&self, error: &watcher::Error) {
        if self.wait.is_some() {
            return;
        }
        let kind = K::kind(&());
        let is_unknown = matches!(
            error,
            watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404
        );
        match self.if_unknown {
            IfUnknown::Inform(consequence) if is_unknown => {
                tracing::info!("the API server does not know of {kind} objects: {consequence}");
            }
            IfUnknown::Warn(cause) if is_unknown => {
                tracing::warn!(kind = &*kind, error = %Chain(error), "cannot watch, trying again; {cause}");
            }
            _ => tracing::warn!(kind = &*kind, error = %Chain(error), "cannot watch, trying again"),
        }
    }
}
