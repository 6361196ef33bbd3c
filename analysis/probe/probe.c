/* The plugin `probe`: what each level knows of the labels of words.
 *
 *   x0..xL: hook_resid_pre of each layer and the last hook_resid_post, at the last row of a unit
 *   a linear map of x to one-hot labels is fitted on training sentences (probe_sums.c,
 *   probe_solve.c) and tested on others (probe_test.c); tasks: probe_tasks.c
 *
 * Runs come in three kinds: PSC_PHASE_SOURCE with source 0 counts labels (its rows do not matter),
 * with source 1 trains; other runs test. The verb probe makes them. */
#include "probe.h"

#include <stddef.h>
#include <string.h>

static const char *const unit_words[] = {"words", "spans", NULL};
static const psc_option_description probe_options[] = {
    {"tasks", "upos+number+tense+role+lemma+question+imperative+quotation+mention",
        "labels to predict, joined by +; feat:NAME is any feature", PSC_OPTION_TEXT,
        offsetof(probe_state, tasks_text), 0, 0, NULL},
    {"units", "words", "words: those that share a token are one unit; spans: each is one",
        PSC_OPTION_WORD, offsetof(probe_state, units), 0, 0, unit_words},
    {"classes", "300", "most classes of a task, the most frequent", PSC_OPTION_COUNT,
        offsetof(probe_state, classes), 2, 100000, NULL},
    {"ridge", "0.01", "the ridge, in units of the training rows", PSC_OPTION_NUMBER,
        offsetof(probe_state, ridge), 1e-12, 1e12, NULL},
    {"least", "3", "units of a sentence without punctuation, at least", PSC_OPTION_COUNT,
        offsetof(probe_state, least), 1, 1000000, NULL},
    {"most", "40", "and at most", PSC_OPTION_COUNT, offsetof(probe_state, most), 1, 1000000, NULL},
    {"memory", "1024", "most MiB that sums and scores may take", PSC_OPTION_COUNT,
        offsetof(probe_state, memory), 1, 1 << 20, NULL},
    {0},
};

static int probe_open(psc_context *context, const psc_host *host, void **state) {
    probe_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    const psc_model_info *model = host->model(context);
    s->n_layers = model->n_layers;
    s->n_levels = model->n_layers + 1;
    s->n_dims = model->d_model;
    s->n_panels = (s->n_dims + PROBE_PANEL - 1) / PROBE_PANEL;
    s->padded = s->n_panels * PROBE_PANEL;
    if (!host->accumulating(context))
        return host->fail(
            context, "there are no sentences to train and to test; use the verb probe");
    s->reductions = host->reductions(context);
    return s->reductions ? probe_tasks_parse(s) : -1;
}

/* --- residuals ------------------------------------------------------------------------------- */

static void put_row(probe_state *s, int32_t level, int32_t unit, const float *from) {
    double *to = s->x + level * s->level_stride + unit * s->row_stride;
    for (int32_t i = 0; i < s->n_dims; i++)
        to[i / PROBE_PANEL * s->panel_stride + i % PROBE_PANEL] = (double)from[i];
}

static void take(probe_state *s, const psc_event *event, int32_t level) {
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t row = event->rows[r].index;
        for (int32_t u = s->unit_of[row]; u >= 0 && u < s->n_units && s->units_at[u].row == row;
             u++)
            put_row(s, level, u, psc_view_row(&event->tensor, r));
    }
}

static int on_pre(const psc_event *event, void *payload) {
    take(payload, event, event->layer);
    return 0;
}

static int on_post(const psc_event *event, void *payload) {
    probe_state *s = payload;
    take(s, event, s->n_layers);
    return 0;
}

/* Training reads columns of many rows, the test whole rows. */
static int make_residuals(probe_state *s) {
    const int64_t units = s->n_units;
    s->panel_stride = s->training ? units * PROBE_PANEL : PROBE_PANEL;
    s->row_stride = s->training ? PROBE_PANEL : s->padded;
    s->level_stride = units * s->padded;
    s->x = s->host->run_alloc(
        s->context, (uint64_t)(s->level_stride * s->n_levels) * sizeof *s->x + 1);
    return s->x ? 0 : -1;
}

