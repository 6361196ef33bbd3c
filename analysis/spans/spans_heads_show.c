/* Arrays and summary of heads. A head is shown as its last position.
 *
 *   head, head_by_reads [levels, spans]; reads or cosine [levels, spans] of the head
 *   necessity, sufficiency [levels, spans] of the head; most_sufficient [levels, spans]
 *   necessity_of [ends, units]: of every unit, for spans that end in a unit (one sequence)
 *   of_necessity, of_sufficiency, of_cosine [of_units], of_reads [levels, of_units]: of= */
#include "spans.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const of_spans[] = {"levels", "spans"};

/* --- arrays ---------------------------------------------------------------------------------- */

static int32_t position_of(const spans_sequence *q, int32_t unit) {
    return unit < 0 ? -1 : spans_last(q, unit);
}

static int array_of_units(spans_state *s, const char *name, const int32_t *heads) {
    int32_t *out = s->host->array(s->context, name, PSC_I32, 2, of_spans);
    if (!out) return -1;
    for (int32_t level = 0; level < s->levels.n; level++)
        for (int32_t q = 0; q < s->n_sequences; q++) {
            const int64_t at = (int64_t)level * s->n_spans + s->sequences[q].first_span;
            for (int32_t b = 0; b < s->sequences[q].n_spans; b++)
                out[at + b] = position_of(&s->sequences[q], heads[at + b]);
        }
    return 0;
}

static int array_of_figures(spans_state *s, const char *name) {
    const int64_t cells = (int64_t)s->levels.n * s->n_spans;
    double *out = s->host->array(s->context, name, PSC_F64, 2, of_spans);
    if (!out) return -1;
    if (cells) memcpy(out, s->effects.figure, (size_t)cells * sizeof *out);
    return 0;
}

static int causal_arrays(spans_state *s) {
    const spans_effects *e = &s->effects;
    const psc_host *host = s->host;
    const int64_t cells = (int64_t)s->levels.n * s->n_spans;
    int32_t *sufficient = host->run_alloc(s->context, (uint64_t)cells * sizeof *sufficient + 1);
    double *necessity = host->array(s->context, "necessity", PSC_F64, 2, of_spans);
    double *sufficiency = host->array(s->context, "sufficiency", PSC_F64, 2, of_spans);
    if (!sufficient || !necessity || !sufficiency) return -1;
    for (int64_t i = 0; i < cells; i++) {
        sufficient[i] = e->found[i].sufficient;
        necessity[i] = e->found[i].necessity;
        sufficiency[i] = e->found[i].sufficiency;
    }
    if (array_of_units(s, "most_sufficient", sufficient) ||
        array_of_units(s, "head_by_reads", e->by_reads))
        return -1;
    if (s->n_sequences != 1) return 0;
    static const char *const axes[] = {"units", "units"};
    double *all = host->array(s->context, "necessity_of", PSC_F64, 2, axes);
    if (!all) return -1;
    if (s->n_units)
        memcpy(all, e->necessity, (size_t)s->n_units * (size_t)s->n_units * sizeof *all);
    return 0;
}

static int of_array(spans_state *s, const char *name, int32_t row, int32_t rows) {
    static const char *const axes[] = {"levels", "of_units"};
    const int64_t size = s->effects.of[1] - s->effects.of[0] + 1;
    double *out = s->host->array(s->context, name, PSC_F64, rows ? 2 : 1, axes + !rows);
    if (!out) return -1;
    memcpy(out, s->effects.of_figures + row * size,
        (size_t)size * (size_t)(rows ? rows : 1) * sizeof *out);
    return 0;
}

/* The texts of of='s units. */
static const char **of_labels(spans_state *s) {
    const int32_t *of = s->effects.of;
    const char **labels =
        s->host->run_alloc(s->context, (uint64_t)(of[1] - of[0] + 1) * sizeof *labels);
    for (int32_t j = of[0]; labels && j <= of[1]; j++) {
        labels[j - of[0]] = spans_unit_text(s, 0, j);
        if (!labels[j - of[0]]) return NULL;
    }
    return labels;
}

