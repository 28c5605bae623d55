//! From what there is to what shall be, in steps.
//!
//! [`plan()`] and [`plan_shared()`] are functions of values: the same two values give the same steps, and none where they agree. What decides
//! the order:
//!
//! - What is made comes before what it replaces goes. A load balancer that takes another's place takes it when it is active, when the Service
//!   shows its name and when resolvers have had time to forget the old one. Where both cannot be together, since they would have the same
//!   name, address or target group of somebody else, the old one goes first.
//! - Targets are registered before others are deregistered, unless AWS takes no more.
//! - What is to be let in is let in first, and what no longer is, last.
//! - What somebody else made is changed in nothing but our listeners and our targets, and never deleted.
//! - What cannot be done yet is waited for, and the plan says for what.
//!
//! Steps refer to what earlier steps make by its name, so that one plan is enough from nothing to a load balancer, and everything that is
//! made bears our marks from the first call on. So a crash between any two steps leaves nothing that the next plan does not find.

mod attributes;
mod calls;
mod listeners;
mod load_balancer;
mod matching;
mod observed;
mod removal;
mod security_groups;
mod shared;
mod step;
mod tags;
mod target_groups;

use std::fmt;
use std::time::Duration;

use fairlead_model::ServiceName;
use fairlead_provider::{Plan, ProviderError};

use crate::desired::{Existing, LoadBalancer};
use matching::Matching;

pub use calls::TARGETS_IN_A_CALL;
pub use observed::{
    Observed, ObservedListener, ObservedLoadBalancer, ObservedSecurityGroup, ObservedTargetGroup, Published, State,
};
pub use shared::{ObservedShared, Shared, plan_shared};
pub use step::{Destinations, ListenerRef, NewLoadBalancer, NewTargetGroup, Ref, Step};

/// Whose load balancer it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The cluster's name.
    pub cluster: String,
    /// The Service.
    pub service: ServiceName,
}

/// What is to be done, and what is not to be done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What is to be done now.
    pub steps: Plan<Step>,
    /// What the rest waits for.
    pub waits: Vec<Wait>,
    /// What cannot be done at all, for the Service's user.
    pub notes: Vec<String>,
}

impl Outcome {
    /// How many calls of AWS' API the steps are.
    pub fn calls(&self) -> usize {
        self.steps.steps().iter().map(Step::calls).sum()
    }

    /// True if nothing is to be done, now or later.
    pub fn is_settled(&self) -> bool {
        self.steps.is_empty() && self.waits.is_empty()
    }
}

/// What something waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The load balancer of this name is to become active.
    Provisioning(String),
    /// The Service's status is to show this host name, for so long.
    Published(String),
    /// No network interface is to have this security group any more. Those of a load balancer stay for minutes after it is gone.
    Interfaces(String),
}

impl Wait {
    /// When to look again.
    pub const fn next_look(&self) -> Duration {
        match self {
            Self::Provisioning(_) => Duration::from_secs(15),
            Self::Published(_) => DNS_MEMORY,
            Self::Interfaces(_) => Duration::from_secs(20),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provisioning(name) => write!(f, "load balancer {name} is being provisioned"),
            Self::Published(name) => write!(f, "clients are to learn the name {name}"),
            Self::Interfaces(group) => write!(f, "network interfaces still have security group {group}"),
        }
    }
}

/// How long resolvers may keep the name of a load balancer, twice: AWS gives it with 60 seconds.
pub const DNS_MEMORY: Duration = Duration::from_mins(2);

/// The load balancer that the Service names by ARN is not there.
pub const UNKNOWN_LOAD_BALANCER: &str = "UnknownLoadBalancer";
/// The target group that the Service names by ARN is not there, or not of the kind that the port needs.
pub const UNKNOWN_TARGET_GROUP: &str = "UnknownTargetGroup";
/// Somebody else's load balancer uses the target group that the Service names.
pub const TARGET_GROUP_IN_USE: &str = "TargetGroupInUse";
/// Somebody else has a listener on a port of the Service.
pub const LISTENER_CONFLICT: &str = "ListenerConflict";
/// The load balancer is protected against deletion.
pub const DELETION_PROTECTED: &str = "DeletionProtected";

/// The steps from what there is to what shall be; nothing is desired of a Service that shall have none.
pub fn plan(owner: &Owner, desired: Option<&LoadBalancer>, observed: &Observed) -> Result<Outcome, ProviderError> {
    let mut draft = Draft::default();
    match desired {
        Some(desired) => {
            let matching = Matching::find(owner, desired, observed)?;
            removal::first(&mut draft, owner, desired, &matching)?;
            security_groups::open(&mut draft, desired, &matching);
            target_groups::prepare(&mut draft, desired, &matching);
            load_balancer::prepare(&mut draft, desired, &matching);
            listeners::prepare(&mut draft, owner, desired, &matching);
            load_balancer::finish(&mut draft, desired, &matching);
            tags::all(&mut draft, desired, &matching);
            removal::replaced(&mut draft, owner, &desired.name, &matching);
            removal::unused(&mut draft, owner, &matching);
            security_groups::close(&mut draft, owner, desired, &matching);
            // Its name is of use once it is active.
            if matching
                .current
                .is_some_and(|current| current.state == State::Provisioning)
            {
                draft.wait(Wait::Provisioning(desired.name.clone()));
            }
        }
        None => removal::everything(&mut draft, owner, observed)?,
    }
    Ok(Outcome {
        steps: draft.steps.into_iter().collect(),
        waits: draft.waits,
        notes: draft.notes,
    })
}

/// The host name that the Service is to show: that of the load balancer that it shall have once it is active, before that the one that it
/// had.
pub fn hostname(owner: &Owner, desired: &LoadBalancer, observed: &Observed) -> Option<String> {
    let matching = Matching::find(owner, desired, observed).ok()?;
    let all = matching.current.into_iter().chain(matching.retired.iter().copied());
    let mut active = all.filter(|load_balancer| load_balancer.state == State::Active);
    active.next().map(|load_balancer| load_balancer.dns_name.to_lowercase())
}

/// What the Service has already, for what it shall have: the load balancer of this ARN, or ours; while one takes another's place, the one
/// that clients know.
pub fn existing(owner: &Owner, adopted: Option<&str>, observed: &Observed) -> Option<Existing> {
    let all = &observed.load_balancers;
    let found = match adopted {
        Some(arn) => all.iter().find(|found| found.arn == arn),
        None => all.iter().filter(|found| owner.has(&found.tags)).min_by_key(|found| {
            let is_published = observed
                .published
                .as_ref()
                .is_some_and(|published| published.names(found));
            (!is_published, found.state != State::Active, &found.arn)
        }),
    }?;
    let managed = observed.security_groups.iter().find(|group| owner.has(&group.tags));
    Some(Existing {
        scheme: found.scheme,
        subnets: found.subnets.iter().map(|mapping| mapping.subnet.clone()).collect(),
        security_groups: found.security_groups.iter().cloned().collect(),
        managed_group: managed.map(|group| group.id.clone()),
    })
}

/// A plan in the making.
#[derive(Debug, Default)]
struct Draft {
    steps: Vec<Step>,
    waits: Vec<Wait>,
    notes: Vec<String>,
}

impl Draft {
    fn wait(&mut self, wait: Wait) {
        if !self.waits.contains(&wait) {
            self.waits.push(wait);
        }
    }
}

#[cfg(test)]
mod tests;
