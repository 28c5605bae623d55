#!/usr/bin/env bash
# Makes kind's node image where no registry can be reached, from Go modules and Debian packages, with the images of the
# control plane and of Kubernetes' own tests already in its containerd. Prints the image's name. Needs root.
#
# Usage: e2e/cluster/node-image.sh
#
# All images in it have one layer: containerd inside of Docker cannot mount a layer over another while the image is built,
# but unpacks the lowest without a mount.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

NODE_IMAGE=fairlead-e2e/node:$KUBERNETES_VERSION
NODE_PACKAGES=(bash ca-certificates conntrack curl ethtool iproute2 iptables iputils-ping jq kmod libseccomp2 mount
  nftables pigz procps systemd tcpdump util-linux)
# What the pods of upstream's tests run: shells and clients in agnhost, a resolver linked to glibc, an nginx that only has to
# be there; and what somebody wants who looks into a failure.
# kube-proxy needs nft and iptables.
TEST_PACKAGES=(bash bind9-dnsutils busybox-static conntrack curl iperf iproute2 iptables iputils-ping jq kmod
  netcat-openbsd nftables nginx-light procps socat tcpdump util-linux wget)
BUILDER=fairlead-e2e-node-builder
WORK=$CACHE/node-image
export LC_ALL=C

[[ $(id -u) == 0 ]] || die "the node image can only be built as root"
need jq jq
need debootstrap debootstrap
need gcc gcc libc6-dev
exclusively node-image
"$CLUSTER_SCRIPTS/tools.sh" cluster >/dev/null

go_module() { go mod download -json "$1" | jq -r .Dir; }
KUBERNETES=$(go_module "k8s.io/kubernetes@$KUBERNETES_VERSION")
KIND_FILES=$(go_module "sigs.k8s.io/kind@$KIND_VERSION")/images/base/files

key=$(cat "$CLUSTER_SCRIPTS"/{node-image,lib,tools}.sh "$CLUSTER_SCRIPTS/versions.env" | sha256sum | cut -c1-16)
if [[ $(docker image inspect -f '{{index .Config.Labels "fairlead.key"}}' "$NODE_IMAGE" 2>/dev/null) == "$key" ]]; then
  echo "$NODE_IMAGE"
  exit
fi

# --- building blocks -----------------------------------------------------------------------------------------------------

# The mirror that this machine's own apt uses for the suite; without one debootstrap has its default.
mirror() {
  # shellcheck disable=SC2016  # apt expands it
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' "Codename: $DEBIAN_SUITE" | sort -u | head -1
}

