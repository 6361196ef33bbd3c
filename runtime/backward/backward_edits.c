/* What editors of the forward pass left of values that the backward pass computes again otherwise:
 *
 *   scale [R] of a LayerNorm     scores, pattern [H, R, most_keys] of a layer
 *   rot_q [R, N], a [R, M]       if recomputed, where an editor changes them or what is before
 *
 * The forward pass copies them to one block, only where an editor of the run selects some of its
 * rows. Rows that the last layer does not compute have scale 1 and the others 0. */
#include "backward_inside.h"

#include <string.h>

/* A point that may be edited, and where what is kept of it goes. */
typedef struct edit {
    psc_point point;
    int32_t layer;
    float **to;
    size_t width; /* floats of a row */
} edit;

enum { EDITS_A_LAYER = 6 };

/* Whether the pass needs the value as editors left it. One that is recomputed comes from the
 * residual, so editors of all that is between count, too. */
static bool is_edited(const psc_backward *b, const edit *e, const psc_row *rows, int32_t n_rows) {
    static const psc_point before_q[] = {
        PSC_HOOK_LN1_SCALE, PSC_HOOK_LN1_NORMALIZED, PSC_HOOK_Q, PSC_HOOK_ROT_Q};
    static const psc_point before_a[] = {
        PSC_HOOK_LN2_SCALE, PSC_HOOK_LN2_NORMALIZED, PSC_HOOK_MLP_PRE};
    const bool q = e->point == PSC_HOOK_ROT_Q, a = e->point == PSC_HOOK_MLP_PRE;
    const psc_point *points = q ? before_q : a ? before_a : &e->point;
    const size_t n = q   ? sizeof before_q / sizeof *before_q
                     : a ? sizeof before_a / sizeof *before_a
                         : 1;
    if (!b->with.values || ((q || a) && !b->recompute)) return false;
    for (size_t i = 0; i < n; i++)
        if (psc_registry_edits(b->with.values, points[i], e->layer, rows, n_rows)) return true;
    return false;
}

/* The points of a layer; of layer n_layers: that behind all layers. Returns how many. */
static size_t edits_of(
    const psc_backward *b, edit out[EDITS_A_LAYER], int32_t layer, size_t n_keys) {
    const size_t heads = b->heads * n_keys;
    if (layer == (int32_t)b->n_layers) {
        out[0] = (edit){PSC_HOOK_LN_FINAL_SCALE, -1, (float **)&b->final_scale, 1};
        return 1;
    }
    psc_kept_layer *kept = &b->kept_layers[layer];
    out[0] = (edit){PSC_HOOK_LN1_SCALE, layer, &kept->scale1, 1};
    out[1] = (edit){PSC_HOOK_LN2_SCALE, layer, &kept->scale2, 1};
    out[2] = (edit){PSC_HOOK_ATTN_SCORES, layer, &kept->scores, heads};
    out[3] = (edit){PSC_HOOK_PATTERN, layer, &kept->pattern, heads};
    out[4] = (edit){PSC_HOOK_ROT_Q, layer, &kept->rot_q, b->n};
    out[5] = (edit){PSC_HOOK_MLP_PRE, layer, &kept->a, b->m};
    return EDITS_A_LAYER;
}

/* Floats of what is edited in these rows. */
static size_t count(const psc_backward *b, const psc_row *rows, int32_t n_rows) {
    edit edits[EDITS_A_LAYER];
    size_t floats = 0, n_keys = 0;
    for (int32_t r = 0; r < n_rows; r++)
        if ((size_t)rows[r].position >= n_keys) n_keys = (size_t)rows[r].position + 1;
    for (int32_t l = 0; l <= (int32_t)b->n_layers; l++) {
        const size_t n = edits_of(b, edits, l, n_keys);
        for (size_t i = 0; i < n; i++)
            if (is_edited(b, &edits[i], rows, n_rows))
                floats += psc_padded((size_t)n_rows * edits[i].width);
    }
    return floats;
}

double psc_backward_edit_bytes(
    const psc_backward *backward, const psc_row *rows, int32_t n_rows, bool recompute) {
    psc_backward counted = *backward;
    counted.recompute = recompute;
    return (double)count(&counted, rows, n_rows) * sizeof(float);
}

/* Scores or pattern [H, R, most_keys] of all rows, or only of the metric's. */
static bool keep_heads(psc_backward *b, psc_destinations *kept, const edit *e, bool all) {
    const int32_t n = all ? 1 : b->n_logits;
    psc_destination *to = psc_destinations_add(kept, e->point, e->layer, n);
    if (!to) return false;
    psc_destination_part *parts = kept->parts + to->first_part;
    if (all)
        parts[0] = (psc_destination_part){0, b->n_rows, b->most_keys, b->n_rows, *e->to};
    else
        memset(*e->to, 0, (size_t)b->n_rows * e->width * sizeof **e->to);
    for (int32_t i = 0; !all && i < n; i++) {
        const int32_t row = b->logit_rows[i];
        parts[i] = (psc_destination_part){
            row, row + 1, b->most_keys, b->n_rows, *e->to + (size_t)row * (size_t)b->most_keys};
    }
    return true;
}

static bool keep_edit(psc_backward *b, psc_destinations *kept, const edit *e) {
    const bool all =
        !psc_point_is_late(e->point) || (e->layer >= 0 && e->layer + 1 < (int32_t)b->n_layers);
    if (psc_point_has_keys(e->point)) return keep_heads(b, kept, e, all);
    if (!psc_backward_keep(b, kept, e->point, e->layer, *e->to, e->width, all)) return false;
    for (int32_t r = 0; !all && e->width == 1 && r < b->n_rows; r++) (*e->to)[r] = 1.0f;
    return true;
}

psc_status psc_backward_keep_edits(psc_backward *b, psc_destinations *kept) {
    const size_t floats = count(b, b->rows, b->n_rows);
    psc_forward_drop(&b->edits, floats);
    float *at = floats ? psc_forward_grow(&b->edits, floats, b->error) : NULL;
    edit edits[EDITS_A_LAYER];
    if (floats && !at) return PSC_ERROR_MEMORY;
    for (int32_t l = 0; l <= (int32_t)b->n_layers; l++) {
        const size_t n = edits_of(b, edits, l, (size_t)b->most_keys);
        for (size_t i = 0; i < n; i++) {
            *edits[i].to = NULL;
            if (!at || !is_edited(b, &edits[i], b->rows, b->n_rows)) continue;
            *edits[i].to = at;
            at += psc_padded((size_t)b->n_rows * edits[i].width);
            if (!keep_edit(b, kept, &edits[i]))
                return psc_fail(
                    b->error, PSC_ERROR_MEMORY, "not enough memory for the gradient's copies");
        }
    }
    return PSC_OK;
}
