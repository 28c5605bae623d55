//! Everything that bears the cluster's marks, in few calls.
//!
//! Load balancers, target groups and security groups are listed in pages, tags come for twenty things at once. What only a call for each
//! thing tells is a [`Detail`](crate::memory::Detail): the first time all of it is asked for, later those that were seen longest ago, so many that a look at many
//! Services stays below two calls for each. What a Service's own steps change is known without.

mod details;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types as ec2;
use fairlead_aws::account::{Health, Named, Snapshot};
use fairlead_aws::desired::{CLUSTER_TAG, Rule, SecurityGroup, Tags, Target};
use fairlead_aws::plan::{ObservedLoadBalancer, ObservedSecurityGroup, ObservedTargetGroup, Wait};

use crate::AwsAccount;
use crate::convert::requests::batches;
use crate::convert::{groups, load_balancers, tags, tags_of_ec2, target_groups};
use crate::error::{Class, Failure};
use crate::memory::Look;

/// How many things one call describes or tells the tags of.
const IN_A_CALL: usize = 20;
/// How much a page of load balancing has at most.
const PAGE: i32 = 400;

/// What is listed, by ARN.
#[derive(Debug, Default)]
struct Listing {
    load_balancers: BTreeMap<String, ObservedLoadBalancer>,
    target_groups: BTreeMap<String, ObservedTargetGroup>,
}

impl AwsAccount {
    fn is_ours(&self, tags: &Tags) -> bool {
        tags.get(CLUSTER_TAG) == Some(&self.cluster)
    }

    pub(crate) async fn list_everything(&self, named: &Named) -> Result<(), Failure> {
        let _turn = self.looks.lock().await;
        let look = self.memory().begin();
        let (load_balancers, target_groups, groups) = futures::try_join!(
            self.list_load_balancers(&named.load_balancers),
            self.list_target_groups(&named.target_groups),
            self.describe_all_groups()
        )?;
        let mut listing = Listing {
            load_balancers,
            target_groups,
        };
        let used: BTreeSet<_> = listing
            .load_balancers
            .values()
            .flat_map(|found| found.security_groups.iter().cloned())
            .collect();
        self.add_tags(&mut listing).await?;
        self.keep_ours(&mut listing, named);
        let (draft, (security_groups, rules, others)) =
            futures::try_join!(self.add_details(listing, Depth::Look), self.sort_groups(&groups, &used))?;
        self.refresh_interfaces().await?;
        let mut memory = self.memory();
        let seen = Snapshot {
            load_balancers: draft.load_balancers,
            target_groups: draft.target_groups,
            security_groups,
            rules,
            others,
        };
        memory.merge(look, seen);
        memory.groups = Some(groups.iter().filter_map(known_group).collect());
        memory.round += 1;
        let round = memory.round;
        memory
            .details
            .extend(draft.seen.into_iter().map(|detail| (detail, round)));
        memory.forget_details();
        Ok(())
    }

    /// The groups of the VPC, for who needs nothing else.
    pub(crate) async fn list_groups(&self) -> Result<(), Failure> {
        let groups = self.describe_all_groups().await?;
        self.memory().groups = Some(groups.iter().filter_map(known_group).collect());
        Ok(())
    }

    pub(crate) async fn find_named(&self, named: &Named) -> Result<(), Failure> {
        let look = self.memory().begin();
        let target_groups = self.describe_target_groups(&named.target_groups).await?;
        let mut arns = named.load_balancers.clone();
        arns.extend(target_groups.values().filter_map(|found| found.load_balancer.clone()));
        let load_balancers = self.describe_load_balancers(&arns).await?;
        let mut listing = Listing {
            load_balancers,
            target_groups,
        };
        self.add_tags(&mut listing).await?;
        let draft = self.add_details(listing, Depth::Everything).await?;
        let mut memory = self.memory();
        memory.add(look, draft.load_balancers, draft.target_groups);
        let round = memory.round;
        memory
            .details
            .extend(draft.seen.into_iter().map(|detail| (detail, round)));
        Ok(())
    }

