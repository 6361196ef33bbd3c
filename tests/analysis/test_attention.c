/* The plugin attention against float64 and TransformerLens's detector
 * (tests/tools/make_attention_golden.py), its bits, and refusals. */
#include "ln_mlp_fixture.h"

#define ATTENTION_GOLDEN PSC_SOURCE_DIR "/tests/golden/attention/"

/* Statistics of a row; the golden files have the first six. */
enum { STATISTICS = 8, GOLDEN_STATISTICS = 6, DISTANCE = 1, VARIANCE = 6, INDUCTION = 7 };

static const int32_t text[] = {3, 41, 7, 3, 60, 7, 3};
static const int32_t copies[] = {0, 9, 55, 23, 70, 9, 55, 23, 70};
static psc_error error;

static psc_status try_run(psc_session *session, const int32_t *ids, int32_t n) {
    psc_token tokens[16] = {{0}};
    for (int i = 0; i < n; i++) tokens[i].id = ids[i];
    psc_input input = {0, n, tokens};
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, NULL, &error);
}

static psc_session *looked(
    psc_model *model, const char *options, const fixture_run *how, const int32_t *ids, int32_t n) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "attention", options, &error), PSC_OK, "%s: %s",
        options, error.message);
    cr_assert_eq(try_run(session, ids, n), PSC_OK, "%s", error.message);
    return session;
}

/* The split in the text is that of head 1 of the last layer at row 5; the pair's key is 3. */
static const char *split_options(const psc_model *model) {
    static char options[64];
    snprintf(options, sizeof options, "reader=L%dH1,row=5,key=3",
        (int)psc_model_get_info(model)->n_layers - 1);
    return options;
}

/* The session's array and the golden one, whose last axis has the first six statistics. */
static double compare_statistics(const psc_session *session, const psc_tensor *want) {
    const psc_array got = must_array(session, want->name);
    double worst = 0.0;
    cr_assert(got.n_axes == (int)want->rank && got.shape[got.n_axes - 1] == STATISTICS);
    cr_assert_eq(want->shape[want->rank - 1], GOLDEN_STATISTICS);
    for (int64_t i = 0; i < array_count(&got); i++) {
        const int64_t cell = i / STATISTICS, at = i % STATISTICS;
        if (at >= GOLDEN_STATISTICS) continue;
        const double a = array_at(&got, i), b = tensor_at(want, cell * GOLDEN_STATISTICS + at);
        if (isnan(a) && isnan(b)) continue;
        const double error_of = fabs(a - b) / (1.0 + fabs(b));
        cr_assert(
            error_of <= 5e-5, "%s element %ld: %.12g, should be %.12g", want->name, (long)i, a, b);
        worst = fmax(worst, error_of);
    }
    return worst;
}

static void check_model(const char *model_name) {
    char path[1024];
    const fixture_run how = {.threads = 2, .chunk = 4};
    psc_model *model = must_model(golden_path(model_name, NULL));
    psc_session *sessions[2] = {looked(model, split_options(model), &how, text, 7),
        looked(model, "top=3", &how, copies, 9)};
    snprintf(path, sizeof path, ATTENTION_GOLDEN "%s.safetensors", model_name);
    psc_tensors *golden = golden_open(path);
    cr_assert_eq(golden->count, 17);
    for (size_t i = 0; i < golden->count; i++) {
        psc_tensor want = golden->items[i];
        const char *name = strchr(want.name, ':') + 1;
        psc_session *session = sessions[strncmp(want.name, "copies", 6) == 0];
        char array[96];
        snprintf(array, sizeof array, "attention.%s", name);
        want.name = array;
        const bool statistics = strcmp(name, "statistics") == 0 || strncmp(name, "means", 5) == 0;
        const double worst =
            statistics ? compare_statistics(session, &want) : compare_array(session, &want, 5e-5);
        if (getenv("PSC_TEST_VERBOSE")) fprintf(stderr, "%-36s %.1e\n", array, worst);
    }
    psc_tensors_close(&golden);
    for (int i = 0; i < 2; i++) psc_session_close(&sessions[i]);
    psc_model_close(&model);
}

