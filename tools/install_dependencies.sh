#!/bin/sh
# Installs missing build dependencies: on Debian and Ubuntu with apt-get (with sudo unless root), on
# macOS with Homebrew, and there what the page's viewer is made from with npm, into report/viewer.
# usage: install_dependencies.sh [--test] [--lint] [--packages] [--fuzz] [--mpi] [--static]
set -eu

with_test=no
with_lint=no
with_packages=no
with_fuzz=no
with_mpi=no
with_static=no
for argument; do
    case $argument in
        --test) with_test=yes ;;
        --lint) with_lint=yes ;;
        --packages) with_packages=yes ;;
        --fuzz) with_fuzz=yes ;;
        --mpi) with_mpi=yes ;;
        --static) with_static=yes ;;
        *) echo "usage: $0 [--test] [--lint] [--packages] [--fuzz] [--mpi] [--static]" >&2; exit 2 ;;
    esac
done

# Packages to install. The arguments are "<command> <package>" or "<pkg-config module> <package>".
missing=
need_command() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need_module() { pkg-config --exists "$1" 2>/dev/null || missing="$missing $2"; }
need_header() { # for libraries that Debian ships without a pkg-config file
    for folder in /usr/include /usr/local/include /opt/homebrew/include; do
        if [ -e "$folder/$1" ]; then return; fi
    done
    missing="$missing $2"
}

need_debian() {
    need_command cc gcc
    if command -v cc >/dev/null 2>&1 && ! echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1; then
        missing="$missing libc6-dev"
    elif ! command -v cc >/dev/null 2>&1; then
        missing="$missing libc6-dev"
    fi
    need_command cmake cmake
    need_command ninja ninja-build
    need_command pkg-config pkg-config
    need_module sleef libsleef-dev
    need_module libxxhash libxxhash-dev
    need_module jansson libjansson-dev
    need_module libpcre2-8 libpcre2-dev
    need_module libutf8proc libutf8proc-dev
    need_module lapacke liblapacke-dev
    need_module libcurl libcurl4-openssl-dev # of pull: -DPSC_PULL=OFF builds without it
    need_module libcrypto libssl-dev
    need_module zlib zlib1g-dev
    need_module libzstd libzstd-dev
    need_command esbuild esbuild # bundles the page's viewer; a program without node
    [ -e /usr/share/nodejs/d3-selection ] || missing="$missing node-d3"
    if [ $with_test = yes ]; then
        need_header criterion/criterion.h libcriterion-dev
        need_command c++ g++ # the public headers are compiled as C++ too
        need_command xmllint libxml2-utils # macOS has it
        need_command jq jq # reads results.json in tests of the program
        need_command zsh zsh # completes the program's words, with fish; mandoc reads its man page
        need_command fish fish
        need_command mandoc mandoc
        need_command node nodejs # runs a viewer's own code on graph.json
        if ! command -v google-chrome >/dev/null 2>&1; then need_command chromium chromium; fi
        need_command python3 python3 # tools/python_environment.sh installs the rest with pip
        python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
    fi
    if [ $with_lint = yes ]; then need_command clang-format clang-format; fi
    if [ $with_packages = yes ]; then # tools/make_packages.sh, tools/try_packages.sh
        need_command dpkg-shlibdeps dpkg-dev
        need_command file file
        need_command mmdebstrap mmdebstrap
    fi
    if [ $with_static = yes ]; then # tools/check_static.sh, tools/coverage.sh
        need_command clang clang
        need_command clang-tidy clang-tidy
        need_command gcovr gcovr
    fi
    if [ $with_fuzz = yes ]; then # fuzz/run.sh: libFuzzer comes with clang's run-time library
        need_command clang clang
        need_command llvm-cov llvm # of run.sh --coverage
        runtime=$(clang --print-resource-dir 2>/dev/null)/lib
        if [ -z "$(find "$runtime" -name 'libclang_rt.fuzzer*' 2>/dev/null | head -1)" ]; then
            missing="$missing libclang-rt-dev"
        fi
    fi
    if [ $with_mpi = yes ]; then # tools/test_mpi.sh, tools/try_slurm.sh
        need_command mpicc libopenmpi-dev
        need_command mpirun openmpi-bin
        need_command ip iproute2 # hosts made of network namespaces
        need_command slurmctld slurmctld
        need_command slurmd slurmd
        need_command srun slurm-client
        need_command munged munge
    fi
}

need_macos() {
    need_command cmake cmake
    need_command ninja ninja
    need_command pkg-config pkg-config
    need_module sleef sleef
    need_module libxxhash xxhash
    need_module jansson jansson
    need_module libpcre2-8 pcre2
    need_module libutf8proc utf8proc
    need_module zlib zlib # of the system's SDK or of Homebrew
    need_module libzstd zstd
    [ -d "$(brew --prefix lapack 2>/dev/null)" ] || missing="$missing lapack"
    [ -d "$(brew --prefix curl 2>/dev/null)" ] || missing="$missing curl" # with openssl@3
    need_command npm node # for D3 and esbuild: need_viewer
    if [ $with_test = yes ]; then
        [ -d "$(brew --prefix libomp 2>/dev/null)" ] || missing="$missing libomp" # of a bench
        need_module criterion criterion
        need_command jq jq
        need_command python3 python
        [ -d "/Applications/Google Chrome.app" ] || missing="$missing google-chrome"
    fi
    if [ $with_lint = yes ]; then need_command clang-format clang-format; fi
    if [ $with_mpi = yes ]; then need_command mpicc open-mpi; fi
}

# D3 and esbuild in the releases of package-lock.json.
need_viewer() {
    viewer=$(dirname "$0")/../report/viewer
    if cmp -s "$viewer/package-lock.json" "$viewer/node_modules/installed.json"; then return; fi
    echo "installing: D3 and esbuild into report/viewer/node_modules"
    npm ci --prefix "$viewer" --silent --no-audit --no-fund
    cp "$viewer/package-lock.json" "$viewer/node_modules/installed.json"
}

if command -v apt-get >/dev/null 2>&1; then
    need_debian
    [ -n "$missing" ] || exit 0
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || {
            echo "missing:$missing; become root or install sudo, then run this again" >&2
            exit 1
        }
        as_root=sudo
    fi
    echo "installing:$missing"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends $missing >/dev/null
elif command -v brew >/dev/null 2>&1; then
    need_macos
    if [ -n "$missing" ]; then
        echo "installing:$missing"
        # shellcheck disable=SC2086
        brew install --quiet $missing
    fi
    need_viewer
else
    echo "found neither apt-get nor Homebrew; install by hand: a C11 compiler, cmake," \
        "ninja, pkg-config, sleef, xxhash, jansson, pcre2, utf8proc, lapacke, zlib, zstd, curl," \
        "openssl, esbuild and D3 (both by npm ci in report/viewer)" >&2
    exit 1
fi
