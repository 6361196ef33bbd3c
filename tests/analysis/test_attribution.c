/* The plugin attribution: estimates against autograd in float64 and TransformerLens by hand, exact
 * effects against sweep and float64, the statistics of both, bits, and refusals. */
#include "attribution_fixture.h"

#define WITHOUT ",exact=0,sample=0"
#define ALL ",exact=20,sample=10000"

static psc_session *attributed(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    must_plugin(session, "attribution", options);
    add_targets(session);
    cr_assert_eq(
        run_phase(session, source_ids, N_IDS, PSC_PHASE_SOURCE), PSC_OK, "%s", error.message);
    cr_assert_eq(
        run_phase(session, fixture_ids, N_IDS, PSC_PHASE_CHANGED), PSC_OK, "%s", error.message);
    return session;
}

/* "heads-patch-logit" and tl_OVER, a patch of the first target. */
static int parse_case(const char *name, char *options, size_t size) {
    char over[32], what[32] = "patch", metric[32] = "logit";
    if (strncmp(name, "tl_", 3) == 0)
        snprintf(over, sizeof over, "%s", name + 3);
    else if (strncmp(name, "exact-", 6) == 0 || strncmp(name, "end-", 4) == 0 ||
             sscanf(name, "%31[^-]-%31[^-]-%31s", over, what, metric) != 3)
        return 0;
    snprintf(options, size, "over=%s,do=%s,metric=%s" WITHOUT, over, what, metric);
    return 1;
}

/* kl: the gradient q - p at the logits is a difference, so the f32 run's error in q and p counts
 * 1/|q - p| times. The largest |q - p| is 0.35 in the sequential model and 0.056 in the parallel one,
 * where q - p of PyTorch's float32 logits errs by 1.1e-5 of its largest, and of ours by 7.8e-6. */
static void check_estimates(const char *model_name, int n, double kl) {
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path(model_name, NULL));
    psc_tensors *golden = attribution_golden(model_name);
    int compared = 0;
    for (size_t i = 0; i < golden->count; i++) {
        const psc_tensor *want = &golden->items[i];
        const int lens = strncmp(want->name, "tl_", 3) == 0;
        char options[160];
        if (!parse_case(want->name, options, sizeof options)) continue;
        psc_session *session = attributed(model, options, &how);
        const psc_array got = must_array(session, "attribution.estimate");
        const int64_t count = tensor_count(want);
        cr_assert_eq(array_count(&got), lens ? 2 * count : count, "%s", want->name);
        const double worst = compare_part(&got, 0, want, count);
        const double bound = lens ? 2e-4 : strstr(want->name, "-kl") ? kl : 1e-5;
        cr_assert_leq(worst, bound, "%s errs by %.3g of the largest", want->name, worst);
        if (getenv("PSC_TEST_VERBOSE")) fprintf(stderr, "%-28s %.1e\n", want->name, worst);
        psc_session_close(&session);
        compared++;
    }
    cr_assert_eq(compared, n);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

Test(attribution, estimates_of_a_parallel_model) {
    check_estimates("parallel_f32", 20, 2e-5);
}

Test(attribution, estimates_of_a_sequential_model) {
    check_estimates("sequential_f32", 17, 1e-5);
}

/* --- exact effects --------------------------------------------------------------------------- */

