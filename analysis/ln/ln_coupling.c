/* Which writes make |P(x)|^2.
 *
 *   G_ab = P(x_a) . P(x_b)    [R, columns, columns], f64, over embed, attn(l), mlp(l), edit
 *   share of a at a site      sum_b G_ab / |P(x)|^2, over the writers b before the site
 *   coupling fraction         1 - sum_a G_aa / |P(x)|^2
 *   coupling error            |sum_ab G_ab - |P(x)|^2| / |P(x)|^2, from f32 rounding
 *
 * Writers are taken in the order of arrival, so a site's G is the leading block. An edit of the
 * residual itself arrives at its own point; all such edits share the column `edit`. Each pair is
 * computed once per row, O(W^2 N / 2), without a copy of a writer. */
#include "ln.h"

#include <math.h>
#include <stdio.h>

const char *ln_column_label(const ln_state *s, int32_t column) {
    if (column == 0) return s->host->label(s->context, PSC_COMPONENT_EMBED, 0, 0);
    if (column > 2 * s->n_layers) return s->host->label(s->context, PSC_COMPONENT_EDIT, 0, 0);
    const psc_component_kind kind = column % 2 ? PSC_COMPONENT_ATTN_OUT : PSC_COMPONENT_MLP_OUT;
    return s->host->label(s->context, kind, (column - 1) / 2, 0);
}

void ln_site_label(const ln_state *s, int32_t site, char out[24]) {
    if (site == s->n_sites - 1)
        snprintf(out, 24, "ln_final");
    else
        snprintf(out, 24, "%d.ln%d", site / 2, site % 2 + 1);
}

/* --- the writers ----------------------------------------------------------------------------- */

int ln_fetch_rows(ln_state *s, int32_t kept, int32_t layer, const float **out) {
    return psc_rows_fetch(s->context, s->host, &s->target_rows, s->kept[kept], layer, out);
}

static const float **new_rows(ln_state *s) {
    return s->host->run_alloc(s->context, (uint64_t)s->target_rows.n * sizeof(float *));
}

static int add_kept(ln_state *s, int32_t kept, int32_t layer, int32_t column, int32_t site) {
    ln_writer *writer = &s->writers[s->n_writers++];
    writer->column = column;
    writer->site = site;
    writer->values = new_rows(s);
    return writer->values ? ln_fetch_rows(s, kept, layer, writer->values) : -1;
}

static int add_edits(ln_state *s, int32_t slot, int32_t site) {
    const float *table = s->edits[slot];
    if (!table) return 0;
    ln_writer *writer = &s->writers[s->n_writers++];
    writer->column = 2 * s->n_layers + 1;
    writer->site = site;
    writer->values = new_rows(s);
    if (!writer->values) return -1;
    for (int64_t r = 0; r < s->target_rows.n; r++) writer->values[r] = table + r * s->n_dims;
    return 0;
}

/* Lists the writers in the order of arrival, each with the first site that reads it. */
static int list_writers(ln_state *s) {
    const int parallel = s->host->model(s->context)->parallel_residual;
    s->writers =
        s->host->run_alloc(s->context, (5 * (uint64_t)s->n_layers + 1) * sizeof *s->writers);
    s->n_writers = 0;
    if (!s->writers || add_kept(s, LN_KEPT_EMBED, -1, 0, 0)) return -1;
    for (int32_t l = 0; l < s->n_layers; l++) {
        const int32_t ln1 = 2 * l, ln2 = 2 * l + 1, next = 2 * l + 2;
        if (add_edits(s, 3 * l, ln1) ||
            add_kept(s, LN_KEPT_ATTN, l, 2 * l + 1, parallel ? next : ln2) ||
            add_edits(s, 3 * l + 1, ln2) || add_kept(s, LN_KEPT_MLP, l, 2 * l + 2, next) ||
            add_edits(s, 3 * l + 2, next))
            return -1;
    }
    s->n_columns = 2 * s->n_layers + 1;
    if (s->n_writers > s->n_columns) s->n_columns++;
    s->residual = new_rows(s);
    return s->residual ? ln_fetch_rows(s, LN_KEPT_RESID, s->n_layers - 1, s->residual) : -1;
}

/* --- G and the shares ------------------------------------------------------------------------ */

typedef struct coupling_sums {
    double *row; /* [columns] sum_b G_ab so far */
    double total, diagonal;
} coupling_sums;

