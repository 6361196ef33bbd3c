/* The effect of removing one component c from the final residual x on a target, with sigma frozen
 * and with sigma recomputed. For target u, S = u . P(x), all in f64:
 *
 *   sigma_{-c}^2  = (|P(x)|^2 - 2 P(x).c + |P(c)|^2)/N + eps
 *   frozen_ln     = -(u.c)/sigma
 *   freeze_error  = (S - u.c) (1/sigma_{-c} - 1/sigma)
 *   recomputed_ln = frozen_ln + freeze_error = (S - u.c)/sigma_{-c} - S/sigma
 *
 * [targets, R, components]: embed, heads, l_attn_bias, l_mlp_out, edit; and the same for whole
 * layers' writes [targets, R, writers]. Only the direct path counts: nothing downstream is
 * recomputed. A head's write is never computed: one pull-back per layer of all directions u and all
 * P(x) gives y = W_O,h^T v, and v . c = y . z_h. |P(c)|^2 comes from hook_result (ln.c). */
#include "ln.h"

#include <math.h>
#include <stddef.h>

static int64_t embed_count(const ln_state *s) {
    return 1 + (int64_t)s->n_layers * (s->n_heads + 2);
}

const char *ln_component_label(const ln_state *s, int32_t component) {
    const psc_host *host = s->host;
    if (component == 0) return host->label(s->context, PSC_COMPONENT_EMBED, 0, 0);
    if (component == embed_count(s)) return host->label(s->context, PSC_COMPONENT_EDIT, 0, 0);
    const int32_t layer = (component - 1) / (s->n_heads + 2);
    const int32_t at = (component - 1) % (s->n_heads + 2);
    if (at < s->n_heads) return host->label(s->context, PSC_COMPONENT_HEAD, layer, at);
    return host->label(
        s->context, at == s->n_heads ? PSC_COMPONENT_ATTN_BIAS : PSC_COMPONENT_MLP_OUT, layer, 0);
}

/* --- one effect ------------------------------------------------------------------------------ */

typedef struct part {
    double px, norm2; /* P(x).c, |P(c)|^2 */
} part;

/* Writes the three effects of a part at [target, row, at] of arrays with width entries per row. */
static void put_effects(const ln_state *s, double *const arrays[3], int64_t cell, int64_t width,
    int64_t at, const part *c, double uc) {
    const int64_t r = cell % s->target_rows.n;
    const double norm2 = s->norm2[(s->n_sites - 1) * (int64_t)s->target_rows.n + r];
    const double sum = s->numerator[cell];
    const double left = fmax(norm2 - 2.0 * c->px + c->norm2, 0.0);
    const double variance = norm2 / s->n_dims + s->eps, without = left / s->n_dims + s->eps;
    const double sigma = sqrt(variance), sigma_without = sqrt(without);
    /* 1/sigma_{-c} - 1/sigma without cancellation */
    const double lost = (norm2 - left) / s->n_dims;
    const double change = lost / (sigma * sigma_without * (sigma + sigma_without));
    const double frozen = -uc / sigma, error = (sum - uc) * change;
    arrays[0][cell * width + at] = frozen;
    arrays[1][cell * width + at] = frozen + error;
    arrays[2][cell * width + at] = error;
}

/* --- heads, by the adjoint ------------------------------------------------------------------- */

typedef struct head_job {
    ln_state *s;
    int64_t layer;
    const float *pulled; /* [directions + R, H*D] W_O^T of u and of P(x) */
    const float **z;     /* [R] -> [H*D] */
} head_job;

static void head_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const head_job *job = payload;
    const ln_state *s = job->s;
    const int64_t n_rows = s->target_rows.n, width = (int64_t)s->n_heads * s->d_head;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        for (int64_t h = 0; h < s->n_heads; h++) {
            const float *z = job->z[r] + h * s->d_head;
            const float *px = job->pulled + (s->directions.n + r) * width + h * s->d_head;
            const int64_t at = 1 + job->layer * (s->n_heads + 2) + h;
            const part c = {psc_dot_striped(s->d_head, z, px),
                s->head_norm2[(r * s->n_layers + job->layer) * s->n_heads + h]};
            for (int64_t t = 0; t < s->targets.n; t++) {
                const int64_t cell = t * n_rows + r, which = s->directions.which[cell];
                if (which < 0) continue;
                const float *u = job->pulled + which * width + h * s->d_head;
                const double uc = psc_dot_striped(s->d_head, z, u);
                put_effects(s, s->effects, cell, s->n_components, at, &c, uc);
            }
        }
    }
}

