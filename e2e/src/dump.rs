//! What somebody wants to see after a failure: pods, events, the agents' logs, each node's rules.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cluster::Cluster;
use crate::program::{Program, out};
use crate::proxy::NAMESPACE;

/// Writes it into a folder, and gives that. What cannot be had is left out: a cluster that is half broken is when this is
/// wanted most.
pub fn dump(cluster: &Cluster, name: &str) -> anyhow::Result<PathBuf> {
    let folder = out().join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let everywhere = "--all-namespaces";
    keep(
        &folder,
        "pods",
        &cluster.kubectl(["get", "pods", everywhere, "--output=wide"]),
    );
    keep(
        &folder,
        "pods-described",
        &cluster.kubectl(["describe", "pods", everywhere]),
    );
    keep(
        &folder,
        "events",
        &cluster.kubectl(["get", "events", everywhere, "--sort-by=.lastTimestamp"]),
    );
    keep(
        &folder,
        "services",
        &cluster.kubectl(["get", "services,endpointslices", everywhere, "--output=yaml"]),
    );
    let logs = [
        "logs",
        "--namespace",
        NAMESPACE,
        "--selector=app.kubernetes.io/name=fairlead",
        "--prefix",
        "--tail=-1",
    ];
    keep(&folder, "fairlead", &cluster.kubectl(logs));
    keep(&folder, "fairlead-before", &cluster.kubectl(logs).args(["--previous"]));
    for node in cluster.nodes().unwrap_or_default() {
        for (what, script) in [
            ("nft", "nft list ruleset"),
            ("addresses", "ip address; ip route; ip -6 route"),
            ("kubelet", "journalctl --no-pager -u kubelet -n 2000"),
            ("conntrack", "conntrack -L 2>/dev/null"),
        ] {
            keep(
                &folder,
                &format!("{}-{what}", node.name),
                &cluster.on_node(&node.name, script),
            );
        }
    }
    Ok(folder)
}

fn keep(folder: &Path, name: &str, program: &Program) {
    if let Ok(output) = program.output() {
        let text = [output.stdout, output.stderr].concat();
        // Nothing to do about a full disk here.
        let _ = fs::write(folder.join(name), text);
    }
}
