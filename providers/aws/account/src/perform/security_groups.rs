//! Steps about security groups.

use std::collections::BTreeSet;

use aws_sdk_ec2::types as ec2;
use fairlead_aws::account::Made;
use fairlead_aws::desired::{CLUSTER_TAG, Group, RESOURCE_TAG, Rule, SERVICE_TAG, Tags};
use fairlead_aws::plan::Step;
use fairlead_provider::ProviderError;

use super::Undone;
use crate::AwsAccount;
use crate::convert::groups::{permission, security_group, split_rules};
use crate::convert::requests::tags_of_ec2;
use crate::error::{Class, Failure};
use crate::network::filter;

/// Somebody else has a security group of this name.
const NAME_TAKEN: &str = "SecurityGroupNameTaken";

impl AwsAccount {
    pub(super) async fn create_security_group(
        &self,
        name: &str,
        description: &str,
        tags: &Tags,
    ) -> Result<Made, Undone> {
        let specification = ec2::TagSpecification::builder()
            .resource_type(ec2::ResourceType::SecurityGroup)
            .set_tags(Some(tags_of_ec2(tags)))
            .build();
        let call = self.caller.ec2("CreateSecurityGroup", |ec2| {
            ec2.create_security_group()
                .group_name(name)
                .description(description)
                .vpc_id(&self.vpc)
                .tag_specifications(specification.clone())
                .send()
        });
        match call.await {
            Ok(made) => Ok(Made::SecurityGroup {
                id: made.group_id().unwrap_or_default().to_owned(),
            }),
            Err(failure) if failure.is("InvalidGroup.Duplicate") => self.find_by_name(name, tags).await,
            Err(failure) => Err(failure.into()),
        }
    }

    /// The group of a name, if it bears the marks that it would be made with.
    async fn find_by_name(&self, name: &str, tags: &Tags) -> Result<Made, Undone> {
        let all = self.describe_groups(&filter("group-name", [&name.to_owned()])).await?;
        let in_vpc = all.iter().filter(|found| found.vpc_id() == Some(&self.vpc));
        let marks = [CLUSTER_TAG, SERVICE_TAG, RESOURCE_TAG];
        for found in in_vpc.filter_map(security_group) {
            if marks.iter().all(|mark| found.tags.get(*mark) == tags.get(*mark)) {
                let id = found.id.clone();
                self.memory().snapshot.security_groups.insert(id.clone(), found);
                return Ok(Made::SecurityGroup { id });
            }
        }
        let message = format!("there is a security group {name} that is not of this cluster's Service");
        Err(ProviderError::refused(NAME_TAKEN, message).into())
    }

