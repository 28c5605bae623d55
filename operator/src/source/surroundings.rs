//! What a node must know to announce addresses: the other nodes, local providers, their pools and load balancers.
//!
//! It comes as a whole picture whenever something in it has changed, and costs nothing where there is no local provider.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use fairlead_crds::{AddressPool, LoadBalancer, LoadBalancerProvider};
use fairlead_model::ServiceName;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

/// Load balancers are told not to send to a node with this label; MetalLB keeps addresses off it as well.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Surroundings {
    /// Local providers, by name.
    pub providers: BTreeMap<String, Arc<LoadBalancerProvider>>,
    /// Pools, by name.
    pub pools: BTreeMap<String, Arc<AddressPool>>,
    /// Load balancers. One bears the name of the Service that it was made for.
    pub load_balancers: BTreeMap<ServiceName, Arc<LoadBalancer>>,
    /// Nodes, by name.
    pub members: BTreeMap<String, Arc<Member>>,
}

/// A node, as far as announcing goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each states one fact, in every combination"
)]
pub struct Member {
    /// Its addresses, internal ones first.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is cordoned.
    pub is_cordoned: bool,
    /// Whether it is kept out of load balancers, by its label or because it is about to go.
    pub is_excluded: bool,
    /// Whether it says itself that it has no network.
    pub is_without_network: bool,
    /// Whether the API server has given it up: its kubelet says nothing, or that it is not ready.
    pub is_lost: bool,
}

impl From<&Node> for Member {
    fn from(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let written = status
            .and_then(|status| status.addresses.as_deref())
            .unwrap_or_default();
        let of_type = |type_: &'static str| {
            let addresses = written.iter().filter(move |address| address.type_ == type_);
            addresses.filter_map(|address| address.address.parse().ok())
        };
        let condition = |type_: &str| {
            let conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
            let mut of_type = conditions.filter(|condition| condition.type_ == type_);
            of_type.next().map(|condition| condition.status.as_str())
        };
        let taints = spec.into_iter().flat_map(|spec| spec.taints.iter().flatten());
        let is_going = node.metadata.deletion_timestamp.is_some()
            || taints
                .into_iter()
                .any(|taint| taint.key == "ToBeDeletedByClusterAutoscaler");
        Self {
            addresses: of_type("InternalIP").chain(of_type("ExternalIP")).collect(),
            labels: node.labels().clone(),
            is_cordoned: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
            is_excluded: is_going || node.labels().contains_key(EXCLUDED),
            is_without_network: condition("NetworkUnavailable") == Some("True"),
            // One that has never been looked after, as where there is no kubelet, is not lost.
            is_lost: condition("Ready").is_some_and(|status| status != "True"),
        }
    }
}

/// The name under which a load balancer is known.
pub(super) fn key_of(load_balancer: &LoadBalancer) -> ServiceName {
    ServiceName::new(load_balancer.namespace().unwrap_or_default(), load_balancer.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_node_that_was_looked_after_can_be_lost() {
        let is_lost = |conditions: serde_json::Value| {
            let node = json!({ "metadata": { "name": "a" }, "status": { "conditions": conditions } });
            Member::from(&serde_json::from_value::<Node>(node).unwrap()).is_lost
        };
        assert!(!is_lost(json!([])));
        assert!(!is_lost(json!([{ "type": "Ready", "status": "True" }])));
        // Its kubelet says that it is not, or says nothing any more.
        assert!(is_lost(json!([{ "type": "Ready", "status": "False" }])));
        assert!(is_lost(
            json!([{ "type": "DiskPressure", "status": "False" }, { "type": "Ready", "status": "Unknown" }])
        ));
    }
}
