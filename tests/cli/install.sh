#!/bin/sh
# Installs into a temporary prefix and uses the installation: builds the example plugin with its own
# CMakeLists, and a client with pkg-config and with the CMake package. The installed program loads
# the plugin. Public headers compile as C++17. Then the prefix is moved, and the program must still
# find its model.
# usage: install.sh BUILD_DIR SOURCE_DIR EXTRA_FLAGS
set -eu
build=$1
source=$2
flags=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-install-XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() {
    echo "install: $*" >&2
    exit 1
}
quiet() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "$* failed"; }
}

prefix=$work/prefix
quiet cmake --install "$build" --prefix "$prefix"
for file in bin/pythiascope include/pythiascope/psc.h include/pythiascope/psc_plugin.h \
    include/pythiascope/psc_reductions.h include/pythiascope/psc_shards.h include/pythiascope/psc_dictionary.h include/pythiascope/psc_events.h \
    include/pythiascope/psc_edges.h include/pythiascope/psc_metric.h include/pythiascope/psc_pairs.h \
    include/pythiascope/psc_results.h include/pythiascope/psc_treebank.h include/pythiascope/psc_limits.h include/pythiascope/psc_error.h share/pythiascope/models/books-5m/model.safetensors share/pythiascope/models/forms/english.tsv \
    share/pythiascope/models/books-0.5m/step4000/model.safetensors share/doc/pythiascope/README.md share/doc/pythiascope/LICENSE share/doc/pythiascope/docs/hooks.md \
    share/doc/pythiascope/docs/plugins/logits.md share/doc/pythiascope/examples/norms/norms.c; do
    [ -e "$prefix/$file" ] || fail "$file is not installed"
done
pc=$(find "$prefix" -name pythiascope.pc)
[ -n "$pc" ] || fail "pythiascope.pc is not installed"
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
lib=$(pkg-config --variable=libdir pythiascope)
pkg-config --cflags pythiascope | grep -q -- -ffp-contract=off || fail "Cflags lack the contraction flag"
case $(pkg-config --cflags pythiascope) in # a client needs no header of a dependency
    *UTF8PROC*) fail "Cflags have flags of a dependency" ;;
esac

# What the program prints for man and for the shells.
share=$prefix/share
for pair in man:man/man1/pythiascope.1 bash:bash-completion/completions/pythiascope \
    zsh:zsh/site-functions/_pythiascope fish:fish/vendor_completions.d/pythiascope.fish; do
    "$prefix/bin/pythiascope" --generate "${pair%%:*}" | sed 1d >"$work/help" # line 1 has a date
    sed 1d "$share/${pair#*:}" | cmp -s - "$work/help" ||
        fail "share/${pair#*:} is not what --generate ${pair%%:*} prints"
done

