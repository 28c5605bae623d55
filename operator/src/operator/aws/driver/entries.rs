//! Keys that something is wished for: what is known of each, what is next, and what is said.

use std::collections::BTreeSet;

use fairlead_aws::account::{Account, Known};
use fairlead_aws::contract::Service;
use fairlead_aws::desired::BackendNeed;
use fairlead_aws::plan::Published;
use fairlead_crds::LoadBalancer;
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1 as core;
use tokio::time::Instant;

use super::super::reconcile::{self, Case, Judged, Next, judge};
use super::super::records::{self, Records};
use super::Driver;
use crate::operator::controller::cloud::{Ask, Said, State, Wish};

/// Plans of a key in a row. Each is made from what the one before left, so more means that steps do not do what they say.
const ROUNDS: u32 = 16;

/// A key that something is, or was, wished for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// `None`: it shall have nothing.
    pub(super) service: Option<Service>,
    pub(super) targets: Records,
    /// What is on record of it in the cloud.
    pub(super) ids: BTreeSet<String>,
    pub(super) published: Option<(String, Instant)>,
    pub(super) needs: Option<BTreeSet<BackendNeed>>,
    pub(super) has_backend_group: bool,
    pub(super) rounds: u32,
    /// Why its last steps failed.
    pub(super) failure: Option<State>,
    pub(super) said: Option<State>,
    pub(super) is_orphan: bool,
}

