use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn all<K: DeserializeOwned>(objects: &[Value]) -> Change<K> {
    let read = |object: &Value| Arc::new(serde_json::from_value(object.clone()).unwrap());
    Change::All(objects.iter().map(read).collect())
}

fn is<K: DeserializeOwned>(object: &Value) -> Change<K> {
    Change::Is(Arc::new(serde_json::from_value(object.clone()).unwrap()))
}

fn slice(ready: bool) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "namespace": "shop", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": [{
            "addresses": ["10.0.0.7"], "conditions": { "ready": ready },
            "targetRef": { "kind": "Pod", "namespace": "shop", "name": "web-a" },
        }],
    })
}

fn pod(conditions: &[(&str, &str)]) -> Value {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|(type_, status)| json!({ "type": type_, "status": status }))
        .collect();
    json!({
        "metadata": { "namespace": "shop", "name": "web-a", "uid": "1" },
        "spec": { "readinessGates": [
            { "conditionType": "target-health.fairlead.io/web" }, { "conditionType": "example.com/warm" },
        ] },
        "status": { "conditions": conditions },
    })
}

fn service(name: &str, annotations: &Value) -> Value {
    json!({
        "metadata": { "namespace": "shop", "name": name, "uid": name, "annotations": annotations },
        "spec": { "type": "LoadBalancer", "ports": [{ "name": "http", "port": 80 }] },
    })
}

fn node(status: &Value) -> Value {
    json!({
        "metadata": { "name": "a", "labels": { "zone": "a" } },
        "spec": { "providerID": "aws:///eu-central-1a/i-1", "taints": [{ "key": "k", "effect": "NoSchedule" }] },
        "status": status,
    })
}

fn inputs(conditions: &[(&str, &str)]) -> Inputs {
    let mut inputs = Inputs::default();
    assert!(!inputs.is_complete());
    inputs.absorb(Told::Node(all(&[node(&json!({}))])));
    inputs.absorb(Told::EndpointSlice(all(&[slice(false)])));
    inputs.absorb(Told::Pod(all(&[pod(conditions)])));
    inputs.absorb_services(all(&[service("web", &json!({}))]));
    assert!(inputs.is_complete());
    inputs
}

fn is_ready(inputs: &Inputs) -> bool {
    let cluster = inputs.cluster("shop", &BTreeMap::new(), None);
    let key = PortKey {
        service: "web".to_owned(),
        port: "http".to_owned(),
        protocol: Protocol::Tcp,
    };
    cluster.endpoints[&key][0].is_ready
}

#[test]
fn a_pod_that_waits_for_nothing_but_a_load_balancer_is_a_target() {
    let warm = ("example.com/warm", "True");
    assert!(is_ready(&inputs(&[("ContainersReady", "True"), warm])));
    assert!(!is_ready(&inputs(&[("ContainersReady", "False"), warm])));
    assert!(
        !is_ready(&inputs(&[("ContainersReady", "True")])),
        "it waits for something else too"
    );
    let other = inputs(&[]).cluster("other", &BTreeMap::new(), None);
    assert!(other.endpoints.is_empty() && other.services.is_empty() && other.nodes.len() == 1);
}

#[test]
fn only_what_matters_touches_services() {
    let mut inputs = inputs(&[]);
    let web = ServiceName::new("shop", "web");
    let nothing = Touched::Services(BTreeSet::new());
    let kubelet = node(&json!({ "conditions": [{ "type": "Ready", "status": "False" }] }));
    assert_eq!(inputs.absorb(Told::Node(is(&kubelet))), nothing);
    let mut cordoned = kubelet;
    cordoned["metadata"]["labels"]["zone"] = json!("b");
    assert_eq!(inputs.absorb(Told::Node(is(&cordoned))), Touched::Everything);

    assert_eq!(inputs.absorb(Told::EndpointSlice(is(&slice(false)))), nothing);
    let of_web = Touched::Services([web.clone()].into());
    assert_eq!(inputs.absorb(Told::EndpointSlice(is(&slice(true)))), of_web);
    let gone = Change::Gone(Arc::new(serde_json::from_value(slice(true)).unwrap()));
    assert_eq!(inputs.absorb(Told::EndpointSlice(gone)), of_web);

    // Who sends to a Service hears of its endpoints.
    let action = json!({ "service.beta.kubernetes.io/actions.TCP-80": "{}" });
    inputs.absorb_services(is(&service("front", &action)));
    let both = Touched::Services([web, ServiceName::new("shop", "front")].into());
    assert_eq!(inputs.absorb(Told::EndpointSlice(is(&slice(true)))), both);
}
