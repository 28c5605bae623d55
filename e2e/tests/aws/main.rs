//! The test account of AWS: LocalStack, the proxy with its faults, and the independent client.

mod account;
mod faults;

use fairlead_e2e::aws::{Boto, Network};
use serde_json::{Value, json};

/// Makes an NLB in the public subnets of a network and gives its ARN.
fn make_load_balancer(boto: &Boto, network: &Network, name: &str) -> anyhow::Result<String> {
    let subnets: Vec<_> = network.zones.iter().map(|zone| &zone.public).collect();
    let parameters = json!({
        "Name": name,
        "Type": "network",
        "Scheme": "internet-facing",
        "Subnets": subnets,
        "SecurityGroups": [network.node_security_group],
        "Tags": [{ "Key": "owner", "Value": "test" }],
    });
    let made = boto.call("elbv2", "create_load_balancer", &parameters)?;
    Ok(text(&made["LoadBalancers"][0]["LoadBalancerArn"]))
}

/// Makes a target group of a network and gives its ARN.
fn make_target_group(boto: &Boto, network: &Network, name: &str, kind: &str) -> anyhow::Result<String> {
    let parameters = json!({
        "Name": name,
        "Protocol": "TCP",
        "Port": 80,
        "VpcId": network.vpc,
        "TargetType": kind,
    });
    let made = boto.call("elbv2", "create_target_group", &parameters)?;
    Ok(text(&made["TargetGroups"][0]["TargetGroupArn"]))
}

/// The parameters of a listener that forwards to one target group.
fn listener(load_balancer: &str, target_group: &str, protocol: &str, port: u16) -> Value {
    json!({
        "LoadBalancerArn": load_balancer,
        "Protocol": protocol,
        "Port": port,
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": target_group }],
    })
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}
