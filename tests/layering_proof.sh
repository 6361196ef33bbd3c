#!/bin/sh
# Shows that layering.sh refuses what it must: breaks one rule at a time in a copy of the tree.
# usage: layering_proof.sh SOURCE_DIR
set -eu
rules=$(cd "$(dirname "$0")" && pwd)/layering.sh
cd "$1"
work=$(mktemp -d "${TMPDIR:-/tmp}/psc-layering-XXXXXX")
trap 'rm -rf "$work"' EXIT
for folder in include base simd hooks runtime analysis report cli examples bench fuzz tests tools python; do
    find $folder -name '*.[ch]' -o -name '*.def' -o -name '*.py' -o -name README.md
done | tar -cf - -T - | tar -xf - -C "$work"
sh "$rules" "$work" >"$work/log" || { cat "$work/log"; exit 1; }

failures=0
refuses() { # refuses FILE LINE: the line is added to the file, and layering.sh must name the file
    existed=yes
    [ -e "$work/$1" ] || existed=no
    mkdir -p "$(dirname "$work/$1")"
    if [ $existed = yes ]; then cp "$work/$1" "$work/kept"; fi
    printf '%s\n' "$2" >>"$work/$1"
    if sh "$rules" "$work" >"$work/log" || ! grep -q "${1##*/}" "$work/log"; then
        echo "layering_proof: not refused: '$2' in $1"
        failures=$((failures + 1))
    fi
    if [ $existed = yes ]; then mv "$work/kept" "$work/$1"; else rm "$work/$1"; fi
}

refuses base/arena.c '#include "registry.h"'
refuses simd/dispatch.c '#include "arena.h"'
refuses simd/dispatch.c '#include "psc_error.h"'
refuses hooks/points.c '#include "model.h"'
refuses runtime/tokenizer/tokenizer.c '#include "model.h"'
refuses runtime/model/model.c '#include "forward.h"'
refuses runtime/forward/forward.c '#include "host.h"'
refuses runtime/forward/forward.c '#include "backward.h"'
refuses runtime/backward/backward.c '#include "host.h"'
refuses runtime/treebank/conllu.c '#include "tokenizer.h"'
refuses runtime/corpus/corpus_files.c '#include "registry.h"'
refuses runtime/model/model.c '#include "results.h"
#include "report.h"'
refuses analysis/logits/logits.c '#include "ln.h"'
refuses analysis/kit/common.c '#include "logits.h"'
refuses analysis/ln/ln.c '#include "arena.h"'
refuses analysis/ln/deeper/deep.c '#include "psc_plugin.h"'
refuses report/report_json.c '#include "model.h"'
refuses report/report_json.c '#include "page_data.h"'
refuses report/page/page.c '#include "model.h"'
refuses cli/verbs/info.c '#include "model.h"'
refuses cli/main.c '#include "results.h"'
refuses examples/norms/norms.c '#include "common.h"'
refuses base/team.c '#include "not_there.h"'
refuses runtime/forward/forward.c '#if defined(__AVX2__)'
refuses base/files.c 'void f(void) { printf("x"); }'
refuses analysis/ln/ln.c 'void f(void) { fputs("x", stderr); }'
refuses simd/pack.c 'void *f(void) { return malloc(1); }'
refuses report/report_json.c 'json_t *f(const char *t) { return json_loads(t, 0, NULL); }'
refuses cli/state.c 'char *f(json_t *t) { return json_dumps(t, 0); }'
refuses report/report_json.c 'FILE *f(char **t, size_t *n) { return open_memstream(t, n); }'
refuses runtime/plugins/host.c 'static int f(int p) { return p < PSC_HOOK_Z; }'
refuses python/pythiascope/runtime/tokens.py 'NAME = "model.h"'
refuses python/pythiascope/runtime/tokens.py 'class Point(ctypes.Structure): ...'
refuses python/pythiascope/runtime/tokens.py 'LIBRARY = ctypes.CDLL("libm.so.6")'
refuses python/pythiascope/_c/tokens.py '"""A second file of that name."""'
refuses python/pythiascope/tokens.c 'int x;'
refuses analysis/ln/arena.c '/* a second file of that name */'
i=0
long=
while [ $i -lt 26 ]; do
    i=$((i + 1))
    long="$long
line"
done
refuses analysis/README.md "$long"

# A file that git lists and that the rules do not reach.
echo 'int x;' >"$work/base/unread.c"
git -C "$work" init -q
git -C "$work" add base hooks include simd runtime analysis report cli examples python
rm "$work/base/unread.c"
if sh "$rules" "$work" >"$work/log"; then
    echo "layering_proof: an unread file is not detected"
    failures=$((failures + 1))
fi

[ $failures -eq 0 ] || { echo "layering_proof: $failures failed"; exit 1; }
echo "layering_proof: every wrong line is refused"
