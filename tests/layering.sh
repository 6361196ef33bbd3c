#!/bin/sh
# The rules of the tree that a compiler does not see. usage: layering.sh SOURCE_DIR
#   - a layer includes only the layers that docs/architecture.md allows;
#   - instruction sets are named in simd/ only;
#   - a library neither prints nor exits;
#   - the order of hook points means nothing;
#   - a file name is there once; a folder's README has at most 25 lines.
set -u
cd "$1" || exit 1
failures=0
fail() {
    echo "layering: $*"
    failures=$((failures + 1))
}

headers() { find "$@" -name '*.h' -o -name '*.def'; }
sources() { find "$@" -name '*.[ch]'; }

# The headers of the tree that LAYER may include, as a list of files.
may_include() {
    public="psc_error.h psc_results.h psc_hooks.h psc_plugin.h psc.h psc_corpus.h"
    case $1 in
        base) headers base; echo "$public" ;;
        simd) headers simd ;;
        hooks) headers hooks base; echo "$public" ;;
        runtime) headers runtime hooks simd base; echo "$public" ;;
        analysis) headers analysis; echo psc_plugin.h psc_error.h ;;
        report) headers report base; echo "$public" ;;
        cli) headers cli; echo report.h "$public" ;;
    esac
}

for layer in base simd hooks runtime analysis report cli; do
    allowed=" "
    for candidate in $(may_include $layer); do allowed="$allowed${candidate##*/} "; done
    for file in $(sources $layer); do
        for header in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$file"); do
            case $allowed in
                *" ${header##*/} "*) ;;
                *) fail "$file may not include $header" ;;
            esac
        done
    done
done

isa='__AVX|__FMA__|__F16C__|__SSE|__ARM_NEON|__aarch64__|__x86_64__|immintrin|arm_neon'
for file in $(sources base hooks runtime analysis report cli); do
    if grep -nE "^ *# *(if|ifdef|ifndef|elif|include).*($isa)" "$file"; then
        fail "$file names an instruction set"
    fi
done

# fprintf and friends to an explicit stream are report/'s trade; stdout and stderr are nobody's.
for file in $(sources base simd hooks runtime analysis report); do
    if grep -nE '(^|[^a-z_>.])(printf|puts|putchar|perror|exit|_exit|abort|quick_exit) *\(' "$file"; then
        fail "$file prints or exits"
    fi
    if grep -nE '(^|[^a-z_])(stdout|stderr)([^a-z_]|$)' "$file" | grep -vE '^[0-9]+: *(/\*|\*)'; then
        fail "$file writes to a standard stream"
    fi
done

# In simd/ nothing allocates, opens files or asks the environment.
for file in $(sources simd); do
    if grep -nE '(^|[^a-z_>.])(malloc|calloc|realloc|fopen|open|getenv) *\(' "$file"; then
        fail "$file allocates, reads files or the environment"
    fi
done

# Hook points are a set: where one stands in PSC_POINTS means nothing.
if grep -nE '[<>]=? *(\([a-z0-9_]+\) *)?PSC_HOOK_' $(sources base hooks runtime analysis report cli tests); then
    fail "the order of hook points is relied on"
fi

twice=$(for file in $(sources base simd hooks runtime analysis report cli bench tests); do
    basename "$file"
done | sort | uniq -d)
[ -z "$twice" ] || fail "file names that are there twice:" $twice

for readme in */README.md; do
    [ -e "$readme" ] || continue
    case $readme in docs/* | models/*) continue ;; esac
    lines=$(wc -l <"$readme")
    [ "$lines" -le 25 ] || fail "$readme has $lines lines; at most 25"
done

[ $failures -eq 0 ] || { echo "layering: $failures failed"; exit 1; }
echo "layering: all rules hold"
