#!/usr/bin/env bash
# Checks the Helm charts: lint, what the schema and the templates refuse, and renders against those that are checked in.
#
# Usage: deploy/check.sh [--update]   --update writes the renders anew
# HELM names the program; otherwise it is the one in PATH, or the one that e2e/cluster/tools.sh builds.
set -euo pipefail
cd "$(dirname "$0")"

TOOLS=${FAIRLEAD_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead/tools}
HELM=${HELM:-$(command -v helm || echo "$TOOLS/helm")}
CHART=charts/fairlead
CRDS=charts/fairlead-crds
GOLDEN=$CHART/tests/golden
MODE=${1:-}
[[ -x $HELM ]] || { echo "helm is missing; e2e/cluster/tools.sh helm builds it" >&2; exit 1; }

failures=0
complain() {
  echo "$*" >&2
  failures=$((failures + 1))
}

render() { "$HELM" template fairlead "$CHART" --namespace fairlead-system "$@"; }

# golden NAME ARGUMENT...: what the chart makes of these values.
golden() {
  local name=$1 file=$GOLDEN/$1.yaml made; shift
  made=$(render "$@") || { complain "$name cannot be rendered"; return; }
  if [[ $MODE == --update ]]; then
    mkdir -p "$GOLDEN"
    echo "$made" >"$file"
  elif ! diff -u "$file" <(echo "$made") >&2; then
    complain "$name is rendered otherwise than in deploy/$file; deploy/check.sh --update accepts it"
  fi
}

# refused TEXT ARGUMENT...: such values are refused with a message that has the text.
refused() {
  local text=$1 said; shift
  if said=$(render "$@" 2>&1 >/dev/null); then
    complain "not refused: $*"
  elif [[ $said != *"$text"* ]]; then
    complain "refused without naming $text: $*: $said"
  fi
}

host=(--set apiServer.host=172.18.0.2)
"$HELM" lint --quiet --strict "${host[@]}" "$CHART" || complain "helm lint finds faults"

golden minimal "${host[@]}"
golden ha "${host[@]}" --values $CHART/values-ha.yaml
golden eks --set apiServer.host=abc.eks.amazonaws.com --values $CHART/values-eks.yaml
golden baremetal "${host[@]}" --values $CHART/values-baremetal.yaml
golden kubeconfig --set agent.kubeconfig.configMap.name=kube-proxy
golden everything "${host[@]}" --values $CHART/tests/everything.yaml
golden agent "${host[@]}" --set operator.enabled=false
golden none --set replaceKubeProxy=false --set operator.enabled=false

refused "apiServer.host"
refused "agent.kubeconfig.configMap.name" --set agent.kubeconfig.hostPath=/a --set agent.kubeconfig.configMap.name=b
refused "/apiServer/host" --set apiServer.host=https://172.18.0.2
refused "/apiServer/port" "${host[@]}" --set apiServer.port=65536
refused "/agent/detectLocalMode" "${host[@]}" --set agent.detectLocalMode=Guess
refused "clusterCIDRs" "${host[@]}" --set agent.detectLocalMode=ClusterCIDR
refused "agent.podBridgeInterface" "${host[@]}" --set agent.detectLocalMode=BridgeInterface
refused "agent.podInterfaceNamePrefix" "${host[@]}" --set agent.detectLocalMode=InterfaceNamePrefix
refused "/clusterCIDRs/0" "${host[@]}" --set 'clusterCIDRs={10.244.0.0}'
refused "/agent/nodePortAddresses/0" "${host[@]}" --set 'agent.nodePortAddresses={everywhere}'
refused "/agent/tableOwnership" "${host[@]}" --set agent.tableOwnership=mine
refused "/agent/conntrack/tcpTimeoutEstablished" "${host[@]}" --set agent.conntrack.tcpTimeoutEstablished=soon
refused "/agent/conntrack/min" "${host[@]}" --set agent.conntrack.min=-1
refused "/agent/probeBindAddress" "${host[@]}" --set agent.probeBindAddress=10246
refused "/agent/updateStrategy/maxUnavailable" "${host[@]}" --set agent.updateStrategy.maxUnavailable=0
refused "/image/pullPolicy" "${host[@]}" --set image.pullPolicy=Sometimes
refused "/image/digest" "${host[@]}" --set image.digest=sha256:1
refused "/logging/level" "${host[@]}" --set logging.level=loud
refused "'agnet'" "${host[@]}" --set agnet.masqueradeAll=true
refused "'masquerade'" "${host[@]}" --set agent.masquerade=true
for what in serviceMonitor prometheusRule dashboard; do
  refused "agent.metricsBindAddress" "${host[@]}" --set monitoring.$what.enabled=true
done
refused "/monitoring/serviceMonitor/interval" "${host[@]}" --set monitoring.serviceMonitor.interval=often
refused "/operator/replicas" "${host[@]}" --set operator.replicas=0
refused "/operator/leaderElection/leaseDuration" "${host[@]}" --set operator.leaderElection.leaseDuration=1500ms
refused "/operator/probePort" "${host[@]}" --set operator.probePort=80
refused "'replica'" "${host[@]}" --set operator.replica=3
refused "/replaceKubeProxy" "${host[@]}" --set-string replaceKubeProxy=yes

