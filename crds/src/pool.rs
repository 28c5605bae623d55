use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::core::{Rule, validate};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::ServiceReference;

/// Two IPv6 addresses in full length, and a hyphen between spaces.
const LONGEST_RANGE: usize = 2 * 45 + 3;

/// Addresses, who gets them, and which nodes answer for them.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "fairlead.io",
    version = "v1alpha1",
    kind = "AddressPool",
    shortname = "apool",
    category = "fairlead",
    status = "AddressPoolStatus",
    derive = "PartialEq",
    doc = "Addresses that local providers give to Services, and how nodes answer for them.",
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Auto", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(name = "IPv4-Assigned", type_ = "integer", json_path = ".status.ipv4.assigned"),
    printcolumn(name = "IPv4-Available", type_ = "integer", json_path = ".status.ipv4.available"),
    printcolumn(name = "IPv6-Assigned", type_ = "integer", json_path = ".status.ipv6.assigned"),
    printcolumn(name = "IPv6-Available", type_ = "integer", json_path = ".status.ipv6.available"),
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
pub struct AddressPoolSpec {
    /// The name of the `LoadBalancerProvider` that gives out the addresses. Without it, every local provider does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub provider: Option<String>,

    /// The addresses: CIDRs such as `198.51.100.0/24` and `2001:db8::/112`, and ranges such as `198.51.100.10-198.51.100.20`.
    /// IPv4 and IPv6 may be mixed. Pools may not overlap.
    #[schemars(schema_with = "addresses_schema")]
    pub addresses: Vec<String>,

    /// Give out the addresses to Services that ask for none in particular. With `false`, only those get one that name the
    /// pool or the address.
    #[serde(default = "yes")]
    pub auto_assign: bool,

    /// Never give out IPv4 addresses that end in `.0` or `.255`, which some old devices refuse.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,

    /// Which Services can have addresses of the pool. Without it, all can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Allocation>,

    /// Which nodes answer for the addresses, and where. Without it, all nodes do, on every interface whose network has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<Announcement>,

    /// How long an address rests after a Service has let go of it, before another one can have it, so that clients with old
    /// knowledge do not reach a stranger. 0: not at all.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 0, max = 86400))]
    pub reuse_delay_seconds: u32,
}

impl AddressPoolSpec {
    /// How long an address rests.
    pub fn reuse_delay(&self) -> Duration {
        Duration::from_secs(self.reuse_delay_seconds.into())
    }
}

fn yes() -> bool {
    true
}

fn a_minute() -> u32 {
    60
}

/// Rules on the items, so that the API server names the one that is wrong.
fn addresses_schema(_: &mut SchemaGenerator) -> Schema {
    // `trim`: a range may be written with spaces around its hyphen.
    let is_range = "self.split('-').size() == 2 && self.split('-').all(end, isIP(end.trim()))";
    let of_one_family = "ip(self.split('-')[0].trim()).family() == ip(self.split('-')[1].trim()).family()";
    let mut item = json_schema!({"type": "string", "minLength": 1, "maxLength": LONGEST_RANGE});
    let rules = [
        Rule::new(format!("isCIDR(self) || ({is_range})")).message(
            "addresses must be CIDRs, such as 198.51.100.0/24 or 198.51.100.7/32, or ranges, such as 198.51.100.10-198.51.100.20",
        ),
        Rule::new(format!("isCIDR(self) || !({is_range}) || {of_one_family}"))
            .message("addresses: both ends of a range must be IPv4, or both IPv6"),
    ];
    for rule in rules {
        validate(&mut item, rule).expect("a rule can be written as JSON");
    }
    json_schema!({"type": "array", "items": item, "minItems": 1, "maxItems": 256})
}

/// Which Services can have addresses of the pool.
///
/// A Service is selected if its namespace is named or selected, and one of the `serviceSelectors` has it. What is empty selects all.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// Of the pools that select a Service, those with lower numbers are tried first. Those with 0 or without a number come last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub priority: Option<u32>,

    /// Services that the pool selects get its addresses or none. With `false` they take those of other pools when these are used up.
    #[serde(default)]
    pub exclusive: bool,

    /// Namespaces by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,

    /// Namespaces by their labels. One of the selectors is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub namespace_selectors: Vec<LabelSelector>,

    /// Services by their labels. One of the selectors is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub service_selectors: Vec<LabelSelector>,
}

/// Which nodes answer for the addresses of the pool, and where.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// Only nodes with these labels. One of the selectors is enough; none at all selects every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub node_selectors: Vec<LabelSelector>,

    /// Of the nodes that can answer, those rank first whose weights add up to the most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub preferred_nodes: Vec<PreferredNode>,

    /// Only on interfaces of these names. None at all means every interface that has carrier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 15)))]
    pub interfaces: Vec<String>,

    /// Only on interfaces with an address in the same network. With `false` nodes answer for addresses of foreign networks too.
    #[serde(default = "yes")]
    pub require_on_link: bool,
}

impl Default for Announcement {
    fn default() -> Self {
        Self {
            node_selectors: Vec::new(),
            preferred_nodes: Vec::new(),
            interfaces: Vec::new(),
            require_on_link: true,
        }
    }
}

/// Nodes that rank higher.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PreferredNode {
    /// How much: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u32,

    /// The labels of such nodes.
    pub preference: LabelSelector,
}

/// What a pool came to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AddressPoolStatus {
    /// Its IPv4 addresses, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<PoolUsage>,

    /// Its IPv6 addresses, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<PoolUsage>,

    /// Addresses that nobody has, and nobody can have yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["address".into()]))]
    pub resting: Vec<RestingAddress>,

    /// Addresses that machines outside of the cluster have. They are given to nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["address".into()]))]
    pub quarantined: Vec<QuarantinedAddress>,

    /// `Accepted` and `Ready`, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The `metadata.generation` that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// How many addresses of one IP family are used.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PoolUsage {
    /// Those that Services have.
    pub assigned: i64,

    /// Those that Services can still have. Of more than fit into 63 bits, the largest number that does.
    pub available: i64,
}

/// An address that rests.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RestingAddress {
    /// The address.
    pub address: String,

    /// When it can be given out again.
    pub until: Time,

    /// The Service that had it, which can have it back before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReference>,
}

/// An address that a machine outside of the cluster has.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinedAddress {
    /// The address.
    pub address: String,

    /// The MAC address of the machine.
    pub mac: String,

    /// The node that has heard it.
    pub node: String,

    /// When the address can be given out again. Without it a node still asks for the address, and says when it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}
