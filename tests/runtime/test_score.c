/* psc_session_score against logits of psc_session_run, one request at a time; bits for every order,
 * number of sequences, chunk, number of threads and isa; rows computed once; every refusal. */
#include "plugin_fixture.h"

#define MOST 200   /* requests */
#define LONGEST 12 /* tokens */

static psc_token tokens[MOST][LONGEST + 30];
static psc_score_request requests[MOST];
static psc_score scores[MOST];
static int32_t n_requests;

TestSuite(score, .init = fixture_open, .fini = fixture_close);

static uint32_t state = 1;

static int32_t draw(int32_t n) {
    state = state * 1664525u + 1013904223u;
    return (int32_t)((state >> 8) % (uint32_t)n);
}

/* Few different tokens, so that requests share beginnings, repeat each other and begin one another;
 * `common` tokens in front of all. */
static void draw_requests(int32_t n, int32_t common) {
    n_requests = n;
    for (int32_t i = 0; i < n; i++) {
        const int32_t length = common + 2 + draw(LONGEST - 2);
        for (int32_t t = 0; t < length; t++)
            tokens[i][t] = (psc_token){.id = t < common ? 3 + t : 7 * draw(3)};
        requests[i] = (psc_score_request){tokens[i], length, 1 + draw(length - 1)};
    }
}

static void must_score(psc_score *out, const psc_score_options *options) {
    cr_assert_eq(psc_session_score(out, session, requests, n_requests, options, &error), PSC_OK,
        "%s", error.message);
    for (int32_t k = 0; k < 3; k++) cr_assert_eq(psc_session_length(session, k), 0);
}

static void open_with(int32_t sequences, int32_t chunk, int32_t threads, const char *isa) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = sequences;
    options.chunk = chunk;
    options.threads = threads;
    options.isa = isa;
    options.capacity = 40;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