Test(attention, golden) {
    check_model("parallel_f32");
    check_model("sequential_f32");
    check_model("rotary_full");
    check_model("rope_yarn");
}

Test(attention, bits) {
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"attention.statistics", "attention.means",
        "attention.attracts", "attention.tl_detect", "attention.key_scores_relative",
        "attention.query_scores_relative", "attention.pair_scores", NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *first = looked(model, split_options(model), &plain, text, 7);
    for (int w = 0; w < 3; w++) {
        psc_session *other = looked(model, split_options(model), &ways[w], text, 7);
        assert_same_arrays(first, other, arrays, "ways");
        psc_session_close(&other);
    }
    psc_session_close(&first);
    psc_model_close(&model);
}

/* A split whose completeness is computed from the pattern itself, at layer 0 and the last layer. */
Test(attention, completeness) {
    static const char *const names[] = {"parallel_f32", "tied_f32", "no_attention_bias"};
    const fixture_run how = {.threads = 2};
    for (int i = 0; i < 3; i++)
        for (int layer = 0; layer < 2; layer++) {
            char options[64];
            snprintf(options, sizeof options, "reader=L%dH0", layer);
            psc_model *model = must_model(golden_path(names[i], NULL));
            psc_session *session = looked(model, options, &how, text, 7);
            const psc_array relative = must_array(session, "attention.key_scores_relative");
            const psc_array stats = must_array(session, "attention.statistics");
            const int64_t cell = (int64_t)layer * psc_model_get_info(model)->n_heads;
            const double *row = (const double *)stats.data + (cell * 7 + 6) * STATISTICS;
            double sum[2] = {0, 0}; /* keys 0 and 6 */
            for (int64_t c = 0; c < relative.shape[0] * relative.shape[1]; c++)
                for (int k = 0; k < 2; k++)
                    sum[k] += ((const double *)relative.data)[c * relative.shape[2] + 6 * k];
            cr_assert(fabs(exp(sum[0] - row[0]) - row[2]) < 1e-5, "%s", names[i]);
            cr_assert(fabs(exp(sum[1] - row[0]) - row[3]) < 1e-5, "%s", names[i]);
            psc_session_close(&session);
            psc_model_close(&model);
        }
}

