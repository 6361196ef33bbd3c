#!/bin/sh
# Runs a command under a release of Python, with NumPy and pytest alone: without optional packages.
# Exits with 77 if this machine lacks the release. usage: run_release.sh RELEASE ARGUMENT...
set -eu
tools=$(cd "$(dirname "$0")/../../tools" && pwd)
release=$1
shift
if ! "$tools/python_environment.sh" --list | grep -q "^$release "; then
    echo "not tried: Python $release is neither in PATH nor in ~/.pyenv/versions"
    exit 77
fi
python=$("$tools/python_environment.sh" "$release")
exec "$python" "$@"
