/* The arrays and the summary of the plugin `attention`.
 *
 *   statistics [L, H, rows, statistics], their means over rows [L, H, statistics], all and without
 *   position 0; attracts [L, H, rows] = sum_{k>j} A_kj / (T-1-j)
 *   tl_detect [L, H, kinds]; on two copies of S tokens: induction_by_position [L, H, S] and
 *   scores [L, H, kinds] = mean over k of A_{k,k-S+1} (second copy), A_{k,k-1}, A_{k,k-S} (second
 *   copy) */
#include "attention.h"
#include "moments.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *const attention_stat_names[STAT_COUNT] = {"entropy", "distance", "first", "self",
    "previous", "same_token", "distance_variance", "induction"};
static const char *const kind_names[KIND_COUNT] = {
    "induction", "previous_token", "duplicate_token"};

static const double *stats_of(const attention_state *s, int64_t cell, int32_t row) {
    return s->stats + (cell * s->n_rows + row) * STAT_COUNT;
}

/* Sums over rows begin..end-1 from position `first` on, and the count of each: `previous` does not
 * exist at position 0, `induction` not without an earlier row of the same token. */
static void sum_rows(const attention_state *s, int64_t cell, int32_t begin, int32_t end,
    int32_t first, double sum[STAT_COUNT], double n[STAT_COUNT]) {
    for (int i = 0; i < STAT_COUNT; i++) sum[i] = n[i] = 0.0;
    for (int32_t r = begin; r < end; r++) {
        const double *x = stats_of(s, cell, r);
        for (int i = 0; i < STAT_COUNT && s->rows[r].position >= first; i++) {
            sum[i] += isnan(x[i]) ? 0.0 : x[i];
            n[i] += !isnan(x[i]);
        }
    }
}

static int make_means(attention_state *s) {
    static const char *const axes[] = {"layers", "heads", "statistics"};
    static const char *const names[] = {"means", "means_without_first"};
    for (int without = 0; without < 2; without++) {
        double *out = s->host->array(s->context, names[without], PSC_F64, 3, axes);
        if (!out) return -1;
        for (int64_t cell = 0; cell < s->n_cells; cell++) {
            double sum[STAT_COUNT], n[STAT_COUNT];
            sum_rows(s, cell, 0, s->n_rows, without, sum, n);
            for (int i = 0; i < STAT_COUNT; i++)
                out[cell * STAT_COUNT + i] = psc_mean(sum[i], n[i]);
        }
    }
    return 0;
}

static int make_attracts(attention_state *s) {
    static const char *const axes[] = {"layers", "heads", "rows"};
    double *out = s->host->array(s->context, "attracts", PSC_F64, 3, axes);
    if (!out) return -1;
    for (int32_t r = s->n_rows, end = r; r-- > 0;) {
        if (r + 1 < s->n_rows && s->rows[r + 1].sequence != s->rows[r].sequence) end = r + 1;
        for (int64_t cell = 0; cell < s->n_cells && r + 1 < end; cell++)
            out[cell * s->n_rows + r] = s->received[cell * s->n_rows + r] / (end - 1 - r);
    }
    return 0;
}

static int make_detected(attention_state *s) {
    static const char *const axes[] = {"layers", "heads", "kinds"};
    double *out = s->host->array(s->context, "tl_detect", PSC_F64, 3, axes);
    if (!out) return -1;
    for (int64_t cell = 0; cell < s->n_cells; cell++) {
        const double *sums = s->detected + cell * (KIND_COUNT + 1);
        for (int i = 0; i < KIND_COUNT; i++)
            out[cell * KIND_COUNT + i] = sums[i] / sums[KIND_COUNT];
    }
    return 0;
}

