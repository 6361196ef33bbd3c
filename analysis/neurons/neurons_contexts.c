/* How often neurons fire, and over documents the contexts of each neuron's largest a.
 *
 *   fires: rows with a > 0; dead: none; silent: max |g| < 0.01
 *
 * A sequence's largest a per neuron are kept as the rows arrive, if they reach the least of the
 * totals' list; most rows cost one comparison. At the end of the run they are offered to
 * the host's lists. Each neuron has one thread and its rows in order, so no result depends
 * on threads or chunks. */
#include "neurons.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SILENT 0.01
enum { BLOCK = 512 }; /* neurons whose rows are offered, or whose counts are added, together */

int neurons_contexts_open(neurons_state *s) {
    const psc_host *host = s->host;
    const int64_t n = neurons_all(s);
    s->fires_handle = host->accumulator(s->context, "fires", PSC_ACCUMULATE_COUNT, n, 0);
    s->most_handle = host->accumulator(s->context, "most", PSC_ACCUMULATE_MAX, n, 0);
    s->tokens_handle = host->accumulator(s->context, "tokens", PSC_ACCUMULATE_COUNT, 1, 0);
    s->context_handle =
        host->accumulator(s->context, "contexts", PSC_ACCUMULATE_TOP, n, s->contexts);
    return s->fires_handle < 0 || s->most_handle < 0 || s->tokens_handle < 0 ||
                   s->context_handle < 0
               ? -1
               : 0;
}

typedef struct event_job {
    neurons_state *s;
    const psc_event *event;
} event_job;

/* Offers to a sequence's lists what reaches their limits; afterwards a full list's
 * least value is its limit. */
static void offer_row(
    const neurons_state *s, int64_t slot, const float *a, int32_t n, int32_t row) {
    const int32_t contexts = s->contexts;
    int32_t ids[BLOCK];
    size_t count = 0;
    s->kernels->reach_limits(ids, &count, a, s->limits + slot, (size_t)n);
    for (size_t i = 0; i < count; i++) {
        const int64_t at = slot + ids[i];
        psc_top_list top = {s->best + at * contexts, contexts, s->n_best[at]};
        if (psc_top_offer(&top, (double)a[ids[i]], row) < 0) continue;
        s->n_best[at] = top.n;
        if (top.n == contexts && top.at[contexts - 1].key > (double)s->limits[at])
            s->limits[at] = (float)top.at[contexts - 1].key; /* a float's own value */
    }
}

static void take_pre(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const event_job *job = payload;
    const neurons_state *s = job->s;
    const psc_event *event = job->event;
    const int64_t first = event->layer * (int64_t)s->model->d_mlp, all = neurons_all(s);
    const float zero = 0.0f;
    (void)thread;
    s->kernels->count_columns(s->fires + first + begin, 0, event->tensor.data + begin,
        (size_t)event->tensor.stride[0], (size_t)event->n_rows, (size_t)(end - begin), &zero, 1);
    for (int64_t k = begin; s->corpus && k < end; k += BLOCK)
        for (int32_t r = 0; r < event->n_rows; r++) {
            const int32_t row = event->rows[r].index;
            offer_row(s, s->sequences.place[row] / 2 * all + first + k,
                psc_view_row(&event->tensor, r) + k, (int32_t)(end - k < BLOCK ? end - k : BLOCK),
                row);
        }
}

static void take_post(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const event_job *job = payload;
    const psc_view *g = &job->event->tensor;
    (void)thread;
    job->s->kernels->column_sizes(
        job->s->most + job->event->layer * (int64_t)job->s->model->d_mlp + begin, g->data + begin,
        (size_t)g->stride[0], (size_t)job->event->n_rows, (size_t)(end - begin));
}

static int on_pre(const psc_event *event, void *payload) {
    event_job job = {payload, event};
    job.s->host->parallel_for(job.s->context, job.s->model->d_mlp, take_pre, &job);
    return 0;
}

