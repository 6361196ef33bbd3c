/* Span F1, S-F1 and recall of every tree, beside "other" and with bootstrap intervals.
 *
 *   F1      2 shared / (found + gold), summed over the corpus
 *   S-F1    the mean of the sentences' F1, over those with gold spans
 *   other   F1 with the tree of the next sentence, cyclic, that has as many content units;
 *           sentences without any such are left out
 *   oracle  F1 of a binary tree that holds all gold spans of a sentence, n - 2 brackets below the
 *           whole, over the sentences with gold spans */
#include "treebank.h"

#include <stdio.h>
#include <string.h>

/* --- a sentence ------------------------------------------------------------------------------ */

static int32_t spans_of(treebank_state *s, const treebank_case *c, int32_t system, psc_span *out) {
    if (system < N_BASELINES)
        return treebank_baseline_spans(c, (treebank_baseline)system, &s->random, out);
    if (system >= s->first_comparison)
        return treebank_comparisons_spans(s, c, system - s->first_comparison, out);
    const int32_t level = (system - N_BASELINES) / N_VARIANTS, n = c->n_tokens - 1;
    const int variant = (system - N_BASELINES) % N_VARIANTS;
    if (variant == VARIANT_READS) return treebank_project(c, n, s->trees[level], out);
    if (variant == VARIANT_WORDS)
        return treebank_project(c, treebank_unit_tree(s, c, level), s->tree, out);
    if (variant == VARIANT_PLAIN && !s->plain) return 0;
    const psc_reads *reads = variant == VARIANT_PLAIN ? &s->plain_reads : &s->reads;
    psc_cuts_tree(psc_reads_sums(reads, c->sequence, level), s->at, c->n_tokens,
        variant == VARIANT_CAUTIOUS ? s->whole : s->half, s->tree);
    return treebank_project(c, n, s->tree, out);
}

static treebank_result *new_result(treebank_state *s) {
    const psc_host *host = s->host;
    const uint64_t systems = (uint64_t)s->n_systems;
    if (s->n == s->capacity) {
        const int32_t capacity = s->capacity ? 2 * s->capacity : 1024;
        treebank_result *results =
            host->life_alloc(s->context, (uint64_t)capacity * sizeof *results);
        if (!results) return NULL;
        if (s->n) memcpy(results, s->results, (size_t)s->n * sizeof *results);
        s->results = results;
        s->capacity = capacity;
    }
    treebank_result *r = &s->results[s->n];
    r->n_found = host->life_alloc(s->context, systems * sizeof *r->n_found);
    r->found = host->life_alloc(s->context, systems * sizeof *r->found);
    return r->n_found && r->found ? r : NULL;
}

static psc_span *keep(treebank_state *s, int32_t n, const psc_span *spans) {
    psc_span *kept = s->host->life_alloc(s->context, (uint64_t)n * sizeof *kept + 1);
    if (kept && n > 0) memcpy(kept, spans, (size_t)n * sizeof *kept);
    return kept;
}

int treebank_spans_add(treebank_state *s, const treebank_case *c) {
    treebank_result *r = new_result(s);
    if (!r) return -1;
    r->n_content = c->n_content;
    r->n_gold = treebank_gold(c, s->spans, s->marks);
    if (!(r->gold = keep(s, r->n_gold, s->spans))) return -1;
    for (int32_t i = 0; i < s->n_systems; i++) {
        r->n_found[i] = spans_of(s, c, i, s->spans);
        if (r->n_found[i] < 0 || !(r->found[i] = keep(s, r->n_found[i], s->spans))) return -1;
    }
    s->n_tokens += c->n_tokens;
    s->n++;
    return 0;
}

/* --- the tables ------------------------------------------------------------------------------ */

enum { BOUNDS = 3 }; /* value, low, high */

typedef struct span_tables {
    int32_t *other;              /* [sentences] whose tree stands beside it */
    psc_rate *own, *punctuation; /* [sentences] of one system; the baseline's */
    psc_rate *paired, *beside;   /* [n_paired] own and other's, of sentences with another */
    int32_t n_paired;
    double *scratch;    /* [draws] */
    const char **names; /* [systems] */
    double *f1, *sentence_f1, *recall, *other_f1, *over_punctuation, *over_other;
} span_tables;

