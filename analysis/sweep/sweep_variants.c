/* The variants of a sweep: one for each place whose change can change the logits.
 *
 * Variants run layer by layer, and within a layer by the number of rows that they compute, over all
 * examples of a set. The host packs neighbors of a similar size into one pass, and of one sequence
 * it finds the keys and values of earlier rows in place. Not computed, because every bit stays:
 *
 *   a patch whose value has the bits that the row has (of a common beginning of both prompts)
 *   in the last layer, what a later row does not read: outputs and patterns of rows before the
 *   first one whose logits are needed */
#include "sweep.h"

#include <stdlib.h>

#define VARIANTS_A_CALL 2048
#define CHANGES_A_CALL 4096 /* more if a sequence is longer */

/* A place of the model in one part: rows begin..end-1 of the part, at a layer. */
typedef struct place {
    int32_t part, layer, head; /* head -1: no heads */
    int32_t begin, end, key;   /* key: its number in the part; -1: no edges */
    int64_t cell;
} place;

typedef struct batch {
    sweep_state *s;
    psc_change *changes;
    psc_variant *variants;
    int32_t n, n_changes, most_changes;
    int32_t
        *first; /* [parts, heads] the first row that a head's variant changes; the part's n: none */
    double done; /* 0..1 */
} batch;

/* --- what changes ---------------------------------------------------------------------------- */

/* What a change of a row does: nothing can be put there, every bit stays, or it may change some. */
typedef enum outcome { UNDEFINED, SAME, CHANGES } outcome;

/* The source's row of row r of a part, and for edges that of its key; -1: none. */
static int32_t source_row(const sweep_state *s, const sweep_part *part, int32_t r, int32_t key) {
    const int32_t from = s->source_at[part->first + r];
    if (key < 0 || from < 0) return from;
    const int32_t read = s->source_at[part->first + key];
    return read < 0 || read > from ? -1 : from;
}

static outcome outcome_of(const sweep_state *s, const place *at, int32_t r) {
    const sweep_part *part = &s->rows.parts[at->part];
    const int patched = s->what == SWEEP_PATCH;
    if (s->what == SWEEP_CUT && r == 0) return UNDEFINED; /* row 0 keeps its only key */
    if (patched && source_row(s, part, r, at->key) < 0) return UNDEFINED;
    if (at->layer == s->n_layers - 1 && s->over != SWEEP_RESID_PRE &&
        part->first + r < s->chosen.index[part->slot])
        return SAME;
    if (!patched) return CHANGES;
    const int64_t layer = s->over == SWEEP_EDGES ? 0 : at->layer;
    const int64_t unit = s->over == SWEEP_EDGES ? (int64_t)at->head * s->rows.n_keys + at->key
                         : at->head >= 0        ? at->head
                                                : 0;
    return s->same[(layer * s->rows.n + part->first + r) * s->units + unit] ? SAME : CHANGES;
}

/* The source's values for row r. */
static const float *source_values(const sweep_state *s, const place *at, int32_t r) {
    const sweep_rows *source = &s->source.rows;
    const sweep_part *part = &s->rows.parts[at->part];
    const int64_t layer = s->over == SWEEP_EDGES ? 0 : at->layer;
    int64_t within = at->head >= 0 ? (int64_t)at->head * s->d_head : 0;
    if (s->over == SWEEP_EDGES)
        within = (int64_t)at->head * source->n_keys + s->source_at[part->first + at->key] -
                 sweep_source_of(s, part)->first;
    return (const float *)s->source.values.at +
           (layer * source->n + s->source_at[part->first + r]) * source->width + within;
}

/* --- variants -------------------------------------------------------------------------------- */

static int flush(batch *b) {
    sweep_state *s = b->s;
    if (b->n == 0) return 0;
    int before = 0; /* an earlier row than a sequence's last is needed */
    for (int32_t i = 0; i < s->rows.n_parts; i++) {
        const sweep_part *part = &s->rows.parts[i];
        before |= s->chosen.index[part->slot] < part->first + part->n - 1;
    }
    if (s->host->variants(s->context, b->n, b->variants, before ? PSC_ROWS_ALL : PSC_ROWS_LAST,
            sweep_on_logits, s))
        return -1;
    b->n = b->n_changes = 0;
    s->host->progress(s->context, b->done);
    return 0;
}

