#!/usr/bin/env bash
# Builds the one image: the static program `fairlead`, a user for it, and nothing else. Needs cargo and GNU tar, no
# registry, no base image, and Docker only to hand the image to Docker. Works offline where cargo has the crates.
#
# Usage: deploy/image/build.sh [--output FILE] [TAG]
#
#   TAG            full reference, or only what follows the colon [default: ghcr.io/fairlead/fairlead:VERSION]
#   --output FILE  write the image to FILE, in the form of `docker save`, and leave Docker alone; for
#                  `docker load --input`, `kind load image-archive` or `ctr --namespace k8s.io images import`
#
# Environment: SOURCE_URL, REVISION and CREATED (RFC 3339) for the labels [default: the project's, and git's];
# FAIRLEAD_TARGET, the Rust target [default: musl of this machine, else glibc linked statically].
#
# The same program gives the same image, byte for byte: times are fixed and names are sorted.
set -euo pipefail
cd "$(dirname "$0")/../.."

REPOSITORY=ghcr.io/fairlead/fairlead
SOURCE_URL=${SOURCE_URL:-https://github.com/fairlead/fairlead}
MAX_BYTES=$((40 * 1000 * 1000))
# As in distroless images. The chart names the same number.
NONROOT=65532

die() { echo "build.sh: $*" >&2; exit 1; }

output='' tag=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --output) output=${2:-}; [[ -n $output ]] || die "--output needs a file"; shift 2 ;;
    --output=*) output=${1#*=}; shift ;;
    -h | --help) sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"; exit ;;
    -*) die "unknown option $1" ;;
    *) [[ -z $tag ]] || die "one TAG at most"; tag=$1; shift ;;
  esac
done

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[[ -n $version ]] || die "Cargo.toml names no version"
reference=${tag:-$version}
[[ $reference == *[:/]* ]] || reference=$REPOSITORY:$reference
[[ ${reference##*/} == *:* ]] || reference+=:$version

if git rev-parse --git-dir >/dev/null 2>&1; then
  REVISION=${REVISION:-$(git rev-parse HEAD)}
  CREATED=${CREATED:-$(TZ=UTC0 git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)}
  [[ -z $(git status --porcelain --untracked-files=no) ]] || REVISION=${REVISION%-dirty}-dirty
fi
REVISION=${REVISION:-unknown} CREATED=${CREATED:-1970-01-01T00:00:00Z}

machine=$(uname -m)
musl=$machine-unknown-linux-musl
gnu=$machine-unknown-linux-gnu

# has_musl: rustc can build for musl, and a C compiler for it is there (jemalloc and the cryptography are C).
has_musl() {
  if ! [[ -d $(rustc --print sysroot)/lib/rustlib/$musl ]]; then
    command -v rustup >/dev/null && timeout 120 rustup -q target add "$musl" >&2 || return 1
  fi
  if ! command -v musl-gcc >/dev/null; then
    [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null || return 1
    {
      apt-get -qq install -y --no-install-recommends musl-tools ||
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends musl-tools; }
    } </dev/null >&2 || return 1
  fi
}

if [[ -n ${FAIRLEAD_TARGET:-} ]]; then
  target=$FAIRLEAD_TARGET
elif has_musl; then
  target=$musl
else
  echo "no Rust target $musl or no musl-gcc: linking glibc statically" >&2
  target=$gnu
fi
case $target in
  x86_64-*) architecture=amd64 ;;
  aarch64-*) architecture=arm64 ;;
  *) die "no image for $target" ;;
esac

options=()
# With musl that is the default. Only for the target: build scripts and procedural macros cannot be static.
[[ $target == *-musl ]] || options=(--config "target.$target.rustflags = ['-C', 'target-feature=+crt-static']")
cargo build --release --locked --package fairlead --features aws --bin fairlead --target "$target" "${options[@]}" >&2
target_folder=${CARGO_TARGET_DIR:-target}
program=$target_folder/$target/release/fairlead

! LC_ALL=C readelf --program-headers "$program" | grep -q INTERP || die "$program is not static"

work=$target_folder/image
mkdir -p "$work"
exec 9>"$work/.lock"
flock 9
rm -rf "${work:?}/root" "${work:?}/archive"
root=$work/root archive=$work/archive
mkdir -p "$root/etc" "$archive"

# Names of functions are a fifth of the program. A panic still says where in the source it was.
strip --strip-all -o "$root/fairlead" "$program"
chmod 0755 "$root/fairlead"
cat >"$root/etc/passwd" <<PASSWD
root:x:0:0:root:/:/fairlead
nonroot:x:$NONROOT:$NONROOT:nonroot:/:/fairlead
PASSWD
cat >"$root/etc/group" <<GROUP
root:x:0:
nonroot:x:$NONROOT:
GROUP
chmod 0644 "$root"/etc/*
# No certificates: the API server's comes from the service account, and a copy of this machine's list would age unseen
# and make the image differ between machines.

reproducible=(--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar)
sha256() { sha256sum "$1" | cut -d' ' -f1; }

tar "${reproducible[@]}" --mode='go-w' -cf "$work/layer.tar" -C "$root" etc fairlead
layer=$(sha256 "$work/layer.tar")
mkdir "$archive/$layer"
mv "$work/layer.tar" "$archive/$layer/layer.tar"

cat >"$work/config.json" <<JSON
{
  "architecture": "$architecture",
  "os": "linux",
  "created": "$CREATED",
  "config": {
    "User": "$NONROOT:$NONROOT",
    "Entrypoint": ["/fairlead"],
    "WorkingDir": "/",
    "Labels": {
      "org.opencontainers.image.title": "fairlead",
      "org.opencontainers.image.description": "Services for Kubernetes: an nftables dataplane in place of kube-proxy",
      "org.opencontainers.image.version": "$version",
      "org.opencontainers.image.revision": "$REVISION",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.source": "$SOURCE_URL"
    }
  },
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
  "history": [{"created": "$CREATED", "created_by": "deploy/image/build.sh"}]
}
JSON
config=$(sha256 "$work/config.json")
mv "$work/config.json" "$archive/$config.json"
printf '[{"Config": "%s.json", "RepoTags": ["%s"], "Layers": ["%s/layer.tar"]}]\n' \
  "$config" "$reference" "$layer" >"$archive/manifest.json"

bytes=$(stat -c %s "$archive/$layer/layer.tar")
[[ $bytes -lt $MAX_BYTES ]] || die "the image has $bytes bytes, more than $MAX_BYTES"

pack() { tar "${reproducible[@]}" -cf - -C "$archive" manifest.json "$config.json" "$layer"; }
if [[ -n $output ]]; then
  pack >"$output.new"
  mv "$output.new" "$output"
elif ! docker version >/dev/null 2>&1; then
  die "Docker does not answer; --output FILE writes the image without it"
else
  pack | docker load --quiet >&2
fi
echo "$reference sha256:$config $((bytes / 1000 / 1000)) MB ($target)"
