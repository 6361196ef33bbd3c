/* The whole pattern of a run, for figures: pattern[l, h, row, key] = A_kj, f32, 0 past the row.
 *
 *   shapes: an event's tensor is [rows, heads, keys of the event]; the array [L, H, rows, keys] has
 *   the keys of the longest row of the run
 *
 * Each thread copies its heads, so the array does not depend on threads or chunks. */
#include "attention.h"

#include <string.h>

int attention_patterns_begin(attention_state *s) {
    static const char *const axes[] = {"layers", "heads", "rows", "keys"};
    const double mebibytes =
        (double)s->n_cells * s->n_rows * s->longest * (double)sizeof(float) / (1 << 20);
    if (mebibytes > (double)s->memory)
        return s->host->fail(s->context,
            "patterns= of %d heads, %d rows and %d keys needs %.1f MiB, more than memory=%d MiB; "
            "shorten the text, or raise memory=",
            (int)s->n_cells, (int)s->n_rows, (int)s->longest, mebibytes, (int)s->memory);
    s->pattern =
        s->host->array(s->context, "pattern", (psc_element)((int)PSC_F32 | PSC_UNFILLED), 4, axes);
    return s->pattern ? 0 : -1;
}

void attention_patterns_take(
    const attention_state *s, int64_t cell, const psc_row *row, const float *a) {
    const size_t n = (size_t)row->position + 1;
    float *out = s->pattern + (cell * s->n_rows + row->index) * s->longest;
    memcpy(out, a, n * sizeof *out);
    memset(out + n, 0, ((size_t)s->longest - n) * sizeof *out);
}
