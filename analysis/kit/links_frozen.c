/* The frozen counterpart of a link: what unit j writes to unit k's last row r directly is taken out
 * of the final residual x [N], and only the final norm is computed again:
 *
 *   w = sum over j's tokens t, layers l, heads h of A^{l,h}_rt W_O,h v_t        (v with b_V)
 *   p' = softmax(W_U (gamma * (x - w - mean) / sigma + beta)), sigma of x - w
 *
 * W_O,h v_t is computed once per token (as hook_result would be), w and the norm in f64.
 * Unembeddings of many pairs run together. */
#include "links.h"

#include <math.h>
#include <string.h>

enum { ROOM = 64 };

int psc_frozen_links_begin(psc_frozen_links *f, psc_divergence *base) {
    const psc_host *host = base->host;
    *f = (psc_frozen_links){.base = base, .model = host->model(base->context)};
    const int32_t last = f->model->n_layers - 1;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &last;
    filter.n_layers = 1;
    f->pattern = host->retain(base->context, PSC_HOOK_PATTERN, NULL);
    if (f->pattern < 0) return -1;
    f->v = host->retain(base->context, PSC_HOOK_V, NULL);
    if (f->v < 0) return -1;
    f->resid = host->retain(base->context, PSC_HOOK_RESID_POST, &filter);
    if (f->resid < 0) return -1;
    f->room = base->longest < ROOM ? base->longest : ROOM;
    const uint64_t room = (uint64_t)f->room;
    f->y = host->run_alloc(base->context, room * (uint64_t)f->model->d_model * sizeof *f->y);
    f->logits = host->run_alloc(base->context, room * (uint64_t)base->n_vocab * sizeof *f->logits);
    f->index = host->run_alloc(base->context, room * sizeof *f->index);
    f->of = host->run_alloc(base->context, room * sizeof *f->of);
    f->kl = host->run_alloc(base->context, room * sizeof *f->kl);
    f->dlogp = host->run_alloc(base->context, room * sizeof *f->dlogp);
    return f->y && f->logits && f->index && f->of && f->kl && f->dlogp ? 0 : -1;
}

static int fetch_all(psc_frozen_links *f) {
    const psc_host *host = f->base->host;
    psc_context *context = f->base->context;
    const int32_t n_layers = f->model->n_layers;
    psc_event event;
    if (f->patterns) return 0;
    psc_view *views = host->run_alloc(context, 2 * (uint64_t)n_layers * sizeof *views);
    if (!views) return -1;
    for (int32_t l = 0; l < n_layers; l++) {
        if (host->fetch(context, f->pattern, l, &event)) return -1;
        views[l] = event.tensor;
        if (host->fetch(context, f->v, l, &event)) return -1;
        views[n_layers + l] = event.tensor;
    }
    if (host->fetch(context, f->resid, n_layers - 1, &event)) return -1;
    f->final = event.tensor;
    if (host->ln_parameters(context, PSC_LN_FINAL, 0, &f->gamma, &f->beta)) return -1;
    f->values = views + n_layers;
    f->patterns = views;
    return 0;
}

/* --- the writes of one unit ------------------------------------------------------------------ */

/* Sets writes [tokens, L, H, N] of the tokens first..first+n-1 of the sequence. */
static int write_unit(psc_frozen_links *f, int32_t first, int32_t n) {
    const psc_model_info *m = f->model;
    const psc_host *host = f->base->host;
    const int64_t heads = m->n_heads, size = m->d_head, width = heads * size, wide = m->d_model;
    for (int32_t l = 0; l < m->n_layers; l++)
        for (int32_t t = 0; t < n; t++) {
            const float *v = psc_view_row(&f->values[l], f->base->first + first + t);
            float *to = f->writes + ((int64_t)t * m->n_layers + l) * heads * wide;
            for (int64_t h = 0; h < heads; h++)
                memcpy(f->unit + h * width + h * size, v + h * f->values[l].stride[1],
                    (size_t)size * sizeof *v);
            if (host->apply(f->base->context, PSC_W_O, l, to, f->unit, heads)) return -1;
        }
    return 0;
}

static int make_room(psc_frozen_links *f, const psc_units *units) {
    const psc_model_info *m = f->model;
    int32_t most = 0;
    for (int32_t u = 0; u < units->n; u++)
        if (units->begin[u + 1] - units->begin[u] > most)
            most = units->begin[u + 1] - units->begin[u];
    if (most <= f->tokens) return 0;
    const uint64_t heads = (uint64_t)m->n_heads, width = heads * (uint64_t)m->d_head;
    f->tokens = most;
    f->unit = f->base->host->run_alloc(f->base->context, heads * width * sizeof *f->unit);
    f->writes = f->base->host->run_alloc(f->base->context,
        (uint64_t)most * (uint64_t)m->n_layers * heads * (uint64_t)m->d_model * sizeof *f->writes);
    return f->unit && f->writes ? 0 : -1;
}