/* Of all neurons, in the order of layers and neurons. */
Test(attribution, effects_of_neurons) {
    static const char *const done[] = {"zero", "mean", "patch"};
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_tensors *golden = attribution_golden("parallel_f32");
    for (int d = 0; d < 3; d++) {
        char options[160], name[64];
        snprintf(options, sizeof options, "over=neurons,do=%s" ALL, done[d]);
        snprintf(name, sizeof name, "exact-neurons-%s", done[d]);
        psc_session *session = attributed(model, options, &how);
        const psc_array got = must_array(session, "attribution.cell_exact");
        const psc_tensor *want = golden_find(golden, name);
        cr_assert_eq(array_count(&got), tensor_count(want));
        const double worst = compare_part(&got, 0, want, tensor_count(want));
        cr_assert_leq(worst, 5e-5, "%s errs by %.3g of the largest", name, worst);
        psc_session_close(&session);
    }
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

/* By the gradients of changed runs: only of cases, each of which has a fault. */
Test(attribution, from_the_changed_run) {
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_tensors *golden = attribution_golden("parallel_f32");
    int compared = 0;
    for (size_t i = 0; i < golden->count; i++) {
        const psc_tensor *want = &golden->items[i];
        char over[32], what[32], options[160];
        if (sscanf(want->name, "end-%31[^-]-%31s", over, what) != 2) continue;
        snprintf(options, sizeof options, "over=%s,do=%s" ALL, over, what);
        psc_session *session = attributed(model, options, &how);
        const psc_array end = must_array(session, "attribution.cell_end");
        const psc_array estimate = must_array(session, "attribution.cell_estimate");
        const psc_array exact = must_array(session, "attribution.cell_exact");
        cr_assert_eq(array_count(&end), tensor_count(want), "%s", want->name);
        double most = 0.0;
        for (int64_t c = 0; c < array_count(&end); c++) most = fmax(most, fabs(tensor_at(want, c)));
        for (int64_t c = 0; c < array_count(&end); c++) {
            const double x = array_at(&end, c), a = array_at(&estimate, c), b = array_at(&exact, c);
            if (isnan(x)) continue;
            cr_assert(a * b < 0 || fabs(a) < fabs(b) / 4, "%s cell %ld", want->name, (long)c);
            cr_assert_leq(fabs(x - tensor_at(want, c)), 1e-5 * most,
                "%s cell %ld: %g, should be %g", want->name, (long)c, x, tensor_at(want, c));
            compared++;
        }
        psc_session_close(&session);
    }
    cr_assert_geq(compared, 10, "only %d cases", compared);
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

/* A checked cell's place in an array of sweep's: cells go by layer, the last row first, then by
 * index. edges: of layer 1. */
static void next_cell(int64_t *layer, int64_t *row, int64_t *unit, int64_t units, int64_t rows) {
    if (++*unit < units) return;
    *unit = 0;
    if (--*row >= 0) return;
    *row = rows - 1;
    ++*layer;
}

/* n_rows of the prompt; sweep has NaN where a row has no source, which is then no checked cell. */
static void compare_with_sweep(
    psc_session *session, const char *over, int64_t heads, int64_t n_rows, int64_t n_targets) {
    const psc_array got = must_array(session, "attribution.cell_exact");
    const psc_array want = must_array(session, "sweep.effect");
    const int by_head = strncmp(over, "heads", 5) == 0, by_row = strcmp(over, "heads") != 0;
    const int64_t rows = by_row ? n_rows : 1, units = by_head ? heads : 1;
    const int64_t n = array_count(&want) / n_targets, cells = array_count(&got) / n_targets;
    int64_t layer = 0, row = rows - 1, unit = 0, nonzero = 0, c = 0;
    for (int64_t i = 0; i < n; i++, next_cell(&layer, &row, &unit, units, rows)) {
        const int64_t at = (layer * units + unit) * rows + row;
        if (isnan(array_at(&want, at))) continue;
        cr_assert_lt(c, cells);
        for (int64_t t = 0; t < n_targets; t++) {
            const double a = array_at(&got, t * cells + c), b = array_at(&want, t * n + at);
            cr_assert_eq(a, b, "%s cell %ld: %g, sweep has %g", over, (long)c, a, b);
            nonzero += a != 0.0;
        }
        c++;
    }
    cr_assert_eq(c, cells, "%s", over);
    cr_assert_gt(nonzero, 0);
}

/* A pair of a set, whose rows are aligned with others of the source, or with none. */
static void run_pair(psc_session *session, int n, const int32_t *from, int n_source, int shift) {
    for (int phase = PSC_PHASE_SOURCE; phase <= PSC_PHASE_CHANGED; phase += 2) {
        const int source = phase == PSC_PHASE_SOURCE;
        psc_token tokens[8] = {{0}};
        for (int i = 0; i < 8; i++)
            tokens[i].id =
                source ? fixture_ids[(i + shift) % N_IDS] + (i == 2) : fixture_ids[i % 5];
        const psc_input input = {0, source ? n_source : n, tokens};
        const psc_example example = {0, 5, -1, source ? NULL : from};
        psc_run_options options = PSC_RUN_OPTIONS_INIT;
        options.phase = phase;
        options.examples = &example;
        psc_session_truncate(session, 0, 0);
        cr_assert_eq(
            psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    }
}

Test(attribution, aligned_pairs) {
    static const char *const overs[] = {"heads", "heads_by_pos", "resid_pre", "mlp_out"};
    static const int32_t shifted[] = {1, 2, 3, 4}, some[] = {0, -1, 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    const int64_t heads = psc_model_get_info(model)->n_heads;
    for (int o = 0; o < 4; o++)
        for (int p = 0; p < 2; p++) {
            char options[160];
            psc_session *session = must_session(model, NULL, 2, 0);
            snprintf(options, sizeof options, "over=%s,do=patch", overs[o]);
            must_plugin(session, "sweep", options);
            snprintf(options, sizeof options, "over=%s,do=patch" ALL, overs[o]);
            must_plugin(session, "attribution", options);
            cr_assert_eq(psc_session_target(session, "example", &error), PSC_OK);
            run_pair(session, p ? 3 : 4, p ? some : shifted, p ? 2 : 5, p ? 0 : 4);
            compare_with_sweep(session, overs[o], heads, p ? 3 : 4, 1);
            psc_session_close(&session);
        }
    psc_model_close(&model);
}

/* The bits of sweep's effects; `next` is a target at an earlier row. */
Test(attribution, effects_are_those_of_sweep) {
    static const char *const overs[] = {
        "heads", "heads_by_pos", "resid_pre", "attn_out", "mlp_out"};
    static const char *const done[] = {"zero", "mean", "patch"};
    static const char *const metrics[] = {"logit", "log_prob"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int o = 0; o < 5; o++)
        for (int d = 0; d < 3; d++) {
            char options[160];
            psc_session *session = must_session(model, NULL, 2, 0);
            const size_t length = (size_t)snprintf(options, sizeof options,
                "over=%s,do=%s,metric=%s", overs[o], done[d], metrics[(o + d) % 2]);
            must_plugin(session, "sweep", options);
            snprintf(options + length, sizeof options - length, ALL);
            must_plugin(session, "attribution", options);
            add_targets(session);
            cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
            cr_assert_eq(run_phase(session, source_ids, N_IDS, PSC_PHASE_SOURCE), PSC_OK);
            cr_assert_eq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_CHANGED), PSC_OK, "%s",
                error.message);
            compare_with_sweep(session, overs[o], psc_model_get_info(model)->n_heads, N_IDS, 3);
            psc_session_close(&session);
        }
    psc_model_close(&model);
}

/* Edges: those of layer 1 are the later half of the cells. */
Test(attribution, effects_of_edges) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    const int64_t heads = psc_model_get_info(model)->n_heads, rows = N_IDS;
    psc_session *session = must_session(model, NULL, 2, 0);
    must_plugin(session, "sweep", "over=edges,do=patch,layer=1");
    must_plugin(session, "attribution", "over=edges,do=patch" ALL);
    add_targets(session);
    cr_assert_eq(run_phase(session, source_ids, N_IDS, PSC_PHASE_SOURCE), PSC_OK);
    cr_assert_eq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_CHANGED), PSC_OK);
    const psc_array got = must_array(session, "attribution.cell_exact");
    const psc_array want = must_array(session, "sweep.effect");
    const int64_t cells = array_count(&got) / 2;
    cr_assert_eq(cells, 2 * heads * rows * (rows + 1) / 2);
    for (int64_t t = 0; t < 2; t++) {
        int64_t i = cells / 2;
        for (int64_t k = rows; k-- > 0;)
            for (int64_t h = 0; h < heads; h++)
                for (int64_t j = 0; j <= k; j++, i++)
                    cr_assert_eq(array_at(&got, t * cells + i),
                        array_at(&want, ((t * heads + h) * rows + k) * rows + j));
        cr_assert_eq(i, cells);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- statistics ------------------------------------------------------------------------------ */

/* Ranks from 1; equal values share their mean. */
static void rank(int n, const double *x, double *out) {
    for (int i = 0; i < n; i++) {
        double below = 0, equal = 0;
        for (int j = 0; j < n; j++) {
            below += x[j] < x[i];
            equal += x[j] == x[i];
        }
        out[i] = below + (equal + 1) / 2;
    }
}

static double correlation(int n, const double *x, const double *y) {
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < n; i++) mx += x[i] / n, my += y[i] / n;
    for (int i = 0; i < n; i++) {
        xx += (x[i] - mx) * (x[i] - mx);
        yy += (y[i] - my) * (y[i] - my);
        xy += (x[i] - mx) * (y[i] - my);
    }
    return xy / sqrt(xx * yy);
}

