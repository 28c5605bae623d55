//! An account of AWS in memory, as far as load balancers need one: it does what is asked, refuses what AWS refuses, and takes its time.
//!
//! [`Contents`] is the account as a value, [`TestAccount`] has one behind the port of [`account`](crate::account).

mod account;
mod listeners;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fairlead_model::Family;

use crate::contract::{ListenerProtocol, TargetType};
use crate::desired::{BACKEND_GROUP, CLUSTER_TAG, Group, RESOURCE_TAG, Rule, RuleSource, Tags, Target, Tls};
use crate::plan::{
    DNS_MEMORY, ListenerRef, NewLoadBalancer, NewTargetGroup, Observed, ObservedListener, ObservedLoadBalancer,
    ObservedSecurityGroup, ObservedTargetGroup, Published, Ref, State, Step,
};

pub use account::TestAccount;

/// An account, and the record that the cluster keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Load balancers by ARN.
    pub load_balancers: BTreeMap<String, ObservedLoadBalancer>,
    /// Target groups by ARN.
    pub target_groups: BTreeMap<String, ObservedTargetGroup>,
    /// Security groups by id.
    pub security_groups: BTreeMap<String, ObservedSecurityGroup>,
    /// What the Service's status shows.
    pub published: Option<Published>,
    /// For how many looks interfaces keep security groups of load balancers that are gone.
    lingering: BTreeMap<String, u8>,
    /// For how many looks load balancers are still made.
    provisioning: BTreeMap<String, u8>,
    /// How many looks everything takes.
    pub delay: u8,
    /// How many targets a target group takes; all if 0.
    pub most_targets: usize,
    next: u32,
}

/// What the account does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// AWS' code for it.
    pub code: &'static str,
    /// What it is about.
    pub about: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.about)
    }
}

type Done = Result<(), Refused>;

fn refused(code: &'static str, about: impl fmt::Display) -> Refused {
    let about = about.to_string();
    Refused { code, about }
}

fn refuse(code: &'static str, about: impl fmt::Display) -> Done {
    Err(refused(code, about))
}

const REGION: &str = "arn:aws:elasticloadbalancing:eu-central-1:1";

impl Contents {
    /// All that there is, of others too. Looking takes time, in which things happen.
    pub fn observe(&mut self) -> Observed {
        for (arn, left) in &mut self.provisioning {
            *left = left.saturating_sub(1);
            if let Some(found) = self.load_balancers.get_mut(arn).filter(|_| *left == 0) {
                found.state = State::Active;
            }
        }
        self.provisioning.retain(|_, left| *left > 0);
        for left in self.lingering.values_mut() {
            *left = left.saturating_sub(1);
        }
        self.lingering.retain(|_, left| *left > 0);
        if let Some(published) = &mut self.published {
            published.age += DNS_MEMORY / u32::from(self.delay.max(1));
        }
        self.look()
    }

    /// The same at once.
    pub fn look(&self) -> Observed {
        let groups = self
            .security_groups
            .values()
            .filter(|group| !is_backend_group(group))
            .cloned();
        let groups = groups.map(|group| ObservedSecurityGroup {
            is_in_use: self.is_in_use(&group.id),
            ..group
        });
        let mut backend = self.security_groups.values().filter(|group| is_backend_group(group));
        Observed {
            load_balancers: self.load_balancers.values().cloned().collect(),
            target_groups: self.target_groups.values().cloned().collect(),
            security_groups: groups.collect(),
            backend_group: backend.next().map(|group| group.id.clone()),
            published: self.published.clone(),
        }
    }

    /// The Service shows this name.
    pub fn publish(&mut self, hostname: Option<&str>) {
        if self.published.as_ref().map(|published| published.hostname.as_str()) != hostname {
            self.published = hostname.map(|hostname| Published {
                hostname: hostname.to_owned(),
                age: std::time::Duration::ZERO,
            });
        }
    }

