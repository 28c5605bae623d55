//! Objects of one kind, listed and then watched for ever, as plain messages.

use std::fmt::Debug;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::chain::Chain;

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

/// Follows a kind. One that cannot be listed is tried again; that is logged once, with the `hint` behind it, and so is its end.
pub fn follow<K>(api: Api<K>, config: watcher::Config, hint: &'static str) -> impl Stream<Item = Change<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    changes(watcher(api, config).default_backoff(), K::kind(&()).into_owned(), hint)
}

/// Lists become one message each.
fn changes<K: ResourceExt + 'static>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    kind: String,
    hint: &'static str,
) -> impl Stream<Item = Change<K>> {
    let mut list = Vec::new();
    let mut is_troubled = false;
    events.filter_map(move |event| {
        let change = match event {
            Err(error) => {
                if !is_troubled {
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