# debian NAME PACKAGE...: prints the path of a tar of a small Debian with these packages.
debian() {
  local name=$1; shift
  local tree=$WORK/$name tar
  tar=$tree-$(echo "$DEBIAN_SUITE" "$@" | sha256sum | cut -c1-12).tar
  if [[ ! -f $tar ]]; then
    rm -rf --one-file-system "$tree" "$tree"-*.tar
    mkdir -p "$tree" "$WORK/packages"
    # shellcheck disable=SC2046  # no mirror is no argument
    debootstrap --variant=minbase --cache-dir="$WORK/packages" --include="$(IFS=,; echo "$*")" \
      "$DEBIAN_SUITE" "$tree" $(mirror) >"$tree.log" 2>&1 || die "debootstrap failed: $tree.log"
    rm -rf "$tree"/var/cache/apt/* "$tree"/var/lib/apt/lists/* "$tree"/usr/share/{doc,man,locale,info}/*
    tar -C "$tree" --numeric-owner -cf "$tar.new" .
    mv "$tar.new" "$tar"
    rm -rf --one-file-system "$tree"
  fi
  echo "$tar"
}

fresh_stage() {
  STAGE=$WORK/stage
  rm -rf "$STAGE"
  mkdir -p "$STAGE"
}

# put FOLDER FILE...: executable files for the image that is being staged.
put() {
  mkdir -p "$STAGE/$1"
  install -m 755 -t "$STAGE/$1" "${@:2}"
}

# import REFERENCE TAR [docker import's options]: the TAR ("" for none) and the stage become an image of one layer.
import() {
  local reference=$1 base=$2 layer=$WORK/layer.tar; shift 2
  if [[ $base ]]; then cp "$base" "$layer"; else tar -cf "$layer" -T /dev/null; fi
  # An import refuses a path that comes twice, so folders that the base has are left out.
  (cd "$STAGE" && find . -type d -printf '%p/\n' -o -print) | sort |
    comm -23 - <(tar -tf "$layer" | grep '/$' | sort) |
    tar -C "$STAGE" --owner=0 --group=0 --no-recursion -rf "$layer" -T -
  docker import --change "LABEL fairlead.key=$key" "$@" "$layer" "$reference" >/dev/null
  rm "$layer"
}

# single REFERENCE FOLDER PROGRAM [docker import's options]: an image of one static program.
single() {
  fresh_stage
  put "$2" "$3"
  import "$1" "" --change "ENV PATH=/usr/local/bin:/usr/bin:/bin" "${@:4}"
  images+=("$1")
}

# --- the images in it ----------------------------------------------------------------------------------------------------

images=()

control_plane_images() {
  local reference name sandbox
  # kubeadm says which it wants. Our etcd and CoreDNS may be newer than its tags.
  for reference in $("$TOOLS/kubeadm" config images list --kubernetes-version "$KUBERNETES_VERSION" 2>/dev/null); do
    name=${reference##*/} name=${name%%:*}
    case $name in
      kube-proxy) ;; # see test_images
      kube-* | etcd) single "$reference" usr/local/bin "$TOOLS/$name" ;;
      coredns) single "$reference" . "$TOOLS/coredns" --change 'ENTRYPOINT ["/coredns"]' ;;
      pause)
        gcc -Os -static -DVERSION=e2e -o "$WORK/pause" "$KUBERNETES/build/pause/linux/pause.c"
        single "$reference" . "$WORK/pause" --change 'ENTRYPOINT ["/pause"]'
        # kind's containerd asks for one of its own version.
        sandbox=$(sed -n 's/.*sandbox_image = "\(.*\)"/\1/p' "$KIND_FILES/etc/containerd/config.toml")
        docker tag "$reference" "$sandbox"
        images+=("$sandbox")
        ;;
      *) die "how to make $reference is not known" ;;
    esac
  done
}

# test_image NAME: the references that Kubernetes' tests ask for.
test_image() {
  sed -nE \
    -e 's#.*Config\{list.PromoterE2eRegistry, "('"$1"')", "(.*)"\}.*#registry.k8s.io/e2e-test-images/\1:\2#p' \
    -e 's#.*Config\{list.BuildImageRegistry, "('"$1"')", "(.*)"\}.*#registry.k8s.io/build-image/\1:\2#p' \
    "$KUBERNETES/test/utils/image/manifest.go"
}

# One root file system with all programs serves as every image but busybox, and as kube-proxy's: a layer that is the same
# is stored once.
test_images() {
  local base name version rich=fairlead-e2e/tests:latest references=()
  base=$(debian tests "${TEST_PACKAGES[@]}")
  fresh_stage
  put . "$TOOLS"/{agnhost,coredns,regression-issue-74839}
  put usr/local/bin "$TOOLS/kube-proxy"
  cp "$KUBERNETES"/test/images/agnhost/porter/localhost.{crt,key} "$STAGE/"
  mkdir "$STAGE/uploads"
  ln -s agnhost "$STAGE/agnhost-2"
  import "$rich" "$base" --change "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  for name in agnhost distroless-iptables glibc-dns-testing nginx regression-issue-74839; do
    mapfile -t references < <(test_image "$name")
    for version in "${references[@]}"; do
      DOCKER_BUILDKIT=0 docker build -q -t "$version" - >/dev/null 2>&1 <<DOCKERFILE
FROM $rich
$(entrypoint "$name")
DOCKERFILE
      images+=("$version")
    done
  done
  docker tag "$rich" "registry.k8s.io/kube-proxy:$KUBERNETES_VERSION"
  images+=("registry.k8s.io/kube-proxy:$KUBERNETES_VERSION")

  fresh_stage
  mkdir -p "$STAGE"/{bin,tmp,etc}
  tar -xOf "$base" ./usr/bin/busybox >"$STAGE/bin/busybox"
  chmod +x "$STAGE/bin/busybox"
  for name in $("$STAGE/bin/busybox" --list); do
    [[ $name == busybox ]] || ln -s busybox "$STAGE/bin/$name"
  done
  for version in $(test_image busybox); do
    import "$version" "" --change "ENV PATH=/bin" --change 'CMD ["sh"]'
    images+=("$version")
  done
}

