//! What is to be done next for a Service: pure, from what is known of the cluster, the VPC and the account.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_aws::account::{Known, Named, REFUSED, Snapshot};
use fairlead_aws::contract::{Defaults, LOAD_BALANCER_ARN, Service, Settings, TARGET_GROUP_ARN};
use fairlead_aws::desired::{
    BackendNeed, Cluster, LoadBalancer, SecurityGroups, Surroundings, Vpc, backend_group_name, backend_group_tags,
    backend_needs, backend_rules, desired, is_ours,
};
use fairlead_aws::plan::{
    Observed, Outcome, Owner, Shared, State as LoadBalancerState, Step, Wait, existing, hostname, plan,
};
use fairlead_crds::reason;
use fairlead_provider::{ProviderError, Retry};

use crate::chain::Chain;
use crate::operator::controller::cloud::State;
use crate::operator::controller::plan::Complaint;

/// A Service and all that decides about its load balancer.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// Whose.
    pub owner: &'a Owner,
    /// The Service; `None` where there shall be nothing.
    pub service: Option<&'a Service>,
    /// The provider's defaults.
    pub defaults: &'a Defaults,
    /// The VPC.
    pub vpc: &'a Vpc,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The account.
    pub snapshot: &'a Snapshot,
    /// What the cluster knows of the load balancer.
    pub known: Known,
    /// What others made and was looked at.
    pub named: &'a Named,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// What others made is to be looked at.
    LookAt(Named),
    /// It is to be known which security groups these targets have.
    Interfaces(BTreeSet<String>),
    /// These steps.
    Perform(Vec<Step>),
    /// Nothing before this has come.
    Wait(Vec<Wait>),
    /// Nothing before something changes.
    Rest,
    /// Nothing before the VPC has changed, which nobody tells.
    RestUntilVpcChanges,
}

/// What came of looking at a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// How it stands.
    pub state: State,
    /// What it needs of its targets' security groups; `None` if that cannot be said.
    pub needs: Option<BTreeSet<BackendNeed>>,
    /// Whether it has the security group that targets let in.
    pub has_backend_group: bool,
    /// What to do then.
    pub next: Next,
}

/// Says how a Service stands and what is next.
pub fn judge(case: &Case<'_>) -> Judged {
    let known = case.known.clone();
    let observed = case.snapshot.observed(case.owner, known);
    let Some(service) = case.service else {
        return leave(case, &observed);
    };
    let mut judged = Judged {
        state: state(case, &observed),
        needs: None,
        has_backend_group: has_backend_group(&observed),
        next: Next::Rest,
    };
    let settings = match Settings::read(service, case.defaults) {
        Ok(settings) => settings,
        Err(faults) => {
            judged.state.complaint = Some(invalid(&faults));
            if is_nothing(&observed) {
                judged.needs = Some(BTreeSet::new());
            }
            return judged;
        }
    };
    let named = named(service);
    if !is_looked_at(&named, case.named) {
        judged.next = Next::LookAt(named);
        return judged;
    }
    let existing = existing(case.owner, settings.adoption.load_balancer.as_deref(), &observed);
    let around = Surroundings {
        defaults: case.defaults,
        vpc: case.vpc,
        cluster: case.cluster,
        existing: existing.as_ref(),
    };
    let desired = match desired(service, &settings, around) {
        Ok(desired) => desired,
        Err(faults) => {
            judged.state.complaint = Some(invalid(&faults));
            judged.next = Next::RestUntilVpcChanges;
            if is_nothing(&observed) {
                judged.needs = Some(BTreeSet::new());
            }
            return judged;
        }
    };
    let unknown = unknown_interfaces(&desired, &settings, case.cluster);
    if !unknown.is_empty() {
        judged.next = Next::Interfaces(unknown);
        return judged;
    }
    judged.needs = Some(backend_needs(&desired, &settings, around));
    judged.has_backend_group |= asks_for_backend_group(&desired);
    judged.state.hostname = hostname(case.owner, &desired, &observed).or(judged.state.hostname);
    go_on(&mut judged, plan(case.owner, Some(&desired), &observed));
    judged
}

fn leave(case: &Case<'_>, observed: &Observed) -> Judged {
    let mut judged = Judged {
        state: state(case, observed),
        needs: None,
        has_backend_group: has_backend_group(observed),
        next: Next::Rest,
    };
    go_on(&mut judged, plan(case.owner, None, observed));
    let is_done = judged.next == Next::Rest && judged.state.complaint.is_none() && judged.state.trouble.is_none();
    judged.state.is_gone = is_done;
    judged.needs = is_done.then(BTreeSet::new);
    judged
}

fn go_on(judged: &mut Judged, outcome: Result<Outcome, ProviderError>) {
    match outcome {
        Ok(outcome) => {
            if !outcome.notes.is_empty() {
                judged.state.pending = Some(outcome.notes.join("; "));
            }
            let waits: Vec<_> = outcome.waits.iter().map(ToString::to_string).collect();
            if !waits.is_empty() {
                judged.state.pending = Some(waits.join("; "));
            }
            judged.next = if !outcome.steps.is_empty() {
                Next::Perform(outcome.steps.steps().to_vec())
            } else if outcome.waits.is_empty() {
                Next::Rest
            } else {
                Next::Wait(outcome.waits)
            };
        }
        Err(error) => trouble(&mut judged.state, &error),
    }
}

/// Notes an error in the place where it belongs.
pub fn trouble(state: &mut State, error: &ProviderError) {
    let complaint = complaint(error);
    match error.retry {
        Retry::WhenChanged => state.complaint = Some(complaint),
        Retry::Backoff | Retry::After(_) => state.trouble = Some(complaint),
    }
}

