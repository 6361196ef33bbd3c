/* The plugin `circuit`: which edges between components a prediction needs.
 *
 *   components   embed, heads, MLPs; each head's q, k and v, each MLP and the logits read them
 *   circuit      a set of edges; the others carry a source prompt's values, exactly (psc_edges.h)
 *
 * Edges are scored (circuit_scores.c) or read from a file, then put in order (circuit_choose.c).
 * The circuit is tested (circuit_tests.c). The source prompt's run comes before; its writes are
 * kept. */
#include "circuit.h"

#include <stddef.h>
#include <string.h>

#define DEFAULT_TENSOR "circuit.score.over_examples"

static const char *const metrics[] = {"logit", "log_prob", "kl", NULL};
static const char *const scores[] = {
    "auto", "none", "scored", "exact", "eap", "eap_ig", "eap_ig_activations", NULL};
static const char *const whats[] = {"patch", "zero", "mean", "set_mean", NULL};
static const char *const orders[] = {"score", "greedy", NULL};
static const char *const ways[] = {"edges", "mlps", NULL};
static const psc_option_description circuit_options[] = {
    {"metric", "logit", "logit or log_prob of the first target, or kl (before || after)",
        PSC_OPTION_WORD, offsetof(circuit_state, metric), 0, 0, metrics},
    {"do", "patch",
        "what patched edges carry: the source prompt's values, zero, their mean over its rows, or "
        "over those of all source prompts of a set of pairs",
        PSC_OPTION_WORD, offsetof(circuit_state, what), 0, 0, whats},
    {"means", "", "of do=mean: a file of means over a corpus (plugin means), in place of prompts",
        PSC_OPTION_TEXT, offsetof(circuit_state, means), 0, 0, NULL},
    {"scores", "auto",
        "of each edge; exact: one run per edge; eap: attribution patching, by one gradient; "
        "eap_ig: by gradients at inputs between; eap_ig_activations: with each node's values "
        "between; auto: none with file or path, else eap, for kl eap_ig",
        PSC_OPTION_WORD, offsetof(circuit_state, scores), 0, 0, scores},
    {"order", "score", "greedy: from the logits, only edges to components of the circuit",
        PSC_OPTION_WORD, offsetof(circuit_state, order), 0, 0, orders},
    {"edges", "100", "edges of the circuit, unless a threshold is given; 0: scores only",
        PSC_OPTION_COUNT, offsetof(circuit_state, edges), 0, 100000000, NULL},
    {"threshold", "0", "above 0: the edges whose |score| reaches it", PSC_OPTION_NUMBER,
        offsetof(circuit_state, threshold), 0, 1e30, NULL},
    {"file", "", "a circuit as JSON, which is tested as it is", PSC_OPTION_TEXT,
        offsetof(circuit_state, file), 0, 0, NULL},
    {"scored", "", "a safetensors file with the scores of an earlier run or set of pairs",
        PSC_OPTION_TEXT, offsetof(circuit_state, scored), 0, 0, NULL},
    {"tensor", DEFAULT_TENSOR,
        "of scored: [receivers, senders], or several of them, of which the first counts",
        PSC_OPTION_TEXT, offsetof(circuit_state, tensor), 0, 0, NULL},
    {"against", "", "a circuit as JSON; says how much of it the circuit shares", PSC_OPTION_TEXT,
        offsetof(circuit_state, against), 0, 0, NULL},
    {"path", "", "edges joined by + that are patched together, such as L3H1.q<-L1H2",
        PSC_OPTION_TEXT, offsetof(circuit_state, path), 0, 0, NULL},
    {"through", "edges", "of path; mlps: also on each way from sender to receiver over MLPs alone",
        PSC_OPTION_WORD, offsetof(circuit_state, through), 0, 0, ways},
    {"minimal", "50", "largest circuits that are also run without each of their edges",
        PSC_OPTION_COUNT, offsetof(circuit_state, minimal), 0, 100000000, NULL},
    {"random", "1", "draws of random circuits of the curve's sizes; 0: none", PSC_OPTION_COUNT,
        offsetof(circuit_state, random), 0, 1000, NULL},
    {"seed", "1", "of the first draw of random; each later one has the next", PSC_OPTION_COUNT,
        offsetof(circuit_state, seed), 0, 1000000000, NULL},
    {"steps", "5",
        "of eap_ig: inputs, or a node's values, from the source prompt's to this one's, the last",
        PSC_OPTION_COUNT, offsetof(circuit_state, steps), 1, 10000, NULL},
    {"check", "200", "largest circuits whose edges' attributions are compared with exact effects",
        PSC_OPTION_COUNT, offsetof(circuit_state, check), 0, 100000000, NULL},
    {"top", "10", "edges listed", PSC_OPTION_COUNT, offsetof(circuit_state, top), 1, 1000, NULL},
    {0},
};

