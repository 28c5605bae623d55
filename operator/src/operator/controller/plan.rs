//! What is to be done for one key: pure, and one line for each step.
//!
//! The order is such that a crash between any two steps leaves nothing that is not found again. The `LoadBalancer` object is the
//! record that something may be ours: it is made before anything else and goes last.

mod cloud;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use fairlead_crds::reason::{self, Reason};
use fairlead_crds::{LoadBalancer, LoadBalancerSpec, LoadBalancerStatus, ServiceReference};
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::cloud::State;
use super::conditions::{Finding, conditions};

/// Keeps a Service that is deleted until its load balancer is gone: the name that Kubernetes' own controllers use.
pub const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// Keeps a `LoadBalancer` that is deleted until its Service has been let go: who deletes a namespace deletes the record too, perhaps first, and
/// without it nothing says that the Service's finalizer is ours. One that a person deletes stays until its Service ends.
pub const KEEPER: &str = "fairlead.io/service";

/// What shall be for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing of ours.
    Nothing,
    /// What there is stays, and its `LoadBalancer` says why it is not looked after.
    Unattended(Complaint),
    /// A load balancer.
    LoadBalancer {
        /// The provider.
        provider: Arc<str>,
        /// The addresses that it has.
        addresses: Vec<IpAddr>,
        /// The pool that they are from.
        pool: Option<Arc<str>>,
        /// What it cannot have.
        complaint: Option<Complaint>,
    },
    /// A load balancer in a cloud.
    Cloud {
        /// The provider.
        provider: Arc<str>,
        /// How it stands there; `None` before that is known.
        state: Option<State>,
    },
    /// Nothing, once what there is in a cloud is gone.
    Leaving(Option<State>),
}

impl Wanted {
    /// What is wrong, if something is.
    pub fn complaint(&self) -> Option<&Complaint> {
        match self {
            Self::Nothing => None,
            Self::Unattended(complaint) => Some(complaint),
            Self::LoadBalancer { complaint, .. } => complaint.as_ref(),
            Self::Cloud { state, .. } | Self::Leaving(state) => {
                let state = state.as_ref()?;
                state.complaint.as_ref().or(state.trouble.as_ref())
            }
        }
    }
}

/// Why a Service does not have what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// One word of [`reason`].
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make the `LoadBalancer` object.
    Create(LoadBalancerSpec),
    /// Change what it is for.
    Update(LoadBalancerSpec),
    /// Keep the Service until its load balancer is gone.
    AddFinalizer,
    /// Write the addresses into the Service's status; none clears it.
    Publish(Vec<IpAddr>),
    /// Write a host name there.
    PublishHostname(String),
    /// Write the `LoadBalancer`'s status.
    Report(Report),
    /// Let the Service go.
    RemoveFinalizer,
    /// Delete the `LoadBalancer` object.
    Delete,
}

/// The part of a `LoadBalancer`'s status that is the operator's.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Their pool.
    pub pool: Option<Arc<str>>,
    /// The name that clients reach it at.
    pub hostname: Option<String>,
    /// What the provider calls its parts; `None` for what is not there any more.
    pub ids: BTreeMap<String, Option<String>>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// The generation that it is about.
    pub observed_generation: Option<i64>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Create(spec) => write!(f, "create LoadBalancer of provider {}", spec.provider),
            Self::Update(spec) => write!(f, "change LoadBalancer to provider {}", spec.provider),
            Self::AddFinalizer => write!(f, "add finalizer {FINALIZER}"),
            Self::Publish(addresses) if addresses.is_empty() => f.write_str("clear the Service's status"),
            Self::Publish(addresses) => write!(f, "write {} into the Service's status", list(addresses)),
            Self::PublishHostname(hostname) => write!(f, "write {hostname} into the Service's status"),
            Self::Report(report) => {
                f.write_str("write LoadBalancer status")?;
                if let Some(hostname) = &report.hostname {
                    write!(f, ": {hostname}")?;
                }
                if !report.addresses.is_empty() {
                    write!(f, ": {}", list(&report.addresses))?;
                }
                let not_ready = report.conditions.iter().find(|condition| condition.status != "True");
                not_ready.map_or(Ok(()), |condition| write!(f, " ({})", condition.reason))
            }
            Self::RemoveFinalizer => write!(f, "remove finalizer {FINALIZER}"),
            Self::Delete => f.write_str("delete LoadBalancer"),
        }
    }
}