static void check_set(const psc_session *session, int t, int set, int want_n) {
    const psc_array estimate = must_array(session, "attribution.cell_estimate");
    const psc_array exact = must_array(session, "attribution.cell_exact");
    const psc_array largest = must_array(session, "attribution.cell_largest");
    const psc_array sampled = must_array(session, "attribution.cell_sampled");
    const int n_cells = (int)exact.shape[1];
    double x[400], y[400], rx[400], ry[400], bias = 0, squares = 0, most = 0;
    int n = 0, wrong = 0, small = 0;
    for (int i = 0; i < n_cells; i++) most = fmax(most, fabs(array_at(&exact, t * n_cells + i)));
    for (int i = 0; i < n_cells; i++) {
        const double a = array_at(&estimate, t * n_cells + i),
                     b = array_at(&exact, t * n_cells + i);
        if (set ? array_at(&sampled, i) == 0 : array_at(&largest, t * n_cells + i) == 0) continue;
        x[n] = a;
        y[n++] = b;
        bias += a - b;
        squares += (a - b) * (a - b);
        wrong += a * b < 0;
        small += a * b >= 0 && fabs(b) >= most / 10 && fabs(a) < fabs(b) / 4;
    }
    cr_assert_eq(n, want_n);
    rank(n, x, rx);
    rank(n, y, ry);
    const struct {
        const char *name;
        double want;
    } all[] = {{"attribution.checked", n}, {"attribution.bias", bias / n},
        {"attribution.error", sqrt(squares / n)}, {"attribution.correlation", correlation(n, x, y)},
        {"attribution.spearman", correlation(n, rx, ry)}, {"attribution.wrong_sign", wrong},
        {"attribution.small", small}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const psc_array got = must_array(session, all[i].name);
        cr_assert_float_eq(array_at(&got, 2 * t + set), all[i].want, 1e-9, "%s: %g, should be %g",
            all[i].name, array_at(&got, 2 * t + set), all[i].want);
    }
}