/* The whole pattern of two sequences is the captured one, to the bit, beside a split of one row. */
Test(attention, patterns) {
    static const int32_t chunks[] = {0, 1, 4};
    const psc_token first[] = {{.id = 3}, {.id = 41}, {.id = 7}, {.id = 3}, {.id = 60}};
    const psc_input inputs[] = {{0, 5, first}, {1, 2, first}};
    char name[64];
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    const int64_t layers = psc_model_get_info(model)->n_layers,
                  heads = psc_model_get_info(model)->n_heads;
    for (int i = 0; i < 3; i++) {
        psc_session *session = must_session(model, NULL, i + 1, chunks[i]);
        cr_assert_eq(psc_session_plugin(session, "attention", "patterns=yes", &error), PSC_OK, "%s",
            error.message);
        for (int l = 0; l < layers; l++) {
            snprintf(name, sizeof name, "blocks.%d.attn.hook_pattern", l);
            cr_assert_eq(psc_session_capture(session, name, &error), PSC_OK);
        }
        must_run(session, inputs, 2);
        const psc_array got = must_array(session, "attention.pattern");
        cr_assert_eq(got.element, PSC_F32);
        cr_assert(got.n_axes == 4 && got.shape[0] == layers && got.shape[1] == heads &&
                  got.shape[2] == 7 && got.shape[3] == 5);
        cr_assert_str_eq(got.axes[3], "keys");
        for (int64_t cell = 0; cell < layers * heads * 2; cell++) { /* of two sequences each */
            const int second = (int)(cell % 2), n = inputs[second].n;
            snprintf(name, sizeof name, "blocks.%d.attn.hook_pattern@%d", (int)(cell / 2 / heads),
                second);
            const psc_array want = must_array(session, name);
            for (int64_t r = 0; r < n; r++)
                for (int64_t j = 0; j < 5; j++)
                    cr_assert_eq(array_at(&got, (cell / 2 * 7 + 5 * second + r) * 5 + j),
                        j < n ? array_at(&want, (cell / 2 % heads * n + r) * n + j) : 0.0,
                        "%s, row %d, key %d", name, (int)r, (int)j);
        }
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

/* Beside the whole pattern, the keys of a split are the run's, NaN past the row; the rest of the
 * numbers stay. */
Test(attention, patterns_beside_a_split) {
    const fixture_run how = {.threads = 1};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *plain = looked(model, "reader=L1H1,row=4", &how, text, 7);
    psc_session *whole = looked(model, "reader=L1H1,row=4,patterns=yes", &how, text, 7);
    static const char *const same[] = {
        "attention.statistics", "attention.attracts", "attention.tl_detect", NULL};
    static const char *const split[] = {"attention.key_scores", "attention.key_scores_relative",
        "attention.query_scores", "attention.query_scores_relative"};
    assert_same_arrays(plain, whole, same, "patterns");
    for (int i = 0; i < 4; i++) {
        const psc_array a = must_array(plain, split[i]), b = must_array(whole, split[i]);
        cr_assert(a.shape[2] == 5 && b.shape[2] == 7);
        for (int64_t c = 0; c < a.shape[0] * a.shape[1]; c++) {
            cr_assert_eq(memcmp((const double *)a.data + 5 * c, (const double *)b.data + 7 * c,
                             5 * sizeof(double)),
                0, "%s", split[i]);
            cr_assert(isnan(array_at(&b, 7 * c + 5)) && isnan(array_at(&b, 7 * c + 6)));
        }
    }
    psc_session_close(&plain);
    psc_session_close(&whole);
    psc_model_close(&model);
}

/* The memory that the pattern needs is enough, one MiB less is not; a corpus has no pattern. */
Test(attention, patterns_refusals) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_model *model = must_model(golden_embedded());
    const psc_model_info *info = psc_model_get_info(model);
    const int32_t n = info->n_ctx < 512 ? info->n_ctx : 512;
    const int64_t bytes = (int64_t)info->n_layers * info->n_heads * n * n * 4;
    psc_token *tokens = calloc((size_t)n, sizeof *tokens);
    for (int way = 0; way < 2; way++) {
        char text_of[64];
        psc_session *session = NULL;
        options.threads = 1;
        cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
        snprintf(text_of, sizeof text_of, "patterns=yes,memory=%d",
            (int)((bytes + (1 << 20) - 1) >> 20) - way);
        cr_assert_eq(psc_session_plugin(session, "attention", text_of, &error), PSC_OK);
        const psc_input input = {0, n, tokens};
        const psc_status status = psc_session_run(session, &input, 1, NULL, &error);
        cr_assert_eq(status == PSC_OK, way == 0, "%s: %s", text_of, error.message);
        if (way) cr_assert(strstr(error.message, "MiB") && strstr(error.message, "memory="));
        psc_session_close(&session);
    }
    free(tokens);
    psc_session *session = NULL;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    cr_assert_neq(psc_session_plugin(session, "attention", "patterns=yes", &error), PSC_OK);
    cr_assert(strstr(error.message, "corpus"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Variance and induction by their definitions in f64 from the pattern itself, per row; and their
 * means, of induction over the rows that repeat a token. */
static void check_definitions(psc_model *model, const int32_t *ids, int32_t n) {
    const fixture_run how = {.threads = 2, .chunk = 3};
    psc_session *session = looked(model, "patterns=yes", &how, ids, n);
    const psc_array pattern = must_array(session, "attention.pattern");
    const psc_array statistics = must_array(session, "attention.statistics");
    const psc_array means = must_array(session, "attention.means");
    int64_t inductions = 0;
    for (int64_t cell = 0; cell < pattern.shape[0] * pattern.shape[1]; cell++) {
        double sum[2] = {0}, count[2] = {0};
        for (int32_t k = 0; k < n; k++) {
            const float *a = (const float *)pattern.data + (cell * n + k) * n;
            const double *row = (const double *)statistics.data + (cell * n + k) * STATISTICS;
            double mean = 0, variance = 0, induction = 0;
            int earlier = 0;
            for (int32_t j = 0; j <= k; j++) mean += (double)a[j] * (k - j);
            for (int32_t j = 0; j <= k; j++)
                variance += (double)a[j] * (k - j - mean) * (k - j - mean);
            for (int32_t j = 0; j < k; j++) {
                if (ids[j] != ids[k]) continue;
                earlier++;
                if (a[j + 1] >= 0.01f) induction += (double)a[j + 1];
            }
            cr_assert(fabs(row[VARIANCE] - variance) <= 1e-12 * (1 + variance), "row %d", (int)k);
            cr_assert_eq(isnan(row[INDUCTION]) != 0, earlier == 0);
            cr_assert(!earlier || fabs(row[INDUCTION] - induction) <= 1e-12, "row %d", (int)k);
            inductions += induction > 0;
            sum[0] += variance, count[0] += 1;
            sum[1] += induction, count[1] += earlier > 0;
        }
        for (int i = 0; i < 2; i++)
            cr_assert(fabs(((const double *)means.data)[cell * STATISTICS + VARIANCE + i] -
                           sum[i] / count[i]) <= 1e-9);
    }
    cr_assert_gt(inductions, 0);
    psc_session_close(&session);
}

Test(attention, definitions) {
    static const char *const names[] = {"parallel_f32", "sequential_f32", "large_scores"};
    for (int i = 0; i < 3; i++) {
        psc_model *model = must_model(golden_path(names[i], NULL));
        check_definitions(model, text, 7);
        check_definitions(model, copies, 9);
        psc_model_close(&model);
    }
}

static int edit_nothing(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

Test(attention, refusals) {
    static const struct {
        const char *options, *word;
    } bad[] = {{"reader=L9H0", "L0H0 to"}, {"reader=L0H99", "L0H0 to"}, {"reader=H3", "reader"},
        {"reader=L0N3", "reader"}, {"key=2", "reader"}, {"reader=L0H0,key=x", "key"},
        {"row=x", "row"}, {"top=65", "top"}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(psc_session_plugin(session, "attention", bad[i].options, &error), PSC_OK);
        cr_assert(strstr(error.message, bad[i].word), "%s: %s", bad[i].options, error.message);
    }
    psc_session_close(&session);
    static const char *const late[] = {
        "reader=L1H0,row=2,key=3", "reader=L1H0,row=99", "reader=L1H0,row=all"};
    for (int i = 0; i < 3; i++) {
        session = must_session(model, NULL, 1, 0);
        cr_assert_eq(psc_session_plugin(session, "attention", late[i], &error), PSC_OK);
        cr_assert_neq(try_run(session, text, 7), PSC_OK);
        cr_assert(strstr(error.message, i == 0 ? "key=3" : "row"), "%s", error.message);
        psc_session_close(&session);
    }
    session = must_session(model, NULL, 1, 0);
    cr_assert_eq(psc_session_plugin(session, "attention", "reader=L1H0", &error), PSC_OK);
    cr_assert_eq(psc_session_edit(session, PSC_HOOK_Z, NULL, edit_nothing, NULL, &error), PSC_OK);
    cr_assert_neq(try_run(session, text, 7), PSC_OK);
    cr_assert(strstr(error.message, "edited"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
