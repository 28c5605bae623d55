//! What such a server answers, whatever path is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, StatusCode};
use fairlead_model::ServiceName;

use crate::agent::health::{Probe, SharedHealth};

/// How many of a load balancer's connections this node would like, in proportion to the other nodes.
const WEIGHT: HeaderName = HeaderName::from_static("x-load-balancing-endpoint-weight");

pub(super) fn router(service: ServiceName, endpoints: Arc<AtomicUsize>, health: SharedHealth) -> Router {
    Router::new().fallback(move || {
        let count = endpoints.load(Ordering::Relaxed);
        let is_proxy_healthy = health.report(Probe::Livez).is_healthy;
        let status = if count > 0 && is_proxy_healthy {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let headers = [
            (CONTENT_TYPE, "application/json".to_owned()),
            (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (WEIGHT, count.to_string()),
        ];
        std::future::ready((status, headers, body(&service, count, is_proxy_healthy)))
    })
}

/// kube-proxy's text: tabs, no newline at the end. Both names are DNS labels, so nothing in them needs escaping.
fn body(service: &ServiceName, local_endpoints: usize, is_proxy_healthy: bool) -> String {
    let ServiceName { namespace, name } = service;
    format!(
        "{{\n\
         \t\"service\": {{\n\
         \t\t\"namespace\": \"{namespace}\",\n\
         \t\t\"name\": \"{name}\"\n\
         \t}},\n\
         \t\"localEndpoints\": {local_endpoints},\n\
         \t\"serviceProxyHealthy\": {is_proxy_healthy}\n\
         }}"
    )
}
