/* The plugin `roles`: what each residual x^l_j is for.
 *
 *   predictor    the centered logit-lens logit of the target at row j
 *   attractor    sum_{k>j,h} A_kj/(H (T-1-j)), layer l reading x^l_j
 *   influencer   sum_{k>j,h} A_kj |W_O,h W_V,h (gamma1 * P(x^l_j))|/sigma_j
 *
 * This file holds the options, the plugin's callbacks and the sums over the pattern's rows. The
 * sums are taken as the events arrive, so memory grows with T and not with T^2. */
#include "roles.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *const predictors[] = {"next", "given", NULL};
static const psc_option_description roles_options[] = {
    {"target", "next", "the predicted token: the text's own next token, or the run's first target",
        PSC_OPTION_WORD, offsetof(roles_state, given), 0, 0, predictors},
    {"onward", "yes", "also compute the influence through all later layers", PSC_OPTION_YES_NO,
        offsetof(roles_state, onward), 0, 0, NULL},
    {"angles", "auto", "layers whose principal angles are computed", PSC_OPTION_LAYERS,
        offsetof(roles_state, angle_layers), 0, 0, NULL},
    {"dimension", "8", "dimension of the three subspaces", PSC_OPTION_COUNT,
        offsetof(roles_state, dimension), 1, 256, NULL},
    {0},
};

static int roles_open(psc_context *context, const psc_host *host, void **state) {
    roles_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    return 0;
}

/* --- the pattern ----------------------------------------------------------------------------- */

typedef struct pattern_job {
    roles_state *s;
    const psc_event *event;
} pattern_job;

static int takes_reads(const roles_state *s, int32_t layer) {
    return s->read && layer >= s->angle_layers.first &&
           layer < s->angle_layers.first + s->angle_layers.n;
}

static int on_query(const psc_event *event, void *payload) {
    roles_state *s = payload;
    const int64_t size = s->model->d_head, heads = s->model->n_heads;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t h = 0; h < heads; h++)
            memcpy(s->queries + (event->rows[r].index * heads + h) * size,
                event->tensor.data + r * event->tensor.stride[0] + h * event->tensor.stride[1],
                (size_t)size * sizeof(float));
    return 0;
}

/* The sums of each head: one thread adds all of them, with ascending rows k. */
static void take_heads(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const pattern_job *job = payload;
    const roles_state *s = job->s;
    const psc_event *event = job->event;
    const int64_t size = s->model->d_head, heads = s->model->n_heads, n_rows = s->n_rows;
    const int reads = takes_reads(s, event->layer);
    (void)thread;
    for (int64_t h = begin; h < end; h++) {
        double *mass = s->mass + (event->layer * heads + h) * n_rows;
        for (int32_t r = 0; r < event->n_rows; r++) {
            const float *a =
                event->tensor.data + r * event->tensor.stride[0] + h * event->tensor.stride[1];
            const float *q = s->queries + (event->rows[r].index * heads + h) * size;
            for (int32_t j = 0; j < event->rows[r].position; j++) {
                mass[j] += (double)a[j];
                if (!reads || a[j] == 0.0f) continue;
                double *to =
                    s->read +
                    (((event->layer - s->angle_layers.first) * heads + h) * n_rows + j) * size;
                for (int64_t d = 0; d < size; d++) to[d] += (double)a[j] * (double)q[d];
            }
        }
    }
}

static int on_pattern(const psc_event *event, void *payload) {
    pattern_job job = {payload, event};
    job.s->host->parallel_for(job.s->context, job.s->model->n_heads, take_heads, &job);
    return 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int begin_targets(roles_state *s) {
    static const psc_target next = {PSC_TARGET_NEXT, -1, -1, 0, "next"};
    const psc_host *host = s->host;
    psc_filter all = PSC_FILTER_INIT;
    psc_row_set rows;
    if (psc_rows_resolve(s->context, host, "rows", &all, 0, &rows)) return -1;
    if (s->given) {
        if (psc_targets_begin(s->context, host, &rows, &s->targets)) return -1;
        if (s->targets.n > 1) s->targets.n = 1;
        return 0;
    }
    s->targets = (psc_target_rows){s->context, host, &next, rows, 1, NULL};
    s->targets.ids = host->run_alloc(s->context, 2 * (uint64_t)rows.n * sizeof(int32_t) + 1);
    if (!s->targets.ids) return -1;
    for (int32_t r = 0; r < rows.n; r++) {
        s->targets.ids[2 * r] = s->rows[r].next;
        s->targets.ids[2 * r + 1] = -1;
    }
    return 0;
}

static int make_tables(roles_state *s) {
    const psc_host *host = s->host;
    const uint64_t heads = (uint64_t)s->model->n_heads, size = (uint64_t)s->model->d_head;
    const uint64_t rows = (uint64_t)s->n_rows, layers = (uint64_t)s->model->n_layers;
    s->mass = host->run_alloc(s->context, layers * heads * rows * sizeof *s->mass);
    s->queries = host->run_alloc(s->context, rows * heads * size * sizeof *s->queries);
    s->read = NULL;
    if (!s->mass || !s->queries) return -1;
    if (!s->gram) s->gram = psc_output_gram(s->context, host);
    if (!s->gram) return -1;
    if (s->angle_layers.n == 0) return 0;
    const uint64_t n = (uint64_t)s->angle_layers.n;
    s->read = host->run_alloc(s->context, n * heads * rows * size * sizeof *s->read);
    return s->read ? 0 : -1;
}

static int roles_run_begin(psc_context *context, void *state) {
    roles_state *s = state;
    const psc_host *host = s->host;
    s->rows = psc_whole_sequence(context, host, "roles needs", &s->n_rows);
    if (!s->rows || begin_targets(s) || make_tables(s)) return -1;
    const int32_t last = s->model->n_layers - 1;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &last;
    filter.n_layers = 1;
    s->residuals = host->retain(context, PSC_HOOK_RESID_PRE, NULL);
    s->last = host->retain(context, PSC_HOOK_RESID_POST, &filter);
    s->scale = host->retain(context, PSC_HOOK_LN1_SCALE, NULL);
    if (s->residuals < 0 || s->last < 0 || s->scale < 0) return -1;
    if (s->angle_layers.n > 0 && host->observe(context, PSC_HOOK_ROT_Q, NULL, on_query, s))
        return -1;
    return host->observe(context, PSC_HOOK_PATTERN, NULL, on_pattern, s);
}

static int roles_run_end(psc_context *context, void *state, int status) {
    roles_state *s = state;
    (void)context;
    if (status) return 0;
    if (psc_directions_build(&s->targets, 1, 0, &s->directions) || roles_figures(s)) return -1;
    return roles_statistics(s) || (s->angle_layers.n > 0 && roles_angles(s)) ? -1 : 0;
}

static int roles_report(psc_context *context, void *state) {
    (void)context;
    return roles_summary(state);
}

const psc_plugin *psc_builtin_roles(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "roles",
        .summary = "what each residual is for: predicting, attracting attention, influencing later "
                   "rows",
        .options = roles_options,
        .corpus = PSC_CORPUS_NO,
        .open = roles_open,
        .run_begin = roles_run_begin,
        .run_end = roles_run_end,
        .report = roles_report,
        .points = "hook_resid_pre hook_resid_post ln1.hook_scale attn.hook_rot_q attn.hook_pattern "
                  "hook_logits",
    };
    return &plugin;
}
