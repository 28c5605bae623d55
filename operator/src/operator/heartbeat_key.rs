//! The Secret with the key that nodes sign their heartbeats with. It is made where it is missing, and never changed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::{sleep, timeout};

use crate::agent::announce::key::KEY;
use crate::chain::Chain;

/// As long as the hash that it goes into.
const LENGTH: usize = 32;
/// How often it is looked whether the Secret is there.
const LOOK: Duration = Duration::from_mins(1);
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(5);
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Sees to it that there is one, for as long as it runs.
pub async fn keep(client: Client, namespace: String, name: String) -> Infallible {
    if name.is_empty() {
        return std::future::pending().await;
    }
    let api: Api<Secret> = Api::namespaced(client, &namespace);
    let mut is_troubled = false;
    loop {
        let pause = match timeout(ANSWERS_WITHIN, ensure(&api, &name)).await {
            Ok(Ok(is_new)) => {
                is_troubled = false;
                if is_new {
                    tracing::info!(namespace, name, "made the Secret with the key of heartbeats");
                }
                LOOK
            }
            Ok(Err(error)) => {
                if !std::mem::replace(&mut is_troubled, true) {
                    tracing::warn!(namespace, name, error = %Chain(&error), "cannot see to the Secret with the key of heartbeats, trying again");
                }
                RETRY
            }
            Err(_) => RETRY,
        };
        sleep(pause).await;
    }
}

/// True if it was made.
async fn ensure(api: &Api<Secret>, name: &str) -> kube::Result<bool> {
    if api.get_metadata_opt(name).await?.is_some() {
        return Ok(false);
    }
    let mut key = vec![0; LENGTH];
    getrandom(&mut key, GetRandomFlags::empty()).map_err(|errno| kube::Error::Service(Box::new(errno)))?;
    let labels = [
        ("app.kubernetes.io/name", "fairlead"),
        ("app.kubernetes.io/managed-by", "fairlead-operator"),
    ];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(key))])),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}
