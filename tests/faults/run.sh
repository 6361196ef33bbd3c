#!/bin/sh
# Builds the program and the tools in build/release and puts faults into small runs of every verb (faults.py).
# usage: run.sh [--all | --every | OPTIONS of faults.py]     default: the bounded part of .ci/run
set -eu
cd "$(dirname "$0")/../.."
cmake --preset release >/dev/null
cmake --build --preset release --target psc_program psc_faults faults_trace >/dev/null
[ $# -gt 0 ] || set -- --cases 2500
exec python3 tests/faults/faults.py "$@"
