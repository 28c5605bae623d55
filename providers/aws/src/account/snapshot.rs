//! What an account has, as far as it concerns a cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::{CLUSTER_TAG, RESOURCE_TAG, Rule, Tags, Target, owner_of};
use crate::plan::{
    Observed, ObservedLoadBalancer, ObservedSecurityGroup, ObservedShared, ObservedTargetGroup, Owner, Published,
};

/// What an account has that bears a cluster's marks, and what others made that its Services use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Load balancers by ARN.
    pub load_balancers: BTreeMap<String, ObservedLoadBalancer>,
    /// Target groups by ARN, without the record of targets, which the cluster keeps.
    pub target_groups: BTreeMap<String, ObservedTargetGroup>,
    /// The cluster's security groups by id, with the one that targets let in.
    pub security_groups: BTreeMap<String, ObservedSecurityGroup>,
    /// Rules of ours in the security groups of others, by the group's id.
    pub rules: BTreeMap<String, BTreeSet<Rule>>,
    /// Rules of others there, by the group's id.
    pub others: BTreeMap<String, BTreeSet<Rule>>,
}

/// What the cluster knows of a Service's load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The ARNs of what others made, which the Service names or has named.
    pub named: BTreeSet<String>,
    /// The targets that are on record as registered by us, by the target group's ARN.
    pub records: BTreeMap<String, BTreeSet<Target>>,
    /// What the Service's status shows.
    pub published: Option<Published>,
}

impl Snapshot {
    /// What concerns one Service.
    pub fn observed(&self, owner: &Owner, known: Known) -> Observed {
        let is_named = |arn: &String| known.named.contains(arn) || known.records.contains_key(arn);
        let groups = self.target_groups.values();
        let target_groups: Vec<_> = groups
            .filter(|found| owner.has(&found.tags) || is_named(&found.arn))
            .map(|found| ObservedTargetGroup {
                recorded: known.records.get(&found.arn).cloned().unwrap_or_default(),
                ..found.clone()
            })
            .collect();
        let users: BTreeSet<_> = target_groups
            .iter()
            .filter_map(|found| found.load_balancer.as_ref())
            .collect();
        let concerns = |found: &&ObservedLoadBalancer| {
            owner.has(&found.tags)
                || is_named(&found.arn)
                || users.contains(&found.arn)
                || found.listeners.iter().any(|listener| owner.has(&listener.tags))
        };
        let load_balancers = self.load_balancers.values().filter(concerns).cloned().collect();
        let groups = self.security_groups.values().filter(|found| owner.has(&found.tags));
        Observed {
            security_groups: groups.cloned().collect(),
            backend_group: self.backend_group(&owner.cluster).map(|group| group.id.clone()),
            load_balancers,
            target_groups,
            published: known.published,
        }
    }

    /// What all Services of a cluster share.
    pub fn shared(&self, cluster: &str) -> ObservedShared {
        ObservedShared {
            group: self.backend_group(cluster).cloned(),
            rules: self.rules.clone(),
            others: self.others.clone(),
        }
    }

    /// Whose there is anything, so that what belongs to no Service any more is found.
    pub fn owners(&self, cluster: &str) -> BTreeSet<Owner> {
        let listeners = self.load_balancers.values().flat_map(|found| &found.listeners);
        let tags = self.load_balancers.values().map(|found| &found.tags);
        let tags = tags.chain(listeners.map(|found| &found.tags));
        let tags = tags.chain(self.target_groups.values().map(|found| &found.tags));
        let tags = tags.chain(self.security_groups.values().map(|found| &found.tags));
        let ours = tags.filter(|tags| tags.get(CLUSTER_TAG).is_some_and(|name| name == cluster));
        let owners = ours.filter_map(|tags| {
            Some(Owner {
                cluster: cluster.to_owned(),
                service: owner_of(tags)?,
            })
        });
        owners.collect()
    }

    /// The security group that targets let in; if there are two, the first by id.
    fn backend_group(&self, cluster: &str) -> Option<&ObservedSecurityGroup> {
        let mut groups = self.security_groups.values();
        groups.find(|group| is_backend_group(&group.tags, cluster))
    }
}

fn is_backend_group(tags: &Tags, cluster: &str) -> bool {
    let has = |key, value| tags.get(key).is_some_and(|found| found == value);
    has(CLUSTER_TAG, cluster) && has(RESOURCE_TAG, crate::desired::BACKEND_GROUP)
}
