//! What the operator's `/metrics` shows.

use std::fmt::Write as _;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use super::aws::figures::Counters;
use super::controller::figures::Figures;
use super::lease::run::Standing;

/// The operator's metrics. Clones share one set.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
}

impl Metrics {
    /// The media type of [`encode`](Self::encode).
    pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

    /// Metrics of a replica with this part in the election, and with these figures while it leads.
    pub fn new(standing: watch::Receiver<Standing>, figures: watch::Receiver<Figures>, aws: Counters) -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("fairlead");
        own.register(
            "build",
            "Version of this program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        own.register_collector(Box::new(Election(standing)));
        own.register_collector(Box::new(LoadBalancers(figures)));
        own.register_collector(Box::new(Aws(aws)));
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

/// The leader's figures; of another replica nothing, so that sums over replicas are right.
#[derive(Debug)]
struct LoadBalancers(watch::Receiver<Figures>);

impl Collector for LoadBalancers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let figures = self.0.borrow().clone();
        let help = "Addresses of a pool: those that Services have, and those that can be given out";
        let mut metric = encoder.encode_descriptor("pool_addresses", help, None, MetricType::Gauge)?;
        for pool in &figures.pools {
            for (state, count) in [("assigned", pool.assigned), ("available", pool.available)] {
                let family = pool.family.to_string();
                let labels = [("pool", pool.pool.as_str()), ("ip_family", &family), ("state", state)];
                let value = i64::try_from(count).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        let help = "Load balancers that are reached at addresses";
        let metric = encoder.encode_descriptor("load_balancers_ready", help, None, MetricType::Gauge)?;
        let ready = i64::try_from(figures.ready).unwrap_or(i64::MAX);
        ConstGauge::new(ready).encode(metric)?;
        let help = "Load balancers that do not have all that their Services ask for, by reason";
        let mut metric = encoder.encode_descriptor("load_balancers_refused", help, None, MetricType::Gauge)?;
        for (reason, count) in &figures.refused {
            let value = i64::try_from(*count).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(metric.encode_family(&[("reason", reason.as_str())])?)?;
        }
        Ok(())
    }
}

/// What was done in AWS.
#[derive(Debug)]
struct Aws(Counters);

impl Collector for Aws {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let counts = self.0.read();
        let help = "Calls of AWS' API, by operation and what became of them";
        let mut metric = encoder.encode_descriptor("aws_calls", help, None, MetricType::Counter)?;
        for ((operation, outcome), count) in &counts.calls {
            let labels = [("operation", operation.as_str()), ("outcome", *outcome)];
            ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
        }
        let help = "How long calls were held back, so that AWS would not be called too often";
        let metric = encoder.encode_descriptor("aws_held", help, Some(&Unit::Seconds), MetricType::Counter)?;
        ConstCounter::new(counts.held.as_secs_f64()).encode(metric)?;
        let help = "Steps that were done in AWS, by kind";
        let mut metric = encoder.encode_descriptor("aws_steps", help, None, MetricType::Counter)?;
        for (step, count) in &counts.steps {
            ConstCounter::new(*count).encode(metric.encode_family(&[("step", step.as_str())])?)?;
        }
        let help = "Steps and looks in AWS that failed, by reason";
        let mut metric = encoder.encode_descriptor("aws_failures", help, None, MetricType::Counter)?;
        for (reason, count) in &counts.failures {
            ConstCounter::new(*count).encode(metric.encode_family(&[("reason", *reason)])?)?;
        }
        let help = "Looks at everything in AWS";
        let metric = encoder.encode_descriptor("aws_looks", help, None, MetricType::Counter)?;
        ConstCounter::new(counts.looks).encode(metric)?;
        let help = "Services that are gone and have something in AWS";
        let mut metric = encoder.encode_descriptor("aws_orphans", help, None, MetricType::Gauge)?;
        for (provider, count) in &counts.orphans {
            let value = i64::try_from(*count).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(metric.encode_family(&[("provider", provider.as_str())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fairlead_model::Family;

    use super::super::controller::figures::PoolFigures;
    use super::*;

    #[test]
    fn a_leader_shows_its_pools_and_what_is_refused() {
        let (_standing, stands) = watch::channel(Standing::default());
        let figures = Figures {
            pools: vec![PoolFigures {
                pool: "public".to_owned(),
                family: Family::V6,
                assigned: 3,
                available: u64::MAX,
            }],
            ready: 3,
            refused: vec![("PoolExhausted".to_owned(), 1)],
        };
        let (_figures, shown) = watch::channel(figures);
        let aws = Counters::default();
        aws.change(|counts| *counts.failures.entry("Throttled").or_default() += 2);
        let text = Metrics::new(stands, shown, aws).encode();
        for line in [
            "fairlead_leader 0",
            "fairlead_pool_addresses{pool=\"public\",ip_family=\"IPv6\",state=\"assigned\"} 3",
            "fairlead_pool_addresses{pool=\"public\",ip_family=\"IPv6\",state=\"available\"} 9223372036854775807",
            "fairlead_load_balancers_ready 3",
            "fairlead_aws_failures_total{reason=\"Throttled\"} 2",
            "fairlead_load_balancers_refused{reason=\"PoolExhausted\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
