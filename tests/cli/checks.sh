# Shared code of the command line tests, which source this file. The shell removes the folder `work`
# at its end; `conclude` is a test's last command.
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
