//! A cluster as an API server holds it: objects with all that controllers write into them, which an agent has to read past.

use std::net::Ipv4Addr;

use fairlead_lab::Node;
use futures::StreamExt;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use crate::client::{Client, api};

/// Services, each with two endpoints.
pub(crate) const SERVICES: u16 = 10_000;
/// Requests under way at a time.
const AT_A_TIME: usize = 32;

fn name(number: u16) -> String {
    format!("backend-for-frontend-{number:05}")
}

fn service(number: u16) -> Value {
    let name = name(number);
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "namespace": "default", "name": name,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "benchmark"},
        },
        "spec": {
            "clusterIP": Ipv4Addr::from(0x0a60_0100 + u32::from(number)),
            "selector": {"app.kubernetes.io/name": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    })
}

/// The slice of a Service; `generation` decides about its second endpoint.
pub(crate) fn slice(number: u16, generation: u16) -> Value {
    let name = name(number);
    let address = |nth: u32| Ipv4Addr::from(0x0af4_0000 + u32::from(number) * 4 + nth);
    let endpoint = |nth: u32| {
        json!({
            "addresses": [address(nth)],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{}", nth + 1), "zone": format!("zone-{}", nth % 3),
            "targetRef": {
                "kind": "Pod", "namespace": "default", "name": format!("{name}-7d4b9c6f5d-{nth:05}"),
                "uid": format!("00000000-0000-4000-8000-{:012}", u32::from(number) * 4 + nth),
            },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "default", "name": format!("{name}-x7k2p"), "generateName": format!("{name}-"),
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "benchmark",
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": name, "uid": format!("00000000-0000-4000-8000-{number:012}"),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [endpoint(0), endpoint(1 + u32::from(generation % 3))],
    })
}

/// The Node that a node of the lab is: kube-proxy waits for its own.
pub(crate) fn node(node: &Node) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name()},
        "status": {"addresses": [{"type": "InternalIP", "address": node.addresses().v4}]},
    })
}

/// Creates all Services and their slices.
pub(crate) fn create_all(client: &Client) {
    client.run(|client| async move {
        let objects = futures::stream::iter((0..SERVICES).flat_map(|number| [service(number), slice(number, 0)]));
        let requests = objects.map(|object| {
            let api = api(client.clone(), &object);
            async move {
                let object: DynamicObject = serde_json::from_value(object).expect("an object");
                api.create(&PostParams::default(), &object)
                    .await
                    .expect("the API server takes it");
            }
        });
        requests.buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
    });
}
