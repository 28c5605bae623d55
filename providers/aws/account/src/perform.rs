//! One step.
//!
//! A step is done when AWS has done it or says that it is so already: what is made exists in the same words, what is deleted is not there.

mod load_balancers;
mod security_groups;
mod target_groups;

use std::collections::BTreeSet;
use std::fmt;

use fairlead_aws::account::{Made, Snapshot};
use fairlead_aws::plan::{Ref, Step};
use fairlead_provider::ProviderError;

use crate::AwsAccount;
use crate::convert::requests::{batches, tags};
use crate::error::{Class, Failure, missing};
use crate::memory::{Detail, DetailKind};

/// How many things one call tags.
const TAGGED_IN_A_CALL: usize = 20;

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undone {
    /// AWS did not do the call.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// There was nothing to call.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl AwsAccount {
    pub(crate) async fn carry_out(&self, step: &Step) -> Result<(), ProviderError> {
        if matches!(step, Step::RecordTargets { .. }) {
            return Ok(());
        }
        let keys = keys(step, &self.memory().snapshot);
        self.memory().changed(keys.clone());
        let done = self.call(step).await;
        let noted = self.without_theirs(step);
        let step = noted.as_ref().unwrap_or(step);
        let mut memory = self.memory();
        memory.changed(keys.clone());
        match done {
            Ok(made) => {
                let arn = match &made {
                    Made::Nothing => None,
                    Made::SecurityGroup { id } => Some(id),
                    Made::TargetGroup { arn } | Made::LoadBalancer { arn, .. } | Made::Listener { arn } => Some(arn),
                };
                // What was just made has nothing but what its call said.
                let round = memory.round;
                let details = arn.into_iter().flat_map(|arn| details_of(&made, arn));
                memory.details.extend(details.map(|detail| (detail, round)));
                memory.changed(arn.cloned());
                memory.snapshot.note(step, made);
                Ok(())
            }
            Err(Undone::Failure(failure)) => {
                if failure.is("TooManyTargets") || failure.is("RulesPerSecurityGroupLimitExceeded") {
                    memory.snapshot.note_full(step);
                }
                if failure.class == Class::Missing {
                    forget(&mut memory.snapshot, &failure, &keys);
                }
                Err(failure.into())
            }
            Err(Undone::Provider(error)) => Err(error),
        }
    }

    async fn call(&self, step: &Step) -> Result<Made, Undone> {
        match step {
            Step::CreateSecurityGroup {
                name,
                description,
                tags,
            } => self.create_security_group(name, description, tags).await,
            Step::AuthorizeIngress { group, rules } => self.authorize(group, rules).await,
            Step::RevokeIngress { group, rules } => self.revoke(group, rules).await,
            Step::DeleteSecurityGroup { id } => {
                let call = self.caller.ec2("DeleteSecurityGroup", |ec2| {
                    ec2.delete_security_group().group_id(id).send()
                });
                gone(call.await)
            }
            Step::CreateTags { id, tags } => self.tag_group(id, tags).await,
            Step::DeleteTags { id, keys } => self.untag_group(id, keys).await,

            Step::CreateTargetGroup(new) => self.create_target_group(new).await,
            Step::ModifyTargetGroup { group, health_check } => self.modify_target_group(group, health_check).await,
            Step::ModifyTargetGroupAttributes { group, attributes } => {
                self.set_target_group_attributes(group, attributes).await
            }
            Step::RegisterTargets { group, targets } => self.register(group, targets).await,
            Step::DeregisterTargets { group, targets } => self.deregister(group, targets).await,
            Step::DeleteTargetGroup { arn } => {
                let call = self.caller.elb("DeleteTargetGroup", |elb| {
                    elb.delete_target_group().target_group_arn(arn).send()
                });
                gone(call.await)
            }

            Step::DeleteLoadBalancer { arn } => {
                let call = self.caller.elb("DeleteLoadBalancer", |elb| {
                    elb.delete_load_balancer().load_balancer_arn(arn).send()
                });
                gone(call.await)
            }
            Step::DeleteListener { arn, .. } => {
                let call = self
                    .caller
                    .elb("DeleteListener", |elb| elb.delete_listener().listener_arn(arn).send());
                gone(call.await)
            }
            Step::AddTags { arns, tags: wanted } => {
                for part in batches(arns, TAGGED_IN_A_CALL) {
                    let call = self.caller.elb("AddTags", |elb| {
                        let request = elb.add_tags().set_resource_arns(Some(part.clone()));
                        request.set_tags(Some(tags(wanted))).send()
                    });
                    call.await?;
                }
                Ok(Made::Nothing)
            }
            Step::RemoveTags { arns, keys } => {
                for part in batches(arns, TAGGED_IN_A_CALL) {
                    let call = self.caller.elb("RemoveTags", |elb| {
                        let request = elb.remove_tags().set_resource_arns(Some(part.clone()));
                        request.set_tag_keys(Some(keys.iter().cloned().collect())).send()
                    });
                    call.await?;
                }
                Ok(Made::Nothing)
            }
            Step::RecordTargets { .. } => Ok(Made::Nothing),
            step => self.call_about_load_balancer(step).await,
        }
    }

    /// What AWS calls something.
    fn known<T>(&self, what: impl fmt::Display, find: impl FnOnce(&Snapshot) -> Option<T>) -> Result<T, ProviderError> {
        find(&self.memory().snapshot).ok_or_else(|| missing(what))
    }

    fn load_balancer_arn(&self, load_balancer: &Ref) -> Result<String, ProviderError> {
        match load_balancer {
            Ref::Arn(arn) => Ok(arn.clone()),
            Ref::Named(_) => self.known(format_args!("load balancer {load_balancer}"), |seen| {
                seen.load_balancer(load_balancer).map(str::to_owned)
            }),
        }
    }

    fn target_group_arn(&self, group: &Ref) -> Result<String, ProviderError> {
        match group {
            Ref::Arn(arn) => Ok(arn.clone()),
            Ref::Named(_) => self.known(format_args!("target group {group}"), |seen| {
                seen.target_group(group).map(str::to_owned)
            }),
        }
    }
}

