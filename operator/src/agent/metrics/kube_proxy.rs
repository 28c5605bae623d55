//! kube-proxy's metrics, by its names, labels and buckets.

use std::time::{Duration, SystemTime};

use fairlead_model::Family as IpFamily;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{Extent, PolicySide, Synced};
use crate::agent::health::Probe;
use crate::process_metrics::gauge_value;

type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;
type Histograms = Family<FamilyLabel, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FamilyLabel {
    ip_family: &'static str,
}

impl From<IpFamily> for FamilyLabel {
    fn from(family: IpFamily) -> Self {
        Self {
            ip_family: name(family),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyLabels {
    ip_family: &'static str,
    traffic_policy: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: u16,
}

fn name(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    }
}

/// 1 ms to 16 s.
fn sync_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// 0.25 s to 5 min, as the scalability objective for network programming latency is measured.
fn programming_histogram() -> Histogram {
    let seconds = (1..60)
        .chain((60..120).step_by(5))
        .chain((120..=300).step_by(30))
        .map(f64::from);
    Histogram::new([0.25, 0.5].into_iter().chain(seconds))
}

#[derive(Debug)]
pub(super) struct KubeProxy {
    sync: Histograms,
    sync_full: Histograms,
    sync_partial: Histograms,
    network_programming: Histograms,
    last_synced: Family<FamilyLabel, FloatGauge>,
    last_queued: Family<FamilyLabel, FloatGauge>,
    endpoint_changes_pending: Family<FamilyLabel, Gauge>,
    endpoint_changes: Family<FamilyLabel, Counter>,
    service_changes_pending: Family<FamilyLabel, Gauge>,
    service_changes: Family<FamilyLabel, Counter>,
    no_local_endpoints: Family<PolicyLabels, FloatGauge>,
    sync_failures: Family<FamilyLabel, Counter>,
    cleanup_failures: Family<FamilyLabel, Counter>,
    healthz: Family<CodeLabel, Counter>,
    livez: Family<CodeLabel, Counter>,
    conntrack_duration: Histograms,
    conntrack_deleted: Family<FamilyLabel, Counter>,
}

impl KubeProxy {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            sync: Family::new_with_constructor(sync_histogram),
            sync_full: Family::new_with_constructor(sync_histogram),
            sync_partial: Family::new_with_constructor(sync_histogram),
            network_programming: Family::new_with_constructor(programming_histogram),
            last_synced: Family::default(),
            last_queued: Family::default(),
            endpoint_changes_pending: Family::default(),
            endpoint_changes: Family::default(),
            service_changes_pending: Family::default(),
            service_changes: Family::default(),
            no_local_endpoints: Family::default(),
            sync_failures: Family::default(),
            cleanup_failures: Family::default(),
            healthz: Family::default(),
            livez: Family::default(),
            conntrack_duration: Family::new_with_constructor(sync_histogram),
            conntrack_deleted: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("kubeproxy");
        // The encoder adds `_total` to counters, so their names stand here without it. One gauge of kube-proxy ends in
        // `_total` too and carries it in its name.
        registry.register(
            "sync_proxy_rules_duration_seconds",
            "Duration of a sync of the rules, full or partial",
            metrics.sync.clone(),
        );
        registry.register(
            "sync_full_proxy_rules_duration_seconds",
            "Duration of a sync that looked at everything",
            metrics.sync_full.clone(),
        );
        registry.register(
            "sync_partial_proxy_rules_duration_seconds",
            "Duration of a sync that looked at changes only",
            metrics.sync_partial.clone(),
        );
        registry.register(
            "network_programming_duration_seconds",
            "Time from a change of a Service or pod to its rules being in place",
            metrics.network_programming.clone(),
        );
        registry.register(
            "sync_proxy_rules_last_timestamp_seconds",
            "When the rules were last synced with success",
            metrics.last_synced.clone(),
        );
        registry.register(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "When a sync of the rules was last asked for",
            metrics.last_queued.clone(),
        );
        registry.register(
            "sync_proxy_rules_endpoint_changes_pending",
            "Endpoint changes that are not in the rules yet",
            metrics.endpoint_changes_pending.clone(),
        );
        registry.register(
            "sync_proxy_rules_endpoint_changes",
            "Endpoint changes",
            metrics.endpoint_changes.clone(),
        );
        registry.register(
            "sync_proxy_rules_service_changes_pending",
            "Service changes that are not in the rules yet",
            metrics.service_changes_pending.clone(),
        );
        registry.register(
            "sync_proxy_rules_service_changes",
            "Service changes",
            metrics.service_changes.clone(),
        );
        registry.register(
            "sync_proxy_rules_no_local_endpoints_total",
            "Services with a Local traffic policy and no endpoint on this node",
            metrics.no_local_endpoints.clone(),
        );
        registry.register(
            "sync_proxy_rules_nftables_sync_failures",
            "Transactions that failed",
            metrics.sync_failures.clone(),
        );
        registry.register(
            "sync_proxy_rules_nftables_cleanup_failures",
            "Removals of obsolete parts of the table that failed",
            metrics.cleanup_failures.clone(),
        );
        registry.register(
            "proxy_healthz",
            "Answers of /healthz by HTTP status",
            metrics.healthz.clone(),
        );
        registry.register("proxy_livez", "Answers of /livez by HTTP status", metrics.livez.clone());
        registry.register(
            "conntrack_reconciler_sync_duration_seconds",
            "Duration of a conntrack clean-up",
            metrics.conntrack_duration.clone(),
        );
        registry.register(
            "conntrack_reconciler_deleted_entries",
            "Conntrack entries deleted",
            metrics.conntrack_deleted.clone(),
        );
        metrics.touch();
        metrics
    }

    /// Makes every series with known labels exist from the start, so that a first increment is seen as one.
    fn touch(&self) {
        for family in IpFamily::ALL {
            let label = FamilyLabel::from(family);
            for histograms in [
                &self.sync,
                &self.sync_full,
                &self.sync_partial,
                &self.network_programming,
                &self.conntrack_duration,
            ] {
                drop(histograms.get_or_create(&label));
            }
            for counters in [
                &self.endpoint_changes,
                &self.service_changes,
                &self.sync_failures,
                &self.cleanup_failures,
                &self.conntrack_deleted,
            ] {
                drop(counters.get_or_create(&label));
            }
            drop(self.endpoint_changes_pending.get_or_create(&label));
            drop(self.service_changes_pending.get_or_create(&label));
            drop(self.last_synced.get_or_create(&label));
            drop(self.last_queued.get_or_create(&label));
            for side in [PolicySide::Internal, PolicySide::External] {
                self.no_local_endpoints(family, side, 0);
            }
        }
        for code in [200, 503] {
            drop(self.healthz.get_or_create(&CodeLabel { code }));
            drop(self.livez.get_or_create(&CodeLabel { code }));
        }
    }

    pub(super) fn service_changed(&self, family: IpFamily) {
        self.service_changes.get_or_create(&family.into()).inc();
        self.service_changes_pending.get_or_create(&family.into()).inc();
    }

    pub(super) fn endpoints_changed(&self, family: IpFamily) {
        self.endpoint_changes.get_or_create(&family.into()).inc();
        self.endpoint_changes_pending.get_or_create(&family.into()).inc();
    }

    pub(super) fn sync_queued(&self, at: SystemTime) {
        for family in IpFamily::ALL {
            self.last_queued.get_or_create(&family.into()).set(unix_seconds(at));
        }
    }

    pub(super) fn synced(&self, sync: &Synced) {
        let seconds = sync.duration.as_secs_f64();
        let by_extent = match sync.extent {
            Extent::Full => &self.sync_full,
            Extent::Partial => &self.sync_partial,
        };
        for family in IpFamily::ALL {
            let label = FamilyLabel::from(family);
            self.sync.get_or_create(&label).observe(seconds);
            by_extent.get_or_create(&label).observe(seconds);
            self.last_synced.get_or_create(&label).set(unix_seconds(sync.at));
            self.endpoint_changes_pending.get_or_create(&label).set(0);
            self.service_changes_pending.get_or_create(&label).set(0);
        }
    }

    pub(super) fn sync_failed(&self) {
        for family in IpFamily::ALL {
            self.sync_failures.get_or_create(&family.into()).inc();
        }
    }

    pub(super) fn cleanup_failed(&self) {
        for family in IpFamily::ALL {
            self.cleanup_failures.get_or_create(&family.into()).inc();
        }
    }

    pub(super) fn network_programmed(&self, family: IpFamily, latency: Duration) {
        self.network_programming
            .get_or_create(&family.into())
            .observe(latency.as_secs_f64());
    }

    pub(super) fn no_local_endpoints(&self, family: IpFamily, side: PolicySide, services: u64) {
        let traffic_policy = match side {
            PolicySide::Internal => "internal",
            PolicySide::External => "external",
        };
        let labels = PolicyLabels {
            ip_family: name(family),
            traffic_policy,
        };
        self.no_local_endpoints
            .get_or_create(&labels)
            .set(gauge_value(services));
    }

    pub(super) fn probe_answered(&self, probe: Probe, code: u16) {
        let counters = match probe {
            Probe::Healthz => &self.healthz,
            Probe::Livez => &self.livez,
        };
        counters.get_or_create(&CodeLabel { code }).inc();
    }

    pub(super) fn conntrack_reconciled(&self, family: IpFamily, duration: Duration, deleted: u64) {
        self.conntrack_duration
            .get_or_create(&family.into())
            .observe(duration.as_secs_f64());
        self.conntrack_deleted.get_or_create(&family.into()).inc_by(deleted);
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
