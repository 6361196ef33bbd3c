/* The plugin spans against golden trees in float64 (tests/tools/make_structure_golden.py), its
 * other arrays against its brackets and against runs on every prefix, and growing sequences. */
#include "spans_fixture.h"

/* --- golden trees ---------------------------------------------------------------------------- */

/* Where the arrays of a run and the golden arrays have a sentence. */
typedef struct place {
    int32_t sentence;
    int64_t unit, span, n_spans; /* in the run */
    int64_t row, rows;           /* golden: its first bracket of the level, brackets of a level */
    int words;
} place;

static int64_t position_of(const place *p, int64_t unit) {
    if (!p->words) return unit + 1;
    return start_of("word_begin", start_of("word_start", p->sentence) + unit) + 1;
}

static void check_level(const psc_session *session, const place *p, int32_t level) {
    const psc_array brackets = must_array(session, "spans.brackets");
    const psc_array strength = must_array(session, "spans.strength");
    const psc_array cuts = must_array(session, "spans.cuts");
    const char *const names[2][2] = {{"brackets", "strength"}, {"word_brackets", "word_strength"}};
    for (int64_t i = 0; i < p->n_spans; i++) {
        const int64_t ours = level * strength.shape[1] + p->span + i, theirs = p->row + i;
        const int64_t begin = start_of(names[p->words][0], 3 * theirs);
        const int64_t end = start_of(names[p->words][0], 3 * theirs + 1);
        const int64_t split = start_of(names[p->words][0], 3 * theirs + 2);
        const double want = golden_at(names[p->words][1], theirs), got = array_at(&strength, ours);
        cr_assert(array_at(&brackets, 2 * ours) == position_of(p, begin) &&
                      array_at(&brackets, 2 * ours + 1) == position_of(p, end + 1) - 1,
            "sentence %d, level %d, bracket %d", p->sentence, level, (int)i);
        cr_assert(fabs(got - want) < 1e-4 * want, "strength %g, not %g", got, want);
        cr_assert_eq(array_at(&cuts, level * cuts.shape[1] + p->unit + split), got);
    }
}

static void check_run(const psc_session *session, int32_t first, int32_t n, int variant) {
    place p = {.words = variant == 4};
    const char *start = p.words ? "word_bracket_start" : "bracket_start";
    const char *units = p.words ? "word_start" : "token_start";
    p.rows = start_of(start, N_SENTENCES);
    for (int32_t i = first; i < first + n; i++) {
        p.sentence = i;
        p.n_spans = start_of(start, i + 1) - start_of(start, i);
        for (int32_t level = 0; level < N_LEVELS; level++) {
            const int64_t block = p.words ? level : level * 4 + variant;
            p.row = block * p.rows + start_of(start, i);
            check_level(session, &p, level);
        }
        p.span += p.n_spans;
        p.unit += start_of(units, i + 1) - start_of(units, i) - 1;
    }
    cr_assert_eq(must_array(session, "spans.brackets").shape[1], p.span);
}

static void check_closure(const psc_session *session, int32_t first, int32_t n) {
    const psc_array closed = must_array(session, "spans.closed");
    const int64_t all = start_of("token_start", N_SENTENCES) - N_SENTENCES;
    int64_t row = 0;
    for (int32_t i = first; i < first + n; i++) {
        const int64_t from = start_of("token_start", i),
                      length = start_of("token_start", i + 1) - from;
        for (int32_t layer = 0; layer < 4; layer++)
            for (int64_t t = 2; t < length; t++) {
                const double want = golden_at("closure", layer * all + from - i + t - 2);
                const double got = array_at(&closed, layer * closed.shape[1] + row + t);
                cr_assert(fabs(got - want) < 1e-5, "sentence %d, closure %g, not %g", i, got, want);
            }
        row += length;
    }
}

/* Trees of tokens for both powers and reads, of words, and closure; three sentences in a run. */
Test(spans, golden) {
    static const char *const options[] = {"power=0.5", "power=0.5,reads=weight", "power=1",
        "power=1,reads=weight,closure=yes", "units=words,closure=yes"};
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_embedded());
    golden = golden_open(STRUCTURE);
    for (int v = 0; v < 5; v++) {
        char text[96];
        snprintf(text, sizeof text, "levels=0/1/2/3/1+2,%s", options[v]);
        psc_session *session = open_spans(model, text, &how);
        for (int32_t i = 0; i < N_SENTENCES; i += 3) {
            const int32_t n = N_SENTENCES - i < 3 ? N_SENTENCES - i : 3;
            run_sentences(session, i, n);
            check_run(session, i, n, v);
            if (v >= 3) check_closure(session, i, n);
        }
        psc_session_close(&session);
    }
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

/* --- what the other arrays say in brackets ---------------------------------------------------- */

