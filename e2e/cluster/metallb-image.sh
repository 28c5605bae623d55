#!/usr/bin/env bash
# Makes the two images that MetalLB's own manifest asks for, from its Go module, under the names that the manifest has. Prints
# the path of the manifest in the module, then the images' names.
#
# Usage: e2e/cluster/metallb-image.sh
#
# Only `cargo e2e bench failover` wants them. Each image is one static program, as upstream's images of the native mode are.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need jq jq
exclusively metallb-image
"$CLUSTER_SCRIPTS/tools.sh" metallb >/dev/null
manifest=$(go mod download -json "go.universe.tf/metallb@$METALLB_VERSION" | jq -r .Dir)/config/manifests/metallb-native.yaml

# image PROGRAM: an image of one layer, unless it is there with this very program.
image() {
  local program=$1 reference=quay.io/metallb/$1:$METALLB_VERSION key stage
  key=$(sha256sum <"$TOOLS/metallb-$program" | cut -c1-16)
  if [[ $(docker image inspect -f '{{index .Config.Labels "fairlead.key"}}' "$reference" 2>/dev/null) != "$key" ]]; then
    stage=$(mktemp -d)
    install -m 755 "$TOOLS/metallb-$program" "$stage/$program"
    tar -C "$stage" --owner=0 --group=0 -c "$program" |
      docker import --change "ENTRYPOINT [\"/$program\"]" --change "LABEL fairlead.key=$key" - "$reference" >/dev/null
    rm -r "$stage"
  fi
  echo "$reference"
}

echo "$manifest"
image controller
image speaker
