//! What the operator's `/metrics` shows.

use std::fmt::Write as _;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::lease::run::Standing;

/// The operator's metrics. Clones share one set.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
}

impl Metrics {
    /// The media type of [`encode`](Self::encode).
    pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

    /// Metrics of a replica with this part in the election.
    pub fn new(standing: watch::Receiver<Standing>) -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("fairlead");
        own.register(
            "build",
            "Version of this program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        own.register_collector(Box::new(Election(standing)));
        registry.register_collector(Box::new(crate::process_metrics::Process));
        Self {
            registry: Arc::new(registry),
        }
    }

    /// Everything in Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if let Err(error) = prometheus_text::encode(&mut text, &self.registry) {
            // Writing to a string does not fail; a metric that cannot be shown must not hide the others either way.
            let _ = writeln!(text, "# {error}");
        }
        text
    }
}

#[derive(Debug)]
struct Election(watch::Receiver<Standing>);

impl Collector for Election {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let standing = self.0.borrow().clone();
        let mut gauge = |name: &str, help: &str, value: i64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge(
            "leader",
            "Whether this replica leads: 1 or 0",
            i64::from(standing.claim.is_some()),
        )?;
        gauge(
            "leader_election_trouble",
            "Whether the last request about the lease failed: 1 or 0",
            i64::from(standing.trouble.is_some()),
        )?;
        let mut counter = |name: &str, help: &str, value: u64| {
            let metric = ConstCounter::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        counter(
            "leader_terms",
            "How often this replica has become the leader",
            standing.terms,
        )?;
        counter(
            "leader_losses",
            "How often this replica has lost the lease without giving it back",
            standing.losses,
        )
    }
}
