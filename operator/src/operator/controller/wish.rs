//! What a Service asks for, in our words.

use std::net::IpAddr;

use fairlead_crds::{annotation, reason};
use fairlead_model::{Family, Protocol};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::ResourceExt;

use super::plan::Complaint;
use super::scope::{Asked, Exposure};

/// What a load balancer is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The addresses that it must have; none in particular if empty.
    pub addresses: Vec<IpAddr>,
    /// The pool that they must be from.
    pub pool: Option<String>,
    /// Others with the same key may share its addresses.
    pub sharing_key: Option<String>,
    /// The IP families of the Service, the first one first.
    pub families: Vec<Family>,
    /// What it does without an address of one of them.
    pub family_policy: FamilyPolicy,
    /// Its ports.
    pub ports: Vec<(Protocol, u16)>,
}

/// `spec.ipFamilyPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// One family.
    Single,
    /// Two if there are addresses of both.
    Prefer,
    /// Two.
    Require,
}

/// What decides whose the Service is.
pub fn asked(service: &Service) -> Asked<'_> {
    let spec = service.spec.as_ref();
    Asked {
        exposure: match spec.and_then(|spec| spec.type_.as_deref()) {
            Some("LoadBalancer") => Exposure::LoadBalancer,
            Some("NodePort") => Exposure::NodePort,
            _ => Exposure::Other,
        },
        class: spec.and_then(|spec| spec.load_balancer_class.as_deref()),
        provider: annotation(service, &[annotation::PROVIDER]).map(|(_, value)| value),
    }
}

/// The first of these annotations that is there and not empty.
fn annotation<'a>(service: &'a Service, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
    let all = service.annotations();
    names.iter().find_map(|name| {
        let value = all.get(*name)?.trim();
        (!value.is_empty()).then_some((*name, value))
    })
}

/// What it asks for, or why that cannot be understood.
pub fn wish(service: &Service) -> Result<Wish, Complaint> {
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let value = |names| annotation(service, names).map(|(_, value)| value.to_owned());
    Ok(Wish {
        addresses: requested(service, spec)?,
        pool: value(&annotation::ADDRESS_POOL_ALL),
        sharing_key: value(&annotation::ALLOW_SHARED_IP_ALL),
        families: families(spec),
        family_policy: match spec.ip_family_policy.as_deref() {
            Some("RequireDualStack") => FamilyPolicy::Require,
            Some("PreferDualStack") => FamilyPolicy::Prefer,
            _ => FamilyPolicy::Single,
        },
        ports: spec
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                let protocol = match port.protocol.as_deref() {
                    None | Some("TCP") => Protocol::Tcp,
                    Some("UDP") => Protocol::Udp,
                    Some("SCTP") => Protocol::Sctp,
                    Some(_) => return None,
                };
                Some((protocol, u16::try_from(port.port).ok()?))
            })
            .collect(),
    })
}

/// The annotation, or `spec.loadBalancerIP`; not both.
fn requested(service: &Service, spec: &ServiceSpec) -> Result<Vec<IpAddr>, Complaint> {
    let field = spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
    let (name, text) = match (annotation(service, &annotation::LOAD_BALANCER_IPS_ALL), field) {
        (None, None) => return Ok(Vec::new()),
        (Some((name, _)), Some(_)) => {
            return Err(invalid(format!(
                "spec.loadBalancerIP and annotation {name} are both set: give one of them"
            )));
        }
        (Some((name, text)), None) => (format!("annotation {name}"), text),
        (None, Some(text)) => ("spec.loadBalancerIP".to_owned(), text),
    };
    let addresses = text.split(',').map(str::trim).map(|part| {
        part.parse::<IpAddr>()
            .map_err(|_| invalid(format!("{name}: {part:?} is no IP address")))
    });
    addresses.collect()
}

fn invalid(message: String) -> Complaint {
    Complaint {
        reason: reason::INVALID_ANNOTATION,
        message,
    }
}

/// `spec.ipFamilies`; without it those of the cluster IPs.
fn families(spec: &ServiceSpec) -> Vec<Family> {
    let named: Vec<_> = spec
        .ip_families
        .iter()
        .flatten()
        .filter_map(|family| match family.as_str() {
            "IPv4" => Some(Family::V4),
            "IPv6" => Some(Family::V6),
            _ => None,
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let all = spec.cluster_ips.as_deref().unwrap_or_default();
    let addresses = all.iter().chain(spec.cluster_ip.as_ref().filter(|_| all.is_empty()));
    addresses
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .map(Family::of)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(annotations: &serde_json::Value, spec: &serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"annotations": annotations}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_service_is_read_with_our_annotations_and_those_of_metallb() {
        let service = service(
            &json!({
                "fairlead.io/loadBalancerIPs": "198.51.100.7, 2001:db8::7",
                "metallb.io/address-pool": "public",
                "metallb.universe.tf/allow-shared-ip": "key",
            }),
            &json!({
                "type": "LoadBalancer", "loadBalancerClass": "fairlead.io/metal",
                "ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "RequireDualStack",
                "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 7, "protocol": "SCTP"}],
            }),
        );
        assert_eq!(
            asked(&service),
            Asked {
                exposure: Exposure::LoadBalancer,
                class: Some("fairlead.io/metal"),
                provider: None,
            }
        );
        assert_eq!(
            wish(&service).unwrap(),
            Wish {
                addresses: vec!["198.51.100.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
                pool: Some("public".to_owned()),
                sharing_key: Some("key".to_owned()),
                families: vec![Family::V6, Family::V4],
                family_policy: FamilyPolicy::Require,
                ports: vec![(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 7)],
            }
        );
    }

    #[test]
    fn ours_comes_before_theirs_and_what_is_empty_is_not_there() {
        let service = service(
            &json!({
                "fairlead.io/address-pool": "", "metallb.io/address-pool": "second",
                "fairlead.io/allow-shared-ip": "ours", "metallb.io/allow-shared-ip": "theirs",
            }),
            &json!({"type": "LoadBalancer", "clusterIPs": ["fd00::1"]}),
        );
        let wish = wish(&service).unwrap();
        assert_eq!(wish.pool.as_deref(), Some("second"));
        assert_eq!(wish.sharing_key.as_deref(), Some("ours"));
        assert_eq!(wish.families, [Family::V6]);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let both = service(
            &json!({"metallb.io/loadBalancerIPs": "198.51.100.7"}),
            &json!({"loadBalancerIP": "198.51.100.7"}),
        );
        assert_eq!(
            wish(&both).unwrap_err().message,
            "spec.loadBalancerIP and annotation metallb.io/loadBalancerIPs are both set: give one of them"
        );
        let no_address = service(&json!({}), &json!({"loadBalancerIP": "a.b"}));
        assert_eq!(
            wish(&no_address).unwrap_err().message,
            "spec.loadBalancerIP: \"a.b\" is no IP address"
        );
    }
}
