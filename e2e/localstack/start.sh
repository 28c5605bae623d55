#!/usr/bin/env bash
# LocalStack with EC2, elbv2 and what belongs to them, from PyPI and without containers: a test account of AWS on loopback.
#
# Usage: e2e/localstack/start.sh install                 once; prints the folder, and is quick when it is there
#        e2e/localstack/start.sh run [PORT]              in the foreground, on a free port unless one is named
#        e2e/localstack/start.sh python FILE [ARG...]    with the Python that has boto3
#
# `run` ends with its standard input, so that a test that is killed leaves nothing behind, not even the temporary folder.
#
# Needs Python 3.11 or later with venv, and PyPI for the first time. It keeps its things in FAIRLEAD_TOOLS, or else in the
# user's cache, one folder for each version of what it installs.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../cluster/lib.sh
. "$HERE/../cluster/lib.sh"

# hash FILE...: by content, whichever checkout the files are in.
hash() { cat "$@" | sha256sum | cut -c1-12; }

localstack_version=$(sed -n 's/^localstack-core==//p' "$HERE/requirements.txt")
VENV=$TOOLS/localstack-$localstack_version-$(hash "$HERE/requirements.txt")
PLUGIN=$VENV/plugin-$(hash "$HERE"/plugin/pyproject.toml "$HERE"/plugin/*/*.py)

# Moved into place when it is complete: a broken-off installation leaves nothing that looks like one.
install_requirements() {
  [[ ! -e $VENV/complete ]] || return 0
  local began=$SECONDS
  python3 -c 'import ensurepip, venv' 2>/dev/null || need "$VENV/complete" python3-venv
  rm -rf "$VENV"
  python3 -m venv "$VENV"
  # Python compiles what is imported, which is a small part of it.
  "$VENV/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps --no-compile \
    --requirement "$HERE/requirements.txt"
  touch "$VENV/complete"
  echo "installed LocalStack $localstack_version in $((SECONDS - began)) s" >&2
}

# Into a folder of its own, because checkouts with other plugins share the rest.
install_plugin() {
  [[ ! -e $PLUGIN/complete ]] || return 0
  local source=$VENV/source
  rm -rf "$source" "$PLUGIN"
  # From a copy: a build leaves folders beside the source.
  cp -r "$HERE/plugin" "$source"
  "$VENV/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation \
    --target "$PLUGIN" "$source"
  rm -rf "$source"
  touch "$PLUGIN/complete"
}

installed() {
  [[ -e $VENV/complete && -e $PLUGIN/complete ]] || die "LocalStack is missing; \`e2e/localstack/start.sh install\` puts it there"
}

free_port() { "$VENV/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

run() {
  local port=${1:-} folder
  [[ -n $port ]] || port=$(free_port)
  folder=$(mktemp --directory --tmpdir fairlead-localstack.XXXXXX)
  echo "export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_REGION=us-east-1" \
    "AWS_ACCESS_KEY_ID=000000000001 AWS_SECRET_ACCESS_KEY=test AWS_EC2_METADATA_DISABLED=true"
  # No DNS server, no certificate from elsewhere, no report to anybody.
  exec env PYTHONPATH="$PLUGIN" GATEWAY_LISTEN="127.0.0.1:$port" \
    FILESYSTEM_ROOT="$folder" LOCALSTACK_VOLUME_DIR="$folder" \
    SERVICES=ec2,elbv2,sts,iam,acm PROVIDER_OVERRIDE_STS=moto STRICT_SERVICE_LOADING=1 \
    USE_SSL=0 SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 DNS_ADDRESS=0 \
    "$VENV/bin/python" -m fairlead_localstack
}

case ${1:-} in
  install)
    mkdir -p "$TOOLS" "$CACHE"
    exclusively localstack
    install_requirements
    install_plugin
    echo "$VENV"
    ;;
  run) installed; run "${@:2}" ;;
  python) installed; exec "$VENV/bin/python" "${@:2}" ;;
  *) die "usage: $0 install | run [PORT] | python FILE [ARG...]" ;;
esac
