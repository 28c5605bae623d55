//! Readiness gates of pods: a pod is ready when load balancers find it healthy.
//!
//! Two kinds are known. `target-health.elbv2.k8s.aws/NAME`, which the AWS Load Balancer Controller puts into pods, is about the target group of
//! that name. `target-health.fairlead.io/SERVICE` is about all target groups of a Service of the pod's namespace, so that it can be written into a
//! Deployment before there is any.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use fairlead_aws::account::{Health, HealthState};
use fairlead_aws::desired::Target;

/// What all such gates begin with.
pub const PREFIX: &str = "target-health.";
const BY_TARGET_GROUP: &str = "target-health.elbv2.k8s.aws/";
const BY_SERVICE: &str = "target-health.fairlead.io/";

/// A condition of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its status: `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, in AWS' words.
    pub message: String,
}

/// A target group of a Service and its targets' health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How targets are.
    pub health: BTreeMap<Target, Health>,
}

/// The target groups that a gate is about; none if it is about another Service.
pub fn concerns<'a>(gate: &str, service: &str, groups: &'a [Group]) -> Vec<&'a Group> {
    if gate.strip_prefix(BY_SERVICE) == Some(service) {
        return groups.iter().collect();
    }
    let name = gate.strip_prefix(BY_TARGET_GROUP);
    groups
        .iter()
        .filter(|group| Some(group.name.as_str()) == name)
        .collect()
}

/// True if a gate may be about a Service whose target groups have these names.
pub fn may_concern(gate: &str, service: &str, mut names: impl Iterator<Item = impl AsRef<str>>) -> bool {
    gate.strip_prefix(BY_SERVICE) == Some(service)
        || gate
            .strip_prefix(BY_TARGET_GROUP)
            .is_some_and(|name| names.any(|of| of.as_ref() == name))
}

/// The condition of a pod with these addresses: the worst of what its targets are.
pub fn condition(groups: &[&Group], addresses: &BTreeSet<IpAddr>) -> Condition {
    let ids: BTreeSet<_> = addresses.iter().map(ToString::to_string).collect();
    let of_pod = |group: &&Group| {
        let targets = group.health.iter().filter(|(target, _)| ids.contains(&target.id));
        targets.map(|(_, health)| health.clone()).collect::<Vec<_>>()
    };
    let all: Vec<_> = groups.iter().map(of_pod).collect();
    if all.is_empty() || all.iter().any(Vec::is_empty) {
        return Condition {
            status: "Unknown",
            reason: "NotRegistered",
            message: "it is no target yet".to_owned(),
        };
    }
    let unhealthy = all.iter().flatten().find(|health| health.state != HealthState::Healthy);
    match unhealthy {
        None => Condition {
            status: "True",
            reason: "Healthy",
            message: String::new(),
        },
        Some(health) => Condition {
            status: if health.state == HealthState::Unavailable {
                "Unknown"
            } else {
                "False"
            },
            reason: word(health.state),
            message: health.description.clone().unwrap_or_default(),
        },
    }
}

const fn word(state: HealthState) -> &'static str {
    match state {
        HealthState::Healthy => "Healthy",
        HealthState::Unhealthy => "Unhealthy",
        HealthState::Initial => "Initial",
        HealthState::Unused => "Unused",
        HealthState::Draining => "Draining",
        HealthState::Unavailable => "Unavailable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, targets: &[(&str, HealthState)]) -> Group {
        let target = |&(id, state): &(&str, HealthState)| {
            let target = Target {
                id: id.to_owned(),
                port: 80,
                zone: None,
                quic_server_id: None,
            };
            let health = Health {
                state,
                description: Some("Health checks failed".to_owned()).filter(|_| state == HealthState::Unhealthy),
            };
            (target, health)
        };
        Group {
            name: name.to_owned(),
            health: targets.iter().map(target).collect(),
        }
    }

    fn addresses(all: &[&str]) -> BTreeSet<IpAddr> {
        all.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_pod_is_ready_when_each_target_group_that_the_gate_is_about_finds_it_healthy() {
        let groups = [
            group("k8s-shop-web-1", &[("10.0.0.7", HealthState::Healthy)]),
            group(
                "k8s-shop-web-2",
                &[("10.0.0.7", HealthState::Unhealthy), ("10.0.0.8", HealthState::Healthy)],
            ),
        ];
        let about = |gate| concerns(gate, "web", &groups);
        let pod = addresses(&["10.0.0.7", "2001:db8::7"]);
        let by_name = condition(&about("target-health.elbv2.k8s.aws/k8s-shop-web-1"), &pod);
        assert_eq!(by_name.status, "True");
        let of_service = condition(&about("target-health.fairlead.io/web"), &pod);
        assert_eq!((of_service.status, of_service.reason), ("False", "Unhealthy"));
        assert_eq!(of_service.message, "Health checks failed");
        let other = condition(&about("target-health.fairlead.io/web"), &addresses(&["10.0.0.8"]));
        assert_eq!((other.status, other.reason), ("Unknown", "NotRegistered"));
        assert!(about("target-health.fairlead.io/api").is_empty());
    }
}
