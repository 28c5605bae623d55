//! The source against a scripted API server on loopback.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use fairlead_model::Kind;
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::source::{ApiServerFlags, Source, SourceOptions};

const DEADLINE: Duration = Duration::from_secs(20);

fn status(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    Response::builder()
        .status(code)
        .body(Body::from(status.to_string()))
        .unwrap()
}

fn whole(value: &Value) -> Response {
    Response::new(Body::from(value.to_string()))
}

/// Events of a watch that stays open after them.
fn events(events: &[Value]) -> Response {
    let lines: Vec<Result<Bytes, Infallible>> = events.iter().map(|event| Ok(format!("{event}\n").into())).collect();
    Response::new(Body::from_stream(stream::iter(lines).chain(stream::pending())))
}

/// The end of a streamed list.
fn end_of_list(api_version: &str, kind: &str) -> Value {
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    let metadata = json!({"resourceVersion": "9", "annotations": annotations});
    json!({"type": "BOOKMARK", "object": {"apiVersion": api_version, "kind": kind, "metadata": metadata}})
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": name, "resourceVersion": "5"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
    })
}

fn page(names: &[&str], next: &str) -> Value {
    let items: Vec<_> = names.iter().map(|name| service(name)).collect();
    json!({"apiVersion": "v1", "kind": "ServiceList", "metadata": {"resourceVersion": "7", "continue": next}, "items": items})
}

/// Answers everything but Services with an empty streamed list, and `ServiceCIDR`s with a refusal.
fn others(path: &str) -> Response {
    match path {
        "/apis/discovery.k8s.io/v1/endpointslices" => events(&[end_of_list("discovery.k8s.io/v1", "EndpointSlice")]),
        "/api/v1/nodes" => events(&[end_of_list("v1", "Node")]),
        "/apis/networking.k8s.io/v1/servicecidrs" => status(403, "Forbidden", "no"),
        other => status(404, "NotFound", other),
    }
}