/* The first [receivers, senders] of the tensor of scored=. */
static int read_scores(circuit_state *s) {
    int64_t shape[8];
    int32_t n;
    s->given = s->host->read_tensor(s->context, s->scored, s->tensor, &n, shape);
    if (!s->given) return -1;
    if ((n == 2 || n == 3) && shape[n - 2] == s->n_receivers && shape[n - 1] == s->n_senders)
        return 0;
    return s->host->fail(s->context,
        "%.300s: tensor \"%.100s\" does not have %d receivers and %d senders, as this model has",
        s->scored, s->tensor, (int)s->n_receivers, (int)s->n_senders);
}

/* Fails for options that have no effect beside the others. The scores are chosen. */
static int check_unused(const circuit_state *s) {
    const int chosen = s->scores != SCORES_NONE, attributed = s->scores >= SCORES_EAP;
    const int steps = s->scores == SCORES_EAP_IG || s->scores == SCORES_EAP_IG_ACTIVATIONS;
    const int tested = *s->file || (chosen && (s->edges > 0 || s->threshold > 0.0));
    const int chooses = s->edges != 100 || s->threshold != 0.0 || s->order;
    const char *fault = NULL;
    if (chooses && *s->file)
        fault = "file= is a circuit as it is; leave edges=, threshold= and order= out";
    else if (chooses && !chosen)
        fault = "edges=, threshold= and order= choose a circuit by scores; give scores=";
    else if (s->threshold > 0.0 && s->edges != 100)
        fault = "edges= and threshold= both say how large the circuit is; leave one out";
    else if (strcmp(s->tensor, DEFAULT_TENSOR) != 0 && !*s->scored)
        fault = "tensor= names the scores in scored=; give that file";
    else if (s->steps != 5 && !steps)
        fault = "steps= is of scores=eap_ig and eap_ig_activations; give one of them";
    else if (s->check != 200 && (!attributed || !tested))
        fault = "check= compares a circuit's attributions; give scores=eap or another of them, and "
                "a circuit";
    else if (!tested && (s->minimal != 50 || s->order || *s->against || s->random != 1))
        fault = "minimal=, order=, random= and against= need a circuit; give edges= or file=";
    else if (s->seed != 1 && (!tested || s->random == 0))
        fault = "seed= is of random circuits; give a circuit, and random= above 0";
    return fault ? s->host->fail(s->context, "%s", fault) : 0;
}

static int circuit_open(psc_context *context, const psc_host *host, void **state) {
    circuit_state *s;
    if (PSC_OPEN_STATE(s, state, context, host)) return -1;
    s->model = host->model(context);
    s->shape = (psc_edge_shape){s->model->n_layers, s->model->n_heads, s->model->parallel_residual};
    s->n_edges = psc_edge_count(&s->shape);
    s->n_senders = psc_edge_senders(&s->shape, s->shape.n_layers);
    s->n_receivers = psc_edge_receivers(&s->shape, s->shape.n_layers) + 1;
    if (*s->file && (s->scores >= SCORES_EXACT || *s->scored))
        return host->fail(context, "file= already has a circuit; leave scores= and scored= out");
    if (*s->scored && s->scores != SCORES_AUTO)
        return host->fail(context, "scored= already has scores; leave scores= out");
    if (*s->scored && read_scores(s)) return -1;
    if (s->scores == SCORES_AUTO)
        s->scores = *s->scored                ? SCORES_GIVEN
                    : *s->file || *s->path    ? SCORES_NONE
                    : s->metric == CIRCUIT_KL ? SCORES_EAP_IG
                                              : SCORES_EAP;
    if (s->scores == SCORES_EAP && s->metric == CIRCUIT_KL)
        return host->fail(context,
            "scores=eap needs another metric: the gradient of kl is 0 in the run itself; use "
            "scores=eap_ig");
    if (s->scores == SCORES_EAP_IG && s->metric == CIRCUIT_KL && s->steps < 2)
        return host->fail(context,
            "steps=1 leaves no input with a gradient: that of kl is 0 in the run itself; give "
            "steps=2 or more");
    s->reductions = host->reductions(context);
    if (!s->reductions) return -1;
    if (s->scores == SCORES_GIVEN && !*s->scored)
        return host->fail(context, "scores=scored needs a file in scored=");
    if (s->scores == SCORES_NONE && !*s->file && !*s->path)
        return host->fail(context, "scores=none needs a circuit in file=, or path=");
    if (s->through && !*s->path) return host->fail(context, "through=mlps needs edges in path=");
    if (*s->against && s->scores == SCORES_NONE && !*s->file)
        return host->fail(context, "against= needs a circuit, from scores= or file=");
    if (s->what == CIRCUIT_SET_MEAN && host->whole_set(context)) return -1;
    return check_unused(s) || circuit_read_means(s) || circuit_open_writes(s, &s->source) ||
           circuit_open_writes(s, &s->own);
}

