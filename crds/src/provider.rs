use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a provider makes, and for which Services.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "fairlead.io",
    version = "v1alpha1",
    kind = "LoadBalancerProvider",
    shortname = "lbp",
    category = "fairlead",
    status = "LoadBalancerProviderStatus",
    derive = "PartialEq",
    doc = "Someone who makes load balancers for Services: local, with addresses that nodes answer for, or in AWS.",
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.loadBalancerClass"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
    printcolumn(name = "LoadBalancers", type_ = "integer", json_path = ".status.loadBalancers"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.local) != has(self.aws)").message("exactly one of spec.local and spec.aws must be set"),
    validation = Rule::new("has(self.local) == has(oldSelf.local)")
        .message("spec.local cannot become spec.aws, nor the reverse: make another provider"),
    validation = Rule::new("!has(oldSelf.loadBalancerClass) || (has(self.loadBalancerClass) && self.loadBalancerClass == oldSelf.loadBalancerClass)")
        .message("spec.loadBalancerClass cannot be changed once it is set: make another provider"),
    validation = Rule::new("has(self.loadBalancerClass) || self.default || self.nodePortServices == 'OptIn'")
        .message("without spec.loadBalancerClass, spec.default: true or spec.nodePortServices: OptIn it would take no Service"),
    validation = Rule::new("!has(self.nodePortNamespaceSelector) || self.nodePortServices == 'OptIn'")
        .message("spec.nodePortNamespaceSelector has no effect without spec.nodePortServices: OptIn"),
)]
pub struct LoadBalancerProviderSpec {
    /// Services of type `LoadBalancer` with this `loadBalancerClass` are the provider's. It cannot be changed once it is set.
    /// Without it, only `default` and `nodePortServices` bring it Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 317),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
        )
    )]
    pub load_balancer_class: Option<String>,

    /// Services of type `LoadBalancer` without a class are the provider's. One provider at most can be the default.
    #[serde(default, rename = "default")]
    pub is_default: bool,

    /// Whether Services of type `NodePort` can have a load balancer of this provider. `Never`; or `OptIn`: those with the
    /// annotation `fairlead.io/provider` and the provider's name as its value.
    #[serde(default)]
    pub node_port_services: NodePortServices,

    /// With `nodePortServices: OptIn`, only Services in namespaces with these labels can opt in. Without it, those in every
    /// namespace can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port_namespace_selector: Option<LabelSelector>,

    /// The nodes themselves answer for addresses of `AddressPool` objects, by ARP and NDP. Exactly one of `local` and `aws` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalProvider>,

    /// Network Load Balancers of AWS. Exactly one of `local` and `aws` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsProvider>,
}

/// Whether Services of type `NodePort` can have a load balancer.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodePortServices {
    /// They cannot.
    #[default]
    Never,
    /// Those can that ask for the provider by annotation.
    OptIn,
}

/// A provider whose load balancers are addresses that the nodes answer for.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalProvider {
    /// What happens when the node that answered first comes back after a failure. `Sticky`: the address stays where it is.
    /// `Revertive`: it returns to the node that ranks first.
    pub ownership: Ownership,

    /// What a cordon does to addresses that the node answers for. `Keep`: nothing. `Move`: they move to other nodes, without
    /// a gap.
    pub cordoned_nodes: CordonedNodes,

    /// How nodes see that another one has failed.
    pub heartbeat: Heartbeat,

    /// Answer pings (ICMP and ICMPv6 echo requests) to an address while a Service behind it has an endpoint.
    pub echo: bool,

    /// How often the announcing node tells the network again where the address is, for switches that forget it sooner than
    /// clients do. 0: only when it has moved.
    #[schemars(range(min = 0, max = 86400))]
    pub refresh_seconds: u32,

    /// Ask on the network whether another machine has the address before the first node answers for it, and watch for such
    /// machines later.
    pub duplicate_address_detection: bool,
}

impl Default for LocalProvider {
    fn default() -> Self {
        Self {
            ownership: Ownership::default(),
            cordoned_nodes: CordonedNodes::default(),
            heartbeat: Heartbeat::default(),
            echo: true,
            refresh_seconds: 60,
            duplicate_address_detection: true,
        }
    }
}

impl LocalProvider {
    /// How often to tell the network again; `None`: never.
    pub fn refresh(&self) -> Option<Duration> {
        (self.refresh_seconds > 0).then(|| Duration::from_secs(self.refresh_seconds.into()))
    }
}

/// What happens when a failed node comes back.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Addresses stay where they are.
    #[default]
    Sticky,
    /// They return to the node that ranks first.
    Revertive,
}

/// What a cordon does to addresses on the node.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CordonedNodes {
    /// The node keeps them.
    #[default]
    Keep,
    /// They move to other nodes.
    Move,
}

/// How nodes see that another one has failed.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Heartbeat {
    /// The UDP port on every node that heartbeats are sent to.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// How often each node sends one to each other.
    #[schemars(range(min = 20, max = 10000))]
    pub interval_milliseconds: u32,

    /// After how many missing heartbeats a node counts as failed.
    #[schemars(range(min = 2, max = 20))]
    pub failure_threshold: u32,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            port: 7956,
            interval_milliseconds: 100,
            failure_threshold: 3,
        }
    }
}

impl Heartbeat {
    /// Between two heartbeats.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_milliseconds.into())
    }
}

/// A provider that makes Network Load Balancers of AWS.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AwsProvider {
    /// The name of the cluster, which marks everything that is made for it. Clusters in one account need different ones.
    #[schemars(length(min = 1, max = 100))]
    pub cluster_name: String,

    /// The region, such as `eu-central-1`. Without it, the one that the operator runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[a-z]{2}(-[a-z]+)+-[0-9]+$"))]
    pub region: Option<String>,

    /// The VPC, such as `vpc-0123456789abcdef0`. Without it, the one that the operator runs in.
    #[serde(default, rename = "vpcId", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^vpc-[0-9a-f]+$"))]
    pub vpc_id: Option<String>,

    /// What load balancers send to, unless the Service says otherwise. `Instance`: the node ports of nodes. `Ip`: pods.
    #[serde(default)]
    pub default_target_type: TargetType,

    /// Tags for everything that is made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 40))]
    pub tags: BTreeMap<String, String>,
}

/// What a load balancer of AWS sends to.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TargetType {
    /// Node ports of nodes.
    #[default]
    Instance,
    /// Pods.
    Ip,
}

/// What a provider came to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerProviderStatus {
    /// `Accepted` and `Ready`, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How many load balancers the provider has.
    #[serde(default)]
    pub load_balancers: i64,
}