static int make_scores(attention_state *s) {
    static const char *const axes[] = {"layers", "heads", "kinds"};
    static const char *const by[] = {"layers", "heads", "offsets"};
    const int32_t size = s->repeat.length;
    if (size == 0) return 0;
    double *out = s->host->array(s->context, "scores", PSC_F64, 3, axes);
    double *positions = s->host->array(s->context, "induction_by_position", PSC_F64, 3, by);
    if (!out || !positions) return -1;
    memcpy(positions, s->copies[0], (size_t)(s->n_cells * size) * sizeof *positions);
    for (int64_t cell = 0; cell < s->n_cells; cell++) {
        double induction = 0.0, previous = 0.0, duplicate = 0.0;
        for (int32_t i = 0; i < size; i++) {
            induction += s->copies[0][cell * size + i];
            duplicate += s->copies[1][cell * size + i];
        }
        for (int32_t r = 1; r < s->n_rows; r++) previous += stats_of(s, cell, r)[STAT_PREVIOUS];
        out[cell * KIND_COUNT + KIND_INDUCTION] = induction / size;
        out[cell * KIND_COUNT + KIND_PREVIOUS] = previous / (s->n_rows - 1);
        out[cell * KIND_COUNT + KIND_DUPLICATE] = duplicate / size;
    }
    return 0;
}

int attention_axes(attention_state *s) {
    const psc_host *host = s->host;
    return psc_count_axis(s->context, host, "layers", 0, s->n_layers) ||
           psc_count_axis(s->context, host, "heads", 0, s->n_heads) ||
           (s->n_rows && psc_count_axis(s->context, host, "rows", 0, s->n_rows)) ||
           (s->patterns && s->n_rows && psc_count_axis(s->context, host, "keys", 0, s->longest)) ||
           (s->repeat.length && psc_count_axis(s->context, host, "offsets", 0, s->repeat.length)) ||
           host->axis_labels(s->context, "statistics", STAT_COUNT, attention_stat_names) ||
           host->axis_labels(s->context, "kinds", KIND_COUNT, kind_names);
}

int attention_arrays(attention_state *s) {
    static const char *const axes[] = {"layers", "heads", "rows", "statistics"};
    double *out = s->host->array(s->context, "statistics", PSC_F64, 4, axes);
    if (!out) return -1;
    memcpy(out, s->stats, (size_t)(s->n_cells * s->n_rows) * STAT_COUNT * sizeof *out);
    return make_means(s) || make_attracts(s) || make_detected(s) || make_scores(s);
}

/* --- over documents -------------------------------------------------------------------------- */

/* Adds each sequence's sums separately, so that totals do not depend on batches. */
int attention_add_documents(attention_state *s) {
    const psc_host *host = s->host;
    const int64_t count = s->n_cells * STAT_COUNT;
    double *sum = host->run_alloc(s->context, 2 * (uint64_t)count * sizeof *sum);
    if (!sum) return -1;
    double *n = sum + count;
    for (int32_t begin = 0, end; begin < s->n_rows; begin = end) {
        for (end = begin; end < s->n_rows && s->rows[end].sequence == s->rows[begin].sequence;)
            end++;
        for (int without = 0; without < 2; without++) {
            for (int64_t cell = 0; cell < s->n_cells; cell++)
                sum_rows(
                    s, cell, begin, end, without, sum + cell * STAT_COUNT, n + cell * STAT_COUNT);
            if (host->accumulate(s->context, s->sums[without], 0, count, sum) ||
                host->accumulate(s->context, s->rows_sum[without], 0, count, n))
                return -1;
        }
    }
    return 0;
}

int attention_report_documents(attention_state *s) {
    static const char *const axes[] = {"layers", "heads", "statistics"};
    static const char *const names[] = {"means", "means_without_first"};
    const psc_host *host = s->host;
    const int64_t count = s->n_cells * STAT_COUNT;
    s->n_rows = 0;
    s->repeat.length = 0;
    double *n = host->life_alloc(s->context, (uint64_t)count * sizeof *n);
    if (!n || attention_axes(s)) return -1;
    double *out = NULL;
    for (int without = 0; without < 2; without++) {
        out = host->array(s->context, names[without], PSC_F64, 3, axes);
        if (!out || host->accumulated(s->context, s->sums[without], 0, count, out) ||
            host->accumulated(s->context, s->rows_sum[without], 0, count, n))
            return -1;
        for (int64_t i = 0; i < count; i++) out[i] = psc_mean(out[i], n[i]);
    }
    if (host->value_number(s->context, "rows", n[0])) return -1;
    return attention_summary_documents(s, out, n[0]);
}

