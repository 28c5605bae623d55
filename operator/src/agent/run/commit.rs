//! From what has changed to the kernel, and what came of it to those who are told.

use std::time::{Duration, Instant, SystemTime};

use anyhow::anyhow;
use fairlead_dataplane::netlink::NetlinkError;
use fairlead_dataplane::sync::Report;
use tokio::task::block_in_place;

use super::{Agent, FULL_SYNC, Pending, Retry, Turn};
use crate::agent::health::Obstacle;
use crate::agent::health_check_node_port::{ListenAddresses, publish};
use crate::agent::metrics::{Commit, Extent, Synced};
use crate::agent::sysctl::Sysctls;
use crate::chain::Chain;

/// First wait after the kernel refused a transaction; doubled up to the sync period.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Longest wait for a table that another agent owns, as when a roll-out starts the new one before the old one ends. Nothing
/// tells when it ends.
const TAKE_OVER_RETRY: Duration = Duration::from_millis(500);

impl Agent {
    /// Writes it.
    pub(super) async fn commit(&mut self, began: Instant) -> anyhow::Result<Turn> {
        let full = self.pending.full;
        let Some(compiler) = self.view.compiler_mut() else {
            return Ok(Turn::Next);
        };
        let dataplane = &mut self.dataplane;
        let result = block_in_place(|| match full {
            Some(_) => dataplane.reconcile(compiler),
            None => dataplane.commit(compiler),
        });
        match result {
            Ok(report) => {
                self.committed(began, &report).await;
                Ok(if self.flags.once { Turn::Done } else { Turn::Next })
            }
            Err(error) if self.flags.once => Err(anyhow!(error).context("cannot write the rules")),
            Err(error) => {
                self.metrics.sync_failed();
                let obstacle = format!("cannot write the rules: {}", Chain(&error));
                self.health.set_obstacle(Obstacle::Rules, Some(obstacle));
                let is_owned = matches!(error, NetlinkError::OwnedByAnother { .. });
                let longest = if is_owned {
                    TAKE_OVER_RETRY
                } else {
                    self.flags.sync_period.0
                };
                let wait = self.retry.map_or(FIRST_RETRY, |retry| (retry.wait * 2).min(longest));
                if is_owned && self.retry.is_some_and(|retry| retry.wait == wait) {
                    tracing::debug!(error = %Chain(&error), "waiting for the table");
                } else {
                    tracing::warn!(error = %Chain(&error), reason = error.reason(), ?wait, "cannot write the rules, trying again");
                }
                self.pending.full.get_or_insert("failed");
                self.retry = Some(Retry {
                    at: Instant::now() + wait,
                    wait,
                });
                Ok(Turn::Next)
            }
        }
    }

    async fn committed(&mut self, began: Instant, report: &Report) {
        self.retry = None;
        let pending = std::mem::take(&mut self.pending);
        let is_changed = report.bytes > 0;
        if let Some(reason) = pending.full {
            self.next_full_sync = Instant::now() + FULL_SYNC;
            if matches!(reason, "start" | "periodic") {
                self.full_sync.notify_one();
            }
            if matches!(reason, "changed" | "deleted" | "overrun" | "periodic") {
                self.last_heal = Some(Instant::now());
                if is_changed {
                    self.metrics.table_healed(reason);
                    tracing::warn!(
                        reason,
                        added = report.added,
                        deleted = report.deleted,
                        "somebody else changed our table; mended"
                    );
                }
            }
        }
        if is_changed {
            tracing::info!(
                full = report.is_full,
                added = report.added,
                deleted = report.deleted,
                bytes = report.bytes,
                took = ?began.elapsed(),
                "committed"
            );
        }
        self.listen();
        if !self.flags.once && !std::mem::replace(&mut self.has_set_sysctls, true) {
            // Not earlier: the kernel has these settings once something tracks connections, and our rules may be the first.
            block_in_place(|| Sysctls::new(&self.flags.proc_sys).apply_or_warn(&self.flags.conntrack));
        }
        self.report(began, report, &pending);
        self.tally.show(&self.metrics);
        self.sync_health_checks().await;
        self.clean_up.start(&self.view, &self.metrics);
    }

    fn report(&self, began: Instant, report: &Report, pending: &Pending) {
        let count = |elements: usize| u64::try_from(elements).unwrap_or(u64::MAX);
        let now = SystemTime::now();
        self.health.synced(None);
        let extent = if report.is_full { Extent::Full } else { Extent::Partial };
        self.metrics.synced(&Synced {
            extent,
            duration: began.elapsed(),
            at: now,
        });
        if report.bytes > 0 {
            self.metrics.committed(&Commit {
                added: count(report.added),
                removed: count(report.deleted),
                bytes: count(report.bytes),
                duration: report.duration,
            });
        }
        if let Some(since) = pending.since {
            self.metrics.event_committed(since.elapsed());
        }
        for (family, trigger) in &pending.triggers {
            self.metrics
                .network_programmed(*family, now.duration_since(*trigger).unwrap_or_default());
        }
        for (kind, objects) in self.view.cluster().counts() {
            self.metrics.source_objects(kind, objects);
        }
    }

    async fn sync_health_checks(&mut self) {
        let Some(config) = self.view.config() else { return };
        let addresses = if config.accepts_all {
            ListenAddresses::All
        } else {
            ListenAddresses::Only(config.node_port_addresses.clone())
        };
        for failure in self.checks.sync(self.tally.health_checks(), &addresses).await {
            self.metrics.health_check_listen_failed();
            let (recorder, node) = (self.recorder.clone(), self.view.node_name().clone());
            let service = self.view.cluster().service(&failure.socket.service);
            let uid = service.and_then(|service| service.uid.clone());
            self.events
                .spawn(async move { publish(recorder.as_ref(), &node, &failure, uid.as_deref()).await });
        }
    }
}
