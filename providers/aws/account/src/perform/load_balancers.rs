//! Steps about load balancers and listeners.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types as elb;
use fairlead_aws::account::Made;
use fairlead_aws::contract::{IpAddressType, Scheme};
use fairlead_aws::desired::Group;
use fairlead_aws::plan::{Destinations, ListenerRef, NewLoadBalancer, Step};
use fairlead_provider::ProviderError;

use super::Undone;
use crate::AwsAccount;
use crate::convert::load_balancers::state;
use crate::convert::requests::{
    action, alpn, certificate, certificates, ip_address_type, protocol, source_nat, subnets, tags,
};
use crate::error::{Class, missing};

impl AwsAccount {
    pub(super) async fn call_about_load_balancer(&self, step: &Step) -> Result<Made, Undone> {
        match step {
            Step::CreateLoadBalancer(new) => return self.create_load_balancer(new).await,
            Step::CreateListener { .. } | Step::ModifyListener { .. } => return self.listener(step).await,
            Step::SetSubnets {
                load_balancer,
                subnets: wanted,
                ip_address_type: kind,
                has_source_nat,
            } => {
                let arn = self.load_balancer_arn(load_balancer)?;
                let call = self.caller.elb("SetSubnets", |elb| {
                    elb.set_subnets()
                        .load_balancer_arn(&arn)
                        .set_subnet_mappings(Some(subnets(wanted)))
                        .ip_address_type(ip_address_type(*kind))
                        .set_enable_prefix_for_ipv6_source_nat(nat(*kind, *has_source_nat))
                        .send()
                });
                call.await?;
            }
            Step::SetIpAddressType {
                load_balancer,
                ip_address_type: kind,
            } => {
                let arn = self.load_balancer_arn(load_balancer)?;
                let call = self.caller.elb("SetIpAddressType", |elb| {
                    let request = elb.set_ip_address_type().load_balancer_arn(&arn);
                    request.ip_address_type(ip_address_type(*kind)).send()
                });
                call.await?;
            }
            Step::SetSecurityGroups {
                load_balancer,
                groups,
                applies_to_private_link,
            } => {
                let arn = self.load_balancer_arn(load_balancer)?;
                let ids = self.group_ids(groups)?;
                let private_link = if *applies_to_private_link {
                    elb::EnforceSecurityGroupInboundRulesOnPrivateLinkTrafficEnum::On
                } else {
                    elb::EnforceSecurityGroupInboundRulesOnPrivateLinkTrafficEnum::Off
                };
                let call = self.caller.elb("SetSecurityGroups", |elb| {
                    elb.set_security_groups()
                        .load_balancer_arn(&arn)
                        .set_security_groups(Some(ids.clone()))
                        .enforce_security_group_inbound_rules_on_private_link_traffic(private_link.clone())
                        .send()
                });
                call.await?;
            }
            Step::ModifyLoadBalancerAttributes {
                load_balancer,
                attributes,
            } => {
                let arn = self.load_balancer_arn(load_balancer)?;
                let attributes = attributes.iter();
                let attributes: Vec<_> = attributes
                    .map(|(key, value)| elb::LoadBalancerAttribute::builder().key(key).value(value).build())
                    .collect();
                let call = self.caller.elb("ModifyLoadBalancerAttributes", |elb| {
                    let request = elb.modify_load_balancer_attributes().load_balancer_arn(&arn);
                    request.set_attributes(Some(attributes.clone())).send()
                });
                call.await?;
            }
            Step::ModifyCapacityReservation { load_balancer, units } => {
                let arn = self.load_balancer_arn(load_balancer)?;
                let least = elb::MinimumLoadBalancerCapacity::builder()
                    .capacity_units(*units)
                    .build();
                let call = self.caller.elb("ModifyCapacityReservation", |elb| {
                    let request = elb.modify_capacity_reservation().load_balancer_arn(&arn);
                    if *units == 0 {
                        request.reset_capacity_reservation(true).send()
                    } else {
                        request.minimum_load_balancer_capacity(least.clone()).send()
                    }
                });
                call.await?;
            }
            Step::AddListenerCertificates {
                listener, certificates, ..
            } => {
                let arn = self.listener_arn(listener)?;
                for wanted in certificates {
                    let call = self.caller.elb("AddListenerCertificates", |elb| {
                        let request = elb.add_listener_certificates().listener_arn(&arn);
                        request.certificates(certificate(wanted)).send()
                    });
                    call.await?;
                }
            }
            Step::RemoveListenerCertificates {
                listener, certificates, ..
            } => self.remove_certificates(listener, certificates).await?,
            Step::ModifyListenerAttributes {
                listener, attributes, ..
            } => self.set_listener_attributes(listener, attributes).await?,
            step => unreachable!("{step} is not about a load balancer"),
        }
        Ok(Made::Nothing)
    }

