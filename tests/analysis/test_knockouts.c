/* Knock-outs (analysis/kit/knockouts.c) against runs of the plugin knockout, one at a time: KL of
 * their logits in long double within 1e-9, and to the bit by the kit's own measure; the same bits
 * for every number of threads, chunk, batch and ISA; refusals. */
#include "golden.h"
#include "knockouts.h"
#include "plugin_fixture.h"

enum { N_TOKENS = 18, MOST_ROWS = 2 * N_TOKENS };

/* A unit of one token, of several, all but one unit of a span, a single row, a unit's own rows. */
static const psc_knockout cases[] = {
    {16, N_TOKENS, {15, 0}, {16, 0}, 0},
    {9, N_TOKENS, {8, 0}, {9, 0}, 0},
    {9, N_TOKENS, {3, 0}, {6, 0}, 0},
    {9, N_TOKENS, {3, 6}, {5, 9}, 0},
    {9, N_TOKENS, {1, 4}, {3, 9}, 0},
    {5, 12, {2, 0}, {4, 0}, 0},
    {5, 8, {1, 0}, {5, 0}, 1},
    {5, 6, {4, 0}, {5, 0}, 1},
    {4, N_TOKENS, {1, 0}, {4, 0}, 0},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static psc_token text[N_TOKENS];
static psc_knockouts knockouts;
static int32_t measured_first, measured_rows; /* rows of the run that the bridge measures */
static struct effect { double kl, dlogp; } effects[N_CASES];
static float *changed[N_CASES]; /* [N_TOKENS, V] logits of the plugin's run */
static double again[N_CASES];   /* kl of these by the kit's measure */

/* --- the kit, in the bridge ------------------------------------------------------------------ */

static psc_context *context;

static int keep_context(psc_context *given_context, const psc_host *given, void **state) {
    (void)state;
    host = given;
    context = given_context;
    return 0;
}

static int on_begin(psc_context *c, void *state) {
    (void)state;
    return psc_knockouts_begin(c, host, &knockouts);
}

/* The kit's measure of the logits that the plugin's runs gave. */
static void measure_again(int i) {
    const psc_knockout *cut = &cases[i];
    const int64_t n_vocab = host->model(context)->d_vocab;
    const int32_t end = cut->row_end;
    const int32_t begin = cases[i].last_only ? end - 1 : cut->row_begin;
    int32_t index[N_TOKENS];
    double kl[N_TOKENS], sum = 0;
    for (int32_t r = begin; r < end; r++) index[r - begin] = measured_first + r;
    psc_divergence_rows(
        &knockouts.base, end - begin, index, changed[i] + begin * n_vocab, n_vocab, kl, NULL);
    for (int32_t r = 0; r < end - begin; r++) sum += kl[r];
    again[i] = sum;
}

static int on_end(psc_context *c, void *state, int status) {
    (void)state, (void)c;
    if (status) return 0;
    if (psc_knockouts_open(&knockouts, measured_first, measured_rows)) return -1;
    for (int i = 0; i < N_CASES; i++) knockouts.all += cases[i].row_end - cases[i].row_begin;
    for (int i = 0; i < N_CASES; i++)
        if (psc_knockouts_add(&knockouts, &cases[i], &effects[i].kl, &effects[i].dlogp)) return -1;
    if (psc_knockouts_flush(&knockouts)) return -1;
    for (int i = 0; i < N_CASES && changed[0]; i++) measure_again(i);
    return 0;
}

static void open_way(const char *isa, int32_t threads, int32_t chunk) {
    session = must_session(model, isa, threads, chunk);
    find_bridge();
    bridge->open = keep_context;
    bridge->run_begin = on_begin;
    bridge->run_end = on_end;
    must_load(PLUGIN("bridge"), NULL);
}

/* batch: the text is sequence 1 of two. */
static void run_kit(int batch) {
    const psc_input inputs[2] = {{0, 7, text + 3}, {batch, N_TOKENS, text}};
    measured_first = batch ? 7 : 0;
    measured_rows = N_TOKENS;
    must_run(session, inputs + 1 - batch, 1 + batch);
}

/* --- one at a time, with the plugin knockout -------------------------------------------------- */

static void load_knockout(psc_session *other, const psc_knockout *cut, int range) {
    char options[128];
    if (cut->from[range] == cut->to[range]) return;
    snprintf(options, sizeof options, "at=L*H*,keys=%d-%d,rows=%d-%d", cut->from[range],
        cut->to[range] - 1, cut->row_begin, cut->row_end - 1);
    cr_assert_eq(psc_session_plugin(other, "knockout", options, &error), PSC_OK, "%s: %s", options,
        error.message);
}

/* Logits of all rows, unchanged without a cut. */
static float *run_alone(const psc_knockout *cut) {
    const size_t n_vocab = (size_t)psc_model_get_info(model)->d_vocab;
    psc_session *other = must_session(model, NULL, 1, 0);
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = PSC_ROWS_ALL;
    const psc_input input = {0, N_TOKENS, text};
    for (int range = 0; cut && range < 2; range++) load_knockout(other, cut, range);
    cr_assert_eq(psc_session_run(other, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    float *logits = malloc(N_TOKENS * n_vocab * sizeof *logits);
    for (int32_t r = 0; r < N_TOKENS; r++)
        memcpy(logits + (size_t)r * n_vocab, psc_session_logits(other, r), n_vocab * sizeof(float));
    psc_session_close(&other);
    return logits;
}

static long double log_sum(const float *z, int n) {
    long double most = -INFINITY, sum = 0;
    for (int t = 0; t < n; t++) most = fmaxl(most, z[t]);
    for (int t = 0; t < n; t++) sum += expl(z[t] - most);
    return most + logl(sum);
}

static long double kl_of(const float *z, const float *y, int n) {
    const long double a = log_sum(z, n), b = log_sum(y, n);
    long double kl = 0;
    for (int t = 0; t < n; t++) kl += expl(z[t] - a) * ((z[t] - a) - (y[t] - b));
    return kl;
}

static void check_case(int i, const float *base) {
    const psc_knockout *cut = &cases[i];
    const int n_vocab = psc_model_get_info(model)->d_vocab;
    const int end = cut->row_end;
    long double kl = 0;
    for (int r = cases[i].last_only ? end - 1 : cut->row_begin; r < end; r++)
        kl += kl_of(base + r * n_vocab, changed[i] + r * n_vocab, n_vocab);
    cr_assert(kl > 1e-6, "case %d changes nothing: %Lg", i, kl);
    cr_assert(fabsl(effects[i].kl - kl) <= 1e-9L, "case %d: %.17g, should be %.17Lg", i,
        effects[i].kl, kl);
    cr_assert_eq(effects[i].kl, again[i], "case %d: other bits", i);
    const float *z = base + (end - 1) * n_vocab, *y = changed[i] + (end - 1) * n_vocab;
    if (end == N_TOKENS) {
        cr_assert(isnan(effects[i].dlogp), "the last row has no next token");
        return;
    }
    const int next = text[end].id;
    const long double dlogp = (y[next] - log_sum(y, n_vocab)) - (z[next] - log_sum(z, n_vocab));
    cr_assert(fabsl(effects[i].dlogp - dlogp) <= 1e-9L, "case %d: dlogp %.17g, should be %.17Lg", i,
        effects[i].dlogp, dlogp);
}

static void check_model(const char *folder) {
    model = must_model(folder);
    const int n_vocab = psc_model_get_info(model)->d_vocab;
    for (int i = 0; i < N_TOKENS; i++) text[i].id = i ? (i * 37 + 11) % n_vocab : 0;
    float *base = run_alone(NULL);
    for (int i = 0; i < N_CASES; i++) changed[i] = run_alone(&cases[i]);
    open_way(NULL, 2, 0);
    run_kit(0);
    for (int i = 0; i < N_CASES; i++) check_case(i, base);
    for (int i = 0; i < N_CASES; i++) free(changed[i]);
    changed[0] = NULL;
    free(base);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(knockouts, equal_one_at_a_time_parallel) {
    check_model(golden_path("parallel_f32", NULL));
}

Test(knockouts, equal_one_at_a_time_sequential) {
    check_model(golden_path("sequential_f32", NULL));
}

Test(knockouts, equal_one_at_a_time_odd_sizes) {
    check_model(golden_path("odd_sizes", NULL));
}

Test(knockouts, equal_one_at_a_time_embedded) {
    if (golden_embedded()) check_model(golden_embedded());
}

Test(knockouts, bits) {
    static const struct {
        const char *isa;
        int32_t threads, chunk;
        int batch;
    } ways[] = {{"reference", 1, 0, 0}, {"reference", 2, 5, 0}, {NULL, 3, 1, 0}, {NULL, 2, 4, 1}};
    model = must_model(golden_embedded() ? golden_embedded() : golden_path("odd_sizes", NULL));
    for (int i = 0; i < N_TOKENS; i++) text[i].id = i * 5 % 97;
    open_way(NULL, 1, 0);
    run_kit(0);
    psc_session_close(&session);
    struct effect first[N_CASES];
    memcpy(first, effects, sizeof effects);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        memset(effects, 0, sizeof effects);
        open_way(ways[w].isa, ways[w].threads, ways[w].chunk);
        run_kit(ways[w].batch);
        for (int i = 0; i < N_CASES; i++) {
            cr_assert_eq(first[i].kl, effects[i].kl, "way %d case %d", (int)w, i);
            cr_assert(memcmp(&first[i].dlogp, &effects[i].dlogp, 8) == 0 || isnan(first[i].dlogp));
        }
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

static int stop_half_way(double done, const char *what, void *payload) {
    (void)what;
    *(double *)payload = done;
    return done > 0.5;
}

Test(knockouts, cancelled) {
    double done = 0;
    model = must_model(golden_path("parallel_f32", NULL));
    for (int i = 0; i < N_TOKENS; i++) text[i].id = i * 5 % 80;
    open_way(NULL, 1, 0);
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.progress = stop_half_way;
    options.payload = &done;
    const psc_input input = {0, N_TOKENS, text};
    measured_rows = N_TOKENS;
    memset(effects, 0xff, sizeof effects);
    cr_assert_eq(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_CANCELLED);
    cr_assert(done > 0.5 && done < 1.0, "%g", done);
    cr_assert(isnan(effects[N_CASES - 1].kl), "work went on after the cancellation");
    psc_session_close(&session);
    psc_model_close(&model);
}