/* --- whole writes ---------------------------------------------------------------------------- */

/* Where a write's effects go; -1: nowhere. */
typedef struct places {
    int64_t component, column;
} places;

static void put_write(const ln_state *s, int64_t r, const float *write, places to) {
    const int64_t n = s->n_dims;
    const double mean = psc_sum_striped(n, write) / (double)n;
    const part c = {psc_dot_centered(n, s->residual[r], s->residual_mean[r], write, mean),
        psc_dot_centered(n, write, mean, write, mean)};
    for (int64_t t = 0; t < s->targets.n; t++) {
        const int64_t cell = t * s->target_rows.n + r, which = s->directions.which[cell];
        if (which < 0) continue;
        const double uc = psc_dot_centered(n, s->directions.u + which * n, 0.0, write, mean);
        if (to.component >= 0)
            put_effects(s, s->effects, cell, s->n_components, to.component, &c, uc);
        if (to.column >= 0) put_effects(s, s->layer_effects, cell, s->n_columns, to.column, &c, uc);
    }
}

static void write_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const ln_state *s = payload;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        for (int32_t w = 0; w < s->n_writers; w++) {
            const int64_t column = s->writers[w].column;
            if (column > 2 * s->n_layers) continue;
            const int64_t base = 1 + (column - 1) / 2 * (s->n_heads + 2);
            places to = {column == 0 ? 0 : base + s->n_heads + 1, column};
            if (column % 2) to.component = -1; /* attn_out: its heads and bias are components */
            put_write(s, r, s->writers[w].values[r], to);
        }
        for (int32_t l = 0; l < s->n_layers; l++) {
            const places to = {1 + (int64_t)l * (s->n_heads + 2) + s->n_heads, -1};
            put_write(s, r, s->attn_bias[l], to);
        }
        if (s->edit_writer)
            put_write(s, r, s->edit_writer + r * s->n_dims, (places){-1, s->n_columns - 1});
        if (s->edit_component)
            put_write(s, r, s->edit_component + r * s->n_dims, (places){s->n_components - 1, -1});
    }
}

/* --- preparation ----------------------------------------------------------------------------- */

static int add_table(ln_state *s, float **sum, const float *table) {
    const uint64_t count = (uint64_t)s->target_rows.n * (uint64_t)s->n_dims;
    if (!table) return 0;
    if (!*sum) *sum = s->host->run_alloc(s->context, count * sizeof(float));
    if (!*sum) return -1;
    for (uint64_t i = 0; i < count; i++) (*sum)[i] += table[i];
    return 0;
}

/* A row's edits as one write: those of the residual; those and the edits of attention's writes. */
static int gather_edits(ln_state *s) {
    s->edit_writer = s->edit_component = NULL;
    for (int32_t i = 0; i < 3 * s->n_layers; i++)
        if (add_table(s, &s->edit_writer, s->edits[i])) return -1;
    return add_table(s, &s->edit_component, s->edit_writer) ||
                   add_table(s, &s->edit_component, s->ov_edit)
               ? -1
               : 0;
}

static int gather_biases(ln_state *s) {
    s->attn_bias = s->host->run_alloc(s->context, (uint64_t)s->n_layers * sizeof *s->attn_bias);
    if (!s->attn_bias) return -1;
    for (int32_t l = 0; l < s->n_layers; l++) {
        s->attn_bias[l] = s->host->bias(s->context, PSC_W_O, l);
        if (!s->attn_bias[l]) return -1;
    }
    return 0;
}