/* ln p of each token of a request from the logits of an ordinary run. */
static psc_score brute(const psc_score_request *r, double *log_p) {
    const int32_t v = psc_model_get_info(model)->d_vocab;
    const psc_input input = {0, r->n - 1, r->tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_score out = {0, r->n - r->begin, 0};
    options.logits = PSC_ROWS_ALL;
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(psc_session_run(session, &input, 1, &options, &error), PSC_OK);
    for (int32_t i = r->begin; i < r->n; i++) {
        const float *z = psc_session_logits(session, i - 1);
        const int32_t id = r->tokens[i].id;
        int32_t best = 0;
        double sum = 0;
        for (int32_t k = 0; k < v; k++) {
            sum += exp((double)z[k]);
            if (z[k] > z[best]) best = k;
        }
        log_p[i - r->begin] = z[id] - log(sum);
        out.sum += log_p[i - r->begin];
        out.n_greedy += best == id;
    }
    return out;
}

/* Makes the last token of a request the one that the model thinks most likely. */
static void end_greedily(psc_score_request *r) {
    const psc_input input = {0, r->n - 1, r->tokens};
    psc_session_truncate(session, 0, 0);
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_assert_eq(psc_session_sample(&tokens[r - requests][r->n - 1].id, session, NULL,
                     psc_session_logits(session, r->n - 2), &error),
        PSC_OK);
}

static int64_t count_answers(void) {
    int64_t n = 0;
    for (int32_t i = 0; i < n_requests; i++) n += requests[i].n - requests[i].begin;
    return n;
}

/* Distinct beginnings that are rows of some request. */
static int64_t count_rows(void) {
    int64_t n = 0;
    for (int32_t i = 0; i < n_requests; i++)
        for (int32_t t = 0; t < requests[i].n - 1; t++) {
            bool seen = false;
            for (int32_t j = 0; j < i && !seen; j++) {
                int32_t same = 0;
                while (same <= t && same < requests[j].n - 1 &&
                       tokens[j][same].id == tokens[i][same].id)
                    same++;
                seen = same > t;
            }
            n += !seen;
        }
    return n;
}

/* --- numbers --------------------------------------------------------------------------------- */

Test(score, equals_the_logits_of_runs) {
    double expected[LONGEST + 30];
    draw_requests(60, 0);
    for (int32_t i = 0; i < n_requests; i += 4) end_greedily(&requests[i]);
    const int64_t n = count_answers();
    double *log_p = calloc((size_t)n, sizeof *log_p), *at = log_p;
    psc_score_options options = PSC_SCORE_OPTIONS_INIT;
    options.log_p = log_p;
    options.log_p_capacity = n;
    must_score(scores, &options);
    int32_t greedy = 0;
    for (int32_t i = 0; i < n_requests; i++) {
        const psc_score one = brute(&requests[i], expected);
        cr_assert_eq(scores[i].n, one.n);
        cr_assert_eq(scores[i].n_greedy, one.n_greedy, "request %d", i);
        cr_assert_float_eq(scores[i].sum, one.sum, 1e-11);
        double sum = 0;
        for (int32_t t = 0; t < one.n; t++, at++) {
            cr_assert_float_eq(*at, expected[t], 1e-12, "request %d, token %d", i, t);
            sum += *at;
        }
        cr_assert_eq(sum, scores[i].sum);
        greedy += one.n_greedy;
    }
    cr_assert_geq(greedy, 15);
    free(log_p);
}

Test(score, bits_do_not_depend_on_the_work) {
    static const struct {
        int32_t sequences, chunk, threads;
        const char *isa;
    } work[] = {{1, 0, 1, NULL}, {2, 5, 2, NULL}, {7, 16, 1, "reference"}, {64, 0, 2, NULL},
        {200, 0, 1, NULL}, {300, 128, 3, NULL}};
    psc_score again[MOST];
    for (int32_t common = 0; common < 30; common += 20) {
        draw_requests(MOST, common);
        for (int32_t i = 0; i < n_requests; i++) /* alone */
            cr_assert_eq(
                psc_session_score(&scores[i], session, &requests[i], 1, NULL, &error), PSC_OK);
        for (size_t w = 0; w < sizeof work / sizeof *work; w++) {
            open_with(work[w].sequences, work[w].chunk, work[w].threads, work[w].isa);
            must_score(again, NULL);
            cr_assert(!memcmp(scores, again, sizeof scores), "work %zu, common %d", w, common);
            for (int32_t i = 0; i < n_requests / 2; i++) { /* the other way round */
                const psc_score_request other = requests[i];
                requests[i] = requests[n_requests - 1 - i];
                requests[n_requests - 1 - i] = other;
            }
            must_score(again, NULL);
            for (int32_t i = 0; i < n_requests; i++)
                cr_assert(!memcmp(&scores[i], &again[n_requests - 1 - i], sizeof *scores));
            for (int32_t i = 0; i < n_requests / 2; i++) {
                const psc_score_request other = requests[i];
                requests[i] = requests[n_requests - 1 - i];
                requests[n_requests - 1 - i] = other;
            }
        }
    }
}

/* --- work ------------------------------------------------------------------------------------ */

typedef struct seen {
    int64_t rows, logits;
} seen;

static int count_embed(const psc_event *event, void *payload) {
    ((seen *)payload)->rows += event->n_rows;
    return 0;
}

Test(score, shared_beginnings_are_computed_once) {
    int64_t rows = 0;
    seen counts = {0, 0};
    psc_score_options options = PSC_SCORE_OPTIONS_INIT;
    options.rows = &rows;
    draw_requests(MOST, 0);
    open_with(1, 0, 1, NULL);
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_EMBED, NULL, count_embed, &counts, &error), PSC_OK);
    must_score(scores, &options);
    cr_assert_eq(rows, count_rows());
    cr_assert_eq(counts.rows, rows);
    must_score(scores, &options);
    cr_assert_eq(rows, count_rows(), "no call remembers another");

    /* a beginning of all: once, not once per sequence */
    draw_requests(MOST, 25);
    open_with(16, 0, 1, NULL);
    must_score(scores, &options);
    int64_t once = count_rows();
    cr_assert_geq(rows, once);
    cr_assert_lt(
        rows, once + 15 * LONGEST, "%lld rows, at best %lld", (long long)rows, (long long)once);

    /* four answers to each of 16 questions: parts end between questions */
    n_requests = 64;
    for (int32_t i = 0; i < n_requests; i++) {
        for (int32_t t = 0; t < 10; t++)
            tokens[i][t] = (psc_token){.id = t == 0 ? i / 4 : t < 9 ? (i / 4 * 3 + t) % 50 : i % 4};
        requests[i] = (psc_score_request){tokens[i], 10, 9};
    }
    must_score(scores, &options);
    cr_assert_eq(rows, 16 * 9, "%lld rows", (long long)rows);
}