/* --- the source run -------------------------------------------------------------------------- */

static void keep_logits(const circuit_state *s, const psc_event *event, float *out) {
    for (int32_t r = 0; r < event->n_rows; r++) {
        const int32_t slot = s->rows.slot[event->rows[r].index];
        if (slot < 0) continue;
        memcpy(out + (int64_t)slot * s->model->d_vocab,
            event->tensor.data + r * event->tensor.stride[0],
            (size_t)s->model->d_vocab * sizeof *out);
    }
}

static int on_source_logits(const psc_event *event, void *payload) {
    const circuit_state *s = payload;
    keep_logits(s, event, s->source_logits);
    return 0;
}

static int on_base_logits(const psc_event *event, void *payload) {
    const circuit_state *s = payload;
    keep_logits(s, event, s->base);
    return 0;
}

/* The rows whose logits are kept: the last, and the one before it if a target is `next`. */
static int choose_rows(circuit_state *s) {
    const psc_filter last = {.struct_size = sizeof last, .rows = PSC_ROWS_LAST};
    s->run_rows = psc_whole_sequence(s->context, s->host, "a circuit needs", &s->n_rows);
    return !s->run_rows ||
           psc_rows_resolve(s->context, s->host, "rows", &last, s->metric != CIRCUIT_KL, &s->rows);
}

/* Whether no run has patched edges. */
static int scores_only(const circuit_state *s) {
    return s->scores >= SCORES_EAP && s->edges == 0 && s->threshold == 0.0 && !*s->path;
}

/* Refuses what retained_cap leaves no room for: the writes of both runs, attributions, sets of
 * edges. */
static int foretell(const circuit_state *s) {
    const uint64_t held = s->own.memory.bytes + s->source.memory.bytes + s->eap.bytes;
    const uint64_t bytes = (s->through ? 3 : 2) * circuit_writes_bytes(s, s->n_rows) +
                           (s->scores >= SCORES_EAP ? circuit_eap_bytes(s) : 0) +
                           (scores_only(s) && !s->what ? 0 : circuit_run_bytes(s));
    return s->host->foretell(s->context, bytes > held ? bytes - held : 0);
}

static int begin_source(circuit_state *s) {
    const int32_t number = s->host->source(s->context);
    const int of_set = number >= PSC_SOURCE_SET;
    if (s->what == CIRCUIT_ZERO || of_set != (s->what == CIRCUIT_SET_MEAN)) return 0;
    if (s->what) {
        if (number == 0 || number == PSC_SOURCE_SET) s->summed_rows = 0;
        s->unfinished = 1;
        return choose_rows(s) || foretell(s) || circuit_observe(s, &s->source);
    }
    if (number != 0) return 0; /* other plugins may use more */
    s->source_rows = 0;
    if (!s->source_logits)
        s->source_logits = s->host->life_alloc(
            s->context, 2 * (uint64_t)s->model->d_vocab * sizeof *s->source_logits);
    if (!s->source_logits || choose_rows(s) || foretell(s) || circuit_observe(s, &s->source))
        return -1;
    return s->host->observe(s->context, PSC_HOOK_LOGITS, &s->rows.filter, on_source_logits, s);
}

