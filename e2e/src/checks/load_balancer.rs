//! A Service of type `LoadBalancer`, from its creation to its end.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::checks::seconds;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::program::wait_for;
use crate::proxy;

/// The namespace of the Service and its servers.
const NAME: &str = "load-balancer";
const LIMIT: Duration = Duration::from_mins(1);
/// From the Service's creation until its status has the addresses, as kubectl shows it: most of that is kubectl's own time.
const HAS_ADDRESSES_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    proxy::wait_until_ready(cluster)?;
    let load = Load::start(cluster, NAME)?;
    let families = families(cluster)?;
    let ranges = families.iter().map(|family| match family.as_str() {
        "IPv6" => "fd00:198:51:100::10-fd00:198:51:100::1f",
        _ => "198.51.100.16-198.51.100.31",
    });
    cluster.apply(&json!({
        "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": { "name": NAME },
        "spec": { "loadBalancerClass": "fairlead.io/e2e", "local": {} },
    }))?;
    cluster.apply(&json!({
        "apiVersion": "fairlead.io/v1alpha1", "kind": "AddressPool", "metadata": { "name": NAME },
        "spec": { "provider": NAME, "addresses": ranges.collect::<Vec<_>>() },
    }))?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "public", "namespace": NAME },
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "fairlead.io/e2e", "ipFamilyPolicy": "PreferDualStack",
            "selector": { "app": "server" }, "ports": [{ "port": 80, "targetPort": 8080 }],
        },
    });
    let began = Instant::now();
    cluster.apply(&service)?;
    let addresses = wait_for("addresses", LIMIT, || {
        let addresses = addresses(&cluster.read(["service", "public", "--namespace", NAME])?);
        Ok((addresses.len() == families.len()).then_some(addresses))
    })?;
    let took = began.elapsed();
    ensure!(
        took < HAS_ADDRESSES_WITHIN,
        "it took {} until there were addresses",
        seconds(took)
    );
    for node in cluster.nodes()? {
        for address in &addresses {
            let script = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/80'");
            wait_for(&format!("{address} to answer on {}", node.name), LIMIT, || {
                Ok(cluster.on_node(&node.name, &script).succeeds().then_some(()))
            })?;
        }
    }
    let answers = began.elapsed();

    cluster
        .kubectl(["delete", "service", "public", "--namespace", NAME, "--timeout=60s"])
        .run()
        .context("the Service cannot be deleted")?;
    wait_for("the load balancer to be gone", LIMIT, || {
        let left = cluster.read(["loadbalancers", "--namespace", NAME])?;
        Ok(crate::cluster::items(&left).next().is_none().then_some(()))
    })?;
    for kind in ["addresspool", "loadbalancerprovider"] {
        cluster.kubectl(["delete", kind, NAME]).run()?;
    }
    load.end()?;
    Ok(vec![format!(
        "created → {} in the status: {}; → answers on every node: {}",
        addresses.join(" and "),
        seconds(took),
        seconds(answers)
    )])
}

/// The IP families of the cluster, as its pods have them.
fn families(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let nodes = cluster.nodes()?;
    let cidrs = nodes.first().context("the cluster has no nodes")?.pod_cidrs.clone();
    let name = |cidr: &ipnet::IpNet| if cidr.addr().is_ipv6() { "IPv6" } else { "IPv4" };
    Ok(cidrs.iter().map(|cidr| name(cidr).to_owned()).collect())
}

fn addresses(service: &Value) -> Vec<String> {
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let addresses = ingress
        .into_iter()
        .flatten()
        .filter_map(|ingress| ingress["ip"].as_str());
    addresses.map(str::to_owned).collect()
}