static void check_overlaps(const psc_session *session, const trees *t) {
    const psc_array same = must_array(session, "spans.same"),
                    shared = must_array(session, "spans.shared");
    const psc_array overlap = must_array(session, "spans.overlap");
    for (int64_t a = 0; a < t->n_levels; a++) {
        double right = 0.0, left = 0.0;
        for (int64_t b = 0; b < t->n_levels; b++) {
            double count = 0.0;
            for (int64_t i = 0; i < t->n; i++) {
                const int there = find_bracket(t, b, t->first[a][i], t->last[a][i]);
                cr_assert_eq(array_at(&same, (a * t->n + i) * t->n_levels + b), there);
                count += i > 0 && there >= 0;
            }
            const double got = array_at(&shared, a * t->n_levels + b);
            cr_assert(fabs(got - count / (double)(t->n - 1)) < 1e-12);
        }
        for (int64_t i = 1; i < t->n; i++) {
            right += t->last[a][i] == t->last[a][0];
            left += t->first[a][i] == 1;
        }
        cr_assert(fabs(array_at(&overlap, a * N_PRIORS) - right / (double)(t->n - 1)) < 1e-12);
        cr_assert(fabs(array_at(&overlap, a * N_PRIORS + 1) - left / (double)(t->n - 1)) < 1e-12);
    }
}

/* A cut's order: how many brackets lie around it. */
static void check_order(const psc_session *session, const trees *t) {
    const psc_array order = must_array(session, "spans.split_order");
    const psc_array parent = must_array(session, "spans.parent");
    for (int64_t l = 0; l < t->n_levels; l++)
        for (int64_t u = 0; u <= t->n; u++) {
            int around = -1;
            for (int64_t i = 0; i < t->n; i++) /* the cut after position u + 1 */
                around += t->first[l][i] <= u + 1 && t->last[l][i] > u + 1;
            cr_assert_eq(array_at(&order, l * (t->n + 1) + u), around);
            if (u == t->n) continue;
            const int up = (int)array_at(&parent, l * t->n + u);
            cr_assert(u ? up >= 0 && up < u && t->first[l][up] <= t->first[l][u] &&
                              t->last[l][up] >= t->last[l][u]
                        : up == -1);
        }
}

/* first_seen, lag and stood, from runs on every prefix. */
static void check_prefixes(psc_session *session, const psc_token *tokens, int32_t n) {
    static trees prefix[MOST];
    double closed[N_LEVELS] = {0}, stand[N_LEVELS] = {0};
    trees whole;
    for (int32_t length = 3; length <= n; length++) {
        psc_session_truncate(session, 0, 0);
        must_run_one(session, tokens, length);
        read_trees(&prefix[length], session);
    }
    read_trees(&whole, session);
    const psc_array seen = must_array(session, "spans.first_seen"),
                    lag = must_array(session, "spans.lag");
    const psc_array stood = must_array(session, "spans.stood");
    for (int64_t l = 0; l < whole.n_levels; l++) {
        for (int64_t i = 0; i < whole.n; i++) {
            const int last = whole.last[l][i];
            int32_t least = n; /* prefixes of least tokens and more have it closed */
            while (least - 1 >= last + 2 &&
                   find_bracket(&prefix[least - 1], l, whole.first[l][i], last) >= 0)
                least--;
            cr_assert_eq(array_at(&seen, l * whole.n + i), last == n - 1 ? -1 : least - 1);
            cr_assert_eq(array_at(&lag, l * whole.n + i), last == n - 1 ? -1 : least - 1 - last);
        }
        for (int32_t length = 3; length < n; length++)
            for (int64_t i = 0; i < prefix[length].n; i++) {
                if (prefix[length].last[l][i] == length - 1) continue;
                closed[l] += 1.0;
                stand[l] += find_bracket(&whole, l, prefix[length].first[l][i],
                                prefix[length].last[l][i]) >= 0;
            }
        const double got = array_at(&stood, l), want = stand[l] / closed[l];
        cr_assert(isnan(got) ? isnan(want) : fabs(got - want) < 1e-12, "%g, not %g", got, want);
    }
}

