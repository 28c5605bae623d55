//! Metrics that kube-proxy has no name for, with the prefix `fairlead_`.

use std::time::Duration;

use fairlead_model::Family as IpFamily;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Commit;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpLabel {
    op: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FamilyLabel {
    ip_family: &'static str,
}

#[derive(Debug)]
pub(super) struct Own {
    transactions: Counter,
    elements: Family<OpLabel, Counter>,
    bytes: Counter,
    commit_duration: Histogram,
    event_to_commit: Histogram,
    heals: Family<ReasonLabel, Counter>,
    source_objects: Family<KindLabel, Gauge>,
    source_problems: Gauge,
    services: Family<FamilyLabel, Gauge>,
    endpoints: Family<FamilyLabel, Gauge>,
    health_check_failures: Counter,
}

/// 50 µs to 1.6 s: what a transaction takes, from one element to a whole cluster's.
fn short_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 16))
}

impl Own {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            transactions: Counter::default(),
            elements: Family::default(),
            bytes: Counter::default(),
            commit_duration: short_histogram(),
            event_to_commit: short_histogram(),
            heals: Family::default(),
            source_objects: Family::default(),
            source_problems: Gauge::default(),
            services: Family::default(),
            endpoints: Family::default(),
            health_check_failures: Counter::default(),
        };
        for op in ["add", "remove"] {
            drop(metrics.elements.get_or_create(&OpLabel { op }));
        }
        let registry = registry.sub_registry_with_prefix("fairlead");
        registry.register(
            "build",
            "Version of this program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "transactions",
            "Transactions that the kernel took",
            metrics.transactions.clone(),
        );
        registry.register(
            "transaction_elements",
            "Set and map elements written, by what was done with them",
            metrics.elements.clone(),
        );
        registry.register(
            "transaction_bytes",
            "Bytes of transactions sent to the kernel",
            metrics.bytes.clone(),
        );
        registry.register(
            "commit_duration_seconds",
            "Time from sending a transaction to the kernel's answer",
            metrics.commit_duration.clone(),
        );
        registry.register(
            "event_to_commit_seconds",
            "Time from hearing of a change to its being in the kernel",
            metrics.event_to_commit.clone(),
        );
        registry.register(
            "table_heals",
            "Times that the table was not as we left it and was put right",
            metrics.heals.clone(),
        );
        registry.register(
            "source_objects",
            "Objects that the source holds",
            metrics.source_objects.clone(),
        );
        registry.register(
            "source_problems",
            "Objects or files that cannot be used now; their last good state stays in force",
            metrics.source_problems.clone(),
        );
        registry.register(
            "services",
            "Service ports that are programmed",
            metrics.services.clone(),
        );
        registry.register("endpoints", "Endpoints that are programmed", metrics.endpoints.clone());
        registry.register(
            "health_check_listen_failures",
            "Health check node ports that could not be listened on",
            metrics.health_check_failures.clone(),
        );
        metrics
    }

    pub(super) fn committed(&self, commit: &Commit) {
        self.transactions.inc();
        self.bytes.inc_by(commit.bytes);
        self.commit_duration.observe(commit.duration.as_secs_f64());
        for (op, count) in [("add", commit.added), ("remove", commit.removed)] {
            self.elements.get_or_create(&OpLabel { op }).inc_by(count);
        }
    }

    pub(super) fn event_committed(&self, latency: Duration) {
        self.event_to_commit.observe(latency.as_secs_f64());
    }

    pub(super) fn table_healed(&self, reason: &'static str) {
        self.heals.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn source_objects(&self, kind: &'static str, objects: usize) {
        self.source_objects
            .get_or_create(&KindLabel { kind })
            .set(gauge(objects));
    }

    pub(super) fn source_problems(&self, problems: usize) {
        self.source_problems.set(gauge(problems));
    }

    pub(super) fn programmed(&self, family: IpFamily, service_ports: usize, endpoints: usize) {
        let label = match family {
            IpFamily::V4 => FamilyLabel { ip_family: "IPv4" },
            IpFamily::V6 => FamilyLabel { ip_family: "IPv6" },
        };
        self.services.get_or_create(&label).set(gauge(service_ports));
        self.endpoints.get_or_create(&label).set(gauge(endpoints));
    }

    pub(super) fn health_check_listen_failed(&self) {
        self.health_check_failures.inc();
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
