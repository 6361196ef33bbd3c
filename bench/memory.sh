#!/bin/sh
# Peak memory of 512 tokens with the full decomposition on a random f16 model of pythia-410m's
# shape: freshly packed, while writing the cache file, and mapped from it.
# usage: bench/memory.sh [BUILD [SHAPE]]
# Needs python3 with numpy to make the model. Fails if a run exceeds its bound.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
shape=${2:-410m}
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-memory.XXXXXX")
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" tools/make_model.py "$work/model" "$shape" --dtype f16 \
    --tokenizer tests/golden/tokenizer/gpt-neox-20b.tokenizer.json
"$build/bench/bench_memory" "$work/model"
"$build/bench/bench_memory" "$work/model" --cache-dir "$work/kept"
"$build/bench/bench_memory" "$work/model" --cache-dir "$work/kept"
