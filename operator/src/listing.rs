//! Lists of objects, for commands that ask once.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

/// How long one list may take, with all tries.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// The answer for a kind that the API server does not know. Of a whole group that it does not know it says no more than that.
const NOT_FOUND: u16 = 404;
/// The answer of an API server that is not ready for the question yet, as for a kind that has just been made.
const TOO_MANY_REQUESTS: u16 = 429;
/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    /// No answer came.
    #[error("the API server does not answer a question for {kind}")]
    Timeout {
        /// The kind, in the plural.
        kind: String,
    },
    /// The answer is no list.
    #[error("cannot list {kind}")]
    Request {
        /// The kind, in the plural.
        kind: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// All objects of a kind; nothing if the API server does not know the kind.
pub(crate) async fn list<K>(api: &Api<K>, kind: &str, parameters: &ListParams) -> Result<Option<Vec<K>>, ListError>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let ask = async {
        loop {
            match api.list(parameters).await {
                Ok(list) => return Ok(Some(list.items)),
                Err(kube::Error::Api(status)) if status.code == NOT_FOUND => return Ok(None),
                Err(kube::Error::Api(status)) if status.code == TOO_MANY_REQUESTS => sleep(PAUSE).await,
                Err(source) => {
                    return Err(ListError::Request {
                        kind: kind.to_owned(),
                        source: Box::new(source),
                    });
                }
            }
        }
    };
    timeout(ANSWERS_WITHIN, ask)
        .await
        .unwrap_or_else(|_| Err(ListError::Timeout { kind: kind.to_owned() }))
}

/// [`list`] of a kind of the code's own.
pub(crate) async fn list_all<K>(api: &Api<K>, parameters: &ListParams) -> Result<Option<Vec<K>>, ListError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    list(api, &K::plural(&()), parameters).await
}

/// What to say of a kind of ours that the API server does not know.
pub(crate) fn unknown_kind(kind: &str) -> String {
    format!("the API server does not know {kind}: is the chart fairlead-crds installed?")
}
