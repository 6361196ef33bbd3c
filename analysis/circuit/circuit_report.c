/* The arrays and the summary of a circuit. */
#include "circuit.h"
#include "top.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- arrays ---------------------------------------------------------------------------------- */

static int name_axis(circuit_state *s, const char *axis, int64_t n,
    const char *(*name)(const circuit_state *, int32_t, char *)) {
    char *texts = s->host->run_alloc(s->context, (uint64_t)n * CIRCUIT_NAME);
    const char **labels = s->host->run_alloc(s->context, (uint64_t)n * sizeof *labels);
    if (!texts || !labels) return -1;
    for (int64_t i = 0; i < n; i++) labels[i] = name(s, (int32_t)i, texts + i * CIRCUIT_NAME);
    return s->host->axis_labels(s->context, axis, n, labels);
}

/* score [receivers, senders]: NaN where there is no edge. */
static int score_array(circuit_state *s) {
    static const char *const axes[] = {"receivers", "senders"};
    double *out = s->host->array(s->context, "score", PSC_F64, 2, axes);
    if (!out) return -1;
    for (int32_t r = 0; r < s->n_receivers; r++)
        memcpy(out + (int64_t)r * s->n_senders, s->score + psc_edge_first(&s->shape, r),
            (size_t)psc_edge_reads(&s->shape, r) * sizeof *out);
    return 0;
}

static int edge_arrays(circuit_state *s) {
    static const char *const axis[] = {"edges"};
    const psc_host *host = s->host;
    if (psc_count_axis(s->context, host, "edges", 0, s->n_kept)) return -1;
    int32_t *sender = host->array(s->context, "edge_sender", PSC_I32, 1, axis);
    int32_t *receiver = host->array(s->context, "edge_receiver", PSC_I32, 1, axis);
    int32_t *connected = host->array(s->context, "edge_connected", PSC_I32, 1, axis);
    double *score = host->array(s->context, "edge_score", PSC_F64, 1, axis);
    double *lost = host->array(s->context, "edge_lost", PSC_F64, 1, axis);
    double *exact = s->exact ? host->array(s->context, "edge_exact", PSC_F64, 1, axis) : NULL;
    if (!sender || !receiver || !connected || !score || !lost || (s->exact && !exact)) return -1;
    for (int64_t i = 0; i < s->n_kept; i++) {
        circuit_ends(s, s->ranked.at[i].edge, &sender[i], &receiver[i]);
        connected[i] = s->connected[i];
        score[i] = s->ranked.at[i].score;
        if (s->lost) lost[i] = s->lost[i];
        if (exact) exact[i] = s->exact[i];
    }
    return 0;
}

static int curve_arrays(circuit_state *s) {
    static const char *const axis[] = {"sizes"};
    const psc_host *host = s->host;
    int32_t sizes[48];
    for (int32_t i = 0; i < s->n_sizes; i++) sizes[i] = (int32_t)s->sizes[i];
    if (host->axis_numbers(s->context, "sizes", s->n_sizes, sizes)) return -1;
    double *faithful = host->array(s->context, "curve_faithfulness", PSC_F64, 1, axis);
    double *value = host->array(s->context, "curve_value", PSC_F64, 1, axis);
    double *complete = host->array(s->context, "curve_completeness", PSC_F64, 1, axis);
    double *minimal = host->array(s->context, "curve_minimality", PSC_F64, 1, axis);
    double *random = s->random ? host->array(s->context, "curve_random", PSC_F64, 1, axis) : NULL;
    if (!value || !faithful || !complete || !minimal || (s->random && !random)) return -1;
    for (int32_t i = 0; i < s->n_sizes; i++) {
        value[i] = s->curve[0][i];
        faithful[i] = circuit_normalized(s, s->curve[0][i]);
        complete[i] = circuit_normalized(s, s->curve[1][i]);
        minimal[i] = s->curve[2][i];
        if (random) random[i] = circuit_normalized(s, s->curve[3][i]);
    }
    return 0;
}

static int64_t count_connected(const circuit_state *s) {
    int64_t n = 0;
    for (int64_t i = 0; i < s->n_kept; i++) n += s->connected[i];
    return n;
}

