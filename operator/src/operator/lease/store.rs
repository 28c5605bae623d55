//! The Lease object at the API server.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use super::election::Written;
use super::{NAME, Record, Timing, Write};

/// A request about the lease that was not answered with an answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It took too long. It may have had its effect all the same.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Refused, or not sent.
    #[error("cannot reach the lease")]
    Request(#[source] Box<kube::Error>),
}

/// The Lease object, and who asks for it.
#[derive(Debug, Clone)]
pub struct Store {
    api: Api<Lease>,
    identity: Arc<str>,
    timing: Timing,
}

impl Store {
    /// The lease of a namespace. The client must not repeat requests by itself: each has its time.
    pub fn new(client: Client, namespace: &str, identity: Arc<str>, timing: Timing) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity,
            timing,
        }
    }

    /// The lease as it is; none if there is no such object.
    pub async fn look(&self) -> Result<Option<Record>, StoreError> {
        let lease = self.in_time(self.api.get_opt(NAME)).await?;
        Ok(lease.map(Record::from))
    }

    /// Writes the lease, unless it has changed meanwhile.
    pub async fn write(&self, write: &Write) -> Result<Written, StoreError> {
        let object = write.to_object(&self.identity, &self.timing, &MicroTime(Timestamp::now()));
        let parameters = PostParams::default();
        let is_new = write.over().is_none();
        let written = if is_new {
            self.in_time(self.api.create(&parameters, &object)).await
        } else {
            self.in_time(self.api.replace(NAME, &parameters, &object)).await
        };
        match written {
            Ok(lease) => Ok(Written::Done(lease.into())),
            Err(StoreError::Request(error)) => match *error {
                kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Ok(Written::Conflict),
                // One that is to be replaced was deleted. One that is to be made has no namespace to be in.
                kube::Error::Api(status) if status.is_not_found() && !is_new => Ok(Written::Conflict),
                error => Err(StoreError::Request(Box::new(error))),
            },
            Err(error) => Err(error),
        }
    }

    /// Tells when somebody has written it, as soon as that works. It may miss something.
    pub fn changes(&self) -> impl Stream<Item = Option<Record>> + Send + use<> {
        let watch = watcher::watch_object(self.api.clone(), NAME).default_backoff();
        watch.filter_map(|event| std::future::ready(event.ok().map(|lease| lease.map(Record::from))))
    }

    async fn in_time<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
        let limit = self.timing.request_timeout();
        match tokio::time::timeout(limit, request).await {
            Ok(answer) => answer.map_err(|error| StoreError::Request(Box::new(error))),
            Err(_) => Err(StoreError::Timeout(limit)),
        }
    }
}
