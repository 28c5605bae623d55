#!/usr/bin/env bash
# Builds programs that are not ours from Go modules into one folder, and prints its path. What is there in the pinned
# version is kept.
#
# Usage: e2e/cluster/tools.sh [GROUP|PROGRAM...]
#   api-server   kube-apiserver, and an etcd that can report progress, which streamed lists need; Debian's etcd, which cannot.
#                This is what is built when nothing is named
#   cluster      what a cluster of kind's is made of where no registry can be reached
#   upstream     Kubernetes' own end-to-end tests
#   metallb      MetalLB's two programs, the peer of `cargo e2e bench failover`
#
# Needs Go 1.26 and its module proxy, no checkout of anything. Nothing is installed on the machine, but for the compiler and
# libseccomp that runc is built with.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

declare -A GROUPS_OF_PROGRAMS=(
  [api-server]="etcd-debian etcd kube-apiserver"
  [cluster]="kind helm host-local loopback ptp portmap containerd ctr containerd-shim-runc-v2 runc
    etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl kubeadm coredns
    agnhost regression-issue-74839"
  [upstream]="ginkgo e2e.test"
  [metallb]="metallb-controller metallb-speaker"
)

STAMPS=$TOOLS/.versions
mkdir -p "$STAMPS"

# go_build NAME PACKAGE [FLAG...]: from the module in the current folder. A broken-off build leaves nothing behind.
go_build() {
  local name=$1 package=$2; shift 2
  go build -mod=mod -trimpath -buildvcs=false "$@" -o "$TOOLS/.$name.new" "$package"
  mv "$TOOLS/.$name.new" "$TOOLS/$name"
}

