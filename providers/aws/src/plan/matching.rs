//! What there is, held against what shall be.
//!
//! Everything is found by its marks. Among what bears the right ones, it is what cannot be changed that decides whether a thing can be the
//! one that is wanted: the scheme of a load balancer; the protocol, the kind of targets and their family, and the load balancer that it
//! serves, of a target group.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_provider::ProviderError;

use crate::desired::{
    Group, LoadBalancer, RESOURCE_TAG, SecurityGroups, SubnetMapping, Tags, TargetGroup, TargetGroupRef,
    backend_group_name, is_ours, replacement_name,
};

use super::step::Destinations;
use super::{
    LISTENER_CONFLICT, Observed, ObservedListener, ObservedLoadBalancer, ObservedSecurityGroup, ObservedTargetGroup,
    Owner, Ref, State, TARGET_GROUP_IN_USE, UNKNOWN_LOAD_BALANCER, UNKNOWN_TARGET_GROUP,
};

/// What each part of the desired load balancer is now.
pub(super) struct Matching<'a> {
    owner: &'a Owner,
    pub(super) observed: &'a Observed,
    /// The load balancer, if it is there.
    pub(super) current: Option<&'a ObservedLoadBalancer>,
    /// Ours that are no longer wanted.
    pub(super) retired: Vec<&'a ObservedLoadBalancer>,
    /// The ARNs of those that stand in the way of a new one.
    pub(super) obstacles: BTreeSet<&'a str>,
    /// What the load balancer is called when it is made.
    name: String,
    groups: BTreeMap<String, Matched<'a>>,
    /// The security group that is made for it, if it is there.
    pub(super) managed: Option<&'a ObservedSecurityGroup>,
}

/// A target group, or the name that it is going to have.
enum Matched<'a> {
    Found(&'a ObservedTargetGroup),
    New(String),
}

impl Owner {
    /// True if something bears its marks.
    pub fn has(&self, tags: &Tags) -> bool {
        is_ours(tags, &self.cluster, &self.service.to_string())
    }
}

fn is_for(tags: &Tags, resource: &str) -> bool {
    tags.get(RESOURCE_TAG).is_some_and(|found| found == resource)
}

impl<'a> Matching<'a> {
    pub(super) fn find(
        owner: &'a Owner,
        desired: &LoadBalancer,
        observed: &'a Observed,
    ) -> Result<Self, ProviderError> {
        let ours: Vec<_> = observed
            .load_balancers
            .iter()
            .filter(|found| owner.has(&found.tags))
            .collect();
        let current = match &desired.adopted {
            None => best(&ours, desired),
            Some(arn) => {
                let found = observed.load_balancers.iter().find(|found| found.arn == *arn);
                let missing =
                    || ProviderError::refused(UNKNOWN_LOAD_BALANCER, format!("there is no load balancer {arn}"));
                Some(found.ok_or_else(missing)?)
            }
        };
        let is_current = |found: &ObservedLoadBalancer| current.is_some_and(|current| current.arn == found.arn);
        let retired: Vec<_> = ours.into_iter().filter(|found| !is_current(found)).collect();
        let stands_in_the_way = |found: &&&ObservedLoadBalancer| current.is_none() && cannot_be_beside(found, desired);
        let obstacles: BTreeSet<_> = retired
            .iter()
            .filter(stands_in_the_way)
            .map(|found| found.arn.as_str())
            .collect();
        let mut matching = Self {
            owner,
            observed,
            current,
            retired,
            obstacles,
            name: desired.name.clone(),
            groups: BTreeMap::new(),
            managed: managed(owner, desired, observed),
        };
        for (key, group) in &desired.target_groups {
            let matched = matching.target_group(key, group)?;
            matching.groups.insert(key.clone(), matched);
        }
        matching.check_listeners(desired)?;
        Ok(matching)
    }

    /// The load balancer, there or to be made.
    pub(super) fn load_balancer(&self) -> Ref {
        match self.current {
            Some(current) => Ref::Arn(current.arn.clone()),
            None => Ref::Named(self.name.clone()),
        }
    }

