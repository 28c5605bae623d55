//! Making conntrack forget UDP flows to endpoints that are gone, beside the loop: a large table takes a while to read.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use fairlead_dataplane::netlink::NetlinkError;
use fairlead_dataplane::netlink::conntrack::{Conntrack, Entry};
use fairlead_dataplane::udp::UdpServices;
use fairlead_model::{Family, Protocol, ServiceName};
use tokio::task::{JoinHandle, spawn_blocking};

use super::metrics::Metrics;
use crate::chain::Chain;
use crate::view::View;

/// The clean-up: what is due, and the run under way. Services whose run failed are due again.
#[derive(Debug, Default)]
pub struct CleanUp {
    due: BTreeSet<ServiceName>,
    running: Option<JoinHandle<Result<(), BTreeSet<ServiceName>>>>,
}

impl CleanUp {
    /// Marks a Service with UDP ports whose endpoints may have changed.
    pub fn mark(&mut self, service: &ServiceName) {
        self.due.insert(service.clone());
    }

    /// Begins a run if one is due and none is under way.
    pub fn start(&mut self, view: &View, metrics: &Metrics) {
        if self.running.is_some() || self.due.is_empty() {
            return;
        }
        let names = std::mem::take(&mut self.due);
        let mut services = UdpServices::default();
        for service in names.iter().filter_map(|name| view.cluster().service(name)) {
            services.add(service, |port, family| view.selection(service, port, family));
        }
        if services.is_empty() {
            return;
        }
        let metrics = metrics.clone();
        self.running = Some(spawn_blocking(move || clean(&services, &metrics).map_err(|()| names)));
    }

    /// Waits for the run under way to end; for ever if there is none. Cancel-safe.
    pub async fn finished(&mut self) {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let result = running.await;
        self.running = None;
        if let Ok(Err(names)) = result {
            self.due.extend(names);
        }
    }
}

/// Runs for both families. An error has been logged.
fn clean(services: &UdpServices, metrics: &Metrics) -> Result<(), ()> {
    let result = Conntrack::open().and_then(|mut conntrack| {
        Family::ALL
            .into_iter()
            .try_for_each(|family| clean_family(&mut conntrack, family, services, metrics))
    });
    result.map_err(|error| {
        tracing::warn!(error = %Chain(&error), reason = error.reason(), "cannot clean UDP flows up");
    })
}

fn clean_family(
    conntrack: &mut Conntrack,
    family: Family,
    services: &UdpServices,
    metrics: &Metrics,
) -> Result<(), NetlinkError> {
    let began = Instant::now();
    let deleted = conntrack.delete_stale(family, Protocol::Udp, |entry: &Entry| {
        let asked_for = SocketAddr::new(entry.original.destination, entry.original.destination_port);
        services.is_stale(asked_for, SocketAddr::new(entry.reply.source, entry.reply.source_port))
    })?;
    metrics.conntrack_reconciled(family, began.elapsed(), u64::try_from(deleted).unwrap_or(u64::MAX));
    if deleted > 0 {
        tracing::info!(%family, deleted, "UDP flows to endpoints that are gone forgotten");
    }
    Ok(())
}
