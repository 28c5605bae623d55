//! Load balancers and listeners, as AWS describes them.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types as elb;
use fairlead_aws::contract::{AlpnPolicy, IpAddressType, Scheme, SourceNatPrefix};
use fairlead_aws::desired::{SubnetMapping, Tls};
use fairlead_aws::plan::{ObservedListener, ObservedLoadBalancer, State};

use super::{port, protocol, text};

/// A load balancer without what other calls tell; `None` if it is not a Network Load Balancer.
pub(crate) fn load_balancer(found: &elb::LoadBalancer) -> Option<ObservedLoadBalancer> {
    if found.r#type() != Some(&elb::LoadBalancerTypeEnum::Network) {
        return None;
    }
    let private_link = found.enforce_security_group_inbound_rules_on_private_link_traffic();
    Some(ObservedLoadBalancer {
        arn: found.load_balancer_arn()?.to_owned(),
        name: text(found.load_balancer_name()),
        dns_name: text(found.dns_name()),
        state: state(found),
        scheme: match found.scheme() {
            Some(elb::LoadBalancerSchemeEnum::Internal) => Scheme::Internal,
            _ => Scheme::InternetFacing,
        },
        ip_address_type: match found.ip_address_type() {
            Some(elb::IpAddressType::Dualstack) => IpAddressType::Dualstack,
            _ => IpAddressType::Ipv4,
        },
        has_source_nat: found.enable_prefix_for_ipv6_source_nat() == Some(&elb::EnablePrefixForIpv6SourceNatEnum::On),
        subnets: found.availability_zones().iter().filter_map(subnet).collect(),
        security_groups: found.security_groups().iter().cloned().collect(),
        applies_to_private_link: private_link != Some("off"),
        attributes: BTreeMap::new(),
        capacity_units: 0,
        tags: BTreeMap::new(),
        listeners: Vec::new(),
    })
}

/// How far a load balancer is.
pub(crate) fn state(found: &elb::LoadBalancer) -> State {
    match found.state().and_then(elb::LoadBalancerState::code) {
        Some(elb::LoadBalancerStateEnum::Provisioning) => State::Provisioning,
        Some(elb::LoadBalancerStateEnum::Failed) => State::Failed,
        _ => State::Active,
    }
}

fn subnet(zone: &elb::AvailabilityZone) -> Option<SubnetMapping> {
    let addresses = zone.load_balancer_addresses();
    let first = |of: fn(&elb::LoadBalancerAddress) -> Option<&str>| addresses.iter().find_map(of);
    let prefix = zone.source_nat_ipv6_prefixes().first();
    Some(SubnetMapping {
        subnet: zone.subnet_id()?.to_owned(),
        eip_allocation: first(elb::LoadBalancerAddress::allocation_id).map(str::to_owned),
        private_ipv4: first(elb::LoadBalancerAddress::private_ipv4_address).and_then(|text| text.parse().ok()),
        ipv6: first(elb::LoadBalancerAddress::ipv6_address).and_then(|text| text.parse().ok()),
        source_nat_prefix: prefix.and_then(|text| text.parse().ok()).map(SourceNatPrefix::Prefix),
    })
}

