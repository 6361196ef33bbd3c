/* Directions from two sets of source prompts, at their last rows or as means of their rows:
 *
 *   without pca=   one vector: the mean over plus= minus the mean over minus=
 *   pca=K          the first K components of d_i = plus_i - minus_i: the eigenvectors of
 *                  sum_i d_i d_i^T, uncentered, each with the sign of sum_i (d_i . v)
 *
 * A prompt's row is summed in f64 in row order; the prompts are added in the order of the lists. */
#include "direction.h"

#include <math.h>
#include <string.h>

enum { MOST_PAIRS = 256 }; /* of pca=; the work grows with their cube */

/* --- options --------------------------------------------------------------------------------- */

static int check_sets(const direction *d) {
    const psc_host *host = d->base.host;
    for (int32_t i = 0; i < d->n_sources; i++)
        for (int32_t j = 0; j < i; j++)
            if (d->sources[i].number == d->sources[j].number)
                return host->fail(d->base.context,
                    "plus= and minus= name source prompt %d twice; a prompt is in one set only",
                    (int)d->sources[i].number + 1);
    if (d->components == 0) return 0;
    if (d->n_plus != d->n_sources - d->n_plus)
        return host->fail(d->base.context,
            "pca= takes differences of pairs, but plus= has %d prompts and minus= has %d",
            (int)d->n_plus, (int)(d->n_sources - d->n_plus));
    if (d->components > d->n_plus || d->n_plus > MOST_PAIRS)
        return host->fail(d->base.context,
            "pca=%d: %d pairs of prompts have at most %d components, of at most %d pairs",
            (int)d->components, (int)d->n_plus, (int)d->n_plus, (int)MOST_PAIRS);
    return 0;
}

int direction_sets_open(direction *d) {
    const psc_host *host = d->base.host;
    int32_t *plus = NULL, *minus = NULL, n_minus = 0;
    if (direction_list(d, "plus", d->plus, 1, &plus, &d->n_plus) ||
        direction_list(d, "minus", d->minus, 1, &minus, &n_minus))
        return -1;
    d->n_sources = d->n_plus + n_minus;
    if (d->n_sources > 4096)
        return host->fail(d->base.context, "plus= and minus= name more than 4,096 prompts");
    d->sources = host->life_alloc(d->base.context, (uint64_t)d->n_sources * sizeof *d->sources);
    if (!d->sources) return -1;
    for (int32_t i = 0; i < d->n_sources; i++)
        d->sources[i].number = (i < d->n_plus ? plus[i] : minus[i - d->n_plus]) - 1;
    for (int32_t i = 0; i < d->base.n_sites; i++) {
        direction_place *place = &d->places[i];
        place->seen = host->life_alloc(d->base.context,
            (uint64_t)d->n_sources * (uint64_t)place->site->width * sizeof *place->seen);
        if (!place->seen) return -1;
    }
    return check_sets(d);
}

/* --- source prompts -------------------------------------------------------------------------- */

static direction_source *current(const direction *d) {
    const int32_t number = d->base.host->source(d->base.context);
    for (int32_t i = 0; i < d->n_sources; i++)
        if (d->sources[i].number == number) return &d->sources[i];
    return NULL;
}

static int on_source(const psc_event *event, void *payload) {
    const intervention_site *site = payload;
    const direction *d = (const direction *)site->owner;
    const direction_source *source = current(d);
    if (!source) return 0;
    double *seen = d->places[site - d->base.sites].seen + (source - d->sources) * site->width;
    for (int32_t r = 0; r < event->n_rows; r++) intervention_add_row(site, event, r, seen);
    return 0;
}

int direction_sets_record(direction *d) {
    direction_source *source = current(d);
    int32_t n = 0;
    if (!source) return 0;
    const psc_row *rows = d->base.host->rows(d->base.context, &n);
    if (rows[0].position != 0 || rows[n - 1].sequence != rows[0].sequence)
        return d->base.host->fail(
            d->base.context, "a source prompt must be one sequence and begin at position 0");
    source->length = n;
    source->complete = d->made = 0;
    for (int32_t i = 0; i < d->base.n_sites; i++) {
        intervention_site *site = &d->base.sites[i];
        memset(d->places[i].seen + (source - d->sources) * site->width, 0,
            (size_t)site->width * sizeof(double));
        if (intervention_observe(site, on_source, d->whole_mean ? PSC_ROWS_ALL : PSC_ROWS_LAST))
            return -1;
    }
    return 0;
}

void direction_sets_finish(direction *d) {
    direction_source *source = current(d);
    if (source) source->complete = 1;
}

/* --- vectors --------------------------------------------------------------------------------- */

/* out [width] += scale times prompt i's row. */
static void add(
    const direction *d, const direction_place *place, int32_t i, double scale, double *out) {
    const int64_t width = place->site->width;
    const double *seen = place->seen + i * width;
    const double rows = d->whole_mean ? d->sources[i].length : 1.0;
    for (int64_t c = 0; c < width; c++) out[c] += seen[c] / rows * scale;
}

/* The components of the differences [n, width] into out [components, width]. */
static int components(const direction *d, const double *differences, double *out, int64_t width) {
    const psc_host *host = d->base.host;
    const int64_t n = d->n_plus;
    double *gram = host->run_alloc(d->base.context, (uint64_t)(2 * n * n + n) * sizeof *gram);
    if (!gram) return -1;
    double *vectors = gram + n * n, *values = vectors + n * n;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double s[16] = {0};
            for (int64_t c = 0; c < width; c++)
                s[c % 16] += differences[i * width + c] * differences[j * width + c];
            gram[i * n + j] = psc_fold16(s);
        }
    direction_eigen(values, vectors, gram, n);
    for (int64_t k = 0; k < d->components; k++) {
        double sign = 0.0; /* sum_i d_i . v is lambda sum_i u_i */
        if (!(values[k] > 1e-12 * values[0]))
            return host->fail(d->base.context,
                "pca=%d: the differences of the %d pairs span only %d directions",
                (int)d->components, (int)n, (int)k);
        for (int64_t i = 0; i < n; i++) sign += vectors[k * n + i];
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < width; c++)
                out[k * width + c] +=
                    (sign < 0.0 ? -1.0 : 1.0) * vectors[k * n + i] * differences[i * width + c];
    }
    return 0;
}

int direction_sets_vectors(
    const direction *d, const direction_place *place, direction_vectors *out) {
    const psc_host *host = d->base.host;
    const int64_t width = place->site->width, n_plus = d->n_plus, n_minus = d->n_sources - n_plus;
    const int64_t n = d->components ? d->components : 1;
    for (int32_t i = 0; i < d->n_sources; i++)
        if (!d->sources[i].complete)
            return intervention_no_source(host, d->base.context, d->sources[i].number + 1);
    *out = (direction_vectors){.n = n, .width = width, .from = "the source prompts"};
    out->at = host->run_alloc(d->base.context, (uint64_t)(n * width) * sizeof *out->at);
    if (!out->at) return -1;
    if (!d->components) {
        for (int32_t i = 0; i < d->n_sources; i++)
            add(d, place, i, i < n_plus ? 1.0 / (double)n_plus : -1.0 / (double)n_minus, out->at);
        return 0;
    }
    double *differences =
        host->run_alloc(d->base.context, (uint64_t)(n_plus * width) * sizeof *differences);
    if (!differences) return -1;
    for (int32_t i = 0; i < n_plus; i++) {
        add(d, place, i, 1.0, differences + i * width);
        add(d, place, i + (int32_t)n_plus, -1.0, differences + i * width);
    }
    return components(d, differences, out->at, width);
}
