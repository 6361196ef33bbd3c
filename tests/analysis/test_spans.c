/* The plugin spans against golden trees in float64 (tests/tools/make_structure_golden.py), its other
 * arrays against its brackets and against runs on every prefix, growing sequences, documents, bits
 * and refusals. */
#include "ln_mlp_fixture.h"

#define STRUCTURE PSC_SOURCE_DIR "/tests/golden/structure/trees.safetensors"

enum { N_SENTENCES = 100, N_LEVELS = 5, MOST = 128, N_PRIORS = 4 };
static psc_error error;
static psc_tensors *golden;

static double golden_at(const char *name, int64_t i) {
    const psc_tensor *t = golden_find(golden, name);
    return strcmp(t->dtype, "U8") == 0 ? (double)((const uint8_t *)t->data)[i] : tensor_at(t, i);
}

static int64_t start_of(const char *name, int64_t i) {
    return (int64_t)golden_at(name, i);
}

static psc_session *open_spans(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "spans", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    return session;
}

/* Runs golden sentences `first`.. as sequences 0.. */
static int32_t sentence_tokens(int32_t i, psc_token *out) {
    const int64_t from = start_of("token_start", i), end = start_of("token_start", i + 1);
    for (int64_t t = from; t < end; t++)
        out[t - from] = (psc_token){.id = (int32_t)golden_at("tokens", t)};
    return (int32_t)(end - from);
}

static void run_sentences(psc_session *session, int32_t first, int32_t n) {
    static psc_token tokens[3][MOST];
    psc_input inputs[3];
    for (int32_t i = 0; i < n; i++) {
        inputs[i] = (psc_input){i, sentence_tokens(first + i, tokens[i]), tokens[i]};
        psc_session_truncate(session, i, 0);
    }
    cr_assert_eq(psc_session_run(session, inputs, n, NULL, &error), PSC_OK, "%s", error.message);
}

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

/* The brackets of a run's only sequence, [levels][spans]. */
typedef struct trees {
    int64_t n_levels, n;
    int first[N_LEVELS][MOST], last[N_LEVELS][MOST];
} trees;

static void read_trees(trees *out, const psc_session *session) {
    const psc_array brackets = must_array(session, "spans.brackets");
    out->n_levels = brackets.shape[0];
    out->n = brackets.shape[1];
    for (int64_t l = 0; l < out->n_levels; l++)
        for (int64_t i = 0; i < out->n; i++) {
            out->first[l][i] = (int)array_at(&brackets, 2 * (l * out->n + i));
            out->last[l][i] = (int)array_at(&brackets, 2 * (l * out->n + i) + 1);
        }
}

static int find_bracket(const trees *t, int64_t level, int first, int last) {
    for (int i = 0; i < (int)t->n; i++)
        if (t->first[level][i] == first && t->last[level][i] == last) return i;
    return -1;
}

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

/* --- documents ------------------------------------------------------------------------------- */

static psc_session *accumulate(
    psc_model *model, const char *options, int32_t batch, int32_t threads) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    how.accumulate = 1;
    how.n_sequences = 3;
    how.threads = threads;
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK);
    cr_assert_eq(
        psc_session_plugin(session, "spans", options, &error), PSC_OK, "%s", error.message);
    for (int32_t i = 0; i < 12; i += batch) run_sentences(session, i, batch);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    return session;
}

