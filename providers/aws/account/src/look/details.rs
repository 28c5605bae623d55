//! What only a call for each thing tells.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types as elb;
use fairlead_aws::account::Health;
use fairlead_aws::contract::ListenerProtocol;
use fairlead_aws::desired::Target;
use fairlead_aws::plan::{ObservedListener, ObservedLoadBalancer, ObservedTargetGroup};

use super::{Depth, Listing};
use crate::AwsAccount;
use crate::convert::{attributes, load_balancers, target_groups};
use crate::error::{Class, Failure};
use crate::memory::{Detail, DetailKind, Memory};

/// What there is, with its details, and which of them were seen now.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) load_balancers: BTreeMap<String, ObservedLoadBalancer>,
    pub(super) target_groups: BTreeMap<String, ObservedTargetGroup>,
    pub(super) seen: BTreeSet<Detail>,
}

/// What one call told.
enum Told {
    Listeners(Vec<ObservedListener>),
    Targets(BTreeMap<Target, Health>),
    Certificates(BTreeSet<String>),
    Attributes(BTreeMap<String, String>),
    Capacity(i32),
    /// It is not there any more.
    Nothing,
}

impl AwsAccount {
    pub(super) async fn add_details(&self, listing: Listing, depth: Depth) -> Result<Draft, Failure> {
        let mut draft = Draft {
            load_balancers: listing.load_balancers,
            target_groups: listing.target_groups,
            seen: BTreeSet::new(),
        };
        let (first, budget) = {
            let memory = self.memory();
            draft.recall(&memory);
            // With the listings this stays below two calls for each load balancer where there are many.
            let budget = draft.load_balancers.len() + draft.load_balancers.len() / 2;
            (self.choose(&draft, &memory, depth, budget), budget)
        };
        let (listeners, rest): (Vec<_>, Vec<_>) = first.into_iter().partition(|it| it.kind == DetailKind::Listeners);
        let spent = listeners.len();
        self.ask(&mut draft, listeners).await?;
        // A listener that was not known has details too.
        let known: BTreeSet<_> = draft.seen.iter().cloned().chain(rest.iter().cloned()).collect();
        let more: Vec<_> = {
            let memory = self.memory();
            let all = self.choose(&draft, &memory, depth, budget.saturating_sub(spent + rest.len()));
            all.into_iter().filter(|detail| !known.contains(detail)).collect()
        };
        self.ask(&mut draft, rest.into_iter().chain(more).collect()).await?;
        self.add_listener_tags(&mut draft).await?;
        Ok(draft)
    }

    /// The details to ask for: all that nobody knows, and of the others those that were seen longest ago.
    fn choose(&self, draft: &Draft, memory: &Memory, depth: Depth, budget: usize) -> Vec<Detail> {
        let all = self.details(draft);
        let suspects = draft.suspects(memory);
        let (mut chosen, mut others) = (Vec::new(), Vec::new());
        for detail in all.into_iter().filter(|detail| !draft.seen.contains(detail)) {
            let is_suspect = detail.kind == DetailKind::Listeners && suspects.contains(&detail.arn);
            match memory.details.get(&detail) {
                Some(round) if depth == Depth::Look && !is_suspect => others.push((*round, detail)),
                _ => chosen.push(detail),
            }
        }
        others.sort();
        chosen.extend(others.into_iter().take(budget).map(|(_, detail)| detail));
        chosen
    }

    /// All details of what is there. Of what others made only that counts which a plan may look at.
    fn details(&self, draft: &Draft) -> Vec<Detail> {
        let mut all = Vec::new();
        let mut add = |kind, arn: &String| all.push(Detail { kind, arn: arn.clone() });
        for (arn, found) in &draft.load_balancers {
            add(DetailKind::Listeners, arn);
            if self.is_ours(&found.tags) {
                add(DetailKind::LoadBalancerAttributes, arn);
                add(DetailKind::Capacity, arn);
            }
            for listener in &found.listeners {
                if listener.protocol == ListenerProtocol::Tcp {
                    add(DetailKind::ListenerAttributes, &listener.arn);
                }
                if listener.tls.is_some() {
                    add(DetailKind::Certificates, &listener.arn);
                }
            }
        }
        for (arn, found) in &draft.target_groups {
            add(DetailKind::Targets, arn);
            if self.is_ours(&found.tags) {
                add(DetailKind::TargetGroupAttributes, arn);
            }
        }
        all
    }

