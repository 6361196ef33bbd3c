/* Each target at its own last row: the last of the text, or for `next` the last with a next token,
 * for any other targets of the run. A target alone, or under its own id, gives the same result. */
#include "ln_mlp_fixture.h"

static const int32_t text[] = {3, 41, 7, 3, 60, 9};
enum { LENGTH = sizeof text / sizeof *text };
static psc_error error;

/* Targets, ends with null. */
static psc_session *run(psc_model *model, const char *plugin, const char *options,
    const char *const *targets, int32_t n) {
    psc_session *session = must_session(model, NULL, 2, 4);
    psc_token tokens[LENGTH] = {{0}};
    cr_assert_eq(psc_session_plugin(session, plugin, options, &error), PSC_OK, "%s: %s", plugin,
        error.message);
    for (; *targets; targets++)
        cr_assert_eq(psc_session_target(session, *targets, &error), PSC_OK, "%s", error.message);
    for (int i = 0; i < n; i++) tokens[i].id = text[i];
    psc_input input = {0, n, tokens};
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK, "%s", error.message);
    return session;
}

static const char *const plain[] = {"#5", NULL}, *const next[] = {"next", NULL};
static const char *const plain_first[] = {"#5", "next", NULL};
static const char *const next_first[] = {"next", "#5", NULL};
static const char *const of_the_next[] = {"#9", NULL}; /* the last token of the text */

static const char *const models[] = {"parallel_f32", "sequential_f32"};

/* The first target's graph is the same alone and with others. */
Test(target_rows, graph) {
    static const char *const arrays[] = {"graph.node_flow", "graph.node_row", "graph.node_kind",
        "graph.link_weight", "graph.link_source", NULL};
    const struct {
        const char *const *alone, *const *both;
        int row;
    } cases[] = {{plain, plain_first, LENGTH - 1}, {next, next_first, LENGTH - 2}};
    for (int m = 0; m < 2; m++)
        for (int c = 0; c < 2; c++) {
            psc_model *model = must_model(golden_path(models[m], NULL));
            psc_session *one = run(model, "graph", "nodes=30", cases[c].alone, LENGTH);
            psc_session *two = run(model, "graph", "nodes=30", cases[c].both, LENGTH);
            const psc_array rows = must_array(two, "graph.node_row");
            cr_assert_eq((int)array_at(&rows, 0), cases[c].row);
            assert_same_arrays(one, two, arrays, models[m]);
            psc_session_close(&one);
            psc_session_close(&two);
            psc_model_close(&model);
        }
}

/* Bounds follow the first target's direction; for `next` that of its token. */
Test(target_rows, bounds_of_neurons) {
    static const char *const arrays[] = {"neurons.output_bounds", "neurons.tightness", NULL};
    const struct {
        const char *const *want, *const *got;
    } cases[] = {{plain, plain_first}, {of_the_next, next}, {of_the_next, next_first}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int c = 0; c < 3; c++) {
        psc_session *one = run(model, "neurons", "geometry=all", cases[c].want, LENGTH);
        psc_session *two = run(model, "neurons", "geometry=all", cases[c].got, LENGTH);
        const psc_array bounds = must_array(two, "neurons.output_bounds");
        cr_assert(!isnan(array_at(&bounds, 0)), "case %d", c);
        assert_same_arrays(one, two, arrays, "bounds");
        psc_session_close(&one);
        psc_session_close(&two);
    }
    psc_session *none = run(model, "neurons", "geometry=all", next_first, 1);
    const psc_array bounds = must_array(none, "neurons.output_bounds");
    for (int64_t i = 0; i < array_count(&bounds); i++) cr_assert(isnan(array_at(&bounds, i)));
    psc_session_close(&none);
    psc_model_close(&model);
}

/* --- sweep ----------------------------------------------------------------------------------- */

/* The effect on `next` at row T-2 equals that on the token T-1 at the last row of the text without
 * it, because later rows do not affect earlier ones. Returns the place among T-1 rows of a cell
 * among T. */
static int64_t shorter(const psc_array *array, int64_t i, int axis_of_rows, int n_row_axes) {
    int64_t at = 0, index[5] = {0};
    for (int a = array->n_axes; a-- > 0; i /= array->shape[a]) index[a] = i % array->shape[a];
    for (int a = 0; a < array->n_axes; a++) {
        const int rows = a >= axis_of_rows && a < axis_of_rows + n_row_axes;
        if (rows && index[a] == LENGTH - 1) return -1;
        at = at * (array->shape[a] - rows) + index[a];
    }
    return at;
}