    async fn create_load_balancer(&self, new: &NewLoadBalancer) -> Result<Made, Undone> {
        let groups = self.group_ids(&new.security_groups)?;
        let groups = (!groups.is_empty()).then_some(groups);
        let call = self.caller.elb("CreateLoadBalancer", |elb| {
            elb.create_load_balancer()
                .name(&new.name)
                .r#type(elb::LoadBalancerTypeEnum::Network)
                .scheme(match new.scheme {
                    Scheme::Internal => elb::LoadBalancerSchemeEnum::Internal,
                    Scheme::InternetFacing => elb::LoadBalancerSchemeEnum::InternetFacing,
                })
                .ip_address_type(ip_address_type(new.ip_address_type))
                .set_enable_prefix_for_ipv6_source_nat(nat(new.ip_address_type, new.has_source_nat))
                .set_subnet_mappings(Some(subnets(&new.subnets)))
                .set_security_groups(groups.clone())
                .set_tags(Some(tags(&new.tags)))
                .send()
        });
        let answer = call.await?;
        let made = answer.load_balancers().first().ok_or_else(|| missing(&new.name))?;
        Ok(Made::LoadBalancer {
            arn: made.load_balancer_arn().unwrap_or_default().to_owned(),
            dns_name: made.dns_name().unwrap_or_default().to_owned(),
            state: state(made),
        })
    }

    async fn listener(&self, step: &Step) -> Result<Made, Undone> {
        match step {
            Step::CreateListener {
                load_balancer,
                port,
                listener,
                to,
            } => {
                let arn = self.load_balancer_arn(load_balancer)?;
                let action = action(listener, &self.destinations(to)?);
                let tls = listener.tls.as_ref();
                let call = self.caller.elb("CreateListener", |elb| {
                    elb.create_listener()
                        .load_balancer_arn(&arn)
                        .port((*port).into())
                        .protocol(protocol(listener.protocol))
                        .default_actions(action.clone())
                        .set_certificates(certificates(tls))
                        .set_ssl_policy(tls.map(|tls| tls.policy.clone()))
                        .set_alpn_policy(alpn(tls))
                        .set_tags(Some(tags(&listener.tags)))
                        .send()
                });
                let answer = call.await?;
                let made = answer.listeners().first().and_then(elb::Listener::listener_arn);
                let arn = made.ok_or_else(|| missing(format_args!("listener {port}")))?.to_owned();
                Ok(Made::Listener { arn })
            }
            Step::ModifyListener {
                arn,
                port,
                listener,
                to,
            } => {
                let action = action(listener, &self.destinations(to)?);
                let tls = listener.tls.as_ref();
                let call = self.caller.elb("ModifyListener", |elb| {
                    elb.modify_listener()
                        .listener_arn(arn)
                        .port((*port).into())
                        .protocol(protocol(listener.protocol))
                        .default_actions(action.clone())
                        .set_certificates(certificates(tls))
                        .set_ssl_policy(tls.map(|tls| tls.policy.clone()))
                        .set_alpn_policy(alpn(tls))
                        .send()
                });
                call.await?;
                Ok(Made::Nothing)
            }
            step => unreachable!("{step} is not about a listener"),
        }
    }

    async fn remove_certificates(&self, listener: &ListenerRef, all: &BTreeSet<String>) -> Result<(), Undone> {
        let arn = self.listener_arn(listener)?;
        for unwanted in all {
            let call = self.caller.elb("RemoveListenerCertificates", |elb| {
                let request = elb.remove_listener_certificates().listener_arn(&arn);
                request.certificates(certificate(unwanted)).send()
            });
            match call.await {
                Err(failure) if failure.class != Class::Missing => return Err(failure.into()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn set_listener_attributes(
        &self,
        listener: &ListenerRef,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), Undone> {
        let arn = self.listener_arn(listener)?;
        let attributes = attributes.iter();
        let attributes: Vec<_> = attributes
            .map(|(key, value)| elb::ListenerAttribute::builder().key(key).value(value).build())
            .collect();
        let call = self.caller.elb("ModifyListenerAttributes", |elb| {
            let request = elb.modify_listener_attributes().listener_arn(&arn);
            request.set_attributes(Some(attributes.clone())).send()
        });
        call.await?;
        Ok(())
    }

    fn group_ids(&self, groups: &BTreeSet<Group>) -> Result<Vec<String>, ProviderError> {
        let ids: Result<BTreeSet<_>, _> = groups.iter().map(|group| self.group_id(group)).collect();
        Ok(ids?.into_iter().collect())
    }

    fn listener_arn(&self, listener: &ListenerRef) -> Result<String, ProviderError> {
        match listener {
            ListenerRef::Arn(arn) => Ok(arn.clone()),
            ListenerRef::At(of, port) => self.known(format_args!("listener {port} of {of}"), |seen| {
                seen.listener(listener).map(str::to_owned)
            }),
        }
    }

    fn destinations(&self, to: &Destinations) -> Result<BTreeMap<String, Option<u16>>, ProviderError> {
        let all = to.iter();
        all.map(|(group, weight)| Ok((self.target_group_arn(group)?, *weight)))
            .collect()
    }
}

/// It is said only where there is IPv6 to send from.
fn nat(kind: IpAddressType, is_on: bool) -> Option<elb::EnablePrefixForIpv6SourceNatEnum> {
    (kind == IpAddressType::Dualstack).then(|| source_nat(is_on))
}