/* Totals against sums over runs of one sentence. */
Test(spans, documents) {
    static const char *const arrays[] = {"spans.brackets", "spans.strength", "spans.shared",
        "spans.overlap", "spans.stood", "spans.lag", "spans.closure", NULL};
    static const int ends[] = {2, 3, 4, 8, 16, 32, 64, 1000};
    const char *const options = "levels=1/2,prefixes=yes,closure=yes";
    const fixture_run how = {.threads = 1};
    double counts[2][8] = {{0}}, strengths[2][8] = {{0}}, overlaps[2][N_PRIORS] = {{0}};
    double n_inner = 0.0, n_closed = 0.0, closure[2] = {0}, lags[2] = {0}, ended[2] = {0};
    psc_model *model = must_model(golden_embedded());
    golden = golden_open(STRUCTURE);
    psc_session *one = open_spans(model, options, &how);
    for (int32_t s = 0; s < 12; s++) {
        trees t;
        run_sentences(one, s, 1);
        read_trees(&t, one);
        const psc_array strength = must_array(one, "spans.strength");
        const psc_array overlap = must_array(one, "spans.overlap"),
                        lag = must_array(one, "spans.lag");
        const psc_array closed = must_array(one, "spans.closed");
        n_inner += t.n > 1 ? (double)t.n - 1.0 : 0.0;
        n_closed += t.n > 1 ? (double)t.n - 1.0 : 0.0; /* tokens 2..n-1 of n + 2 rows */
        for (int l = 0; l < 2; l++) {
            for (int64_t i = 1; i < t.n; i++) {
                int bin = 0;
                while (t.last[l][i] - t.first[l][i] + 1 > ends[bin]) bin++;
                counts[l][bin] += 1.0;
                strengths[l][bin] += array_at(&strength, l * t.n + i);
                if (array_at(&lag, l * t.n + i) < 0) continue;
                lags[l] += array_at(&lag, l * t.n + i);
                ended[l] += 1.0;
            }
            for (int p = 0; p < N_PRIORS && t.n > 1; p++)
                overlaps[l][p] += array_at(&overlap, l * N_PRIORS + p) * (double)(t.n - 1);
            for (int64_t i = 2; i + 1 < closed.shape[1]; i++)
                closure[l] += array_at(&closed, l * closed.shape[1] + i);
        }
    }
    psc_session_close(&one);
    psc_session *first = accumulate(model, options, 1, 1);
    const psc_array brackets = must_array(first, arrays[0]),
                    strength = must_array(first, arrays[1]);
    const psc_array overlap = must_array(first, arrays[3]), lag = must_array(first, arrays[5]);
    const psc_array mean = must_array(first, arrays[6]);
    for (int l = 0; l < 2; l++) {
        for (int b = 0; b < 8; b++) {
            const double got = array_at(&strength, l * 8 + b),
                         want = strengths[l][b] / counts[l][b];
            cr_assert_eq(array_at(&brackets, l * 8 + b), counts[l][b]);
            cr_assert(isnan(got) ? isnan(want) : fabs(got - want) < 1e-9);
        }
        for (int p = 0; p < N_PRIORS; p++)
            cr_assert(fabs(array_at(&overlap, l * N_PRIORS + p) - overlaps[l][p] / n_inner) < 1e-9);
        cr_assert(fabs(array_at(&lag, l) - lags[l] / ended[l]) < 1e-12);
        cr_assert(fabs(array_at(&mean, l) - closure[l] / n_closed) < 1e-9);
    }
    for (int32_t batch = 2; batch <= 3; batch++) {
        psc_session *other = accumulate(model, options, batch, batch);
        assert_same_arrays(first, other, arrays, "batch");
        psc_session_close(&other);
    }
    psc_session_close(&first);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

/* --- refusals and edges ----------------------------------------------------------------------- */

/* Texts of BOS alone, and of one and two more tokens. */
Test(spans, short_texts) {
    const psc_token tokens[3] = {{0, 0, 0}, {5, 0, 1}, {7, 1, 2}};
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int32_t n = 1; n <= 3; n++) {
        psc_session *session = open_spans(model, "prefixes=yes,closure=yes", &how);
        must_run_one(session, tokens, n);
        cr_assert_eq(must_array(session, "spans.brackets").shape[1], n > 2 ? 1 : 0);
        cr_assert_eq(must_array(session, "spans.units").shape[0], n - 1);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

Test(spans, refusals) {
    static const char *const bad[][2] = {{"levels=4", "levels=4"}, {"power=9", "power=9"},
        {"range=last", "range=last"}, {"units=letters", "units=letters"}, {"memory=0", "memory=0"}};
    static psc_token tokens[600];
    psc_model *model = must_model(golden_embedded());
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_session *session = must_session(model, NULL, 1, 0);
        cr_assert_neq(psc_session_plugin(session, "spans", bad[i][0], &error), PSC_OK);
        cr_assert(strstr(error.message, bad[i][1]), "%s", error.message);
        psc_session_close(&session);
    }
    const fixture_run how = {.threads = 1};
    psc_session *session = open_spans(model, "memory=4", &how);
    for (int i = 0; i < 500; i++) tokens[i].id = i ? 1 + i % 90 : 0;
    const psc_input input = {0, 500, tokens};
    cr_assert_neq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_assert(
        strstr(error.message, "500 positions at 4 levels") && strstr(error.message, "memory=4 MiB"),
        "%s", error.message);
    must_run_one(session, tokens, 200); /* the session goes on */
    psc_session_close(&session);
    psc_model_close(&model);
}
