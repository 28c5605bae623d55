//! Telling the Service's owner that a health check port could not be opened.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::time::timeout;

use super::ListenFailure;
use crate::chain::Chain;

/// The name under which the agent's events appear.
const CONTROLLER: &str = "fairlead-agent";
/// How long an event may take. It is told to people; nothing waits for it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Records events of the agent on a node. It joins repetitions of an event into one with a count.
pub fn recorder(client: Client, node_name: &str) -> Recorder {
    Recorder::new(
        client,
        Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(node_name.to_owned()),
        },
    )
}

/// Writes a failure to the log and, where there is a cluster, as a Warning event of the Service. An event that cannot be
/// written is logged and otherwise lost. By `uid`, the Service's, `kubectl describe` finds it.
pub async fn publish(recorder: Option<&Recorder>, node_name: &str, failure: &ListenFailure, uid: Option<&str>) {
    tracing::warn!(error = %Chain(failure), reason = failure.reason(), "health check node port is not served");
    let Some(recorder) = recorder else { return };
    let service = &failure.socket.service;
    let event = Event {
        type_: EventType::Warning,
        reason: failure.reason().to_owned(),
        note: Some(format!(
            "node {node_name} failed to start healthcheck \"{service}\" on port {}: {}",
            failure.socket.address.port(),
            failure.source,
        )),
        action: "Listen".to_owned(),
        secondary: None,
    };
    let regarding = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(service.namespace.to_string()),
        name: Some(service.name.to_string()),
        uid: uid.map(str::to_owned),
        ..ObjectReference::default()
    };
    match timeout(PUBLISH_TIMEOUT, recorder.publish(&event, &regarding)).await {
        Ok(Ok(())) => {}
        Ok(Err(err)) => tracing::debug!(error = %Chain(&err), %service, "event was not written"),
        Err(_) => tracing::debug!(%service, "event was not written in time"),
    }
}
