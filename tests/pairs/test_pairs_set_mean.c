/* The mean over all source prompts of a set (do=set_mean): circuits have the bits of one run with these
 * prompts as its sources, attributions agree with float64, in any order and number of sequences. */
#include "pairs_fixture.h"

#include <math.h>

TestSuite(pairs_set_mean, .init = fixture_open, .fini = pairs_fixture_close);

enum { N = 3, LONGEST = 5, COUNT = 4 + 3 + 5 }; /* rows of all corrupt prompts */

/* By their contents, which is the order of the sums. */
static const char *const lines[N] = {
    "{\"clean\": [3, 17, 5, 79], \"corrupt\": [3, 18, 5, 79], \"target\": 4, \"contrast\": 9}",
    "{\"clean\": [8, 17, 5], \"corrupt\": [8, 19, 6], \"target\": 2, \"contrast\": 1}",
    "{\"clean\": [70, 71, 72, 73, 74], \"corrupt\": [70, 71, 72, 73, 75], \"target\": 5}",
};

static void read_set(int back) {
    char text[1000] = "";
    for (int i = 0; i < N; i++) {
        strcat(text, lines[back ? N - 1 - i : i]);
        strcat(text, "\n");
    }
    must_read_pairs(text, PSC_ALIGN_EQUAL);
}

static psc_results *run_set(int back, int32_t sequences, const char *name, const char *options) {
    psc_pairs_run_options run = PSC_PAIRS_RUN_OPTIONS_INIT;
    psc_results *results = NULL;
    read_set(back);
    open_for_pairs(sequences, 1 + back, 2 + back);
    must_load(name, options);
    run.draws = -1;
    for (int i = 0; i < 2; i++) { /* a second set of the session begins anew */
        psc_results_close(&results);
        cr_assert_eq(
            psc_pairs_run(&results, session, pairs, &run, &error), PSC_OK, "%s", error.message);
    }
    return results;
}