/* --- the summary ----------------------------------------------------------------------------- */

/* The heads with the largest scores of a kind above 0, shares [cells, KIND_COUNT]. */
static int show_kind(attention_state *s, int kind, const double *share) {
    static const char *const titles[KIND_COUNT] = {
        "induction heads (tl_detect; a perfect head scores about 0.5 on two copies)",
        "previous-token heads (tl_detect)", "duplicate-token heads (tl_detect)"};
    static const char *const none[KIND_COUNT] = {
        "No head scores above 0 as an induction head: that needs a token that occurs twice.",
        "No head scores above 0 as a previous-token head: that needs two tokens.",
        "No head scores above 0 as a duplicate-token head: that needs a token that occurs twice."};
    psc_ranked entries[ATTENTION_MOST];
    psc_top_list top = {entries, s->top, 0};
    const char *labels[ATTENTION_MOST];
    double values[ATTENTION_MOST];
    for (int64_t cell = 0; cell < s->n_cells; cell++)
        if (share[cell * KIND_COUNT + kind] > 0.0)
            psc_top_offer(&top, share[cell * KIND_COUNT + kind], cell);
    if (top.n == 0 && s->top > 0) return s->host->summary_text(s->context, none[kind]);
    for (int32_t i = 0; i < top.n; i++) {
        const int32_t cell = (int32_t)top.at[i].index;
        labels[i] =
            s->host->label(s->context, PSC_COMPONENT_HEAD, cell / s->n_heads, cell % s->n_heads);
        values[i] = top.at[i].key;
    }
    return s->host->summary_bars(s->context, titles[kind], "", top.n, labels, values);
}

static int show_attractors(attention_state *s) {
    char names[ATTENTION_MOST][PSC_ROW_NAME];
    psc_ranked entries[ATTENTION_MOST];
    psc_top_list top = {entries, s->top, 0};
    const char *labels[ATTENTION_MOST];
    double values[ATTENTION_MOST];
    double *mean = s->host->run_alloc(s->context, (uint64_t)s->n_rows * sizeof *mean);
    if (!mean) return -1;
    const int32_t last = s->n_rows - 1;
    for (int32_t r = 0; r < last; r++) {
        for (int64_t cell = 0; cell < s->n_cells; cell++)
            mean[r] += s->received[cell * s->n_rows + r];
        psc_top_offer(&top, mean[r] / ((double)s->n_cells * (last - r)), r);
    }
    for (int32_t i = 0; i < top.n; i++) {
        const int32_t r = (int32_t)top.at[i].index;
        labels[i] = psc_row_name(s->context, s->host, &s->rows[r], names[i]);
        values[i] = top.at[i].key;
    }
    return s->host->summary_bars(s->context,
        "attention drawn from each later row, mean over all heads", "", top.n, labels, values);
}

int attention_summary(attention_state *s) {
    double *share =
        s->host->run_alloc(s->context, (uint64_t)(s->n_cells * KIND_COUNT) * sizeof *share);
    if (!share) return -1;
    for (int64_t i = 0; i < s->n_cells * KIND_COUNT; i++) {
        const double *sums = s->detected + i / KIND_COUNT * (KIND_COUNT + 1);
        share[i] = sums[i % KIND_COUNT] / sums[KIND_COUNT];
    }
    if (s->repeat.length > 0) {
        char sentence[160];
        snprintf(sentence, sizeof sentence,
            "The text is two copies of %d tokens. `scores` gives the part of the second copy's "
            "attention that goes to the right token.",
            (int)s->repeat.length);
        if (s->host->summary_text(s->context, sentence)) return -1;
    }
    for (int kind = 0; kind < KIND_COUNT; kind++)
        if (show_kind(s, kind, share)) return -1;
    const bool whole =
        s->rows[0].sequence == s->rows[s->n_rows - 1].sequence && s->rows[0].position == 0;
    if (whole && show_attractors(s)) return -1;
    return s->split.layer >= 0 ? attention_split_summary(s) : 0;
}
