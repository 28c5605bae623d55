//! What is in an account, as an independent client describes it, without what is given at random.

use fairlead_e2e::aws::{AwsBackend, Network};
use serde_json::Value;

/// Everything, in which things are called by their names.
pub(crate) fn contents(aws: &AwsBackend, network: &Network) -> Value {
    let mut found = aws.boto().describe().unwrap();
    let mut names: Vec<(String, String)> = vec![
        (network.vpc.clone(), "the VPC".to_owned()),
        (network.ipv6.clone(), "the range of IPv6".to_owned()),
    ];
    for zone in &network.zones {
        names.push((zone.public.clone(), format!("public {}", zone.name)));
        names.push((zone.private.clone(), format!("private {}", zone.name)));
    }
    for (number, node) in network.instances.iter().enumerate() {
        names.push((node.id.clone(), format!("node {number}")));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = |kind: &str| found[kind].as_array().unwrap().clone();
    for it in all("LoadBalancers") {
        let name = text(&it["LoadBalancerName"]);
        for listener in it["Listeners"].as_array().unwrap() {
            let port = &listener["Port"];
            names.push((text(&listener["ListenerArn"]), format!("listener {port} of {name}")));
        }
        names.push((text(&it["LoadBalancerArn"]), format!("load balancer {name}")));
    }
    for it in all("TargetGroups") {
        let name = text(&it["TargetGroupName"]);
        names.push((text(&it["TargetGroupArn"]), format!("target group {name}")));
    }
    for it in all("SecurityGroups") {
        let name = text(&it["GroupName"]);
        names.push((text(&it["GroupId"]), format!("security group {name}")));
    }
    // It is a part of the others.
    names.push((aws.account().to_owned(), "the account".to_owned()));
    simplify(&mut found, &names);
    found
}

fn simplify(value: &mut Value, names: &[(String, String)]) {
    match value {
        Value::String(text) => {
            for (id, name) in names {
                *text = text.replace(id.as_str(), name);
            }
        }
        Value::Array(items) => {
            for item in items.iter_mut() {
                simplify(item, names);
            }
            // AWS promises no order.
            items.sort_by_cached_key(ToString::to_string);
            // moto names a load balancer once for each listener that there ever was.
            items.dedup();
        }
        Value::Object(fields) => {
            fields.remove("CreatedTime");
            for field in fields.values_mut() {
                simplify(field, names);
            }
        }
        _ => {}
    }
}
