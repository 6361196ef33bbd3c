/* The source run, and the rows of the changed run that are patched from it.
 *
 *   values [layers][rows, width] of the swept tensor; logits [slots, V] of the last rows
 *   same [layers][rows, units]: the source's value has the bits of this run's. The prompts' common
 *   beginning does. A patch there changes nothing, so that it need not be computed. */
#include "sweep.h"

#include <string.h>

int32_t sweep_layers_kept(const sweep_state *s) {
    return s->over == SWEEP_EDGES ? 1 : s->n_layers;
}

/* --- sequences ------------------------------------------------------------------------------- */

int32_t sweep_count_parts(const psc_row *rows, int32_t n) {
    int32_t count = 0;
    for (int32_t r = 0; r < n; r++) count += r == 0 || rows[r].sequence != rows[r - 1].sequence;
    return count;
}

void sweep_find_parts(const sweep_state *s, const psc_row_set *chosen, const psc_row *run_rows,
    int32_t n, sweep_rows *out) {
    sweep_part *part = out->parts - 1;
    out->n = n;
    out->longest = out->n_keys = 0;
    int32_t slot = 0;
    for (int32_t r = 0; r < n; r++) {
        const psc_row *row = &run_rows[r];
        if (r == 0 || row->sequence != row[-1].sequence)
            *++part = (sweep_part){row->sequence, row->position, r, 0, slot, 0};
        part->n++;
        if (chosen->slot && chosen->slot[r] >= 0) {
            part->n_slots++;
            slot++;
        }
        if (part->n > out->longest) out->longest = part->n;
        if (row->position >= out->n_keys) out->n_keys = row->position + 1;
    }
    out->n_parts = (int32_t)(part - out->parts) + 1;
    out->width = s->over == SWEEP_EDGES ? (int64_t)s->n_heads * out->n_keys : s->d_model;
}

/* --- the source run -------------------------------------------------------------------------- */

int sweep_retain(sweep_state *s) {
    psc_filter filter = PSC_FILTER_INIT;
    if (s->over == SWEEP_EDGES) {
        filter.layers = &s->layer;
        filter.n_layers = 1;
    }
    s->source.retained = s->host->retain(s->context, s->point, &filter);
    return s->source.retained < 0 ? -1 : 0;
}

void sweep_keep_logits(
    const sweep_state *s, const psc_row_set *chosen, const psc_event *event, float *out) {
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = chosen->slot[event->rows[r].index];
        if (slot < 0) continue;
        memcpy(out + (int64_t)slot * s->n_vocab, psc_view_row(&event->tensor, r),
            (size_t)s->n_vocab * sizeof *out);
    }
}

static int on_source_logits(const psc_event *event, void *payload) {
    const sweep_state *s = payload;
    sweep_keep_logits(s, &s->chosen, event, s->source.logits.at);
    return 0;
}

/* rows.n stays 0 until the copy is complete. */
int sweep_begin_source(sweep_state *s) {
    const psc_host *host = s->host;
    sweep_source *source = &s->source;
    int32_t n = 0;
    if (s->what != SWEEP_PATCH) return 0;
    const psc_row *rows = host->rows(s->context, &n);
    const uint64_t n_parts = (uint64_t)sweep_count_parts(rows, n);
    source->rows.parts =
        psc_kept_alloc(&source->parts, s->context, host, n_parts * sizeof(sweep_part));
    if (!source->rows.parts || sweep_retain(s)) return -1;
    source->n_slots = s->chosen.n;
    if (!sweep_normalizes(s)) return 0;
    const uint64_t bytes = (uint64_t)s->chosen.n * (uint64_t)s->n_vocab * sizeof(float);
    if (!psc_kept_alloc(&source->logits, s->context, host, bytes)) return -1;
    return host->observe(s->context, PSC_HOOK_LOGITS, &s->chosen.filter, on_source_logits, s);
}

int sweep_keep_source(sweep_state *s) {
    sweep_source *source = &s->source;
    int32_t n = 0;
    const psc_row *rows = s->host->rows(s->context, &n);
    sweep_find_parts(s, &s->chosen, rows, n, &source->rows);
    source->rows.n = 0;
    const int64_t floats = n * source->rows.width;
    const int32_t n_layers = sweep_layers_kept(s);
    float *values = psc_kept_alloc(&source->values, s->context, s->host,
        (uint64_t)n_layers * (uint64_t)floats * sizeof *values);
    if (!values) return -1;
    for (int32_t l = 0; l < n_layers; l++) {
        psc_event kept;
        const int32_t layer = s->over == SWEEP_EDGES ? s->layer : l;
        if (s->host->fetch(s->context, source->retained, layer, &kept)) return -1;
        memcpy(values + l * floats, kept.tensor.data, (size_t)floats * sizeof *values);
    }
    source->rows.n = n;
    return 0;
}