static int on_post(const psc_event *event, void *payload) {
    event_job job = {payload, event};
    job.s->host->parallel_for(job.s->context, job.s->model->d_mlp, take_post, &job);
    return 0;
}

/* A value below the least of a full list of the totals can enter none of them. */
static int find_limits(neurons_state *s) {
    const int64_t all = neurons_all(s);
    psc_top *entries = s->host->run_alloc(s->context, (uint64_t)s->contexts * sizeof *entries);
    if (!entries) return -1;
    for (int64_t i = 0; i < all; i++) {
        const int32_t n = s->host->accumulated_top(s->context, s->context_handle, i, entries);
        if (n < 0) return -1;
        const double least = n == s->contexts ? entries[n - 1].value : -INFINITY;
        const float limit = (float)least; /* a state's number may lie between two floats */
        s->limits[i] = (double)limit > least ? nextafterf(limit, -INFINITY) : limit;
    }
    for (int32_t q = 1; q < s->sequences.n; q++)
        memcpy(s->limits + q * all, s->limits, (size_t)all * sizeof *s->limits);
    return 0;
}

int neurons_contexts_begin(neurons_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)neurons_all(s);
    int32_t n_rows = 0;
    host->rows(s->context, &n_rows);
    s->tokens = n_rows;
    s->fires = host->run_alloc(s->context, n * sizeof *s->fires);
    s->most = host->run_alloc(s->context, n * sizeof(double));
    if (!s->fires || !s->most) return -1;
    if (s->corpus) {
        if (psc_sequences_find(s->context, host, &s->sequences)) return -1;
        const uint64_t slots = (uint64_t)s->sequences.n * n;
        s->best = host->run_alloc(s->context, slots * (uint64_t)s->contexts * sizeof *s->best);
        s->n_best = host->run_alloc(s->context, slots * sizeof *s->n_best);
        s->limits = host->run_alloc(s->context, slots * sizeof *s->limits);
        if (!s->best || !s->n_best || !s->limits || find_limits(s)) return -1;
    }
    return host->observe(s->context, PSC_HOOK_MLP_PRE, NULL, on_pre, s) ||
           host->observe(s->context, PSC_HOOK_MLP_POST, NULL, on_post, s);
}

static int add_fires(const neurons_state *s) {
    const int64_t all = neurons_all(s);
    double fires[BLOCK];
    for (int64_t k = 0; k < all; k += BLOCK) {
        const int64_t n = all - k < BLOCK ? all - k : BLOCK;
        for (int64_t i = 0; i < n; i++) fires[i] = s->fires[k + i];
        if (s->host->accumulate(s->context, s->fires_handle, k, n, fires)) return -1;
    }
    return 0;
}

int neurons_contexts_add(neurons_state *s) {
    const psc_host *host = s->host;
    const int64_t all = neurons_all(s);
    int32_t n_rows = 0;
    const psc_row *rows = host->rows(s->context, &n_rows);
    for (int64_t slot = 0; slot < s->sequences.n * all; slot++)
        for (int32_t i = 0; i < s->n_best[slot]; i++) {
            const psc_ranked *best = &s->best[slot * s->contexts + i];
            if (host->accumulate_top(
                    s->context, s->context_handle, slot % all, best->key, &rows[best->index]))
                return -1;
        }
    return add_fires(s) || host->accumulate(s->context, s->most_handle, 0, all, s->most) ||
           host->accumulate(s->context, s->tokens_handle, 0, 1, &s->tokens);
}

