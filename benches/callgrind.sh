#!/usr/bin/env bash
# Counts the instructions of encoding and decoding one block of ECG (MIT-BIH 208), on this processor's instruction set.
#
# valgrind counts a short and a long run of the same program; their difference is the calls, without the preparation.
# Counts differ between compilers and processors, not between runs. Needs valgrind.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
manifest=$root/benches/figures/Cargo.toml
few=50 # every block once
many=550

command -v valgrind >/dev/null || { echo "callgrind.sh: valgrind is not installed" >&2; exit 1; }
cargo build -q --release --manifest-path "$manifest"
program=${CARGO_TARGET_DIR:-$root/benches/figures/target}/release/vitalwire-figures
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# instructions encode|decode SAMPLES TIMES: of the whole run.
instructions() {
    if ! valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$program" calls "$@" 2>"$scratch/log"; then
        cat "$scratch/log" >&2
        return 1
    fi
    awk '/^summary:|^totals:/ { print $2; exit }' "$scratch/out"
}

printf 'instructions per block, mean over %s blocks of record 208\n%-8s%10s%14s%14s\n' "$few" "" samples "per block" "per sample"
for what in encode decode; do
    for samples in 256 360; do
        long=$(instructions "$what" "$samples" "$many")
        short=$(instructions "$what" "$samples" "$few")
        awk -v what="$what" -v samples="$samples" -v calls=$((many - few)) -v all=$((long - short)) \
            'BEGIN { printf "%-8s%10d%14.0f%14.1f\n", what, samples, all / calls, all / calls / samples }'
    done
done
