//! What was seen in AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairlead_model::Family;

use crate::contract::{HealthCheck, IpAddressType, ListenerProtocol, Scheme, TargetType};
use crate::desired::{Rule, SubnetMapping, Tags, Target, Tls};

/// What there is that bears a Service's marks, and what others made that it uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Load balancers.
    pub load_balancers: Vec<ObservedLoadBalancer>,
    /// Target groups.
    pub target_groups: Vec<ObservedTargetGroup>,
    /// Security groups.
    pub security_groups: Vec<ObservedSecurityGroup>,
    /// The id of the security group that targets let in.
    pub backend_group: Option<String>,
    /// What the Service's status shows.
    pub published: Option<Published>,
}

/// What a Service's status shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The host name.
    pub hostname: String,
    /// For how long at least.
    pub age: Duration,
}

impl Published {
    /// True if it is the host name of this load balancer. AWS writes capital letters where a Service has small ones.
    pub(super) fn names(&self, load_balancer: &ObservedLoadBalancer) -> bool {
        self.hostname.eq_ignore_ascii_case(&load_balancer.dns_name)
    }
}

/// A load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLoadBalancer {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// Where clients find it.
    pub dns_name: String,
    /// How far it is.
    pub state: State,
    /// Where it can be reached from.
    pub scheme: Scheme,
    /// Its addresses.
    pub ip_address_type: IpAddressType,
    /// Whether it sends to IPv6 targets from addresses of its own.
    pub has_source_nat: bool,
    /// Where it is.
    pub subnets: Vec<SubnetMapping>,
    /// Its security groups by id.
    pub security_groups: BTreeSet<String>,
    /// Whether their rules hold for `PrivateLink`.
    pub applies_to_private_link: bool,
    /// Its attributes; one that is not here is at its default.
    pub attributes: BTreeMap<String, String>,
    /// The capacity that is reserved.
    pub capacity_units: i32,
    /// Its tags.
    pub tags: Tags,
    /// Its listeners.
    pub listeners: Vec<ObservedListener>,
}

/// How far a load balancer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is being made.
    Provisioning,
    /// It works.
    Active,
    /// It could not be made, or has lost something that it needs.
    Failed,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedListener {
    /// Its ARN.
    pub arn: String,
    /// Its port.
    pub port: u16,
    /// What clients speak.
    pub protocol: ListenerProtocol,
    /// How TLS is ended.
    pub tls: Option<Tls>,
    /// The ARNs of its target groups, with their parts if there are several.
    pub to: BTreeMap<String, Option<u16>>,
    /// Whether a client stays with the target group that it was sent to.
    pub is_sticky: bool,
    /// Its attributes; one that is not here is at its default.
    pub attributes: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Tags,
}

/// A target group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedTargetGroup {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// What targets speak.
    pub protocol: ListenerProtocol,
    /// What targets are.
    pub target_type: TargetType,
    /// The family of their addresses.
    pub family: Family,
    /// How they are checked.
    pub health_check: HealthCheck,
    /// Its attributes; one that is not here is at its default.
    pub attributes: BTreeMap<String, String>,
    /// Its targets, without those that are draining.
    pub targets: BTreeSet<Target>,
    /// Those that are on record as registered by us, where others register theirs too.
    pub recorded: BTreeSet<Target>,
    /// Whether AWS has refused to take more targets (`TooManyTargets`) since it last got one or lost one.
    pub is_full: bool,
    /// The ARN of the load balancer that uses it; there cannot be two.
    pub load_balancer: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedSecurityGroup {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it lets in.
    pub rules: BTreeSet<Rule>,
    /// Whether AWS has refused to take more rules since it last got one or lost one.
    pub is_full: bool,
    /// Whether a network interface has it.
    pub is_in_use: bool,
    /// Its tags.
    pub tags: Tags,
}
