//! Addresses in the nodes' own network, from outside: answered for by one node, moved, and taken over.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::checks::seconds;
use crate::cluster::{Cluster, Node};
use crate::lan::{self, EXCLUDED, Takes};
use crate::load::{Load, takes_connections};
use crate::program::wait_for;
use crate::proxy;

/// The namespace of the Service and its servers, and the name of everything else.
const NAME: &str = "announce";
const LIMIT: Duration = Duration::from_mins(1);
const CLASS: &str = "fairlead.io/e2e-announce";
/// From the Service's creation until it answers outside, with kubectl's own time. The first nodes must find the key of heartbeats.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    proxy::wait_until_ready(cluster)?;
    let mut load = Load::start(cluster, NAME)?;
    let nodes = cluster.nodes()?;
    let ranges = lan::provide(cluster, NAME, Takes::Class(CLASS))?;
    let began = Instant::now();
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "public", "namespace": NAME },
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": CLASS, "ipFamilyPolicy": "PreferDualStack",
            "selector": { "app": "server" }, "ports": [{ "port": 80, "targetPort": 8080 }],
        },
    }))?;
    let addresses = wait_for("addresses", LIMIT, || {
        let addresses = addresses(&load_balancer(cluster)?);
        Ok((addresses.len() == ranges.len()).then_some(addresses))
    })?;
    let sockets: Vec<_> = addresses.iter().map(|address| SocketAddr::new(*address, 80)).collect();
    wait_for("the addresses to answer outside", LIMIT, || {
        Ok(sockets.iter().all(takes_connections).then_some(()))
    })?;
    let answers = began.elapsed();
    ensure!(
        answers < ANSWERS_WITHIN,
        "it took {} until it answered",
        seconds(answers)
    );
    for address in &addresses {
        ping_once(cluster, &nodes, *address)?;
    }
    let mut lines = vec![format!(
        "created → answers outside at {}: {}",
        addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" and "),
        seconds(answers)
    )];
    load.ask_at(sockets);
    lines.push(hand_over(cluster, &load, addresses[0])?);
    lines.push(take_over(cluster, &load, &nodes, addresses[0])?);
    lines.push(outage(cluster, &load, &nodes)?);
    lines.push(node_port(cluster)?);

    // All at once, in any order: nothing may wait for ever for what is gone already.
    cluster
        .kubectl(["delete", "namespace", NAME, "--timeout=120s"])
        .within(LIMIT * 3)
        .run()?;
    lan::withdraw(cluster, NAME)?;
    Ok(lines)
}

/// The owner is excluded: another node takes the address, and no new connection fails.
fn hand_over(cluster: &Cluster, load: &Load<'_>, address: IpAddr) -> anyhow::Result<String> {
    let owner = wait_for("an owner", LIMIT, || owner_of(cluster, address))?;
    let mut heir = String::new();
    let counts = load.during(|| {
        cluster
            .kubectl(["label", "node", &owner, &format!("{EXCLUDED}=")])
            .run()?;
        heir = wait_for("another owner", LIMIT, || {
            Ok(owner_of(cluster, address)?.filter(|node| *node != owner))
        })?;
        Ok(())
    })?;
    cluster
        .kubectl(["label", "node", &owner, &format!("{EXCLUDED}-")])
        .run()?;
    ensure!(counts.failed_new() == 0, "new connections failed: {counts}");
    Ok(format!("{owner} excluded → {heir} answers: {counts}"))
}

/// The owner's agent is killed: another node takes the address over.
fn take_over(cluster: &Cluster, load: &Load<'_>, nodes: &[Node], address: IpAddr) -> anyhow::Result<String> {
    let owner = wait_for("an owner", LIMIT, || owner_of(cluster, address))?;
    ensure!(nodes.iter().any(|node| node.name == owner), "{owner} is no node");
    let before = epoch_of(&load_balancer(cluster)?, address);
    let counts = load.during(|| {
        cluster
            .on_node(&owner, "pkill -KILL -f '^/fairlead agent'")
            .run()
            .context("no agent to kill")?;
        wait_for("somebody to take it over", LIMIT, || {
            let epoch = epoch_of(&load_balancer(cluster)?, address);
            Ok((epoch > before).then_some(()))
        })
    })?;
    proxy::wait_until_ready(cluster)?;
    let heir = owner_of(cluster, address)?.unwrap_or_default();
    Ok(format!("agent of {owner} killed → {heir} answers: {counts}"))
}

