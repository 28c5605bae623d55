//! What a step leaves behind, noted without looking.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::{Group, Rule, RuleSource, Tags, Tls};
use crate::plan::{
    Destinations, ListenerRef, NewLoadBalancer, NewTargetGroup, ObservedListener, ObservedLoadBalancer,
    ObservedSecurityGroup, ObservedTargetGroup, Ref, State, Step,
};

use super::Snapshot;

/// What AWS called what a step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The step makes nothing that has a name of AWS' own.
    Nothing,
    /// A security group.
    SecurityGroup {
        /// Its id.
        id: String,
    },
    /// A target group.
    TargetGroup {
        /// Its ARN.
        arn: String,
    },
    /// A load balancer.
    LoadBalancer {
        /// Its ARN.
        arn: String,
        /// Where clients find it.
        dns_name: String,
        /// How far it is.
        state: State,
    },
    /// A listener.
    Listener {
        /// Its ARN.
        arn: String,
    },
}

impl Snapshot {
    /// The ARN of a load balancer.
    pub fn load_balancer(&self, load_balancer: &Ref) -> Option<&str> {
        let mut all = self.load_balancers.values();
        let found = all.find(|found| match load_balancer {
            Ref::Arn(arn) => found.arn == *arn,
            Ref::Named(name) => found.name == *name,
        });
        found.map(|found| found.arn.as_str())
    }

    /// The ARN of a target group.
    pub fn target_group(&self, group: &Ref) -> Option<&str> {
        let mut all = self.target_groups.values();
        let found = all.find(|found| match group {
            Ref::Arn(arn) => found.arn == *arn,
            Ref::Named(name) => found.name == *name,
        });
        found.map(|found| found.arn.as_str())
    }

    /// The ARN of a listener.
    pub fn listener(&self, listener: &ListenerRef) -> Option<&str> {
        match listener {
            ListenerRef::Arn(arn) => self
                .load_balancers
                .values()
                .flat_map(|found| &found.listeners)
                .find(|found| found.arn == *arn)
                .map(|found| found.arn.as_str()),
            ListenerRef::At(load_balancer, port) => {
                let of = &self.load_balancers[self.load_balancer(load_balancer)?];
                let mut all = of.listeners.iter();
                all.find(|found| found.port == *port).map(|found| found.arn.as_str())
            }
        }
    }

    /// The id of a security group. Those of others are known by nothing but their id.
    pub fn security_group(&self, group: &Group) -> Option<String> {
        match group {
            Group::Id(id) => Some(id.clone()),
            Group::Named(name) => {
                let mut all = self.security_groups.values();
                all.find(|found| found.name == *name).map(|found| found.id.clone())
            }
        }
    }

    /// A rule with the id of the group that it lets in.
    pub fn rule(&self, rule: &Rule) -> Option<Rule> {
        let source = match &rule.source {
            RuleSource::Group(group) => RuleSource::Group(Group::Id(self.security_group(group)?)),
            source => source.clone(),
        };
        Some(Rule { source, ..rule.clone() })
    }

    /// What a listener sends to, by ARN.
    pub fn destinations(&self, to: &Destinations) -> Option<BTreeMap<String, Option<u16>>> {
        to.iter()
            .map(|(group, weight)| Some((self.target_group(group)?.to_owned(), *weight)))
            .collect()
    }

