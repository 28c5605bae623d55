//! What happens to clients while something fails or is replaced.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::checks::{expect_no_failure, seconds};
use crate::cluster::Cluster;
use crate::load::{Counts, Load};
use crate::program::wait_for;
use crate::proxy::{self, AGENTS, NAMESPACE};

const LIMIT: Duration = Duration::from_mins(3);
/// The promise for a table that others can delete.
const HEALED_WITHIN: Duration = Duration::from_secs(1);

fn measure(
    cluster: &Cluster,
    name: &str,
    something: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Counts, Duration)> {
    let load = Load::start(cluster, name)?;
    let mut took = Duration::ZERO;
    let counts = load.during(|| {
        let began = Instant::now();
        something()?;
        took = began.elapsed();
        Ok(())
    })?;
    load.end()?;
    Ok((counts, took))
}

fn without_loss(
    cluster: &Cluster,
    name: &str,
    something: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<String>> {
    let (counts, took) = measure(cluster, name, something)?;
    expect_no_failure(&counts)?;
    Ok(vec![format!("{}; {counts}", seconds(took))])
}

pub(super) fn roll_out(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    without_loss(cluster, "roll-out", || {
        cluster
            .kubectl(["rollout", "restart", AGENTS, "--namespace", NAMESPACE])
            .run()?;
        proxy::wait_until_ready(cluster)
    })
}

/// How often the agents' containers were started.
fn restarts(cluster: &Cluster) -> anyhow::Result<u64> {
    let pods = cluster.read([
        "pods",
        "--namespace",
        NAMESPACE,
        "--selector=app.kubernetes.io/component=agent",
    ])?;
    let statuses = crate::cluster::items(&pods)
        .flat_map(|pod| pod["status"]["containerStatuses"].as_array().into_iter().flatten());
    Ok(statuses.filter_map(|status| status["restartCount"].as_u64()).sum())
}

pub(super) fn kill(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    without_loss(cluster, "kill", || {
        let before = restarts(cluster)?;
        let nodes = cluster.nodes()?;
        for node in &nodes {
            cluster
                .on_node(&node.name, "pkill -KILL -f '^/fairlead agent'")
                .run()
                .context("no agent to kill")?;
        }
        let all = u64::try_from(nodes.len()).unwrap_or(u64::MAX);
        wait_for("all agents to be started again", LIMIT, || {
            Ok((restarts(cluster)? >= before + all).then_some(()))
        })?;
        proxy::wait_until_ready(cluster)
    })
}

pub(super) fn api_server(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let control_plane = cluster
        .nodes()?
        .into_iter()
        .next()
        .context("the cluster has no nodes")?;
    without_loss(cluster, "api-server", || {
        let script = "pgrep -x kube-apiserver && pkill -KILL -x kube-apiserver";
        let before = cluster.on_node(&control_plane.name, script).run()?;
        wait_for("another API server", LIMIT, || {
            let now = cluster.on_node(&control_plane.name, "pgrep -x kube-apiserver").run()?;
            Ok((now != before && cluster.kubectl(["get", "--raw", "/readyz"]).succeeds()).then_some(()))
        })?;
        // The agents follow it: what is new is served.
        let after = Load::start(cluster, "api-server-after")?;
        after.wait_for_node_ports(LIMIT)?;
        after.end()
    })
}

pub(super) fn drain(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let node = cluster
        .nodes()?
        .into_iter()
        .next_back()
        .context("the cluster has no nodes")?
        .name;
    let measured = measure(cluster, "drain", || {
        cluster
            .kubectl([
                "drain",
                &node,
                "--ignore-daemonsets",
                "--delete-emptydir-data",
                "--timeout=120s",
            ])
            .within(LIMIT)
            .run()
            .map(drop)
    });
    // Whatever came of it, the next test wants all nodes.
    cluster.kubectl(["uncordon", &node]).run()?;
    let (counts, took) = measured?;
    ensure!(counts.failed_new() == 0, "new connections failed: {counts}");
    Ok(vec![format!(
        "{}; {counts} (connections to the pods that ended are closed by them)",
        seconds(took)
    )])
}

pub(super) fn owned_table(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    without_loss(cluster, "owned-table", || {
        for node in cluster.nodes()? {
            let deleted = cluster.on_node(&node.name, "nft delete table inet fairlead").output()?;
            ensure!(!deleted.status.success(), "the table on {} could be deleted", node.name);
            cluster.on_node(&node.name, "nft list table inet fairlead").run()?;
        }
        Ok(())
    })
}

/// How long the table was away is measured on the node, which asks for one of its maps without a pause until it is there: to call
/// a node takes longer than the table needs.
pub(super) fn shared_table(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    proxy::install(cluster, &["agent.tableOwnership=shared".to_owned()])?;
    let mut healed = Duration::ZERO;
    let (counts, _) = measure(cluster, "shared-table", || {
        for node in cluster.nodes()? {
            let script = "nft delete table inet fairlead && began=$(date +%s%N) \
                && until nft list map inet fairlead services4 >/dev/null 2>&1; do :; done; echo $(($(date +%s%N) - began))";
            let nanoseconds = cluster
                .on_node(&node.name, script)
                .within(Duration::from_secs(30))
                .run()?;
            let nanoseconds = nanoseconds
                .trim()
                .parse()
                .context("the node does not say how long it took")?;
            healed = healed.max(Duration::from_nanos(nanoseconds));
        }
        Ok(())
    })?;
    proxy::install(cluster, &["agent.tableOwnership=owned".to_owned()])?;
    ensure!(healed < HEALED_WITHIN, "the table came back after {healed:?}");
    Ok(vec![format!("back within {healed:.0?} at most; meanwhile {counts}")])
}
