use super::*;
use crate::sandbox::testing::Stage;

fn slice(family: &str, ports: &str, endpoints: &str) -> String {
    format!(
        "{{ apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{ name: web-{}, labels: {{ \
         kubernetes.io/service-name: web }} }}, addressType: {family}, ports: [{ports}], endpoints: [{endpoints}] }}\n---\n",
        endpoints.len() + ports.len()
    )
}

const WEB: &str = "{ apiVersion: v1, kind: Service, metadata: { name: web }, spec: { clusterIP: 10.96.0.1, ports: [{ port: 80 }] } }\n---\n";

fn shown(plan: &Plan) -> Vec<String> {
    let workloads = plan.workloads.iter().map(|(home, workload)| {
        let place = match home {
            Home::Pod(node, addresses) => format!("pod {node} {} {}", addresses.v4, addresses.v6),
            Home::Node(node) => format!("node {node}"),
        };
        let listeners: Vec<_> = workload
            .listeners
            .iter()
            .map(|l| format!("{}/{}", l.address, l.protocol))
            .collect();
        format!("{place}: {} on {}", workload.name, listeners.join(" "))
    });
    workloads.chain(plan.unplaced.iter().map(ToString::to_string)).collect()
}

#[test]
fn the_addresses_of_both_families_make_one_pod_with_the_ports_of_all_slices() {
    let text = [
        WEB,
        &slice(
            "IPv4",
            "{ port: 8080 }",
            "{ addresses: [10.244.2.10], nodeName: node-2 }",
        ),
        &slice(
            "IPv4",
            "{ name: dns, protocol: UDP, port: 53 }",
            "{ addresses: [10.244.2.10] }",
        ),
        &slice(
            "IPv6",
            "{ port: 8080 }",
            "{ addresses: ['fd00:10:244:2::10'], nodeName: node-2, targetRef: { name: web-x } }",
        ),
    ]
    .concat();
    assert_eq!(
        shown(&plan(&Stage::of(&text).scene())),
        [
            "pod 2 10.244.2.10 fd00:10:244:2::10: web-x on 10.244.2.10:8080/tcp [fd00:10:244:2::10]:8080/tcp 10.244.2.10:53/udp"
        ]
    );
}

#[test]
fn a_node_address_is_a_workload_on_the_node() {
    let text = [
        WEB,
        &slice(
            "IPv4",
            "{ port: 9100 }",
            "{ addresses: [172.30.0.13], nodeName: node-3 }",
        ),
    ]
    .concat();
    assert_eq!(
        shown(&plan(&Stage::of(&text).scene())),
        ["node 3: web-node-3 on 172.30.0.13:9100/tcp"]
    );
}

#[test]
fn an_ipv6_address_with_digits_of_its_own_gets_a_pod_that_nobody_else_has() {
    let text = [
        WEB,
        &slice("IPv4", "{ port: 80 }", "{ addresses: [10.244.1.100] }"),
        // The last bits, 98, lead to number 100 first.
        &slice("IPv6", "{ port: 80 }", "{ addresses: ['fd00:10:244:1::beef:62'] }"),
    ]
    .concat();
    assert_eq!(
        shown(&plan(&Stage::of(&text).scene())),
        [
            "pod 1 10.244.1.100 fd00:10:244:1::100: web-1-100 on 10.244.1.100:80/tcp",
            "pod 1 10.244.1.101 fd00:10:244:1::beef:62: web-1-101 on [fd00:10:244:1::beef:62]:80/tcp",
        ]
    );
}

#[test]
fn an_endpoint_that_the_lab_cannot_have_is_named_with_its_reason() {
    let endpoints = "{ addresses: [192.168.7.7], nodeName: node-1 }, { addresses: [10.244.2.4], nodeName: node-1 }, \
                     { addresses: [10.244.1.250], nodeName: node-1 }, { addresses: [10.244.1.1], nodeName: node-1 }";
    let text = [WEB, &slice("IPv4", "{ port: 80 }", endpoints)].concat();
    assert_eq!(
        shown(&plan(&Stage::of(&text).scene())),
        [
            "10.244.1.1 is reserved in the lab: no workload runs there",
            "10.244.1.250 is reserved in the lab: no workload runs there",
            "10.244.2.4 belongs to node-2, but its slice says node-1: nobody answers there",
            "192.168.7.7 is in no network of the lab: nobody answers there",
        ]
    );
}

#[test]
fn every_endpoint_of_the_examples_has_a_workload_with_a_name_of_its_own() {
    let stage = Stage::of_examples();
    let plan = plan(&stage.scene());
    assert_eq!(plan.unplaced, BTreeSet::new());
    let names: BTreeSet<_> = plan.workloads.values().map(|workload| &workload.name).collect();
    assert_eq!(names.len(), plan.workloads.len());
    assert!(
        names.contains(&"web-1".to_owned()) && names.contains(&"foreign-1".to_owned()),
        "{names:?}"
    );
}
