use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who makes the load balancer, and what for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "fairlead.io",
    version = "v1alpha1",
    kind = "LoadBalancer",
    namespaced,
    shortname = "flb",
    category = "fairlead",
    status = "LoadBalancerStatus",
    derive = "PartialEq",
    doc = "A load balancer that exists or is being made. The operator writes it; its status says where it is and why.",
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.provider"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Hostname", type_ = "string", json_path = ".status.hostname", priority = 1),
    printcolumn(name = "Pool", type_ = "string", json_path = ".status.pool", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerSpec {
    /// The name of the `LoadBalancerProvider` that makes it.
    #[schemars(length(min = 1, max = 253))]
    pub provider: String,

    /// The Services that it serves, each once. Several share its addresses.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into(), "name".into()]))]
    pub services: Vec<ServiceReference>,
}

/// A Service.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// The namespace of the Service.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,

    /// The name of the Service.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// The node that answers for an address.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedBy {
    /// The node.
    pub node: String,

    /// Why it is that node.
    pub reason: String,

    /// How often the address has changed its node. Of two nodes that answer, the one with the higher epoch is right.
    #[schemars(range(min = 0))]
    pub epoch: i64,

    /// The MAC address of a machine outside of the cluster that has the address. While there is one, the node keeps the address and does
    /// not answer for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub stranger: Option<String>,
}

/// What a load balancer came to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerStatus {
    /// The addresses that clients reach it at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,

    /// The name that clients reach it at, if the provider gives names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,

    /// What the provider calls its parts, such as ARNs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, String>,

    /// The `AddressPool` that the addresses are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,

    /// The node that answers for the first address now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,

    /// Why it is that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_reason: Option<String>,

    /// By address, the node that answers for it, as that node has written it. An IPv4 and an IPv6 address may be on different nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub announcements: BTreeMap<String, AnnouncedBy>,

    /// `Accepted` and `Ready`, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