    /// Whether an interface has a security group.
    pub fn is_in_use(&self, id: &str) -> bool {
        let mut all = self.load_balancers.values();
        self.lingering.contains_key(id) || all.any(|found| found.security_groups.contains(id))
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Does one step.
    pub fn perform(&mut self, step: &Step) -> Done {
        match step.clone() {
            Step::CreateSecurityGroup { name, tags, .. } => self.create_security_group(name, tags),
            Step::AuthorizeIngress { group, rules } => {
                let rules = self.known_rules(&rules)?;
                self.security_group(&group)?.rules.extend(rules);
            }
            Step::RevokeIngress { group, rules } => {
                let rules = self.known_rules(&rules)?;
                self.security_group(&group)?.rules.retain(|rule| !rules.contains(rule));
            }
            Step::DeleteSecurityGroup { id } => {
                if self.is_in_use(&id) {
                    return refuse("DependencyViolation", id);
                }
                self.security_groups.remove(&id);
            }
            Step::CreateTargetGroup(new) => return self.create_target_group(*new),
            Step::ModifyTargetGroup { group, health_check } => self.target_group(&group)?.health_check = health_check,
            Step::ModifyTargetGroupAttributes { group, attributes } => {
                self.target_group(&group)?.attributes.extend(attributes);
            }
            Step::RecordTargets { group, targets } => self.target_group(&group)?.recorded = targets,
            Step::RegisterTargets { group, targets } => return self.register(&group, &targets),
            Step::DeregisterTargets { group, targets } => {
                let group = self.target_group(&group)?;
                group.targets.retain(|target| !targets.contains(target));
                group.is_full = false;
            }
            Step::DeleteTargetGroup { arn } => {
                if self
                    .target_groups
                    .get(&arn)
                    .is_some_and(|group| group.load_balancer.is_some())
                {
                    return refuse("ResourceInUse", arn);
                }
                self.target_groups.remove(&arn);
            }
            Step::CreateLoadBalancer(new) => return self.create_load_balancer(*new),
            Step::SetSubnets {
                load_balancer,
                subnets,
                ip_address_type,
                has_source_nat,
            } => {
                let found = self.load_balancer(&load_balancer)?;
                found.subnets = subnets;
                found.has_source_nat = has_source_nat;
                found.ip_address_type = ip_address_type;
                return self.check_listeners(&load_balancer);
            }
            Step::SetIpAddressType {
                load_balancer,
                ip_address_type,
            } => {
                self.load_balancer(&load_balancer)?.ip_address_type = ip_address_type;
                return self.check_listeners(&load_balancer);
            }
            Step::SetSecurityGroups {
                load_balancer,
                groups,
                applies_to_private_link,
            } => {
                let ids = self.ids(&groups)?;
                let found = self.load_balancer(&load_balancer)?;
                if found.security_groups.is_empty() || ids.is_empty() {
                    return refuse("InvalidConfigurationRequest", &found.name);
                }
                found.security_groups = ids;
                found.applies_to_private_link = applies_to_private_link;
            }
            Step::ModifyLoadBalancerAttributes {
                load_balancer,
                attributes,
            } => {
                self.load_balancer(&load_balancer)?.attributes.extend(attributes);
            }
            Step::ModifyCapacityReservation { load_balancer, units } => {
                let found = self.load_balancer(&load_balancer)?;
                if found.state != State::Active {
                    return refuse("OperationNotPermitted", &found.name);
                }
                found.capacity_units = units;
            }
            Step::DeleteLoadBalancer { arn } => return self.delete_load_balancer(&arn),
            Step::CreateListener {
                load_balancer,
                port,
                listener,
                to,
            } => {
                return self.create_listener(&load_balancer, port, &listener, &to);
            }
            Step::ModifyListener { arn, listener, to, .. } => return self.modify_listener(&arn, &listener, &to),
            Step::AddListenerCertificates {
                listener, certificates, ..
            } => {
                self.tls(&listener)?.more_certificates.extend(certificates);
            }
            Step::RemoveListenerCertificates {
                listener, certificates, ..
            } => {
                self.tls(&listener)?
                    .more_certificates
                    .retain(|certificate| !certificates.contains(certificate));
            }
            Step::ModifyListenerAttributes {
                listener, attributes, ..
            } => {
                let listener = self.listener(&listener)?;
                if listener.protocol != ListenerProtocol::Tcp {
                    return refuse("InvalidConfigurationRequest", listener.port);
                }
                listener.attributes.extend(attributes);
            }
            Step::DeleteListener { arn, .. } => {
                for found in self.load_balancers.values_mut() {
                    found.listeners.retain(|listener| listener.arn != arn);
                }
                self.connect();
            }
            Step::AddTags { arns, tags } => {
                for arn in arns {
                    self.tags(&arn)?.extend(tags.clone());
                }
            }
            Step::RemoveTags { arns, keys } => {
                for arn in arns {
                    self.tags(&arn)?.retain(|key, _| !keys.contains(key));
                }
            }
            Step::CreateTags { id, tags } => self.security_group(&Group::Id(id))?.tags.extend(tags),
            Step::DeleteTags { id, keys } => self
                .security_group(&Group::Id(id))?
                .tags
                .retain(|key, _| !keys.contains(key)),
        }
        Ok(())
    }

    /// Makes a security group.
    pub fn create_security_group(&mut self, name: String, tags: Tags) {
        if self.security_groups.values().any(|group| group.name == name) {
            return;
        }
        let id = format!("sg-{}", self.number());
        let group = ObservedSecurityGroup {
            id: id.clone(),
            name,
            rules: BTreeSet::new(),
            is_full: false,
            is_in_use: false,
            tags,
        };
        self.security_groups.insert(id, group);
    }

    fn security_group(&mut self, group: &Group) -> Result<&mut ObservedSecurityGroup, Refused> {
        let mut all = self.security_groups.values_mut();
        let found = all.find(|found| match group {
            Group::Id(id) => found.id == *id,
            Group::Named(name) => found.name == *name,
        });
        found.ok_or_else(|| refused("InvalidGroup.NotFound", group))
    }

    /// Rules with the ids of the groups that they let in.
    fn known_rules(&mut self, rules: &BTreeSet<Rule>) -> Result<BTreeSet<Rule>, Refused> {
        let known = rules.iter().map(|rule| {
            let source = match &rule.source {
                RuleSource::Group(group) => RuleSource::Group(Group::Id(self.security_group(group)?.id.clone())),
                source => source.clone(),
            };
            Ok(Rule { source, ..rule.clone() })
        });
        known.collect()
    }

    fn ids(&mut self, groups: &BTreeSet<Group>) -> Result<BTreeSet<String>, Refused> {
        groups
            .iter()
            .map(|group| Ok(self.security_group(group)?.id.clone()))
            .collect()
    }

    fn target_group(&mut self, group: &Ref) -> Result<&mut ObservedTargetGroup, Refused> {
        let mut all = self.target_groups.values_mut();
        let found = all.find(|found| match group {
            Ref::Arn(arn) => found.arn == *arn,
            Ref::Named(name) => found.name == *name,
        });
        found.ok_or_else(|| refused("TargetGroupNotFound", group))
    }

    fn load_balancer(&mut self, load_balancer: &Ref) -> Result<&mut ObservedLoadBalancer, Refused> {
        let mut all = self.load_balancers.values_mut();
        let found = all.find(|found| match load_balancer {
            Ref::Arn(arn) => found.arn == *arn,
            Ref::Named(name) => found.name == *name,
        });
        found.ok_or_else(|| refused("LoadBalancerNotFound", load_balancer))
    }

    fn listener(&mut self, listener: &ListenerRef) -> Result<&mut ObservedListener, Refused> {
        let all = self.load_balancers.values_mut();
        let mut all = all.flat_map(|found| {
            let name = found.name.clone();
            let arn = found.arn.clone();
            found
                .listeners
                .iter_mut()
                .map(move |listener| (name.clone(), arn.clone(), listener))
        });
        let found = all.find(|(name, arn, found)| match listener {
            ListenerRef::Arn(arn) => found.arn == *arn,
            ListenerRef::At(Ref::Arn(of), port) => arn == of && found.port == *port,
            ListenerRef::At(Ref::Named(of), port) => name == of && found.port == *port,
        });
        found
            .map(|(_, _, listener)| listener)
            .ok_or_else(|| refused("ListenerNotFound", format!("{listener:?}")))
    }

    fn tls(&mut self, listener: &ListenerRef) -> Result<&mut Tls, Refused> {
        self.listener(listener)?
            .tls
            .as_mut()
            .ok_or_else(|| refused("InvalidConfigurationRequest", "no TLS"))
    }

    fn tags(&mut self, arn: &str) -> Result<&mut Tags, Refused> {
        if arn.contains(":listener/") {
            return Ok(&mut self.listener(&ListenerRef::Arn(arn.to_owned()))?.tags);
        }
        if arn.contains(":targetgroup/") {
            return Ok(&mut self.target_group(&Ref::Arn(arn.to_owned()))?.tags);
        }
        Ok(&mut self.load_balancer(&Ref::Arn(arn.to_owned()))?.tags)
    }

    /// Makes a target group.
    pub fn create_target_group(&mut self, new: NewTargetGroup) -> Done {
        if let Some(found) = self.target_groups.values().find(|found| found.name == new.name) {
            let is_same = found.protocol == new.protocol
                && found.target_type == new.target_type
                && found.family == new.family
                && found.health_check == new.health_check;
            return if is_same {
                Ok(())
            } else {
                refuse("DuplicateTargetGroupName", new.name)
            };
        }
        if new.name.len() > 32 || new.port == 0 {
            return refuse("ValidationError", new.name);
        }
        let arn = format!("{REGION}:targetgroup/{}/{}", new.name, self.number());
        // AWS tells all attributes, also those that nobody has set.
        let attributes = [
            ("deregistration_delay.timeout_seconds", "300"),
            ("proxy_protocol_v2.enabled", "false"),
            ("stickiness.enabled", "false"),
            ("stickiness.type", "source_ip"),
        ];
        let group = ObservedTargetGroup {
            arn: arn.clone(),
            name: new.name,
            protocol: new.protocol,
            target_type: new.target_type,
            family: new.family,
            health_check: new.health_check,
            attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            targets: BTreeSet::new(),
            recorded: BTreeSet::new(),
            is_full: false,
            load_balancer: None,
            tags: new.tags,
        };
        self.target_groups.insert(arn, group);
        Ok(())
    }

    fn register(&mut self, group: &Ref, targets: &BTreeSet<Target>) -> Done {
        let most = self.most_targets;
        let group = self.target_group(group)?;
        for target in targets {
            let is_right = match group.target_type {
                TargetType::Instance => target.id.starts_with("i-"),
                TargetType::Ip => target
                    .id
                    .parse()
                    .is_ok_and(|address| Family::of(address) == group.family),
            };
            if !is_right {
                return refuse("InvalidTarget", target);
            }
        }
        let all: BTreeSet<_> = group.targets.union(targets).cloned().collect();
        if most > 0 && all.len() > most {
            group.is_full = true;
            return refuse("TooManyTargets", &group.name);
        }
        group.targets = all;
        group.is_full = false;
        Ok(())
    }

    /// Makes a load balancer.
    pub fn create_load_balancer(&mut self, new: NewLoadBalancer) -> Done {
        let ids = self.ids(&new.security_groups)?;
        if let Some(found) = self.load_balancers.values().find(|found| found.name == new.name) {
            let is_same = found.scheme == new.scheme && found.subnets == new.subnets && found.security_groups == ids;
            return if is_same {
                Ok(())
            } else {
                refuse("DuplicateLoadBalancerName", new.name)
            };
        }
        let eips: BTreeSet<_> = new
            .subnets
            .iter()
            .filter_map(|mapping| mapping.eip_allocation.as_ref())
            .collect();
        let mut others = self.load_balancers.values().flat_map(|found| &found.subnets);
        if others.any(|mapping| mapping.eip_allocation.as_ref().is_some_and(|eip| eips.contains(eip))) {
            return refuse("ResourceInUse", "an EIP");
        }
        if new.name.len() > 32 || new.subnets.is_empty() {
            return refuse("ValidationError", new.name);
        }
        let number = self.number();
        let arn = format!("{REGION}:loadbalancer/net/{}/{number}", new.name);
        let attributes = [
            ("access_logs.s3.enabled", "false"),
            ("access_logs.s3.bucket", ""),
            ("deletion_protection.enabled", "false"),
            ("load_balancing.cross_zone.enabled", "false"),
        ];
        let found = ObservedLoadBalancer {
            arn: arn.clone(),
            dns_name: format!("{}-{number}.Elb.eu-central-1.amazonaws.com", new.name),
            name: new.name,
            state: if self.delay == 0 {
                State::Active
            } else {
                State::Provisioning
            },
            scheme: new.scheme,
            ip_address_type: new.ip_address_type,
            has_source_nat: new.has_source_nat,
            subnets: new.subnets,
            security_groups: ids,
            applies_to_private_link: true,
            attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            capacity_units: 0,
            tags: new.tags,
            listeners: Vec::new(),
        };
        self.provisioning.insert(arn.clone(), self.delay);
        self.load_balancers.insert(arn, found);
        Ok(())
    }

    fn delete_load_balancer(&mut self, arn: &str) -> Done {
        let Some(found) = self.load_balancers.get(arn) else {
            return Ok(());
        };
        if found
            .attributes
            .get("deletion_protection.enabled")
            .is_some_and(|value| value == "true")
        {
            return refuse("OperationNotPermitted", arn);
        }
        if self.delay > 0 {
            self.lingering
                .extend(found.security_groups.iter().map(|id| (id.clone(), self.delay)));
        }
        self.load_balancers.remove(arn);
        self.connect();
        Ok(())
    }
}

fn is_backend_group(group: &ObservedSecurityGroup) -> bool {
    group.tags.get(RESOURCE_TAG).is_some_and(|found| found == BACKEND_GROUP)
}
