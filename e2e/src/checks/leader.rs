//! The operator's replicas: one leads, and hands over.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::checks::seconds;
use crate::cluster::Cluster;
use crate::program::wait_for;
use crate::proxy::{self, NAMESPACE};

const LIMIT: Duration = Duration::from_mins(1);
/// From the leader's end to the next one's beginning.
const HANDS_OVER_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    proxy::wait_until_ready(cluster)?;
    // One that was uninstalled may not have had the right any more to give the lease back.
    let first = wait_for("a leader", LIMIT, || {
        let leader = leader(cluster)?;
        Ok(leader.filter(|pod| {
            cluster
                .kubectl(["get", "pod", pod, "--namespace", NAMESPACE])
                .succeeds()
        }))
    })?;
    let begun = Instant::now();
    cluster
        .kubectl(["delete", "pod", &first, "--namespace", NAMESPACE, "--wait=false"])
        .run()?;
    let second = wait_for("another leader", LIMIT, || {
        Ok(leader(cluster)?.filter(|leader| *leader != first))
    })?;
    let took = begun.elapsed();
    ensure!(took < HANDS_OVER_WITHIN, "{second} leads after {}", seconds(took));
    proxy::wait_until_ready(cluster)?;
    Ok(vec![format!("{first} deleted → {second} leads: {}", seconds(took))])
}

/// The pod that holds the lease.
fn leader(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    let lease = cluster.read(["lease", "fairlead-operator", "--namespace", NAMESPACE])?;
    let holder = lease["spec"]["holderIdentity"]
        .as_str()
        .context("the lease has no holder")?;
    // What follows is random.
    let pod = holder.rsplit_once('_').map(|(pod, _)| pod.to_owned());
    Ok(pod.filter(|pod| !pod.is_empty()))
}