entrypoint() {
  case $1 in
    agnhost) printf '%s\n' 'ENTRYPOINT ["/agnhost"]' 'CMD ["pause"]' ;;
    nginx) echo 'CMD ["nginx", "-g", "daemon off;"]' ;;
    regression-issue-74839) echo 'ENTRYPOINT ["/regression-issue-74839"]' ;;
    *) echo 'CMD ["bash"]' ;;
  esac
}

# --- the node ------------------------------------------------------------------------------------------------------------

stage_node() {
  fresh_stage
  cp -r --no-preserve=mode "$KIND_FILES/." "$STAGE/"
  chmod +x "$STAGE"/usr/local/bin/* "$STAGE"/kind/bin/*
  put usr/local/bin "$TOOLS"/{containerd,ctr,containerd-shim-runc-v2}
  put usr/local/sbin "$TOOLS/runc"
  put opt/cni/bin "$TOOLS"/{host-local,loopback,ptp,portmap}
  put usr/bin "$TOOLS"/{kubelet,kubeadm,kubectl}
  mkdir -p "$STAGE"/{kind/manifests,etc/kubernetes/manifests}
  printf %s "$KUBERNETES_VERSION" >"$STAGE/kind/version"
  # kind applies both, and fails on an empty one. The pods' network is made by `cargo e2e up`.
  local manifest='{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "standard"},
    "provisioner": "kubernetes.io/no-provisioner"}'
  tee "$STAGE"/kind/manifests/default-{cni,storage}.yaml >/dev/null <<<"$manifest"
  # What kind's containerd starts containers from: with kind's hook, and without the resource limits that a machine without
  # CAP_SYS_RESOURCE would refuse.
  "$TOOLS/ctr" oci spec |
    jq 'del(.process.rlimits) | .hooks.createContainer += [{path: "/kind/bin/mount-product-files.sh"}]' \
      >"$STAGE/etc/containerd/cri-base.json"
}

# Of what Debian's packages start at boot nothing belongs into a container, but for systemd's own basics.
trim_services() {
  docker exec -i "$BUILDER" bash -euo pipefail <<'SCRIPT'
shopt -s nullglob
ln -sf /lib/systemd/systemd /sbin/init
echo ReadKMsg=no >>/etc/systemd/journald.conf
rm -rf /etc/systemd/system/*.wants /lib/systemd/system/{multi-user,local-fs,basic}.target.wants
rm -f /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
rm -f /lib/systemd/system/sockets.target.wants/systemd-{udevd,initctl}*
systemctl -q mask systemd-binfmt.service
systemctl -q enable containerd.service kubelet.service undo-mount-hacks.service
SCRIPT
}

mkdir -p "$WORK"
control_plane_images
test_images
node_base=$(debian node "${NODE_PACKAGES[@]}")
stage_node
import fairlead-e2e/node-base:latest "$node_base"

docker rm -f "$BUILDER" >/dev/null 2>&1 || true
# The signal ends the systemd of a node. It is kept by the commit; containerd alone wants an ordinary one.
docker run -d --privileged --name "$BUILDER" --stop-signal SIGRTMIN+3 --entrypoint containerd \
  fairlead-e2e/node-base:latest >/dev/null
trap 'docker rm -f "$BUILDER" >/dev/null' EXIT
trim_services
ctr=(docker exec -i "$BUILDER" ctr -n k8s.io)
wait_for 60 "${ctr[@]}" version || die "containerd does not start in $BUILDER"
docker save "${images[@]}" | "${ctr[@]}" images import - >/dev/null
# The packed layers are of no use once they are unpacked, and half of the image.
"${ctr[@]}" content prune references >/dev/null
docker kill -s TERM "$BUILDER" >/dev/null
docker wait "$BUILDER" >/dev/null
docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' --change 'ENV container=docker' \
  --change "LABEL fairlead.key=$key" "$BUILDER" "$NODE_IMAGE" >/dev/null
rm -rf "$WORK/stage"
echo "$NODE_IMAGE"
