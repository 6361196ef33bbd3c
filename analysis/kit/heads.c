/* Heads of spans by knock-outs, for rows k after the span [a, b]:
 *
 *   necessity(j) = sum_k KL(p_k || p'_k), rows > b may not read j; it does not depend on a
 *   sufficiency(j) = -sum_k KL(p_k || p'_k), of [a, b] rows > b may read j only
 *
 * Of two units each is sufficient as far as the other is not necessary: no further knock-out. Right
 * edges descend, so that the host finds the keys of earlier rows in place. */
#include "heads.h"

#include <math.h>

typedef struct head_plan {
    psc_knockouts *k;
    const psc_units *units;
    int32_t rows, n;
    psc_head *heads;
    double *necessity;    /* [units, units] */
    int32_t *first_of;    /* [units] the first span that ends there, or -1 */
    int32_t *next;        /* [n] the next such span, or -1 */
    int32_t *same;        /* [n] an equal span before it, or itself */
    double **sufficiency; /* [n] of its units, with the sign of KL; null: not computed */
} head_plan;

static int32_t size_of(const psc_head *span) {
    return span->end - span->begin + 1;
}

/* The lists of spans by right edge, and the room for sufficiencies of spans of three units or
 * more. */
static int make_plan(head_plan *p) {
    const psc_host *host = p->k->base.host;
    psc_context *context = p->k->base.context;
    const uint64_t n = (uint64_t)p->n, n_units = (uint64_t)p->units->n;
    p->first_of = host->run_alloc(context, n_units * sizeof *p->first_of + 1);
    p->next = host->run_alloc(context, n * sizeof *p->next + 1);
    p->same = host->run_alloc(context, n * sizeof *p->same + 1);
    p->sufficiency = host->run_alloc(context, n * sizeof *p->sufficiency + 1);
    if (!p->first_of || !p->next || !p->same || !p->sufficiency) return -1;
    for (int32_t b = 0; b < p->units->n; b++) p->first_of[b] = -1;
    for (int32_t i = p->n - 1; i >= 0; i--) {
        p->next[i] = p->first_of[p->heads[i].end];
        p->first_of[p->heads[i].end] = i;
    }
    for (int32_t i = 0; i < p->n; i++) {
        int32_t same = p->first_of[p->heads[i].end];
        while (p->heads[same].begin != p->heads[i].begin) same = p->next[same];
        p->same[i] = same;
        if (same < i || size_of(&p->heads[i]) < 3) continue;
        p->sufficiency[i] =
            host->run_alloc(context, (uint64_t)size_of(&p->heads[i]) * sizeof(double));
        if (!p->sufficiency[i]) return -1;
    }
    return 0;
}

/* The rows after unit b that count. */
static psc_knockout rows_after(const head_plan *p, int32_t b) {
    psc_knockout cut = {.row_begin = p->units->begin[b + 1], .row_end = p->k->end};
    if (p->rows > 0 && cut.row_end - cut.row_begin > p->rows) cut.row_end = cut.row_begin + p->rows;
    return cut;
}

static int knock_out_all_but(head_plan *p, int32_t i, psc_knockout cut) {
    const psc_head *span = &p->heads[i];
    const int32_t *begin = p->units->begin;
    for (int32_t j = span->begin; j <= span->end; j++) {
        cut.from[0] = begin[span->begin];
        cut.to[0] = begin[j];
        cut.from[1] = begin[j + 1];
        cut.to[1] = begin[span->end + 1];
        if (psc_knockouts_add(p->k, &cut, &p->sufficiency[i][j - span->begin], NULL)) return -1;
    }
    return 0;
}

/* All knock-outs of spans that end in unit b. */
static int knock_out(head_plan *p, int32_t b) {
    psc_knockout cut = rows_after(p, b);
    int32_t from = b + 1;
    if (cut.row_begin >= cut.row_end) return 0;
    for (int32_t i = p->first_of[b]; i >= 0; i = p->next[i])
        if (p->heads[i].begin < from) from = p->heads[i].begin;
    for (int32_t j = from; j <= b; j++) {
        cut.from[0] = p->units->begin[j];
        cut.to[0] = p->units->begin[j + 1];
        if (psc_knockouts_add(p->k, &cut, &p->necessity[(int64_t)b * p->units->n + j], NULL))
            return -1;
    }
    for (int32_t i = p->first_of[b]; i >= 0; i = p->next[i])
        if (p->sufficiency[i] && knock_out_all_but(p, i, cut)) return -1;
    return 0;
}

/* The sufficiency of unit j of a span. */
static double sufficiency_of(const head_plan *p, int32_t i, int32_t j) {
    const psc_head *span = &p->heads[i];
    const double *kept = p->sufficiency[p->same[i]];
    if (kept) return 0.0 - kept[j - span->begin];
    if (size_of(span) == 1) return 0.0;
    const int32_t other = j == span->begin ? span->end : span->begin;
    return 0.0 - p->necessity[(int64_t)span->end * p->units->n + other];
}

static void choose(head_plan *p, int32_t i) {
    psc_head *span = &p->heads[i];
    const psc_knockout rows = rows_after(p, span->end);
    const double *necessity = p->necessity + (int64_t)span->end * p->units->n;
    span->necessary = span->sufficient = -1;
    span->necessity = span->sufficiency = NAN;
    if (rows.row_begin >= rows.row_end) return;
    span->necessary = span->sufficient = span->begin;
    for (int32_t j = span->begin + 1; j <= span->end; j++) {
        if (necessity[j] > necessity[span->necessary]) span->necessary = j;
        if (sufficiency_of(p, i, j) > sufficiency_of(p, i, span->sufficient)) span->sufficient = j;
    }
    span->necessity = necessity[span->necessary];
    span->sufficiency = sufficiency_of(p, i, span->necessary);
}

int psc_heads_find(psc_knockouts *k, const psc_units *units, int32_t rows, int32_t n,
    psc_head *heads, double *necessity, double *sufficiency) {
    head_plan plan = {
        .k = k, .units = units, .rows = rows, .n = n, .heads = heads, .necessity = necessity};
    if (n == 0) return 0;
    if (make_plan(&plan)) return -1;
    for (int32_t b = units->n - 1; b >= 0; b--)
        if (plan.first_of[b] >= 0 && knock_out(&plan, b)) return -1;
    if (psc_knockouts_flush(k)) return -1;
    if (k->counting) return 0;
    for (int32_t i = 0; i < n; i++) choose(&plan, i);
    for (int32_t j = heads[0].begin; sufficiency && j <= heads[0].end; j++)
        sufficiency[j - heads[0].begin] =
            heads[0].necessary < 0 ? (double)NAN : sufficiency_of(&plan, 0, j);
    return 0;
}