    pub(crate) async fn check_waits(&self, waits: &[Wait]) -> Result<(), Failure> {
        let (mut names, mut groups) = (BTreeSet::new(), BTreeSet::new());
        for wait in waits {
            match wait {
                Wait::Provisioning(name) => {
                    names.insert(name);
                }
                Wait::Interfaces(group) => {
                    groups.insert(group.clone());
                }
                Wait::Published(_) => {}
            }
        }
        let arns: BTreeSet<_> = self
            .memory()
            .snapshot
            .load_balancers
            .values()
            .filter(|found| names.contains(&found.name))
            .map(|found| found.arn.clone())
            .collect();
        let found = self.describe_load_balancers(&arns).await?;
        let used = self.groups_in_use(&groups).await?;
        let mut memory = self.memory();
        for arn in &arns {
            match (found.get(arn), memory.snapshot.load_balancers.get_mut(arn)) {
                (Some(found), Some(known)) => {
                    known.state = found.state;
                    known.dns_name.clone_from(&found.dns_name);
                }
                (None, Some(_)) => {
                    memory.snapshot.load_balancers.remove(arn);
                }
                (_, None) => {}
            }
        }
        for id in &groups {
            let mut users = memory.snapshot.load_balancers.values();
            let has_user = users.any(|found| found.security_groups.contains(id));
            if let Some(group) = memory.snapshot.security_groups.get_mut(id) {
                group.is_in_use = has_user || used.contains(id);
            }
        }
        Ok(())
    }