/// A listener without what other calls tell; `None` if it has no port or speaks what ours never do.
pub(crate) fn listener(found: &elb::Listener) -> Option<ObservedListener> {
    let forwards = found
        .default_actions()
        .iter()
        .find(|action| action.r#type() == Some(&elb::ActionTypeEnum::Forward));
    let several = forwards.and_then(elb::Action::forward_config);
    let stays = several.and_then(elb::ForwardActionConfig::target_group_stickiness_config);
    let policy = found.alpn_policy().first();
    let certificate = found.certificates().first().and_then(elb::Certificate::certificate_arn);
    Some(ObservedListener {
        arn: found.listener_arn()?.to_owned(),
        port: port(found.port())?,
        protocol: protocol(found.protocol())?,
        tls: certificate.map(|certificate| Tls {
            certificate: certificate.to_owned(),
            more_certificates: BTreeSet::new(),
            policy: text(found.ssl_policy()),
            alpn: policy.and_then(|word| AlpnPolicy::of_word(word)),
        }),
        to: forwards.map(destinations).unwrap_or_default(),
        is_sticky: stays.and_then(elb::TargetGroupStickinessConfig::enabled) == Some(true),
        attributes: BTreeMap::new(),
        tags: BTreeMap::new(),
    })
}

/// The parts count only where there are several.
fn destinations(forwards: &elb::Action) -> BTreeMap<String, Option<u16>> {
    let several = forwards.forward_config().map(elb::ForwardActionConfig::target_groups);
    match several.unwrap_or_default() {
        [] => forwards
            .target_group_arn()
            .map(|arn| (arn.to_owned(), None))
            .into_iter()
            .collect(),
        [only] => only
            .target_group_arn()
            .map(|arn| (arn.to_owned(), None))
            .into_iter()
            .collect(),
        several => several
            .iter()
            .filter_map(|group| Some((group.target_group_arn()?.to_owned(), port(group.weight()))))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> elb::builders::LoadBalancerBuilder {
        let address = elb::LoadBalancerAddress::builder()
            .allocation_id("eipalloc-1")
            .ipv6_address("2001:db8::1")
            .build();
        let zone = elb::AvailabilityZone::builder()
            .subnet_id("subnet-1")
            .load_balancer_addresses(address)
            .source_nat_ipv6_prefixes("2001:db8:0:0:1::/80")
            .build();
        elb::LoadBalancer::builder()
            .load_balancer_arn("arn")
            .r#type(elb::LoadBalancerTypeEnum::Network)
            .scheme(elb::LoadBalancerSchemeEnum::Internal)
            .ip_address_type(elb::IpAddressType::Dualstack)
            .availability_zones(zone)
    }

    #[test]
    fn a_load_balancer_is_read() {
        let found = load_balancer(&described().build()).unwrap();
        assert_eq!(
            (found.scheme, found.ip_address_type),
            (Scheme::Internal, IpAddressType::Dualstack)
        );
        assert_eq!(found.state, State::Active, "one that is impaired works");
        assert!(found.applies_to_private_link && !found.has_source_nat);
        let expected = SubnetMapping {
            subnet: "subnet-1".to_owned(),
            eip_allocation: Some("eipalloc-1".to_owned()),
            private_ipv4: None,
            ipv6: Some("2001:db8::1".parse().unwrap()),
            source_nat_prefix: Some(SourceNatPrefix::Prefix("2001:db8:0:0:1::/80".parse().unwrap())),
        };
        assert_eq!(found.subnets, [expected]);
    }

    #[test]
    fn what_is_no_network_load_balancer_is_left_out() {
        let application = described().r#type(elb::LoadBalancerTypeEnum::Application).build();
        assert_eq!(load_balancer(&application), None);
    }

    #[test]
    fn a_part_counts_only_beside_others() {
        let group = |arn: &str| elb::TargetGroupTuple::builder().target_group_arn(arn).weight(3).build();
        let forwards = |groups: &[&str]| {
            let all = groups.iter().map(|arn| group(arn)).collect();
            let config = elb::ForwardActionConfig::builder().set_target_groups(Some(all)).build();
            let action = elb::Action::builder()
                .r#type(elb::ActionTypeEnum::Forward)
                .forward_config(config)
                .build();
            let found = elb::Listener::builder()
                .listener_arn("arn")
                .port(80)
                .protocol(elb::ProtocolEnum::TcpUdp)
                .default_actions(action)
                .build();
            listener(&found).unwrap().to
        };
        assert_eq!(forwards(&["a"]), [("a".to_owned(), None)].into());
        let both = [("a".to_owned(), Some(3)), ("b".to_owned(), Some(3))];
        assert_eq!(forwards(&["a", "b"]), both.into());
    }
}
