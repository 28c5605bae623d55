//! The metrics of announcing, with the prefix `fairlead_`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fairlead_local::announcement::{Counters, DropReason};
use fairlead_local::speaker::{Report, Speaker};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::reports::{reason_to_own, reason_to_yield};

/// From a quick detection to what other implementations need.
const TAKE_OVER_BUCKETS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0, 5.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    change: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLabel {
    by: &'static str,
}

/// The metrics. Clones share one set.
#[derive(Debug, Clone)]
pub struct AnnounceMetrics {
    changes: Family<ChangeLabels, Counter>,
    owned: Gauge,
    silent: Gauge,
    take_over: Histogram,
    conflicts: Family<ByLabel, Counter>,
    splits: Counter,
    pauses: Counter,
    speaker: Arc<Mutex<Weak<Speaker>>>,
}

impl AnnounceMetrics {
    /// Makes them, all at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            changes: Family::default(),
            owned: Gauge::default(),
            silent: Gauge::default(),
            take_over: Histogram::new(TAKE_OVER_BUCKETS),
            conflicts: Family::default(),
            splits: Counter::default(),
            pauses: Counter::default(),
            speaker: Arc::default(),
        };
        for by in ["node", "stranger"] {
            drop(metrics.conflicts.get_or_create(&ByLabel { by }));
        }
        let registry = registry.sub_registry_with_prefix("fairlead");
        registry.register(
            "address_changes",
            "Addresses that this node has taken or given up, by why",
            metrics.changes.clone(),
        );
        registry.register(
            "owned_addresses",
            "Addresses that this node answers for",
            metrics.owned.clone(),
        );
        registry.register(
            "silent_nodes",
            "Nodes with an agent that this node does not hear",
            metrics.silent.clone(),
        );
        registry.register(
            "take_over_seconds",
            "From the last sign of life of a dead node to the take-over of an address of its",
            metrics.take_over.clone(),
        );
        registry.register(
            "address_conflicts",
            "Claims by others to addresses that this node answers for",
            metrics.conflicts.clone(),
        );
        registry.register(
            "address_splits",
            "Addresses that two nodes answered for, and this one gave up",
            metrics.splits.clone(),
        );
        registry.register(
            "announcer_pauses",
            "Times that the agent did not run for so long that it gave all addresses up",
            metrics.pauses.clone(),
        );
        registry.register_collector(Box::new(Frames(Arc::clone(&metrics.speaker))));
        metrics
    }

    /// From now on, this is the one whose frames are counted.
    pub(super) fn follow(&self, speaker: &Arc<Speaker>) {
        *self.speaker.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(speaker);
    }

    /// So many addresses are this node's.
    pub(super) fn owned(&self, count: usize) {
        self.owned.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// So many nodes are not heard.
    pub(super) fn silent(&self, count: usize) {
        self.silent.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts what was told.
    pub(super) fn heard(&self, report: &Report) {
        let changed = |change, reason| {
            self.changes.get_or_create(&ChangeLabels { change, reason }).inc();
        };
        match report {
            Report::Owns { why, silence, .. } => {
                changed("taken", reason_to_own(*why));
                if let Some(silence) = silence {
                    self.take_over.observe(silence.as_secs_f64());
                }
            }
            Report::Yields { why, .. } => changed("given_up", reason_to_yield(*why)),
            Report::PeerSilent(_) | Report::PeerHeard(_) | Report::Links(_) | Report::Free { .. } => {}
            Report::Paused(_) => {
                self.pauses.inc();
            }
            Report::Split { .. } => {
                self.splits.inc();
            }
            Report::Conflict { is_peer, .. } => {
                let by = if *is_peer { "node" } else { "stranger" };
                self.conflicts.get_or_create(&ByLabel { by }).inc();
            }
        }
    }
}

/// What the announcer did on each link, read when it is asked for.
#[derive(Debug)]
struct Frames(Arc<Mutex<Weak<Speaker>>>);

impl Collector for Frames {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let speaker = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let Some(speaker) = speaker else { return Ok(()) };
        let links = speaker.counters();
        let help = "Frames sent for announced addresses, by link and kind";
        let mut sent = encoder.encode_descriptor("fairlead_announcement_frames", help, None, MetricType::Counter)?;
        for (link, counters) in &links {
            for (kind, count) in kinds(counters) {
                let labels = [("link", link.as_str()), ("kind", kind)];
                ConstCounter::new(count).encode(sent.encode_family(&labels)?)?;
            }
        }
        let help = "Frames about announced addresses that got no answer, by link and reason";
        let mut dropped = encoder.encode_descriptor("fairlead_announcement_drops", help, None, MetricType::Counter)?;
        for (link, counters) in &links {
            for reason in DropReason::ALL {
                let count = counters.dropped(reason);
                if count > 0 {
                    let labels = [("link", link.as_str()), ("reason", reason.reason())];
                    ConstCounter::new(count).encode(dropped.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

fn kinds(counters: &Counters) -> [(&'static str, u64); 6] {
    [
        ("arp_reply", counters.arp_replies),
        ("neighbour_advertisement", counters.neighbour_replies),
        ("echo_reply", counters.echo_replies),
        ("announcement", counters.announcements),
        ("probe", counters.probes),
        ("failed", counters.send_failures),
    ]
}