/// What is not there any more is deleted.
fn gone<T>(result: Result<T, Failure>) -> Result<Made, Undone> {
    match result {
        Ok(_) => Ok(Made::Nothing),
        Err(failure) if failure.class == Class::Missing => Ok(Made::Nothing),
        Err(failure) => Err(failure.into()),
    }
}

/// The ARNs and ids of what a step changes: listeners are a part of their load balancer.
fn keys(step: &Step, seen: &Snapshot) -> BTreeSet<String> {
    let load_balancer = |load_balancer| seen.load_balancer(load_balancer).map(str::to_owned);
    let target_group = |group| seen.target_group(group).map(str::to_owned);
    let of_listener = |arn: &str| {
        let mut all = seen.load_balancers.values();
        let of = all.find(|found| found.listeners.iter().any(|listener| listener.arn == arn));
        of.map(|found| found.arn.clone())
    };
    let listener = |listener| seen.listener(listener).and_then(of_listener);
    let key = match step {
        Step::CreateSecurityGroup { .. } | Step::CreateTargetGroup(_) | Step::CreateLoadBalancer(_) => None,
        Step::AuthorizeIngress { group, .. } | Step::RevokeIngress { group, .. } => seen.security_group(group),
        Step::DeleteSecurityGroup { id } | Step::CreateTags { id, .. } | Step::DeleteTags { id, .. } => {
            Some(id.clone())
        }
        Step::ModifyTargetGroup { group, .. }
        | Step::ModifyTargetGroupAttributes { group, .. }
        | Step::RecordTargets { group, .. }
        | Step::RegisterTargets { group, .. }
        | Step::DeregisterTargets { group, .. } => target_group(group),
        Step::DeleteTargetGroup { arn } | Step::DeleteLoadBalancer { arn } => Some(arn.clone()),
        Step::SetSubnets { load_balancer: of, .. }
        | Step::SetIpAddressType { load_balancer: of, .. }
        | Step::SetSecurityGroups { load_balancer: of, .. }
        | Step::ModifyLoadBalancerAttributes { load_balancer: of, .. }
        | Step::ModifyCapacityReservation { load_balancer: of, .. }
        | Step::CreateListener { load_balancer: of, .. } => load_balancer(of),
        Step::ModifyListener { arn, .. } | Step::DeleteListener { arn, .. } => of_listener(arn),
        Step::AddListenerCertificates { listener: of, .. }
        | Step::RemoveListenerCertificates { listener: of, .. }
        | Step::ModifyListenerAttributes { listener: of, .. } => listener(of),
        Step::AddTags { arns, .. } | Step::RemoveTags { arns, .. } => {
            let of_listeners = arns.iter().filter_map(|arn| of_listener(arn));
            return arns.iter().cloned().chain(of_listeners).collect();
        }
    };
    key.into_iter().collect()
}

/// The details that are known of what was just made.
fn details_of(made: &Made, arn: &str) -> Vec<Detail> {
    let kinds: &[DetailKind] = match made {
        Made::Nothing | Made::SecurityGroup { .. } => &[],
        Made::TargetGroup { .. } => &[DetailKind::Targets, DetailKind::TargetGroupAttributes],
        Made::LoadBalancer { .. } => &[
            DetailKind::Listeners,
            DetailKind::LoadBalancerAttributes,
            DetailKind::Capacity,
        ],
        Made::Listener { .. } => &[DetailKind::ListenerAttributes, DetailKind::Certificates],
    };
    let details = kinds.iter().map(|kind| Detail {
        kind: *kind,
        arn: arn.to_owned(),
    });
    details.collect()
}

/// What AWS does not know is not there, so that the next plan makes it again.
fn forget(seen: &mut Snapshot, failure: &Failure, keys: &BTreeSet<String>) {
    for key in keys {
        if failure.is("LoadBalancerNotFound") {
            seen.load_balancers.remove(key);
        } else if failure.is("TargetGroupNotFound") {
            seen.target_groups.remove(key);
        }
    }
}
