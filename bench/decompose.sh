#!/bin/sh
# The cost of the decomposition on random models of Pythia's shapes. usage: bench/decompose.sh [BUILD]
# Needs python3 with numpy, to make the models, and a release build.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
for shape in 70m 160m; do
    python3 tools/make_model.py "$work/$shape" "$shape" --dtype f16
    "$build/bench/bench_decompose" "$work/$shape" 128 21
done