/// What there is for a key.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Whose.
    pub key: &'a ServiceName,
    /// The Service.
    pub service: Option<&'a Service>,
    /// The record that something may be ours.
    pub load_balancer: Option<&'a LoadBalancer>,
}

impl Observed<'_> {
    /// True if nothing of ours is left, as far as can be seen.
    pub fn is_gone(&self) -> bool {
        self.load_balancer.is_none()
    }

    /// True if the record is there and stays, and the Service stays as long as the record.
    pub fn is_kept(&self) -> bool {
        self.load_balancer.is_some_and(is_kept) && self.has_finalizer()
    }

    fn has_finalizer(&self) -> bool {
        let finalizers = self.service.and_then(|service| service.metadata.finalizers.as_ref());
        finalizers.is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == FINALIZER))
    }

    /// Whether the API server takes addresses into the Service's status. Those of type `NodePort` have theirs in the record alone.
    fn has_load_balancer_status(&self) -> bool {
        let spec = self.service.and_then(|service| service.spec.as_ref());
        spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
    }

    /// The addresses in the Service's status. One that is not one is left out, and so replaced.
    pub fn published(&self) -> Vec<IpAddr> {
        let addresses = self.ingress().filter_map(|ingress| ingress.ip.as_ref()?.parse().ok());
        addresses.collect()
    }

    /// The host names in the Service's status.
    pub fn published_hostnames(&self) -> Vec<&str> {
        let names = self.ingress().filter_map(|ingress| ingress.hostname.as_deref());
        names.filter(|name| !name.is_empty()).collect()
    }

    fn ingress(&self) -> impl Iterator<Item = &LoadBalancerIngress> {
        let status = self.service.and_then(|service| service.status.as_ref());
        let ingress = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
        ingress.into_iter().flatten()
    }

    fn status(&self) -> Option<&LoadBalancerStatus> {
        self.load_balancer?.status.as_ref()
    }
}

/// What to do, in order; nothing if all is as it shall be.
pub fn plan(observed: &Observed<'_>, wanted: &Wanted, now: &Time) -> Vec<Step> {
    match wanted {
        Wanted::Nothing => remove(observed),
        Wanted::Unattended(complaint) => {
            let Some(load_balancer) = observed.load_balancer else {
                return Vec::new();
            };
            let status = load_balancer.status.clone().unwrap_or_default();
            let shown = Shown {
                addresses: status.addresses.iter().filter_map(|text| text.parse().ok()).collect(),
                pool: status.pool.as_deref().map(Into::into),
                hostname: status.hostname,
                ids: status.ids,
            };
            let (accepted, ready) = findings(&shown, Some(complaint), observed.status());
            report(observed, shown, accepted, ready, now).into_iter().collect()
        }
        Wanted::LoadBalancer {
            provider,
            addresses,
            pool,
            complaint,
        } => {
            let mut steps = keep(observed, provider);
            let is_shown = observed.published() == *addresses && observed.published_hostnames().is_empty();
            if observed.has_load_balancer_status() && !is_shown {
                steps.push(Step::Publish(addresses.clone()));
            }
            let shown = Shown {
                addresses: addresses.clone(),
                pool: pool.clone(),
                ..Shown::default()
            };
            let (accepted, ready) = findings(&shown, complaint.as_ref(), observed.status());
            steps.extend(report(observed, shown, accepted, ready, now));
            steps
        }
        Wanted::Cloud { provider, state } => cloud::make(observed, provider, state.as_ref(), now),
        Wanted::Leaving(state) => cloud::leave(observed, state.as_ref(), now),
    }
}

/// The record, and the finalizer of the Service.
fn keep(observed: &Observed<'_>, provider: &Arc<str>) -> Vec<Step> {
    let mut steps = Vec::new();
    let spec = LoadBalancerSpec {
        provider: provider.to_string(),
        services: vec![ServiceReference {
            namespace: observed.key.namespace.to_string(),
            name: observed.key.name.to_string(),
        }],
    };
    match observed.load_balancer {
        None => steps.push(Step::Create(spec)),
        Some(load_balancer) if load_balancer.spec != spec || !is_kept(load_balancer) => {
            steps.push(Step::Update(spec));
        }
        Some(_) => {}
    }
    if !observed.has_finalizer() {
        steps.push(Step::AddFinalizer);
    }
    steps
}

