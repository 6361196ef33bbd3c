/* The rows of a run, one after the other: the vectors into the unembedding, and each change.
 *
 *   lens l         W_U (gamma P(x_l)/sigma_l + beta)                           [L + 1, V]
 *   component c    f = W_U (gamma P(c)/sigma), one product for all its changes [GROUP, V]
 *
 *   with s = 1 - alpha, k = sigma/sigma_{-sc} - 1, sigma_{-sc} that of x - s c:
 *   frozen_ln      dz = -s f
 *   recomputed_ln  dz = k (z - b) - (1 + k) s f = (S - s u.c)/sigma_{-sc} - S/sigma
 *
 * A head's write is W_O z with the z of all other heads zero, with the forward pass's own bits.
 * Only PARTITION_GROUP rows of logits exist at a time; each thread measures whole components. */
#include "partition.h"

#include <math.h>
#include <string.h>

enum { KEPT_PRE, KEPT_POST, KEPT_EMBED, KEPT_ATTN, KEPT_MLP, KEPT_Z };

/* --- retained tensors ------------------------------------------------------------------------ */

static int has_component(const partition_state *s, psc_component_kind kind) {
    if (!s->asked[PARTITION_FROZEN] && !s->asked[PARTITION_RECOMPUTED]) return 0;
    for (int32_t c = 0; c < s->n_components; c++)
        if (s->components[c].kind == (int32_t)kind) return 1;
    return 0;
}

int partition_keep(partition_state *s) {
    static const psc_point points[] = {PSC_HOOK_RESID_PRE, PSC_HOOK_RESID_POST, PSC_HOOK_EMBED,
        PSC_HOOK_ATTN_OUT, PSC_HOOK_MLP_OUT, PSC_HOOK_Z};
    const int wanted[] = {s->n_lenses > 1, 1, has_component(s, PSC_COMPONENT_EMBED),
        has_component(s, PSC_COMPONENT_ATTN_OUT), has_component(s, PSC_COMPONENT_MLP_OUT),
        has_component(s, PSC_COMPONENT_HEAD)};
    const int32_t last = (int32_t)s->n_layers - 1;
    for (int i = 0; i < 6; i++) {
        psc_filter filter = s->rows.filter;
        if (i == KEPT_POST) {
            filter.layers = &last;
            filter.n_layers = 1;
        }
        s->kept.handle[i] = wanted[i] ? s->host->retain(s->context, points[i], &filter) : -1;
        if (wanted[i] && s->kept.handle[i] < 0) return -1;
    }
    return 0;
}

/* Fetches pointers to the chosen rows of `count` layers. */
static int fetch_layers(
    partition_state *s, int kept, int32_t layer, int32_t count, const float **out) {
    for (int32_t l = 0; l < count; l++)
        if (psc_rows_fetch(s->context, s->host, &s->rows, s->kept.handle[kept], layer + l,
                out + (int64_t)l * s->rows.n))
            return -1;
    return 0;
}

static int fetch_kept(partition_state *s) {
    partition_kept *kept = &s->kept;
    const uint64_t rows = (uint64_t)s->rows.n, n = (uint64_t)s->n_layers * rows;
    const int32_t layers = (int32_t)s->n_layers;
    const float **table = s->host->run_alloc(s->context, (4 * n + 2 * rows) * sizeof *table + 1);
    if (!table) return -1;
    kept->residual = table;
    kept->embed = kept->residual + n + rows;
    kept->attn = kept->embed + rows;
    kept->mlp = kept->attn + n;
    kept->z = kept->mlp + n;
    const float **const to[] = {
        kept->residual, kept->residual + n, kept->embed, kept->attn, kept->mlp, kept->z};
    for (int i = 0; i < 6; i++) {
        if (kept->handle[i] < 0) continue;
        const int32_t one = i == KEPT_POST || i == KEPT_EMBED;
        const int32_t layer = i == KEPT_POST ? layers - 1 : i == KEPT_EMBED ? -1 : 0;
        if (fetch_layers(s, i, layer, one ? 1 : layers, to[i])) return -1;
    }
    return 0;
}

/* --- a row's lenses -------------------------------------------------------------------------- */

/* Applies the final LayerNorm to a row of a residual, with its own sigma. */
static void normalize(const partition_state *s, const float *x, float *out) {
    const int64_t n = s->n_dims;
    const double mean = psc_sum_striped(n, x) / (double)n;
    const double sigma = sqrt(psc_dot_centered(n, x, mean, x, mean) / (double)n + s->eps);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(((double)x[i] - mean) / sigma * (double)s->gamma[i] + (double)s->beta[i]);
}

static void build_before(int64_t begin, int64_t end, int32_t thread, void *payload) {
    partition_state *s = payload;
    (void)thread;
    for (int64_t i = begin; i < end; i++) partition_before_build(s, &s->before[i]);
}

