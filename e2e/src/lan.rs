//! A local provider whose addresses are in the nodes' own network, so that clients on that network reach them.

use std::net::IpAddr;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::program::Program;

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

/// Lets this machine reach the addresses as a client from elsewhere: with a source of its own that is not in the nodes' network. The nodes answer
/// through their default gateway, which the machine is. It ends when this is dropped.
#[derive(Debug)]
pub struct Elsewhere {
    /// What undoes it: arguments of `ip`.
    undo: Vec<Vec<String>>,
}

impl Elsewhere {
    /// Begins.
    pub fn begin(cluster: &Cluster) -> anyhow::Result<Self> {
        let nodes = cluster.nodes()?;
        let node = nodes.first().context("the cluster has no nodes")?;
        let mut elsewhere = Self { undo: Vec::new() };
        for address in &node.addresses {
            let route = Program::new("ip")
                .args(["-json", "route", "get", &address.to_string()])
                .run()?;
            let route: Value = serde_json::from_str(&route).context("`ip` gives no JSON")?;
            let link = route[0]["dev"]
                .as_str()
                .context("no link leads to the nodes")?
                .to_owned();
            // RFC 2544 and RFC 3849: nobody is there.
            let (source, range) = match address {
                IpAddr::V4(address) => {
                    let [a, b, ..] = address.octets();
                    ("198.18.77.1/32", format!("{a}.{b}.240.0/24"))
                }
                IpAddr::V6(address) => {
                    let [a, b, c, d, ..] = address.segments();
                    ("2001:db8:77::1/128", format!("{a:x}:{b:x}:{c:x}:{d:x}::f0:0/112"))
                }
            };
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let bare = source.split('/').next().unwrap_or(source);
            elsewhere.change(
                &["address", "replace", source, "dev", &link, "nodad"],
                owned(&["address", "del", source, "dev", &link]),
            )?;
            elsewhere.change(
                &["route", "replace", &range, "dev", &link, "src", bare],
                owned(&["route", "del", &range, "dev", &link]),
            )?;
        }
        Ok(elsewhere)
    }

    fn change(&mut self, arguments: &[&str], undo: Vec<String>) -> anyhow::Result<()> {
        Program::new("ip").args(arguments).run()?;
        self.undo.push(undo);
        Ok(())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for undo in self.undo.iter().rev() {
            let _ = Program::new("ip").args(undo).run();
        }
    }
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
