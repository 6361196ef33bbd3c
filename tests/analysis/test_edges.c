/* The plugin edges against float64 (tests/tools/make_edges_golden.py), against the plugin logits,
 * its bits, and refusals. */
#include "ln_mlp_fixture.h"

#define EDGES_GOLDEN PSC_SOURCE_DIR "/tests/golden/edges/"

static const int32_t text[] = {3, 41, 7, 3, 60, 7, 3};
enum { LENGTH = sizeof text / sizeof *text, LONGEST = 300 };
static int32_t length = LENGTH; /* tokens of a run; the text comes again and again, changed */
static psc_error error;

static psc_status try_run(psc_session *session) {
    psc_token tokens[LONGEST] = {{0}};
    for (int i = 0; i < length; i++) tokens[i].id = (text[i % LENGTH] + 5 * (i / LENGTH)) % 80;
    psc_input input = {0, length, tokens};
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, NULL, &error);
}

static psc_session *traced(psc_model *model, const char *options, const fixture_run *how,
    const char *first, const char *plugin) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "edges", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    if (plugin)
        cr_assert_eq(psc_session_plugin(session, plugin, "rows=all,level=head", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, first, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_contrast(session, "#7", "#9", &error), PSC_OK);
    cr_assert_eq(try_run(session), PSC_OK, "%s", error.message);
    return session;
}

static void check_model(const char *model_name) {
    static const char *const by[] = {"share", "norm", "weight"};
    char path[1024], options[96];
    const fixture_run how = {.threads = 2, .chunk = 4};
    psc_model *model = must_model(golden_path(model_name, NULL));
    snprintf(path, sizeof path, EDGES_GOLDEN "%s.safetensors", model_name);
    psc_tensors *golden = golden_open(path);
    cr_assert_eq(golden->count, 22);
    for (int b = 0; b < 3; b++) {
        snprintf(options, sizeof options, "rows=5-6,top=12,carry=yes,by=%s", by[b]);
        psc_session *session = traced(model, options, &how, "#5", NULL);
        for (size_t i = 0; i < golden->count; i++) {
            psc_tensor want = golden->items[i];
            char array[96];
            if (strncmp(want.name, by[b], strlen(by[b])) != 0) continue;
            snprintf(array, sizeof array, "edges.%s", strchr(want.name, ':') + 1);
            want.name = array;
            const psc_array got = must_array(session, array);
            for (int64_t e = 0; e < array_count(&got); e++)
                cr_assert(fabs(array_at(&got, e) - tensor_at(&want, e)) < 2e-5,
                    "%s by %s, element %ld: %g, should be %g", array, by[b], (long)e,
                    array_at(&got, e), tensor_at(&want, e));
        }
        psc_session_close(&session);
    }
    psc_tensors_close(&golden);
    psc_model_close(&model);
}

Test(edges, golden) {
    check_model("parallel_f32");
    check_model("sequential_f32");
}

