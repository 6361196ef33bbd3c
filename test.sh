#!/bin/sh
# Installs missing dependencies, builds, and runs all tests.
set -eu
cd "$(dirname "$0")"

tools/install_dependencies.sh --test
cmake --preset release -DPSC_BUILD_TESTS=ON -DPSC_BUILD_BENCH=ON
cmake --build --preset release
ctest --preset release "$@"
