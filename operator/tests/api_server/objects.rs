//! What the tests write into the API server.

use fairlead_e2e::control_plane::User;
use fairlead_lab::{Addresses, Family, Node, Pod};
use serde_json::{Value, json};

/// Port of Services and of their pods, for both protocols.
pub(crate) const PORT: u16 = 80;
pub(crate) const POD_PORT: u16 = 8080;

/// The cluster IPs of Service `number`.
pub(crate) fn cluster_ips(number: u8) -> Addresses {
    Addresses {
        v4: [10, 96, 0, number].into(),
        v6: [0xfd00, 0x10, 0x96, 0, 0, 0, 0, u16::from(number)].into(),
    }
}

/// A dual-stack Service without a selector, since nobody would make its slices.
pub(crate) fn service(name: &str, ips: Addresses) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": name},
        "spec": {
            "clusterIP": ips.v4, "clusterIPs": ips.both(), "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"],
            "ports": [
                {"name": "tcp", "port": PORT, "targetPort": POD_PORT, "protocol": "TCP"},
                {"name": "udp", "port": PORT, "targetPort": POD_PORT, "protocol": "UDP"},
            ],
        },
    })
}

/// The slices of a Service, one of each family.
pub(crate) fn slices(service: &str, pods: &[&Pod]) -> [Value; 2] {
    Family::BOTH.map(|family| {
        let endpoints = pods.iter().map(|pod| {
            json!({
                "addresses": [pod.addresses().of(family)], "nodeName": pod.node_name(),
                "conditions": {"ready": true, "serving": true, "terminating": false},
            })
        });
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": "default",
                "name": format!("{service}-{}", format!("{family:?}").to_lowercase()),
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": match family { Family::V4 => "IPv4", Family::V6 => "IPv6" },
            "ports": [
                {"name": "tcp", "port": POD_PORT, "protocol": "TCP"},
                {"name": "udp", "port": POD_PORT, "protocol": "UDP"},
            ],
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    })
}

/// The Node object of a node of the lab.
pub(crate) fn node(node: &Node) -> Value {
    let addresses = node
        .addresses()
        .both()
        .map(|address| json!({"type": "InternalIP", "address": address}));
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name()},
        "spec": {"podCIDR": node.pod_cidrs().v4, "podCIDRs": node.pod_cidrs().both()},
        "status": {"addresses": addresses},
    })
}

/// What an agent may do, which is all that it needs.
pub(crate) fn agent_role() -> [Value; 2] {
    let name = User::Agent.name();
    let watch = json!(["get", "list", "watch"]);
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "nodes"], "verbs": watch},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watch},
                {"apiGroups": ["fairlead.io"], "resources": ["loadbalancerproviders", "addresspools", "loadbalancers"], "verbs": watch},
                {"apiGroups": ["networking.k8s.io"], "resources": ["servicecidrs"], "verbs": watch},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
        }),
    ]
}