/* --- edits, ties, refusals ------------------------------------------------------------------- */

static int set_all(const psc_event *event, void *payload) {
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            event->tensor.data[r * event->tensor.stride[0] + i] = *(const float *)payload;
    return 0;
}

Test(score, sees_edits_and_gives_ties_to_the_lower_id) {
    float value = 1.5F;
    static const psc_token three[] = {{.id = 5}, {.id = 0}, {.id = 1}, {.id = 0}};
    const psc_score_request one = {three, 4, 1};
    psc_score score;
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_LOGITS, NULL, set_all, &value, &error), PSC_OK);
    cr_assert_eq(psc_session_score(&score, session, &one, 1, NULL, &error), PSC_OK);
    cr_assert_float_eq(score.sum, -3 * log(psc_model_get_info(model)->d_vocab), 1e-12);
    cr_assert_eq(score.n_greedy, 2);
    value = NAN;
    REFUSED(psc_session_score(&score, session, &one, 1, NULL, &error), PSC_ERROR_INPUT,
        "the logits of request 0 contain NaN or infinity");
    psc_session_unhook(session, &value);
    cr_assert_eq(psc_session_score(&score, session, &one, 1, NULL, &error), PSC_OK);
}

static void load(const char *plugin, const char *options, int32_t accumulate) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    how.n_sequences = 5;
    how.chunk = 3;
    how.capacity = 40;
    how.accumulate = accumulate;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_plugin(session, plugin, options, &error), PSC_OK, "%s", error.message);
}

/* Plugins that edit act on the rows that continuations share; others are refused. */
Test(score, plugins_that_edit) {
    static const char *const edits[][2] = {{"ablate", "at=L0H1"}, {"scale", "at=embed,alpha=0.5"},
        {"knockout", "at=L1H0,keys=1,rows=2-9"}};
    double expected[LONGEST + 30];
    draw_requests(40, 3);
    for (int e = 0; e < 3; e++) {
        psc_score want[40], plain[40];
        open_with(3, 0, 1, NULL);
        for (int32_t i = 0; i < n_requests; i++) plain[i] = brute(&requests[i], expected);
        load(edits[e][0], edits[e][1], 0);
        for (int32_t i = 0; i < n_requests; i++) want[i] = brute(&requests[i], expected);
        load(edits[e][0], edits[e][1], 1);
        must_score(scores, NULL);
        int changed = 0;
        for (int32_t i = 0; i < n_requests; i++) {
            cr_assert_float_eq(scores[i].sum, want[i].sum, 1e-11, "%s, %d", edits[e][0], (int)i);
            cr_assert_eq(scores[i].n_greedy, want[i].n_greedy);
            changed += fabs(want[i].sum - plain[i].sum) > 1e-9;
        }
        cr_assert_gt(changed, n_requests / 2);
    }
    load("ablate", "at=L0H1,rows=last", 1);
    REFUSED(psc_session_score(scores, session, requests, n_requests, NULL, &error), PSC_ERROR_STATE,
        "ablate edits last rows only");
    load("loss", "", 1);
    REFUSED(psc_session_score(scores, session, requests, n_requests, NULL, &error), PSC_ERROR_STATE,
        "loss observes rows");
}

static int score_inside(const psc_event *event, void *payload) {
    (void)event;
    psc_score score;
    const psc_score_request one = {ten, 3, 1};
    *(psc_status *)payload = psc_session_score(&score, session, &one, 1, NULL, NULL);
    return 0;
}

static int yes(void *payload) {
    (void)payload;
    return 1;
}

