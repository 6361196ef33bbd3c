#!/bin/sh
# Measures pythiascope, its rivals and the machine's limits in one run: see docs/benchmarks.md.
# usage: bench/run.sh [--quick] [--shapes 70m,160m] [...]; --help lists the options.
# Needs a release build (cmake --preset release && cmake --build --preset release) and the rivals
# (bench/install_rivals.sh).
set -eu
exec python3 "$(dirname "$0")/run.py" "$@"
