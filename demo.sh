#!/bin/sh
# Builds pythiascope with its dependencies and shows, on the embedded model, which components
# produced the next token: as text, and as a page for a browser in build/demo.html. usage: ./demo.sh [TEXT]
set -eu
cd "$(dirname "$0")"

tools/install_dependencies.sh
echo "building (about a minute the first time) ..."
if ! cmake --preset release -DPSC_BUILD_TESTS=OFF -DPSC_BUILD_BENCH=OFF >build.log 2>&1 ||
    ! cmake --build --preset release >>build.log 2>&1; then
    cat build.log >&2
    exit 1
fi
rm -f build.log

# No training book contains this name, so only its first use in the prompt can complete it.
text=${1:-"There was once a giant named Grumbold. Nobody in the village had ever seen Grumb"}
echo
echo "\$ pythiascope analyze --text '$text' --html build/demo.html"
build/release/pythiascope analyze --text "$text" --html build/demo.html
echo
echo "A circuit on the page: docs/plugins/circuit.md"
echo "More: build/release/pythiascope --help"