static int resolve_targets(partition_state *s, const psc_row *row, int32_t slot, const float *z) {
    if (s->accumulating) {
        s->ids[0] = row->next;
        s->ids[1] = -1;
        return 0;
    }
    for (int32_t t = 0; t < s->n_targets; t++) {
        int32_t *ids = s->ids + 2 * t;
        if (s->host->target_ids(s->context, t, row, z, ids)) return -1;
        memcpy(s->targets.ids + 2 * ((int64_t)t * s->rows.n + slot), ids, 2 * sizeof *ids);
    }
    return 0;
}

static int lenses(partition_state *s, const psc_row *row, int32_t slot) {
    const int64_t first = s->n_layers + 1 - s->n_lenses;
    float *z = s->before[0].shifted;
    for (int64_t i = 0; i < s->n_lenses; i++)
        normalize(s, s->kept.residual[(first + i) * s->rows.n + slot], s->x + i * s->n_dims);
    if (s->host->apply(s->context, PSC_W_U, -1, z, s->x, s->n_lenses) ||
        resolve_targets(s, row, slot, s->before[s->n_lenses - 1].shifted))
        return -1;
    s->host->parallel_for(s->context, s->n_lenses, build_before, s);
    return 0;
}

/* --- measuring ------------------------------------------------------------------------------- */

void partition_targets_changed(partition_state *s, const float *dz, int64_t change) {
    for (int32_t t = 0; t < s->n_targets; t++) {
        const int32_t a = s->ids[2 * t], b = s->ids[2 * t + 1];
        double value = a < 0 ? NAN : (double)dz[a];
        if (a >= 0 && b >= 0) value -= (double)dz[b];
        s->target_dz[change * s->n_targets + t] = value;
    }
}

static void measure(partition_state *s, const partition_before *before, const float *dz,
    float *after, int64_t change) {
    partition_measure_change(s, before, dz, after, &s->measures[change]);
    partition_targets_changed(s, dz, change);
}

typedef struct group_job {
    partition_state *s;
    int32_t kind, begin; /* of layers: step or lens; the group's first */
    int64_t slot;
    double mean, norm2, sigma; /* of the final residual */
} group_job;

static void layer_changes(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const group_job *job = payload;
    partition_state *s = job->s;
    float *dz = s->scratch + 2 * begin * s->n_vocab, *after = dz + s->n_vocab;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t l = job->begin + i;
        const int step = job->kind == PARTITION_STEP;
        const partition_before *before = &s->before[step ? l : s->n_layers];
        const partition_before *to = &s->before[step ? l + 1 : l];
        const double peak = to->peak - before->peak;
        for (int64_t t = 0; t < s->n_vocab; t++)
            dz[t] = (float)((double)to->shifted[t] - (double)before->shifted[t] + peak);
        measure(s, before, dz, after, s->first[job->kind] + l);
    }
}

/* sigma/sigma_{-sc} - 1, without cancellation. */
static double rescale(const group_job *job, const double part[2], double share) {
    const partition_state *s = job->s;
    const double n = (double)s->n_dims;
    const double left = fmax(job->norm2 - 2.0 * share * part[0] + share * share * part[1], 0.0);
    const double without = sqrt(left / n + s->eps);
    return (job->norm2 - left) / n / (without * (job->sigma + without));
}

static void component_changes(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const group_job *job = payload;
    partition_state *s = job->s;
    float *dz = s->scratch + 2 * begin * s->n_vocab, *after = dz + s->n_vocab;
    const partition_before *before = &s->before[s->n_lenses - 1];
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t c = job->begin + i;
        const float *f = s->y + i * s->n_vocab;
        for (int32_t v = 0; v < 2 * s->n_alphas; v++) {
            const int32_t kind = v < s->n_alphas ? PARTITION_FROZEN : PARTITION_RECOMPUTED;
            const double share = 1.0 - s->alphas[v % s->n_alphas];
            if (!s->asked[kind]) continue;
            const double k =
                kind == PARTITION_RECOMPUTED ? rescale(job, s->parts + 2 * c, share) : 0.0;
            const float by_direct = (float)k, by_f = (float)(-(1.0 + k) * share);
            for (int64_t t = 0; t < s->n_vocab; t++)
                dz[t] = by_direct * before->direct[t] + by_f * f[t];
            const int64_t at = s->first[kind] + (int64_t)(v % s->n_alphas) * s->n_components + c;
            measure(s, before, dz, after, at);
        }
    }
}

/* --- a row's components ---------------------------------------------------------------------- */

/* Computes the writes of the heads c..c+count-1 of one layer by one product. */
static int head_writes(partition_state *s, int32_t c, int32_t count, int32_t slot) {
    const int64_t width = s->n_heads * s->d_head, layer = s->components[c].layer;
    const float *z = s->kept.z[layer * s->rows.n + slot];
    memset(s->heads, 0, (size_t)count * (size_t)width * sizeof(float));
    for (int32_t i = 0; i < count; i++) {
        const int64_t at = s->components[c + i].head * s->d_head;
        memcpy(s->heads + i * width + at, z + at, (size_t)s->d_head * sizeof(float));
    }
    return s->host->apply(
        s->context, PSC_W_O, (int32_t)layer, s->writes + c * s->n_dims, s->heads, count);
}

