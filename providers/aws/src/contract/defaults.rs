use std::collections::{BTreeMap, BTreeSet};

use super::{Scheme, TargetType};

/// What holds for every Service of the provider unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The cluster's name, which marks everything that is made for it.
    pub cluster: String,
    /// What load balancers send to.
    pub target_type: TargetType,
    /// Where new load balancers can be reached from.
    pub scheme: Scheme,
    /// Tags for everything; they win over a Service's.
    pub tags: BTreeMap<String, String>,
    /// Tags that somebody else keeps, which no Service may set and which are never removed.
    pub external_managed_tags: BTreeSet<String>,
    /// The security policy of TLS listeners.
    pub tls_policy: String,
    /// Whether targets' security groups let load balancers in by one shared security group.
    pub has_backend_group: bool,
    /// Whether the targets' rules are kept for Services too that bring security groups of their own.
    pub manages_backend_rules: bool,
}

impl Defaults {
    /// The defaults of the AWS Load Balancer Controller.
    pub fn of_cluster(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            target_type: TargetType::Instance,
            scheme: Scheme::Internal,
            tags: BTreeMap::new(),
            external_managed_tags: BTreeSet::new(),
            tls_policy: "ELBSecurityPolicy-2016-08".to_owned(),
            has_backend_group: true,
            manages_backend_rules: false,
        }
    }
}
