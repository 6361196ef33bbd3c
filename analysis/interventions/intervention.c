/* Plugins `ablate`, `scale`, `steer`, `knockout`, `patch`: editors of named places.
 *
 *   ablate    x <- 0, the mean over the text, a saved mean, or row j mod T' of a source prompt
 *   scale     x <- alpha x            steer   x <- fma(alpha, v, x)
 *   patch     x_j <- the source prompt's x_j
 *   knockout  score(k -> j) <- -inf for the rows k and the keys j that are named
 *
 * In runs of PSC_PHASE_SOURCE and PSC_PHASE_BASE they observe and change nothing. A gradient goes back
 * through scale times alpha, not at all through ablate and patch, unchanged through steer; scores of
 * -inf have none. */
#include "intervention_latents.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- options --------------------------------------------------------------------------------- */

static const char *const bys[] = {"zero", "mean", "resample", NULL};
static const char *const ofs[] = {"last", "mean", NULL};

#define FIELD(field) offsetof(intervention, field)
#define AT                                                                                          \
    {                                                                                               \
        "at", "",                                                                                   \
            "components and hook points, joined by +: L0H3, 0_mlp_out, L*H*, blocks.0.attn.hook_z", \
            PSC_OPTION_TEXT, FIELD(at), 0, 0, NULL                                                  \
    }
#define SAE                                                                                        \
    {"sae", "", "a sparse dictionary's folder, whose latents `at` names: L3F12+L3F40",             \
        PSC_OPTION_TEXT, FIELD(sae), 0, 0, NULL},                                                  \
    {                                                                                              \
        "point", "",                                                                               \
            "with `sae`: its hook point, if the folder names none; IN+OUT for a transcoder",       \
            PSC_OPTION_TEXT, FIELD(point), 0, 0, NULL                                              \
    }
#define ROWS                                                                                       \
    {"rows", "all", "rows that are changed", PSC_OPTION_ROWS, FIELD(rows), 0, 0, NULL}, {          \
        "layers", "all", "restricts `at` to these layers", PSC_OPTION_LAYERS, FIELD(layers), 0, 0, \
            NULL                                                                                   \
    }
#define HEADS                                                                                      \
    { "heads", "all", "restricts `at` to these heads", PSC_OPTION_HEADS, FIELD(heads), 0, 0, NULL }
#define FILES                                                                                      \
    {"file", "", "a safetensors file", PSC_OPTION_TEXT, FIELD(file), 0, 0, NULL}, {                \
        "tensor", "", "the tensor in `file`; default: the hook point's name, or the only one",     \
            PSC_OPTION_TEXT, FIELD(tensor), 0, 0, NULL                                             \
    }
#define ALPHA(value, help)                                                                         \
    { "alpha", value, help, PSC_OPTION_NUMBER, FIELD(factor), -FLT_MAX, FLT_MAX, NULL }
#define SOURCE(key, value, help, which)                                                            \
    { key, value, help, PSC_OPTION_COUNT, FIELD(source[which]), 1, 100000, NULL }

static const psc_option_description ABLATE_OPTIONS[] = {AT,
    {"by", "zero",
        "the new value: zero; mean over the text, or in `file`; resample, from a source prompt",
        PSC_OPTION_WORD, FIELD(by), 0, 0, bys},
    FILES, SOURCE("source", "1", "for by=resample: the source prompt's number", 0), ROWS, HEADS,
    SAE, {0}};
static const psc_option_description SCALE_OPTIONS[] = {
    AT, ALPHA("0.5", "the factor"), ROWS, HEADS, SAE, {0}};
static const psc_option_description STEER_OPTIONS[] = {AT, ALPHA("1", "the vector's factor"), FILES,
    {"index", "",
        "one row of the tensor, from 0, such as a dictionary's feature; default: the mean",
        PSC_OPTION_TEXT, FIELD(index), 0, 0, NULL},
    SOURCE("plus", "1", "without `file`: the source prompt that is added", 0),
    SOURCE("minus", "2", "without `file`: the source prompt that is subtracted", 1),
    {"of", "last", "a source prompt's last row, or the mean of its rows", PSC_OPTION_WORD,
        FIELD(whole_mean), 0, 0, ofs},
    ROWS, HEADS, SAE, {0}};
