//! What is asked for, in AWS' terms.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types as ec2;
use aws_sdk_elasticloadbalancingv2::types as elb;
use fairlead_aws::contract::{
    AlpnPolicy, HealthCheck, HealthCheckProtocol, IpAddressType, ListenerProtocol, SourceNatPrefix,
};
use fairlead_aws::desired::{Listener, SubnetMapping, Tags, Target, Tls};

pub(crate) fn tags(tags: &Tags) -> Vec<elb::Tag> {
    tags.iter()
        .map(|(key, value)| elb::Tag::builder().key(key).value(value).build())
        .collect()
}

pub(crate) fn tags_of_ec2(tags: &Tags) -> Vec<ec2::Tag> {
    tags.iter()
        .map(|(key, value)| ec2::Tag::builder().key(key).value(value).build())
        .collect()
}

pub(crate) fn ip_address_type(kind: IpAddressType) -> elb::IpAddressType {
    elb::IpAddressType::from(kind.word())
}

pub(crate) fn source_nat(is_on: bool) -> elb::EnablePrefixForIpv6SourceNatEnum {
    if is_on {
        elb::EnablePrefixForIpv6SourceNatEnum::On
    } else {
        elb::EnablePrefixForIpv6SourceNatEnum::Off
    }
}

pub(crate) fn protocol(protocol: ListenerProtocol) -> elb::ProtocolEnum {
    elb::ProtocolEnum::from(protocol.word())
}

pub(crate) fn subnets(subnets: &[SubnetMapping]) -> Vec<elb::SubnetMapping> {
    let subnets = subnets.iter().map(|mapping| {
        let prefix = mapping.source_nat_prefix.map(|prefix| match prefix {
            SourceNatPrefix::AutoAssigned => "auto_assigned".to_owned(),
            SourceNatPrefix::Prefix(prefix) => prefix.to_string(),
        });
        elb::SubnetMapping::builder()
            .subnet_id(&mapping.subnet)
            .set_allocation_id(mapping.eip_allocation.clone())
            .set_private_ipv4_address(mapping.private_ipv4.map(|address| address.to_string()))
            .set_ipv6_address(mapping.ipv6.map(|address| address.to_string()))
            .set_source_nat_ipv6_prefix(prefix)
            .build()
    });
    subnets.collect()
}

pub(crate) fn targets<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Vec<elb::TargetDescription> {
    let targets = targets.into_iter().map(|target| {
        elb::TargetDescription::builder()
            .id(&target.id)
            .port(target.port.into())
            .set_availability_zone(target.zone.clone())
            .set_quic_server_id(target.quic_server_id.clone())
            .build()
    });
    targets.collect()
}

pub(crate) fn health_check_protocol(check: &HealthCheck) -> elb::ProtocolEnum {
    match check.protocol {
        HealthCheckProtocol::Tcp => elb::ProtocolEnum::Tcp,
        HealthCheckProtocol::Http => elb::ProtocolEnum::Http,
        HealthCheckProtocol::Https => elb::ProtocolEnum::Https,
    }
}

pub(crate) fn matcher(check: &HealthCheck) -> Option<elb::Matcher> {
    let codes = check.success_codes.as_ref()?;
    Some(elb::Matcher::builder().http_code(codes).build())
}

pub(crate) fn certificate(arn: &str) -> elb::Certificate {
    elb::Certificate::builder().certificate_arn(arn).build()
}

pub(crate) fn certificates(tls: Option<&Tls>) -> Option<Vec<elb::Certificate>> {
    tls.map(|tls| vec![certificate(&tls.certificate)])
}

/// Also where nobody asks for one: what is not said stays as it is.
pub(crate) fn alpn(tls: Option<&Tls>) -> Option<Vec<String>> {
    let policy = tls?.alpn.unwrap_or(AlpnPolicy::None);
    Some(vec![policy.word().to_owned()])
}

/// What a listener does: it forwards.
pub(crate) fn action(listener: &Listener, to: &BTreeMap<String, Option<u16>>) -> elb::Action {
    let action = elb::Action::builder().r#type(elb::ActionTypeEnum::Forward);
    let mut all = to.keys();
    if let (Some(only), None, false) = (all.next(), all.next(), listener.is_sticky) {
        return action.target_group_arn(only).build();
    }
    let groups = to.iter().map(|(arn, weight)| {
        elb::TargetGroupTuple::builder()
            .target_group_arn(arn)
            .set_weight(weight.map(Into::into))
            .build()
    });
    let stickiness = elb::TargetGroupStickinessConfig::builder().enabled(listener.is_sticky);
    let config = elb::ForwardActionConfig::builder()
        .set_target_groups(Some(groups.collect()))
        .target_group_stickiness_config(stickiness.build());
    action.forward_config(config.build()).build()
}

/// Parts of a set that are small enough for one call each.
pub(crate) fn batches<T: Clone>(all: &BTreeSet<T>, size: usize) -> Vec<Vec<T>> {
    let all: Vec<_> = all.iter().cloned().collect();
    all.chunks(size).map(<[T]>::to_vec).collect()
}