    async fn ask(&self, draft: &mut Draft, details: Vec<Detail>) -> Result<(), Failure> {
        let calls = details.iter().map(|detail| self.describe(detail));
        let told = futures::future::try_join_all(calls).await?;
        for (detail, told) in details.into_iter().zip(told) {
            draft.take(&detail, told);
            draft.seen.insert(detail);
        }
        Ok(())
    }

    async fn describe(&self, detail: &Detail) -> Result<Told, Failure> {
        let arn = &detail.arn;
        let told = match detail.kind {
            DetailKind::Listeners => self.describe_listeners(arn).await.map(Told::Listeners),
            DetailKind::Targets => self.describe_targets(arn).await.map(Told::Targets),
            DetailKind::Certificates => self.describe_certificates(arn).await.map(Told::Certificates),
            DetailKind::LoadBalancerAttributes => {
                let answer = self.caller.elb("DescribeLoadBalancerAttributes", |elb| {
                    elb.describe_load_balancer_attributes().load_balancer_arn(arn).send()
                });
                answer.await.map(|answer| {
                    let pairs = answer.attributes().iter().map(|it| (it.key(), it.value()));
                    Told::Attributes(attributes(pairs))
                })
            }
            DetailKind::TargetGroupAttributes => {
                let answer = self.caller.elb("DescribeTargetGroupAttributes", |elb| {
                    elb.describe_target_group_attributes().target_group_arn(arn).send()
                });
                answer.await.map(|answer| {
                    let pairs = answer.attributes().iter().map(|it| (it.key(), it.value()));
                    Told::Attributes(attributes(pairs))
                })
            }
            DetailKind::ListenerAttributes => {
                let answer = self.caller.elb("DescribeListenerAttributes", |elb| {
                    elb.describe_listener_attributes().listener_arn(arn).send()
                });
                answer.await.map(|answer| {
                    let pairs = answer.attributes().iter().map(|it| (it.key(), it.value()));
                    Told::Attributes(attributes(pairs))
                })
            }
            DetailKind::Capacity => {
                let answer = self.caller.elb("DescribeCapacityReservation", |elb| {
                    elb.describe_capacity_reservation().load_balancer_arn(arn).send()
                });
                answer.await.map(|answer| {
                    let least = answer.minimum_load_balancer_capacity();
                    Told::Capacity(
                        least
                            .and_then(elb::MinimumLoadBalancerCapacity::capacity_units)
                            .unwrap_or_default(),
                    )
                })
            }
        };
        match told {
            Err(failure) if failure.class == Class::Missing => Ok(Told::Nothing),
            told => told,
        }
    }