static const psc_option_description KNOCKOUT_OPTIONS[] = {
    {"at", "", "heads, joined by +: L0H3, L0H*, L*H*", PSC_OPTION_TEXT, FIELD(at), 0, 0, NULL},
    {"keys", "", "positions A-B, or all: the keys that are cut", PSC_OPTION_TEXT, FIELD(keys_text),
        0, 0, NULL},
    ROWS, {0}};
static const psc_option_description PATCH_OPTIONS[] = {
    AT, SOURCE("source", "1", "the source prompt's number", 0), ROWS, HEADS, {0}};

static int text_given(const char *text) {
    return text && *text;
}

/* Fails for options that would have no effect. */
static int check_unused(const intervention *self) {
    const int file = text_given(self->file);
    if (text_given(self->tensor) && !file)
        return self->host->fail(self->context, "tensor= needs file=");
    if (self->kind == INTERVENTION_ABLATE && self->by != BY_RESAMPLE && self->source[0] != 0)
        return self->host->fail(self->context, "source= needs by=resample");
    if (self->kind == INTERVENTION_STEER && file &&
        (self->source[0] != 0 || self->source[1] != 1 || self->whole_mean))
        return self->host->fail(
            self->context, "plus=, minus= and of= are of source prompts: leave out file=");
    return 0;
}

/* Decides where values come from; clears the numbers of unused source prompts. */
static void choose_values(intervention *self) {
    const int file = text_given(self->file);
    self->values = VALUES_NONE;
    if (self->kind == INTERVENTION_PATCH ||
        (self->kind == INTERVENTION_ABLATE && self->by == BY_RESAMPLE))
        self->values = VALUES_ROWS;
    if (self->kind == INTERVENTION_ABLATE && self->by == BY_MEAN)
        self->values = file ? VALUES_FILE : VALUES_MEAN;
    if (self->kind == INTERVENTION_STEER) self->values = file ? VALUES_FILE : VALUES_CHANGE;
    if (*self->sae) self->values = VALUES_NONE;
    if (self->values != VALUES_CHANGE) self->source[1] = -1;
    if (self->values != VALUES_CHANGE && self->values != VALUES_ROWS) self->source[0] = -1;
}

/* Over a corpus there is no source prompt and no unchanged run before each window. */
static int check_corpus(const intervention *self) {
    if (!self->host->accumulating(self->context)) return 0;
    if (self->values == VALUES_ROWS)
        return self->host->fail(self->context,
            "by=resample takes rows of a source prompt, which a corpus does not have; use by=zero, "
            "or by=mean with file=");
    if (self->values == VALUES_MEAN)
        return self->host->fail(
            self->context, "by=mean over a corpus needs file=, such as the plugin means saves");
    if (self->values == VALUES_CHANGE)
        return self->host->fail(self->context,
            "over a corpus the vector must come from file=; a corpus has no source prompts");
    return 0;
}

static int check_options(intervention *self) {
    const int ablates = self->kind == INTERVENTION_ABLATE;
    if (ablates && *self->file && self->by != BY_MEAN)
        return self->host->fail(self->context, "file= needs by=mean");
    if (*self->index && !*self->file) return self->host->fail(self->context, "index= needs file=");
    if (*self->point) return self->host->fail(self->context, "point= needs sae=");
    if (self->values == VALUES_CHANGE && self->source[0] == self->source[1])
        return self->host->fail(self->context,
            "plus= and minus= name the same source prompt, so their difference is zero");
    return 0;
}

/* Reads keys=: all, or positions A-B. */
static int read_keys(intervention *self) {
    const psc_filter all = PSC_FILTER_INIT;
    self->keys = all;
    if (self->kind != INTERVENTION_KNOCKOUT || strcmp(self->keys_text, "all") == 0) return 0;
    if (!*self->keys_text) return self->host->fail(self->context, "keys= is missing");
    self->keys.rows = PSC_ROWS_RANGE;
    return psc_option_positions(self->context, self->host, "keys", self->keys_text,
        &self->keys.row_begin, &self->keys.row_end);
}

