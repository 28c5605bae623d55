//! A local provider whose addresses are in the nodes' own network, so that clients on that network reach them.

use std::net::IpAddr;

use anyhow::Context;
use serde_json::json;

use crate::cluster::Cluster;

/// The label of nodes that are kept out of load balancers.
pub const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Which Services the provider takes.
#[derive(Debug, Clone, Copy)]
pub enum Takes<'a> {
    /// Those with this `loadBalancerClass`.
    Class(&'a str),
    /// Those without a class.
    Unclassed,
}

/// Makes the provider and a pool, both of this name. Gives the pool's ranges, one of each IP family of the nodes.
pub fn provide(cluster: &Cluster, name: &str, takes: Takes<'_>) -> anyhow::Result<Vec<String>> {
    let nodes = cluster.nodes()?;
    let node = nodes.first().context("the cluster has no nodes")?;
    let ranges: Vec<_> = node.addresses.iter().map(range_beside).collect();
    let mut spec = json!({ "nodePortServices": "OptIn", "local": {} });
    match takes {
        Takes::Class(class) => spec["loadBalancerClass"] = json!(class),
        Takes::Unclassed => spec["default"] = json!(true),
    }
    cluster.apply(&json!({
        "apiVersion": "fairlead.io/v1alpha1", "kind": "LoadBalancerProvider", "metadata": { "name": name }, "spec": spec,
    }))?;
    cluster.apply(&json!({
        "apiVersion": "fairlead.io/v1alpha1", "kind": "AddressPool", "metadata": { "name": name },
        "spec": { "provider": name, "addresses": ranges, "reuseDelaySeconds": 0 },
    }))?;
    Ok(ranges)
}

/// Removes both.
pub fn withdraw(cluster: &Cluster, name: &str) -> anyhow::Result<()> {
    for kind in ["addresspool", "loadbalancerprovider"] {
        cluster.kubectl(["delete", kind, name]).run()?;
    }
    Ok(())
}

/// Whether the control plane may answer for addresses: kubeadm says no.
pub fn exclude_control_plane(cluster: &Cluster, is_excluded: bool) -> anyhow::Result<()> {
    let change = if is_excluded {
        format!("{EXCLUDED}=")
    } else {
        format!("{EXCLUDED}-")
    };
    let control_plane = "--selector=node-role.kubernetes.io/control-plane";
    cluster
        .kubectl(["label", "nodes", control_plane, &change, "--overwrite"])
        .run()
        .map(drop)
}

/// Some addresses in the network of a node's address, far from those that nodes and clients have.
fn range_beside(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            format!("{a}.{b}.240.16-{a}.{b}.240.79")
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::f0:10-{a:x}:{b:x}:{c:x}:{d:x}::f0:4f")
        }
    }
}
