/* Memory for gradients that the pass completes only where something selects them:
 *
 *   scores [R, H, ld_keys]   dA and ds of a whole layer, for a subscriber
 *   result [R, H, N]         the writes of heads, where an editor may change each
 *   edited [R, ld_n]         a write, where an editor may change it
 *   whole  [rows, ld_v]      some rows of the logits' gradient
 *
 * Each grows once, to what its largest layer needs. */
#include "backward_inside.h"

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

double psc_backward_show_bytes(const psc_backward *backward, const psc_destinations *copies,
    const psc_row *rows, int32_t n_rows) {
    psc_backward b = *backward;
    size_t n_keys = 0, scores = 0, result = 0, edited = 0, whole = 0;
    const size_t n = (size_t)n_rows;
    for (int32_t r = 0; r < n_rows; r++) n_keys = larger(n_keys, (size_t)rows[r].position + 1);
    b.copies = copies;
    b.rows = rows;
    b.n_rows = n_rows;
    for (b.layer = 0; b.layer < (int32_t)b.n_layers; b.layer++) {
        if (psc_backward_watches(&b, PSC_HOOK_PATTERN) ||
            psc_backward_watches(&b, PSC_HOOK_ATTN_SCORES))
            scores = n * b.heads * psc_backward_ld_keys(n_keys);
        if (psc_backward_edits(&b, PSC_HOOK_RESULT)) result = n * b.heads * b.n;
        if (psc_backward_edits(&b, PSC_HOOK_MLP_OUT) || psc_backward_edits(&b, PSC_HOOK_ATTN_OUT))
            edited = n * b.ld_n;
    }
    b.layer = -1;
    if (psc_backward_wants(&b, PSC_HOOK_LOGITS))
        whole = (size_t)psc_backward_logit_rows(psc_backward_edits(&b, PSC_HOOK_LOGITS)) * b.ld_v;
    return ((double)scores + (double)result + (double)edited + (double)whole) * sizeof(float);
}
