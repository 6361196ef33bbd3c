#!/bin/sh
# Builds the program with MPI in build/mpi and runs the tests that start it by mpirun (tests/mpi).
# install_dependencies.sh --mpi installs what this needs.
set -eu
cd "$(dirname "$0")/.."

cmake --preset mpi -DPSC_BUILD_TESTS=OFF
cmake --build --preset mpi
ctest --test-dir build/mpi --output-on-failure
