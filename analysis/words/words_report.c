/* Rates, AUROC from the bins, and the lists.
 *
 *   AUROC = (sum_i p_i (sum_{i' > i} n_i' + n_i / 2)) / (P N)
 *
 * p_i and n_i: continuing and other pairs in bin i of -closure, so a lower bin is a larger closure.
 * Pairs that share a bin count one half; the error is at most sum_{i > 0} p_i n_i / (2 P N), since
 * bin 0 holds equal values. */
#include "words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct words_totals {
    double *counts, *chance;
} words_totals;

static int take_totals(words_state *s, words_totals *t) {
    const psc_host *host = s->host;
    *t = (words_totals){s->counts, s->chance};
    if (!host->accumulating(s->context)) return 0;
    t->counts = host->run_alloc(s->context, (uint64_t)s->n_counts * sizeof *t->counts);
    t->chance = host->run_alloc(s->context, WORDS_KINDS * sizeof *t->chance);
    return !t->counts || !t->chance ||
                   host->accumulated(s->context, s->counter, 0, s->n_counts, t->counts) ||
                   host->accumulated(s->context, s->sum, 0, WORDS_KINDS, t->chance)
               ? -1
               : 0;
}

static double share(double hit, double n) {
    return n > 0.0 ? hit / n : (double)NAN;
}

typedef struct words_area {
    double auroc, error, continuing, other;
} words_area;

static words_area area_of(const words_state *s, const words_totals *t, int32_t level) {
    const double *p = t->counts + words_bins(s, level, 1), *n = t->counts + words_bins(s, level, 0);
    words_area a = {0};
    double won = 0.0, tied = 0.0;
    for (int32_t i = WORDS_BINS - 1; i >= 0; i--) {
        won += p[i] * (a.other + 0.5 * n[i]);
        if (i > 0) tied += 0.5 * p[i] * n[i];
        a.continuing += p[i];
        a.other += n[i];
    }
    a.auroc = share(won, a.continuing * a.other);
    a.error = share(tied, a.continuing * a.other);
    return a;
}

/* --- arrays ----------------------------------------------------------------------------------- */

static const char *const kind_names[WORDS_KINDS] = {
    "words of several tokens", "words of two tokens", "adjacent tokens of two words"};

static int write_brackets(const words_state *s, const words_totals *t) {
    static const char *const axes[] = {"levels", "kinds"};
    const psc_host *host = s->host;
    if (host->axis_labels(s->context, "levels", s->levels.n, s->levels.names) ||
        host->axis_labels(s->context, "kinds", WORDS_KINDS, kind_names))
        return -1;
    double *rate = host->array(s->context, "brackets", PSC_F64, 2, axes);
    double *chance = host->array(s->context, "random_tree", PSC_F64, 1, axes + 1);
    double *cases = host->array(s->context, "cases", PSC_F64, 1, axes + 1);
    if (!rate || !chance || !cases) return -1;
    for (int kind = 0; kind < WORDS_KINDS; kind++) {
        cases[kind] = t->counts[words_cases(s, (words_kind)kind)];
        chance[kind] = share(t->chance[kind], cases[kind]);
        for (int32_t l = 0; l < s->levels.n; l++)
            rate[l * WORDS_KINDS + kind] =
                share(t->counts[words_hit(s, l, (words_kind)kind)], cases[kind]);
    }
    return 0;
}

static int write_areas(const words_state *s, const words_totals *t) {
    static const char *const axes[] = {"levels"};
    const psc_host *host = s->host;
    double *auroc = host->array(s->context, "auroc", PSC_F64, 1, axes);
    double *error = host->array(s->context, "auroc_error", PSC_F64, 1, axes);
    if (!auroc || !error) return -1;
    words_area a = {0};
    for (int32_t l = 0; l < s->levels.n; l++) {
        a = area_of(s, t, l);
        auroc[l] = a.auroc;
        error[l] = a.error;
    }
    return host->value_number(s->context, "sequences", t->counts[words_sequences(s)]) ||
           host->value_number(s->context, "tokens", t->counts[words_sequences(s) + 1]) ||
           host->value_number(s->context, "pairs_continuing", a.continuing) ||
           host->value_number(s->context, "pairs_other", a.other);
}