    /// Those of the VPC, and those that are named wherever they are.
    async fn list_load_balancers(
        &self,
        named: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, ObservedLoadBalancer>, Failure> {
        let (mut all, mut marker) = (BTreeMap::new(), None);
        loop {
            let page = self.caller.elb("DescribeLoadBalancers", |elb| {
                let request = elb.describe_load_balancers().page_size(PAGE);
                request.set_marker(marker.clone()).send()
            });
            let page = page.await?;
            let is_named = |arn: Option<&str>| arn.is_some_and(|arn| named.contains(arn));
            let found = page
                .load_balancers()
                .iter()
                .filter(|it| it.vpc_id() == Some(&self.vpc) || is_named(it.load_balancer_arn()))
                .filter_map(load_balancers::load_balancer);
            all.extend(found.map(|found| (found.arn.clone(), found)));
            marker = page.next_marker().map(str::to_owned);
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// The same of target groups.
    async fn list_target_groups(
        &self,
        named: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, ObservedTargetGroup>, Failure> {
        let (mut all, mut marker) = (BTreeMap::new(), None);
        loop {
            let page = self.caller.elb("DescribeTargetGroups", |elb| {
                let request = elb.describe_target_groups().page_size(PAGE);
                request.set_marker(marker.clone()).send()
            });
            let page = page.await?;
            let is_named = |arn: Option<&str>| arn.is_some_and(|arn| named.contains(arn));
            let found = page
                .target_groups()
                .iter()
                .filter(|it| it.vpc_id() == Some(&self.vpc) || is_named(it.target_group_arn()))
                .filter_map(target_groups::target_group);
            all.extend(found.map(|found| (found.arn.clone(), found)));
            marker = page.next_marker().map(str::to_owned);
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// Those that are there. One that is not spoils the answer for others, so that each is asked for alone then.
    pub(crate) async fn describe_load_balancers(
        &self,
        arns: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, ObservedLoadBalancer>, Failure> {
        let mut all = BTreeMap::new();
        for part in &parts(arns) {
            let answer = self.caller.elb("DescribeLoadBalancers", |elb| {
                let request = elb.describe_load_balancers();
                request.set_load_balancer_arns(Some(part.clone())).send()
            });
            match answer.await {
                Ok(answer) => {
                    let found = answer.load_balancers().iter().filter_map(load_balancers::load_balancer);
                    all.extend(found.map(|found| (found.arn.clone(), found)));
                }
                Err(failure) if failure.class == Class::Missing && part.len() > 1 => {
                    for arn in part {
                        all.extend(Box::pin(self.describe_load_balancers(&[arn.clone()].into())).await?);
                    }
                }
                Err(failure) if failure.class == Class::Missing => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(all)
    }

    async fn describe_target_groups(
        &self,
        arns: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, ObservedTargetGroup>, Failure> {
        let mut all = BTreeMap::new();
        for part in &parts(arns) {
            let answer = self.caller.elb("DescribeTargetGroups", |elb| {
                let request = elb.describe_target_groups();
                request.set_target_group_arns(Some(part.clone())).send()
            });
            match answer.await {
                Ok(answer) => {
                    let found = answer.target_groups().iter().filter_map(target_groups::target_group);
                    all.extend(found.map(|found| (found.arn.clone(), found)));
                }
                Err(failure) if failure.class == Class::Missing && part.len() > 1 => {
                    for arn in part {
                        all.extend(Box::pin(self.describe_target_groups(&[arn.clone()].into())).await?);
                    }
                }
                Err(failure) if failure.class == Class::Missing => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(all)
    }

    /// The tags of what is there.
    async fn describe_tags(&self, arns: &BTreeSet<String>) -> Result<BTreeMap<String, Tags>, Failure> {
        let parts = parts(arns);
        let answers = parts.iter().map(|part| self.describe_tags_of(part));
        let answers = futures::future::try_join_all(answers).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    async fn describe_tags_of(&self, part: &[String]) -> Result<Vec<(String, Tags)>, Failure> {
        let answer = self.caller.elb("DescribeTags", |elb| {
            elb.describe_tags().set_resource_arns(Some(part.to_vec())).send()
        });
        match answer.await {
            Ok(answer) => Ok(answer
                .tag_descriptions()
                .iter()
                .filter_map(|found| Some((found.resource_arn()?.to_owned(), tags(found.tags()))))
                .collect()),
            Err(failure) if failure.class == Class::Missing && part.len() > 1 => {
                let mut all = Vec::new();
                for arn in part {
                    all.extend(Box::pin(self.describe_tags_of(std::slice::from_ref(arn))).await?);
                }
                Ok(all)
            }
            Err(failure) if failure.class == Class::Missing => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// What has no tags by now is gone.
    async fn add_tags(&self, listing: &mut Listing) -> Result<(), Failure> {
        let arns = listing.load_balancers.keys().chain(listing.target_groups.keys());
        let mut tags = self.describe_tags(&arns.cloned().collect()).await?;
        listing.load_balancers.retain(|arn, found| {
            let tags = tags.remove(arn);
            let is_there = tags.is_some();
            found.tags = tags.unwrap_or_default();
            is_there
        });
        listing.target_groups.retain(|arn, found| {
            let tags = tags.remove(arn);
            let is_there = tags.is_some();
            found.tags = tags.unwrap_or_default();
            is_there
        });
        Ok(())
    }

    /// Leaves out what concerns nobody here.
    fn keep_ours(&self, listing: &mut Listing, named: &Named) {
        listing
            .target_groups
            .retain(|arn, found| self.is_ours(&found.tags) || named.target_groups.contains(arn));
        let groups = listing.target_groups.values();
        let users: BTreeSet<_> = groups.filter_map(|found| found.load_balancer.as_ref()).collect();
        listing.load_balancers.retain(|arn, found| {
            self.is_ours(&found.tags) || named.load_balancers.contains(arn) || users.contains(arn)
        });
    }

    /// Ours, and the rules in those of others: ours and theirs.
    async fn sort_groups(
        &self,
        all: &[ec2::SecurityGroup],
        used: &BTreeSet<String>,
    ) -> Result<
        (
            BTreeMap<String, ObservedSecurityGroup>,
            BTreeMap<String, BTreeSet<Rule>>,
            BTreeMap<String, BTreeSet<Rule>>,
        ),
        Failure,
    > {
        let (mut ours, mut rules, mut others) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for found in all {
            let Some(group) = groups::security_group(found) else {
                continue;
            };
            if self.is_ours(&group.tags) {
                ours.insert(group.id.clone(), group);
                continue;
            }
            let (marked, unmarked) = groups::split_rules(found, &self.mark);
            if !marked.is_empty() {
                rules.insert(group.id.clone(), marked);
            }
            if !unmarked.is_empty() {
                others.insert(group.id, unmarked);
            }
        }
        let unused = ours.keys().filter(|id| !used.contains(*id)).cloned().collect();
        let lingering = self.groups_in_use(&unused).await?;
        for (id, group) in &mut ours {
            group.is_in_use = used.contains(id) || lingering.contains(id);
        }
        Ok((ours, rules, others))
    }

    /// Takes what health says of who is registered.
    pub(crate) fn note_targets(&self, look: Look, arn: &str, all: &BTreeMap<Target, Health>) {
        let mut memory = self.memory();
        if memory.is_newer(look, arn) {
            return;
        }
        if let Some(group) = memory.snapshot.target_groups.get_mut(arn) {
            group.targets = target_groups::registered(all);
        }
    }
}

/// How much a look asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// What is not known, and some of what was seen longest ago.
    Look,
    /// All of it.
    Everything,
}

fn parts(arns: &BTreeSet<String>) -> Vec<Vec<String>> {
    batches(arns, IN_A_CALL)
}

fn known_group(found: &ec2::SecurityGroup) -> Option<SecurityGroup> {
    Some(SecurityGroup {
        id: found.group_id()?.to_owned(),
        tags: tags_of_ec2(found.tags()),
    })
}
