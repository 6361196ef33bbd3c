/* The plugin `attention`: where each head looks, and why.
 *
 *   statistics of every head at every row, the attention that each row draws, detectors of
 *   induction, previous-token and duplicate-token heads (attention_stats.c, attention_arrays.c)
 *   the split of one head's scores by the writers of the key's and the query's residual
 *   (attention_split.c)
 *   the whole pattern, for figures (attention_patterns.c)
 *   over documents the windows of each head's largest attention, HeadVis's folder
 *   (attention_contexts.c, headvis.c)
 *
 * This file holds the options and the plugin's life. */
#include "attention.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const psc_option_description attention_options[] = {
    {"reader", "none", "a head like L3H5 whose scores are split by component", PSC_OPTION_TEXT,
        offsetof(attention_state, reader), 0, 0, NULL},
    {"row", "last", "the row whose scores are split", PSC_OPTION_ROWS,
        offsetof(attention_state, split.row), 0, 0, NULL},
    {"key", "none", "a position: splits the score of row and key by both sides at once",
        PSC_OPTION_TEXT, offsetof(attention_state, key), 0, 0, NULL},
    {"top", "5", "heads and rows listed in the summary", PSC_OPTION_COUNT,
        offsetof(attention_state, top), 1, ATTENTION_MOST, NULL},
    {"patterns", "no", "keep the whole pattern of a run, [layers, heads, rows, keys]",
        PSC_OPTION_YES_NO, offsetof(attention_state, patterns), 0, 0, NULL},
    {"contexts", "0", "over a corpus: windows kept per head, those with its largest attention",
        PSC_OPTION_COUNT, offsetof(attention_state, contexts.kept), 0, CONTEXTS_MOST, NULL},
    {"headvis", "none",
        "over a corpus: a name for it; writes HeadVis's folder headvis/NAME into the output folder",
        PSC_OPTION_TEXT, offsetof(attention_state, contexts.dataset), 0, 0, NULL},
    {"model_name", "auto", "the model's name in HeadVis's folder; auto: its folder's name",
        PSC_OPTION_TEXT, offsetof(attention_state, contexts.model), 0, 0, NULL},
    {"window", "512", "most tokens of a window in HeadVis's folder", PSC_OPTION_COUNT,
        offsetof(attention_state, contexts.window), 2, HEADVIS_WINDOW, NULL},
    {"memory", "1024", "most MiB that the pattern, or contexts and HeadVis's folder, may take",
        PSC_OPTION_COUNT, offsetof(attention_state, memory), 1, 1 << 24, NULL},
    {0},
};

/* "L3H5" */
static int parse_reader(attention_state *s, const char *value) {
    char *rest = NULL;
    s->split.layer = s->split.head = -1;
    if (strcmp(value, "none") == 0) return 0;
    if (value[0] == 'L' && value[1] >= '0' && value[1] <= '9') {
        const long layer = strtol(value + 1, &rest, 10);
        if (layer < s->n_layers && rest[0] == 'H' && rest[1] >= '0' && rest[1] <= '9') {
            const long head = strtol(rest + 1, &rest, 10);
            if (head < s->n_heads && *rest == 0) {
                s->split.layer = (int32_t)layer;
                s->split.head = (int32_t)head;
                return 0;
            }
        }
    }
    return s->host->fail(s->context, "reader=%.40s is not a head of this model (L0H0 to L%dH%d)",
        value, (int)s->n_layers - 1, (int)s->n_heads - 1);
}

static int parse_key(attention_state *s, const char *value) {
    s->split.partner = -1;
    if (strcmp(value, "none") == 0) return 0;
    if (s->split.layer < 0) return s->host->fail(s->context, "key=%.40s needs reader= too", value);
    return psc_option_position(
        s->context, s->host, "key", value, s->host->model(s->context)->n_ctx, &s->split.partner);
}

static int has_contexts(const attention_state *s) {
    return s->contexts.kept > 0 || s->contexts.folder;
}

/* A name that can be a folder's. */
static int check_dataset(attention_state *s) {
    const char *name = s->contexts.dataset;
    s->contexts.folder = strcmp(name, "none") != 0;
    if (*name && strlen(name) <= 100) return 0;
    return s->host->fail(s->context, "headvis= must name the corpus in 1 to 100 characters");
}

static int open_totals(attention_state *s) {
    static const char *const names[2][2] = {
        {"sums", "rows"}, {"sums_without_first", "rows_without_first"}};
    const psc_host *host = s->host;
    for (int i = 0; i < 2; i++) {
        const int64_t n = s->n_cells * STAT_COUNT;
        s->sums[i] = host->accumulator(s->context, names[i][0], PSC_ACCUMULATE_SUM, n, 0);
        if (s->sums[i] < 0) return -1;
        s->rows_sum[i] = host->accumulator(s->context, names[i][1], PSC_ACCUMULATE_COUNT, n, 0);
        if (s->rows_sum[i] < 0) return -1;
    }
    return has_contexts(s) ? attention_contexts_open(&s->contexts, s->memory) : 0;
}