/* --- runs ------------------------------------------------------------------------------------ */

/* Drops the units that no task concerns, and gives each row its first unit. */
static int label_units(probe_state *s) {
    char label[PROBE_LABEL];
    int32_t n_rows = 0, kept = 0;
    s->host->rows(s->context, &n_rows);
    s->unit_of = s->host->run_alloc(s->context, (uint64_t)n_rows * sizeof *s->unit_of);
    s->classes_at = s->host->run_alloc(
        s->context, (uint64_t)s->n_units * (uint64_t)s->n_tasks * sizeof *s->classes_at + 1);
    if (!s->unit_of || !s->classes_at) return -1;
    for (int32_t r = 0; r < n_rows; r++) s->unit_of[r] = -1;
    for (int32_t u = 0; u < s->n_units; u++) {
        const probe_unit unit = s->units_at[u];
        int concerned = 0;
        for (int32_t t = 0; unit.kept && t < s->n_tasks; t++) {
            const int labelled = probe_label(s, &s->tasks[t], &unit, label);
            const int32_t c = labelled ? probe_class_of(&s->tasks[t], label) : -1;
            s->classes_at[(int64_t)kept * s->n_tasks + t] = labelled && c < 0 ? -2 : c;
            concerned |= labelled;
        }
        if (!concerned) continue;
        s->units_at[kept] = unit;
        if (s->unit_of[unit.row] < 0) s->unit_of[unit.row] = kept;
        kept++;
    }
    s->n_units = kept;
    return 0;
}

static int observe(probe_state *s) {
    const psc_host *host = s->host;
    const int32_t last = s->n_layers - 1;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &last;
    filter.n_layers = 1;
    return host->observe(s->context, PSC_HOOK_RESID_PRE, NULL, on_pre, s) ||
           host->observe(s->context, PSC_HOOK_RESID_POST, &filter, on_post, s);
}

/* Counts the labels once, and makes the sums for them. */
static int count_labels(probe_state *s) {
    if (s->ready) return s->host->fail(s->context, "the labels were counted already");
    if (probe_classes_fix(s) || probe_sums_make(s)) return -1;
    s->ready = 1;
    return 0;
}

static int probe_run_begin(psc_context *context, void *state) {
    probe_state *s = state;
    const psc_host *host = s->host;
    const int source = host->source(context);
    const int counting = host->phase(context) == PSC_PHASE_SOURCE && source == PROBE_COUNT;
    s->training = host->phase(context) == PSC_PHASE_SOURCE && source == PROBE_TRAIN;
    if (s->training && s->solved) return host->fail(context, "training must end before the test");
    if (probe_units_make(s)) return -1;
    if (counting) return count_labels(s);
    if (!s->ready)
        return host->fail(context, "no training labels were counted; use the verb probe");
    if (!s->training && !s->solved) {
        if (probe_solve(s)) return -1;
        s->solved = 1;
    }
    if (label_units(s) || make_residuals(s) || observe(s)) return -1;
    return s->training ? 0 : probe_test_begin(s);
}

static int probe_run_end(psc_context *context, void *state, int status) {
    probe_state *s = state;
    const psc_host *host = s->host;
    const int source = host->phase(context) == PSC_PHASE_SOURCE;
    if (status || (source && !s->training)) return 0;
    if (s->training ? probe_sums_add(s) : probe_test_add(s)) return -1;
    *(s->training ? &s->n_train : &s->n_test) += s->n_sentences;
    return 0;
}

static int probe_report(psc_context *context, void *state) {
    (void)context;
    return probe_report_write(state);
}

const psc_plugin *psc_builtin_probe(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "probe",
        .summary = "what each level knows: linear probes of the residual stream for labels of "
                   "words and sentences (verb probe)",
        .options = probe_options,
        .phases = 1,
        .needs_bos = 1,
        .corpus = PSC_CORPUS_YES,
        .open = probe_open,
        .run_begin = probe_run_begin,
        .run_end = probe_run_end,
        .report = probe_report,
        .points = "hook_resid_pre hook_resid_post",
    };
    return &plugin;
}
