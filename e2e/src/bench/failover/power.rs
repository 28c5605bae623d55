//! A node's power switch.
//!
//! Off is two steps. First the node's port of the nodes' bridge is taken down, on the bridge's side: from then on not one frame
//! leaves the node, and the bridge forgets its MAC address as a switch does. Only then are all of its processes killed at once,
//! and its network with what the kernel knew of it is gone. Killing alone would be kinder than a power failure: the kernel of
//! a killed container closes its connections and tells the other side. Pausing alone would be no failure at all: the kernel goes on
//! to forward packets and to answer ARP. No program of the node sees anything of either step that it could still tell anyone, so
//! it is the same for every product.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::{Cluster, Node};
use crate::program::{Program, wait_for};

/// After that it is killed.
const SHUTS_DOWN_WITHIN: Duration = Duration::from_mins(1);
const STARTS_WITHIN: Duration = Duration::from_mins(3);

/// Takes the power from a node.
pub(super) fn off(node: &Node) -> Result<()> {
    let port = port(node)?;
    Program::new("ip")
        .args(["link", "set", "dev", &port, "down"])
        .run()
        .context("cannot take the node's port down: this needs root")?;
    Program::new("docker").args(["kill", &node.name]).run().map(drop)
}

/// Lets a node's init system end everything in its order, as `poweroff` does.
pub(super) fn shut_down(node: &Node) -> Result<()> {
    let limit = SHUTS_DOWN_WITHIN.as_secs().to_string();
    Program::new("docker")
        .args(["stop", "-t", &limit, &node.name])
        .run()
        .map(drop)
}

/// Turns on what an earlier run may have left off, and gives all pods their network.
pub(super) fn all_on(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes()? {
        let running = Program::new("docker")
            .args(["inspect", "--format={{.State.Running}}", &node.name])
            .run()?;
        if running.trim() != "true" {
            on(cluster, &node)?;
        }
    }
    cluster.connect_pods()
}

/// Gives it back, and waits until kubelet has reported from the node and the node's pods have a network.
pub(super) fn on(cluster: &Cluster, node: &Node) -> Result<()> {
    let before = lease(cluster, node)?;
    Program::new("docker")
        .args(["start", &node.name])
        .run()
        .with_context(|| format!("{} does not start", node.name))?;
    let format = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}";
    let now = Program::new("docker").args(["inspect", format, &node.name]).run()?;
    for address in &node.addresses {
        ensure!(
            now.split_whitespace().any(|now| now == address.to_string()),
            "Docker has given {} another address than {address}",
            node.name
        );
    }
    wait_for(&format!("kubelet of {}", node.name), STARTS_WITHIN, || {
        Ok((lease(cluster, node)? != before).then_some(()))
    })?;
    wait_for(&format!("routes of {}", node.name), STARTS_WITHIN, || {
        cluster.connect_pods().map(Some)
    })?;
    cluster
        .kubectl(["wait", "--for=condition=Ready", "node", &node.name])
        .args([format!("--timeout={}s", STARTS_WITHIN.as_secs())])
        .within(STARTS_WITHIN + Duration::from_secs(5))
        .run()
        .map(drop)
}

/// When kubelet has renewed the node's lease last: the node's conditions say nothing for most of a minute after it is gone.
fn lease(cluster: &Cluster, node: &Node) -> Result<String> {
    let lease = cluster.read(["lease", &node.name, "--namespace=kube-node-lease"])?;
    let renewed = lease["spec"]["renewTime"].as_str();
    renewed.map(str::to_owned).context("a node's lease was never renewed")
}

/// The bridge's end of the node's interface.
fn port(node: &Node) -> Result<String> {
    let index = Program::new("docker")
        .args(["exec", &node.name, "cat", "/sys/class/net/eth0/iflink"])
        .run()?;
    for interface in fs::read_dir("/sys/class/net").context("cannot list interfaces")? {
        let interface = interface.context("cannot list interfaces")?;
        let own = fs::read_to_string(interface.path().join("ifindex")).unwrap_or_default();
        if own.trim() == index.trim() {
            return Ok(interface.file_name().to_string_lossy().into_owned());
        }
    }
    bail!("the port of {} is not on this machine", node.name)
}

/// The MAC address of a node on the nodes' network.
pub(super) fn mac(node: &str) -> Result<String> {
    let mac = Program::new("docker")
        .args(["exec", node, "cat", "/sys/class/net/eth0/address"])
        .run()?;
    Ok(mac.trim().to_owned())
}