fn is_kept(load_balancer: &LoadBalancer) -> bool {
    let finalizers = load_balancer.metadata.finalizers.as_deref().unwrap_or_default();
    load_balancer.metadata.deletion_timestamp.is_some() || finalizers.iter().any(|finalizer| finalizer == KEEPER)
}

/// The record goes last, and only where there is one: without it nothing says that the rest is ours.
fn remove(observed: &Observed<'_>) -> Vec<Step> {
    if observed.is_gone() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if !(observed.published().is_empty() && observed.published_hostnames().is_empty()) {
        steps.push(Step::Publish(Vec::new()));
    }
    if observed.has_finalizer() {
        steps.push(Step::RemoveFinalizer);
    }
    steps.push(Step::Delete);
    steps
}

/// What a record shows beside its conditions.
#[derive(Debug, Clone, Default)]
struct Shown {
    addresses: Vec<IpAddr>,
    pool: Option<Arc<str>>,
    hostname: Option<String>,
    ids: BTreeMap<String, String>,
}

fn refused(complaint: &Complaint) -> Finding {
    Finding {
        is_true: false,
        reason: complaint.reason,
        message: complaint.message.clone(),
    }
}

fn accepted(complaint: Option<&Complaint>) -> Finding {
    complaint.map_or_else(
        || Finding {
            is_true: true,
            reason: reason::ACCEPTED,
            message: String::new(),
        },
        refused,
    )
}

fn pending(message: impl Into<String>) -> Finding {
    Finding {
        is_true: false,
        reason: reason::PENDING,
        message: message.into(),
    }
}

fn reached_at(message: &str) -> Finding {
    Finding {
        is_true: true,
        reason: reason::READY,
        message: format!("reached at {message}"),
    }
}

/// `Accepted` and `Ready`.
fn findings(shown: &Shown, complaint: Option<&Complaint>, status: Option<&LoadBalancerStatus>) -> (Finding, Finding) {
    let ready = match (complaint, shown.addresses.as_slice(), &shown.hostname) {
        (Some(complaint), [], None) => refused(complaint),
        (None, [], None) => pending("no address yet"),
        (_, [], Some(hostname)) => reached_at(hostname),
        (_, addresses, _) => {
            let announcements = status.map(|status| &status.announcements);
            let is_reached = |text: &String| {
                let by = announcements.and_then(|all| all.get(text));
                by.is_none_or(|by| by.stranger.is_none())
            };
            let all = addresses.iter().map(ToString::to_string);
            let reached: Vec<_> = all.filter(is_reached).collect();
            match complaint.filter(|_| reached.is_empty()) {
                Some(complaint) => refused(complaint),
                None => reached_at(&reached.join(", ")),
            }
        }
    };
    (accepted(complaint), ready)
}

fn report(observed: &Observed<'_>, shown: Shown, accepted: Finding, ready: Finding, now: &Time) -> Option<Step> {
    let status = observed.status();
    let generation = observed
        .load_balancer
        .and_then(|load_balancer| load_balancer.metadata.generation)
        .or(Some(1));
    let old = status.map_or(&[][..], |status| &status.conditions);
    let conditions = conditions(old, generation, accepted, ready, now);
    let texts: Vec<_> = shown.addresses.iter().map(ToString::to_string).collect();
    let is_same = status.is_some_and(|status| {
        status.addresses == texts
            && status.pool.as_deref() == shown.pool.as_deref()
            && status.hostname == shown.hostname
            && status.ids == shown.ids
            && status.conditions == conditions
            && status.observed_generation == generation
    });
    let before = status.into_iter().flat_map(|status| status.ids.keys());
    let mut ids: BTreeMap<_, _> = before.map(|name| (name.clone(), None)).collect();
    ids.extend(shown.ids.into_iter().map(|(name, id)| (name, Some(id))));
    (!is_same).then_some({
        Step::Report(Report {
            addresses: shown.addresses,
            pool: shown.pool,
            hostname: shown.hostname,
            ids,
            conditions,
            observed_generation: generation,
        })
    })
}

#[cfg(test)]
mod tests;