static psc_change *put_change(batch *b, const place *at, int32_t begin, int32_t end) {
    const sweep_state *s = b->s;
    const sweep_part *part = &s->rows.parts[at->part];
    psc_change *c = &b->changes[b->n_changes++];
    *c = (psc_change){.struct_size = sizeof *c,
        .kind = s->what == SWEEP_CUT ? PSC_CHANGE_CUT : PSC_CHANGE_SCALE,
        .point = s->point,
        .layer = at->layer,
        .sequence = part->sequence,
        .row_begin = part->position + begin,
        .row_end = part->position + end,
        .head = at->head,
        .key = at->key};
    if (s->what == SWEEP_MEAN) {
        c->kind = PSC_CHANGE_SET;
        c->values = s->mean + ((int64_t)at->part * s->n_layers + at->layer) * s->rows.width +
                    (at->head >= 0 ? (int64_t)at->head * s->d_head : 0);
    } else if (s->what == SWEEP_PATCH) {
        c->kind = PSC_CHANGE_SET;
        c->values = source_values(s, at, begin);
        c->stride = s->source.rows.width;
    }
    return c;
}

/* Patches: a change for each stretch of rows whose source rows are neighbors too. */
static void put_changes(batch *b, const place *at) {
    const sweep_state *s = b->s;
    const sweep_part *part = &s->rows.parts[at->part];
    psc_change *open = NULL;
    for (int32_t r = at->begin; r < at->end; r++) {
        const int follows =
            open && (s->what != SWEEP_PATCH ||
                        s->source_at[part->first + r] == s->source_at[part->first + r - 1] + 1);
        if (outcome_of(s, at, r) != CHANGES)
            open = NULL;
        else if (follows)
            open->row_end++;
        else
            open = put_change(b, at, r, r + 1);
    }
}

/* Adds the variant of a place whose first row changes. */
static int add(batch *b, const place *at) {
    const int32_t rows = at->end - at->begin;
    if ((b->n == VARIANTS_A_CALL || b->n_changes + rows > b->most_changes) && flush(b)) return -1;
    psc_change *changes = &b->changes[b->n_changes];
    const int32_t before = b->n_changes;
    put_changes(b, at);
    b->variants[b->n] = (psc_variant){
        .struct_size = sizeof *b->variants, .n_changes = b->n_changes - before, .changes = changes};
    if (b->s->picked) {
        b->variants[b->n].n_token_ids = 2 * b->s->n_targets;
        b->variants[b->n].token_ids = b->s->picked + (int64_t)at->part * 2 * b->s->n_targets;
    }
    b->s->cells[b->n++] = (sweep_cell){at->part, at->cell};
    return 0;
}

/* A place of one row: computed, or known. */
static int add_row(batch *b, const place *at) {
    const outcome o = outcome_of(b->s, at, at->begin);
    if (o == SAME) sweep_put_zero(b->s, at->part, at->cell);
    return o == CHANGES ? add(b, at) : 0;
}

/* --- all of a layer, by the number of rows --------------------------------------------------- */

static place place_of_head(const sweep_state *s, int32_t part, int32_t layer, int32_t head) {
    return (place){.part = part,
        .layer = layer,
        .head = head,
        .end = s->rows.parts[part].n,
        .key = -1,
        .cell = (int64_t)layer * s->n_heads + head};
}

/* The first row that each head's variant changes. A head whose rows all keep their bits has the
 * effect 0. */
static void find_first_rows(batch *b, int32_t layer) {
    sweep_state *s = b->s;
    for (int32_t p = 0; p < s->rows.n_parts; p++)
        for (int32_t h = 0; h < s->n_heads; h++) {
            const place at = place_of_head(s, p, layer, h);
            int32_t r = 0, defined = 0;
            for (outcome o = UNDEFINED; r < at.end; r++) {
                o = outcome_of(s, &at, r);
                defined |= o != UNDEFINED;
                if (o == CHANGES) break;
            }
            b->first[p * s->n_heads + h] = r;
            if (r == at.end && defined) sweep_put_zero(s, p, at.cell);
        }
}

static int add_heads(batch *b, int32_t p, int32_t layer, int32_t r) {
    const sweep_state *s = b->s;
    for (int32_t h = 0; h < s->n_heads; h++) {
        place at = place_of_head(s, p, layer, h);
        at.begin = r;
        if (b->first[p * s->n_heads + h] == r && add(b, &at)) return -1;
    }
    return 0;
}