Test(spans, other_arrays) {
    const fixture_run how = {.threads = 2};
    static psc_token tokens[MOST];
    trees t;
    psc_model *model = must_model(golden_embedded());
    golden = golden_open(STRUCTURE);
    psc_session *session = open_spans(model, "prefixes=yes", &how);
    for (int32_t i = 0; i < 12; i++) {
        const int32_t n = sentence_tokens(i, tokens);
        if (n < 5) continue;
        psc_session_truncate(session, 0, 0);
        must_run_one(session, tokens, n);
        read_trees(&t, session);
        check_overlaps(session, &t);
        check_order(session, &t);
        check_prefixes(session, tokens, n);
    }
    psc_session_close(&session);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

/* A range gives the tree that the same reads have inside it. */
Test(spans, range) {
    const fixture_run how = {.threads = 1};
    static psc_token tokens[MOST];
    trees whole, part;
    psc_model *model = must_model(golden_embedded());
    golden = golden_open(STRUCTURE);
    const int32_t n = sentence_tokens(2, tokens);
    psc_session *session = open_spans(model, "", &how);
    must_run_one(session, tokens, n);
    read_trees(&whole, session);
    psc_session_close(&session);
    for (int64_t i = 0; i < whole.n; i++) { /* a bracket of a tree is cut as by itself */
        char options[64];
        snprintf(
            options, sizeof options, "levels=1,range=%d-%d", whole.first[1][i], whole.last[1][i]);
        session = open_spans(model, options, &how);
        must_run_one(session, tokens, n);
        read_trees(&part, session);
        cr_assert_eq(part.n, whole.last[1][i] - whole.first[1][i]);
        for (int64_t b = 0; b < part.n; b++)
            cr_assert(part.first[0][b] == whole.first[1][i + b] &&
                      part.last[0][b] == whole.last[1][i + b]);
        psc_session_close(&session);
    }
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

/* --- growing sequences ----------------------------------------------------------------------- */

/* The summary's sentence that begins so; "" when there is none. */
static const char *sentence_with(const psc_session *session, const char *start) {
    psc_result_item item;
    for (int32_t i = 0;
         psc_results_item_at(&item, psc_session_results(session), 0, i, NULL) == PSC_OK; i++)
        if (item.sentence && strncmp(item.sentence, start, strlen(start)) == 0)
            return item.sentence;
    return "";
}

/* The brackets of a that end before its last position and are not in b, or not closed there. */
static void expect_changes(const psc_session *session, int level, const char *what, const trees *a,
    const trees *b, int open) {
    char start[32], text[32];
    int want = 0, got = 0;
    snprintf(start, sizeof start, "level %d %s: ", level, what);
    const char *line = sentence_with(session, start);
    for (int64_t i = 0; i < a->n; i++) {
        const int there = find_bracket(b, level, a->first[level][i], a->last[level][i]);
        if (a->last[level][i] == a->last[level][0]) continue;
        if (there >= 0 && !(open && b->last[level][there] == b->last[level][0])) continue;
        snprintf(text, sizeof text, "[%d,%d] \"", a->first[level][i], a->last[level][i]);
        cr_assert(strstr(line, text), "level %d, %s: no %s in: %s", level, what, text, line);
        want++;
    }
    for (const char *p = line; (p = strstr(p, "] \"")); p++) got++;
    cr_assert_eq(got, want, "level %d, %s: %s", level, what, line);
}

/* Rows that come in several runs give the arrays of one run, and the summary says what changed. */
Test(spans, growing) {
    static const char *const arrays[] = {"spans.brackets", "spans.strength", "spans.cuts",
        "spans.same", "spans.overlap", "spans.first_seen", "spans.closed", NULL};
    static psc_token tokens[MOST];
    const fixture_run how = {.threads = 2};
    const char *const options = "prefixes=yes,closure=yes,top=64";
    trees before, now;
    int revised = 0;
    psc_model *model = must_model(golden_embedded());
    golden = golden_open(STRUCTURE);
    const int32_t n = sentence_tokens(2, tokens);
    psc_session *grown = open_spans(model, options, &how),
                *whole = open_spans(model, options, &how);
    must_run_one(grown, tokens, 4);
    for (int32_t at = 4; at < n;) {
        const int32_t more = at % 3 + 1 < n - at ? at % 3 + 1 : n - at;
        read_trees(&before, grown);
        must_run_one(grown, tokens + at, more);
        at += more;
        psc_session_truncate(whole, 0, 0);
        must_run_one(whole, tokens, at);
        assert_same_arrays(whole, grown, arrays, "grown");
        cr_assert_str_eq(sentence_with(whole, "level 1 closed"), "");
        read_trees(&now, grown);
        for (int level = 0; level < 4; level++) {
            expect_changes(grown, level, "closed", &now, &before, 1);
            expect_changes(grown, level, "revised", &before, &now, 0);
            char start[32];
            snprintf(start, sizeof start, "level %d revised", level);
            revised += *sentence_with(grown, start) != 0;
        }
    }
    cr_assert_gt(revised, 0);
    psc_session_truncate(grown, 0, n - 3);
    must_run_one(grown, tokens + n - 3, 3);
    assert_same_arrays(whole, grown, arrays, "truncated");
    cr_assert_neq(*sentence_with(grown, "Sequence 0 was cut back"), 0);
    psc_session_close(&grown);
    psc_session_close(&whole);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}
