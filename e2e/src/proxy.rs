//! Who gives a cluster its Services: Fairlead by its Helm chart, and the kube-proxy that it takes over from.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::json;

use crate::cluster::Cluster;
use crate::program::{Program, repository, wait_for};

/// The Helm release and its namespace.
pub const RELEASE: &str = "fairlead";
/// The namespace of the release.
pub const NAMESPACE: &str = "fairlead-system";
/// The workload of the agents.
pub const AGENTS: &str = "daemonset/fairlead-agent";
/// The workload of the operator.
pub const OPERATOR: &str = "deployment/fairlead-operator";
/// What the image is called on the nodes; no registry has it.
const IMAGE: (&str, &str) = ("fairlead.test/fairlead", "e2e");
/// A release build of everything with one codegen job takes as long on a small machine.
const BUILD_LIMIT: Duration = Duration::from_mins(40);
const ROLLOUT_LIMIT: Duration = Duration::from_mins(3);

/// Builds the image, puts it on the nodes and installs or upgrades the release. `settings` are Helm's `--set`.
pub fn deploy(cluster: &Cluster, settings: &[String]) -> anyhow::Result<()> {
    load_image(cluster)?;
    let is_there = cluster.kubectl(["get", AGENTS, "--namespace", NAMESPACE]).succeeds();
    install(cluster, settings)?;
    if is_there {
        // The image has the name that it had, and nothing else need have changed.
        for workload in [AGENTS, OPERATOR] {
            cluster
                .kubectl(["rollout", "restart", workload, "--namespace", NAMESPACE])
                .run()?;
        }
        wait_until_ready(cluster)?;
    }
    Ok(())
}

/// Builds the image and puts it on the nodes.
pub fn load_image(cluster: &Cluster) -> anyhow::Result<()> {
    let reference = format!("{}:{}", IMAGE.0, IMAGE.1);
    let build = Program::script("deploy/image/build.sh");
    build
        .args([&reference])
        .within(BUILD_LIMIT)
        .run()
        .context("cannot build the image")?;
    let load = Program::tool("kind").args(["load", "docker-image", "--name", cluster.name(), &reference]);
    load.within(Duration::from_mins(5))
        .run()
        .context("cannot put the image on the nodes")
        .map(drop)
}

/// Installs or upgrades the release with an image that is on the nodes, and waits until every pod is ready.
pub fn install(cluster: &Cluster, settings: &[String]) -> anyhow::Result<()> {
    begin_install(cluster, settings)?;
    wait_until_ready(cluster)
}

/// As a user installs it, without waiting for anything.
pub fn begin_install(cluster: &Cluster, settings: &[String]) -> anyhow::Result<()> {
    let nodes = cluster.nodes()?;
    let control_plane = nodes.first().context("the cluster has no nodes")?;
    let address = control_plane
        .addresses
        .first()
        .context("the control plane has no address")?;
    cluster.apply(&json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "privileged" } },
    }))?;
    let kinds = Program::tool("helm")
        .args(["upgrade", "--install", "fairlead-crds"])
        .args([repository().join("deploy/charts/fairlead-crds")])
        .args([format!("--kubeconfig={}", cluster.kubeconfig().display())])
        .args(["--namespace", NAMESPACE]);
    kinds.run().context("helm cannot install the kinds")?;
    let helm = Program::tool("helm")
        .args(["upgrade", "--install", RELEASE])
        .args([repository().join("deploy/charts/fairlead")])
        .args([format!("--kubeconfig={}", cluster.kubeconfig().display())])
        .args(["--namespace", NAMESPACE])
        .args(["--set", &format!("apiServer.host={address}")])
        .args(["--set", &format!("image.repository={}", IMAGE.0)])
        .args(["--set", &format!("image.tag={}", IMAGE.1)])
        .args(["--set", "image.pullPolicy=Never"])
        .args(settings.iter().flat_map(|setting| ["--set", setting]));
    helm.run().context("helm cannot install the chart").map(drop)
}

/// Waits until every pod of the release is ready.
pub fn wait_until_ready(cluster: &Cluster) -> anyhow::Result<()> {
    for workload in [AGENTS, OPERATOR] {
        cluster
            .kubectl(["rollout", "status", workload, "--namespace", NAMESPACE])
            .args([format!("--timeout={}s", ROLLOUT_LIMIT.as_secs())])
            .within(ROLLOUT_LIMIT + Duration::from_secs(5))
            .run()?;
    }
    Ok(())
}

