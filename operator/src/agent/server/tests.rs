use std::convert::Infallible;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use super::super::health::{Clock, Health};
use super::*;
use crate::http::listen::client::{get, request};
use crate::http::listen::{listen, serve};

const PERIOD: Duration = Duration::from_secs(30);

fn health() -> SharedHealth {
    SharedHealth::new(Health::new(PERIOD), Clock::start())
}

fn start(router: Router) -> (SocketAddr, tokio::task::JoinHandle<Infallible>) {
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    (listener.local_addr().unwrap(), tokio::spawn(serve(listener, router)))
}

#[tokio::test]
async fn healthz_and_livez_answer_as_kube_proxy_does() {
    let (health, metrics) = (health(), Metrics::new());
    let (address, server) = start(healthz_router(health.clone(), metrics.clone()));

    let answer = get(address, "/healthz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["nodeEligible"], true);
    assert_eq!(body["lastUpdated"], body["currentTime"]);

    health.node_seen(false);
    assert_eq!(get(address, "/healthz").await.status, 503);
    let live = get(address, "/livez").await;
    assert_eq!(live.status, 200);
    assert!(!live.body.contains("nodeEligible"), "{}", live.body);
    assert_eq!(get(address, "/").await.status, 404);
    assert_eq!(request(address, "HEAD", "/livez").await.unwrap().status, 200);

    let text = metrics.encode();
    assert!(
        text.contains("kubeproxy_proxy_healthz_total{code=\"200\"} 1\n"),
        "{text}"
    );
    assert!(
        text.contains("kubeproxy_proxy_healthz_total{code=\"503\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("kubeproxy_proxy_livez_total{code=\"200\"} 2\n"), "{text}");
    server.abort();
}

#[tokio::test]
async fn an_update_that_is_late_fails_both() {
    let health = SharedHealth::new(Health::new(Duration::ZERO), Clock::start());
    let (address, server) = start(healthz_router(health.clone(), Metrics::new()));
    health.queued();
    assert_eq!(get(address, "/healthz").await.status, 503);
    assert_eq!(get(address, "/livez").await.status, 503);
    health.synced(None);
    assert_eq!(get(address, "/healthz").await.status, 200);
    server.abort();
}

#[tokio::test]
async fn the_metrics_server_has_its_pages() {
    let configuration = json!({"fairlead.agent": {"nodeName": "a"}});
    let (address, server) = start(metrics_router(health(), Metrics::new(), &configuration));
    let metrics = get(address, "/metrics").await;
    assert_eq!(metrics.status, 200);
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(
        metrics
            .body
            .contains("# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram\n")
    );
    assert_eq!(get(address, "/proxyMode").await.body, "nftables");
    assert_eq!(get(address, "/healthz").await.body, "ok");
    assert_eq!(get(address, "/livez").await.status, 200);
    let configz: serde_json::Value = serde_json::from_str(&get(address, "/configz").await.body).unwrap();
    assert_eq!(configz, configuration);
    let slis = get(address, "/metrics/slis").await.body;
    assert!(
        slis.contains("kubernetes_healthcheck{name=\"service-proxy\",type=\"livez\"} 1\n"),
        "{slis}"
    );
    assert_eq!(get(address, "/debug").await.status, 404);
    server.abort();
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: ServerFlags,
}

#[test]
fn the_flags_have_kube_proxys_names_and_defaults() {
    let flags = Line::try_parse_from(["agent"]).unwrap().flags;
    assert_eq!(flags.healthz_bind_address.to_string(), "0.0.0.0:10256");
    assert_eq!(flags.metrics_bind_address.to_string(), "127.0.0.1:10249");
    assert_eq!(flags.on_bind_failure(), OnBindFailure::Retry);

    let flags = Line::try_parse_from([
        "agent",
        "--healthz-bind-address=",
        "--metrics-bind-address=[::]",
        "--bind-address-hard-fail=true",
    ])
    .unwrap()
    .flags;
    assert_eq!(flags.healthz_bind_address, BindAddress(None));
    assert_eq!(flags.metrics_bind_address.to_string(), "[::]:10249");
    assert_eq!(flags.on_bind_failure(), OnBindFailure::GiveUp);
    assert!(
        Line::try_parse_from(["agent", "--bind-address-hard-fail"])
            .unwrap()
            .flags
            .bind_address_hard_fail
    );
}