static int of_arrays(spans_state *s) {
    const spans_effects *e = &s->effects;
    const char **labels = of_labels(s);
    if (!labels || s->host->axis_labels(s->context, "of_units", e->of[1] - e->of[0] + 1, labels))
        return -1;
    if (e->heads == HEAD_RESIDUAL) return of_array(s, "of_cosine", OF_COSINE, 0);
    if (of_array(s, "of_reads", OF_READS, s->levels.n)) return -1;
    if (e->heads == HEAD_READS) return 0;
    return of_array(s, "of_necessity", OF_NECESSITY, 0) ||
           of_array(s, "of_sufficiency", OF_SUFFICIENCY, 0);
}

int spans_heads_arrays(spans_state *s) {
    const spans_effects *e = &s->effects;
    if (array_of_units(s, "head", e->head)) return -1;
    if (e->heads == HEAD_CAUSAL && causal_arrays(s)) return -1;
    if (e->heads == HEAD_READS && array_of_figures(s, "reads")) return -1;
    if (e->heads == HEAD_RESIDUAL && array_of_figures(s, "cosine")) return -1;
    return e->of[0] >= 0 ? of_arrays(s) : 0;
}

/* --- summary --------------------------------------------------------------------------------- */

/* Of a level's brackets: those with a head, the head last, and its agreement with other figures. */
typedef struct head_counts {
    int32_t n, last, sufficient, reads;
} head_counts;

static head_counts count_heads(const spans_state *s, int32_t level) {
    const spans_effects *e = &s->effects;
    head_counts counts = {0, 0, 0, 0};
    for (int32_t q = 0; q < s->n_sequences; q++) {
        const psc_bracket *tree = spans_tree(s, level, q);
        const int64_t at = (int64_t)level * s->n_spans + s->sequences[q].first_span;
        for (int32_t b = 0; b < s->sequences[q].n_spans; b++) {
            const int32_t head = e->head[at + b];
            if (head < 0) continue;
            counts.n++;
            counts.last += head == tree[b].end;
            counts.sufficient += e->heads == HEAD_CAUSAL && head == e->found[at + b].sufficient;
            counts.reads += head == e->by_reads[at + b];
        }
    }
    return counts;
}

/* Of each level's spans, how many heads are the last unit, and agree with other figures. */
static int count_table(const spans_state *s) {
    static const char *const by[] = {"", "reads", "necessity", "similarity to the span's mean"};
    const int causal = s->effects.heads == HEAD_CAUSAL;
    char line[160];
    const int width = spans_name_width(s, 8);
    int32_t all = 0;
    for (int32_t level = 0; level < s->levels.n; level++) all += count_heads(s, level).n;
    if (all == 0)
        return s->host->summary_text(s->context, "No span has a row after it, so none has a head.");
    snprintf(line, sizeof line,
        "Heads by %s; of each level's spans, how many head in:", by[s->effects.heads]);
    if (s->host->summary_text(s->context, line)) return -1;
    snprintf(line, sizeof line, "%-*s spans  the last unit%s", width, "level",
        causal ? "  the most sufficient  the most read" : "");
    if (s->host->summary_text(s->context, line)) return -1;
    for (int32_t level = 0; level < s->levels.n; level++) {
        const head_counts c = count_heads(s, level);
        const int n = snprintf(line, sizeof line, "%-*.*s %5d %14d", width, width,
            s->levels.names[level], (int)c.n, (int)c.last);
        if (causal)
            snprintf(
                line + n, sizeof line - (size_t)n, " %20d %14d", (int)c.sufficient, (int)c.reads);
        if (s->host->summary_text(s->context, line)) return -1;
    }
    if (!causal) return 0;
    return s->host->summary_text(s->context,
        "These agreements alone show little: a random model has them, too (docs/structure.md).");
}