/* The next sentence with as many content units, cyclic; itself if there is no other. Returns how
 * many have another. */
static int32_t find_others(const treebank_state *s, int32_t *other) {
    int32_t first[TREEBANK_MOST + 1], last[TREEBANK_MOST + 1];
    memset(last, -1, sizeof last);
    for (int32_t i = 0; i < s->n; i++) {
        const int32_t n = s->results[i].n_content;
        if (last[n] < 0)
            first[n] = i;
        else
            other[last[n]] = i;
        last[n] = i;
        other[i] = first[n];
    }
    int32_t paired = 0;
    for (int32_t i = 0; i < s->n; i++) paired += other[i] != i;
    return paired;
}

static psc_span_counts count(const treebank_result *gold, const treebank_result *tree, int i) {
    return (psc_span_counts){
        psc_spans_shared(tree->n_found[i], tree->found[i], gold->n_gold, gold->gold),
        tree->n_found[i], gold->n_gold};
}

static void add_counts(psc_span_counts *sum, const psc_span_counts *c) {
    sum->shared += c->shared;
    sum->found += c->found;
    sum->gold += c->gold;
}

static void put_interval(double *out, const psc_interval *i) {
    out[0] = i->value;
    out[1] = i->low;
    out[2] = i->high;
}

/* Sums beside: own and other of sentences that have another of their length. */
static void fill_other(const treebank_state *s, span_tables *t, int32_t system) {
    psc_span_counts beside = {0, 0, 0};
    int32_t n = 0;
    for (int32_t i = 0; i < s->n; i++) {
        if (t->other[i] == i) continue;
        const psc_span_counts b = count(&s->results[i], &s->results[t->other[i]], system);
        add_counts(&beside, &b);
        t->paired[n] = t->own[i];
        t->beside[n++] = psc_span_rate(&b);
    }
    t->other_f1[system] = n > 0 ? psc_span_f1(&beside) : (double)NAN;
}

static void fill_system(const treebank_state *s, span_tables *t, int32_t system) {
    psc_span_counts own = {0, 0, 0};
    double sum = 0.0, with_gold = 0.0;
    for (int32_t i = 0; i < s->n; i++) {
        const treebank_result *r = &s->results[i];
        const psc_span_counts a = count(r, r, system);
        add_counts(&own, &a);
        t->own[i] = psc_span_rate(&a);
        if (r->n_gold == 0) continue;
        sum += psc_span_f1(&a);
        with_gold += 1.0;
    }
    fill_other(s, t, system);
    t->f1[system] = psc_span_f1(&own);
    t->recall[system] = psc_span_recall(&own);
    t->sentence_f1[system] = with_gold > 0.0 ? sum / with_gold : (double)NAN;
    if (system == BASELINE_PUNCTUATION)
        memcpy(t->punctuation, t->own, (size_t)s->n * sizeof *t->own);
    if (system < N_BASELINES) return;
    const uint64_t seed = (uint64_t)s->seed;
    const psc_interval a = psc_bootstrap(s->n, t->own, t->punctuation, s->draws, seed, t->scratch);
    const psc_interval b =
        psc_bootstrap(t->n_paired, t->paired, t->beside, s->draws, seed, t->scratch);
    put_interval(t->over_punctuation + (int64_t)system * BOUNDS, &a);
    put_interval(t->over_other + (int64_t)system * BOUNDS, &b);
}

static double oracle(const treebank_state *s) {
    psc_span_counts sum = {0, 0, 0};
    for (int32_t i = 0; i < s->n; i++) {
        const treebank_result *r = &s->results[i];
        const psc_span_counts c = {r->n_gold, r->n_content - 2, r->n_gold};
        if (r->n_gold > 0) add_counts(&sum, &c);
    }
    return psc_span_f1(&sum);
}

/* --- arrays and summary ---------------------------------------------------------------------- */

enum { NAME = 64 };