static void emit_site(ln_state *s, int64_t r, int64_t site, const coupling_sums *sums) {
    const int64_t at = site * s->target_rows.n + r;
    const double norm2 = s->norm2[at];
    for (int64_t c = 0; c < s->n_columns; c++)
        s->shares[at * s->n_columns + c] = sums->row[c] / norm2;
    s->fraction[at] = 1.0 - sums->diagonal / norm2;
    s->coupling_error[at] = fabs(sums->total - norm2) / norm2;
}

/* Adds writer b's pairs with all earlier writers and with itself. */
static void add_writer(ln_state *s, int64_t r, int32_t b, coupling_sums *sums) {
    const int64_t n = s->n_dims;
    const double *mean = s->writer_mean + r * s->n_writers;
    double *coupling = s->coupling + r * s->n_columns * s->n_columns;
    const int64_t cb = s->writers[b].column;
    for (int32_t a = 0; a <= b; a++) {
        const int64_t ca = s->writers[a].column;
        const double g =
            psc_dot_centered(n, s->writers[a].values[r], mean[a], s->writers[b].values[r], mean[b]);
        const double both = a == b ? g : 2.0 * g;
        sums->total += both;
        sums->row[ca] += g;
        coupling[ca * s->n_columns + cb] += g;
        if (ca == cb) sums->diagonal += both;
        if (a == b) continue;
        sums->row[cb] += g;
        coupling[cb * s->n_columns + ca] += g;
    }
}

static void coupling_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    ln_state *s = payload;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        coupling_sums sums = {s->site_sums + r * s->n_columns, 0.0, 0.0};
        const int64_t square = (int64_t)s->n_columns * s->n_columns;
        for (int64_t i = 0; i < square; i++) s->coupling[r * square + i] = 0.0;
        int32_t b = 0;
        for (int32_t site = 0; site < s->n_sites; site++) {
            for (; b < s->n_writers && s->writers[b].site <= site; b++) add_writer(s, r, b, &sums);
            emit_site(s, r, site, &sums);
        }
    }
}

static void mean_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    ln_state *s = payload;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        s->residual_mean[r] = psc_sum_striped(s->n_dims, s->residual[r]) / s->n_dims;
        for (int32_t w = 0; w < s->n_writers; w++)
            s->writer_mean[r * s->n_writers + w] =
                psc_sum_striped(s->n_dims, s->writers[w].values[r]) / s->n_dims;
    }
}

static int coupling_results(ln_state *s) {
    const psc_host *host = s->host;
    const char **labels = host->run_alloc(s->context, (uint64_t)s->n_columns * sizeof *labels);
    if (!labels) return -1;
    for (int32_t c = 0; c < s->n_columns; c++) labels[c] = ln_column_label(s, c);
    if (host->axis_labels(s->context, "writers", s->n_columns, labels)) return -1;
    static const char *const pairs[] = {"target_rows", "writers", "writers"};
    static const char *const sites[] = {"sites", "target_rows", "writers"};
    s->coupling = host->array(s->context, "coupling", PSC_F64, 3, pairs);
    s->shares = host->array(s->context, "shares", PSC_F64, 3, sites);
    s->fraction = host->array(s->context, "coupling_fraction", PSC_F64, 2, sites);
    s->coupling_error = host->array(s->context, "coupling_error", PSC_F64, 2, sites);
    return s->coupling && s->shares && s->fraction && s->coupling_error ? 0 : -1;
}

int ln_coupling_compute(ln_state *s) {
    const psc_host *host = s->host;
    if (list_writers(s) || coupling_results(s)) return -1;
    const uint64_t n_rows = (uint64_t)s->target_rows.n;
    s->writer_mean = host->run_alloc(s->context, n_rows * (uint64_t)s->n_writers * sizeof(double));
    s->site_sums = host->run_alloc(s->context, n_rows * (uint64_t)s->n_columns * sizeof(double));
    s->residual_mean = host->run_alloc(s->context, n_rows * sizeof(double));
    if (!s->writer_mean || !s->site_sums || !s->residual_mean) return -1;
    host->parallel_for(s->context, s->target_rows.n, mean_rows, s);
    host->parallel_for(s->context, s->target_rows.n, coupling_rows, s);
    double worst = 0.0;
    const int64_t count = (int64_t)s->n_sites * s->target_rows.n;
    for (int64_t i = 0; i < count; i++)
        if (s->coupling_error[i] > worst) worst = s->coupling_error[i];
    return host->value_number(s->context, "coupling_error_max", worst);
}
