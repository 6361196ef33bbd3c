#!/bin/sh
# Tests HarnessLM with lm-evaluation-harness (tests/harness). usage: test_harness.sh [BUILD_DIR]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
python=$(tools/python_environment.sh harness)
PYTHONPATH=python PYTHIASCOPE_LIBRARY=$(ls "$build"/libpythiascope.so "$build"/libpythiascope.dylib 2>/dev/null) \
    PYTHIASCOPE_PROGRAM=$build/pythiascope \
    "$python" -m pytest -q -c python/pyproject.toml -p no:cacheprovider tests/harness