static int cancel(double done, const char *what, void *payload) {
    (void)payload;
    cr_assert(done >= 0 && done <= 1 && strcmp(what, "score") == 0);
    return done > 0.5;
}

Test(score, refusals) {
    static psc_token many[64];
    psc_score score;
    psc_score_request r = {ten, 3, 0};
    psc_score_options options = PSC_SCORE_OPTIONS_INIT;
    double log_p[3];
    REFUSED(psc_session_score(&score, session, &r, 1, NULL, &error), PSC_ERROR_INPUT,
        "request 0 has 0 tokens before its continuation");
    r.begin = 3;
    REFUSED(
        psc_session_score(&score, session, &r, 1, NULL, &error), PSC_ERROR_INPUT, "and 0 of it");
    r = (psc_score_request){many, 42, 1};
    REFUSED(psc_session_score(&score, session, &r, 1, NULL, &error), PSC_ERROR_INPUT,
        "capacity takes 40");
    r.n = 41;
    cr_assert_eq(psc_session_score(&score, session, &r, 1, NULL, &error), PSC_OK);
    many[40].id = psc_model_get_info(model)->d_vocab;
    REFUSED(psc_session_score(&score, session, &r, 1, NULL, &error), PSC_ERROR_INPUT,
        "token 40 of request 0");
    r = (psc_score_request){ten, 3, 1};
    options.log_p = log_p;
    options.log_p_capacity = 3;
    REFUSED(psc_session_score(&score, session, &r, 1, &options, &error), PSC_ERROR_INPUT,
        "have 2 tokens, but log_p is for 3");
    REFUSED(psc_session_score(&score, session, &r, -1, NULL, &error), PSC_ERROR_INPUT, "is -1");
    cr_assert_eq(psc_session_score(NULL, session, NULL, 0, NULL, &error), PSC_OK);

    psc_status inside = PSC_OK;
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_EMBED, NULL, score_inside, &inside, &error), PSC_OK);
    cr_assert_eq(psc_session_score(&score, session, &r, 1, NULL, &error), PSC_OK);
    cr_assert_eq(inside, PSC_ERROR_STATE);
    psc_session_unhook(session, &inside);
    cr_assert_eq(psc_session_plugin(session, "logits", NULL, &error), PSC_OK);
    REFUSED(psc_session_score(&score, session, &r, 1, NULL, &error), PSC_ERROR_STATE, "plugins");
}

Test(score, is_no_document_and_leaves_no_results) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_score score;
    const psc_score_request one = {ten, 10, 4};
    must_capture("all");
    must_run_ten();
    cr_assert_eq(psc_session_score(&score, session, &one, 1, NULL, &error), PSC_OK);
    cr_assert_eq(psc_results_capture_count(psc_session_results(session)), 0);
    cr_assert_null(psc_results_version(psc_session_results(session)));
    must_run_ten();
    cr_assert_gt(psc_results_capture_count(psc_session_results(session)), 0);

    options.accumulate = 1;
    options.capacity = 40;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    const psc_score before = score;
    cr_assert_eq(psc_session_score(&score, session, &one, 1, NULL, &error), PSC_OK);
    cr_assert(!memcmp(&score, &before, sizeof score));
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_results_get_corpus(&totals, psc_session_results(session), &error), PSC_OK);
    cr_assert(totals.windows == 0 && totals.tokens == 0);
}

Test(score, cancels_and_goes_on) {
    psc_score_options options = PSC_SCORE_OPTIONS_INIT;
    psc_score again[MOST];
    draw_requests(MOST, 0);
    must_score(scores, NULL);
    options.stop = yes;
    REFUSED(psc_session_score(again, session, requests, n_requests, &options, &error),
        PSC_ERROR_CANCELLED, "cancelled");
    options.stop = NULL;
    options.progress = cancel;
    REFUSED(psc_session_score(again, session, requests, n_requests, &options, &error),
        PSC_ERROR_CANCELLED, "cancelled");
    must_score(again, NULL);
    cr_assert(!memcmp(scores, again, sizeof scores));
    must_run_ten();
    cr_assert_not_null(psc_session_logits(session, 9), "ordinary runs keep logits as before");
}
