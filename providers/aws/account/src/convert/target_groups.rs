//! Target groups and targets, as AWS describes them.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types as elb;
use fairlead_aws::account::{Health, HealthState};
use fairlead_aws::contract::{HealthCheck, HealthCheckPort, HealthCheckProtocol, TargetType};
use fairlead_aws::desired::Target;
use fairlead_aws::plan::ObservedTargetGroup;
use fairlead_model::Family;

use super::{port, protocol, text};

/// A target group without what other calls tell; `None` if it takes what ours never do.
pub(crate) fn target_group(found: &elb::TargetGroup) -> Option<ObservedTargetGroup> {
    Some(ObservedTargetGroup {
        arn: found.target_group_arn()?.to_owned(),
        name: text(found.target_group_name()),
        protocol: protocol(found.protocol())?,
        target_type: match found.target_type() {
            Some(elb::TargetTypeEnum::Instance) | None => TargetType::Instance,
            Some(elb::TargetTypeEnum::Ip) => TargetType::Ip,
            Some(_) => return None,
        },
        family: match found.ip_address_type() {
            Some(elb::TargetGroupIpAddressTypeEnum::Ipv6) => Family::V6,
            _ => Family::V4,
        },
        health_check: health_check(found),
        attributes: BTreeMap::new(),
        targets: BTreeSet::new(),
        recorded: BTreeSet::new(),
        is_full: false,
        load_balancer: found.load_balancer_arns().first().cloned(),
        tags: BTreeMap::new(),
    })
}

fn health_check(found: &elb::TargetGroup) -> HealthCheck {
    let protocol = match found.health_check_protocol() {
        Some(elb::ProtocolEnum::Http) => HealthCheckProtocol::Http,
        Some(elb::ProtocolEnum::Https) => HealthCheckProtocol::Https,
        _ => HealthCheckProtocol::Tcp,
    };
    // Without HTTP these say nothing.
    let asks = protocol != HealthCheckProtocol::Tcp;
    let codes = found.matcher().and_then(elb::Matcher::http_code);
    HealthCheck {
        protocol,
        port: match found.health_check_port().map(str::parse) {
            Some(Ok(port)) => HealthCheckPort::Number(port),
            _ => HealthCheckPort::Traffic,
        },
        path: found.health_check_path().filter(|_| asks).map(str::to_owned),
        success_codes: codes.filter(|_| asks).map(str::to_owned),
        interval: found.health_check_interval_seconds().unwrap_or_default(),
        timeout: found.health_check_timeout_seconds().unwrap_or_default(),
        healthy_threshold: found.healthy_threshold_count().unwrap_or_default(),
        unhealthy_threshold: found.unhealthy_threshold_count().unwrap_or_default(),
    }
}

/// A target and how it is.
pub(crate) fn target(found: &elb::TargetHealthDescription) -> Option<(Target, Health)> {
    let target = found.target()?;
    // AWS tells the zone of every address; only this one is somebody's choice.
    let zone = target.availability_zone().filter(|zone| *zone == "all");
    let target = Target {
        id: target.id()?.to_owned(),
        port: port(target.port())?,
        zone: zone.map(str::to_owned),
        quic_server_id: target.quic_server_id().map(str::to_owned),
    };
    let health = found.target_health();
    let state = match health.and_then(elb::TargetHealth::state) {
        Some(elb::TargetHealthStateEnum::Healthy) => HealthState::Healthy,
        Some(elb::TargetHealthStateEnum::Unhealthy) => HealthState::Unhealthy,
        Some(elb::TargetHealthStateEnum::Initial) => HealthState::Initial,
        Some(elb::TargetHealthStateEnum::Unused) => HealthState::Unused,
        Some(elb::TargetHealthStateEnum::Draining) => HealthState::Draining,
        _ => HealthState::Unavailable,
    };
    let description = health.and_then(elb::TargetHealth::description);
    let health = Health {
        state,
        description: description.map(str::to_owned),
    };
    Some((target, health))
}

/// Those that are registered: what is draining is not any more.
pub(crate) fn registered(all: &BTreeMap<Target, Health>) -> BTreeSet<Target> {
    let stay = all.iter().filter(|(_, health)| health.state != HealthState::Draining);
    stay.map(|(target, _)| target.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(zone: &str, state: elb::TargetHealthStateEnum) -> elb::TargetHealthDescription {
        let target = elb::TargetDescription::builder()
            .id("10.0.0.1")
            .port(80)
            .availability_zone(zone)
            .build();
        elb::TargetHealthDescription::builder()
            .target(target)
            .target_health(elb::TargetHealth::builder().state(state).build())
            .build()
    }

    #[test]
    fn a_zone_counts_only_if_somebody_chose_it() {
        let zone = |zone| {
            target(&described(zone, elb::TargetHealthStateEnum::Healthy))
                .unwrap()
                .0
                .zone
        };
        assert_eq!(zone("eu-central-1a"), None);
        assert_eq!(zone("all"), Some("all".to_owned()));
    }

    #[test]
    fn what_drains_is_not_registered() {
        for (state, count) in [
            (elb::TargetHealthStateEnum::Unhealthy, 1),
            (elb::TargetHealthStateEnum::Draining, 0),
        ] {
            let all = target(&described("all", state)).into_iter().collect();
            assert_eq!(registered(&all).len(), count);
        }
    }

    #[test]
    fn a_check_that_only_connects_has_no_path() {
        let found = elb::TargetGroup::builder()
            .target_group_arn("arn")
            .protocol(elb::ProtocolEnum::Tcp)
            .health_check_protocol(elb::ProtocolEnum::Tcp)
            .health_check_path("/")
            .health_check_port("traffic-port")
            .matcher(elb::Matcher::builder().http_code("200").build());
        let check = target_group(&found.clone().build()).unwrap().health_check;
        assert_eq!(
            (check.path, check.success_codes, check.port),
            (None, None, HealthCheckPort::Traffic)
        );
        let found = found
            .health_check_protocol(elb::ProtocolEnum::Http)
            .health_check_port("8080");
        let check = target_group(&found.build()).unwrap().health_check;
        assert_eq!(check.path.as_deref(), Some("/"));
        assert_eq!(check.port, HealthCheckPort::Number(8080));
    }
}