    /// A target group, if it is there.
    pub(super) fn found(&self, key: &str) -> Option<&'a ObservedTargetGroup> {
        match self.groups.get(key)? {
            Matched::Found(found) => Some(found),
            Matched::New(_) => None,
        }
    }

    /// A target group, there or to be made.
    pub(super) fn group(&self, key: &str) -> Ref {
        match &self.groups[key] {
            Matched::Found(found) => Ref::Arn(found.arn.clone()),
            Matched::New(name) => Ref::Named(name.clone()),
        }
    }

    /// Whether a target group is one of those that are wanted.
    pub(super) fn is_wanted(&self, arn: &str) -> bool {
        let mut all = self.groups.values();
        all.any(|matched| matches!(matched, Matched::Found(found) if found.arn == arn))
    }

    /// What a listener sends to.
    pub(super) fn destinations(&self, listener: &crate::desired::Listener) -> Destinations {
        let all = listener.to.iter().map(|to| match &to.group {
            TargetGroupRef::Ours(key) => (self.group(key), to.weight),
            TargetGroupRef::Foreign(arn) => (Ref::Arn(arn.clone()), to.weight),
        });
        all.collect()
    }

    /// The listener at a port, if it is there, and whether it is ours.
    pub(super) fn listener(&self, port: u16) -> Option<(&'a ObservedListener, bool)> {
        let found = self.current?.listeners.iter().find(|listener| listener.port == port)?;
        Some((found, self.owner.has(&found.tags)))
    }

    /// The security groups that the load balancer shall have.
    pub(super) fn security_groups(&self, desired: &LoadBalancer) -> BTreeSet<Group> {
        let backend = || match &self.observed.backend_group {
            Some(id) => Group::Id(id.clone()),
            None => Group::Named(backend_group_name(&self.owner.cluster)),
        };
        let (mut groups, with_backend) = match &desired.security_groups {
            SecurityGroups::None => return BTreeSet::new(),
            SecurityGroups::Own { groups, with_backend } => {
                (groups.iter().cloned().map(Group::Id).collect(), *with_backend)
            }
            SecurityGroups::Managed { group, with_backend } => {
                let managed = match self.managed {
                    Some(found) => Group::Id(found.id.clone()),
                    None => Group::Named(group.name.clone()),
                };
                (BTreeSet::from([managed]), *with_backend)
            }
        };
        if with_backend {
            groups.insert(backend());
        }
        groups
    }

    fn target_group(&self, key: &str, desired: &TargetGroup) -> Result<Matched<'a>, ProviderError> {
        let all = &self.observed.target_groups;
        let can_be = |found: &ObservedTargetGroup| {
            found.protocol == desired.protocol
                && found.target_type == desired.target_type
                && found.family == desired.family
        };
        if let Some(arn) = &desired.adopted {
            let found = all.iter().find(|found| found.arn == *arn).filter(|found| can_be(found));
            let message = || {
                let (protocol, kind, family) = (desired.protocol, desired.target_type, desired.family);
                format!("there is no target group {arn} that takes {protocol} to {kind} targets by {family}")
            };
            let found = found.ok_or_else(|| ProviderError::refused(UNKNOWN_TARGET_GROUP, message()))?;
            self.check_user(found)?;
            return Ok(Matched::Found(found));
        }
        let serves_nobody_else = |found: &ObservedTargetGroup| {
            found.load_balancer.as_deref().is_none_or(|arn| {
                self.current.is_some_and(|current| current.arn == arn) || self.obstacles.contains(arn)
            })
        };
        let ours = all
            .iter()
            .filter(|found| self.owner.has(&found.tags) && is_for(&found.tags, key));
        let candidates = ours.filter(|found| can_be(found) && serves_nobody_else(found));
        let best = candidates.min_by_key(|found| {
            (
                found.load_balancer.is_none(),
                found.name != desired.name,
                found.arn.as_str(),
            )
        });
        if let Some(found) = best {
            return Ok(Matched::Found(found));
        }
        let mut name = desired.name.clone();
        while all.iter().any(|found| found.name == name) {
            name = replacement_name(&name, &format!("{}{}", self.name, desired.family));
        }
        Ok(Matched::New(name))
    }

    /// A target group of somebody else that their own load balancer uses can be no other's.
    fn check_user(&self, found: &ObservedTargetGroup) -> Result<(), ProviderError> {
        let is_current = |arn: &str| self.current.is_some_and(|current| current.arn == arn);
        let others = self
            .observed
            .load_balancers
            .iter()
            .filter(|user| !is_current(&user.arn));
        let mut listeners = others
            .flat_map(|user| &user.listeners)
            .filter(|listener| !self.owner.has(&listener.tags));
        if listeners.any(|listener| listener.to.contains_key(&found.arn)) {
            let message = format!("another load balancer sends to target group {}", found.arn);
            return Err(ProviderError::refused(TARGET_GROUP_IN_USE, message));
        }
        Ok(())
    }

    /// Somebody else's listener on a port is right only if it sends to where ours would.
    fn check_listeners(&self, desired: &LoadBalancer) -> Result<(), ProviderError> {
        for (port, listener) in &desired.listeners {
            let Some((found, false)) = self.listener(*port) else {
                continue;
            };
            let wanted: BTreeSet<_> = self.destinations(listener).into_keys().collect();
            let is: BTreeSet<_> = found.to.keys().cloned().map(Ref::Arn).collect();
            if wanted != is {
                let message = format!(
                    "{} has a listener on port {port} that is not of this Service",
                    self.load_balancer()
                );
                return Err(ProviderError::refused(LISTENER_CONFLICT, message));
            }
        }
        Ok(())
    }
}

/// The one of ours that is or can become what is wanted.
fn best<'a>(ours: &[&'a ObservedLoadBalancer], desired: &LoadBalancer) -> Option<&'a ObservedLoadBalancer> {
    let candidates = ours.iter().copied().filter(|found| found.scheme == desired.scheme);
    candidates.min_by_key(|found| (found.state == State::Failed, found.name != desired.name, &found.arn))
}

/// Two load balancers cannot have one name, nor one address.
fn cannot_be_beside(found: &ObservedLoadBalancer, desired: &LoadBalancer) -> bool {
    let shares_address = |one: &SubnetMapping, other: &SubnetMapping| {
        (one.eip_allocation.is_some() && one.eip_allocation == other.eip_allocation)
            || (one.private_ipv4.is_some() && one.private_ipv4 == other.private_ipv4)
            || (one.ipv6.is_some() && one.ipv6 == other.ipv6)
    };
    let mut pairs = desired
        .subnets
        .iter()
        .flat_map(|one| found.subnets.iter().map(move |other| (one, other)));
    found.name == desired.name || pairs.any(|(one, other)| shares_address(one, other))
}

fn managed<'a>(owner: &Owner, desired: &LoadBalancer, observed: &'a Observed) -> Option<&'a ObservedSecurityGroup> {
    let SecurityGroups::Managed { group, .. } = &desired.security_groups else {
        return None;
    };
    if desired.adopted.is_some() {
        return None;
    }
    let ours = observed.security_groups.iter().filter(|found| owner.has(&found.tags));
    ours.min_by_key(|found| (found.name != group.name, &found.id))
}