/// Removes the release and what the agents left in the kernel.
pub fn uninstall(cluster: &Cluster) -> anyhow::Result<()> {
    Program::tool("helm")
        .args(["uninstall", RELEASE, "--ignore-not-found", "--wait"])
        .args([format!("--kubeconfig={}", cluster.kubeconfig().display())])
        .args(["--namespace", NAMESPACE])
        .run()?;
    for node in cluster.nodes()? {
        wait_for("the agent's table to be given up", ROLLOUT_LIMIT, || {
            let gone = cluster.on_node(
                &node.name,
                "! nft list table inet fairlead >/dev/null 2>&1 || nft delete table inet fairlead",
            );
            Ok(gone.succeeds().then_some(()))
        })?;
    }
    Ok(())
}

/// True if kubeadm's kube-proxy has pods.
pub fn has_kube_proxy(cluster: &Cluster) -> anyhow::Result<bool> {
    let sets = cluster.read(["daemonsets", "--namespace=kube-system"])?;
    Ok(crate::cluster::items(&sets).any(|set| {
        set["metadata"]["name"] == "kube-proxy" && set["status"]["desiredNumberScheduled"].as_u64().unwrap_or(0) > 0
    }))
}

/// Takes kube-proxy off every node, in the way that can be taken back: no node has the label that it asks for.
pub fn remove_kube_proxy(cluster: &Cluster) -> anyhow::Result<()> {
    select_nodes(cluster, &json!({ "fairlead.io/kube-proxy": "wanted" }))
}

/// Brings kube-proxy back.
pub fn restore_kube_proxy(cluster: &Cluster) -> anyhow::Result<()> {
    select_nodes(cluster, &json!({ "fairlead.io/kube-proxy": null }))?;
    cluster
        .kubectl([
            "rollout",
            "status",
            "daemonset/kube-proxy",
            "--namespace=kube-system",
            "--timeout=120s",
        ])
        .within(ROLLOUT_LIMIT)
        .run()
        .map(drop)
}

fn select_nodes(cluster: &Cluster, selector: &serde_json::Value) -> anyhow::Result<()> {
    let patch = json!({ "spec": { "template": { "spec": { "nodeSelector": selector } } } });
    cluster
        .kubectl([
            "patch",
            "daemonset",
            "kube-proxy",
            "--namespace=kube-system",
            "--type=strategic",
        ])
        .args(["--patch", &patch.to_string()])
        .run()
        .map(drop)
}

/// Waits until no pod of kube-proxy is left, and none of its rules.
pub fn wait_until_kube_proxy_is_gone(cluster: &Cluster, limit: Duration) -> anyhow::Result<()> {
    wait_for("kube-proxy's pods to go", limit, || {
        Ok((!has_kube_proxy(cluster)?).then_some(()))
    })?;
    for node in cluster.nodes()? {
        wait_for(&format!("kube-proxy's rules to go from {}", node.name), limit, || {
            let left = cluster.on_node(&node.name, "nft list tables").run()?;
            Ok((!left.contains("kube-proxy")).then_some(()))
        })?;
    }
    Ok(())
}

/// Changes over from whatever the cluster has to this proxy alone.
pub fn change_to(cluster: &Cluster, proxy: Proxy, settings: &[String]) -> anyhow::Result<()> {
    match proxy {
        Proxy::Fairlead => {
            deploy(cluster, settings)?;
            if has_kube_proxy(cluster)? {
                remove_kube_proxy(cluster)?;
                wait_until_kube_proxy_is_gone(cluster, ROLLOUT_LIMIT)?;
            }
        }
        Proxy::KubeProxy => {
            let has_set = cluster
                .kubectl(["get", "daemonset", "kube-proxy", "--namespace=kube-system"])
                .succeeds();
            ensure!(
                has_set,
                "this cluster was made without kube-proxy: `cargo e2e up --kube-proxy nftables`"
            );
            restore_kube_proxy(cluster)?;
            uninstall(cluster)?;
        }
    }
    let dns = cluster.kubectl([
        "rollout",
        "status",
        "deployment/coredns",
        "--namespace=kube-system",
        "--timeout=180s",
    ]);
    if !dns.within(Duration::from_secs(190)).succeeds() {
        bail!("CoreDNS does not become ready with {proxy:?}");
    }
    Ok(())
}

/// Who serves Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Proxy {
    /// Our chart.
    Fairlead,
    /// The one that kubeadm installed.
    KubeProxy,
}
