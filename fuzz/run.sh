#!/usr/bin/env bash
# Usage: fuzz/run.sh [-s SECONDS] [TARGET...]
# Runs the fuzz targets, each for a minute, and fails on what they find: a panic, an overflow, an input that takes ten
# seconds or half a gigabyte. It needs a C++ compiler, and neither a nightly toolchain nor cargo-fuzz: sanitizers find
# little in code without `unsafe`, and coverage guidance is a pass of the stable compiler's LLVM.
# To see a finding again: fuzz/run.sh TARGET PATH-OF-THE-FINDING
set -euo pipefail
cd "$(dirname "$0")"

seconds=60
if [[ ${1:-} == -s ]]; then
  seconds=$2
  shift 2
fi

host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-../target}/fuzz
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
# The main lock file decides the versions; what only the fuzzer needs is added to a copy.
cp ../Cargo.lock Cargo.lock
# With a target named, build scripts and macros are built without the flags, which they could not link with.
cargo build --release --target "$host"
programs=$CARGO_TARGET_DIR/$host/release

if [[ ${2:-} && -f $2 ]]; then
  exec "$programs/$1" "$2"
fi
# What a run has learnt is kept for the next one; the seeds stay as they are.
learnt=${XDG_CACHE_HOME:-$HOME/.cache}/fairlead/fuzz
[[ $# -gt 0 ]] || set -- netlink_decoder manifest frame heartbeat
for target; do
  mkdir -p "$learnt/$target" artifacts
  echo "fuzzing $target for $seconds s"
  "$programs/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=8192 -print_final_stats=1 \
    -verbosity=0 -artifact_prefix="artifacts/$target-" "$learnt/$target" "seeds/$target"
done