/* --- lists ------------------------------------------------------------------------------------ */

enum { ROOM = 400, MOST_SHOWN = 48 };

/* "There was a gi|ant" with the bar between t-1 and t; tokens [n], t at `place`. The bytes
 * of tokens as they are: a character may be several tokens, and whatever writes results
 * escapes what it must. */
static const char *show(const words_state *s, const int32_t *tokens, int32_t n, int32_t place) {
    char *out = s->host->run_alloc(s->context, ROOM);
    int at = 0;
    for (int32_t i = 0; out && i < n && at < ROOM - MOST_SHOWN - 2; i++) {
        uint64_t bytes = 0;
        const char *text = tokens[i] < 0 || tokens[i] == s->bos
                               ? NULL
                               : s->host->token_bytes(s->context, tokens[i], &bytes);
        if (i == place) out[at++] = '|';
        for (uint64_t k = 0; text && k < bytes && k < MOST_SHOWN; k++)
            if (text[k]) out[at++] = text[k];
    }
    return out;
}

enum { BEFORE = 4, AFTER = 2 };

static int list_accumulated(const words_state *s, int64_t slot, words_entry *out, int32_t *n) {
    psc_top found[WORDS_TOP];
    *n = s->host->accumulated_top(s->context, s->list, slot, found);
    if (*n < 0) return -1;
    for (int32_t i = 0; i < *n; i++) {
        out[i].closure = slot % 2 ? -found[i].value : found[i].value;
        out[i].text =
            show(s, found[i].tokens + PSC_TOP_BEFORE - BEFORE, BEFORE + 1 + AFTER, BEFORE);
        if (!out[i].text) return -1;
    }
    return 0;
}

static int list_run(const words_state *s, int64_t slot, words_entry *out, int32_t *n) {
    const psc_top_list *list = &s->lists[slot];
    int32_t n_rows = 0;
    const psc_row *rows = s->host->rows(s->context, &n_rows);
    *n = list->n;
    for (int32_t i = 0; i < list->n; i++) {
        int32_t tokens[BEFORE + 1 + AFTER];
        const int64_t at = list->at[i].index;
        for (int32_t k = 0; k < BEFORE + 1 + AFTER; k++) {
            const int64_t row = at + k - BEFORE;
            const int same = row >= 0 && row < n_rows && rows[row].sequence == rows[at].sequence;
            tokens[k] = same && rows[row].position > 0 ? rows[row].token : -1;
        }
        out[i].closure = slot % 2 ? -list->at[i].key : list->at[i].key;
        out[i].text = show(s, tokens, BEFORE + 1 + AFTER, BEFORE);
        if (!out[i].text) return -1;
    }
    return 0;
}

/* Lists read_on.LEVEL and not_read.LEVEL, their closures read_on_closure.LEVEL and
 * not_read_closure.LEVEL; LEVEL is the level's number. Of the level with the largest AUROC also a
 * summary. */
static int write_list(const words_state *s, int64_t slot, int in_summary) {
    static const char *const names[2] = {"not_read", "read_on"};
    static const char *const titles[2] = {"ends of words that later rows hardly read",
        "pieces that later rows go on reading though their word goes on"};
    words_entry entries[WORDS_TOP];
    const char *labels[WORDS_TOP];
    double values[WORDS_TOP];
    char name[64], closures[64], title[160];
    int32_t n = 0;
    if ((s->lists ? list_run : list_accumulated)(s, slot, entries, &n)) return -1;
    snprintf(name, sizeof name, "%s.%d", names[slot % 2], (int)(slot / 2));
    snprintf(closures, sizeof closures, "%s_closure.%d", names[slot % 2], (int)(slot / 2));
    for (int32_t i = 0; i < n; i++) {
        labels[i] = entries[i].text;
        values[i] = entries[i].closure;
        if (s->host->append_text(s->context, name, entries[i].text) ||
            s->host->append_number(s->context, closures, values[i]))
            return -1;
    }
    if (!in_summary || n == 0) return 0;
    snprintf(title, sizeof title, "%s, level %.40s (closure)", titles[slot % 2],
        s->levels.names[slot / 2]);
    return s->host->summary_bars(s->context, title, "", n, labels, values);
}

/* --- the summary ------------------------------------------------------------------------------ */

