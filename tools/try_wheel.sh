#!/bin/sh
# Tries a wheel under every interpreter at hand, where nothing but Python is: in a root folder with
# the interpreter and the C library, without compiler, shell, clone and network. There pip installs
# the wheel and NumPy into an empty virtual environment, and tests/python/try_wheel.py uses the
# package. Where the system does not allow that, an empty environment and PATH stand for it, and a
# note says so. usage: try_wheel.sh WHEEL
set -eu
wheel=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-wheel-XXXXXX")
trap 'rm -rf "$work"' EXIT
fail() {
    echo "try_wheel: $*" >&2
    exit 1
}
quiet() {
    "$@" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; fail "failed: $*"; }
}

# copy FILE...: into the new root under the same path, and what its links lead to.
copy() {
    for file; do
        for path in "$file" "$(readlink -f "$file")"; do
            [ -e "$root$path" ] || (cd / && cp -a --parents ".$path" "$root")
        done
    done
}
libraries_of() { # of programs and libraries, with the loader
    ldd "$@" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\/.*ld-/ { print $1 }' |
        sort -u
}

# The interpreter, its standard library, and the libraries that every manylinux system has.
# shellcheck disable=SC2046 # lists of paths
make_root() { # make_root PYTHON
    for folder in bin lib lib64; do # links into /usr on merged systems
        if [ -L "/$folder" ]; then cp -a "/$folder" "$root/"; fi
        mkdir -p "$root/usr/$folder"
    done
    stdlib=$("$1" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
    mkdir -p "$root/dev" "$root/proc" "$root$stdlib"
    : >"$root/dev/null"
    tar -C "$stdlib" -cf - --exclude=./site-packages --exclude=./dist-packages --exclude=./test \
        --exclude=__pycache__ . | tar -xf - -C "$root$stdlib"
    if [ -d /usr/share/python-wheels ]; then copy /usr/share/python-wheels; fi # Debian's ensurepip
    copy "$1" $(libraries_of "$1" $(find "$stdlib/lib-dynload" -name '*.so')) $(ldconfig -p |
        awk '$1 ~ /^lib(gcc_s|stdc\+\+|m|dl|rt|pthread)\.so\./ { print $NF }')
}

# Whether a mount namespace and another root are allowed: as root, or in a user namespace.
namespace=
for flags in '--mount --net' '--map-root-user --mount --net'; do
    # shellcheck disable=SC2086 # a list of flags
    if unshare $flags sh -c 'mount --rbind /proc /proc && chroot / true' 2>/dev/null; then
        namespace="unshare $flags"
        break
    fi
done

run() { # run COMMAND...: where nothing but Python is. Paths are below $base.
    if [ -n "$namespace" ]; then # /proc: the program finds its own folder there
        # shellcheck disable=SC2016 # expanded by the inner shell
        $namespace sh -c 'mount --rbind /proc "$1/proc" && exec env -i HOME=/ TMPDIR=/tmp \
            PATH=/venv/bin "$(command -v chroot)" "$@"' sh "$root" "$@"
    else
        (cd "$root/tmp" && env -i HOME="$root" TMPDIR="$root/tmp" PATH="$root/venv/bin" "$@")
    fi
}

try() { # try RELEASE PYTHON
    root=$work/$1
    base=$root
    mkdir -p "$root/tmp" "$root/wheels"
    quiet "$pip" -m pip download --quiet --disable-pip-version-check --only-binary :all: \
        --python-version "$1" -d "$root/wheels" "$wheel" # Debian's python3 may lack pip
    cp tests/python/try_wheel.py "$root/"
    if [ -n "$namespace" ]; then
        make_root "$2"
        base=
    fi
    quiet run "$2" -m venv "$base/venv"
    quiet run "$base/venv/bin/python" -m pip install --quiet --no-index \
        --find-links "$base/wheels" pythiascope
    run "$base/venv/bin/python" "$base/try_wheel.py" "$base/venv" || fail "failed under Python $1"
    rm -rf "$root"
}

[ -n "$namespace" ] ||
    echo "note: unshare is not allowed here; the clone and compilers are only kept out of PATH"
pip=$(tools/python_environment.sh wheel)
tools/python_environment.sh --list >"$work/interpreters"
[ -s "$work/interpreters" ] || fail "found no Python; run tools/install_dependencies.sh --test"
while read -r release python; do
    try "$release" "$python"
    echo "Python $release: installed, and it runs"
done <"$work/interpreters"
missing=$(tools/python_environment.sh --missing)
[ -z "$missing" ] || echo "not tried, because this machine lacks them: Python $missing"
