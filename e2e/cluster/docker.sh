#!/usr/bin/env bash
# Makes sure that there is a Docker daemon that runs privileged containers. On Debian, as root, it installs and starts one;
# otherwise it says what is missing. Usage: e2e/cluster/docker.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"

STATE=$CACHE/docker
SETTINGS=/etc/docker/daemon.json
# A runtime for machines that may not grant CAP_SYS_RESOURCE, which `docker run --privileged` asks for.
RUNTIME=without-sys-resource

is_up() { docker version >/dev/null 2>&1; }
may_grant_sys_resource() { ((0x$(awk '$1 == "CapBnd:" { print $2 }' /proc/self/status) >> 24 & 1)); }

# Three nodes run three systemds and kubelets, and those watch more files than a fresh kernel allows.
raise_inotify_limits() {
  local limit file
  for limit in max_user_instances=1024 max_user_watches=524288; do
    file=/proc/sys/fs/inotify/${limit%=*}
    (($(<"$file") >= ${limit#*=})) || echo "${limit#*=}" 2>/dev/null >"$file" || echo "cannot set $file" >&2
  done
}

use_runtime() {
  need jq jq
  install -D -m 755 "$CLUSTER_SCRIPTS/runc-$RUNTIME" "/usr/local/sbin/runc-$RUNTIME"
  mkdir -p "${SETTINGS%/*}"
  [[ -s $SETTINGS ]] || echo '{}' >"$SETTINGS"
  jq --arg name "$RUNTIME" '.runtimes[$name].path = "/usr/local/sbin/runc-\($name)" | ."default-runtime" = $name' \
    "$SETTINGS" >"$SETTINGS.new"
  mv "$SETTINGS.new" "$SETTINGS"
  # A daemon that runs takes it over when it is told to read its settings again.
  if is_up && [[ $(docker info -f '{{.DefaultRuntime}}') != "$RUNTIME" ]]; then
    kill -HUP "$(</var/run/docker.pid)"
    wait_for 30 eval '[[ $(docker info -f "{{.DefaultRuntime}}") == '"$RUNTIME"' ]]'
  fi
}

exclusively docker
if ! is_up || ! may_grant_sys_resource; then
  [[ $(id -u) == 0 ]] || die "Docker does not answer; start it, or run this as root"
  need dockerd docker.io
  need docker docker-cli
  need /usr/sbin/iptables iptables
  may_grant_sys_resource || use_runtime
  raise_inotify_limits
fi
if ! is_up; then
  mkdir -p "$STATE"
  # It outlives this script, and must not keep its lock.
  setsid dockerd >"$STATE/dockerd.log" 2>&1 </dev/null 9>&- &
  wait_for 90 is_up || { tail -5 "$STATE/dockerd.log" >&2; die "dockerd does not answer; its log is $STATE/dockerd.log"; }
fi
docker info -f 'docker {{.ServerVersion}}, runtime {{.DefaultRuntime}}, cgroups v{{.CgroupVersion}}, {{.Driver}}'