/* The largest are the largest, the sample has its size and another seed has another one. */
Test(attribution, statistics) {
    const fixture_run how = {.threads = 2};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = attributed(model, "over=neurons,exact=30,sample=50,seed=3", &how);
    psc_session *other = attributed(model, "over=neurons,exact=30,sample=50,seed=4", &how);
    for (int t = 0; t < 2; t++) {
        check_set(session, t, 0, 30);
        check_set(session, t, 1, 50);
        check_set(other, t, 1, 50);
    }
    const psc_array a = must_array(session, "attribution.correlation");
    const psc_array b = must_array(other, "attribution.correlation");
    cr_assert_eq(array_at(&a, 0), array_at(&b, 0)); /* the largest */
    cr_assert_neq(array_at(&a, 1), array_at(&b, 1));
    const psc_array estimate = must_array(session, "attribution.estimate");
    const psc_array cells = must_array(session, "attribution.cell_estimate");
    const psc_array largest = must_array(session, "attribution.cell_largest");
    double least = INFINITY;
    for (int64_t i = 0; i < cells.shape[1]; i++)
        if (array_at(&largest, i) != 0) least = fmin(least, fabs(array_at(&cells, i)));
    int64_t above = 0;
    for (int64_t i = 0; i < array_count(&estimate) / 2; i++)
        above += fabs(array_at(&estimate, i)) >= least;
    cr_assert_eq(above, 30);
    psc_session_close(&session);
    psc_session_close(&other);
    psc_model_close(&model);
}

/* --- bits and refusals ----------------------------------------------------------------------- */

Test(attribution, bits) {
    static const char *const cases[] = {"over=heads_by_pos,do=patch,metric=kl", "over=edges",
        "over=neurons,do=mean,metric=log_prob"};
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"attribution.estimate", "attribution.cell_exact",
        "attribution.spearman", "attribution.cell_sampled", NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    for (int c = 0; c < 3; c++) {
        psc_session *first = attributed(model, cases[c], &plain);
        for (int w = 0; w < 3; w++) {
            psc_session *other = attributed(model, cases[c], &ways[w]);
            assert_same_arrays(first, other, arrays, cases[c]);
            psc_session_close(&other);
        }
        psc_session_close(&first);
    }
    psc_model_close(&model);
}

static void refused_run(const char *options, const int32_t *ids, int32_t n, const char *word) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    must_plugin(session, "attribution", options);
    if (n) cr_assert_eq(run_phase(session, ids, n, PSC_PHASE_SOURCE), PSC_OK);
    cr_assert_neq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_CHANGED), PSC_OK);
    cr_assert(strstr(error.message, word), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(attribution, refusals) {
    refused_options("attribution", "over=layers", "heads_by_pos");
    refused_options("attribution", "do=cut", "patch");
    refused_options("attribution", "metric=entropy", "log_prob");
    refused_run("metric=kl", NULL, 0, "source prompt's prediction; give --source");
    refused_options("attribution", "over=edges,do=mean", "no mean");
    refused_options("attribution", "sample=10001", "10000");
    refused_options("attribution", "top=0", "top");
    refused_options("attribution", "sample=0,seed=4", "sample=0 draws none");
    refused_run("do=patch", NULL, 0, "source prompt");
    refused_run("do=patch", source_ids, N_IDS - 1, "4 tokens and the prompt 5");
}

Test(attribution, refuses_edited_runs_and_several_sequences) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    must_plugin(session, "ablate", "at=L0H1");
    must_plugin(session, "attribution", "");
    cr_assert_neq(run_phase(session, fixture_ids, N_IDS, PSC_PHASE_ONLY), PSC_OK);
    cr_assert(strstr(error.message, "edited run"), "%s", error.message);
    psc_session_close(&session);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = 2;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    must_plugin(session, "attribution", "");
    const psc_token tokens[2] = {{3, 0, 0}, {5, 0, 0}};
    const psc_input inputs[2] = {{0, 2, tokens}, {1, 2, tokens}};
    cr_assert_neq(psc_session_run(session, inputs, 2, NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, "single sequence"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
