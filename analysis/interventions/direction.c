/* The editor `direction`: acts on the coordinates of x along k directions, the orthonormal basis B
 * [k, width] of the vectors that along=, file=, or plus= and minus= give.
 *
 *   out    x <- x - B^T B x              set    x <- x + B^T (value - B x)
 *   swap   x <- x + B^T B (x_source - x) add    x <- fma(alpha, v, x), v the sum of the vectors as
 *                                               they are given
 *
 * A gradient goes back through add unchanged, through the others as g - B^T B g.
 *
 * A coordinate is a dot in f64, striped by i mod 16. The change of a number is the f64 sum over
 * ascending k of coefficient times B_ki. It is added in f64 and rounded once to f32. */
#include "direction.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- options --------------------------------------------------------------------------------- */

static const char *const whats[] = {"out", "set", "add", "swap", NULL};
static const char *const ofs[] = {"last", "mean", NULL};
static const char *const forms[] = {"rows", "columns", NULL};

#define TEXT(key, value, help, field)                                                              \
    { key, value, help, PSC_OPTION_TEXT, offsetof(direction, field), 0, 0, NULL }

static const psc_option_description direction_options[] = {
    TEXT("at", "", "components and hook points, joined by +: L0H3, 0_mlp_out, blocks.0.attn.hook_z",
        base.at),
    {"do", "out",
        "out: take the directions out; set their coordinates; add them; swap with a source",
        PSC_OPTION_WORD, offsetof(direction, what), 0, 0, whats},
    TEXT("along", "",
        "directions joined by +: L3N12.in, L3N12.out, L2H3.O, W_U:' a', W_U:' a'-' b'", along),
    {"folded", "no", "yes: take what reads the stream through its LayerNorm, P(gamma w)",
        PSC_OPTION_YES_NO, offsetof(direction, folded), 0, 0, NULL},
    TEXT("file", "", "a safetensors file of directions", file),
    TEXT("tensor", "", "the tensor in `file`; default: the hook point's name, or the only one",
        tensor),
    TEXT("index", "", "vectors of the tensor, from 0: 0-3+7; default: all", index),
    {"vectors", "rows", "the vectors of the tensor: its rows, or its columns", PSC_OPTION_WORD,
        offsetof(direction, columns), 0, 0, forms},
    TEXT("plus", "1", "without along= and file=: the source prompts of the positive set, 1-3+7",
        plus),
    TEXT("minus", "2", "and those of the negative set", minus),
    {"of", "last", "a source prompt's last row, or the mean of its rows", PSC_OPTION_WORD,
        offsetof(direction, whole_mean), 0, 0, ofs},
    {"pca", "0", "so many first components of the pairs' differences; 0: the difference of means",
        PSC_OPTION_COUNT, offsetof(direction, components), 0, 256, NULL},
    {"alpha", "1", "of do=add: the factor", PSC_OPTION_NUMBER, offsetof(direction, base.factor),
        -FLT_MAX, FLT_MAX, NULL},
    TEXT("value", "",
        "of do=set: the coordinates joined by +, or mean: those of the mean in `mean`", value),
    TEXT("mean", "", "a safetensors file with the point's mean; default: `file`", mean),
    {"source", "1", "of do=swap: the source prompt's number", PSC_OPTION_COUNT,
        offsetof(direction, base.source[0]), 1, 100000, NULL},
    {"rows", "all", "rows that are changed", PSC_OPTION_ROWS, offsetof(direction, base.rows), 0, 0,
        NULL},
    {"layers", "all", "restricts `at` to these layers", PSC_OPTION_LAYERS,
        offsetof(direction, base.layers), 0, 0, NULL},
    {"heads", "all", "restricts `at` to these heads", PSC_OPTION_HEADS,
        offsetof(direction, base.heads), 0, 0, NULL},
    {0}};

static int from_prompts(const direction *d) {
    return !*d->along && !*d->file;
}

static int check_options(const direction *d) {
    const psc_host *host = d->base.host;
    psc_context *context = d->base.context;
    if (*d->along && *d->file)
        return host->fail(context, "along= and file= both give directions; leave one out");
    if (d->folded && !*d->along) return host->fail(context, "folded=yes needs along=");
    if ((*d->index || *d->tensor || d->columns) && !*d->file)
        return host->fail(context, "tensor=, index= and vectors= need file=");
    if (d->components && !from_prompts(d))
        return host->fail(context, "pca= needs source prompts: leave out along= and file=");
    if ((*d->value != 0) != (d->what == DIRECTION_SET))
        return host->fail(context,
            *d->value ? "value= needs do=set"
                      : "do=set needs value=: one number per direction, joined by +, or mean");
    if (d->what != DIRECTION_ADD && d->base.factor != 1.0)
        return host->fail(context, "alpha= needs do=add");
    if (d->what != DIRECTION_SWAP && d->base.source[0] != 1)
        return host->fail(context, "source= needs do=swap");
    if (!from_prompts(d) &&
        (strcmp(d->plus, "1") != 0 || strcmp(d->minus, "2") != 0 || d->whole_mean))
        return host->fail(
            context, "plus=, minus= and of= are of source prompts: leave out along= and file=");
    if (*d->mean && strcmp(d->value, "mean") != 0)
        return host->fail(context, "mean= needs value=mean");
    if (!host->accumulating(context) || (!from_prompts(d) && d->what != DIRECTION_SWAP)) return 0;
    return host->fail(context, "a corpus has no source prompts; use %s",
        from_prompts(d) ? "along= or file=" : "do=out, do=set or do=add");
}