# What agents and operators may do, whatever the values: no wildcard, no privilege, and of Secrets one of the namespace by its name.
secrets_beyond() {
  awk '
    /^kind:/ { kind = $2 }
    /resources: \[secrets\]/ { open = NR; if (kind != "Role") print NR ": " $0; next }
    open && NR == open + 1 { if ($0 !~ /resourceNames: \[[a-z0-9.-]+\]$|verbs: \[create\]$/) print NR ": " $0; open = 0; next }
    /secrets/ && !/serviceaccount|imagePullSecrets/ { print NR ": " $0 }
  ' "$1"
}
for file in "$GOLDEN"/*.yaml; do
  if grep -nE '"\*"|\[.*\*.*\]|privileged: true|allowPrivilegeEscalation: true' "$file" >&2; then
    complain "$file grants more than is needed"
  fi
  if beyond=$(secrets_beyond "$file") && [[ -n $beyond ]]; then
    complain "$file grants more of Secrets than is needed: $beyond"
  fi
done

# Every metric of alerts and dashboard is one of the program's. Its encoder adds the endings.
METRICS=(../operator/src/agent/metrics/*.rs ../operator/src/agent/announce/metrics.rs ../operator/src/operator/metrics.rs ../operator/src/process_metrics.rs)
for metric in $(grep -ohE '\b(fairlead|kubeproxy|process)_[a-z_]+' $CHART/files/dashboard.json $CHART/templates/monitoring/rule.yaml | sort -u); do
  bare=$(sed -E 's/_(bucket|sum|count|total|info)$//' <<<"$metric")
  if ! grep -qE "\"(${bare#*_}|$bare)(_total)?\"" "${METRICS[@]}"; then
    complain "the program has no metric $metric"
  fi
done

# Every flag that the chart sets is one of the program's.
for flag in $(sed -nE 's/^ +- --([a-z-]+).*/\1/p' $CHART/templates/{agent/daemonset,operator/deployment}.yaml | sort -u); do
  if ! grep -rqE "^ +(pub )?${flag//-/_}:|(long|name) = \"$flag\"" ../operator/src; then
    complain "the program has no flag --$flag"
  fi
done

# The definitions of our kinds are rendered as they are, whole, and stay when the chart goes.
"$HELM" lint --quiet --strict "$CRDS" || complain "helm lint finds faults in $CRDS"
rendered=$("$HELM" template fairlead-crds "$CRDS") || complain "$CRDS cannot be rendered"
definitions() { grep -hvE '^(#|---|$)' "$@"; }
if ! diff -u <(definitions "$CRDS"/templates/*.yaml) <(definitions <<<"$rendered") >&2; then
  complain "helm changes the definitions in deploy/$CRDS"
fi
for file in "$CRDS"/templates/*.yaml; do
  kind=$(sed -nE 's/^    kind: //p' "$file")
  grep -q "^    helm.sh/resource-policy: keep$" "$file" || complain "helm uninstall would delete $file and every object of it"
  grep -q "kind: $kind$" "$CRDS/Chart.yaml" || complain "deploy/$CRDS/Chart.yaml does not list $kind"
done

# The table of values is made of the comments in values.yaml.
table() {
  python3 - "$CHART/values.yaml" <<'PYTHON'
import re
import sys

path, text, rows = [], [], []
for line in open(sys.argv[1]):
    comment = re.match(r" *# (?:-- )?(.*)", line)
    if re.match(r" *# -- ", line):
        text = [comment[1]]
    elif comment and text:
        text.append(comment[1])
    elif key := re.match(r"( *)([A-Za-z][A-Za-z0-9]*):(?: (.*))?$", line):
        path[len(key[1]) // 2 :] = [key[2]]
        if text:
            about = " ".join(part for part in text if not part.startswith("@"))
            rows.append(f"| `{'.'.join(path)}` | {about} | {f'`{key[3]}`' if key[3] else ''} |")
        text = []
    else:
        text = []
print("| value | what | default |\n|---|---|---|")
print("\n".join(rows))
PYTHON
}
begin='<!-- values: deploy/check.sh --update -->' end='<!-- end of values -->'
with_table() {
  sed "/$(sed 's#/#\\/#g' <<<"$begin")/q" $CHART/README.md
  table
  sed -n "/$end/,\$p" $CHART/README.md
}
if [[ $MODE == --update ]]; then
  with_table >$CHART/README.md.new
  mv $CHART/README.md.new $CHART/README.md
elif ! diff -u $CHART/README.md <(with_table) >&2; then
  complain "the table of values in deploy/$CHART/README.md is not that of values.yaml; deploy/check.sh --update makes it"
fi

((failures == 0)) || { echo "$failures faults" >&2; exit 1; }
echo "the charts are as they should be"