static void check_sweep(psc_model *model, const char *options, int axis, int n_axes) {
    psc_session *one = run(model, "sweep", options, next, LENGTH);
    psc_session *two = run(model, "sweep", options, next_first, LENGTH);
    psc_session *last = run(model, "sweep", options, plain, LENGTH);
    psc_session *want = run(model, "sweep", options, of_the_next, LENGTH - 1);
    const psc_array effect = must_array(one, "sweep.effect");
    const psc_array both = must_array(two, "sweep.effect"),
                    at_end = must_array(last, "sweep.effect");
    const psc_array cut = must_array(want, "sweep.effect");
    const int64_t n = array_count(&effect);
    int moved = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = shorter(&effect, i, axis, n_axes);
        const double got = array_at(&effect, i), truth = at < 0 ? 0.0 : array_at(&cut, at);
        const int edge =
            n_axes == 2 && isnan(array_at(&at_end, i)); /* the key comes after the row */
        cr_assert(edge ? isnan(got) : got == truth, "%s %ld: %g, should be %g", options, (long)i,
            got, truth);
        moved += !edge && got != 0.0;
        cr_assert(edge || array_at(&both, i) == got);
        cr_assert(edge || array_at(&both, n + i) == array_at(&at_end, i));
    }
    cr_assert_gt(moved, 3, "%s", options);
    psc_session_close(&one);
    psc_session_close(&two);
    psc_session_close(&last);
    psc_session_close(&want);
}

Test(target_rows, sweep) {
    for (int m = 0; m < 2; m++) {
        psc_model *model = must_model(golden_path(models[m], NULL));
        check_sweep(model, "over=heads", 0, 0);
        check_sweep(model, "over=heads_by_pos,metric=log_prob", 3, 1);
        check_sweep(model, "over=resid_pre", 2, 1);
        check_sweep(model, "over=mlp_out,metric=log_prob", 2, 1);
        check_sweep(model, "over=edges,do=cut,layer=1", 2, 2);
        psc_model_close(&model);
    }
}

/* Whether some sentence or title of the plugin's summary contains the words. */
static bool says(const psc_session *session, const char *words) {
    const psc_results *results = psc_session_results(session);
    psc_result_item item;
    for (int32_t i = 0; i < psc_results_section_count(results); i++)
        for (int32_t j = 0; psc_results_item_at(&item, results, i, j, NULL) == PSC_OK; j++)
            if (strstr(item.sentence ? item.sentence : item.title, words)) return true;
    return false;
}

/* A sweep over a text without any next token has no effect to report: it is refused. Beside another
 * target the summary says so. */
Test(target_rows, sweep_of_one_token) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    const psc_token token = {.id = 3};
    const psc_input input = {0, 1, &token};
    psc_error refused = {0};
    cr_assert_eq(psc_session_plugin(session, "sweep", "over=heads", &refused), PSC_OK);
    cr_assert_eq(psc_session_target(session, "next", &refused), PSC_OK);
    cr_assert_eq(psc_session_run(session, &input, 1, NULL, &refused), PSC_ERROR_PLUGIN);
    cr_assert(strstr(refused.message, "the target next has no token"), "%s", refused.message);
    psc_session_close(&session);
    session = run(model, "sweep", "over=heads", plain_first, 1);
    cr_assert(says(session, "no row has a next token"));
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- summaries ------------------------------------------------------------------------------- */

/* With `next` among others a summary shows it at row T-2 and says so. */
Test(target_rows, summaries) {
    static const struct {
        const char *plugin, *options, *shown;
    } cases[] = {{"edges", "", "of #9 (next)"}, {"ln", "", "of #9 (next)"},
        {"mlp", "top=3", "shares of #9 (next)"}, {"lens", "", "at @4 #"},
        {"sweep", "", "of #9 (next)"}, {"graph", "", "of #9 (next) at @4 #"},
        {"logits", "", "at @4 #"}, {"neurons", "geometry=all", "Layer 0"}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_session *both = run(model, cases[i].plugin, cases[i].options, next_first, LENGTH);
        psc_session *alone = run(model, cases[i].plugin, cases[i].options, plain, LENGTH);
        cr_assert(says(both, cases[i].shown), "%s", cases[i].plugin);
        cr_assert(strcmp(cases[i].plugin, "logits") == 0 || says(both, "the last row that has one"),
            "%s", cases[i].plugin);
        cr_assert(!says(alone, "the last row that has one"), "%s", cases[i].plugin);
        psc_session_close(&both);
        psc_session_close(&alone);
    }
    psc_model_close(&model);
}

/* --- names ----------------------------------------------------------------------------------- */

/* The axis of target ids has the same entries in every plugin. */
Test(target_rows, the_axis_ids_is_a_and_b) {
    static const char *const plugins[] = {
        "logits", "ln", "mlp", "lens", "partition", "edges", "neurons", "sweep"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof plugins / sizeof *plugins; i++) {
        psc_session *session = run(model, plugins[i], NULL, plain_first, LENGTH);
        const psc_results *results = psc_session_results(session);
        psc_result_axis ids;
        cr_assert_eq(
            psc_results_find_axis(&ids, results, 0, "ids", NULL), PSC_OK, "%s", plugins[i]);
        cr_assert(ids.n == 2 && ids.labels, "%s", plugins[i]);
        cr_assert(strcmp(ids.labels[0], "a") == 0 && strcmp(ids.labels[1], "b") == 0);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}