/* --- bases ----------------------------------------------------------------------------------- */

/* The numbers of value=, as many as there are directions. */
static int read_values(const direction *d, direction_place *place) {
    const char *p = d->value;
    for (int64_t k = 0; k < place->n; k++) {
        char *end = NULL;
        place->target[k] = strtod(p, &end);
        if (end == p || !isfinite(place->target[k]) || *end != (k + 1 < place->n ? '+' : 0))
            return d->base.host->fail(d->base.context,
                "value=%.60s must be mean, or %lld finite number%s, one per direction, joined by +",
                d->value, (long long)place->n, place->n == 1 ? "" : "s");
        p = end + 1;
    }
    return 0;
}

static int make_targets(direction *d, direction_place *place) {
    const int64_t width = place->site->width;
    place->target =
        d->base.host->life_alloc(d->base.context, (uint64_t)place->n * sizeof *place->target);
    if (!place->target) return -1;
    if (strcmp(d->value, "mean") != 0) return read_values(d, place);
    if (direction_read_mean(d, place->site)) return -1;
    for (int64_t k = 0; k < place->n; k++)
        place->target[k] = psc_dot_mixed(width, place->basis + k * width, place->site->vector);
    return 0;
}

static int make_sum(const direction *d, direction_place *place, const direction_vectors *v) {
    place->sum = d->base.host->life_alloc(d->base.context, (uint64_t)v->width * sizeof *place->sum);
    for (int64_t i = 0; place->sum && i < v->width; i++) {
        double sum = 0.0;
        for (int64_t k = 0; k < v->n; k++) sum += v->at[k * v->width + i];
        place->sum[i] = (float)sum;
    }
    return place->sum ? 0 : -1;
}

/* Takes the vectors over; they become the basis. */
static int make_place(direction *d, direction_place *place, direction_vectors *v) {
    const psc_host *host = d->base.host;
    char name[64];
    int finite = 1;
    intervention_point_name(place->site, name, sizeof name);
    if (v->width != place->site->width)
        return host->fail(d->base.context, "%.100s: a direction has %lld numbers and %s takes %lld",
            v->from, (long long)v->width, name, (long long)place->site->width);
    if (d->what == DIRECTION_ADD && make_sum(d, place, v)) return -1;
    const int64_t bad = direction_orthonormal(v->at, v->n, v->width, &finite);
    if (bad >= 0 && !finite)
        return host->fail(d->base.context, "%.200s: direction %lld has a number that is not finite",
            v->from, (long long)bad);
    if (bad >= 0)
        return host->fail(d->base.context, "%.200s: direction %lld %s at %s; leave it out", v->from,
            (long long)bad, bad ? "depends on those before it" : "is zero", name);
    place->n = v->n;
    place->basis = v->at;
    if (v->n > d->most) d->most = v->n;
    return d->what == DIRECTION_SET ? make_targets(d, place) : 0;
}

static int make_coefficients(direction *d) {
    d->coefficients = d->base.host->life_alloc(
        d->base.context, DIRECTION_ROWS * (uint64_t)d->most * sizeof *d->coefficients);
    return d->coefficients ? 0 : -1;
}

/* Bases that need no run. Named vectors are the same at every site of their width. */
static int make_places(direction *d) {
    direction_vectors v = {0};
    for (int32_t i = 0; i < d->base.n_sites; i++) {
        direction_place *place = &d->places[i];
        if (*d->along && i > 0 && place->site->width == d->places[0].site->width) {
            place->n = d->places[0].n;
            place->basis = d->places[0].basis;
            place->sum = d->places[0].sum;
            if (d->what == DIRECTION_SET && make_targets(d, place)) return -1;
            continue;
        }
        if (*d->along ? direction_named(d, &v) : direction_read(d, place->site, &v)) return -1;
        if (make_place(d, place, &v)) return -1;
    }
    return make_coefficients(d);
}

