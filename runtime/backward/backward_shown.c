/* Memory for gradients that the pass completes only where something selects them:
 *
 *   scores [R, H, ld_keys]   dA and ds of a whole layer, for a subscriber
 *   result [R, H, N]         the writes of heads, where an editor may change each
 *   edited [R, ld_n]         a write, where an editor may change it
 *   whole  [rows, ld_v]      some rows of the logits' gradient
 *
 * Each grows once, to what its largest layer needs. The next run frees what it does not need. */
#include "backward_inside.h"

/* Floats of each. */
typedef struct shown {
    size_t scores, result, edited, whole;
} shown;

static shown count(const psc_backward *backward, const psc_destinations *copies,
    const psc_row *rows, int32_t n_rows) {
    psc_backward b = *backward;
    shown out = {0};
    size_t n_keys = 0;
    const size_t n = (size_t)n_rows;
    for (size_t r = 0; r < n; r++)
        if ((size_t)rows[r].position >= n_keys) n_keys = (size_t)rows[r].position + 1;
    b.copies = copies;
    b.rows = rows;
    b.n_rows = n_rows;
    for (b.layer = 0; b.layer < (int32_t)b.n_layers; b.layer++) {
        if (psc_backward_watches(&b, PSC_HOOK_PATTERN) ||
            psc_backward_watches(&b, PSC_HOOK_ATTN_SCORES))
            out.scores = n * b.heads * psc_backward_ld_keys(n_keys);
        if (psc_backward_edits(&b, PSC_HOOK_RESULT)) out.result = n * b.heads * b.n;
        if (psc_backward_edits(&b, PSC_HOOK_MLP_OUT) || psc_backward_edits(&b, PSC_HOOK_ATTN_OUT))
            out.edited = n * b.ld_n;
    }
    b.layer = -1;
    if (psc_backward_wants(&b, PSC_HOOK_LOGITS))
        out.whole =
            (size_t)psc_backward_logit_rows(psc_backward_edits(&b, PSC_HOOK_LOGITS)) * b.ld_v;
    return out;
}

double psc_backward_show_bytes(const psc_backward *backward, const psc_destinations *copies,
    const psc_row *rows, int32_t n_rows) {
    const shown n = count(backward, copies, rows, n_rows);
    return ((double)n.scores + (double)n.result + (double)n.edited + (double)n.whole) *
           sizeof(float);
}

void psc_backward_drop_shown(psc_backward *b) {
    const shown n = count(b, NULL, b->rows, b->n_rows);
    psc_forward_drop(&b->scores, n.scores);
    psc_forward_drop(&b->result, n.result);
    psc_forward_drop(&b->edited, n.edited);
    psc_forward_drop(&b->whole, n.whole);
}