    async fn describe_listeners(&self, load_balancer: &str) -> Result<Vec<ObservedListener>, Failure> {
        let (mut all, mut marker) = (Vec::new(), None);
        loop {
            let page = self.caller.elb("DescribeListeners", |elb| {
                let request = elb.describe_listeners().load_balancer_arn(load_balancer);
                request.set_marker(marker.clone()).send()
            });
            let page = page.await?;
            all.extend(page.listeners().iter().filter_map(load_balancers::listener));
            marker = page.next_marker().map(str::to_owned);
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn describe_targets(&self, target_group: &str) -> Result<BTreeMap<Target, Health>, Failure> {
        let answer = self.caller.elb("DescribeTargetHealth", |elb| {
            elb.describe_target_health().target_group_arn(target_group).send()
        });
        let answer = answer.await?;
        let all = answer.target_health_descriptions().iter();
        Ok(all.filter_map(target_groups::target).collect())
    }

    /// The further ones of a listener.
    async fn describe_certificates(&self, listener: &str) -> Result<BTreeSet<String>, Failure> {
        let (mut all, mut marker) = (BTreeSet::new(), None);
        loop {
            let page = self.caller.elb("DescribeListenerCertificates", |elb| {
                let request = elb.describe_listener_certificates().listener_arn(listener);
                request.set_marker(marker.clone()).send()
            });
            let page = page.await?;
            let further = page.certificates().iter().filter(|it| it.is_default() != Some(true));
            all.extend(further.filter_map(|it| it.certificate_arn().map(str::to_owned)));
            marker = page.next_marker().map(str::to_owned);
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// One call tells the tags of twenty, so that all are asked for each time.
    async fn add_listener_tags(&self, draft: &mut Draft) -> Result<(), Failure> {
        let listeners = draft.load_balancers.values().flat_map(|found| &found.listeners);
        let tags = self
            .describe_tags(&listeners.map(|listener| listener.arn.clone()).collect())
            .await?;
        for found in draft.load_balancers.values_mut() {
            found.listeners.retain_mut(|listener| {
                let tags = tags.get(&listener.arn);
                listener.tags = tags.cloned().unwrap_or_default();
                tags.is_some()
            });
        }
        Ok(())
    }
}

impl Draft {
    /// Takes over what is known of what is still there.
    fn recall(&mut self, memory: &Memory) {
        for (arn, found) in &mut self.load_balancers {
            if let Some(known) = memory.snapshot.load_balancers.get(arn) {
                found.listeners.clone_from(&known.listeners);
                found.attributes.clone_from(&known.attributes);
                found.capacity_units = known.capacity_units;
            }
        }
        for (arn, found) in &mut self.target_groups {
            if let Some(known) = memory.snapshot.target_groups.get(arn) {
                found.targets.clone_from(&known.targets);
                found.attributes.clone_from(&known.attributes);
            }
        }
    }

    /// The load balancers whose listeners cannot be as they are known: AWS says that something else uses a target group.
    fn suspects(&self, memory: &Memory) -> BTreeSet<String> {
        let changed = self.target_groups.iter().filter_map(|(arn, found)| {
            let known = memory.snapshot.target_groups.get(arn)?;
            (known.load_balancer != found.load_balancer).then_some([&known.load_balancer, &found.load_balancer])
        });
        changed.flatten().flatten().cloned().collect()
    }

    fn take(&mut self, detail: &Detail, told: Told) {
        let arn = &detail.arn;
        match told {
            Told::Nothing => {
                self.load_balancers.remove(arn);
                self.target_groups.remove(arn);
                if let Some(of) = self.load_balancer_of(arn) {
                    of.listeners.retain(|listener| listener.arn != *arn);
                }
            }
            Told::Listeners(listeners) => {
                if let Some(found) = self.load_balancers.get_mut(arn) {
                    let known = std::mem::take(&mut found.listeners);
                    found.listeners = listeners.into_iter().map(|it| with_details(it, &known)).collect();
                }
            }
            Told::Targets(all) => {
                if let Some(found) = self.target_groups.get_mut(arn) {
                    found.targets = target_groups::registered(&all);
                }
            }
            Told::Certificates(certificates) => {
                let tls = self.listener(arn).and_then(|listener| listener.tls.as_mut());
                if let Some(tls) = tls {
                    tls.more_certificates = certificates;
                }
            }
            Told::Attributes(attributes) => {
                let place = match detail.kind {
                    DetailKind::LoadBalancerAttributes => {
                        self.load_balancers.get_mut(arn).map(|found| &mut found.attributes)
                    }
                    DetailKind::TargetGroupAttributes => {
                        self.target_groups.get_mut(arn).map(|found| &mut found.attributes)
                    }
                    _ => self.listener(arn).map(|found| &mut found.attributes),
                };
                if let Some(place) = place {
                    *place = attributes;
                }
            }
            Told::Capacity(units) => {
                if let Some(found) = self.load_balancers.get_mut(arn) {
                    found.capacity_units = units;
                }
            }
        }
    }

    fn load_balancer_of(&mut self, listener: &str) -> Option<&mut ObservedLoadBalancer> {
        let mut all = self.load_balancers.values_mut();
        all.find(|found| found.listeners.iter().any(|it| it.arn == listener))
    }

    fn listener(&mut self, arn: &str) -> Option<&mut ObservedListener> {
        let of = self.load_balancer_of(arn)?;
        of.listeners.iter_mut().find(|listener| listener.arn == arn)
    }
}

/// What is known of a listener stays until a call of its own tells otherwise.
fn with_details(mut listener: ObservedListener, known: &[ObservedListener]) -> ObservedListener {
    if let Some(known) = known.iter().find(|known| known.arn == listener.arn) {
        listener.attributes.clone_from(&known.attributes);
        if let (Some(tls), Some(known)) = (&mut listener.tls, &known.tls) {
            tls.more_certificates.clone_from(&known.more_certificates);
        }
    }
    listener
}