/* --- the changed run ------------------------------------------------------------------------- */

const sweep_part *sweep_source_of(const sweep_state *s, const sweep_part *part) {
    for (int32_t i = 0; i < s->source.rows.n_parts; i++)
        if (s->source.rows.parts[i].sequence == part->sequence) return &s->source.rows.parts[i];
    return NULL;
}

/* Without a set, both prompts have the same number of tokens, and row r is patched from row r. */
static int check_single(const sweep_state *s) {
    const int32_t n = s->source.rows.n;
    if (s->is_set || (n == s->rows.n && s->source.rows.n_parts == 1)) return 0;
    return s->host->fail(s->context,
        "the source prompt has %s and the prompt %d; a patch needs prompts of equal length",
        PSC_MANY(n, "token"), (int)s->rows.n);
}

static int align_part(sweep_state *s, const sweep_part *part, const sweep_part *from) {
    for (int32_t r = part->first; r < part->first + part->n; r++) {
        int32_t position;
        s->source_at[r] = -1;
        if (s->host->source_row(s->context, &s->run_rows[r], &position)) return -1;
        if (position < 0) continue;
        if (!from || position < from->position || position >= from->position + from->n)
            return s->host->fail(s->context,
                "the row %d of example %lld is aligned with the position %d of its source prompt, "
                "which was not run",
                (int)s->run_rows[r].position,
                (long long)s->host->example(s->context, part->sequence), (int)position);
        s->source_at[r] = from->first + position - from->position;
    }
    return 0;
}

static bool same_bits(const float *a, const float *b, int64_t n) {
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

/* Whether the source has the bits of a row of an event. Of edges, one unit is one key. */
static void compare_row(const sweep_state *s, const psc_event *event, int32_t i, bool *same) {
    const sweep_rows *source = &s->source.rows;
    const psc_view *t = &event->tensor;
    const psc_row *row = &event->rows[i];
    const int32_t from = s->source_at[row->index];
    const int64_t layer = s->over == SWEEP_EDGES ? 0 : event->layer;
    const float *values =
        (const float *)s->source.values.at + (layer * source->n + from) * source->width;
    const float *own = psc_view_row(t, i);
    if (s->over != SWEEP_EDGES) {
        const int64_t width = s->d_model / s->units;
        const int64_t stride = s->units > 1 ? t->stride[1] : 0;
        for (int64_t u = 0; u < s->units; u++)
            same[u] = same_bits(own + u * stride, values + u * width, width);
        return;
    }
    const int32_t *keys = s->source_at + row->index - row->position; /* a whole sequence */
    const int32_t first = sweep_source_of(s, &(sweep_part){.sequence = row->sequence})->first;
    for (int64_t h = 0; h < s->n_heads; h++)
        for (int32_t j = 0; j <= row->position; j++)
            if (keys[j] >= 0 && keys[j] <= from)
                same[h * s->rows.n_keys + j] = same_bits(
                    own + h * t->stride[1] + j, values + h * source->n_keys + keys[j] - first, 1);
}

static int on_values(const psc_event *event, void *payload) {
    const sweep_state *s = payload;
    const int64_t layer = s->over == SWEEP_EDGES ? 0 : event->layer;
    for (int32_t i = 0; i < event->n_rows; i++) {
        const int32_t index = event->rows[i].index;
        if (s->source_at[index] >= 0)
            compare_row(s, event, i, s->same + (layer * s->rows.n + index) * s->units);
    }
    return 0;
}

int sweep_begin_patches(sweep_state *s) {
    const psc_host *host = s->host;
    if (s->source.rows.n == 0)
        return host->fail(s->context, "do=patch needs a source prompt (--source)");
    if (check_single(s)) return -1;
    const int heads = s->over == SWEEP_HEADS || s->over == SWEEP_HEADS_BY_POS;
    s->units = heads ? s->n_heads : s->over == SWEEP_EDGES ? (int32_t)s->rows.width : 1;
    s->source_at = host->run_alloc(s->context, (uint64_t)s->rows.n * sizeof *s->source_at);
    s->same = host->run_alloc(
        s->context, (uint64_t)sweep_layers_kept(s) * (uint64_t)s->rows.n * (uint64_t)s->units);
    if (!s->source_at || !s->same) return -1;
    for (int32_t i = 0; i < s->rows.n_parts; i++) {
        const sweep_part *part = &s->rows.parts[i], *from = sweep_source_of(s, part);
        if (from && s->over == SWEEP_EDGES && from->position != 0)
            return host->fail(
                s->context, "over=edges needs a whole source prompt; run it from position 0");
        if (align_part(s, part, from)) return -1;
    }
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &s->layer;
    filter.n_layers = s->over == SWEEP_EDGES;
    return host->observe(s->context, s->point, &filter, on_values, s);
}
