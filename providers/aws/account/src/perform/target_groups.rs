//! Steps about target groups.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types as elb;
use fairlead_aws::account::Made;
use fairlead_aws::contract::{HealthCheck, TargetType};
use fairlead_aws::desired::Target;
use fairlead_aws::plan::{NewTargetGroup, Ref, TARGETS_IN_A_CALL};
use fairlead_model::Family;

use super::Undone;
use crate::AwsAccount;
use crate::convert::requests::{batches, health_check_protocol, matcher, protocol, tags, targets};
use crate::convert::target_groups::registered;
use crate::error::{Failure, missing};

impl AwsAccount {
    pub(super) async fn create_target_group(&self, new: &NewTargetGroup) -> Result<Made, Undone> {
        let check = &new.health_check;
        let call = self.caller.elb("CreateTargetGroup", |elb| {
            elb.create_target_group()
                .name(&new.name)
                .protocol(protocol(new.protocol))
                .port(new.port.into())
                .vpc_id(&self.vpc)
                .target_type(match new.target_type {
                    TargetType::Instance => elb::TargetTypeEnum::Instance,
                    TargetType::Ip => elb::TargetTypeEnum::Ip,
                })
                .ip_address_type(match new.family {
                    Family::V4 => elb::TargetGroupIpAddressTypeEnum::Ipv4,
                    Family::V6 => elb::TargetGroupIpAddressTypeEnum::Ipv6,
                })
                .health_check_enabled(true)
                .health_check_protocol(health_check_protocol(check))
                .health_check_port(check.port.to_string())
                .set_health_check_path(check.path.clone())
                .set_matcher(matcher(check))
                .health_check_interval_seconds(check.interval)
                .health_check_timeout_seconds(check.timeout)
                .healthy_threshold_count(check.healthy_threshold)
                .unhealthy_threshold_count(check.unhealthy_threshold)
                .set_tags(Some(tags(&new.tags)))
                .send()
        });
        let answer = call.await?;
        let arn = answer
            .target_groups()
            .first()
            .and_then(elb::TargetGroup::target_group_arn);
        let arn = arn.ok_or_else(|| missing(&new.name))?.to_owned();
        Ok(Made::TargetGroup { arn })
    }

    pub(super) async fn modify_target_group(&self, group: &Ref, check: &HealthCheck) -> Result<Made, Undone> {
        let arn = self.target_group_arn(group)?;
        let call = self.caller.elb("ModifyTargetGroup", |elb| {
            elb.modify_target_group()
                .target_group_arn(&arn)
                .health_check_protocol(health_check_protocol(check))
                .health_check_port(check.port.to_string())
                .set_health_check_path(check.path.clone())
                .set_matcher(matcher(check))
                .health_check_interval_seconds(check.interval)
                .health_check_timeout_seconds(check.timeout)
                .healthy_threshold_count(check.healthy_threshold)
                .unhealthy_threshold_count(check.unhealthy_threshold)
                .send()
        });
        call.await?;
        Ok(Made::Nothing)
    }

    pub(super) async fn set_target_group_attributes(
        &self,
        group: &Ref,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Made, Undone> {
        let arn = self.target_group_arn(group)?;
        let attributes = attributes.iter();
        let attributes: Vec<_> = attributes
            .map(|(key, value)| elb::TargetGroupAttribute::builder().key(key).value(value).build())
            .collect();
        let call = self.caller.elb("ModifyTargetGroupAttributes", |elb| {
            let request = elb.modify_target_group_attributes().target_group_arn(&arn);
            request.set_attributes(Some(attributes.clone())).send()
        });
        call.await?;
        Ok(Made::Nothing)
    }

    pub(super) async fn register(&self, group: &Ref, all: &BTreeSet<Target>) -> Result<Made, Undone> {
        let arn = self.target_group_arn(group)?;
        for part in batches(all, TARGETS_IN_A_CALL) {
            let call = self.caller.elb("RegisterTargets", |elb| {
                let request = elb.register_targets().target_group_arn(&arn);
                request.set_targets(Some(targets(&part))).send()
            });
            call.await?;
        }
        Ok(Made::Nothing)
    }

    pub(super) async fn deregister(&self, group: &Ref, all: &BTreeSet<Target>) -> Result<Made, Undone> {
        let arn = self.target_group_arn(group)?;
        match self.ask_to_deregister(&arn, all).await {
            // One that is not registered, such as an instance that has ended, is not to spoil it for the others.
            Err(failure) if failure.is("InvalidTarget") => {
                let registered = registered(&self.describe_targets(&arn).await?);
                let rest = all.intersection(&registered).cloned().collect();
                self.ask_to_deregister(&arn, &rest).await?;
            }
            done => done?,
        }
        Ok(Made::Nothing)
    }

    async fn ask_to_deregister(&self, arn: &str, all: &BTreeSet<Target>) -> Result<(), Failure> {
        for part in batches(all, TARGETS_IN_A_CALL) {
            let call = self.caller.elb("DeregisterTargets", |elb| {
                let request = elb.deregister_targets().target_group_arn(arn);
                request.set_targets(Some(targets(&part))).send()
            });
            call.await?;
        }
        Ok(())
    }
}
