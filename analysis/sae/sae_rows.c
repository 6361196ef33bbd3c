/* The latents of a run's rows and what they reconstruct.
 *
 *   y' = decode(encode(x));  per row |y - y'|^2, |y|^2, |y'|^2, y . y' in f64 by ascending index
 *
 * An event's chosen rows are encoded together. Reconstructions are kept for the whole run: a
 * transcoder's y comes later in the pass, and losses need them all at its end. */
#include "sae.h"

#include <math.h>
#include <string.h>

static int make_text(sae_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->rows.n, entries = n * (uint64_t)s->top;
    s->best = host->run_alloc(s->context, entries * sizeof *s->best + 1);
    s->best_value = host->run_alloc(s->context, entries * sizeof *s->best_value + 1);
    s->n_best = host->run_alloc(s->context, n * sizeof *s->n_best + 1);
    s->listed_value =
        host->run_alloc(s->context, n * (uint64_t)s->n_listed * sizeof *s->listed_value + 1);
    return !s->best || !s->best_value || !s->n_best || !s->listed_value ? -1 : 0;
}

/* Takes the rows before `from` out of the chosen ones, and where windows overlap those that an
 * earlier window had. */
static int leave_out(sae_state *s) {
    const int32_t n_all = s->rows.n_all, n_chosen = s->rows.n;
    int32_t *index = s->host->run_alloc(s->context, (uint64_t)n_all * sizeof *index + 1);
    int32_t *slot = s->host->run_alloc(s->context, (uint64_t)n_all * sizeof *slot + 1);
    int32_t n = 0;
    if (!index || !slot) return -1;
    for (int32_t i = 0; i < n_all; i++) {
        slot[i] = -1;
        if (s->rows.slot[i] < 0 || s->all[i].position < s->from) continue;
        const int repeated = s->corpus ? s->host->repeated(s->context, &s->all[i]) : 0;
        if (repeated < 0) return -1;
        if (repeated) continue;
        slot[i] = n;
        index[n++] = i;
    }
    if (n == 0 && !s->corpus && n_chosen > 0 && n_chosen < n_all)
        return s->host->fail(s->context,
            "rows= names only position 0, which from=1 leaves out; name other rows, or from=0");
    s->rows.n = n;
    s->rows.index = index;
    s->rows.slot = slot;
    return 0;
}

int sae_rows_begin(sae_state *s) {
    const psc_filter all = PSC_FILTER_INIT;
    const psc_host *host = s->host;
    int32_t n_all = 0;
    s->all = host->rows(s->context, &n_all);
    if (psc_rows_resolve(s->context, host, "rows", s->corpus ? &all : &s->choice, 0, &s->rows) ||
        psc_sequences_find(s->context, host, &s->sequences) || leave_out(s))
        return -1;
    const uint64_t n = (uint64_t)s->rows.n, width = (uint64_t)s->d.d_out;
    s->out = host->run_alloc(s->context, n * width * sizeof *s->out + 1);
    s->error = host->run_alloc(s->context, n * sizeof *s->error + 1);
    s->cosine = host->run_alloc(s->context, n * sizeof *s->cosine + 1);
    s->square = host->run_alloc(s->context, n * sizeof *s->square + 1);
    s->l1 = host->run_alloc(s->context, n * sizeof *s->l1 + 1);
    s->active = host->run_alloc(s->context, n * sizeof *s->active + 1);
    s->totals = host->run_alloc(s->context, (uint64_t)s->sequences.n * sizeof *s->totals + 1);
    double *sums = host->run_alloc(s->context, (uint64_t)s->sequences.n * width * sizeof *sums + 1);
    if (!s->out || !s->error || !s->cosine || !s->square || !s->l1 || !s->active || !s->totals ||
        !sums)
        return -1;
    for (int32_t q = 0; q < s->sequences.n; q++) s->totals[q].sum = sums + q * (int64_t)width;
    return s->corpus ? 0 : make_text(s);
}

/* --- latents --------------------------------------------------------------------------------- */

/* The rows of an event whose latents come: event rows first.. */
typedef struct span {
    sae_state *s;
    const psc_event *event;
    int32_t first;
} span;

