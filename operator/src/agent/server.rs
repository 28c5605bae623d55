//! The agent's HTTP servers: the one that load balancers and the kubelet probe, and the one for operators' eyes, both at
//! kube-proxy's addresses; and one for probes alone, which never meets a kube-proxy that still has those.

use std::convert::Infallible;
use std::fmt::{self, Write as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, SERVER, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::health::{Probe, Report, SharedHealth};
use super::listen::{listen, serve};
use super::metrics::Metrics;

/// How long after a failed attempt the address is tried again.
const BIND_RETRY: Duration = Duration::from_secs(5);
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

/// Where a server listens, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindAddress(pub Option<SocketAddr>);

/// A text that is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no address to listen on: write it like 0.0.0.0:{port} or [::]:{port}, or leave it empty for no server"
)]
pub struct NoBindAddress {
    text: String,
    port: u16,
}

impl BindAddress {
    /// Reads `IP:PORT`, `IP`, `:PORT`, or nothing at all, which switches the server off.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, NoBindAddress> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self(None));
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        let any = |port: &str| Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.parse().ok()?)));
        text.parse()
            .ok()
            .or_else(|| Some(SocketAddr::from((bare.parse::<IpAddr>().ok()?, default_port))))
            .or_else(|| text.strip_prefix(':').and_then(any))
            .map(|address| Self(Some(address)))
            .ok_or_else(|| NoBindAddress {
                text: text.to_owned(),
                port: default_port,
            })
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |address| address.fmt(f))
    }
}

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

/// What to do about an address that cannot be listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBindFailure {
    /// Say so once and try until it works.
    Retry,
    /// Return the error.
    GiveUp,
}

/// A server that did not start.
#[derive(Debug, thiserror::Error)]
#[error("{server} server cannot listen on {address}")]
pub struct BindError {
    server: &'static str,
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Runs a server until the future is dropped. It returns only for an address that cannot be had under
/// [`OnBindFailure::GiveUp`]; a server that is switched off waits for ever, so that its task looks like the others.
pub async fn run(
    server: &'static str,
    address: BindAddress,
    on_failure: OnBindFailure,
    router: Router,
) -> Result<Infallible, BindError> {
    let Some(address) = address.0 else {
        return Ok(std::future::pending().await);
    };
    let listener = acquire(server, address, on_failure, BIND_RETRY).await?;
    tracing::info!(server, %address, "listening");
    Ok(serve(listener, router.layer(map_response(name_server))).await)
}

/// The value of the header `Server`, which tells our answers from those of a kube-proxy at the same address.
pub(super) const SERVER_NAME: &str = "fairlead";

async fn name_server(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(SERVER, HeaderValue::from_static(SERVER_NAME));
    response
}

async fn acquire(
    server: &'static str,
    address: SocketAddr,
    on_failure: OnBindFailure,
    retry: Duration,
) -> Result<TcpListener, BindError> {
    let mut is_reported = false;
    loop {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(source) if on_failure == OnBindFailure::GiveUp => {
                return Err(BindError {
                    server,
                    address,
                    source,
                });
            }
            Err(err) => {
                if !is_reported {
                    tracing::warn!(server, %address, error = %err, "cannot listen, trying again until it works");
                    is_reported = true;
                }
                sleep(retry).await;
            }
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