/* Bases from the source prompts, before the first run with edits and after new prompts. */
static int make_from_prompts(direction *d) {
    direction_vectors v = {0};
    if (d->made) return 0;
    for (int32_t i = 0; i < d->base.n_sites; i++) {
        direction_place *place = &d->places[i];
        if (direction_sets_vectors(d, place, &v)) return -1;
        double *kept =
            d->base.host->life_alloc(d->base.context, (uint64_t)(v.n * v.width) * sizeof *kept);
        if (!kept) return -1;
        memcpy(kept, v.at, (size_t)(v.n * v.width) * sizeof *kept);
        v.at = kept;
        if (make_place(d, place, &v)) return -1;
    }
    if (make_coefficients(d)) return -1;
    d->made = 1;
    return 0;
}

static int direction_open(psc_context *context, const psc_host *host, void **out) {
    direction *d = *out = host->life_alloc(context, sizeof *d);
    if (!d) return -1;
    intervention *base = &d->base;
    base->file = base->tensor = base->index = base->keys_text = "";
    if (host->options(context, d)) return -1;
    base->context = context;
    base->host = host;
    base->kind = INTERVENTION_DIRECTION;
    base->alpha = (float)base->factor;
    if (check_options(d)) return -1;
    base->values = d->what == DIRECTION_SWAP ? VALUES_ROWS : VALUES_NONE;
    base->source[0] = d->what == DIRECTION_SWAP ? base->source[0] - 1 : -1;
    base->source[1] = -1;
    if (intervention_parse_sites(base)) return -1;
    d->places = host->life_alloc(context, (uint64_t)base->n_sites * sizeof *d->places);
    if (!d->places) return -1;
    for (int32_t i = 0; i < base->n_sites; i++)
        d->places[i] = (direction_place){.owner = d, .site = &base->sites[i]};
    return from_prompts(d) ? direction_sets_open(d) : make_places(d);
}

/* --- edits ----------------------------------------------------------------------------------- */

/* b . x of a row, striped by i mod 16 over the whole row. */
static double dot_row(const double *b, const intervention_stretch *x) {
    if (x->n1 == 1 || x->stride == x->n2) return psc_dot_mixed(x->n1 * x->n2, b, x->data);
    double s[16] = {0};
    for (int64_t h = 0, i = 0; h < x->n1; h++)
        for (int64_t j = 0; j < x->n2; j++, i++)
            s[i % 16] += b[i] * (double)x->data[h * x->stride + j];
    return psc_fold16(s);
}

/* x_i += sum_k c_k B_ki. */
static void add_back(const direction_place *place, const double *c, const intervention_stretch *x) {
    enum { TOGETHER = 64 };
    const int64_t width = place->site->width;
    for (int64_t h = 0; h < x->n1; h++)
        for (int64_t j = 0; j < x->n2; j += TOGETHER) {
            const int64_t n = x->n2 - j < TOGETHER ? x->n2 - j : TOGETHER;
            const double *b = place->basis + h * x->n2 + j;
            float *to = x->data + h * x->stride + j;
            double sum[TOGETHER] = {0};
            for (int64_t k = 0; k < place->n; k++)
                for (int64_t i = 0; i < n; i++) sum[i] += c[k] * b[k * width + i];
            for (int64_t i = 0; i < n; i++) to[i] = (float)((double)to[i] + sum[i]);
        }
}

/* Row `row` of those that are edited together. */
static void edit_row(const direction_place *place, int64_t row, double *c) {
    const direction *d = place->owner;
    const int64_t width = place->site->width;
    const int32_t r = place->first + (int32_t)row;
    const intervention_stretch x = intervention_row(place->site, place->event, r);
    if (place->none[row]) return;
    if (d->what == DIRECTION_ADD) {
        for (int64_t h = 0; h < x.n1; h++)
            for (int64_t j = 0; j < x.n2; j++) {
                float *to = x.data + h * x.stride + j;
                *to = fmaf(d->base.alpha, place->sum[h * x.n2 + j], *to);
            }
        return;
    }
    for (int64_t k = 0; k < place->n; k++) {
        const double *b = place->basis + k * width;
        double wanted = 0.0;
        const int32_t what = place->event->gradient ? DIRECTION_OUT : d->what;
        if (what == DIRECTION_SET) wanted = place->target[k];
        if (what == DIRECTION_SWAP) wanted = psc_dot_mixed(width, b, place->source[row]);
        c[k] = wanted - dot_row(b, &x);
    }
    add_back(place, c, &x);
}

static void edit_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const direction_place *place = payload;
    (void)thread;
    for (int64_t r = begin; r < end; r++)
        edit_row(place, r, place->owner->coefficients + r * place->owner->most);
}