static int make_names(treebank_state *s, span_tables *t) {
    static const char *const baselines[N_BASELINES] = {
        "left", "right", "balanced", "random", "punctuation + right"};
    static const char *const variants[N_VARIANTS] = {"", ", power 1", ", plain A", ", words"};
    char *names = s->host->run_alloc(s->context, (uint64_t)s->n_systems * NAME);
    t->names = s->host->run_alloc(s->context, (uint64_t)s->n_systems * sizeof *t->names);
    if (!names || !t->names) return -1;
    for (int32_t i = 0; i < s->n_systems; i++) {
        t->names[i] = names + (size_t)i * NAME;
        if (i < N_BASELINES)
            snprintf(names + (size_t)i * NAME, NAME, "%s", baselines[i]);
        else if (i >= s->first_comparison)
            treebank_comparisons_name(s, i - s->first_comparison, names + (size_t)i * NAME, NAME);
        else
            snprintf(names + (size_t)i * NAME, NAME, "level %.40s%s",
                s->levels.names[(i - N_BASELINES) / N_VARIANTS],
                variants[(i - N_BASELINES) % N_VARIANTS]);
    }
    return s->host->axis_labels(s->context, "trees", s->n_systems, t->names);
}

static int make_tables(treebank_state *s, span_tables *t) {
    static const char *const bounds[BOUNDS] = {"value", "low", "high"};
    static const char *const axes[] = {"trees", "bounds"};
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->n + 1;
    if (make_names(s, t) || host->axis_labels(s->context, "bounds", BOUNDS, bounds)) return -1;
    t->other = host->run_alloc(s->context, n * sizeof *t->other);
    t->own = host->run_alloc(s->context, n * sizeof *t->own);
    t->paired = host->run_alloc(s->context, n * sizeof *t->paired);
    t->beside = host->run_alloc(s->context, n * sizeof *t->beside);
    t->punctuation = host->run_alloc(s->context, n * sizeof *t->punctuation);
    t->scratch = host->run_alloc(s->context, (uint64_t)s->draws * sizeof *t->scratch);
    t->f1 = host->array(s->context, "f1", PSC_F64, 1, axes);
    t->sentence_f1 = host->array(s->context, "sentence_f1", PSC_F64, 1, axes);
    t->recall = host->array(s->context, "recall", PSC_F64, 1, axes);
    t->other_f1 = host->array(s->context, "other_f1", PSC_F64, 1, axes);
    t->over_punctuation = host->array(s->context, "over_punctuation", PSC_F64, 2, axes);
    t->over_other = host->array(s->context, "over_other", PSC_F64, 2, axes);
    return t->other && t->own && t->paired && t->beside && t->punctuation && t->scratch && t->f1 &&
                   t->sentence_f1 && t->recall && t->other_f1 && t->over_punctuation &&
                   t->over_other
               ? 0
               : -1;
}

/* " 23.19", or " -" without a value. */
static int put_percent(char *out, size_t size, double x) {
    return isnan(x) ? snprintf(out, size, " %6s", "-") : snprintf(out, size, " %6.2f", 100.0 * x);
}

/* ", 95 % in 4.12..5.78" after a title; nothing for one sentence, which has no interval. */
static void put_bounds(char *out, size_t size, const char *title, const double *d) {
    *out = 0;
    if (!isnan(d[1])) snprintf(out, size, "%s%.2f..%.2f", title, 100.0 * d[1], 100.0 * d[2]);
}

static int say_system(treebank_state *s, const span_tables *t, int32_t i) {
    const double values[] = {t->f1[i], t->sentence_f1[i], t->recall[i], t->other_f1[i]};
    const double *d = t->over_punctuation + (int64_t)i * BOUNDS;
    char line[256], bounds[64];
    int n = snprintf(line, sizeof line, "%-20.60s", t->names[i]);
    for (int k = 0; k < 4; k++) n += put_percent(line + n, sizeof line - (size_t)n, values[k]);
    put_bounds(bounds, sizeof bounds, " ", d);
    if (i >= N_BASELINES)
        snprintf(line + n, sizeof line - (size_t)n, " %+7.2f%s", 100.0 * d[0], bounds);
    return s->host->summary_text(s->context, line);
}