/* --- predictions ----------------------------------------------------------------------------- */

typedef struct frozen_task {
    psc_frozen_links *f;
    int32_t first, n, waiting; /* the unit's tokens; the first entry of y */
} frozen_task;

/* y = LN_final(x - w) of one row. */
static void norm_without(const frozen_task *task, int32_t row, float *y) {
    enum { WIDTH = 64 };
    const psc_frozen_links *f = task->f;
    const psc_model_info *m = f->model;
    const int64_t heads = m->n_heads, wide = m->d_model, cells = (int64_t)m->n_layers * heads;
    const float *x = psc_view_row(&f->final, row);
    double mean = 0.0, squares = 0.0;
    for (int64_t from = 0; from < wide; from += WIDTH) {
        double sum[WIDTH] = {0};
        const int64_t n = wide - from < WIDTH ? wide - from : WIDTH;
        for (int64_t t = 0; t < task->n; t++)
            for (int64_t c = 0; c < cells; c++) {
                const psc_view *pattern = &f->patterns[c / heads];
                const double a = (double)psc_view_row(
                    pattern, row)[c % heads * pattern->stride[1] + task->first + t];
                const float *write = f->writes + (t * cells + c) * wide + from;
                for (int64_t i = 0; i < n; i++) sum[i] += a * (double)write[i];
            }
        for (int64_t i = 0; i < n; i++) y[from + i] = (float)((double)x[from + i] - sum[i]);
    }
    mean = psc_sum_striped(wide, y) / (double)wide;
    squares = psc_dot_centered(wide, y, mean, y, mean);
    const double sigma = sqrt(squares / (double)wide + (double)m->layer_norm_eps);
    for (int64_t i = 0; i < wide; i++)
        y[i] = (float)(((double)y[i] - mean) / sigma * (double)f->gamma[i] + (double)f->beta[i]);
}

static void norm_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const frozen_task *task = payload;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t at = task->waiting + i;
        norm_without(task, task->f->index[at], task->f->y + at * task->f->model->d_model);
    }
}

/* Compares the waiting predictions. */
static int compare(psc_frozen_links *f) {
    if (f->n == 0) return 0;
    if (f->base->host->apply(f->base->context, PSC_W_U, 0, f->logits, f->y, f->n)) return -1;
    psc_divergence_rows(f->base, f->n, f->index, f->logits, f->base->n_vocab, f->kl, f->dlogp);
    for (int32_t i = 0; i < f->n; i++) {
        f->of[i]->frozen = f->kl[i];
        f->of[i]->dfrozen = f->dlogp[i];
    }
    f->n = 0;
    return f->base->host->cancelled(f->base->context);
}

/* The link in the list: those of earlier `to` come first. */
static psc_link *link_at(psc_link *links, int32_t from, int32_t to, int32_t distance) {
    const int32_t lowest = distance > 0 && distance < to ? to - distance : 0;
    return &links[psc_links_count(to, distance) + from - lowest];
}

/* The links from one unit. */
static int find_from(
    psc_frozen_links *f, const psc_units *units, int32_t from, int32_t distance, psc_link *links) {
    const int32_t first = units->begin[from], tokens = units->begin[from + 1] - first;
    int32_t to = from + 1, end = units->n;
    if (distance > 0 && distance < end - to) end = to + distance;
    if (write_unit(f, first, tokens)) return -1;
    while (to < end) {
        frozen_task task = {f, first, tokens, f->n};
        for (; to < end && f->n < f->room; to++) {
            f->of[f->n] = link_at(links, from, to, distance);
            f->index[f->n++] = f->base->first + units->begin[to + 1] - 1;
        }
        f->base->host->parallel_for(f->base->context, f->n - task.waiting, norm_rows, &task);
        if (f->n == f->room && compare(f)) return -1;
    }
    return 0;
}

int psc_frozen_links_find(
    psc_frozen_links *f, const psc_units *units, int32_t distance, psc_link *links) {
    if (fetch_all(f) || make_room(f, units)) return -1;
    for (int32_t from = 0; from + 1 < units->n; from++)
        if (find_from(f, units, from, distance, links)) return -1;
    return compare(f);
}
