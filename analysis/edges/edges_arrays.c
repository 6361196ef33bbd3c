/* Arrays and summary of the plugin `edges`: per target and row the kept edges by rank, and the sums
 * over all of them. */
#include "edges.h"

#include <math.h>
#include <stdio.h>

static int make_axes(edges_state *s) {
    const psc_host *host = s->host;
    return psc_rows_axis(s->context, host, "rows", &s->targets.rows) ||
           psc_targets_results(&s->targets, "rows") ||
           psc_count_axis(s->context, host, "rank", 0, s->top);
}

int edges_arrays(edges_state *s) {
    static const char *const axes[] = {"targets", "rows", "rank"};
    static const char *const whole[] = {"share_of_all", "absolute_share_of_all", "share_of_kept"};
    const psc_host *host = s->host;
    if (make_axes(s)) return -1;
    int32_t *layer = host->array(s->context, "layer", PSC_I32, 3, axes);
    int32_t *head = host->array(s->context, "head", PSC_I32, 3, axes);
    int32_t *source = host->array(s->context, "source", PSC_I32, 3, axes);
    float *weight = host->array(s->context, "weight", PSC_F32, 3, axes);
    double *norm = host->array(s->context, "norm", PSC_F64, 3, axes);
    double *share = host->array(s->context, "share", PSC_F64, 3, axes);
    double *sums[3];
    for (int i = 0; i < 3; i++) {
        sums[i] = host->array(s->context, whole[i], PSC_F64, 2, axes);
        if (!sums[i]) return -1;
    }
    if (!layer || !head || !source || !weight || !norm || !share) return -1;
    for (int64_t at = 0; at < (int64_t)s->targets.n * s->targets.rows.n; at++) {
        const edge_list *list = &s->lists[at];
        if (s->directions.which[at] < 0) continue;
        sums[0][at] = list->total;
        sums[1][at] = list->total_abs;
        sums[2][at] = 0.0;
        for (int32_t i = 0; i < list->n; i++) {
            const edge *e = &list->edges[i];
            const int64_t to = at * s->top + i;
            layer[to] = e->layer;
            head[to] = e->head;
            source[to] = e->source;
            weight[to] = e->weight;
            norm[to] = e->norm;
            share[to] = e->share;
            sums[2][at] += e->share;
        }
    }
    return s->carry ? edges_carried(s) : 0;
}

/* @3 ' cat' --L3H7 0.84--> @10 ' sat' */
static void name_edge(
    const edges_state *s, const edge *e, const psc_row *row, char *out, size_t size) {
    char from[PSC_ROW_NAME], to[PSC_ROW_NAME];
    snprintf(out, size, "%s --L%dH%d %.2f--> %s",
        psc_row_name(s->context, s->host, &s->rows[e->source], from), (int)e->layer, (int)e->head,
        (double)e->weight, psc_row_name(s->context, s->host, row, to));
}

enum { MOST_SHOWN = 12 };

static int show_target(edges_state *s, int32_t target) {
    const int32_t row = psc_target_last(&s->targets, target);
    if (row < 0)
        return s->host->summary_text(
            s->context, "next: the text has no next token at the chosen rows, so it has no edges.");
    const edge_list *list = &s->lists[target * (int64_t)s->targets.rows.n + row];
    const int32_t n = list->n < MOST_SHOWN ? list->n : MOST_SHOWN;
    char names[MOST_SHOWN][2 * PSC_ROW_NAME + 32], title[256], sentence[320], name[PSC_TARGET_NAME];
    const char *labels[MOST_SHOWN];
    double values[MOST_SHOWN], kept = 0.0;
    for (int32_t i = 0; i < n; i++) {
        name_edge(s, &list->edges[i], psc_chosen_row(&s->targets, row), names[i], sizeof names[i]);
        labels[i] = names[i];
        values[i] = s->by == BY_WEIGHT ? (double)list->edges[i].weight
                    : s->by == BY_NORM ? list->edges[i].norm
                                       : list->edges[i].share;
    }
    static const char *const what[] = {
        "share of the logit of", "norm of the write, target", "weight, target"};
    snprintf(title, sizeof title, "edges: %s %.160s", what[s->by],
        psc_target_name(&s->targets, target, row, name));
    if (psc_target_say_row(&s->targets, target)) return -1;
    if (n == 0) {
        snprintf(sentence, sizeof sentence,
            "No edge of %.160s reaches the threshold %g; give a smaller one.",
            psc_target_name(&s->targets, target, row, name), s->threshold);
        return s->host->summary_text(s->context, sentence);
    }
    if (s->host->summary_bars(
            s->context, title, s->by == BY_SHARE ? "nats" : "", n, labels, values))
        return -1;
    for (int32_t i = 0; i < list->n; i++) kept += fabs(list->edges[i].share);
    snprintf(sentence, sizeof sentence,
        "%s of %s edges are kept, with %.1f %% of the absolute share of all edges.",
        PSC_COMMAS(list->n), PSC_COMMAS(list->seen),
        list->total_abs > 0.0 ? 100.0 * kept / list->total_abs : 0.0);
    return s->host->summary_text(s->context, sentence);
}

int edges_summary(edges_state *s) {
    for (int32_t t = 0; t < s->targets.n; t++)
        if (show_target(s, t)) return -1;
    return 0;
}