/// The API server is away and every agent is killed: they go on with what they remember.
fn outage(cluster: &Cluster, load: &Load<'_>, nodes: &[Node]) -> anyhow::Result<String> {
    let control_plane = &nodes.first().context("the cluster has no nodes")?.name;
    let before = announcements(&load_balancer(cluster)?);
    let (manifest, aside) = (
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
        "/root/kube-apiserver.yaml",
    );
    // Pods are counted in by the API server, so they cannot be while it is away.
    let counts = load.during(|| {
        cluster
            .on_node(control_plane, &format!("mv {manifest} {aside}"))
            .run()?;
        let result = without_api_server(cluster, nodes, control_plane);
        cluster
            .on_node(control_plane, &format!("mv {aside} {manifest}"))
            .run()?;
        wait_for("the API server", LIMIT * 2, || {
            Ok(cluster.kubectl(["get", "--raw", "/readyz"]).succeeds().then_some(()))
        })?;
        result
    })?;
    proxy::wait_until_ready(cluster)?;
    let after = announcements(&load_balancer(cluster)?);
    let nodes_of =
        |all: &BTreeMap<IpAddr, (String, u64)>| all.values().map(|(node, _)| node.clone()).collect::<Vec<_>>();
    let (before, after) = (nodes_of(&before), nodes_of(&after));
    ensure!(counts.failed_new() == 0, "new connections failed: {counts}");
    Ok(format!(
        "API server away, all agents killed: {} → {}: {counts}",
        before.join(" and "),
        after.join(" and ")
    ))
}

fn without_api_server(cluster: &Cluster, nodes: &[Node], control_plane: &str) -> anyhow::Result<()> {
    wait_for("the API server to end", LIMIT, || {
        Ok((!cluster.on_node(control_plane, "pgrep -x kube-apiserver").succeeds()).then_some(()))
    })?;
    for node in nodes {
        let pid = "pgrep -f '^/fairlead agent'";
        let old = cluster.on_node(&node.name, pid).run()?;
        cluster.on_node(&node.name, "pkill -KILL -f '^/fairlead agent'").run()?;
        wait_for("the agent to be started again", LIMIT, || {
            let now = cluster.on_node(&node.name, pid).output()?;
            Ok((now.status.success() && now.stdout != old.as_bytes()).then_some(()))
        })?;
    }
    Ok(())
}

/// A Service of type `NodePort` that opts in has an address too.
fn node_port(cluster: &Cluster) -> anyhow::Result<String> {
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "opted-in", "namespace": NAME, "annotations": { "fairlead.io/provider": NAME } },
        "spec": { "type": "NodePort", "selector": { "app": "server" }, "ports": [{ "port": 8000, "targetPort": 8080 }] },
    }))?;
    let address = wait_for("an address", LIMIT, || {
        let found = cluster
            .kubectl(["get", "--output=json", "loadbalancer", "opted-in", "--namespace", NAME])
            .output()?;
        let found: Value = serde_json::from_slice(&found.stdout).unwrap_or_default();
        Ok(addresses(&found).first().copied())
    })?;
    wait_for("the address to answer", LIMIT, || {
        Ok(takes_connections(&SocketAddr::new(address, 8000)).then_some(()))
    })?;
    Ok(format!("a Service of type NodePort that opts in answers at {address}"))
}

/// A ping from a node that does not have the address has one answer.
fn ping_once(cluster: &Cluster, nodes: &[Node], address: IpAddr) -> anyhow::Result<()> {
    let owner = wait_for("an owner", LIMIT, || owner_of(cluster, address))?;
    let other = nodes
        .iter()
        .find(|node| node.name != owner)
        .context("there is one node only")?;
    let text = cluster
        .on_node(&other.name, &format!("ping -n -c 2 -i 0.5 -W 2 {address}"))
        .run()
        .with_context(|| format!("{address} does not answer pings"))?;
    ensure!(!text.contains("DUP"), "{address} answers a ping twice: {text}");
    Ok(())
}

fn load_balancer(cluster: &Cluster) -> anyhow::Result<Value> {
    let all = cluster.read(["loadbalancers", "--namespace", NAME])?;
    let mut all = crate::cluster::items(&all);
    Ok(all
        .find(|one| one["metadata"]["name"] == "public")
        .cloned()
        .unwrap_or_default())
}

fn addresses(load_balancer: &Value) -> Vec<IpAddr> {
    let texts = load_balancer["status"]["addresses"].as_array().into_iter().flatten();
    texts.filter_map(|text| text.as_str()?.parse().ok()).collect()
}

fn announcements(load_balancer: &Value) -> BTreeMap<IpAddr, (String, u64)> {
    let entries = load_balancer["status"]["announcements"]
        .as_object()
        .into_iter()
        .flatten();
    let entries = entries.filter_map(|(address, by)| {
        let by = (by["node"].as_str()?.to_owned(), by["epoch"].as_u64()?);
        Some((address.parse().ok()?, by))
    });
    entries.collect()
}

/// The node that says that it answers for the address.
fn owner_of(cluster: &Cluster, address: IpAddr) -> anyhow::Result<Option<String>> {
    let by = announcements(&load_balancer(cluster)?).remove(&address);
    Ok(by.map(|(node, _)| node))
}

fn epoch_of(load_balancer: &Value, address: IpAddr) -> u64 {
    announcements(load_balancer)
        .get(&address)
        .map_or(0, |(_, epoch)| *epoch)
}