static int open_kind(
    intervention_kind kind, psc_context *context, const psc_host *host, void **out) {
    intervention *self = *out = host->life_alloc(context, sizeof *self);
    if (!self) return -1;
    /* Values for options that the kind's table does not have. */
    self->file = self->tensor = self->index = self->keys_text = self->sae = self->point = "";
    self->heads.n = host->model(context)->n_heads;
    self->source[0] = 1;
    self->source[1] = 2;
    if (host->options(context, self)) return -1;
    self->context = context;
    self->host = host;
    self->kind = kind;
    self->alpha = (float)self->factor;
    self->source[0]--; /* users count prompts from 1 */
    self->source[1]--;
    if (check_unused(self)) return -1;
    choose_values(self);
    if (*self->sae) return intervention_latents_open(self);
    if (intervention_names_latents(self->at))
        return host->fail(context,
            "at=%.60s names latents of a dictionary; ablate, scale and steer take them with "
            "sae=FOLDER",
            self->at);
    return read_keys(self) || check_options(self) || check_corpus(self) ||
           intervention_parse_sites(self) || intervention_prepare_values(self);
}

/* --- edits ----------------------------------------------------------------------------------- */

static void edit_floats(const intervention *self, float *x, const float *values, int64_t n) {
    if (self->kind == INTERVENTION_SCALE)
        for (int64_t i = 0; i < n; i++) x[i] *= self->alpha;
    else if (self->kind == INTERVENTION_STEER)
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): steer refuses to open without values
        for (int64_t i = 0; i < n; i++) x[i] = fmaf(self->alpha, values[i], x[i]);
    else if (values)
        memcpy(x, values, (size_t)n * sizeof *x);
    else
        memset(x, 0, (size_t)n * sizeof *x);
}

static int on_edit(const psc_event *event, void *payload) {
    const intervention_site *site = payload;
    const intervention *self = site->owner;
    const psc_view *t = &event->tensor;
    const int64_t heads = t->n_axes == 3 ? t->shape[1] : 1;
    for (int32_t r = 0; r < event->n_rows; r++) {
        int none = 0;
        const float *values = intervention_values_at(site, &event->rows[r], &none);
        /* Keys past the row's own position are not edited. */
        int64_t n = site->width ? t->shape[t->n_axes - 1] : event->rows[r].position + 1;
        const int64_t wide = site->width ? n : intervention_keys_at(site, &event->rows[r]);
        float *x = t->data + r * t->stride[0];
        if (none < 0) return -1;
        if (none) continue;
        if (event->gradient) values = NULL; /* it is 0 where a value was set */
        if (site->neuron >= 0) {
            x += site->neuron;
            n = 1;
        }
        for (int64_t h = 0; h < heads; h++)
            edit_floats(
                self, x + (heads > 1 ? h * t->stride[1] : 0), values ? values + h * wide : NULL, n);
    }
    return 0;
}

static int is_cut(const intervention *self, int32_t key) {
    return self->keys.rows == PSC_ROWS_ALL ||
           (key >= self->keys.row_begin && key < self->keys.row_end);
}

static int on_cut(const psc_event *event, void *payload) {
    const intervention_site *site = payload;
    const intervention *self = site->owner;
    const psc_view *t = &event->tensor;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t h = 0; h < t->shape[1]; h++) {
            const int32_t position = event->rows[r].position;
            float *x = t->data + r * t->stride[0] + h * t->stride[1];
            int kept = 0;
            for (int32_t key = 0; key <= position; key++) {
                if (is_cut(self, key)) x[key] = -INFINITY;
                kept |= x[key] != -INFINITY;
            }
            if (!kept)
                return self->host->fail(self->context,
                    "row %d of L%dH%d would keep no key to attend to", (int)position,
                    (int)site->layer, (int)(site->head >= 0 ? site->head : h));
        }
    return 0;
}

