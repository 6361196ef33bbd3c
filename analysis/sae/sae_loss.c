/* What the model loses when the reconstruction stands in for the row:
 *
 *   l        log sum exp z - z_next, of the run itself
 *   l_with   of the run with y' in place of y at all chosen rows of the sequence
 *   l_zero   with 0 in place of y
 *
 * from the first chosen row of a sequence on, over the tokens that have a next one. Changed runs
 * are variants of the run, so each begins at the dictionary's layer. */
#include "sae.h"

#include <math.h>
#include <string.h>

/* Whether the point can be set in a variant. */
static int can_replace(const sae_state *s) {
    return !s->d.out_affine && s->d.out_point != PSC_HOOK_LN_FINAL_NORMALIZED &&
           s->d.out_point != PSC_HOOK_LOGITS;
}

typedef struct scoring {
    sae_state *s;
    const psc_event *event;
    double *to; /* [rows of the run] */
} scoring;

static void score_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const scoring *p = payload;
    const sae_state *s = p->s;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const psc_row *row = &p->event->rows[r];
        const float *z = psc_view_row(&p->event->tensor, r);
        p->to[row->index] = row->next < 0 ? (double)NAN
                                          : s->host->log_sum_exp(s->context, s->model->d_vocab, z) -
                                                (double)z[row->next];
    }
}

static void score(sae_state *s, const psc_event *event, double *to) {
    scoring p = {s, event, to};
    s->host->parallel_for(s->context, event->n_rows, score_rows, &p);
}

static int on_logits(const psc_event *event, void *payload) {
    sae_state *s = payload;
    score(s, event, s->plain);
    return 0;
}

int sae_loss_begin(sae_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->rows.n_all, q = (uint64_t)s->sequences.n;
    s->has_loss = 0;
    if (s->loss == SAE_LOSS_NO || (s->loss == SAE_LOSS_AUTO && s->corpus)) return 0;
    if (!can_replace(s)) {
        if (s->loss == SAE_LOSS_AUTO) return 0;
        return host->fail(s->context,
            "loss=yes needs a hook point whose rows can be replaced, and %s is none",
            s->d.out_name);
    }
    s->plain = host->run_alloc(s->context, n * sizeof *s->plain + 1);
    s->scratch = host->run_alloc(s->context, n * sizeof *s->scratch + 1);
    s->changes = host->run_alloc(s->context, 2 * q * sizeof *s->changes + 1);
    s->variants = host->run_alloc(s->context, 2 * q * sizeof *s->variants + 1);
    if (!s->plain || !s->scratch || !s->changes || !s->variants) return -1;
    s->has_loss = 1;
    return host->observe(s->context, PSC_HOOK_LOGITS, NULL, on_logits, s) ||
           host->prepare_variants(s->context);
}

static int is_edited(const sae_state *s) {
    for (int point = 0; point < PSC_POINT_COUNT; point++)
        if (s->host->has_editor(s->context, (psc_point)point)) return 1;
    return 0;
}

/* The sums of losses, in row order, of the rows that a variant shows. */
static int on_variant(int32_t number, const psc_event *event, void *payload) {
    sae_state *s = payload;
    const int32_t row = event->rows[0].index;
    sae_totals *t = &s->totals[s->sequences.place[row] / 2];
    score(s, event, s->scratch);
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t i = event->rows[r].index;
        if (event->rows[r].next < 0) continue;
        t->sums[number % 2 ? SAE_LOSS_ZERO : SAE_LOSS_WITH] += s->scratch[i];
        if (number % 2) continue;
        t->sums[SAE_LOSS_PLAIN] += s->plain[i];
        t->counts[SAE_SCORED] += 1;
    }
    return s->host->cancelled(s->context);
}

/* The chosen rows of rows first..end-1, one sequence, as changes; returns 0 if there are none. */
static int make_changes(sae_state *s, int32_t first, int32_t end, int32_t at) {
    while (first < end && s->rows.slot[first] < 0) first++;
    while (end > first && s->rows.slot[end - 1] < 0) end--;
    if (first == end) return 0;
    for (int32_t i = 0; i < 2; i++) {
        s->changes[at + i] = (psc_change){.struct_size = sizeof(psc_change),
            .kind = i ? PSC_CHANGE_SCALE : PSC_CHANGE_SET,
            .point = s->d.out_point,
            .layer = s->d.out_layer,
            .sequence = s->all[first].sequence,
            .row_begin = s->all[first].position,
            .row_end = s->all[end - 1].position + 1,
            .head = -1,
            .key = -1,
            .values = i ? NULL : s->out + (int64_t)s->rows.slot[first] * s->d.d_out,
            .stride = i ? 0 : s->d.d_out};
        s->variants[at + i] = (psc_variant){
            .struct_size = sizeof(psc_variant), .n_changes = 1, .changes = &s->changes[at + i]};
    }
    return 2;
}

int sae_loss_compute(sae_state *s) {
    int32_t n = 0;
    if (!s->has_loss) return 0;
    if (is_edited(s)) {
        if (s->loss == SAE_LOSS_YES)
            return s->host->fail(
                s->context, "loss=yes does not work with interventions; use loss=no");
        s->has_loss = 0;
        return 0;
    }
    for (int32_t first = 0, end = 0; first < s->rows.n_all; first = end) {
        while (end < s->rows.n_all && s->all[end].sequence == s->all[first].sequence) end++;
        n += make_changes(s, first, end, n);
    }
    return s->host->variants(s->context, n, s->variants, PSC_ROWS_ALL, on_variant, s);
}