/* The edges of a row sum to its heads' shares, for targets known before the run and for ranks. */
static void check_sums(void) {
    static const char *const targets[] = {"#5", "next", "top:1"};
    const fixture_run how = {.threads = 2, .chunk = 3};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    const psc_model_info *info = psc_model_get_info(model);
    for (int t = 0; t < 3; t++) {
        psc_session *session = traced(model, "rows=all", &how, targets[t], "logits");
        const psc_array sums = must_array(session, "edges.share_of_all");
        const psc_array shares = must_array(session, "logits.contributions");
        for (int64_t at = 0; at < array_count(&sums); at++) {
            double heads = 0.0;
            const int64_t width = shares.shape[2];
            for (int l = 0; l < info->n_layers; l++)
                for (int h = 0; h < info->n_heads; h++)
                    heads += array_at(&shares, at * width + 1 + l * (info->n_heads + 2) + h);
            const double got = array_at(&sums, at);
            cr_assert(isnan(got) == isnan(heads) && (isnan(got) || fabs(got - heads) < 1e-5),
                "target %s at %ld: %g, heads %g", targets[t], (long)at, got, heads);
        }
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

Test(edges, sum_to_the_heads) {
    check_sums();
}

/* Several blocks of keys, and chunks that end inside a panel of keys. */
Test(edges, long_texts) {
    length = LONGEST;
    check_sums();
    static const fixture_run ways[] = {
        {.isa = "reference", .threads = 2, .chunk = 37}, {.threads = 3, .chunk = 131}};
    static const char *const arrays[] = {"edges.layer", "edges.head", "edges.source",
        "edges.weight", "edges.norm", "edges.share", "edges.share_of_all",
        "edges.absolute_share_of_all", NULL};
    static const char *const options[] = {
        "rows=all", "rows=280-290,by=norm,top=300", "rows=all,by=weight,threshold=0.2", NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int o = 0; options[o]; o++) {
        psc_session *first = traced(model, options[o], &plain, "next", NULL);
        for (int w = 0; w < 2; w++) {
            psc_session *other = traced(model, options[o], &ways[w], "next", NULL);
            assert_same_arrays(first, other, arrays, options[o]);
            psc_session_close(&other);
        }
        const psc_array weight = must_array(first, "edges.weight");
        const int64_t top = weight.shape[2];
        for (int64_t i = 0; o == 2 && i < array_count(&weight); i++) {
            if (isnan(array_at(&weight, i))) continue;
            cr_assert(array_at(&weight, i) >= 0.2);
            cr_assert(i % top == 0 || array_at(&weight, i) <= array_at(&weight, i - 1));
        }
        psc_session_close(&first);
    }
    psc_model_close(&model);
}

Test(edges, bits) {
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"edges.layer", "edges.head", "edges.source",
        "edges.weight", "edges.norm", "edges.share", "edges.carried", "edges.share_of_all", NULL};
    static const char *const targets[] = {"next", "top:1"};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    for (int t = 0; t < 2; t++) {
        psc_session *first = traced(model, "rows=all,carry=yes", &plain, targets[t], NULL);
        for (int w = 0; w < 3; w++) {
            psc_session *other = traced(model, "rows=all,carry=yes", &ways[w], targets[t], NULL);
            assert_same_arrays(first, other, arrays, targets[t]);
            psc_session_close(&other);
        }
        psc_session_close(&first);
    }
    psc_model_close(&model);
}

/* A threshold keeps the same edges, but fewer. */
Test(edges, threshold) {
    const fixture_run how = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *all = traced(model, "top=30", &how, "#5", NULL);
    const psc_array share = must_array(all, "edges.share");
    char options[64];
    snprintf(options, sizeof options, "top=30,threshold=%.17g", fabs(array_at(&share, 7)));
    psc_session *some = traced(model, options, &how, "#5", NULL);
    const psc_array fewer = must_array(some, "edges.share");
    for (int i = 0; i < 30; i++)
        cr_assert(i <= 7 ? array_at(&fewer, i) == array_at(&share, i) : isnan(array_at(&fewer, i)));
    psc_session_close(&all);
    psc_session_close(&some);
    psc_model_close(&model);
}

/* --- edited runs ----------------------------------------------------------------------------- */

static const char *const point_names[PSC_POINT_COUNT] = {
#define POINT_NAME(id, name, shape, layered) name,
    PSC_POINTS(POINT_NAME)
#undef POINT_NAME
};

/* Changes every second row; -inf and 0 of masked keys stay. */
static int edit_rows(const psc_event *event, void *payload) {
    const psc_view *t = &event->tensor;
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t h = 0; event->rows[r].position % 2 == 0 && h < t->shape[1]; h++) {
            float *x = t->data + r * t->stride[0] + h * t->stride[1];
            const int64_t n = t->n_axes == 3 ? t->shape[2] : 1;
            for (int64_t i = 0; i < n; i++)
                x[i] = 1.25f * x[i] + (x[i] == 0.0f ? 0.0f : 0.5f * edit_pattern(3 * h + i + 1));
            if (event->point == PSC_HOOK_LN1_SCALE || event->point == PSC_HOOK_LN2_SCALE)
                x[0] = fabsf(x[0]) + 0.5f;
        }
    return 0;
}

