//! The agent's HTTP servers: the one that load balancers and the kubelet probe, and the one for operators' eyes, both at
//! kube-proxy's addresses; and one for probes alone, which never meets a kube-proxy that still has those.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, any};

use super::health::{Probe, Report, SharedHealth};
use super::metrics::Metrics;
use crate::http::{BindAddress, OnBindFailure};

/// The port of `--healthz-bind-address` where it names none.
const HEALTHZ_PORT: u16 = 10256;
/// The port of `--metrics-bind-address` where it names none.
const METRICS_PORT: u16 = 10249;
/// The port of `--probe-bind-address` where it names none.
const PROBE_PORT: u16 = 10269;
/// What `/proxyMode` says.
const PROXY_MODE: &str = "nftables";

const JSON: &str = "application/json";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// The flags of the servers, those that kube-proxy has too in its names.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerFlags {
    /// Address and port of the server for health checks; empty for none
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value_t = BindAddress(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), HEALTHZ_PORT))),
        value_parser = |text: &str| BindAddress::parse(text, HEALTHZ_PORT),
    )]
    pub healthz_bind_address: BindAddress,
    /// Address and port of the server for metrics; empty for none
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value_t = BindAddress(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), METRICS_PORT))),
        value_parser = |text: &str| BindAddress::parse(text, METRICS_PORT),
    )]
    pub metrics_bind_address: BindAddress,
    /// Address and port of a server for this agent's own probes, `/livez` and `/readyz`; none by default. While a kube-proxy
    /// still runs, probes at the other two addresses would be answered by it
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value_t = BindAddress(None),
        hide_default_value = true,
        value_parser = |text: &str| BindAddress::parse(text, PROBE_PORT),
    )]
    pub probe_bind_address: BindAddress,
    /// End the agent when one of these addresses is taken, instead of trying again
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub bind_address_hard_fail: bool,
}

impl ServerFlags {
    /// What a taken address leads to.
    pub fn on_bind_failure(&self) -> OnBindFailure {
        if self.bind_address_hard_fail {
            OnBindFailure::GiveUp
        } else {
            OnBindFailure::Retry
        }
    }
}

/// `/healthz` and `/livez`.
pub fn healthz_router(health: SharedHealth, metrics: Metrics) -> Router {
    let counted = move |probe: Probe| {
        let metrics = metrics.clone();
        report(health.clone(), probe, move |report| {
            metrics.probe_answered(probe, report.status());
        })
    };
    Router::new()
        .route("/healthz", counted(Probe::Healthz))
        .route("/livez", counted(Probe::Livez))
}

/// Answers with kube-proxy's status and body for a probe. `told` learns of each answer.
fn report(health: SharedHealth, probe: Probe, told: impl Fn(&Report) + Clone + Send + Sync + 'static) -> MethodRouter {
    any(move || {
        let report = health.report(probe);
        told(&report);
        let status = StatusCode::from_u16(report.status()).expect("200 and 503 are statuses");
        std::future::ready((status, content(JSON), report.body()))
    })
}

/// `/livez`, and `/readyz` with the reason if it is not ready.
pub fn probe_router(health: SharedHealth) -> Router {
    Router::new()
        .route("/livez", report(health.clone(), Probe::Livez, |_| ()))
        .route(
            "/readyz",
            any(move || {
                let (status, text) = match health.readiness() {
                    Ok(()) => (StatusCode::OK, "ok".to_owned()),
                    Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason.to_string()),
                };
                std::future::ready((status, content(PLAIN_TEXT), text))
            }),
        )
}

/// `/metrics`, `/metrics/slis`, `/healthz` and `/livez` in the sense of the kubelet, `/proxyMode`, and `/configz` with
/// the running configuration.
pub fn metrics_router(health: SharedHealth, metrics: Metrics, configuration: &serde_json::Value) -> Router {
    let configuration: Arc<str> = configuration.to_string().into();
    let live = health.clone();
    let livez = report(health.clone(), Probe::Livez, |_| ());
    Router::new()
        .route(
            "/metrics",
            any(move || std::future::ready((content(Metrics::CONTENT_TYPE), metrics.encode()).into_response())),
        )
        .route(
            "/metrics/slis",
            any(move || std::future::ready((content(Metrics::CONTENT_TYPE), slis(&health)))),
        )
        // kube-proxy's answer here is the word alone, not the JSON of the other server.
        .route(
            "/healthz",
            any(move || {
                let is_live = live.report(Probe::Livez).is_healthy;
                let (status, word) = if is_live {
                    (StatusCode::OK, "ok")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "unhealthy")
                };
                std::future::ready((status, content(PLAIN_TEXT), word))
            }),
        )
        .route("/livez", livez)
        .route(
            "/proxyMode",
            any(|| std::future::ready((content(PLAIN_TEXT), PROXY_MODE))),
        )
        .route(
            "/configz",
            any(move || std::future::ready((content(JSON), configuration.to_string()))),
        )
}

/// Kubernetes' service level indicators of a component: one gauge per health check.
fn slis(health: &SharedHealth) -> String {
    let mut text = String::from(
        "# HELP kubernetes_healthcheck Result of the health check.\n# TYPE kubernetes_healthcheck gauge\n",
    );
    for (probe, kind) in [(Probe::Healthz, "healthz"), (Probe::Livez, "livez")] {
        let value = u8::from(health.report(probe).is_healthy);
        let _ = writeln!(
            text,
            "kubernetes_healthcheck{{name=\"service-proxy\",type=\"{kind}\"}} {value}"
        );
    }
    text
}

fn content(content_type: &'static str) -> [(HeaderName, &'static str); 2] {
    [(CONTENT_TYPE, content_type), (X_CONTENT_TYPE_OPTIONS, "nosniff")]
}

#[cfg(test)]
mod tests;
