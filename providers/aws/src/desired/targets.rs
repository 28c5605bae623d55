//! Who the targets are.

use std::collections::{BTreeMap, BTreeSet};

use fairlead_model::Family;

use crate::contract::value::boolean;
use crate::contract::{ListenerProtocol, Port, Service};

use super::{Cluster, Node, PortKey, Surroundings, Target};

/// The node ports of the nodes that may be targets.
pub(super) fn instances(port: &Port, labels: &BTreeMap<String, String>, cluster: &Cluster) -> BTreeSet<Target> {
    let Some(number) = port.node_port else {
        return BTreeSet::new();
    };
    let nodes = cluster.nodes.iter().filter(|node| may_be_target(node));
    let wanted = nodes.filter(|node| labels.iter().all(|(key, value)| node.labels.get(key) == Some(value)));
    let targets = wanted.filter_map(|node| {
        Some(Target {
            id: node.instance()?.to_owned(),
            port: number,
            zone: None,
            quic_server_id: None,
        })
    });
    targets.collect()
}

impl Node {
    /// The id of the instance that it is; `None` if it is none, as with Fargate.
    pub fn instance(&self) -> Option<&str> {
        let path = self.provider_id.strip_prefix("aws://")?;
        path.rsplit('/').next().filter(|id| id.starts_with("i-"))
    }
}

const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const EXCLUDE_BEFORE: [&str; 2] = [
    "node-role.kubernetes.io/master",
    "alpha.service-controller.kubernetes.io/exclude-balancer",
];

/// Nodes that go are out before they are gone. Whether a node is ready does not matter: health checks find out faster, and a control plane
/// that cannot reach its nodes takes none of them away.
fn may_be_target(node: &Node) -> bool {
    let is_excluded = node
        .labels
        .get(EXCLUDE)
        .is_some_and(|text| boolean(text) != Some(false));
    let was_excluded = EXCLUDE_BEFORE.iter().any(|label| node.labels.contains_key(*label));
    let is_leaving = node.taints.iter().any(|taint| match taint.key.as_str() {
        "ToBeDeletedByClusterAutoscaler" => true,
        "karpenter.sh/disrupted" => taint.effect == "NoSchedule",
        _ => false,
    });
    !node.is_deleting && !is_excluded && !was_excluded && !is_leaving
}

/// The endpoints that are ready and stay.
pub(super) fn pods(
    service: &Service,
    port: &Port,
    family: Family,
    protocol: ListenerProtocol,
    around: Surroundings<'_>,
) -> BTreeSet<Target> {
    let key = PortKey {
        service: service.name.name.to_string(),
        port: port.name.clone(),
        protocol: port.protocol,
    };
    let endpoints = around.cluster.endpoints.get(&key).into_iter().flatten();
    let ready = endpoints
        .filter(|endpoint| endpoint.is_ready && !endpoint.is_terminating && Family::of(endpoint.address) == family);
    let targets = ready.filter(|endpoint| !protocol.is_quic() || endpoint.quic_server_id.is_some());
    let targets = targets.map(|endpoint| Target {
        id: endpoint.address.to_string(),
        port: endpoint.port,
        zone: (!around.vpc.has(endpoint.address)).then(|| "all".to_owned()),
        quic_server_id: endpoint.quic_server_id.clone().filter(|_| protocol.is_quic()),
    });
    targets.collect()
}
