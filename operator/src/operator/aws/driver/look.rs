//! Looks at the account: at everything, and at what is waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use fairlead_aws::account::{Account, NOT_FOUND, Named};
use fairlead_aws::desired::Vpc;
use fairlead_aws::plan::{DNS_MEMORY, Wait};
use fairlead_model::ServiceName;
use fairlead_provider::ProviderError;
use tokio::time::Instant;

use super::super::inputs::Touched;
use super::super::reconcile::{self, complaint};
use super::super::records::Records;
use super::{Done, Driver, Entry, FIRST_WAIT, LEAST_BETWEEN_LOOKS, LONGEST_WAIT};
use crate::chain::Chain;
use crate::operator::controller::cloud::{Said, State};
use crate::operator::controller::plan::Complaint;

/// What is due within this time is looked for at once, in the same calls.
const TOGETHER: Duration = Duration::from_secs(5);

/// Looks at everything.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) is_under_way: bool,
    pub(super) has_succeeded: bool,
    /// When the next one is due; at once if nothing is said.
    pub(super) due: Option<Instant>,
    pub(super) last: Option<Instant>,
    pub(super) wait: Option<Duration>,
}

impl<A: Account + 'static> Driver<A> {
    pub(super) fn look_again(&mut self, now: Instant) {
        if self.look.is_under_way || self.look.due.is_some_and(|due| due > now) || !self.is_all_asked {
            return;
        }
        self.look.is_under_way = true;
        self.hands.counters.change(|counts| counts.looks += 1);
        let mut named = Named::default();
        for entry in self.entries.values() {
            let on_record = reconcile::named_on_record(entry.ids.iter().chain(entry.targets.keys()));
            reconcile::extend(&mut named, &on_record);
            if let Some(service) = &entry.service {
                reconcile::extend(&mut named, &reconcile::named(service));
            }
        }
        reconcile::extend(&mut self.named, &named);
        let account = self.hands.account.clone();
        self.running.spawn(async move {
            let looked = async {
                let vpc = account.vpc().await?;
                account.look(&named).await?;
                Ok(vpc)
            };
            Done::Looked(looked.await)
        });
    }

    pub(super) fn looked(&mut self, result: Result<Vpc, ProviderError>, now: Instant) {
        self.look.is_under_way = false;
        self.look.last = Some(now);
        match result {
            Ok(vpc) => {
                self.vpc = Some(vpc);
                self.look.has_succeeded = true;
                self.look.wait = None;
                self.look.due = Some(now + self.timing.resync);
                // Interfaces that were not there may be by now.
                self.interfaces.retain(|_, groups| !groups.is_empty());
                self.set_trouble(None);
                self.shared.must_plan = true;
                self.touch(Touched::Everything);
                self.find_orphans(now);
            }
            Err(error) => {
                self.hands.counters.failed(error.reason);
                tracing::warn!(provider = self.provider, error = %Chain(&error), "cannot look at the account of AWS");
                let wait = self.look.wait.map_or(FIRST_WAIT, |wait| (wait * 2).min(LONGEST_WAIT));
                self.look.wait = Some(wait);
                self.look.due = Some(now + wait);
                self.set_trouble(Some(&complaint(&error)));
            }
        }
    }

    pub(super) fn failed(&mut self, error: &ProviderError) {
        // What is remembered is not what there is.
        if error.reason == NOT_FOUND {
            let soon = self
                .look
                .last
                .map_or_else(Instant::now, |last| last + LEAST_BETWEEN_LOOKS);
            self.look.due = Some(self.look.due.map_or(soon, |due| due.min(soon)));
        }
    }

    pub(super) fn set_trouble(&mut self, trouble: Option<&Complaint>) {
        if self.trouble.as_ref() == trouble {
            return;
        }
        self.trouble = trouble.cloned();
        let _ = self
            .said
            .send((self.provider.clone(), Said::Everything(trouble.cloned())));
        if self.look.has_succeeded {
            return;
        }
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            let state = State {
                trouble: trouble.cloned(),
                ..State::default()
            };
            self.say(&key, state);
        }
    }

    /// Looks whether what is waited for has come, for all that wait in the same calls.
    pub(super) fn look_for(&mut self, now: Instant) {
        let is_due = self.waits.values().any(|(due, _)| *due <= now);
        if !is_due {
            return;
        }
        let due: Vec<_> = self
            .waits
            .iter()
            .filter(|(_, (due, _))| *due <= now + TOGETHER)
            .collect();
        let keys: Vec<_> = due.iter().map(|(key, _)| (*key).clone()).collect();
        let waits = due.iter().flat_map(|(_, (_, waits))| waits);
        let waits: Vec<_> = waits
            .filter(|wait| !matches!(wait, Wait::Published(_)))
            .cloned()
            .collect();
        for key in &keys {
            self.waits.remove(key);
        }
        if waits.is_empty() {
            for key in keys {
                self.queue.touch(key);
            }
            return;
        }
        let account = self.hands.account.clone();
        self.running.spawn(async move {
            let result = account.look_for(&waits).await;
            Done::LookedFor(keys, result)
        });
    }

    pub(super) fn due_of(&self, key: &ServiceName, waits: &[Wait], now: Instant) -> Instant {
        let published = self.entries.get(key).and_then(|entry| entry.published.as_ref());
        let of = |wait: &Wait| match (wait, published) {
            (Wait::Published(name), Some((shown, since))) if name == shown => *since + DNS_MEMORY,
            _ => now + wait.next_look(),
        };
        waits.iter().map(of).min().unwrap_or(now)
    }

    pub(super) fn find_orphans(&mut self, now: Instant) {
        let Some(grace) = self.timing.orphan_grace else {
            return;
        };
        let owners = self
            .hands
            .account
            .read(|snapshot| snapshot.owners(&self.defaults.cluster));
        let owners: BTreeSet<_> = owners.into_iter().map(|owner| owner.service).collect();
        let asked = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_orphan)
            .map(|(key, _)| key);
        let services = asked.chain(&self.records).cloned().collect();
        for key in self.orphans.see(&owners, &services, now) {
            tracing::warn!(
                service = %key, provider = self.provider,
                "something in AWS bears the cluster's marks and belongs to no Service; it is removed after {grace:?}"
            );
        }
        let count = self.orphans.len() as u64;
        let provider = self.provider.clone();
        self.hands
            .counters
            .change(|counts| counts.orphans.insert(provider, count));
        for key in self.orphans.due(grace, now) {
            self.entries.entry(key.clone()).or_insert_with(|| Entry {
                number: 0,
                service: None,
                targets: Records::new(),
                ids: BTreeSet::new(),
                published: None,
                needs: Some(BTreeSet::new()),
                has_backend_group: false,
                rounds: 0,
                failure: None,
                said: None,
                is_orphan: true,
            });
            self.queue.touch(key);
        }
        // Those that are not due yet must not wait for the next resync.
        if !self.orphans.is_empty() {
            self.look.due = self.look.due.map(|due| due.min(now + grace.max(LEAST_BETWEEN_LOOKS)));
        }
    }
}