    /// Notes a step that AWS has done.
    pub fn note(&mut self, step: &Step, made: Made) {
        match (step, made) {
            (Step::CreateSecurityGroup { name, tags, .. }, Made::SecurityGroup { id }) => {
                let group = ObservedSecurityGroup {
                    id: id.clone(),
                    name: name.clone(),
                    rules: BTreeSet::new(),
                    is_full: false,
                    is_in_use: false,
                    tags: tags.clone(),
                };
                self.security_groups.entry(id).or_insert(group);
            }
            (Step::CreateTargetGroup(new), Made::TargetGroup { arn }) => {
                let group = target_group(&arn, new);
                self.target_groups.entry(arn).or_insert(group);
            }
            (Step::CreateLoadBalancer(new), Made::LoadBalancer { arn, dns_name, state }) => {
                self.note_load_balancer(new, arn, dns_name, state);
            }
            (
                Step::CreateListener {
                    load_balancer,
                    port,
                    listener,
                    to,
                },
                Made::Listener { arn },
            ) => {
                let found = ObservedListener {
                    arn,
                    port: *port,
                    protocol: listener.protocol,
                    tls: listener.tls.as_ref().map(without_further_certificates),
                    to: self.destinations(to).unwrap_or_default(),
                    is_sticky: listener.is_sticky,
                    attributes: BTreeMap::new(),
                    tags: listener.tags.clone(),
                };
                if let Some(of) = self.load_balancer_mut(load_balancer) {
                    of.listeners.retain(|there| there.port != *port);
                    of.listeners.push(found);
                }
                self.connect();
            }
            (step, _) => self.note_change(step),
        }
    }

    fn note_load_balancer(&mut self, new: &NewLoadBalancer, arn: String, dns_name: String, state: State) {
        let groups = new.security_groups.iter();
        let security_groups: BTreeSet<_> = groups.filter_map(|group| self.security_group(group)).collect();
        self.use_groups(&security_groups);
        let found = self.load_balancers.entry(arn.clone());
        let found = found.or_insert_with(|| ObservedLoadBalancer {
            arn,
            name: new.name.clone(),
            dns_name,
            state,
            scheme: new.scheme,
            ip_address_type: new.ip_address_type,
            has_source_nat: new.has_source_nat,
            subnets: new.subnets.clone(),
            security_groups,
            applies_to_private_link: true,
            attributes: BTreeMap::new(),
            capacity_units: 0,
            tags: new.tags.clone(),
            listeners: Vec::new(),
        });
        found.state = state;
    }

    fn note_change(&mut self, step: &Step) {
        match step.clone() {
            Step::AuthorizeIngress { group, rules } => self.change_rules(&group, &rules, |all, rule| {
                all.insert(rule);
            }),
            Step::RevokeIngress { group, rules } => self.change_rules(&group, &rules, |all, rule| {
                all.remove(&rule);
            }),
            Step::DeleteSecurityGroup { id } => {
                self.security_groups.remove(&id);
            }
            Step::DeleteTargetGroup { arn } => {
                self.target_groups.remove(&arn);
            }
            Step::DeleteLoadBalancer { arn } => {
                self.load_balancers.remove(&arn);
                for group in self.target_groups.values_mut() {
                    group.load_balancer = group.load_balancer.take().filter(|user| *user != arn);
                }
            }
            Step::DeleteListener { arn, .. } => {
                for found in self.load_balancers.values_mut() {
                    found.listeners.retain(|listener| listener.arn != arn);
                }
                self.connect();
            }
            Step::AddTags { arns, tags } => {
                for arn in arns {
                    if let Some(found) = self.tags_mut(&arn) {
                        found.extend(tags.clone());
                    }
                }
            }
            Step::RemoveTags { arns, keys } => {
                for arn in arns {
                    if let Some(found) = self.tags_mut(&arn) {
                        found.retain(|key, _| !keys.contains(key));
                    }
                }
            }
            Step::CreateTags { id, tags } => {
                if let Some(found) = self.security_groups.get_mut(&id) {
                    found.tags.extend(tags);
                }
            }
            Step::DeleteTags { id, keys } => {
                if let Some(found) = self.security_groups.get_mut(&id) {
                    found.tags.retain(|key, _| !keys.contains(key));
                }
            }
            step => {
                self.note_of_target_group(&step);
                self.note_of_load_balancer(&step);
                self.note_of_listener(&step);
            }
        }
    }