/// An API server whose Services are scripted.
struct ApiServer {
    _folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ApiServer {
    /// `answer` gets the query. The first `deaf` connections are closed without a word.
    async fn start(deaf: usize, answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: x, users: [{{name: u, user: {{token: t}}}}], \
              clusters: [{{name: c, cluster: {{server: '{server}'}}}}], contexts: [{{name: x, context: {{cluster: c, user: u}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let router = Router::new().fallback(move |request: Request| {
            let answer = answer.clone();
            async move {
                match request.uri().path() {
                    "/api/v1/services" => answer(request.uri().query().unwrap_or_default()),
                    path => others(path),
                }
            }
        });
        let task = tokio::spawn(async move {
            for _ in 0..deaf {
                drop(listener.accept().await.unwrap());
            }
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            _folder: folder,
            kubeconfig,
            task,
        }
    }

    async fn source(&self) -> Source {
        let options = SourceOptions {
            api_server: ApiServerFlags {
                kubeconfig: Some(self.kubeconfig.clone()),
                master: None,
            },
            ..SourceOptions::new("node-a")
        };
        crate::source::api_server::start(options).await.unwrap()
    }
}

/// The Services that are there once every kind's initial list is complete.
async fn initial_services(source: &mut Source) -> BTreeSet<String> {
    let mut services = BTreeSet::new();
    let mut complete = Vec::new();
    while complete.len() < 4 {
        match next(source).await {
            Change::Service(name, Some(_)) => assert!(services.insert(name.name.to_string())),
            Change::InitialListComplete(kind) => complete.push(kind),
            other => panic!("{other:?}"),
        }
    }
    complete.sort();
    assert_eq!(
        complete,
        [Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::ServiceCidr]
    );
    services
}

async fn next(source: &mut Source) -> Change {
    let mut changes = tokio::time::timeout(DEADLINE, source.changes.recv())
        .await
        .expect("a change in time")
        .expect("a source that runs");
    assert_eq!(changes.len(), 1, "each object comes by itself: {changes:?}");
    changes.remove(0)
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[tokio::test]
async fn lists_are_streamed_with_selectors_and_then_followed() {
    let server = ApiServer::start(0, |query| {
        assert!(query.contains("sendInitialEvents=true"), "{query}");
        assert!(
            query.contains("labelSelector=%21service.kubernetes.io%2Fservice-proxy-name"),
            "{query}"
        );
        assert!(query.contains("fieldSelector=spec.clusterIP%21%3DNone"), "{query}");
        events(&[
            json!({"type": "ADDED", "object": service("a")}),
            end_of_list("v1", "Service"),
            json!({"type": "DELETED", "object": service("a")}),
        ])
    })
    .await;
    let mut source = server.source().await;
    let mut changes = Vec::new();
    while changes.len() < 6 {
        changes.push(next(&mut source).await);
    }
    let services: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Service(_, service) => Some(service.is_some()),
            _ => None,
        })
        .collect();
    assert_eq!(services, [true, false]);
}

#[tokio::test]
async fn lists_come_in_pages_where_streaming_is_refused() {
    let server = ApiServer::start(0, |query| {
        if query.contains("sendInitialEvents") {
            let message =
                "sendInitialEvents: Forbidden: forbidden for watch unless the WatchList feature gate is enabled";
            status(422, "Invalid", message)
        } else if query.contains("watch=true") {
            assert!(query.contains("resourceVersion=7"), "{query}");
            events(&[json!({"type": "ADDED", "object": service("c")})])
        } else if query.contains("continue=more") {
            whole(&page(&["b"], ""))
        } else {
            assert!(query.contains("limit=500"), "{query}");
            whole(&page(&["a"], "more"))
        }
    })
    .await;
    let mut source = server.source().await;
    let mut services = initial_services(&mut source).await;
    while services.len() < 3 {
        let Change::Service(name, Some(_)) = next(&mut source).await else {
            panic!("another change")
        };
        services.insert(name.name.to_string());
    }
    assert_eq!(services, names(["a", "b", "c"]));
}

#[tokio::test]
async fn an_api_server_that_is_not_there_yet_is_waited_for() {
    let server = ApiServer::start(6, |_| {
        events(&[
            json!({"type": "ADDED", "object": service("a")}),
            end_of_list("v1", "Service"),
        ])
    })
    .await;
    let mut source = server.source().await;
    assert_eq!(initial_services(&mut source).await, names(["a"]));
}

#[tokio::test]
async fn a_refusal_is_tried_again() {
    let refusals = Arc::new(Mutex::new(2));
    let server = ApiServer::start(0, move |_| {
        let mut left = refusals.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            return status(403, "Forbidden", "not yet");
        }
        events(&[
            json!({"type": "ADDED", "object": service("a")}),
            end_of_list("v1", "Service"),
        ])
    })
    .await;
    let mut source = server.source().await;
    assert_eq!(initial_services(&mut source).await, names(["a"]));
}

#[tokio::test]
async fn an_object_that_cannot_be_used_is_a_problem_and_the_rest_goes_on() {
    let mut broken = service("broken");
    broken["spec"]["ports"] = json!([{"port": 0}]);
    let server = ApiServer::start(0, move |_| {
        events(&[
            json!({"type": "ADDED", "object": broken}),
            json!({"type": "ADDED", "object": service("a")}),
            end_of_list("v1", "Service"),
        ])
    })
    .await;
    let mut source = server.source().await;
    assert_eq!(initial_services(&mut source).await, names(["a"]));
    let problems = source.problems.borrow();
    assert_eq!(
        problems.current.keys().map(|place| &**place).collect::<Vec<_>>(),
        ["Service default/broken"]
    );
}

#[test]
fn pauses_grow_to_a_limit_and_start_anew() {
    let mut retry = Retry::default();
    let mut full = Retry::FIRST;
    for _ in 0..40 {
        let pause = retry.next();
        assert!(
            pause <= full && pause >= full.mul_f64(0.49),
            "{pause:?} is not about {full:?}"
        );
        full = (full * 2).min(Retry::LONGEST);
    }
    retry.reset();
    assert!(!retry.is_retrying() && retry.next() <= Retry::FIRST);
}

#[tokio::test]
async fn lists_come_in_pages_where_the_stream_itself_ends_in_an_error() {
    let server = ApiServer::start(0, |query| {
        if query.contains("sendInitialEvents") {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "reason": "InternalError",
                "message": "the required storage feature RequestWatchProgress is disabled",
            });
            events(&[json!({"type": "ERROR", "object": status})])
        } else if query.contains("watch=true") {
            events(&[])
        } else {
            whole(&page(&["a"], ""))
        }
    })
    .await;
    let mut source = server.source().await;
    assert_eq!(initial_services(&mut source).await, names(["a"]));
}

#[test]
fn only_a_refused_wish_means_that_lists_are_not_streamed() {
    let is_not_streamed = |code: u16| {
        let status = Status {
            code,
            ..Status::default()
        };
        let error = Error::WatchStartFailed(kube::Error::Api(Box::new(status)));
        NotStreamed::from_trouble(&Trouble::of(&error)).is_some()
    };
    assert!([400, 422, 500].into_iter().all(is_not_streamed));
    assert!(![401, 403, 404, 410, 429, 503].into_iter().any(is_not_streamed));
    assert_eq!(NotStreamed::from_trouble(&Trouble::of(&Error::NoResourceVersion)), None);
}

#[tokio::test]
async fn the_cause_of_an_error_is_found_within_io_errors() {
    let elapsed = tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await;
    let elapsed = io::Error::new(io::ErrorKind::TimedOut, elapsed.unwrap_err());
    let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    // As TLS nests them.
    let unknown = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, unknown));
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    let found = [elapsed, unknown, refused].map(|error| {
        let error = Error::InitialListFailed(kube::Error::Service(error.into()));
        (has_no_connection_in_time(&error), is_about_the_certificate(&error))
    });
    assert_eq!(found, [(true, false), (false, true), (false, false)]);
}