/* The level with the largest F1, ties to the first. */
static int32_t best_level(const treebank_state *s, const span_tables *t) {
    int32_t best = 0;
    for (int32_t l = 1; l < s->levels.n; l++)
        if (t->f1[treebank_system(l, VARIANT_READS)] > t->f1[treebank_system(best, VARIANT_READS)])
            best = l;
    return best;
}

static int say_choice(treebank_state *s, const span_tables *t, int32_t best) {
    const int32_t level = s->chosen >= 0 ? s->chosen : best;
    const int32_t i = treebank_system(level, VARIANT_READS);
    const double *d = t->over_punctuation + (int64_t)i * BOUNDS;
    char line[320], bounds[64], other[16];
    put_bounds(bounds, sizeof bounds, ", 95 % in ", d);
    snprintf(other, sizeof other, isnan(t->other_f1[i]) ? "-" : "%.2f", 100.0 * t->other_f1[i]);
    snprintf(line, sizeof line,
        "level %.40s (%s): F1 %.2f, punctuation + right %.2f, other %s; over punctuation + right "
        "%.2f%s",
        s->levels.names[level],
        s->chosen >= 0 ? "chosen on other sentences" : "the best of these very sentences",
        100.0 * t->f1[i], 100.0 * t->f1[BASELINE_PUNCTUATION], other, 100.0 * d[0], bounds);
    return s->host->summary_text(s->context, line);
}

/* What "other" leaves out, and the trees' prior. */
static int say_limits(treebank_state *s, const span_tables *t) {
    const int32_t alone = s->n - t->n_paired;
    char line[160];
    snprintf(line, sizeof line,
        "\"other\" leaves out %d sentence%s: no other one has as many content units", (int)alone,
        alone == 1 ? "" : "s");
    if (alone > 0 && s->host->summary_text(s->context, line)) return -1;
    return s->host->summary_text(s->context,
        "prior: under uniform attention, trees of power 1/2 are right-branching; compare with it");
}

static int say_spans(treebank_state *s, const span_tables *t, int32_t best) {
    int64_t gold = 0;
    char line[256];
    for (int32_t i = 0; i < s->n; i++) gold += s->results[i].n_gold;
    snprintf(line, sizeof line,
        "%s sentence%s of %d to %d content units, each after <|endoftext|>, %s gold spans; a binary tree that holds them "
        "all reaches F1 %.2f; over: F1 over that of punctuation + right",
        PSC_COMMAS(s->n), s->n == 1 ? "" : "s", TREEBANK_LEAST, TREEBANK_MOST, PSC_COMMAS(gold),
        100.0 * oracle(s));
    if (s->host->summary_text(s->context, line)) return -1;
    snprintf(line, sizeof line, "%-20s %6s %6s %6s %6s %7s %s", "trees", "F1", "S-F1", "recall",
        "other", "over", "95 %");
    if (s->host->summary_text(s->context, line)) return -1;
    for (int32_t i = 0; i < s->n_systems; i++) {
        if (!s->plain && i >= N_BASELINES && i < s->first_comparison &&
            (i - N_BASELINES) % N_VARIANTS == VARIANT_PLAIN)
            continue;
        if (say_system(s, t, i)) return -1;
    }
    return say_limits(s, t) || say_choice(s, t, best) ? -1 : 0;
}

int treebank_spans_report(treebank_state *s) {
    span_tables t;
    if (s->n == 0) return 0;
    if (make_tables(s, &t)) return -1;
    t.n_paired = find_others(s, t.other);
    for (int32_t i = 0; i < s->n_systems; i++) fill_system(s, &t, i);
    const int32_t best = best_level(s, &t);
    if (s->host->value_text(s->context, "best_level", s->levels.names[best]) ||
        s->host->value_number(s->context, "oracle_f1", oracle(s)) ||
        s->host->value_number(s->context, "sentences_without_other", s->n - t.n_paired))
        return -1;
    return say_spans(s, &t, best);
}
