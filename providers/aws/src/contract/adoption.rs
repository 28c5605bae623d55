use std::collections::BTreeMap;

use super::reader::Reader;

/// The ARN of a Network Load Balancer that somebody else made, which the Service gets its listeners on. It is never changed otherwise,
/// and never deleted.
pub const LOAD_BALANCER_ARN: &str = "fairlead.io/aws-load-balancer-arn";
/// With a dot and the number of a Service's port behind it: the ARN of a target group that somebody else made, which the port's targets are
/// registered with. It is never changed otherwise, and never deleted.
pub const TARGET_GROUP_ARN: &str = "fairlead.io/aws-target-group-arn";

/// What others have made and the Service uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adoption {
    /// A load balancer.
    pub load_balancer: Option<String>,
    /// Target groups, by the Service's port.
    pub target_groups: BTreeMap<u16, String>,
}

impl Adoption {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut adoption = Self::default();
        let (load_balancer, target_group) = (":loadbalancer/net/", ":targetgroup/");
        for (key, arn) in &reader.service.annotations {
            let port = key
                .strip_prefix(TARGET_GROUP_ARN)
                .and_then(|rest| rest.strip_prefix('.'));
            let kind = match (key.as_str(), port) {
                (LOAD_BALANCER_ARN, _) => load_balancer,
                (_, Some(_)) => target_group,
                _ => continue,
            };
            if !arn.starts_with("arn:") || !arn.contains(kind) {
                let what = kind.trim_matches([':', '/']);
                reader.fault_at(format!("annotation {key}"), format!("{arn} is not the ARN of a {what}"));
                continue;
            }
            let Some(port) = port else {
                adoption.load_balancer = Some(arn.clone());
                continue;
            };
            match port
                .parse()
                .ok()
                .filter(|port| reader.service.ports.iter().any(|its| its.port == *port))
            {
                Some(port) => drop(adoption.target_groups.insert(port, arn.clone())),
                None => reader.fault_at(
                    format!("annotation {key}"),
                    format!("{port} is not a port of the Service"),
                ),
            }
        }
        adoption
    }
}