/* One row of the table: three shares of brackets and an AUROC; NaN shows as "-". */
static int say_row(
    const words_state *s, const char *title, const char *name, const double *values, int decimals) {
    char line[160];
    int at = snprintf(line, sizeof line, "%s%-*.40s", title, (int)(20 - strlen(title)), name);
    for (int i = 0; i <= WORDS_KINDS; i++)
        at += isnan(values[i])
                  ? snprintf(line + at, sizeof line - (size_t)at, " %9s", "-")
                  : snprintf(line + at, sizeof line - (size_t)at, " %9.*f", decimals, values[i]);
    return s->host->summary_text(s->context, line);
}

static int say_levels(const words_state *s, const words_totals *t, const double *cases) {
    for (int32_t l = 0; l < s->levels.n; l++) {
        double values[WORDS_KINDS + 1];
        for (int kind = 0; kind < WORDS_KINDS; kind++)
            values[kind] = share(t->counts[words_hit(s, l, (words_kind)kind)], cases[kind]);
        values[WORDS_KINDS] = area_of(s, t, l).auroc;
        if (say_row(s, "level ", s->levels.names[l], values, 3)) return -1;
    }
    return 0;
}

static int say_table(const words_state *s, const words_totals *t) {
    const words_area a = area_of(s, t, 0);
    double cases[WORDS_KINDS + 1], chance[WORDS_KINDS + 1];
    char line[160];
    for (int kind = 0; kind < WORDS_KINDS; kind++) {
        cases[kind] = t->counts[words_cases(s, (words_kind)kind)];
        chance[kind] = share(t->chance[kind], cases[kind]);
    }
    cases[WORDS_KINDS] = a.continuing + a.other;
    chance[WORDS_KINDS] = isnan(a.auroc) ? a.auroc : 0.5;
    if (s->host->summary_text(s->context,
            "Brackets among words of several tokens, words of two tokens, and adjacent tokens of "
            "two words; AUROC of closure for \"continues the word\":"))
        return -1;
    snprintf(line, sizeof line, "%-20s %9s %9s %9s %9s", "brackets", "several", "two", "adjacent",
        "AUROC");
    return s->host->summary_text(s->context, line) || say_levels(s, t, cases) ||
                   say_row(s, "", "random tree; chance", chance, 3) ||
                   say_row(s, "", "number", cases, 0) ||
                   s->host->summary_text(s->context,
                       "prior: under uniform attention, these trees are right-branching; compare "
                       "words with adjacent tokens and a random model")
               ? -1
               : 0;
}

/* The level with the largest AUROC, ties to the first, and how exact the areas are. */
static int say_areas(const words_state *s, const words_totals *t, int32_t *best) {
    char line[160];
    double error = 0.0, most = -1.0;
    *best = 0;
    for (int32_t l = 0; l < s->levels.n; l++) {
        const words_area a = area_of(s, t, l);
        if (a.error > error) error = a.error;
        if (!(a.auroc > most)) continue;
        most = a.auroc;
        *best = l;
    }
    if (most < 0.0)
        return s->host->summary_text(
            s->context, "No adjacent tokens of both kinds, so closure has no AUROC.");
    snprintf(line, sizeof line, "Pairs that continue the word: %s; AUROC's error at most %.1e.",
        PSC_COMMAS(area_of(s, t, 0).continuing), error);
    return s->host->summary_text(s->context, line);
}

int words_report_all(words_state *s) {
    words_totals t;
    char line[96];
    int32_t best = 0;
    if (take_totals(s, &t) || write_brackets(s, &t) || write_areas(s, &t)) return -1;
    const double sequences = t.counts[words_sequences(s)],
                 tokens = t.counts[words_sequences(s) + 1];
    snprintf(line, sizeof line, "%s sequence%s, %s token%s.", PSC_COMMAS(sequences),
        sequences == 1.0 ? "" : "s", PSC_COMMAS(tokens), tokens == 1.0 ? "" : "s");
    if (s->host->summary_text(s->context, line) || say_table(s, &t) || say_areas(s, &t, &best))
        return -1;
    for (int64_t slot = 0; slot < 2 * (int64_t)s->levels.n && s->top > 0; slot++)
        if (write_list(s, slot, slot / 2 == best)) return -1;
    return 0;
}
