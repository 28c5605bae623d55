//! What `/metrics` shows: kube-proxy's names where they mean the same, so that its dashboards and alerts keep working, and
//! our own beside them.
//!
//! One transaction writes both IP families, so a sync counts for both values of kube-proxy's label `ip_family`.

mod kube_proxy;
mod own;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fairlead_model::Family;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use self::kube_proxy::KubeProxy;
use self::own::Own;
use super::announce::metrics::AnnounceMetrics;
use super::health::Probe;
use crate::process_metrics::Process;

/// How much a sync looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything was compiled and compared: at start, after a failure, and when the table was healed.
    Full,
    /// Only what changed.
    Partial,
}

/// A sync that succeeded.
#[derive(Debug, Clone, Copy)]
pub struct Synced {
    /// How much it looked at.
    pub extent: Extent,
    /// From its beginning to the kernel's answer.
    pub duration: Duration,
    /// When it ended.
    pub at: SystemTime,
}

/// A transaction that the kernel took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Commit {
    /// Elements added; one whose verdict or endpoint changed counts here and below.
    pub added: u64,
    /// Elements removed.
    pub removed: u64,
    /// Bytes sent to the kernel.
    pub bytes: u64,
    /// From the system call to the kernel's answer.
    pub duration: Duration,
}

/// Which traffic policy leaves a Service without endpoints on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySide {
    /// `internalTrafficPolicy: Local`
    Internal,
    /// `externalTrafficPolicy: Local`
    External,
}

/// The agent's metrics. Clones share one set.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    kube_proxy: KubeProxy,
    own: Own,
    announce: AnnounceMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The media type of [`encode`](Self::encode).
    pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

    /// A fresh set, all at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let kube_proxy = KubeProxy::register(&mut registry);
        let own = Own::register(&mut registry);
        let announce = AnnounceMetrics::register(&mut registry);
        registry.register_collector(Box::new(Process));
        Self {
            inner: Arc::new(Inner {
                registry,
                kube_proxy,
                own,
                announce,
            }),
        }
    }

    /// Those of announcing.
    pub fn announce(&self) -> &AnnounceMetrics {
        &self.inner.announce
    }

    /// Everything in Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(err) = prometheus_text::encode(&mut text, &self.inner.registry) {
            // Writing to a string does not fail; a metric that cannot be shown must not hide the others either way.
            let _ = writeln!(text, "# {err}");
        }
        text
    }

    /// A Service object changed.
    pub fn service_changed(&self) {
        for family in Family::ALL {
            self.inner.kube_proxy.service_changed(family);
        }
    }

    /// An `EndpointSlice` of one family changed.
    pub fn endpoints_changed(&self, family: Family) {
        self.inner.kube_proxy.endpoints_changed(family);
    }

    /// A sync was asked for.
    pub fn sync_queued(&self, at: SystemTime) {
        self.inner.kube_proxy.sync_queued(at);
    }

    /// A sync succeeded; the changes that were pending are in the kernel.
    pub fn synced(&self, sync: &Synced) {
        self.inner.kube_proxy.synced(sync);
    }

    /// The kernel refused a transaction, or did not answer.
    pub fn sync_failed(&self) {
        self.inner.kube_proxy.sync_failed();
    }

    /// Something obsolete in the table could not be removed.
    pub fn cleanup_failed(&self) {
        self.inner.kube_proxy.cleanup_failed();
    }

    /// An `EndpointSlice` change reached the kernel this long after what triggered it (annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`).
    pub fn network_programmed(&self, family: Family, latency: Duration) {
        self.inner.kube_proxy.network_programmed(family, latency);
    }

    /// How many Services of a family a Local policy leaves without endpoints here.
    pub fn no_local_endpoints(&self, family: Family, side: PolicySide, services: u64) {
        self.inner.kube_proxy.no_local_endpoints(family, side, services);
    }

    /// A probe was answered.
    pub fn probe_answered(&self, probe: Probe, status: u16) {
        self.inner.kube_proxy.probe_answered(probe, status);
    }

    /// The conntrack clean-up of one family ran.
    pub fn conntrack_reconciled(&self, family: Family, duration: Duration, deleted: u64) {
        self.inner.kube_proxy.conntrack_reconciled(family, duration, deleted);
    }

    /// The kernel took a transaction.
    pub fn committed(&self, commit: &Commit) {
        self.inner.own.committed(commit);
    }

    /// A change was in the kernel this long after the agent heard of it.
    pub fn event_committed(&self, latency: Duration) {
        self.inner.own.event_committed(latency);
    }

    /// The table was not as we left it and was put right. `reason` is one of few fixed words.
    pub fn table_healed(&self, reason: &'static str) {
        self.inner.own.table_healed(reason);
    }

    /// How many objects of a kind the source holds.
    pub fn source_objects(&self, kind: &'static str, objects: usize) {
        self.inner.own.source_objects(kind, objects);
    }

    /// How many objects or files the source cannot use now.
    pub fn source_problems(&self, problems: usize) {
        self.inner.own.source_problems(problems);
    }

    /// How many Service ports and endpoints of a family are programmed.
    pub fn programmed(&self, family: Family, service_ports: usize, endpoints: usize) {
        self.inner.own.programmed(family, service_ports, endpoints);
    }

    /// A health check node port could not be listened on.
    pub fn health_check_listen_failed(&self) {
        self.inner.own.health_check_listen_failed();
    }
}

#[cfg(test)]
mod tests;