    fn note_of_target_group(&mut self, step: &Step) {
        let (Step::ModifyTargetGroup { group, .. }
        | Step::ModifyTargetGroupAttributes { group, .. }
        | Step::RegisterTargets { group, .. }
        | Step::DeregisterTargets { group, .. }) = step
        else {
            return;
        };
        let arn = self.target_group(group).map(str::to_owned);
        let Some(found) = arn.and_then(|arn| self.target_groups.get_mut(&arn)) else {
            return;
        };
        match step {
            Step::ModifyTargetGroup { health_check, .. } => found.health_check = health_check.clone(),
            Step::ModifyTargetGroupAttributes { attributes, .. } => found.attributes.extend(attributes.clone()),
            Step::RegisterTargets { targets, .. } => {
                found.targets.extend(targets.iter().cloned());
                found.is_full = false;
            }
            Step::DeregisterTargets { targets, .. } => {
                found.targets.retain(|target| !targets.contains(target));
                found.is_full = false;
            }
            _ => {}
        }
    }

    fn note_of_load_balancer(&mut self, step: &Step) {
        match step {
            Step::SetSubnets {
                load_balancer,
                subnets,
                ip_address_type,
                has_source_nat,
            } => {
                if let Some(found) = self.load_balancer_mut(load_balancer) {
                    found.subnets.clone_from(subnets);
                    found.ip_address_type = *ip_address_type;
                    found.has_source_nat = *has_source_nat;
                }
            }
            Step::SetIpAddressType {
                load_balancer,
                ip_address_type,
            } => {
                if let Some(found) = self.load_balancer_mut(load_balancer) {
                    found.ip_address_type = *ip_address_type;
                }
            }
            Step::SetSecurityGroups {
                load_balancer,
                groups,
                applies_to_private_link,
            } => {
                let ids: BTreeSet<_> = groups.iter().filter_map(|group| self.security_group(group)).collect();
                self.use_groups(&ids);
                if let Some(found) = self.load_balancer_mut(load_balancer) {
                    found.security_groups = ids;
                    found.applies_to_private_link = *applies_to_private_link;
                }
            }
            Step::ModifyLoadBalancerAttributes {
                load_balancer,
                attributes,
            } => {
                if let Some(found) = self.load_balancer_mut(load_balancer) {
                    found.attributes.extend(attributes.clone());
                }
            }
            Step::ModifyCapacityReservation { load_balancer, units } => {
                if let Some(found) = self.load_balancer_mut(load_balancer) {
                    found.capacity_units = *units;
                }
            }
            _ => {}
        }
    }

