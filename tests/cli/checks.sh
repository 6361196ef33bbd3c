# What the tests of the command line share; sourced by them. `work` is a folder that goes when the
# test ends; `conclude` is its last command.
set -u
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-cli-XXXXXX") || exit 1
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
passed=0
failed=0

check() { # check DESCRIPTION COMMAND...
    description=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "failed: $description"; fi
}

conclude() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