# installed PACKAGE VERSION [FLAG...]: a main package of a module that replaces no other.
installed() {
  local name=${1##*/}
  GOBIN=$TOOLS/.new go install -trimpath -ldflags "-s -w" "${@:3}" "$1@$2"
  mv "$TOOLS/.new/$name" "$TOOLS/$name"
}

# Where a module replaces others, its main packages are built from a module of our own that requires it.
module() {
  rm -rf "$TOOLS/src/$1" && mkdir -p "$TOOLS/src/$1" && cd "$TOOLS/src/$1"
  go mod init "build.test/$1" 2>/dev/null
}

etcd() (
  module etcd
  go mod edit -require "go.etcd.io/etcd/server/v3@$ETCD_VERSION"
  go_build etcd go.etcd.io/etcd/server/v3 -ldflags "-s -w"
)

# From the package's file: installing it would start a server.
etcd_debian() (
  command -v apt-get >/dev/null || { echo "no apt-get: the tests with Debian's etcd are skipped" >&2; return; }
  rm -rf "$TOOLS/src/debian" && mkdir -p "$TOOLS/src/debian" && cd "$TOOLS/src/debian"
  fetch() { apt-get -qq -o APT::Sandbox::User=root download etcd-server; }
  fetch || { apt-get -qq update && fetch; }
  dpkg-deb -x etcd-server_*.deb .
  [[ $(usr/bin/etcd --version) == *" $DEBIAN_ETCD_VERSION"* ]] || { echo "this Debian's etcd is another version" >&2; return; }
  mv usr/bin/etcd "$TOOLS/etcd-debian"
)

# Kubernetes' own go.mod, with the staging folders, which a module's archive lacks, replaced by their releases.
enter_kubernetes() {
  local download source_folder module_file sums
  download=$(go mod download -json "k8s.io/kubernetes@$KUBERNETES_VERSION")
  source_folder=$(sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p' <<<"$download")
  module_file=$source_folder/go.mod sums=$source_folder/go.sum
  mkdir -p "$TOOLS/src/kubernetes" && cd "$TOOLS/src/kubernetes"
  sed -E "s#=> \./staging/src/(\S+)#=> \1 ${KUBERNETES_VERSION/#v1/v0}#" "$module_file" >go.mod
  cat "$sums" >go.sum
  go mod edit -module build.test/kubernetes -require "k8s.io/kubernetes@$KUBERNETES_VERSION"
}

# Without a version a server serves no API that came after 1.0, and clients refuse to talk to it.
kubernetes_version_flags() {
  local package
  printf -- '-s -w'
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf ' -X %s' "$package.gitVersion=$KUBERNETES_VERSION" "$package.gitTreeState=clean" "$package.gitMajor=1" \
      "$package.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION")" "$package.gitCommit=$(printf '0%.0s' {1..40})" \
      "$package.buildDate=2026-01-01T00:00:00Z"
  done
}

# kubernetes NAME PACKAGE: one of its programs, or one that its go.mod pins.
kubernetes() (
  enter_kubernetes
  go_build "$1" "$2" -ldflags "$(kubernetes_version_flags)"
)

upstream_tests() (
  enter_kubernetes
  go test -c -mod=mod -trimpath -ldflags "$(kubernetes_version_flags)" -o "$TOOLS/.e2e.test.new" k8s.io/kubernetes/test/e2e
  mv "$TOOLS/.e2e.test.new" "$TOOLS/e2e.test"
)

runc() {
  need gcc gcc libc6-dev
  need pkg-config pkg-config
  need /usr/include/seccomp.h libseccomp-dev
  CGO_ENABLED=1 installed github.com/opencontainers/runc "$RUNC_VERSION" -tags seccomp
}

# metallb PROGRAM: its packages' own names say too little in a folder with others.
metallb() {
  GOBIN=$TOOLS/.new go install -trimpath -ldflags "-s -w" "go.universe.tf/metallb/$1@$METALLB_VERSION"
  mv "$TOOLS/.new/$1" "$TOOLS/metallb-$1"
}

# build PROGRAM VERSION COMMAND...: runs the command, which puts the program into $TOOLS, unless this version is there.
build() {
  local program=$1 version=$2 began=$SECONDS lock; shift 2
  [[ -x $TOOLS/$program && $(cat "$STAMPS/$program" 2>/dev/null) == "$version" ]] && return
  # Somebody else may be building it.
  exec {lock}>"$STAMPS/.lock"
  flock "$lock"
  if [[ ! -x $TOOLS/$program || $(cat "$STAMPS/$program" 2>/dev/null) != "$version" ]]; then
    "$@"
    if [[ -x $TOOLS/$program ]]; then
      echo "$version" >"$STAMPS/$program"
      echo "built $program $version in $((SECONDS - began)) s" >&2
    fi
  fi
  exec {lock}>&-
}

# What is known to be built, and how.
program() {
  local name=$1
  case $name in
    etcd-debian) build "$name" "$DEBIAN_ETCD_VERSION" etcd_debian ;;
    etcd) build "$name" "$ETCD_VERSION" etcd ;;
    kind) build "$name" "$KIND_VERSION" installed sigs.k8s.io/kind "$KIND_VERSION" ;;
    helm) build "$name" "$HELM_VERSION" installed helm.sh/helm/v4/cmd/helm "$HELM_VERSION" ;;
    coredns) build "$name" "$COREDNS_VERSION" installed github.com/coredns/coredns "$COREDNS_VERSION" ;;
    runc) build "$name" "$RUNC_VERSION" runc ;;
    host-local) cni_plugin ipam/host-local ;;
    loopback | ptp) cni_plugin "main/$name" ;;
    portmap) cni_plugin meta/portmap ;;
    containerd | ctr | containerd-shim-runc-v2)
      build "$name" "$CONTAINERD_VERSION" installed "github.com/containerd/containerd/v2/cmd/$name" \
        "$CONTAINERD_VERSION" -tags "no_aufs no_zfs no_btrfs no_devmapper"
      ;;
    kube-* | kubelet | kubectl | kubeadm)
      build "$name" "$KUBERNETES_VERSION" kubernetes "$name" "k8s.io/kubernetes/cmd/$name"
      ;;
    agnhost | regression-issue-74839)
      build "$name" "$KUBERNETES_VERSION" kubernetes "$name" "k8s.io/kubernetes/test/images/$name"
      ;;
    ginkgo) build "$name" "$KUBERNETES_VERSION" kubernetes "$name" github.com/onsi/ginkgo/v2/ginkgo ;;
    metallb-controller | metallb-speaker) build "$name" "$METALLB_VERSION" metallb "${name#metallb-}" ;;
    e2e.test) build "$name" "$KUBERNETES_VERSION" upstream_tests ;;
    *) die "no group and no program is named $name" ;;
  esac
}

cni_plugin() {
  build "${1#*/}" "$CNI_PLUGINS_VERSION" installed \
    "github.com/containernetworking/plugins/plugins/$1" "$CNI_PLUGINS_VERSION"
}

command -v go >/dev/null || die "Go is missing: https://go.dev/dl"
export CGO_ENABLED=0
[[ $# -gt 0 ]] || set -- api-server
for argument; do
  # shellcheck disable=SC2086  # a list
  for name in ${GROUPS_OF_PROGRAMS[$argument]:-$argument}; do
    program "$name"
  done
done
echo "$TOOLS"