/* Puts P(x) after the directions, so that one pull-back serves both; computes S. */
static void prepare_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    ln_state *s = payload;
    const int64_t n = s->n_dims;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const float *x = s->residual[r];
        float *centered = s->directions.u + (s->directions.n + r) * n;
        for (int64_t i = 0; i < n; i++) centered[i] = (float)(x[i] - s->residual_mean[r]);
        for (int64_t t = 0; t < s->targets.n; t++) {
            const int64_t cell = t * s->target_rows.n + r, which = s->directions.which[cell];
            if (which < 0) continue;
            const float *u = s->directions.u + which * n;
            s->numerator[cell] = psc_dot_centered(n, u, 0.0, x, s->residual_mean[r]);
        }
    }
}

static int effect_results(ln_state *s) {
    const psc_host *host = s->host;
    s->n_components = (int32_t)embed_count(s) + (s->edit_component != NULL);
    const char **labels = host->run_alloc(s->context, (uint64_t)s->n_components * sizeof *labels);
    if (!labels) return -1;
    for (int32_t c = 0; c < s->n_components; c++) labels[c] = ln_component_label(s, c);
    if (host->axis_labels(s->context, "components", s->n_components, labels) ||
        psc_targets_results(&s->targets, "target_rows"))
        return -1;
    static const char *const fine[] = {"targets", "target_rows", "components"};
    static const char *const coarse[] = {"targets", "target_rows", "writers"};
    static const char *const names[3] = {"frozen_ln", "recomputed_ln", "freeze_error"};
    static const char *const layers[3] = {
        "frozen_ln.layer", "recomputed_ln.layer", "freeze_error.layer"};
    for (int i = 0; i < 3; i++) {
        s->effects[i] = host->array(s->context, names[i], PSC_F64, 3, fine);
        s->layer_effects[i] = host->array(s->context, layers[i], PSC_F64, 3, coarse);
        if (!s->effects[i] || !s->layer_effects[i]) return -1;
    }
    s->numerator = host->array(s->context, "numerator", PSC_F64, 2, fine);
    return s->numerator ? 0 : -1;
}

/* The largest |sum of frozen_ln + S/sigma| / (1 + sum |frozen_ln|): the components are complete. */
static double completeness(const ln_state *s) {
    double worst = 0.0;
    const int64_t n_rows = s->target_rows.n;
    for (int64_t cell = 0; cell < s->targets.n * n_rows; cell++) {
        if (s->directions.which[cell] < 0) continue;
        const double norm2 = s->norm2[(s->n_sites - 1) * n_rows + cell % n_rows];
        double sum = s->numerator[cell] / sqrt(norm2 / s->n_dims + s->eps), size = 1.0;
        for (int64_t c = 0; c < s->n_components; c++) {
            sum += s->effects[0][cell * s->n_components + c];
            size += fabs(s->effects[0][cell * s->n_components + c]);
        }
        if (!(fabs(sum) / size <= worst)) worst = fabs(sum) / size;
    }
    return worst;
}

int ln_effects_compute(ln_state *s) {
    const psc_host *host = s->host;
    const int64_t n_rows = s->target_rows.n, width = (int64_t)s->n_heads * s->d_head;
    if (gather_edits(s) || gather_biases(s) || effect_results(s) ||
        psc_directions_build(&s->targets, s->centered, n_rows, &s->directions))
        return -1;
    host->parallel_for(s->context, n_rows, prepare_rows, s);
    const int64_t n_pulled = s->directions.n + n_rows;
    float *pulled =
        host->run_alloc(s->context, (uint64_t)n_pulled * (uint64_t)width * sizeof(float));
    const float **z = host->run_alloc(s->context, (uint64_t)n_rows * sizeof *z);
    if (!pulled || !z) return -1;
    for (int32_t l = 0; l < s->n_layers; l++) {
        head_job job = {s, l, pulled, z};
        if (host->pullback(s->context, PSC_W_O, l, pulled, s->directions.u, n_pulled) ||
            ln_fetch_rows(s, LN_KEPT_Z, l, z))
            return -1;
        host->parallel_for(s->context, n_rows, head_rows, &job);
        host->progress(s->context, 0.5 + 0.5 * (l + 1) / s->n_layers);
    }
    host->parallel_for(s->context, n_rows, write_rows, s);
    return host->value_number(s->context, "completeness_error_max", completeness(s));
}