static int say_other(const spans_state *s, int32_t level, int32_t b, int32_t head) {
    enum { SPAN = 26 };
    const spans_effects *e = &s->effects;
    const psc_bracket *bracket = &spans_tree(s, level, 0)[b];
    const int64_t at = (int64_t)level * s->n_spans + s->sequences[0].first_span + b;
    const char *unit = spans_unit_text(s, 0, head);
    const int width = spans_name_width(s, 6);
    char line[SPANS_TEXT + 200], text[SPANS_TEXT], figures[64] = "";
    if (!unit || spans_bracket_text(s, 0, bracket, SPAN, text)) return -1;
    if (e->heads == HEAD_CAUSAL)
        snprintf(figures, sizeof figures, " %9.4f %11.4f", e->found[at].necessity,
            e->found[at].sufficiency);
    snprintf(line, sizeof line, "%-*.*s%s %4d %.80s of %s", width, width, s->levels.names[level],
        figures, (int)spans_last(&s->sequences[0], head), unit, text);
    return s->host->summary_text(s->context, line);
}

static int say_others_head(const spans_state *s) {
    char line[80];
    snprintf(line, sizeof line, "%-*s%s head", spans_name_width(s, 6), "level",
        s->effects.heads == HEAD_CAUSAL ? " necessity sufficiency" : "");
    return s->host->summary_text(s->context, "Spans whose head is another unit:") ||
           s->host->summary_text(s->context, line);
}

/* The brackets of sequence 0 whose head is not their last unit: each level's first in pre-order. */
static int list_others(const spans_state *s) {
    int32_t said = 0;
    for (int32_t level = 0; level < s->levels.n; level++) {
        const int32_t *heads =
            s->effects.head + (int64_t)level * s->n_spans + s->sequences[0].first_span;
        const psc_bracket *tree = spans_tree(s, level, 0);
        for (int32_t b = 0, listed = 0; b < s->sequences[0].n_spans && listed < s->top; b++) {
            if (heads[b] < 0 || heads[b] == tree[b].end) continue;
            listed++;
            if (said++ == 0 && say_others_head(s)) return -1;
            if (say_other(s, level, b, heads[b])) return -1;
        }
    }
    return 0;
}

static int show_of(spans_state *s) {
    static const char *const titles[] = {
        "necessity of each unit of", "sufficiency of each unit of"};
    const spans_effects *e = &s->effects;
    const int32_t size = e->of[1] - e->of[0] + 1;
    const psc_bracket span = {.begin = e->of[0], .end = e->of[1]};
    char text[SPANS_TEXT], title[SPANS_TEXT + 96];
    const char **labels = of_labels(s);
    if (!labels || spans_bracket_text(s, 0, &span, SPANS_LONG, text)) return -1;
    for (int i = 0; e->heads == HEAD_CAUSAL && i < 2; i++) {
        snprintf(title, sizeof title, "%s %s", titles[i], text);
        if (s->host->summary_bars(s->context, title, "nats", size, labels,
                e->of_figures + (int64_t)(i == 0 ? OF_NECESSITY : OF_SUFFICIENCY) * size))
            return -1;
    }
    if (e->heads == HEAD_RESIDUAL) {
        snprintf(title, sizeof title, "cosine of each unit of %s with its mean", text);
        return s->host->summary_bars(
            s->context, title, "", size, labels, e->of_figures + (int64_t)OF_COSINE * size);
    }
    for (int32_t level = 0; level < s->levels.n; level++) {
        snprintf(title, sizeof title, "level %.40s: later reads of each unit of %s",
            s->levels.names[level], text);
        if (s->host->summary_bars(s->context, title, "", size, labels,
                e->of_figures + (int64_t)(OF_READS + level) * size))
            return -1;
    }
    return 0;
}

int spans_heads_summary(spans_state *s) {
    if (count_table(s) || (s->n_sequences == 1 && list_others(s))) return -1;
    return s->effects.of[0] >= 0 ? show_of(s) : 0;
}
