# Sourced by the scripts beside it: where things are, and what each of them needs.
# shellcheck shell=bash disable=SC2034

CLUSTER_SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$CLUSTER_SCRIPTS/versions.env"

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/fairlead
# Never in PATH: dockerd would start the nodes' containerd and runc as its own.
TOOLS=${FAIRLEAD_TOOLS:-$CACHE/tools}
mkdir -p "$TOOLS"

die() {
  echo "$*" >&2
  exit 1
}

# need PROGRAM-OR-FILE PACKAGE...: installs Debian's packages unless the program or file is there.
need() {
  local what=$1; shift
  [[ -e $what ]] || command -v "$what" >/dev/null && return
  command -v apt-get >/dev/null || die "$what is missing; on Debian it is in: $*"
  [[ $(id -u) == 0 ]] || die "$what is missing; as root: apt-get install $*"
  echo "installing $*" >&2
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@")
  "${install[@]}" >/dev/null 2>&1 || { apt-get -qq update && "${install[@]}" >/dev/null; }
}

# exclusively NAME: waits until nobody else on this machine does the same, and keeps others out until the script ends.
exclusively() {
  exec 9>"$CACHE/.$1.lock"
  flock 9
}

# wait_for SECONDS COMMAND...: asks until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.3
  done
}