impl<A: Account + 'static> Driver<A> {
    pub(super) fn ask(&mut self, ask: &Ask) {
        let now = Instant::now();
        let (service, shown) = match &ask.wish {
            Wish::Have(service) => (Service::from_resource(service), hostname_of(service, &ask.record)),
            Wish::Leave => (None, None),
        };
        let ids = ask.record.status.iter().flat_map(|status| status.ids.values().cloned());
        let ids: BTreeSet<_> = ids.collect();
        let is_new = !self.entries.contains_key(&ask.key);
        let entry = self.entries.entry(ask.key.clone()).or_insert_with(|| Entry {
            number: ask.number,
            service: service.clone(),
            targets: records::read(&ask.record),
            ids: BTreeSet::new(),
            published: None,
            needs: None,
            has_backend_group: false,
            rounds: 0,
            failure: None,
            said: None,
            is_orphan: false,
        });
        let is_known = entry.published.as_ref().map(|(name, _)| name) == shown.as_ref();
        if !is_known {
            entry.published = shown.map(|name| (name, now));
        }
        let is_other = is_new || entry.number != ask.number || entry.service != service || !is_known || entry.is_orphan;
        if entry.number != ask.number {
            entry.said = None;
        }
        entry.is_orphan = false;
        entry.number = ask.number;
        entry.service = service;
        entry.ids.extend(ids);
        if is_other {
            self.queue.touch(ask.key.clone());
        }
        if let Some(trouble) = self.trouble.clone().filter(|_| !self.look.has_succeeded) {
            let state = State {
                trouble: Some(trouble),
                ..State::default()
            };
            self.say(&ask.key, state);
        }
    }

    pub(super) fn judge(&mut self, key: &ServiceName) -> Option<Judged> {
        let entry = self.entries.get(key)?;
        let vpc = self.vpc.as_ref()?;
        let owner = self.owner(key);
        let named = reconcile::named_on_record(entry.ids.iter().chain(entry.targets.keys()));
        let mut all_named: BTreeSet<_> = named.load_balancers.union(&named.target_groups).cloned().collect();
        if let Some(service) = &entry.service {
            let named = reconcile::named(service);
            all_named.extend(named.load_balancers.into_iter().chain(named.target_groups));
        }
        let published = entry.published.as_ref().map(|(hostname, since)| Published {
            hostname: hostname.clone(),
            age: since.elapsed(),
        });
        let known = Known {
            named: all_named,
            records: entry.targets.clone(),
            published,
        };
        let (inputs, interfaces) = (&self.inputs, &self.interfaces);
        let (clusters, defaults, looked_at) = (&mut self.clusters, &self.defaults, &self.named);
        self.hands.account.read(|snapshot| {
            let backend = snapshot.shared(&defaults.cluster).group.map(|group| group.id);
            let cluster = clusters
                .entry(key.namespace.clone())
                .or_insert_with(|| inputs.cluster(&key.namespace, interfaces, None));
            cluster.backend_group = backend;
            Some(judge(&Case {
                owner: &owner,
                service: entry.service.as_ref(),
                defaults,
                vpc,
                cluster,
                snapshot,
                known,
                named: looked_at,
            }))
        })
    }

    /// Writes down what was found, tells it, and gives what is next.
    pub(super) fn note(&mut self, key: &ServiceName, judged: Judged) -> Next {
        let Judged {
            mut state,
            needs,
            has_backend_group,
            mut next,
        } = judged;
        let entry = self.entries.get_mut(key).expect("it was judged");
        let is_moving = next != Next::Rest || state.complaint.is_some() || state.trouble.is_some();
        if let Some(needs) = needs {
            // Until all is as it shall be, targets are let in to where they were, too.
            let before = entry.needs.take().filter(|_| is_moving).unwrap_or_default();
            entry.needs = Some(needs.into_iter().chain(before).collect());
        }
        // Rules name the group as long as something is needed.
        let keeps_group = is_moving && !state.is_gone && entry.has_backend_group;
        entry.has_backend_group = has_backend_group || keeps_group;
        self.shared.must_plan = true;
        match &next {
            Next::Perform(_) => {
                entry.rounds += 1;
                if entry.rounds > ROUNDS {
                    reconcile::trouble(&mut state, &reconcile::does_not_settle(ROUNDS));
                    entry.rounds = 0;
                    next = Next::Rest;
                } else if state.pending.is_none() {
                    state.pending = Some("it is being changed".to_owned());
                }
                add(&mut state, entry.failure.as_ref());
            }
            Next::Rest | Next::Wait(_) | Next::RestUntilVpcChanges => {
                entry.rounds = 0;
                entry.failure = None;
            }
            Next::LookAt(_) | Next::Interfaces(_) => {
                // Nothing was decided.
                return next;
            }
        }
        if entry.has_backend_group && state.trouble.is_none() {
            state.trouble.clone_from(&self.shared.trouble);
        }
        if next == Next::Rest && state.complaint.is_none() && state.trouble.is_none() {
            // Only what there is, not what there was.
            let entry = self.entries.get_mut(key).expect("it was judged");
            entry.ids = state.ids.values().cloned().collect();
        }
        if state.is_gone && self.entries.get(key).is_some_and(|entry| entry.is_orphan) {
            tracing::info!(service = %key, "what belonged to no Service is gone");
            self.entries.remove(key);
            return Next::Rest;
        }
        self.say(key, state);
        next
    }

    pub(super) fn say(&mut self, key: &ServiceName, state: State) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if entry.said.as_ref() == Some(&state) || entry.is_orphan {
            return;
        }
        entry.said = Some(state.clone());
        let said = Said::Key {
            key: key.clone(),
            number: entry.number,
            state,
        };
        // Nobody listens any more: this is about to be dropped.
        let _ = self.said.send((self.provider.clone(), said));
    }
}

/// The failure stays told until something else comes of the next try.
pub(super) fn add(state: &mut State, failure: Option<&State>) {
    if let Some(failure) = failure {
        state.complaint = state.complaint.take().or_else(|| failure.complaint.clone());
        state.trouble = state.trouble.take().or_else(|| failure.trouble.clone());
    }
}

/// The host name that clients are shown: by the Service, or by the record where a Service cannot show one.
fn hostname_of(service: &core::Service, record: &LoadBalancer) -> Option<String> {
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) != Some("LoadBalancer") {
        return record.status.as_ref()?.hostname.clone();
    }
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.iter().find_map(|ingress| ingress.hostname.clone())
}
