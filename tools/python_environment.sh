#!/bin/sh
# Makes a virtual environment under build/python and prints the path of its python. It is made again
# only if its requirements or its interpreter have changed.
# usage: python_environment.sh test       the tools of the Python tests, on python3 (3.10 or later)
#        python_environment.sh page       the tools of the tests of the page (tests/page)
#        python_environment.sh hub        the tools of the tests of pull (tests/hub)
#        python_environment.sh harness    lm-evaluation-harness (tools/test_harness.sh)
#        python_environment.sh wheel      the tools of tools/build_wheel.sh
#        python_environment.sh 3.N        the tests of the package alone, under Python 3.N
#        python_environment.sh --list     the interpreters at hand: a line "3.N PATH" each
#        python_environment.sh --missing  the other releases, in one line
set -eu
cd "$(dirname "$0")/.."
releases='3.10 3.11 3.12 3.13 3.14'

fail() {
    echo "python_environment: $*" >&2
    exit 1
}

# The release and the path of an interpreter; of a virtual environment's, that which made it.
identify() {
    "$1" -c 'import os, sys
print("%d.%d" % sys.version_info[:2], os.path.realpath(sys._base_executable))' 2>/dev/null || true
}
usual=$(identify python3)

# The path of an interpreter of a release: from PATH, or from pyenv's folder (its shims are slow).
find_interpreter() {
    for candidate in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python3 /usr/bin/python3; do
        path=$(command -v "$candidate" 2>/dev/null) || continue
        case $path in */shims/*) continue ;; esac
        found=$(identify "$path")
        if [ "${found%% *}" = "$1" ]; then
            echo "${found#* }"
            return
        fi
    done
    if [ "${usual%% *}" = "$1" ]; then echo "${usual#* }"; fi
}

list() {
    for release in $releases; do
        path=$(find_interpreter "$release")
        [ -z "$path" ] || echo "$release $path"
    done
}

# python3 if it is new enough, else the newest interpreter at hand.
default_interpreter() {
    case " $releases " in
        *" ${usual%% *} "*) echo "${usual#* }" ;;
        *) list | tail -n 1 | cut -d ' ' -f 2 ;;
    esac
}

# build ENVIRONMENT PYTHON REQUIREMENTS
build() {
    stamp=$(cat "$3"; echo "$2"; "$2" --version)
    if [ -x "$1/bin/python" ] && [ "$(cat "$1/stamp" 2>/dev/null)" = "$stamp" ]; then return; fi
    rm -rf "$1"
    "$2" -m venv "$1" >"$1.log" 2>&1 || {
        cat "$1.log" >&2
        fail "$2 cannot make a virtual environment; run tools/install_dependencies.sh --test"
    }
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        -r "$3" >"$1.log" 2>&1 || {
        tail -n 3 "$1.log" >&2
        fail "pip could not install the packages of $3 for $2; connect to the network, or set" \
            "PIP_FIND_LINKS to a folder with their wheels, then run this again"
    }
    echo "$stamp" >"$1/stamp"
}

case ${1:-} in
    --list) list; exit ;;
    --missing)
        missing=
        at_hand=" $(list | cut -d ' ' -f 1 | tr '\n' ' ')"
        for release in $releases; do
            case $at_hand in *" $release "*) ;; *) missing="${missing:+$missing }$release" ;; esac
        done
        echo "$missing"
        exit ;;
    test) name=test; python=$(default_interpreter); requirements=tests/python/requirements.txt ;;
    page) name=page; python=$(default_interpreter); requirements=tests/page/requirements.txt ;;
    hub) name=hub; python=$(default_interpreter); requirements=tests/hub/requirements.txt ;;
    harness) name=harness; python=$(default_interpreter); requirements=tests/harness/requirements.txt ;;
    wheel) name=wheel; python=$(default_interpreter); requirements=tools/wheel_requirements.txt ;;
    3.*) name=$1; python=$(find_interpreter "$1"); requirements=tests/python/requirements_core.txt ;;
    *) sed -n '/^# usage/,/^set/s/^# //p' "$0" >&2; exit 2 ;;
esac
case $name in
    3.*) [ -n "$python" ] || fail "found no Python $name in PATH and ~/.pyenv/versions" ;;
    *) [ -n "$python" ] ||
        fail "found no Python of ${releases%% *} or later; run tools/install_dependencies.sh --test" ;;
esac
mkdir -p build/python
if command -v flock >/dev/null 2>&1; then # another build's tests may make the same environment
    exec 9>"build/python/$name.lock"
    flock 9
fi
build "$PWD/build/python/$name" "$python" "$requirements"
echo "$PWD/build/python/$name/bin/python"
