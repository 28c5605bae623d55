//! Puts the operator together: servers, the election, and the leader's work.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::aws::accounts::accounts;
use super::aws::figures::Counters;
use super::controller::drivers::Aws;
use super::controller::figures::{Board, Figures};
use super::flags::OperatorFlags;
use super::lease::election::Election;
use super::lease::run::Standing;
use super::lease::store::Store;
use super::metrics::Metrics;
use super::server::{metrics_router, probe_router};
use super::{controller, heartbeat_key, lease};
use crate::http::{self, OnBindFailure};
use crate::source::api_server;

/// Runs the operator until it is told to end.
pub async fn run(flags: OperatorFlags) -> anyhow::Result<()> {
    let timing = flags.election.timing()?;
    let identity = flags.election.unique_identity().context("cannot make a name")?;
    let namespace = flags.election.namespace();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = &*identity,
        namespace,
        "operator starts"
    );
    let client = api_server::client(&flags.api_server).await?;
    let (standing, stands) = watch::channel(Standing::default());
    let mut servers = JoinSet::new();
    let (figures, shown) = watch::channel(Figures::default());
    let counters = Counters::default();
    let metrics = metrics_router(Metrics::new(stands.clone(), shown, counters.clone()));
    let probes = probe_router(stands, timing);
    servers.spawn(http::run(
        "metrics",
        flags.metrics_bind_address,
        OnBindFailure::GiveUp,
        metrics,
    ));
    servers.spawn(http::run(
        "probes",
        flags.probe_bind_address,
        OnBindFailure::GiveUp,
        probes,
    ));

    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = async move {
        // Cancel-safe: both only tell.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
    };
    let work_client = client.clone();
    let store = Store::new(client, &namespace, identity.clone(), timing);
    let election = Election::new(identity.clone(), timing);
    let figures = Arc::new(figures);
    let heartbeat_secret = flags.heartbeat_secret;
    let aws = Aws {
        accounts: accounts(counters.clone()),
        timing: flags.aws.timing(),
        counters,
    };
    let work = |claims| {
        let board = Board::new(figures.clone());
        let controlled = controller::run::run(work_client.clone(), identity.clone(), claims, board, aws.clone());
        let key = heartbeat_key::keep(work_client.clone(), namespace.clone(), heartbeat_secret.clone());
        async move {
            tokio::select! {
                result = controlled => result,
                never = key => match never {},
            }
        }
    };
    let elected = lease::run::run(store, election, &standing, stop, work);
    tokio::select! {
        result = elected => result.map_err(Into::into),
        Some(ended) = servers.join_next() => match ended {
            Ok(Ok(never)) => match never {},
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(anyhow!(error).context("a server ended")),
        },
    }
}
