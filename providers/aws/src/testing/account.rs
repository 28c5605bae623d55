//! The account behind the port.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairlead_provider::ProviderError;

use super::{CLUSTER_TAG, Contents, Refused, Step};
use crate::account::{Account, Health, HealthState, IN_USE, LIMIT_REACHED, NOT_FOUND, Named, REFUSED, Snapshot};
use crate::desired::{Target, Vpc};
use crate::plan::Wait;

/// An account in memory. What it has can be looked into, and changed as somebody else would.
#[derive(Debug)]
pub struct TestAccount {
    cluster: String,
    vpc: Vpc,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    contents: Contents,
    interfaces: BTreeMap<String, Vec<String>>,
    snapshot: Snapshot,
    looks: usize,
    steps: Vec<String>,
}

impl TestAccount {
    /// An account of a cluster and a VPC.
    pub fn new(cluster: impl Into<String>, vpc: Vpc, contents: Contents) -> Self {
        Self {
            cluster: cluster.into(),
            vpc,
            state: Mutex::new(State {
                contents,
                ..State::default()
            }),
        }
    }

    /// Lets somebody look into it, or change it.
    pub fn with<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> T {
        change(&mut self.lock().contents)
    }

    /// Gives a target an interface with these security groups.
    pub fn set_interface_groups(&self, target: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.lock().interfaces.insert(target.to_owned(), groups);
    }

    /// How often everything was listed.
    pub fn looks(&self) -> usize {
        self.lock().looks
    }

    /// The steps that were done since the last time this was asked.
    pub fn take_steps(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().steps)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look, which takes time.
    fn observe(&self, state: &mut State) {
        state.contents.observe();
        self.see(state);
    }

    /// What can be seen of it: all that is there, since nobody else's is told apart before somebody asks.
    fn see(&self, state: &mut State) {
        let observed = state.contents.look();
        let is_ours = |id: &String| {
            let tags = &state.contents.security_groups[id].tags;
            tags.get(CLUSTER_TAG) == Some(&self.cluster)
        };
        let (ours, others) = state.contents.security_groups.keys().cloned().partition(is_ours);
        let (ours, others): (BTreeSet<String>, BTreeSet<String>) = (ours, others);
        let group = |id: &String| {
            let mut group = state.contents.security_groups[id].clone();
            group.is_in_use = state.contents.is_in_use(id);
            group
        };
        state.snapshot = Snapshot {
            load_balancers: by_key(observed.load_balancers, |found| &found.arn),
            target_groups: by_key(observed.target_groups, |found| &found.arn),
            security_groups: ours.iter().map(|id| (id.clone(), group(id))).collect(),
            rules: others
                .iter()
                .map(|id| (id.clone(), group(id).rules))
                .filter(|(_, rules)| !rules.is_empty())
                .collect(),
            others: BTreeMap::new(),
        };
    }
}

fn by_key<T>(all: Vec<T>, key: impl Fn(&T) -> &String) -> BTreeMap<String, T> {
    all.into_iter().map(|found| (key(&found).clone(), found)).collect()
}

impl Account for TestAccount {
    async fn look(&self, _named: &Named) -> Result<(), ProviderError> {
        let state = &mut *self.lock();
        state.looks += 1;
        self.observe(state);
        Ok(())
    }

    async fn look_at(&self, _named: &Named) -> Result<(), ProviderError> {
        self.observe(&mut self.lock());
        Ok(())
    }

    async fn look_for(&self, _waits: &[Wait]) -> Result<(), ProviderError> {
        self.observe(&mut self.lock());
        Ok(())
    }

    fn read<T>(&self, reader: impl FnOnce(&Snapshot) -> T) -> T {
        reader(&self.lock().snapshot)
    }

    async fn vpc(&self) -> Result<Vpc, ProviderError> {
        Ok(self.vpc.clone())
    }

    async fn interface_groups(
        &self,
        targets: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<String>>, ProviderError> {
        let mut known = self.lock().interfaces.clone();
        known.retain(|target, _| targets.contains(target));
        Ok(known)
    }

    async fn health(&self, target_group: &str) -> Result<BTreeMap<Target, Health>, ProviderError> {
        let state = self.lock();
        let group = state.contents.target_groups.get(target_group);
        let group = group.ok_or_else(|| ProviderError::refused(NOT_FOUND, target_group))?;
        let health = Health {
            state: match &group.load_balancer {
                Some(_) => HealthState::Healthy,
                None => HealthState::Unused,
            },
            description: None,
        };
        Ok(group
            .targets
            .iter()
            .map(|target| (target.clone(), health.clone()))
            .collect())
    }

    async fn perform(&self, step: &Step) -> Result<(), ProviderError> {
        let state = &mut *self.lock();
        if matches!(step, Step::RecordTargets { .. }) {
            return Ok(());
        }
        let done = state.contents.perform(step);
        state.steps.push(step.to_string());
        // It is all here: no need to note what can be seen.
        self.see(state);
        done.map_err(|refused| error(&refused))
    }
}

fn error(refused: &Refused) -> ProviderError {
    let reason = match refused.code {
        "TooManyTargets" => LIMIT_REACHED,
        "DependencyViolation" | "ResourceInUse" => IN_USE,
        code if code.ends_with("NotFound") => NOT_FOUND,
        _ => REFUSED,
    };
    let mut error = ProviderError::refused(reason, refused.to_string());
    if reason != REFUSED {
        error.retry = fairlead_provider::Retry::Backoff;
    }
    error
}