static int numbers(circuit_state *s) {
    const struct {
        const char *name;
        double value;
    } values[] = {{"all_edges", (double)s->n_edges}, {"circuit_edges", (double)s->n_kept},
        {"connected_edges", (double)count_connected(s)}, {"circuit", s->value},
        {"complement", s->complement}, {"faithfulness", circuit_normalized(s, s->value)},
        {"completeness", circuit_normalized(s, s->complement)}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (s->host->value_number(s->context, values[i].name, values[i].value)) return -1;
    return 0;
}

/* 0: as this run, 1: as the source's. */
static double path_normalized(const circuit_state *s) {
    return 1.0 - circuit_normalized(s, s->path_value);
}

static int path_values(circuit_state *s) {
    if (!*s->path) return 0;
    return s->host->value_text(s->context, "path", s->path) ||
           s->host->value_number(s->context, "path_effect", s->path_value - s->base_value) ||
           s->host->value_number(s->context, "path_normalized", path_normalized(s));
}

/* Whether all examples of a set have the same circuit; true outside of a set. */
static int one_circuit(const circuit_state *s) {
    return *s->file || s->scores == SCORES_GIVEN ||
           s->host->example(s->context, s->run_rows[0].sequence) < 0;
}

int circuit_arrays(circuit_state *s) {
    const psc_host *host = s->host;
    if (host->value_number(s->context, "base", s->base_value) ||
        host->value_number(s->context, "source", s->source_value) || path_values(s))
        return -1;
    if (!s->score && !s->ranked.at) return 0;
    if (name_axis(s, "senders", s->n_senders, circuit_sender) ||
        name_axis(s, "receivers", s->n_receivers, circuit_receiver) ||
        (s->ranked.at && curve_arrays(s)) ||
        (s->score && s->scores != SCORES_GIVEN && score_array(s)))
        return -1;
    if (!s->ranked.at) return 0;
    if ((one_circuit(s) && edge_arrays(s)) || numbers(s)) return -1;
    if (!*s->against) return 0;
    return host->value_number(s->context, "overlap_edges", s->shared_edges) ||
           host->value_number(s->context, "overlap_components", s->shared_components);
}

/* --- the summary ------------------------------------------------------------------------------ */

static const char *const metric_names[] = {
    "logit", "log probability", "KL divergence (before || after)"};

static int say_values(circuit_state *s) {
    char text[400], name[PSC_TARGET_NAME];
    if (s->metric == CIRCUIT_KL)
        snprintf(text, sizeof text, "The %s is %.4f on the source prompt.", metric_names[2],
            s->source_value);
    else
        snprintf(text, sizeof text, "The %s of %s is %.4f, and %.4f %s.", metric_names[s->metric],
            psc_target_name(&s->targets, s->target, s->slot, name), s->base_value, s->source_value,
            s->apart && s->sets ? "with all edges patched" : "on the source prompt");
    return s->host->summary_text(s->context, text);
}

static int say_path(circuit_state *s) {
    char text[400], figure[PSC_FIGURE];
    if (!*s->path) return 0;
    snprintf(text, sizeof text,
        "With %.200s patched %s it is %.4f: an effect of %.4f, %s of the source's.", s->path,
        s->through ? "also through MLPs" : "alone", s->path_value, s->path_value - s->base_value,
        psc_figure(figure, 0, 3, path_normalized(s), ""));
    return s->host->summary_text(s->context, text);
}

/* Above all scores the threshold leaves nothing. */
static int say_empty(circuit_state *s) {
    char text[400], name[2 * CIRCUIT_NAME];
    const circuit_scored *first = &s->ranked.at[0];
    snprintf(text, sizeof text,
        "The circuit keeps no edge: the first in order, %s, has the score %+.4g, and threshold=%g "
        "is larger; lower it.",
        circuit_edge(s, first->edge, name), first->score, s->threshold);
    return s->host->summary_text(s->context, text);
}

static int say_circuit(circuit_state *s) {
    if (s->n_kept == 0 && s->ranked.n > 0) return say_empty(s);
    char text[500], faithful[PSC_FIGURE], complete[PSC_FIGURE];
    snprintf(text, sizeof text,
        "The circuit keeps %s of %s edges, %s of them on a path to the logits. It has %.4f, "
        "faithfulness %s; the other edges have %.4f, completeness %s.",
        PSC_COMMAS(s->n_kept), PSC_COMMAS(s->n_edges), PSC_COMMAS(count_connected(s)), s->value,
        psc_figure(faithful, 0, 3, circuit_normalized(s, s->value), ""), s->complement,
        psc_figure(complete, 0, 3, circuit_normalized(s, s->complement), ""));
    return s->host->summary_text(s->context, text);
}

static int say_curve(circuit_state *s, const char *of, const double *values) {
    char text[1600], figure[PSC_FIGURE];
    size_t n = (size_t)snprintf(text, sizeof text, "%s:", of);
    for (int32_t i = 0; i < s->n_sizes && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s %s %s", i ? "," : "",
            PSC_COMMAS(s->sizes[i]),
            psc_figure(figure, 0, 3, circuit_normalized(s, values[i]), ""));
    return s->host->summary_text(s->context, text);
}

/* The first n edges of a list, at most top=, by their scores, without those that have none. */
static int show_edges(circuit_state *s, const circuit_scored *at, int64_t n) {
    if (n > s->top) n = s->top;
    char *names = s->host->run_alloc(s->context, (uint64_t)n * 2 * CIRCUIT_NAME + 1);
    const char **labels = s->host->run_alloc(s->context, (uint64_t)n * sizeof *labels + 1);
    double *values = s->host->run_alloc(s->context, (uint64_t)n * sizeof *values + 1);
    int32_t shown = 0;
    if (!names || !labels || !values) return -1;
    for (int64_t i = 0; i < n; i++) {
        const circuit_scored *one = &at[i];
        if (!isfinite(one->score)) continue;
        labels[shown] = circuit_edge(s, one->edge, names + i * 2 * CIRCUIT_NAME);
        values[shown++] = one->score;
    }
    if (shown == 0) return 0;
    return s->host->summary_bars(s->context,
        s->scores == SCORES_GIVEN ? "edges by the scores of scored="
        : s->scores >= SCORES_EAP
            ? "edges: the first order of the change when each alone is patched"
        : s->score ? "edges: the change when each alone is patched"
                   : "edges by the file's scores",
        s->metric == CIRCUIT_LOGIT ? "" : "nats", shown, labels, values);
}

/* Without a circuit: the edges with the largest |score|. */
static int show_scores(circuit_state *s) {
    psc_top_list top = {.k = s->top};
    top.at = s->host->run_alloc(s->context, (uint64_t)s->top * sizeof *top.at);
    circuit_scored *at = s->host->run_alloc(s->context, (uint64_t)s->top * sizeof *at);
    if (!top.at || !at) return -1;
    psc_top_f64(&top, s->n_edges, s->score, PSC_TOP_ABSOLUTE);
    for (int32_t i = 0; i < top.n; i++)
        at[i] = (circuit_scored){top.at[i].index, s->score[top.at[i].index]};
    return show_edges(s, at, top.n);
}

static int say_overlap(circuit_state *s) {
    char text[200];
    if (!*s->against) return 0;
    snprintf(text, sizeof text,
        "Of the edges in this circuit or in that of against=, %.3f are in both; of the components "
        "%.3f.",
        s->shared_edges, s->shared_components);
    return s->host->summary_text(s->context, text);
}

/* How far the attributions of the circuit's edges are from the exact effects. */
static int say_error(circuit_state *s) {
    char text[400], figure[PSC_FIGURE], name[2 * CIRCUIT_NAME];
    double ab = 0, aa = 0, bb = 0, sum = 0, a = 0, b = 0;
    int64_t signs = 0, worst = 0;
    const int64_t n = s->n_kept;
    if (!s->exact || n == 0) return 0;
    for (int64_t i = 0; i < n; i++) {
        const double x = s->ranked.at[i].score, y = s->exact[i];
        a += x;
        b += y;
        sum += fabs(x - y);
        signs += x * y < 0.0;
        if (fabs(x - y) > fabs(s->ranked.at[worst].score - s->exact[worst])) worst = i;
    }
    for (int64_t i = 0; i < n; i++) {
        const double x = s->ranked.at[i].score - a / (double)n, y = s->exact[i] - b / (double)n;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    snprintf(text, sizeof text,
        "Against the exact effect of each of these edges: correlation %s, mean error %.4f, wrong "
        "sign in %s of %s. Farthest off is %s: %.4f, exactly %.4f.",
        psc_figure(figure, 0, 3, aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN, ""), sum / (double)n,
        PSC_COMMAS(signs), PSC_COMMAS(n), circuit_edge(s, s->ranked.at[worst].edge, name),
        s->ranked.at[worst].score, s->exact[worst]);
    return s->host->summary_text(s->context, text);
}

int circuit_summary(circuit_state *s) {
    if (say_values(s) || say_path(s)) return -1;
    if (!s->ranked.at) return s->score ? show_scores(s) : 0;
    return say_circuit(s) || say_curve(s, "faithfulness by edges", s->curve[0]) ||
           (s->random && say_curve(s, "of random edges", s->curve[3])) ||
           show_edges(s, s->ranked.at, s->n_kept) || say_error(s) || say_overlap(s);
}
