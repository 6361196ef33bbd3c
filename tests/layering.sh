#!/bin/sh
# The rules of the tree that a compiler does not check. usage: layering.sh SOURCE_DIR
#   - a folder includes only the folders that docs/architecture.md allows;
#   - only simd/ names instruction sets;
#   - a library neither prints nor exits, and kernels do not allocate;
#   - nothing calls what loses bytes when memory runs out: jansson's lexer, json_dumps, open_memstream;
#   - no code relies on the order of hook points;
#   - python/ holds no C, names no private header, and declares C's structures and loads the library
#     in one place each;
#   - a file name is unique; a folder's README has at most 25 lines.
# layering_proof.sh shows that the script detects a violation of each rule.
set -u
cd "$1" || exit 1
failures=0
fail() {
    echo "layering: $*"
    failures=$((failures + 1))
}

# A folder, and the folders that it may read besides itself. Every folder but simd/ reads include/.
rules='include/pythiascope
base include/pythiascope
simd
hooks include/pythiascope base
runtime/tokenizer include/pythiascope base
runtime/treebank include/pythiascope base
runtime/model include/pythiascope base simd runtime/tokenizer
runtime/forward include/pythiascope base simd hooks runtime/tokenizer runtime/model
runtime/dictionary include/pythiascope base simd hooks runtime/tokenizer runtime/model
runtime/backward include/pythiascope base simd hooks runtime/tokenizer runtime/model runtime/forward
runtime/plugins include/pythiascope base simd hooks runtime/tokenizer runtime/model runtime/forward runtime/dictionary runtime/backward
runtime/session include/pythiascope base simd hooks runtime/tokenizer runtime/model runtime/forward runtime/dictionary runtime/backward runtime/plugins
runtime/pairs include/pythiascope base simd hooks runtime/tokenizer runtime/model runtime/forward runtime/plugins runtime/session
runtime/corpus include/pythiascope base simd runtime/tokenizer runtime/model
analysis/kit include/pythiascope
analysis/* include/pythiascope analysis/kit
report include/pythiascope base
report/page include/pythiascope base report
cli include/pythiascope report cli/cluster
cli/cluster include/pythiascope
cli/hub include/pythiascope report cli
cli/verbs include/pythiascope report cli cli/cluster cli/hub
examples/* include/pythiascope'

folders='include base simd hooks runtime analysis report cli examples'
# shellcheck disable=SC2086 # a list of folders
files=$(find $folders -name node_modules -prune -o -name '*.[ch]' -print -o -name '*.def' -print | sort)
library=$(echo "$files" | grep -v '^cli/\|^examples/')

# Every include of a header of the tree, checked against the rules in one pass.
wrong=$(echo "$rules" | awk '
    FILENAME == "-" { rule[++n] = $1; reads[$1] = " " $1 substr($0, length($1) + 1) " "; next }
    function folder_of(path) { sub("/[^/]*$", "", path); return path }
    FNR == 1 { here = folder_of(FILENAME); allowed = reads[here]
        if (allowed == "") { parent = folder_of(here) "/*"; allowed = reads[parent] " " here " " }
        if (reads[here] == "" && reads[parent] == "") print FILENAME ": no rule covers its folder" }
    /^ *# *include *"/ { split($0, part, "\""); header = part[2]; sub(".*/", "", header)
        to = home[header]
        if (to == "") print FILENAME " includes " header ", which is not in the tree"
        else if (index(allowed, " " to " ") == 0) print FILENAME " may not include " to "/" header }
    BEGIN { while ((getline line < "/dev/fd/3") > 0) { header = line; sub(".*/", "", header)
        home[header] = folder_of(line) } }
    ' - $files 3<<END
$(echo "$files" | grep '\.h$\|\.def$')
END
)
if [ -n "$wrong" ]; then
    echo "$wrong"
    fail "$(echo "$wrong" | wc -l | tr -d ' ') includes break the rules"
fi