/* Before the run: fails if this knockout alone cuts every key of a row. */
static int check_cut(const intervention *self) {
    int32_t n = 0;
    const psc_row *rows = self->host->rows(self->context, &n);
    for (int32_t i = 0; i < n; i++) {
        const int32_t position = rows[i].position;
        const int edited = self->rows.rows == PSC_ROWS_ALL ||
                           (self->rows.rows == PSC_ROWS_LAST && rows[i].next < 0) ||
                           (self->rows.rows == PSC_ROWS_RANGE && position >= self->rows.row_begin &&
                               position < self->rows.row_end);
        int kept = 0;
        for (int32_t key = 0; key <= position && !kept; key++) kept = !is_cut(self, key);
        if (edited && !kept)
            return self->host->fail(self->context,
                "row %d would keep no key to attend to: keys=%.40s cuts every key from 0 to the "
                "row's own position; pass rows= to choose later rows",
                (int)position, self->keys_text);
    }
    return 0;
}

/* In a set of pairs the edit must reach each of them, as it must alone. */
static int check_sequences(
    const intervention *self, const psc_row_set *set, const psc_row *rows, int32_t n) {
    int reached = 0;
    if (self->host->example(self->context, rows[0].sequence) < 0) return 0;
    for (int32_t i = 0; i < n; i++) {
        reached |= set->slot[i] >= 0;
        if (i + 1 < n && rows[i + 1].sequence == rows[i].sequence) continue;
        if (!reached || (self->kind == INTERVENTION_KNOCKOUT && self->keys.rows == PSC_ROWS_RANGE &&
                            self->keys.row_begin > rows[i].position))
            return self->host->fail(self->context,
                "the prompt has the positions 0-%d, of which rows= or keys= contains none",
                (int)rows[i].position);
        reached = 0;
    }
    return 0;
}

/* Fails if an edit reaches no row of a text that is compared with itself unchanged. (In an ordinary
 * run the sequence may still grow to those rows.) */
int intervention_check_reach(const intervention *self) {
    int32_t n = 0, most = 0;
    psc_row_set set;
    if (psc_rows_resolve(self->context, self->host, "rows", &self->rows, 0, &set)) return -1;
    const psc_row *rows = self->host->rows(self->context, &n);
    if (check_sequences(self, &set, rows, n)) return -1;
    for (int32_t i = 0; i < n; i++)
        if (rows[i].position > most) most = rows[i].position;
    if (self->kind != INTERVENTION_KNOCKOUT || self->keys.rows == PSC_ROWS_ALL ||
        self->keys.row_begin <= most)
        return 0;
    return self->host->fail(self->context, "keys=%.40s contains none of the text's positions 0-%d",
        self->keys_text, (int)most);
}