static void list_row(
    sae_state *s, int32_t slot, int64_t n, const int32_t *ids, const float *values) {
    const int64_t at = (int64_t)slot * s->top;
    psc_top_list top = {s->best + at, s->top, 0};
    for (int64_t i = 0; i < n; i++) {
        const int32_t place = psc_top_offer(&top, fabs((double)values[i]), ids[i]);
        if (place < 0) continue;
        *(float *)psc_top_room(&top, place, s->best_value + at, sizeof *s->best_value) = values[i];
    }
    s->n_best[slot] = top.n;
    for (int32_t k = 0; k < s->n_listed; k++)
        for (int64_t i = 0; i < n; i++)
            if (ids[i] == s->listed[k])
                s->listed_value[(int64_t)slot * s->n_listed + k] = values[i];
}

static int on_latents(const psc_latents *l, void *payload) {
    const span *p = payload;
    sae_state *s = p->s;
    const int32_t first = p->first + (int32_t)l->first;
    for (int32_t r = 0; r < l->n_rows; r++) {
        const int32_t row = p->event->rows[first + r].index, slot = s->rows.slot[row];
        const int64_t n = l->begin[r + 1] - l->begin[r];
        const int32_t *ids = l->ids + l->begin[r];
        const float *values = l->values + l->begin[r];
        double l1 = 0;
        for (int64_t i = 0; i < n; i++) l1 += fabs((double)values[i]);
        s->l1[slot] = l1;
        s->active[slot] = (int32_t)n;
        if (s->corpus)
            sae_contexts_take(s, row, n, ids, values);
        else
            list_row(s, slot, n, ids, values);
    }
    const int64_t slot = s->rows.slot[p->event->rows[first].index];
    return s->host->dictionary_decode(s->context, s->handle, l,
        psc_view_row(&p->event->tensor, p->first), p->event->tensor.stride[0],
        s->out + slot * s->d.d_out);
}

/* Whether a row's numbers lie side by side. */
static int is_dense(const psc_view *v) {
    return v->n_axes < 3 || v->stride[1] == v->shape[2];
}

int sae_on_in(const psc_event *event, void *payload) {
    sae_state *s = payload;
    if (!is_dense(&event->tensor))
        return s->host->fail(s->context, "received heads that are not side by side");
    for (int32_t first = 0, end; first < event->n_rows; first = end + 1) {
        for (end = first; end < event->n_rows; end++)
            if (s->rows.slot[event->rows[end].index] < 0) break;
        span p = {s, event, first};
        if (end > first &&
            s->host->dictionary_encode(s->context, s->handle, psc_view_row(&event->tensor, first),
                event->tensor.stride[0], end - first, on_latents, &p))
            return -1;
    }
    return s->d.is_transcoder ? 0 : sae_on_out(event, payload);
}

/* --- reconstruction -------------------------------------------------------------------------- */

/* Adds a row's figures to its sequence's totals, in row order. */
static void add_row(sae_state *s, int32_t row, const float *y) {
    const int32_t slot = s->rows.slot[row];
    const float *out = s->out + (int64_t)slot * s->d.d_out;
    sae_totals *t = &s->totals[s->sequences.place[row] / 2];
    double error = 0, square = 0, own = 0, both = 0;
    for (int32_t i = 0; i < s->d.d_out; i++) {
        const double a = y[i], b = out[i], d = a - b;
        error += d * d;
        square += a * a;
        own += b * b;
        both += a * b;
        t->sum[i] += a;
    }
    s->error[slot] = error;
    s->square[slot] = square;
    s->cosine[slot] = square > 0 && own > 0 ? both / (sqrt(square) * sqrt(own)) : 0;
    t->sums[SAE_ERROR] += error;
    t->sums[SAE_SQUARE] += square;
    t->sums[SAE_COSINE] += s->cosine[slot];
    t->sums[SAE_RATIO] += square > 0 ? sqrt(own) / sqrt(square) : 0;
    t->sums[SAE_L1] += s->l1[slot];
    t->counts[SAE_ROWS] += 1;
    t->counts[SAE_ACTIVE] += s->active[slot];
}

int sae_on_out(const psc_event *event, void *payload) {
    sae_state *s = payload;
    if (!is_dense(&event->tensor))
        return s->host->fail(s->context, "received heads that are not side by side");
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t row = event->rows[r].index;
        const float *y = psc_view_row(&event->tensor, r);
        if (s->rows.slot[row] < 0) continue;
        if (s->gamma) {
            s->reductions->ln_affine(s->target, y, s->gamma, s->beta, (size_t)s->d.d_out);
            y = s->target;
        }
        add_row(s, row, y);
        if (!isfinite(s->error[s->rows.slot[row]]))
            return s->host->fail(s->context,
                "the row at position %d of %s holds a NaN or an infinite number, so it has no latents",
                (int)s->all[row].position, s->d.out_name);
    }
    return 0;
}