static psc_session *edited(psc_model *model, psc_point point, int32_t layer, int32_t chunk) {
    psc_session *session = must_session(model, NULL, 1, chunk);
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &layer;
    filter.n_layers = layer >= 0;
    cr_assert_eq(psc_session_plugin(session, "edges", "rows=all,top=30,carry=yes", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(psc_session_contrast(session, "#7", "#9", &error), PSC_OK);
    cr_assert_eq(psc_session_edit(session, point, &filter, edit_rows, NULL, &error), PSC_OK, "%s",
        error.message);
    return session;
}

/* The largest |share - sum carried| / (1 + sum |carried|) over all edges. */
static double open_sum(const psc_session *session) {
    const psc_array share = must_array(session, "edges.share");
    const psc_array carried = must_array(session, "edges.carried");
    const int64_t width = carried.shape[3];
    double worst = 0.0;
    for (int64_t e = 0; e < array_count(&share); e++) {
        double sum = 0.0, sum_abs = 0.0;
        if (isnan(array_at(&share, e))) continue;
        for (int64_t c = 0; c < width; c++) {
            sum += array_at(&carried, e * width + c);
            sum_abs += fabs(array_at(&carried, e * width + c));
        }
        worst = fmax(worst, fabs(array_at(&share, e) - sum) / (1.0 + sum_abs));
    }
    return worst;
}

/* For an edit at any point, an edge's carried parts sum to its share, or the run says why not. */
static void check_edited(psc_model *model, psc_point point, int32_t layer, int32_t chunk) {
    psc_session *session = edited(model, point, layer, chunk);
    if (point == PSC_HOOK_Z || point == PSC_HOOK_RESULT) {
        cr_assert_neq(try_run(session), PSC_OK);
        cr_assert(strstr(error.message, "edited"), "%s", error.message);
    } else {
        cr_assert_eq(try_run(session), PSC_OK, "%s", error.message);
        const double worst = open_sum(session);
        if (getenv("PSC_TEST_VERBOSE"))
            fprintf(stderr, "%-28s layer %d: %.1e\n", point_names[point], (int)layer, worst);
        cr_assert(worst < 1e-5, "%s edited in layer %d: sums miss by %g", point_names[point],
            (int)layer, worst);
    }
    psc_session_close(&session);
}

Test(edges, edited_sums_close) {
    static const char *const names[] = {
        "parallel_f32", "sequential_f32", "odd_sizes", "gelu_fast", "rope_yarn"};
    for (int m = 0; m < 5; m++) {
        psc_model *model = must_model(golden_path(names[m], NULL));
        const psc_model_info *info = psc_model_get_info(model);
        for (int point = 0; point < PSC_POINT_COUNT; point++) {
            if (point == PSC_HOOK_RESID_MID && info->parallel_residual) continue;
            check_edited(model, (psc_point)point, -1, 3);
            for (int32_t l = 0; point_layers(info, (psc_point)point) > 1 && l < info->n_layers; l++)
                check_edited(model, (psc_point)point, l, 0);
        }
        psc_model_close(&model);
    }
}

/* Without an editor upstream there is no component `edit`. */
Test(edges, edit_is_the_last_component) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *with = edited(model, PSC_HOOK_V, -1, 0);
    psc_session *without = edited(model, PSC_HOOK_LOGITS, -1, 0);
    cr_assert_eq(try_run(with), PSC_OK);
    cr_assert_eq(try_run(without), PSC_OK);
    const psc_array a = must_array(with, "edges.carried"), b = must_array(without, "edges.carried");
    cr_assert_eq(a.shape[3], b.shape[3] + 1);
    psc_session_close(&with);
    psc_session_close(&without);
    psc_model_close(&model);
}

static int edit_nothing(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

Test(edges, refusals) {
    static const char *const bad[] = {"by=size", "top=0", "threshold=-1", "threshold=x",
        "threshold=inf", "carry=maybe", "rows=x"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(psc_session_plugin(session, "edges", bad[i], &error), PSC_OK);
        char key[16];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
        cr_assert(strstr(error.message, key), "%s: %s", bad[i], error.message);
    }
    cr_assert_eq(psc_session_plugin(session, "edges", "top=3", &error), PSC_OK);
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_Z, NULL, edit_nothing, NULL, &error), PSC_OK);
    cr_assert_neq(try_run(session), PSC_OK);
    cr_assert(strstr(error.message, "edited"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