refuse() { # refuse PATTERN REASON FILE...
    pattern=$1
    reason=$2
    shift 2
    if grep -nHE "$pattern" "$@" | grep -vE '^[^:]+:[0-9]+: *(/\*|\*)'; then fail "$reason"; fi
}
isa='__AVX|__FMA__|__F16C__|__SSE|__ARM_NEON|__aarch64__|__x86_64__|immintrin|arm_neon'
# shellcheck disable=SC2046,SC2086 # lists of files
{
    refuse "^ *# *(if|ifdef|ifndef|elif|include).*($isa)" 'an instruction set is named outside simd/' \
        $(echo "$files" | grep -v '^simd/')
    # report/ writes to given streams; only the program uses the standard streams.
    refuse '(^|[^a-z_>.])(printf|puts|putchar|perror|exit|_exit|abort|quick_exit) *\(' \
        'a library prints or exits' $library
    refuse '(^|[^a-z_])(stdout|stderr)([^a-z_]|$)' 'a library writes to a standard stream' $library
    refuse '(^|[^a-z_>.])(malloc|calloc|realloc|fopen|open|getenv) *\(' \
        'a kernel allocates, reads files or the environment' $(echo "$files" | grep '^simd/')
    # base/json.h and base/memory_stream.h say why: these lose bytes without memory and report nothing.
    refuse '(^|[^a-z_])(json_load[a-z_]*|json_dumps|open_memstream|fmemopen) *\(' \
        'a function that loses bytes without memory is used' $files
    # Hook points are a set: a point's position in PSC_POINTS has no meaning.
    refuse '[<>]=? *(\([a-z0-9_]+\) *)?PSC_HOOK_' 'the order of hook points is relied on' \
        $files $(find tests -name '*.[ch]')
}

# What a Python module knows of C is generated from include/ (_c/structures.py).
# tests/python/test_package.py checks which module imports which.
modules=$(find python/pythiascope -name '*.py' | sort)
in_python=$(find python -name '*.[ch]')
# shellcheck disable=SC2086 # a list of files
[ -z "$in_python" ] || fail "python/ holds C:" $in_python
private=$(echo "$files" | grep '\.h$\|\.def$' | grep -v '^include/\|^examples/' |
    sed 's|.*/||; s|[.]|[.]|' | paste -s -d '|' -)
# shellcheck disable=SC2046,SC2086 # lists of files
{
    refuse "(^|[^a-z_])($private)([^a-z_]|$)" 'a private header is named in Python' \
        $modules $(find tools tests/tools -name 'make_python_*.py')
    refuse '^ *class .*Structure\)' 'a structure of C is declared outside _c/structures.py' \
        $(echo "$modules" | grep -v '/_c/structures\.py$')
    refuse 'CDLL\(|LoadLibrary' 'a library is loaded outside _c/library.py' \
        $(echo "$modules" | grep -v '/_c/library\.py$')
}

# shellcheck disable=SC2086 # a list of folders
twice=$({
    find $folders bench tests fuzz -name '*.[ch]' ! -name criterion.h # stand-ins for Criterion
    find python bench tests tools fuzz -name '*.py' ! -name __init__.py ! -name conftest.py
} | sed 's|.*/||' | sort | uniq -d)
[ -z "$twice" ] || fail "file names that are not unique:" $twice

# shellcheck disable=SC2086
for readme in $(find $folders python bench tests tools fuzz -name node_modules -prune -o -name README.md -print); do
    lines=$(wc -l <"$readme")
    [ "$lines" -le 25 ] || fail "$readme has $lines lines; at most 25"
done

# Detects a folder that find does not reach.
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    listed=$(git ls-files -- $folders python/pythiascope |
        grep -c '\.[ch]$\|\.def$\|^python/pythiascope/.*\.py$')
    read=$(printf '%s\n' "$files" "$modules" | wc -l | tr -d ' ')
    [ "$read" -ge "$listed" ] || fail "read $read files, and git lists $listed"
fi

[ $failures -eq 0 ] || { echo "layering: $failures failed"; exit 1; }
echo "layering: all rules hold for $(printf '%s\n' "$files" "$modules" | wc -l | tr -d ' ') files"