static int on_edit(const psc_event *event, void *payload) {
    const intervention_site *site = payload;
    direction *d = (direction *)site->owner;
    direction_place *place = &d->places[site - d->base.sites];
    place->event = event;
    for (place->first = 0; place->first < event->n_rows; place->first += DIRECTION_ROWS) {
        const int32_t left = event->n_rows - place->first;
        const int32_t n = left < DIRECTION_ROWS ? left : DIRECTION_ROWS;
        for (int32_t r = 0; r < n; r++) {
            const psc_row *row = &event->rows[place->first + r];
            place->source[r] = intervention_values_at(site, row, &place->none[r]);
            if (place->none[r] < 0) return -1;
        }
        d->base.host->parallel_for(d->base.context, n, edit_rows, place);
    }
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int direction_run_begin(psc_context *context, void *state) {
    direction *d = state;
    const psc_phase phase = (psc_phase)d->base.host->phase(context);
    if (intervention_record(&d->base, phase)) return -1;
    if (phase == PSC_PHASE_SOURCE) return direction_sets_record(d);
    if (from_prompts(d) && make_from_prompts(d)) return -1;
    if (phase == PSC_PHASE_CHANGED && !d->base.host->accumulating(context) &&
        intervention_check_reach(&d->base))
        return -1;
    if (phase == PSC_PHASE_BASE) return 0;
    return intervention_subscribe(&d->base, on_edit, d->what != DIRECTION_ADD);
}

static int direction_run_end(psc_context *context, void *state, int status) {
    direction *d = state;
    const psc_phase phase = (psc_phase)d->base.host->phase(context);
    if (status) return 0;
    intervention_finish_values(&d->base, phase);
    if (phase == PSC_PHASE_SOURCE) direction_sets_finish(d);
    return 0;
}

/* --- the report ------------------------------------------------------------------------------ */

/* "L3N12.in", "the tensor v of F", "source prompts 1 minus 2, at their last rows" */
static void describe_vectors(const direction *d, char *out, size_t size) {
    if (*d->along)
        snprintf(out, size, "%.160s%s", d->along, d->folded ? " (through its LayerNorm)" : "");
    else if (*d->file)
        snprintf(out, size, "the %s%.40s%s%.60s of %.160s", *d->index ? "vectors " : "vectors",
            d->index, *d->tensor ? " in " : "", d->tensor, d->file);
    else if (d->components)
        snprintf(out, size, "the first %d components of source prompts %.60s minus %.60s, %s",
            (int)d->components, d->plus, d->minus,
            d->whole_mean ? "means over their rows" : "at their last rows");
    else
        snprintf(out, size, "the mean of source prompts %.60s minus that of %.60s, %s", d->plus,
            d->minus, d->whole_mean ? "means over their rows" : "at their last rows");
}

static int direction_report(psc_context *context, void *state) {
    const direction *d = state;
    const int phase = d->base.host->phase(context);
    char vectors[480], what[900], rows[32], rank[48];
    if (phase == PSC_PHASE_SOURCE || phase == PSC_PHASE_BASE) return 0;
    describe_vectors(d, vectors, sizeof vectors);
    psc_rows_text(rows, sizeof rows, &d->base.rows);
    snprintf(rank, sizeof rank, "%lld direction%s", (long long)d->most, d->most == 1 ? "" : "s");
    if (d->what == DIRECTION_OUT)
        snprintf(what, sizeof what, "takes %s out of %.120s", vectors, d->base.at);
    else if (d->what == DIRECTION_ADD)
        snprintf(what, sizeof what, "adds %g times %s to %.120s", (double)d->base.alpha, vectors,
            d->base.at);
    else if (d->what == DIRECTION_SET)
        snprintf(what, sizeof what, "sets the coordinates of %.120s along %s to %.60s", d->base.at,
            vectors, d->value);
    else
        snprintf(what, sizeof what,
            "sets the coordinates of %.120s along %s to those in source prompt %d", d->base.at,
            vectors, (int)d->base.source[0] + 1);
    char sentence[1024];
    snprintf(sentence, sizeof sentence, "%s (%s; rows: %s)", what, rank, rows);
    return d->base.host->summary_text(context, sentence);
}

static int direction_takes_source(psc_context *context, const void *state) {
    const direction *d = state;
    (void)context;
    return d->what == DIRECTION_SWAP || d->n_sources > 0;
}

static void direction_close(psc_context *context, void *state) {
    direction *d = state;
    (void)context;
    intervention_free_values(&d->base);
}

static const psc_plugin direction_plugin = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof(psc_plugin),
    .name = "direction",
    .summary = "takes directions out, sets, adds or swaps them",
    .options = direction_options,
    .open = direction_open,
    .run_begin = direction_run_begin,
    .run_end = direction_run_end,
    .report = direction_report,
    .close = direction_close,
    .points = "the points that at= names",
    .phases = 1,
    .takes_source = direction_takes_source,
    .corpus = PSC_CORPUS_OVERLAPS,
};

const psc_plugin *psc_builtin_direction(void) {
    return &direction_plugin;
}