    fn note_of_listener(&mut self, step: &Step) {
        let reference = match step {
            Step::ModifyListener { arn, .. } => &ListenerRef::Arn(arn.clone()),
            Step::AddListenerCertificates { listener, .. }
            | Step::RemoveListenerCertificates { listener, .. }
            | Step::ModifyListenerAttributes { listener, .. } => listener,
            _ => return,
        };
        let destinations = match step {
            Step::ModifyListener { to, .. } => self.destinations(to).unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        let arn = self.listener(reference).map(str::to_owned);
        let mut all = self.load_balancers.values_mut().flat_map(|found| &mut found.listeners);
        let Some(found) = all.find(|found| Some(&found.arn) == arn.as_ref()) else {
            return;
        };
        match step {
            Step::ModifyListener { listener, .. } => {
                let more = found.tls.take().map(|tls| tls.more_certificates).unwrap_or_default();
                found.protocol = listener.protocol;
                found.tls = listener.tls.clone().map(|tls| Tls {
                    more_certificates: more,
                    ..tls
                });
                found.to = destinations;
                found.is_sticky = listener.is_sticky;
                self.connect();
            }
            Step::AddListenerCertificates { certificates, .. } => {
                if let Some(tls) = &mut found.tls {
                    tls.more_certificates.extend(certificates.clone());
                }
            }
            Step::RemoveListenerCertificates { certificates, .. } => {
                if let Some(tls) = &mut found.tls {
                    tls.more_certificates.retain(|it| !certificates.contains(it));
                }
            }
            Step::ModifyListenerAttributes { attributes, .. } => found.attributes.extend(attributes.clone()),
            _ => {}
        }
    }

    /// Notes that AWS takes no more targets or rules of those that a step would add.
    pub fn note_full(&mut self, step: &Step) {
        match step {
            Step::RegisterTargets { group, .. } => {
                let arn = self.target_group(group).map(str::to_owned);
                if let Some(found) = arn.and_then(|arn| self.target_groups.get_mut(&arn)) {
                    found.is_full = true;
                }
            }
            Step::AuthorizeIngress { group, .. } => {
                let id = self.security_group(group);
                if let Some(found) = id.and_then(|id| self.security_groups.get_mut(&id)) {
                    found.is_full = true;
                }
            }
            _ => {}
        }
    }

    /// Which load balancer uses which target group. A load balancer that is not here stays the user of what it uses.
    fn connect(&mut self) {
        let mut users: BTreeMap<&str, &str> = BTreeMap::new();
        for found in self.load_balancers.values() {
            let destinations = found.listeners.iter().flat_map(|listener| listener.to.keys());
            users.extend(destinations.map(|group| (group.as_str(), found.arn.as_str())));
        }
        for (arn, group) in &mut self.target_groups {
            let user = users.get(arn.as_str()).map(|user| (*user).to_owned());
            let is_elsewhere = |user: &String| !self.load_balancers.contains_key(user);
            if user.is_some() || !group.load_balancer.as_ref().is_some_and(is_elsewhere) {
                group.load_balancer = user;
            }
        }
    }

    fn use_groups(&mut self, ids: &BTreeSet<String>) {
        for id in ids {
            if let Some(found) = self.security_groups.get_mut(id) {
                found.is_in_use = true;
            }
        }
    }

    fn change_rules(&mut self, group: &Group, rules: &BTreeSet<Rule>, change: impl Fn(&mut BTreeSet<Rule>, Rule)) {
        let rules: Vec<_> = rules.iter().filter_map(|rule| self.rule(rule)).collect();
        let Some(id) = self.security_group(group) else {
            return;
        };
        let all = if let Some(found) = self.security_groups.get_mut(&id) {
            found.is_full = false;
            &mut found.rules
        } else {
            self.rules.entry(id.clone()).or_default()
        };
        for rule in rules {
            change(all, rule);
        }
        self.rules.retain(|_, rules| !rules.is_empty());
    }

    fn load_balancer_mut(&mut self, load_balancer: &Ref) -> Option<&mut ObservedLoadBalancer> {
        let arn = self.load_balancer(load_balancer)?.to_owned();
        self.load_balancers.get_mut(&arn)
    }

    fn tags_mut(&mut self, arn: &str) -> Option<&mut Tags> {
        if let Some(found) = self.target_groups.get_mut(arn) {
            return Some(&mut found.tags);
        }
        if self.load_balancers.contains_key(arn) {
            return self.load_balancers.get_mut(arn).map(|found| &mut found.tags);
        }
        let mut all = self.load_balancers.values_mut().flat_map(|found| &mut found.listeners);
        all.find(|found| found.arn == arn).map(|found| &mut found.tags)
    }
}

fn target_group(arn: &str, new: &NewTargetGroup) -> ObservedTargetGroup {
    ObservedTargetGroup {
        arn: arn.to_owned(),
        name: new.name.clone(),
        protocol: new.protocol,
        target_type: new.target_type,
        family: new.family,
        health_check: new.health_check.clone(),
        attributes: BTreeMap::new(),
        targets: BTreeSet::new(),
        recorded: BTreeSet::new(),
        is_full: false,
        load_balancer: None,
        tags: new.tags.clone(),
    }
}

fn without_further_certificates(tls: &Tls) -> Tls {
    Tls {
        more_certificates: BTreeSet::new(),
        ..tls.clone()
    }
}