static int attention_open(psc_context *context, const psc_host *host, void **state) {
    attention_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->n_layers = host->model(context)->n_layers;
    s->n_heads = host->model(context)->n_heads;
    s->n_cells = (int64_t)s->n_layers * s->n_heads;
    s->corpus = host->accumulating(context);
    s->reductions = host->reductions(context);
    if (!s->reductions) return -1;
    s->contexts.context = context;
    s->contexts.host = host;
    if (parse_reader(s, s->reader) || parse_key(s, s->key) || check_dataset(s)) return -1;
    if (!host->accumulating(context))
        return has_contexts(s)
                   ? host->fail(context, "contexts= and headvis= work over a corpus (pythiascope "
                                         "corpus), not on a single text")
                   : 0;
    if (s->patterns)
        return host->fail(
            context, "patterns= works on single texts, not on a corpus; leave it out");
    if (s->split.layer >= 0)
        return host->fail(context, "reader= works on a single text, not on a corpus");
    return open_totals(s);
}

/* --- a run ----------------------------------------------------------------------------------- */

static int on_pattern(const psc_event *event, void *payload) {
    return attention_take(payload, event);
}

/* Links each row to the previous row with the same token in its sequence. */
static int link_tokens(attention_state *s) {
    const int32_t n_vocab = s->host->model(s->context)->d_vocab;
    int32_t *last = s->host->run_alloc(s->context, (uint64_t)n_vocab * sizeof *last);
    int32_t *earlier = s->host->run_alloc(s->context, (uint64_t)s->n_rows * sizeof *earlier);
    if (!last || !earlier) return -1;
    for (int32_t r = 0; r < s->n_rows; r++) {
        const int32_t before = last[s->rows[r].token] - 1; /* 0: none */
        const int same = before >= 0 && s->rows[before].sequence == s->rows[r].sequence;
        earlier[r] = same ? before : -1;
        last[s->rows[r].token] = r + 1;
    }
    s->earlier = earlier;
    return 0;
}

/* Finds two copies of S tokens, perhaps after one other token (<|endoftext|>). */
static attention_repeat find_repeat(const psc_row *rows, int32_t n) {
    const attention_repeat none = {0, 0};
    if (rows[0].position != 0 || rows[n - 1].sequence != rows[0].sequence) return none;
    for (int32_t first = 0; first < 2; first++) {
        const int32_t size = (n - first) / 2;
        int32_t i = 0;
        if ((n - first) % 2 || size < 2) continue;
        while (i < size && rows[first + i].token == rows[first + size + i].token) i++;
        if (i == size) return (attention_repeat){first, size};
    }
    return none;
}

static int make_tables(attention_state *s) {
    const psc_host *host = s->host;
    const uint64_t cells = (uint64_t)s->n_cells, rows = (uint64_t)s->n_rows, size = sizeof(double);
    s->stats = host->run_alloc(s->context, cells * rows * STAT_COUNT * size);
    if (!s->stats) return -1;
    if (s->corpus) return 0;
    s->received = host->run_alloc(s->context, cells * rows * size);
    s->detected = host->run_alloc(s->context, cells * (KIND_COUNT + 1) * size);
    for (int i = 0; i < 2; i++)
        s->copies[i] =
            host->run_alloc(s->context, cells * (uint64_t)s->repeat.length * size + size);
    return s->received && s->detected && s->copies[0] && s->copies[1] ? 0 : -1;
}

static int attention_run_begin(psc_context *context, void *state) {
    attention_state *s = state;
    s->rows = s->host->rows(context, &s->n_rows);
    s->longest = 0;
    for (int32_t r = 0; r < s->n_rows; r++)
        if (s->rows[r].position >= s->longest) s->longest = s->rows[r].position + 1;
    s->repeat = find_repeat(s->rows, s->n_rows);
    if (link_tokens(s) || make_tables(s)) return -1;
    s->pattern = NULL;
    if (!s->host->accumulating(context) &&
        (attention_axes(s) || (s->patterns && attention_patterns_begin(s))))
        return -1;
    if (s->split.layer >= 0 && attention_split_begin(s)) return -1;
    if (s->host->accumulating(context) && has_contexts(s) && attention_contexts_begin(&s->contexts))
        return -1;
    return s->host->observe(context, PSC_HOOK_PATTERN, NULL, on_pattern, s);
}

static int attention_run_end(psc_context *context, void *state, int status) {
    attention_state *s = state;
    if (status) return 0;
    if (s->host->accumulating(context))
        return attention_add_documents(s) ||
               (has_contexts(s) && attention_contexts_add(&s->contexts, s->stats));
    if (attention_arrays(s)) return -1;
    return s->split.layer >= 0 ? attention_split_end(s) : 0;
}

static int attention_report(psc_context *context, void *state) {
    attention_state *s = state;
    if (!s->host->accumulating(context)) return attention_summary(s);
    if (attention_report_documents(s)) return -1;
    if (!has_contexts(s)) return 0;
    return attention_contexts_report(&s->contexts) ||
           (s->contexts.folder && headvis_write(&s->contexts, s->n_layers, s->n_heads));
}

const psc_plugin *psc_builtin_attention(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "attention",
        .summary = "where heads look: entropy, distance and detectors of every head, the attention "
                   "that each row draws, and the writers that make a head look there",
        .options = attention_options,
        .corpus = PSC_CORPUS_YES,
        .open = attention_open,
        .run_begin = attention_run_begin,
        .run_end = attention_run_end,
        .report = attention_report,
        .points =
            "attn.hook_pattern hook_embed attn.hook_z hook_mlp_out ln1.hook_scale attn.hook_q "
            "attn.hook_rot_q attn.hook_rot_k",
    };
    return &plugin;
}
