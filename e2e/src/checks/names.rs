//! How a program in a pod finds a Service: environment variables, which kubelet sets, and DNS names.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::cluster::Cluster;
use crate::load::{AGNHOST, Load};

const NAMESPACE: &str = "names";

/// Every name that a Service has in its own namespace and from another, and what comes with it.
const SCRIPT: &str = r#"
set -eu
ask() { printf '%s ' "$1"; curl -gsS --max-time 5 --retry 5 --retry-all-errors "http://$1/hostname"; echo; }
host=$SERVER_SERVICE_HOST
case $host in *:*) host="[$host]" ;; esac
ask "$host:$SERVER_SERVICE_PORT"
ask "$host:$SERVER_SERVICE_PORT_HTTP"
ask server
ask server.names
ask server.names.svc
ask server.names.svc.cluster.local
ask server.names.svc.cluster.local.
port=$(dig +short +search _http._tcp.server SRV | awk '{ print $3 }')
ask "server:$port"
for type in A AAAA; do
  for address in $(dig +short server.names.svc.cluster.local "$type"); do
    case $address in *:*) ask "[$address]" ;; *) ask "$address" ;; esac
  done
done
"#;

pub(super) fn run(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let load = Load::start(cluster, NAMESPACE)?;
    // After the Service: kubelet sets variables for what is there when a pod starts.
    cluster.apply(&json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "client", "namespace": NAMESPACE },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "client", "image": AGNHOST, "command": ["bash", "-c", SCRIPT] }],
        },
    }))?;
    cluster
        .kubectl([
            "wait",
            "--for=jsonpath={.status.phase}=Succeeded",
            "pod/client",
            "--namespace",
            NAMESPACE,
        ])
        .args(["--timeout=90s"])
        .within(Duration::from_secs(95))
        .run()
        .with_context(|| {
            cluster
                .kubectl(["logs", "client", "--namespace", NAMESPACE])
                .run()
                .unwrap_or_default()
        })?;
    let log = cluster.kubectl(["logs", "client", "--namespace", NAMESPACE]).run()?;
    let answers: Vec<_> = log.lines().filter_map(|line| line.split_once(' ')).collect();
    ensure!(answers.len() >= 9, "not every name was asked:\n{log}");
    for (name, server) in &answers {
        ensure!(server.starts_with("server-"), "{name} was answered by `{server}`");
    }
    load.end()?;
    let names: Vec<_> = answers.iter().map(|(name, _)| *name).collect();
    Ok(vec![format!("answered: {}", names.join(", "))])
}
