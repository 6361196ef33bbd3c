/* The plugin `forms`: are the forms of one word near each other?
 *
 * Each form of a list is a sequence of its own, after the beginning-of-text token alone. x^l is the
 * residual of its last token at level l, x^0 the embedding, minus the mean over the list.
 *
 *   closer        P(cos(form, mate) > cos(form, control)), ties count one half
 *   rank          mean of 1 / rank of the mate by cosine with the form, among the forms of its tag
 *   rank_offset   the same after the mean offset of the two tags was added to the form
 *
 * A mate is another form of the same group. A control has the mate's tag, its
 * number of tokens and a similar frequency, and is of another group.
 *
 * This file has the options and the plugin's life. The list comes as the labels of the runs: one
 * sentence of one word per sequence. Forms of several runs are one list. */
#include "forms.h"

#include <stddef.h>
#include <string.h>

static const psc_option_description forms_options[] = {
    {"seed", "1", "of the drawn controls", PSC_OPTION_COUNT, offsetof(forms_state, seed), 0,
        2147483647, NULL},
    {"draws", "8", "controls drawn per pair", PSC_OPTION_COUNT, offsetof(forms_state, draws), 1,
        1000, NULL},
    {"memory", "2048", "most MiB that the list's vectors and pairs may take", PSC_OPTION_COUNT,
        offsetof(forms_state, memory), 1, 1 << 24, NULL},
    {0},
};

static int forms_open(psc_context *context, const psc_host *host, void **state) {
    forms_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->n_levels = host->model(context)->n_layers + 1;
    s->width = host->model(context)->d_model;
    return 0;
}

static int on_residual(const psc_event *event, void *payload) {
    forms_state *s = payload;
    const int32_t level = event->point == PSC_HOOK_RESID_PRE ? 0 : event->layer + 1;
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t i = s->entry_of[event->rows[r].index];
        if (i >= 0)
            memcpy(forms_vector(s, i, level), psc_view_row(&event->tensor, r),
                (uint64_t)s->width * sizeof(float));
    }
    return 0;
}

static int forms_run_begin(psc_context *context, void *state) {
    static const int32_t first_layer = 0;
    forms_state *s = state;
    psc_filter last = PSC_FILTER_INIT;
    last.rows = PSC_ROWS_LAST;
    if (!s->host->accumulating(context)) s->done = 0;
    s->n = s->done; /* forgets a run that failed */
    if (forms_take_list(s) || s->host->observe(context, PSC_HOOK_RESID_POST, &last, on_residual, s))
        return -1;
    last.layers = &first_layer;
    last.n_layers = 1;
    return s->host->observe(context, PSC_HOOK_RESID_PRE, &last, on_residual, s);
}

static int forms_run_end(psc_context *context, void *state, int status) {
    forms_state *s = state;
    (void)context;
    if (status == 0) s->done = s->n;
    return 0;
}

static int forms_report(psc_context *context, void *state) {
    forms_state *s = state;
    s->n = s->done;
    if (s->n == 0) return s->host->summary_text(context, "The list has no forms.");
    return forms_find_pairs(s) || forms_measure(s) || forms_write(s) ? -1 : 0;
}

const psc_plugin *psc_builtin_forms(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "forms",
        .summary = "whether the forms of one word are near each other, level by level; for the "
                   "verb forms, which reads a list",
        .options = forms_options,
        .needs_bos = 1,
        .corpus = PSC_CORPUS_YES,
        .open = forms_open,
        .run_begin = forms_run_begin,
        .run_end = forms_run_end,
        .report = forms_report,
        .points = "hook_resid_pre hook_resid_post",
    };
    return &plugin;
}
