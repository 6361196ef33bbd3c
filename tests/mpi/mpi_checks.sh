# Shared code of the tests with mpirun, which source it: PROGRAM SOURCE_DIR MPIRUN LARGE_PLUGIN.
. "$(dirname "$0")/../cli/checks.sh"
program=$1
source=$2
mpirun=$3
large=$4
docs=$work/docs
options=
if "$mpirun" --version 2>&1 | grep -qE 'Open ?(MPI|RTE)'; then
    options='-q --oversubscribe'
    [ "$(id -u)" -ne 0 ] || options="$options --allow-run-as-root"
fi

ranks() { # ranks N ARGUMENTS...: the program in N processes; output in $work/stdout and $work/stderr
    n=$1
    shift
    # shellcheck disable=SC2086 # a list of options
    timeout 120 "$mpirun" $options -n "$n" "$program" "$@" \
        >"$work/stdout" 2>"$work/stderr" </dev/null
}
alone() { # alone ARGUMENTS...
    "$program" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
}
same() { # same A B: two folders of results, except threads, chunks and the command
    cmp -s "$1/tensors.safetensors" "$2/tensors.safetensors" || return 1
    for one in "$1" "$2"; do grep -vE '"(threads|chunk|command)"' "$one/results.json" >"$one.plain"; done
    cmp -s "$1.plain" "$2.plain"
}
# One sentence of ours, besides the note on a line of c.jsonl; mpirun may add its own.
says() {
    [ "$(grep '^pythiascope: ' "$work/stderr" | grep -vc 'c.jsonl')" -eq 1 ] &&
        grep -qE -- "$1" "$work/stderr"
}
fails() { # fails PATTERN N ARGUMENTS...: not 0, after one sentence
    pattern=$1
    shift
    if ranks "$@"; then return 1; fi
    says "$pattern"
}

# Texts in folders, lines, and compressed files: about 11,000 tokens.
mkdir -p "$docs/a" "$docs/b"
head -c 12000 "$source/docs/architecture.md" | iconv -c -t ASCII >"$docs/b/one.txt"
head -c 9000 "$source/docs/hooks.md" | iconv -c -t ASCII | gzip >"$docs/a/two.md.gz"
: >"$docs/a/empty.txt"
awk 'NR > 10 && NR < 60 {gsub(/[\\"]/, ""); gsub(/\t/, " ");
    printf "{\"id\": %d, \"text\": \"%s \\u00e9t\\u00e9\"}\n", NR, $0}' \
    "$source/docs/numerics.md" | iconv -c -t ASCII >"$docs/c.jsonl"
printf 'no object\n' >>"$docs/c.jsonl"
