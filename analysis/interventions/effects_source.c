/* How far the edits take a target from this prompt's value to the source prompt's:
 *
 *   normalized = (changed - base) / (source - base),  all z of the target (z_a - z_b of a contrast)
 *
 * 0: as this prompt, 1: as the source. There must be one source prompt, as long as this one; its
 * value is of the same tokens at the same row. In a set of pairs it is that of the row that this
 * one is aligned with, if `rows` chooses it there. NaN where source and base are equal. */
#include "effects.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void effects_forget_source(effects_state *s) {
    free(s->source.logits);
    free(s->source.rows);
    s->source = (effects_source){0};
}

static int keep_logits(const psc_event *event, void *payload) {
    effects_state *s = payload;
    const size_t n = (size_t)s->model->d_vocab;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = s->rows.slot[event->rows[r].index];
        if (slot >= 0)
            memcpy(s->source.logits + (size_t)slot * n,
                event->tensor.data + r * event->tensor.stride[0], n * sizeof(float));
    }
    return 0;
}

int effects_begin_source(effects_state *s) {
    const psc_host *host = s->host;
    effects_source *source = &s->source;
    int32_t n_targets = 0;
    host->targets(s->context, &n_targets);
    effects_forget_source(s);
    /* With a second prompt there is no one source; the first begins a new set. */
    if (host->source(s->context) != 0 || n_targets == 0) return 0;
    if (psc_rows_resolve(s->context, host, "rows", &s->choice, 1, &s->rows)) return -1;
    source->n_rows = s->rows.n;
    source->n_all = s->rows.n_all;
    const size_t floats = (size_t)s->rows.n * (size_t)s->model->d_vocab;
    source->logits = malloc(floats * sizeof(float) + 1);
    if (!source->logits)
        return host->fail(s->context,
            "not enough memory for the source prompt's logits at %d rows (%.0f MB); choose fewer "
            "rows",
            (int)s->rows.n, (double)floats * 4e-6);
    int32_t n = 0;
    const psc_row *rows = host->rows(s->context, &n);
    source->paired = host->example(s->context, rows[0].sequence) >= 0;
    source->rows = malloc((size_t)s->rows.n * sizeof *source->rows + 1);
    if (!source->rows) return host->fail(s->context, "not enough memory for the source's rows");
    for (int32_t i = 0; i < s->rows.n; i++) source->rows[i] = rows[s->rows.index[i]];
    return host->observe(s->context, PSC_HOOK_LOGITS, &s->rows.filter, keep_logits, s);
}

void effects_end_source(effects_state *s) {
    s->source.complete = s->source.logits != NULL;
}

int effects_has_source(const effects_state *s) {
    const effects_source *source = &s->source;
    if (source->paired) return source->complete;
    return source->complete && source->n_all == s->base.n_all && source->n_rows == s->base.n_rows;
}

int effects_source_arrays(effects_state *s) {
    static const char *const axes[] = {"targets", "rows"};
    const psc_host *host = s->host;
    s->base_value = s->source_value = s->normalized = NULL;
    if (!effects_has_source(s)) return 0;
    s->base_value = host->array(s->context, "base_value", PSC_F64, 2, axes);
    s->source_value = host->array(s->context, "source_value", PSC_F64, 2, axes);
    s->normalized = host->array(s->context, "normalized", PSC_F64, 2, axes);
    return s->base_value && s->source_value && s->normalized ? 0 : -1;
}

static double value_of(const float *logits, const int32_t ids[2]) {
    return (double)logits[ids[0]] - (ids[1] >= 0 ? (double)logits[ids[1]] : 0.0);
}

/* The slot in the source of a chosen row; -1: none; -2 after an error. */
static int32_t source_slot(const effects_state *s, int32_t slot) {
    int32_t n = 0, position = -1;
    if (!s->source.paired) return slot;
    const psc_row *row = &s->host->rows(s->context, &n)[s->rows.index[slot]];
    if (s->host->source_row(s->context, row, &position)) return -2;
    for (int32_t i = 0; i < s->source.n_rows; i++)
        if (s->source.rows[i].sequence == row->sequence && s->source.rows[i].position == position)
            return i;
    return -1;
}

static int normalize_row(effects_state *s, int32_t slot) {
    const int64_t n = s->model->d_vocab, rows = s->rows.n;
    const int32_t from = source_slot(s, slot);
    if (from < -1) return -1;
    for (int32_t t = 0; t < s->targets.n; t++) {
        const int64_t at = t * rows + slot;
        const int32_t *ids = s->base.ids + 2 * at;
        if (ids[0] < 0) continue;
        s->base_value[at] = value_of(s->base.logits + slot * n, ids);
        if (from < 0) continue;
        s->source_value[at] = value_of(s->source.logits + from * n, ids);
        const double scale = s->source_value[at] - s->base_value[at];
        s->normalized[at] = scale == 0.0 ? NAN : s->dz[at] / scale;
    }
    return 0;
}

int effects_normalize(effects_state *s) {
    for (int32_t slot = 0; s->normalized && slot < s->rows.n; slot++)
        if (normalize_row(s, slot)) return -1;
    return 0;
}

int effects_say_source(const effects_state *s, int32_t target, int32_t slot) {
    const int64_t at = (int64_t)target * s->rows.n + slot;
    char text[240];
    if (!s->normalized) return 0;
    const double base = s->base_value[at], source = s->source_value[at];
    if (source == base)
        snprintf(text, sizeof text,
            "logit %.4f here and on the source prompt, so the change is not normalized (NaN)",
            base);
    else
        snprintf(text, sizeof text,
            "logit %.4f here, %.4f on the source prompt; normalized %.3f (0 is this prompt, 1 the "
            "source)",
            base, source, s->normalized[at]);
    return s->host->summary_text(s->context, text);
}
