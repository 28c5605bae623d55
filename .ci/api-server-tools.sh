#!/usr/bin/env bash
# Puts what the tests against a real API server start into one folder, and prints its path: kube-apiserver, an etcd that
# can report progress, which streamed lists need, and Debian's etcd (3.4), which cannot.
#
# Usage: .ci/api-server-tools.sh [PROGRAM...], with more of Kubernetes' programs to build, such as kube-proxy.
# What is there in the pinned version is kept. Needs Go 1.26 and its module proxy, no checkout of Kubernetes and no root;
# nothing is installed on the machine.
set -euo pipefail

KUBERNETES_VERSION=v1.37.2
ETCD_VERSION=v3.7.3
DEBIAN_ETCD_VERSION=3.4.23

TOOLS=${FAIRLEAD_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead/tools}
mkdir -p "$TOOLS"

# One build at a time: .ci/run and a person may both start it.
exec 9>"$TOOLS/.lock"
flock 9

# is_there NAME VERSION: the program says that it is this version.
is_there() {
  local said
  said=$("$TOOLS/$1" --version 2>/dev/null) && [[ ${said%%$'\n'*} == *[\ v]"${2#v}" ]]
}

# build NAME PACKAGE LDFLAGS: builds from the module in the current folder. A broken-off build leaves nothing behind.
build() {
  local began=$SECONDS
  CGO_ENABLED=0 go build -mod=mod -trimpath -buildvcs=false -ldflags "-s -w $3" -o "$TOOLS/.$1.new" "$2"
  mv "$TOOLS/.$1.new" "$TOOLS/$1"
  echo "built $1 in $((SECONDS - began)) s" >&2
}

# Kubernetes' own go.mod, with the staging folders, which a module's archive lacks, replaced by their releases.
# kubernetes COMMAND: builds one of its programs.
kubernetes() (
  local download source_folder module_file sums package flags=
  download=$(go mod download -json "k8s.io/kubernetes@$KUBERNETES_VERSION")
  source_folder=$(sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p' <<<"$download")
  module_file=$source_folder/go.mod sums=$source_folder/go.sum
  mkdir -p "$TOOLS/src/kubernetes" && cd "$TOOLS/src/kubernetes"
  sed -E "s#=> \./staging/src/(\S+)#=> \1 ${KUBERNETES_VERSION/#v1/v0}#" "$module_file" >go.mod
  cat "$sums" >go.sum
  go mod edit -module build.test/kubernetes -require "k8s.io/kubernetes@$KUBERNETES_VERSION"
  # Without a version the server serves no API that came after 1.0.
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$KUBERNETES_VERSION -X $package.gitTreeState=clean"
    flags+=" -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")"
    flags+=" -X $package.gitCommit=$(printf '0%.0s' {1..40}) -X $package.buildDate=2026-01-01T00:00:00Z"
  done
  build "$1" "k8s.io/kubernetes/cmd/$1" "$flags"
)

etcd() (
  rm -rf "$TOOLS/src/etcd" && mkdir -p "$TOOLS/src/etcd" && cd "$TOOLS/src/etcd"
  go mod init build.test/etcd 2>/dev/null
  go mod edit -require "go.etcd.io/etcd/server/v3@$ETCD_VERSION"
  build etcd go.etcd.io/etcd/server/v3 ""
)

# From the package's file: installing it would start a server.
etcd_debian() (
  command -v apt-get >/dev/null || { echo "no apt-get: the tests with Debian's etcd are skipped" >&2; return; }
  rm -rf "$TOOLS/src/debian" && mkdir -p "$TOOLS/src/debian" && cd "$TOOLS/src/debian"
  apt-get -qq download etcd-server || { apt-get -qq update && apt-get -qq download etcd-server; }
  dpkg-deb -x etcd-server_*.deb .
  mv usr/bin/etcd "$TOOLS/etcd-debian"
  is_there etcd-debian "$DEBIAN_ETCD_VERSION" || { echo "this Debian's etcd is another version" >&2; rm "$TOOLS/etcd-debian"; }
)

is_there etcd-debian "$DEBIAN_ETCD_VERSION" || etcd_debian
is_there etcd "$ETCD_VERSION" || etcd
for program in kube-apiserver "$@"; do
  is_there "$program" "$KUBERNETES_VERSION" || kubernetes "$program"
done
echo "$TOOLS"