/// An error in the words of conditions and events.
pub fn complaint(error: &ProviderError) -> Complaint {
    Complaint {
        reason: reason::of(error.reason).unwrap_or(reason::PROVIDER_ERROR),
        message: Chain(error).to_string(),
    }
}

fn invalid(faults: &impl ToString) -> Complaint {
    Complaint {
        reason: reason::INVALID_ANNOTATION,
        message: faults.to_string(),
    }
}

fn is_nothing(observed: &Observed) -> bool {
    observed.load_balancers.is_empty() && observed.target_groups.is_empty() && observed.security_groups.is_empty()
}

fn has_backend_group(observed: &Observed) -> bool {
    let Some(group) = &observed.backend_group else {
        return false;
    };
    let mut all = observed.load_balancers.iter();
    all.any(|found| found.security_groups.contains(group))
}

fn asks_for_backend_group(desired: &LoadBalancer) -> bool {
    match &desired.security_groups {
        SecurityGroups::None => false,
        SecurityGroups::Own { with_backend, .. } | SecurityGroups::Managed { with_backend, .. } => *with_backend,
    }
}

/// What a Service names by ARN.
pub fn named(service: &Service) -> Named {
    let mut named = Named::default();
    let prefix = format!("{TARGET_GROUP_ARN}.");
    for (key, arn) in &service.annotations {
        if key == LOAD_BALANCER_ARN {
            named.load_balancers.insert(arn.clone());
        } else if key.starts_with(&prefix) {
            named.target_groups.insert(arn.clone());
        }
    }
    named
}

/// Sorts ARNs that are on record by what they are of.
pub fn named_on_record<'a>(arns: impl IntoIterator<Item = &'a String>) -> Named {
    let mut named = Named::default();
    for arn in arns {
        if arn.contains(":loadbalancer/") {
            named.load_balancers.insert(arn.clone());
        } else if arn.contains(":targetgroup/") {
            named.target_groups.insert(arn.clone());
        }
    }
    named
}

/// Puts two together.
pub fn extend(all: &mut Named, more: &Named) {
    all.load_balancers.extend(more.load_balancers.iter().cloned());
    all.target_groups.extend(more.target_groups.iter().cloned());
}

fn is_looked_at(named: &Named, looked_at: &Named) -> bool {
    named.load_balancers.is_subset(&looked_at.load_balancers) && named.target_groups.is_subset(&looked_at.target_groups)
}

/// The targets whose security groups are to be known before it can be said what they let in.
fn unknown_interfaces(desired: &LoadBalancer, settings: &Settings, cluster: &Cluster) -> BTreeSet<String> {
    let matters = match &desired.security_groups {
        _ if desired.adopted.is_some() => true,
        SecurityGroups::Own { with_backend, .. } => *with_backend,
        SecurityGroups::Managed { .. } => true,
        SecurityGroups::None => settings.security.manages_backend_rules,
    };
    if !matters {
        return BTreeSet::new();
    }
    let targets = desired.target_groups.values().flat_map(|group| &group.targets);
    let unknown = targets.filter(|target| !cluster.interface_groups.contains_key(&target.id));
    unknown.map(|target| target.id.clone()).collect()
}

/// How it stands, as far as can be seen.
fn state(case: &Case<'_>, observed: &Observed) -> State {
    let service = case.owner.service.to_string();
    let is_its = |tags| is_ours(tags, &case.owner.cluster, &service);
    let mut ids = BTreeMap::new();
    for found in &observed.load_balancers {
        let has_listener = found.listeners.iter().any(|listener| is_its(&listener.tags));
        if is_its(&found.tags) || has_listener {
            ids.insert(format!("loadBalancer/{}", found.name), found.arn.clone());
        }
    }
    for found in &observed.target_groups {
        if is_its(&found.tags) || !found.recorded.is_empty() {
            ids.insert(format!("targetGroup/{}", found.name), found.arn.clone());
        }
    }
    for found in &observed.security_groups {
        ids.insert(format!("securityGroup/{}", found.name), found.id.clone());
    }
    // That which clients know, while it works.
    let published = observed.published.as_ref().map(|published| &published.hostname);
    let active = observed
        .load_balancers
        .iter()
        .filter(|found| found.state == LoadBalancerState::Active);
    let mut names = active.map(|found| found.dns_name.to_lowercase());
    State {
        hostname: names.find(|name| Some(name) == published),
        ids,
        ..State::default()
    }
}

/// What all Services share, of what each was found to need. `None` stands for one that cannot be read.
pub fn shared<'a>(
    defaults: &Defaults,
    all: impl Iterator<Item = (Option<&'a BTreeSet<BackendNeed>>, bool)>,
    is_all: bool,
) -> Shared {
    let mut is_complete = is_all;
    let mut is_wanted = false;
    let mut needs = BTreeSet::new();
    for (of_one, has_group) in all {
        is_complete &= of_one.is_some();
        is_wanted |= has_group;
        needs.extend(of_one.into_iter().flatten());
    }
    Shared {
        name: backend_group_name(&defaults.cluster),
        tags: backend_group_tags(defaults),
        is_wanted,
        rules: backend_rules(needs),
        is_complete,
    }
}

/// What has been tried often enough without an end.
pub fn does_not_settle(rounds: u32) -> ProviderError {
    ProviderError {
        reason: REFUSED,
        message: format!("it is not as it shall be after {rounds} plans"),
        retry: Retry::Backoff,
        source: None,
    }
}