int intervention_subscribe(intervention *self, psc_event_fn callback, int linear) {
    for (int32_t i = 0; i < self->n_sites; i++) {
        intervention_site *site = &self->sites[i];
        psc_filter filter = self->rows;
        filter.layers = &site->layer;
        filter.n_layers = site->layer >= 0;
        filter.heads = &site->head;
        filter.n_heads = site->head >= 0;
        if (self->host->edit(self->context, site->point, &filter, callback, site)) return -1;
        filter.gradient = PSC_GRADIENT_THROUGH;
        if (linear && self->host->edit(self->context, site->point, &filter, callback, site))
            return -1;
    }
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int begin(psc_context *context, void *state) {
    intervention *self = state;
    const psc_phase phase = (psc_phase)self->host->phase(context);
    if (intervention_record(self, phase)) return -1;
    if (phase == PSC_PHASE_SOURCE) return 0;
    if (phase == PSC_PHASE_CHANGED && !self->host->accumulating(context) &&
        intervention_check_reach(self))
        return -1;
    if (self->kind == INTERVENTION_KNOCKOUT && check_cut(self)) return -1;
    if (phase == PSC_PHASE_BASE) return 0;
    if (self->latents) return intervention_latents_subscribe(self);
    if (self->kind == INTERVENTION_KNOCKOUT) return intervention_subscribe(self, on_cut, 0);
    return intervention_subscribe(self, on_edit, self->kind != INTERVENTION_STEER);
}

static int end(psc_context *context, void *state, int status) {
    intervention *self = state;
    if (status == 0) intervention_finish_values(self, (psc_phase)self->host->phase(context));
    return 0;
}

/* "sets L0H3 to zero" */
static void describe(const intervention *self, char *out, size_t size) {
    const int source = self->source[0] + 1;
    if (self->latents && self->kind == INTERVENTION_STEER)
        snprintf(out, size, "adds %g times the decoder rows of %.200s of %.200s",
            (double)self->alpha, self->at, self->sae);
    else if (self->latents && self->kind == INTERVENTION_SCALE)
        snprintf(out, size, "multiplies %.200s of %.200s by %g", self->at, self->sae,
            (double)self->alpha);
    else if (self->latents)
        snprintf(out, size, "sets %.200s of %.200s to zero", self->at, self->sae);
    else if (self->kind == INTERVENTION_SCALE)
        snprintf(out, size, "multiplies %s by %g", self->at, (double)self->alpha);
    else if (self->kind == INTERVENTION_KNOCKOUT)
        snprintf(out, size, "keeps %s from attending to keys %s", self->at, self->keys_text);
    else if (self->kind == INTERVENTION_STEER && self->values == VALUES_FILE)
        snprintf(out, size, "adds %g times %s%s of %s to %s", (double)self->alpha,
            *self->index ? "entry " : "the vector", self->index, self->file, self->at);
    else if (self->kind == INTERVENTION_STEER)
        snprintf(out, size, "adds %g times (source prompt %d - source prompt %d, %s) to %s",
            (double)self->alpha, source, (int)self->source[1] + 1,
            self->whole_mean ? "means over their rows" : "at their last rows", self->at);
    else if (self->values == VALUES_ROWS)
        snprintf(out, size, "sets %s to its values in source prompt %d", self->at, source);
    else if (self->values == VALUES_FILE)
        snprintf(out, size, "sets %s to the mean in %s", self->at, self->file);
    else
        snprintf(out, size, "sets %s to %s", self->at,
            self->values == VALUES_MEAN ? "its mean over the text" : "zero");
}

static int report(psc_context *context, void *state) {
    const intervention *self = state;
    char what[512], sentence[600], rows[32];
    describe(self, what, sizeof what);
    psc_rows_text(rows, sizeof rows, &self->rows);
    snprintf(sentence, sizeof sentence, "%s (rows: %s)", what, rows);
    return self->host->summary_text(context, sentence);
}

static int report_changed(psc_context *context, void *state) {
    const intervention *self = state;
    const int phase = self->host->phase(context);
    const int edits = phase == PSC_PHASE_ONLY || phase == PSC_PHASE_CHANGED;
    return edits ? report(context, state) : 0;
}

static int takes_source(psc_context *context, const void *state) {
    const intervention *self = state;
    (void)context;
    return self->values == VALUES_CHANGE || self->values == VALUES_ROWS;
}

static void close_plugin(psc_context *context, void *state) {
    (void)context;
    intervention_free_values(state);
}

/* --- the five -------------------------------------------------------------------------------- */

#define INTERVENTION(lower, upper, over, what)                                                     \
    static int open_##lower(psc_context *context, const psc_host *host, void **out) {              \
        return open_kind(INTERVENTION_##upper, context, host, out);                                \
    }                                                                                              \
    static const psc_plugin lower##_plugin = {                                                     \
        .abi = PSC_PLUGIN_ABI,                                                                     \
        .struct_size = sizeof(psc_plugin),                                                         \
        .name = #lower,                                                                            \
        .summary = what,                                                                           \
        .options = upper##_OPTIONS,                                                                \
        .open = open_##lower,                                                                      \
        .run_begin = begin,                                                                        \
        .run_end = end,                                                                            \
        .report = report_changed,                                                                  \
        .close = close_plugin,                                                                     \
        .points = "the points that at= names",                                                     \
        .phases = 1,                                                                               \
        .takes_source = takes_source,                                                              \
        .corpus = PSC_CORPUS_##over,                                                               \
    };                                                                                             \
    const psc_plugin *psc_builtin_##lower(void) {                                                  \
        return &lower##_plugin;                                                                    \
    }

INTERVENTION(ablate, ABLATE, OVERLAPS, "sets components to zero, a mean or another prompt's values")
INTERVENTION(scale, SCALE, OVERLAPS, "multiplies components by a factor")
INTERVENTION(steer, STEER, OVERLAPS, "adds a vector, or the difference of two prompts")
INTERVENTION(knockout, KNOCKOUT, OVERLAPS, "cuts attention from rows to keys")
INTERVENTION(patch, PATCH, NO, "replaces components' values by those of another prompt's run")