static int add_edges(batch *b, int32_t p, int32_t layer, int32_t r) {
    const sweep_state *s = b->s;
    const int64_t n = s->rows.longest;
    for (int32_t h = 0; h < s->n_heads; h++)
        for (int32_t j = 0; j <= r; j++) {
            const place at = {p, layer, h, r, r + 1, j, (h * n + r) * n + j};
            if (add_row(b, &at)) return -1;
        }
    return 0;
}

/* The places of a part at a layer whose variants begin at row r. */
static int add_places(batch *b, int32_t p, int32_t layer, int32_t r) {
    const sweep_state *s = b->s;
    const int64_t n = s->rows.longest;
    if (s->over == SWEEP_HEADS) return add_heads(b, p, layer, r);
    if (s->over == SWEEP_EDGES) return add_edges(b, p, layer, r);
    if (s->over != SWEEP_HEADS_BY_POS)
        return add_row(b, &(place){p, layer, -1, r, r + 1, -1, layer * n + r});
    for (int32_t h = 0; h < s->n_heads; h++) {
        const int64_t cell = ((int64_t)layer * s->n_heads + h) * n + r;
        if (add_row(b, &(place){p, layer, h, r, r + 1, -1, cell})) return -1;
    }
    return 0;
}

static int add_layer(batch *b, int32_t layer, int32_t index, int32_t n_layers) {
    const sweep_rows *rows = &b->s->rows;
    if (b->s->over == SWEEP_HEADS) find_first_rows(b, layer);
    for (int32_t n = 1; n <= rows->longest; n++) {
        for (int32_t p = 0; p < rows->n_parts; p++)
            if (n <= rows->parts[p].n && add_places(b, p, layer, rows->parts[p].n - n)) return -1;
        b->done = (index + (double)n / rows->longest) / n_layers;
    }
    return 0;
}

/* The mean over each part's rows, for every layer. */
static int find_means(sweep_state *s) {
    const int64_t width = s->rows.width;
    s->mean = s->host->run_alloc(
        s->context, (uint64_t)s->rows.n_parts * (uint64_t)(s->n_layers * width) * sizeof *s->mean);
    if (!s->mean) return -1;
    for (int32_t l = 0; l < s->n_layers; l++) {
        psc_event kept;
        if (s->host->fetch(s->context, s->source.retained, l, &kept)) return -1;
        for (int32_t p = 0; p < s->rows.n_parts; p++) {
            const sweep_part *part = &s->rows.parts[p];
            const float *values = kept.tensor.data + part->first * width;
            float *mean = s->mean + ((int64_t)p * s->n_layers + l) * width;
            for (int64_t i = 0; i < width; i++) {
                double sum = 0;
                for (int32_t r = 0; r < part->n; r++) sum += values[r * width + i];
                mean[i] = (float)(sum / part->n);
            }
        }
    }
    return 0;
}

int sweep_compute(sweep_state *s) {
    const psc_host *host = s->host;
    batch b = {.s = s, .most_changes = CHANGES_A_CALL};
    if (s->metric != SWEEP_KL && psc_targets_required(&s->targets)) return -1;
    if (s->rows.longest > b.most_changes) b.most_changes = s->rows.longest;
    b.changes = host->run_alloc(s->context, (uint64_t)b.most_changes * sizeof *b.changes);
    b.variants = host->run_alloc(s->context, VARIANTS_A_CALL * sizeof *b.variants);
    b.first = host->run_alloc(
        s->context, (uint64_t)s->rows.n_parts * (uint64_t)s->n_heads * sizeof *b.first);
    s->cells = host->run_alloc(s->context, VARIANTS_A_CALL * sizeof *s->cells);
    if (!b.changes || !b.variants || !b.first || !s->cells || sweep_measure(s) || sweep_pick(s))
        return -1;
    if (s->what == SWEEP_MEAN && find_means(s)) return -1;
    const int32_t n_layers = sweep_layers_kept(s);
    for (int32_t l = 0; l < n_layers; l++)
        if (add_layer(&b, s->over == SWEEP_EDGES ? s->layer : l, l, n_layers)) return -1;
    if (flush(&b)) return -1;
    if (s->normalized) sweep_normalize(s);
    return 0;
}
