//! The operator's HTTP servers: probes, and metrics.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::watch;
use tokio::time::Instant;

use super::lease::Timing;
use super::lease::run::Standing;
use super::metrics::Metrics;

/// `/livez` and `/readyz`. A replica that does not lead is ready too: it is there to take over.
pub fn probe_router(standing: watch::Receiver<Standing>, timing: Timing) -> Router {
    let live = standing.clone();
    Router::new()
        .route(
            "/livez",
            get(move || std::future::ready(answer(liveness(&live.borrow(), timing, Instant::now())))),
        )
        .route(
            "/readyz",
            get(move || std::future::ready(answer(readiness(&standing.borrow())))),
        )
}

/// `/metrics`.
pub fn metrics_router(metrics: Metrics) -> Router {
    let encode = move || std::future::ready(([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], metrics.encode()));
    Router::new().route("/metrics", get(encode))
}

fn answer(state: Result<(), String>) -> impl IntoResponse {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// The election drops a claim at its end. One that is still there after the lease's whole duration means that it is stuck.
fn liveness(standing: &Standing, timing: Timing, now: Instant) -> Result<(), String> {
    match standing.claim {
        Some(claim) if !claim.is_valid(now - timing.ending_margin()) => {
            Err("the claim has ended and nobody has noticed".to_owned())
        }
        _ => Ok(()),
    }
}

fn readiness(standing: &Standing) -> Result<(), String> {
    if let Some(trouble) = &standing.trouble {
        return Err(format!("cannot take part in the election: {trouble}"));
    }
    if !standing.has_looked {
        return Err("the lease has not been looked at yet".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operator::lease::{Claim, Generation};

    #[test]
    fn a_replica_is_ready_when_it_takes_part_and_alive_until_a_claim_outlives_its_end() {
        let seconds = Duration::from_secs;
        let timing = Timing::new(seconds(15), seconds(10), seconds(2)).unwrap();
        let mut standing = Standing::default();
        assert!(readiness(&standing).is_err());
        standing.has_looked = true;
        assert_eq!(readiness(&standing), Ok(()));
        standing.trouble = Some("no answer within 5s".to_owned());
        assert_eq!(
            readiness(&standing).unwrap_err(),
            "cannot take part in the election: no answer within 5s"
        );

        let now = Instant::now() + seconds(60);
        standing.claim = Some(Claim {
            generation: Generation(0),
            valid_until: now,
        });
        assert_eq!(liveness(&standing, timing, now + seconds(2)), Ok(()));
        assert!(liveness(&standing, timing, now + seconds(3)).is_err());
    }
}