static int end_source(circuit_state *s) {
    const int of_set = s->host->source(s->context) >= PSC_SOURCE_SET;
    if (s->what == CIRCUIT_ZERO || of_set != (s->what == CIRCUIT_SET_MEAN)) return 0;
    if (s->what) {
        if (circuit_add_rows(s, &s->source)) return -1;
        s->unfinished = 0;
        return 0;
    }
    if (s->host->source(s->context) != 0) return 0;
    int32_t *tokens = s->host->life_alloc(s->context, (uint64_t)s->n_rows * sizeof *tokens);
    if (!tokens) return -1;
    for (int32_t r = 0; r < s->n_rows; r++) tokens[r] = s->run_rows[r].token;
    s->source_tokens = tokens;
    s->source_rows = s->n_rows;
    return 0;
}

/* --- the run --------------------------------------------------------------------------------- */

/* Aligns the rows with the source's. A set of pairs says how; one pair has equal lengths. */
static int align(circuit_state *s) {
    const psc_host *host = s->host;
    const int in_set = host->example(s->context, s->run_rows[0].sequence) >= 0;
    s->first_row = 0;
    if (s->what >= CIRCUIT_MEAN && s->unfinished)
        return host->fail(s->context,
            "the run of a source prompt failed, so do=%s lacks its rows; run it again",
            whats[s->what]);
    if (s->what == CIRCUIT_SET_MEAN && (!in_set || s->summed_rows == 0))
        return host->fail(s->context,
            "do=set_mean is the mean over the prompts of a set; give --pairs, or do=mean for one "
            "prompt");
    if (s->what) { /* one row for all */
        s->other_row = host->run_alloc(s->context, (uint64_t)s->n_rows * sizeof *s->other_row);
        return s->other_row ? 0 : -1;
    }
    if (s->source_rows == 0)
        return host->fail(s->context,
            "circuit needs a source prompt, whose values the other edges carry; give --source, "
            "do=zero or do=mean");
    if (s->source_rows != s->n_rows && !in_set)
        return host->fail(s->context,
            "the source prompt has %s and the prompt %d; a circuit needs prompts of equal "
            "length",
            PSC_MANY(s->source_rows, "token"), (int)s->n_rows);
    s->other_row = host->run_alloc(s->context, (uint64_t)s->n_rows * sizeof *s->other_row);
    if (!s->other_row) return -1;
    s->first_row = s->n_rows;
    for (int32_t r = s->n_rows; r-- > 0;) {
        int32_t at;
        if (host->source_row(s->context, &s->run_rows[r], &at)) return -1;
        s->other_row[r] = at < s->source_rows ? at : -1;
        if (at != r || s->run_rows[r].token != s->source_tokens[r]) s->first_row = r;
    }
    if (s->first_row < s->n_rows) return 0;
    return host->fail(s->context, "the source prompt is the prompt; give another one");
}

static int begin_run(circuit_state *s) {
    const psc_host *host = s->host;
    const uint64_t bytes = (uint64_t)s->model->d_vocab * sizeof(float);
    s->score = NULL;
    s->sets = NULL;
    s->lost = s->exact = NULL;
    s->ranked = (circuit_list){0};
    s->n_kept = 0;
    if (choose_rows(s) || foretell(s) || align(s)) return -1;
    s->base = host->run_alloc(s->context, (uint64_t)s->rows.n * bytes);
    s->p = host->run_alloc(s->context, bytes);
    if (!s->base || !s->p || psc_targets_begin(s->context, host, &s->rows, &s->targets) ||
        circuit_observe(s, &s->own))
        return -1;
    if (host->observe(s->context, PSC_HOOK_LOGITS, &s->rows.filter, on_base_logits, s) ||
        (!(scores_only(s) && !s->what) && host->prepare_variants(s->context)))
        return -1;
    if (s->scores >= SCORES_EAP && /* leaves attributions and variants room */
        (circuit_take_eap(s) || host->prepare_gradients(s->context, s->rows.n, s->rows.index)))
        return -1;
    return foretell(s);
}

static void all_edges(const void *payload, int64_t index, uint8_t *patched) {
    const circuit_state *s = payload;
    (void)index;
    memset(patched, 1, (size_t)s->n_edges);
}