static psc_status run_one(
    int32_t i, int corrupt, int32_t phase, int32_t source, const psc_metric *metric) {
    const psc_pair pair = must_pair(i);
    const psc_input input = {
        0, corrupt ? pair.n_corrupt : pair.n_clean, corrupt ? pair.corrupt : pair.clean};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.phase = phase;
    options.source = source;
    options.metric = metric;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static void open_alone(int32_t target) {
    char name[20];
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    snprintf(name, sizeof name, "#%d", (int)target);
    cr_assert_eq(psc_session_target(session, name, &error), PSC_OK, "%s", error.message);
}

Test(pairs_set_mean, circuit) {
    static const char *const names[] = {
        "circuit.score", "circuit.curve_value", "circuit.curve_faithfulness"};
    psc_results *set = run_set(0, 1, "circuit", "do=set_mean,minimal=0");
    psc_results *back = run_set(1, 2, "circuit", "do=set_mean,minimal=0");
    psc_results *own = run_set(0, 1, "circuit", "do=mean,minimal=0");
    read_set(0);
    open_alone(5);
    must_load("circuit", "do=mean,minimal=0");
    for (int32_t i = 0; i < N; i++)
        cr_assert_eq(run_one(i, 1, PSC_PHASE_SOURCE, i, NULL), PSC_OK, "%s", error.message);
    cr_assert_eq(run_one(N - 1, 0, PSC_PHASE_CHANGED, 0, NULL), PSC_OK, "%s", error.message);
    for (int k = 0; k < 3; k++) {
        const psc_array of_set = array_of(set, names[k]), of_back = array_of(back, names[k]);
        const psc_array of_own = array_of(own, names[k]);
        const psc_array one = array_of(psc_session_results(session), names[k]);
        const size_t each = bytes_of(&one);
        cr_assert_eq(bytes_of(&of_set), N * each);
        const char *last = (const char *)of_set.data + (N - 1) * each;
        cr_assert(memcmp(last, one.data, each) == 0, "%s", names[k]);
        cr_assert(memcmp(last, of_back.data, each) == 0, "%s", names[k]);
        cr_assert(memcmp(last, (const char *)of_own.data + (N - 1) * each, each) != 0);
    }
    psc_results_close(&set);
    psc_results_close(&back);
    psc_results_close(&own);
}

/* sum over rows of (mean - z) . g of each head, in float64, from captures. */
static void estimate(double *out, int32_t layers, int32_t heads, int32_t d_head) {
    static double mean[8][256], z[LONGEST][256];
    const int32_t width = heads * d_head;
    psc_metric_term term = PSC_METRIC_TERM_INIT;
    psc_metric metric = PSC_METRIC_INIT;
    cr_assert(layers <= 8 && width <= 256);
    read_set(0);
    open_alone(5);
    cr_assert_eq(psc_session_capture(session, "blocks.*.attn.hook_z", &error), PSC_OK);
    cr_assert_eq(psc_session_capture(session, "blocks.*.attn.hook_z_grad", &error), PSC_OK);
    term.row = LONGEST - 1;
    term.token = 5;
    metric.terms = &term;
    metric.n_terms = 1;
    for (int32_t i = 0; i <= N; i++) {
        const int32_t at = i < N ? i : N - 1;
        term.row = (at == 0 ? 4 : at == 1 ? 3 : 5) - 1;
        cr_assert_eq(run_one(at, i < N, PSC_PHASE_ONLY, 0, &metric), PSC_OK, "%s", error.message);
        for (int32_t l = 0; l < layers; l++) {
            char name[60];
            snprintf(name, sizeof name, "blocks.%d.attn.hook_z", (int)l);
            const psc_array value = array_of(psc_session_results(session), name);
            strcat(name, "_grad");
            const psc_array gradient = array_of(psc_session_results(session), name);
            for (int32_t r = 0; r <= term.row; r++)
                for (int32_t k = 0; k < width; k++) {
                    const double v = ((const float *)value.data)[r * width + k];
                    z[r][k] = v;
                    if (i < N)
                        mean[l][k] += v / COUNT;
                    else
                        out[l * heads + k / d_head] +=
                            (mean[l][k] - z[r][k]) *
                            (double)((const float *)gradient.data)[r * width + k];
                }
        }
    }
}

Test(pairs_set_mean, attribution) {
    const psc_model_info *info = psc_model_get_info(model);
    const int32_t cells = info->n_layers * info->n_heads;
    psc_results *set = run_set(0, 1, "attribution", "do=set_mean");
    psc_results *back = run_set(1, 3, "attribution", "do=set_mean");
    double want[64] = {0}, most = 0;
    cr_assert_leq(cells, 64);
    estimate(want, info->n_layers, info->n_heads, info->d_model / info->n_heads);
    const psc_array x = array_of(set, "attribution.estimate");
    const psc_array y = array_of(back, "attribution.estimate");
    const double *got = (const double *)x.data + (N - 1) * cells;
    cr_assert_eq(bytes_of(&x), N * (size_t)cells * sizeof(double));
    cr_assert(memcmp(got, y.data, (size_t)cells * sizeof(double)) == 0);
    for (int32_t i = 0; i < cells; i++) most = fmax(most, fabs(want[i]));
    cr_assert_gt(most, 1e-3);
    for (int32_t i = 0; i < cells; i++)
        cr_assert_float_eq(got[i], want[i], 1e-5 * most, "%d: %g, not %g", i, got[i], want[i]);
    psc_results_close(&set);
    psc_results_close(&back);
}

/* One prompt is no set; edges have no mean. */
Test(pairs_set_mean, refusals) {
    static const char *const names[] = {"circuit", "attribution"};
    for (int k = 0; k < 2; k++) {
        read_set(0);
        open_alone(5);
        must_load(names[k], "do=set_mean");
        REFUSED(run_one(0, 0, PSC_PHASE_ONLY, 0, NULL), PSC_ERROR_PLUGIN, names[k], "--pairs");
    }
    cr_assert_neq(
        psc_session_plugin(session, "attribution", "over=edges,do=set_mean", &error), PSC_OK);
    cr_assert(strstr(error.message, "do=set_mean"), "%s", error.message);
}

/* A plugin that did not ask does not see the whole set. */
Test(pairs_set_mean, only_for_those_who_ask) {
    psc_results *alone = run_set(0, 1, "sweep", "do=patch");
    psc_pairs_run_options run = PSC_PAIRS_RUN_OPTIONS_INIT;
    psc_results *both = NULL;
    run.draws = -1;
    must_load("circuit", "do=set_mean,edges=3,minimal=0");
    cr_assert_eq(psc_pairs_run(&both, session, pairs, &run, &error), PSC_OK, "%s", error.message);
    const psc_array x = array_of(alone, "sweep.effect"), y = array_of(both, "sweep.effect");
    cr_assert_eq(bytes_of(&x), bytes_of(&y));
    cr_assert(memcmp(x.data, y.data, bytes_of(&x)) == 0);
    psc_results_close(&alone);
    psc_results_close(&both);
}