static int gather_writes(partition_state *s, int32_t slot) {
    const size_t bytes = (size_t)s->n_dims * sizeof(float);
    for (int32_t c = 0; c < s->n_components; c++) {
        const partition_component *component = &s->components[c];
        const int64_t at = (int64_t)component->layer * s->rows.n + slot;
        const float *write = NULL;
        int32_t heads = 0;
        while (c + heads < s->n_components && component[heads].layer == component->layer &&
               component[heads].kind == PSC_COMPONENT_HEAD)
            heads++;
        if (heads) {
            if (head_writes(s, c, heads, slot)) return -1;
            c += heads - 1;
            continue;
        }
        if (component->kind == PSC_COMPONENT_EMBED) write = s->kept.embed[slot];
        if (component->kind == PSC_COMPONENT_ATTN_OUT) write = s->kept.attn[at];
        if (component->kind == PSC_COMPONENT_MLP_OUT) write = s->kept.mlp[at];
        if (component->kind == PSC_COMPONENT_ATTN_BIAS)
            write = s->host->bias(s->context, PSC_W_O, component->layer);
        if (!write) return -1;
        memcpy(s->writes + c * s->n_dims, write, bytes);
    }
    return 0;
}

/* Computes the group's vectors gamma P(c)/sigma, and P(x).c, |P(c)|^2. */
static void component_vectors(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const group_job *job = payload;
    const partition_state *s = job->s;
    const int64_t n = s->n_dims;
    const float *x = s->kept.residual[s->n_layers * s->rows.n + job->slot];
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const float *c = s->writes + (job->begin + i) * n;
        double *part = s->parts + 2 * (job->begin + i);
        const double mean = psc_sum_striped(n, c) / (double)n;
        part[0] = psc_dot_centered(n, x, job->mean, c, mean);
        part[1] = psc_dot_centered(n, c, mean, c, mean);
        for (int64_t d = 0; d < n; d++)
            s->x[i * n + d] = (float)(((double)c[d] - mean) / job->sigma * (double)s->gamma[d]);
    }
}

static int components(partition_state *s, int32_t slot) {
    const psc_host *host = s->host;
    const int64_t n = s->n_dims;
    const float *x = s->kept.residual[s->n_layers * s->rows.n + slot];
    if (!s->asked[PARTITION_FROZEN] && !s->asked[PARTITION_RECOMPUTED]) return 0;
    if (gather_writes(s, slot)) return -1;
    group_job job = {.s = s, .slot = slot, .mean = psc_sum_striped(n, x) / (double)n};
    job.norm2 = psc_dot_centered(n, x, job.mean, x, job.mean);
    job.sigma = sqrt(job.norm2 / (double)n + s->eps);
    for (; job.begin < s->n_components; job.begin += PARTITION_GROUP) {
        const int32_t left = s->n_components - job.begin;
        const int32_t count = left < PARTITION_GROUP ? left : PARTITION_GROUP;
        host->parallel_for(s->context, count, component_vectors, &job);
        if (host->apply(s->context, PSC_W_U, -1, s->y, s->x, count)) return -1;
        host->parallel_for(s->context, count, component_changes, &job);
    }
    return 0;
}

/* --- all rows -------------------------------------------------------------------------------- */

static void layers(partition_state *s, int32_t kind) {
    group_job job = {.s = s, .kind = kind};
    for (; s->asked[kind] && job.begin < s->n_layers; job.begin += PARTITION_GROUP) {
        const int64_t left = s->n_layers - job.begin;
        const int64_t count = left < PARTITION_GROUP ? left : PARTITION_GROUP;
        s->host->parallel_for(s->context, count, layer_changes, &job);
    }
}

/* b = W_U beta, computed once per instance. */
static int constants(partition_state *s) {
    if (s->constant) return 0;
    float *constant = s->host->life_alloc(s->context, (uint64_t)s->n_vocab * sizeof(float));
    if (!constant || s->host->apply(s->context, PSC_W_U, -1, constant, s->beta, 1)) return -1;
    s->constant = constant;
    return 0;
}

int partition_rows_compute(partition_state *s) {
    int32_t n_all = 0;
    const psc_row *rows = s->host->rows(s->context, &n_all);
    if (constants(s) || fetch_kept(s)) return -1;
    for (int32_t slot = 0; slot < s->rows.n; slot++) {
        const psc_row *row = &rows[s->rows.index[slot]];
        if (s->host->cancelled(s->context)) return s->host->fail(s->context, "cancelled");
        if (lenses(s, row, slot)) return -1;
        layers(s, PARTITION_STEP);
        layers(s, PARTITION_LENS);
        if (components(s, slot)) return -1;
        if (s->accumulating)
            partition_corpus_row(s);
        else
            partition_arrays_row(s, slot);
        const int ends =
            slot + 1 == s->rows.n || rows[s->rows.index[slot + 1]].sequence != row->sequence;
        if (s->accumulating && ends && partition_corpus_sequence(s)) return -1;
        s->host->progress(s->context, (s->ablation ? 0.5 : 1.0) * (slot + 1.0) / s->rows.n);
    }
    return 0;
}