/* Where the target's row is aligned with another row than the source's own, the run with all edges
 * patched is not the source's: its metric is the one that a circuit is measured against. */
static int measure_apart(circuit_state *s) {
    const int32_t row = s->rows.index[s->slot];
    s->apart = s->what || s->other_row[row] != s->source_rows - (s->n_rows - row);
    if (!s->apart || (scores_only(s) && !s->what)) return 0;
    s->all += 1.0;
    return circuit_run(s, 1, all_edges, s, &s->source_value);
}

/* The metric of both runs. */
static int measure(circuit_state *s) {
    const psc_host *host = s->host;
    const int64_t n = s->model->d_vocab;
    s->target = 0;
    s->slot = s->rows.n - 1;
    if (s->metric != CIRCUIT_KL) {
        if (psc_targets_required(&s->targets)) return -1;
        s->target = psc_target_first(&s->targets, &s->slot);
    }
    const float *z = s->base + s->slot * n;
    const float *source = s->what ? NULL : s->source_logits + s->slot * n;
    s->base_lse = host->log_sum_exp(s->context, n, z);
    for (int64_t v = 0; v < n; v++) s->p[v] = (float)((double)z[v] - s->base_lse);
    host->exp(s->context, n, s->p, s->p);
    s->base_value = circuit_value(s, z, s->base_lse);
    if (!s->what)
        s->source_value = circuit_value(s, source, host->log_sum_exp(s->context, n, source));
    return 0;
}

static int end_run(circuit_state *s) {
    if (measure(s) || (s->what && circuit_make_constant(s))) return -1;
    s->done = 0;
    s->all = s->scores == SCORES_EXACT ? (double)s->n_edges
             : s->scores >= SCORES_EAP ? s->check
                                       : 0;
    if (measure_apart(s) || (*s->path && circuit_test_path(s))) return -1;
    if (*s->file) {
        if (circuit_read(s, s->file, &s->ranked)) return -1;
        s->n_kept = s->ranked.n;
    } else if (s->scores == SCORES_NONE) {
        return 0;
    } else {
        if (circuit_score(s)) return -1;
        if (s->edges == 0 && s->threshold == 0.0) return 0;
        if (circuit_choose(s)) return -1;
    }
    return circuit_overlap(s) || circuit_connect(s) || circuit_check(s) || circuit_test(s);
}

/* --- callbacks ------------------------------------------------------------------------------- */

static int circuit_run_begin(psc_context *context, void *state) {
    circuit_state *s = state;
    const int phase = s->host->phase(context);
    if (phase == PSC_PHASE_BASE) return 0;
    return phase == PSC_PHASE_SOURCE ? begin_source(s) : begin_run(s);
}

static int circuit_run_end(psc_context *context, void *state, int status) {
    circuit_state *s = state;
    const int phase = s->host->phase(context);
    if (status || phase == PSC_PHASE_BASE) return 0;
    return phase == PSC_PHASE_SOURCE ? end_source(s) : end_run(s);
}

static int circuit_report(psc_context *context, void *state) {
    circuit_state *s = state;
    const int phase = s->host->phase(context);
    if (phase == PSC_PHASE_SOURCE || phase == PSC_PHASE_BASE) return 0;
    return circuit_arrays(s) || circuit_summary(s) || (s->ranked.at && circuit_write(s));
}

static int circuit_takes_source(psc_context *context, const void *state) {
    const circuit_state *s = state;
    (void)context;
    return s->what == CIRCUIT_PATCH || (s->what == CIRCUIT_MEAN && !*s->means);
}

const psc_plugin *psc_builtin_circuit(void) {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "circuit",
        .summary = "which edges between components a prediction needs: scores, a circuit, its "
                   "tests by exact edge patching",
        .options = circuit_options,
        .corpus = PSC_CORPUS_NO,
        .open = circuit_open,
        .run_begin = circuit_run_begin,
        .run_end = circuit_run_end,
        .report = circuit_report,
        .points = "hook_embed attn.hook_z hook_mlp_out hook_resid_pre hook_resid_mid "
                  "hook_resid_post hook_logits",
        .phases = 1,
        .takes_source = circuit_takes_source,
    };
    return &plugin;
}
