//! Clients in pods, one pod on each node.
//!
//! They count into files, which are read before and after: what the API server does meanwhile is nothing to them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::Context;
use serde_json::{Value, json};

use super::{AGNHOST, Count};
use crate::cluster::{Cluster, items};

/// What each client has counted so far: new connections, and requests on an established one.
pub(super) type Counted = BTreeMap<String, [Count; 2]>;

/// Two loops for each address. bash speaks TCP by itself, and so keeps a connection open without any other program. To write to a
/// connection that the server has reset would end it with a signal.
const SCRIPT: &str = r#"
trap '' PIPE
count() { printf '%s %s\n' "$2" "$3" >"/tmp/$1.new" && mv "/tmp/$1.new" "/tmp/$1"; }
ask() {
  local line length=0
  printf 'GET /hostname HTTP/1.1\r\nHost: server\r\n\r\n' >&3 || return
  while read -r -t 2 -u 3 line; do
    line=${line%$'\r'}
    case $line in
      '') read -r -t 2 -N "$length" -u 3 line && [ "$length" -gt 0 ]; return ;;
      [Cc]ontent-[Ll]ength:*) length=${line#*: } ;;
    esac
  done
  return 1
}
new() {
  local requests=0 failed=0 url="http://$2/hostname"
  case $2 in *:*) url="http://[$2]/hostname" ;; esac
  while :; do
    curl -gsS -o /dev/null --max-time 2 "$url" 2>>/tmp/errors || failed=$((failed + 1))
    requests=$((requests + 1))
    count "$1-new" "$requests" "$failed"
    sleep 0.02
  done
}
established() {
  local requests=0 failed=0
  while :; do
    exec 3<>"/dev/tcp/$2/80" || { failed=$((failed + 1)); count "$1-established" "$requests" "$failed"; sleep 0.1; continue; }
    while ask; do
      requests=$((requests + 1))
      count "$1-established" "$requests" "$failed"
      sleep 0.05
    done
    requests=$((requests + 1)) failed=$((failed + 1))
    count "$1-established" "$requests" "$failed"
    exec 3>&-
  done
}
number=0
for address; do
  new "$number" "$address" &
  established "$number" "$address" 2>>/tmp/errors &
  number=$((number + 1))
done
trap 'kill $(jobs -p); exit' TERM
wait
"#;

/// The pods.
pub(super) fn clients(namespace: &str, ips: &[IpAddr]) -> Value {
    let labels = json!({ "app": "clients" });
    let arguments = ["-c", SCRIPT, "clients"].map(str::to_owned).into_iter();
    let arguments: Vec<_> = arguments.chain(ips.iter().map(ToString::to_string)).collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": "clients", "namespace": namespace },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "tolerations": [{ "operator": "Exists" }],
                    "containers": [{ "name": "clients", "image": AGNHOST, "command": ["bash"], "args": arguments }],
                },
            },
        },
    })
}

/// Reads all counters.
pub(super) fn read(cluster: &Cluster, namespace: &str) -> anyhow::Result<Counted> {
    let pods = cluster.read(["pods", "--namespace", namespace, "--selector=app=clients"])?;
    let mut counted = Counted::new();
    for pod in items(&pods) {
        let name = pod["metadata"]["name"].as_str().context("a pod has no name")?;
        let files = "cd /tmp && for file in *-new *-established; do echo \"$file $(cat $file)\"; done";
        let text = cluster
            .kubectl(["exec", "--namespace", namespace, name, "--", "sh", "-c", files])
            .run()?;
        for line in text.lines() {
            let (client, kind, count) = parse(line).with_context(|| format!("`{line}` is no counter"))?;
            counted.entry(format!("{name}/{client}")).or_default()[kind] = count;
        }
    }
    Ok(counted)
}

fn parse(line: &str) -> Option<(&str, usize, Count)> {
    let (file, counts) = line.split_once(' ')?;
    let (client, kind) = file.split_once('-')?;
    let (requests, failed) = counts.split_once(' ')?;
    let count = Count {
        requests: requests.parse().ok()?,
        failed: failed.parse().ok()?,
    };
    Some((client, usize::from(kind == "established"), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_names_its_client_and_kind() {
        let count = Count {
            requests: 12,
            failed: 3,
        };
        assert_eq!(parse("0-new 12 3"), Some(("0", 0, count)));
        assert_eq!(parse("1-established 12 3"), Some(("1", 1, count)));
        assert_eq!(parse("*-new cat: no such file"), None);
    }
}