/* Makes fires, largest_activation, dead and silent [layers, neurons]. */
int neurons_firing(neurons_state *s) {
    static const char *const axes[] = {"layers", "neurons"};
    const psc_host *host = s->host;
    const int64_t n = neurons_all(s);
    int64_t n_dead = 0, n_silent = 0;
    char sentence[240];
    double *fires = host->array(s->context, "fires", PSC_F64, 2, axes);
    double *most = host->array(s->context, "largest_activation", PSC_F64, 2, axes);
    int32_t *dead = host->array(s->context, "dead", PSC_I32, 2, axes);
    int32_t *silent = host->array(s->context, "silent", PSC_I32, 2, axes);
    if (!fires || !most || !dead || !silent) return -1;
    if (!s->corpus) {
        for (int64_t i = 0; i < n; i++) fires[i] = s->fires[i];
        memcpy(most, s->most, (size_t)n * sizeof *most);
    } else if (host->accumulated(s->context, s->fires_handle, 0, n, fires) ||
               host->accumulated(s->context, s->most_handle, 0, n, most) ||
               host->accumulated(s->context, s->tokens_handle, 0, 1, &s->tokens)) {
        return -1;
    }
    for (int64_t i = 0; i < n; i++) {
        n_dead += dead[i] = fires[i] == 0.0;
        n_silent += silent[i] = most[i] < SILENT;
    }
    snprintf(sentence, sizeof sentence,
        "Over %s, %s of %s neurons are dead (they never fired) and %s are silent "
        "(|g| never reached 0.01).",
        PSC_MANY(s->tokens, "token"), PSC_COMMAS(n_dead), PSC_COMMAS(n), PSC_COMMAS(n_silent));
    if (host->value_number(s->context, "tokens", s->tokens)) return -1;
    return s->tokens > 0.0 ? host->summary_text(s->context, sentence) : 0;
}

int neurons_contexts_summary(neurons_state *s) {
    psc_top *entries = s->host->run_alloc(s->context, (uint64_t)s->contexts * sizeof *entries);
    if (!entries) return -1;
    for (int32_t i = 0; i < s->n_listed; i++) {
        const neuron_id *id = &s->listed[i];
        const int32_t n = s->host->accumulated_top(s->context, s->context_handle,
            id->layer * (int64_t)s->model->d_mlp + id->neuron, entries);
        if (n < 0) return -1;
        const char *label = s->host->label(s->context, PSC_COMPONENT_NEURON, id->layer, id->neuron);
        for (int32_t e = 0; e < n && e < 3; e++)
            if (psc_show_context(s->context, s->host, label, &entries[e], "")) return -1;
    }
    return 0;
}

/* Makes context_value, context_document and context_position [layers, neurons, contexts], and
 * context_tokens [.., window]. */
int neurons_contexts_report(neurons_state *s) {
    static const char *const axes[] = {"layers", "neurons", "contexts", "window"};
    const psc_host *host = s->host;
    const int64_t window = PSC_TOP_BEFORE + 1 + PSC_TOP_AFTER;
    psc_top *entries = host->run_alloc(s->context, (uint64_t)s->contexts * sizeof *entries);
    if (!entries || psc_count_axis(s->context, s->host, "contexts", 0, s->contexts) ||
        psc_count_axis(s->context, s->host, "window", -PSC_TOP_BEFORE, (int32_t)window))
        return -1;
    double *value = host->array(s->context, "context_value", PSC_F64, 3, axes);
    double *document = host->array(s->context, "context_document", PSC_F64, 3, axes);
    int32_t *position = host->array(s->context, "context_position", PSC_I32, 3, axes);
    int32_t *tokens = psc_token_ids_array(s->context, host, "context_tokens", 4, axes);
    if (!value || !document || !position || !tokens) return -1;
    for (int64_t slot = 0; slot < neurons_all(s); slot++) {
        const int32_t n = host->accumulated_top(s->context, s->context_handle, slot, entries);
        if (n < 0) return -1;
        for (int32_t e = 0; e < n; e++) {
            const int64_t at = slot * s->contexts + e;
            value[at] = entries[e].value;
            document[at] = (double)entries[e].document;
            position[at] = entries[e].position;
            memcpy(tokens + at * window, entries[e].tokens, (size_t)window * sizeof *tokens);
        }
    }
    return psc_name_documents(s->context, host, document, neurons_all(s) * s->contexts) ||
                   neurons_contexts_summary(s)
               ? -1
               : 0;
}