    pub(super) async fn authorize(&self, group: &Group, rules: &BTreeSet<Rule>) -> Result<Made, Undone> {
        let id = self.group_id(group)?;
        let rules = self.known_rules(rules)?;
        // What somebody else lets in already is theirs, and AWS would refuse it.
        let theirs = |rule: &Rule| {
            self.memory()
                .snapshot
                .others
                .get(&id)
                .is_some_and(|all| all.contains(rule))
        };
        let missing: BTreeSet<_> = rules.into_iter().filter(|rule| !theirs(rule)).collect();
        match self.ask_to_authorize(&id, &missing).await {
            Ok(()) => {}
            // One that is there spoils it for all of them.
            Err(failure) if failure.is("InvalidPermission.Duplicate") => {
                let there = self.look_at_rules(&id).await?;
                let rest: BTreeSet<_> = missing.difference(&there).cloned().collect();
                self.ask_to_authorize(&id, &rest).await?;
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(Made::Nothing)
    }

    pub(super) async fn revoke(&self, group: &Group, rules: &BTreeSet<Rule>) -> Result<Made, Undone> {
        let id = self.group_id(group)?;
        let rules = self.known_rules(rules)?;
        match self.ask_to_revoke(&id, &rules).await {
            Ok(()) => {}
            Err(failure) if failure.is("InvalidPermission.NotFound") => {
                let there = self.look_at_rules(&id).await?;
                let rest = rules.intersection(&there).cloned().collect();
                self.ask_to_revoke(&id, &rest).await?;
            }
            // Without the group there is no rule.
            Err(failure) if failure.class == Class::Missing => {}
            Err(failure) => return Err(failure.into()),
        }
        Ok(Made::Nothing)
    }

    async fn ask_to_authorize(&self, id: &str, rules: &BTreeSet<Rule>) -> Result<(), Failure> {
        if rules.is_empty() {
            return Ok(());
        }
        let permissions = self.permissions(id, rules);
        let call = self.caller.ec2("AuthorizeSecurityGroupIngress", |ec2| {
            let request = ec2.authorize_security_group_ingress().group_id(id);
            request.set_ip_permissions(Some(permissions.clone())).send()
        });
        call.await?;
        Ok(())
    }

    async fn ask_to_revoke(&self, id: &str, rules: &BTreeSet<Rule>) -> Result<(), Failure> {
        if rules.is_empty() {
            return Ok(());
        }
        let permissions = self.permissions(id, rules);
        let call = self.caller.ec2("RevokeSecurityGroupIngress", |ec2| {
            let request = ec2.revoke_security_group_ingress().group_id(id);
            request.set_ip_permissions(Some(permissions.clone())).send()
        });
        call.await?;
        Ok(())
    }

    /// Rules as they are asked for: in groups of others with our mark.
    fn permissions(&self, id: &str, rules: &BTreeSet<Rule>) -> Vec<ec2::IpPermission> {
        let is_ours = self.memory().snapshot.security_groups.contains_key(id);
        let mark = (!is_ours).then_some(self.mark.as_str());
        rules.iter().map(|rule| permission(rule, mark)).collect()
    }

    /// All rules that a group has now. What is known of them is brought up to date.
    async fn look_at_rules(&self, id: &str) -> Result<BTreeSet<Rule>, Failure> {
        let found = self.describe_groups(&filter("group-id", [&id.to_owned()])).await?;
        let Some(found) = found.first() else {
            return Ok(BTreeSet::new());
        };
        let (ours, others) = split_rules(found, &self.mark);
        let all: BTreeSet<_> = ours.union(&others).cloned().collect();
        let mut memory = self.memory();
        if let Some(group) = memory.snapshot.security_groups.get_mut(id) {
            group.rules.clone_from(&all);
        } else {
            memory.snapshot.rules.insert(id.to_owned(), ours);
            memory.snapshot.others.insert(id.to_owned(), others);
        }
        Ok(all)
    }

    pub(super) async fn tag_group(&self, id: &str, tags: &Tags) -> Result<Made, Undone> {
        let call = self.caller.ec2("CreateTags", |ec2| {
            let request = ec2.create_tags().resources(id);
            request.set_tags(Some(tags_of_ec2(tags))).send()
        });
        call.await?;
        Ok(Made::Nothing)
    }

    pub(super) async fn untag_group(&self, id: &str, keys: &BTreeSet<String>) -> Result<Made, Undone> {
        let tags = keys.iter().map(|key| ec2::Tag::builder().key(key).build());
        let tags: Vec<_> = tags.collect();
        let call = self.caller.ec2("DeleteTags", |ec2| {
            let request = ec2.delete_tags().resources(id);
            request.set_tags(Some(tags.clone())).send()
        });
        call.await?;
        Ok(Made::Nothing)
    }

    pub(super) fn group_id(&self, group: &Group) -> Result<String, ProviderError> {
        self.known(format_args!("security group {group}"), |seen| {
            seen.security_group(group)
        })
    }

    fn known_rules(&self, rules: &BTreeSet<Rule>) -> Result<BTreeSet<Rule>, ProviderError> {
        let known = rules.iter();
        let known = known.map(|rule| self.known(format_args!("the security group of {rule}"), |seen| seen.rule(rule)));
        known.collect()
    }

    /// The step without rules that are somebody else's, which are not to be noted as ours.
    pub(super) fn without_theirs(&self, step: &Step) -> Option<Step> {
        let Step::AuthorizeIngress { group, rules } = step else {
            return None;
        };
        let memory = self.memory();
        let theirs = memory.snapshot.others.get(&memory.snapshot.security_group(group)?)?;
        let ours = rules.iter().filter(|rule| {
            let known = memory.snapshot.rule(rule);
            known.is_none_or(|known| !theirs.contains(&known))
        });
        Some(Step::AuthorizeIngress {
            group: group.clone(),
            rules: ours.cloned().collect(),
        })
    }
}
