//! Kubernetes objects as YAML documents. JSON is YAML, so that `json!` writes them.

use fairlead_lab::{Addresses, Family, Node, Pod, Protocol};
use serde_json::{Value, json};

/// A Service in the namespace `test`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a call reads better without a reference to `json!`"
)]
pub(crate) fn service(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "test" }, "spec": spec })
}

/// The same Service with load balancer addresses, as a load balancer's controller writes them.
pub(crate) fn with_ingress(mut service: Value, addresses: &[&str]) -> Value {
    let ingress: Vec<_> = addresses.iter().map(|address| json!({ "ip": address })).collect();
    service["status"] = json!({ "loadBalancer": { "ingress": ingress } });
    service
}

/// The same object with a label.
pub(crate) fn with_label(mut object: Value, label: &str, value: &str) -> Value {
    object["metadata"]["labels"][label] = json!(value);
    object
}

/// The same Service with one more field in its spec.
pub(crate) fn with(mut service: Value, field: &str, value: Value) -> Value {
    service["spec"][field] = value;
    service
}

/// The cluster IPs with this last part.
pub(crate) fn cluster_ips(number: u8) -> Value {
    json!([format!("10.96.0.{number}"), format!("fd00:10:96::{number}")])
}

/// A port of a Service.
pub(crate) fn port(name: &str, protocol: Protocol, port: u16) -> Value {
    json!({ "name": name, "protocol": protocol.to_string(), "port": port })
}

/// A port of a Service that has a node port.
pub(crate) fn node_port(name: &str, protocol: Protocol, port: u16, node_port: u16) -> Value {
    json!({ "name": name, "protocol": protocol.to_string(), "port": port, "nodePort": node_port })
}

/// A Node with these labels.
pub(crate) fn node(node: &Node, labels: &Value) -> Value {
    let addresses = node
        .addresses()
        .both()
        .map(|address| json!({ "type": "InternalIP", "address": address }));
    let cidrs = node.pod_cidrs().both();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": node.name(), "labels": labels },
        "spec": { "podCIDRs": cidrs },
        "status": { "addresses": addresses },
    })
}

/// An endpoint of a Service.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    addresses: Addresses,
    node: String,
    conditions: Value,
    hints: Value,
}

impl Endpoint {
    /// A pod that is ready.
    pub(crate) fn ready(pod: &Pod) -> Self {
        Self::at(pod.addresses(), pod.node_name())
    }

    /// A node itself, as a pod with `hostNetwork` is.
    pub(crate) fn host(node: &Node) -> Self {
        Self::at(node.addresses(), node.name())
    }

    fn at(addresses: Addresses, node: &str) -> Self {
        Self {
            addresses,
            node: node.to_owned(),
            conditions: json!({ "ready": true, "serving": true, "terminating": false }),
            hints: Value::Null,
        }
    }

    /// The same endpoint while it is not ready.
    pub(crate) fn not_ready(self) -> Self {
        Self {
            conditions: json!({ "ready": false, "serving": false, "terminating": false }),
            ..self
        }
    }

    /// The same endpoint while it terminates and still serves.
    pub(crate) fn terminating(self) -> Self {
        Self {
            conditions: json!({ "ready": false, "serving": true, "terminating": true }),
            ..self
        }
    }

    /// The same endpoint, meant for these zones.
    pub(crate) fn for_zones(mut self, zones: &[&str]) -> Self {
        self.hints["forZones"] = zones.iter().map(|zone| json!({ "name": zone })).collect();
        self
    }

    /// The same endpoint, meant for these nodes.
    pub(crate) fn for_nodes(mut self, nodes: &[&str]) -> Self {
        self.hints["forNodes"] = nodes.iter().map(|node| json!({ "name": node })).collect();
        self
    }

    fn to_json(&self, family: Family) -> Value {
        let mut endpoint = json!({
            "addresses": [self.addresses.of(family)],
            "nodeName": self.node,
            "conditions": self.conditions,
        });
        if !self.hints.is_null() {
            endpoint["hints"] = self.hints.clone();
        }
        endpoint
    }
}

/// The EndpointSlices of a Service, in both families. Each endpoint has a slice of its own.
pub(crate) fn slices(service: &str, ports: &[(&str, Protocol, u16)], endpoints: &[Endpoint]) -> Vec<Value> {
    let pairs = endpoints
        .iter()
        .flat_map(|endpoint| Family::BOTH.map(|family| (endpoint, family)));
    pairs
        .map(|(endpoint, family)| slice(service, family, ports, std::slice::from_ref(endpoint)))
        .collect()
}

/// One EndpointSlice, named after its first endpoint and ports.
pub(crate) fn slice(service: &str, family: Family, ports: &[(&str, Protocol, u16)], endpoints: &[Endpoint]) -> Value {
    let first = endpoints
        .first()
        .map(|endpoint| endpoint.addresses.of(family).to_string());
    let numbers: Vec<_> = ports.iter().map(|(_, _, port)| port.to_string()).collect();
    let name = format!(
        "{service}-{}-{}",
        first.unwrap_or_default().replace([':', '.'], "-"),
        numbers.join("-")
    );
    let ports: Vec<_> = ports
        .iter()
        .map(|(name, protocol, port)| json!({ "name": name, "protocol": protocol.to_string(), "port": port }))
        .collect();
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| endpoint.to_json(family)).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "test",
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": match family { Family::V4 => "IPv4", Family::V6 => "IPv6" },
        "ports": ports,
        "endpoints": endpoints,
    })
}