# The formula builds the same version.
version=$("$prefix/bin/pythiascope" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/')
grep -q "version \"$version\"" "$source/packaging/homebrew/pythiascope.rb" ||
    fail "packaging/homebrew/pythiascope.rb does not have version $version"

# The example plugin, as its README says.
quiet cmake -S "$source/examples/norms" -B "$work/norms" -DCMAKE_PREFIX_PATH="$prefix"
quiet cmake --build "$work/norms"
plugin=$work/norms/norms.so
"$prefix/bin/pythiascope" plugins "$plugin" | grep -q '^norms ' || fail "plugins does not list norms"
"$prefix/bin/pythiascope" analyze --text 'The sun rose' --plugin "$plugin:centered=yes" \
    --capture 'blocks.*.hook_resid_post' --out "$work/out" >"$work/summary"
grep -q '^norms' "$work/summary" || fail "the summary has no section of norms"
grep -q '"resid_post"' "$work/out/results.json" || fail "results.json has no resid_post"
grep -q '"centered": "yes"' "$work/out/results.json" || fail "results.json has no option centered"
grep -aq '"norms.resid_post":{"dtype":"F32"' "$work/out/tensors.safetensors" ||
    fail "tensors.safetensors has no norms.resid_post"

# A client built with pkg-config, and one with the CMake package; each checks the norms.
# shellcheck disable=SC2086,SC2046 # lists of flags
quiet cc $flags "$here/install_client.c" -o "$work/client" \
    $(pkg-config --cflags --libs pythiascope) -Wl,-rpath,"$lib" -lm
model=$prefix/share/pythiascope/models/books-5m
"$work/client" "$model" "$plugin"

# The example client, as its README says, with CMake and with pkg-config.
quiet cmake -S "$source/examples/read_results" -B "$work/read" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_FLAGS="$flags"
quiet cmake --build "$work/read"
"$work/read/read_results" "$model" 'The sun rose' ln scale >"$work/scale"
[ "$(grep -c '^sites=.*  rows=[0-2]  [0-9.e+-]*$' "$work/scale")" = 27 ] ||
    fail "read_results prints no 9 sites of 3 rows"
grep -q '^sites=0.ln1  rows=0  ' "$work/scale" ||
    fail "read_results does not print labels"
# shellcheck disable=SC2086,SC2046 # lists of flags
quiet cc $flags "$source/examples/read_results/read_results.c" -o "$work/read_results" \
    $(pkg-config --cflags --libs pythiascope) -Wl,-rpath,"$lib"
"$work/read_results" "$model" 'The sun rose' ln scale | cmp - "$work/scale" ||
    fail "read_results prints different text when built with pkg-config"
if "$work/read_results" "$model" 'The sun rose' ln nothing 2>"$work/stderr" >/dev/null; then
    fail "read_results finds a missing array"
fi
grep -q "section 'ln' has no array" "$work/stderr" || fail "read_results does not name the error"

# Each public header alone as C11, all of them as C++17, without warnings.
include=$prefix/include/pythiascope
for header in "$include"/*.h; do
    echo "#include <${header##*/}>" >"$work/header.c"
    quiet cc -std=c11 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$include" "$work/header.c"
    quiet "${CXX:-c++}" -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$include" \
        -x c++ "$work/header.c"
done
quiet "${CXX:-c++}" -std=c++17 -pedantic -Wall -Wextra -Werror -I"$include" -fsyntax-only \
    "$here/install_headers.cc"

mkdir "$work/consumer"
cat >"$work/consumer/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES C)
find_package(pythiascope 0.2 REQUIRED)
add_executable(consumer "$here/install_client.c")
target_link_libraries(consumer PRIVATE pythiascope::pythiascope m)
pythiascope_add_plugin(again "$source/examples/norms/norms.c")
target_link_libraries(again PRIVATE m)
END
quiet cmake -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_FLAGS="$flags"
quiet cmake --build "$work/consumer/build"
"$work/consumer/build/consumer" "$model" "$plugin"
[ -e "$work/consumer/build/again.so" ] || fail "pythiascope_add_plugin made no again.so"

# Only public symbols are exported.
if command -v nm >/dev/null 2>&1 && [ -e "$lib/libpythiascope.so" ]; then
    hidden=$(nm -D --defined-only "$lib/libpythiascope.so" |
        awk '$2 == "T" && $3 !~ /^psc_/ && $3 !~ /^_(init|fini)$/ { print $3 }')
    [ -z "$hidden" ] || fail "the library exports $hidden"
fi

mv "$prefix" "$work/moved"
"$work/moved/bin/pythiascope" info | head -2 | grep -q '/moved/' ||
    fail "the moved program does not find its own model"

# Uninstalling leaves what others put there.
other=$work/other
mkdir -p "$other/bin" "$other/share/doc/pythiascope"
touch "$other/bin/mine" "$other/share/doc/pythiascope/notes"
quiet cmake --install "$build" --prefix "$other"
[ -x "$other/bin/pythiascope" ] || fail "the second installation is not there"
quiet cmake -DMANIFEST="$build/installed_files.txt" -P "$source/cmake/uninstall.cmake"
left=$(cd "$other" && find . ! -type d | sort | tr '\n' ' ')
[ "$left" = './bin/mine ./share/doc/pythiascope/notes ' ] || fail "uninstalling leaves $left"
[ ! -e "$other/share/pythiascope" ] || fail "uninstalling leaves an empty folder"
if cmake -DMANIFEST="$build/installed_files.txt" -P "$source/cmake/uninstall.cmake" \
    >"$work/log" 2>&1; then
    fail "uninstalling twice is no error"
fi
echo "install: all checks passed"
