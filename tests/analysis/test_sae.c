/* The plugin sae of a text against the libraries' latents and rows
 * (tests/tools/make_sae_golden.py) and float64: losses against edited runs; bits; what it
 * refuses. */
#include "sae_fixture.h"

enum { ROWS = 9, WIDTH = 32 };

static const char *const arrays[] = {"sae.latent_ids", "sae.latent_values", "sae.active",
    "sae.squared_error", "sae.squared_norm", "sae.cosines", NULL};
static const int32_t tokens_of_golden[ROWS] = {3, 41, 7, 19, 60, 12, 75, 33, 2};

static psc_session *run_golden(psc_model *model, const char *folder, const char *more,
    const char *isa, int32_t threads, int32_t chunk) {
    char options[1200];
    psc_token tokens[ROWS] = {{0}};
    psc_session *session = must_session(model, isa, threads, chunk);
    snprintf(options, sizeof options, "path=" SAE "%s%s", folder, more);
    load(session, options);
    for (int i = 0; i < ROWS; i++) tokens[i].id = tokens_of_golden[i];
    must_run_one(session, tokens, ROWS);
    return session;
}

/* --- a text ---------------------------------------------------------------------------------- */

static psc_tensors *open_golden(const char *folder) {
    char path[600];
    const size_t n = (size_t)snprintf(path, sizeof path, SAE "%s.safetensors", folder);
    for (char *c = path + sizeof SAE - 1; c < path + n; c++) *c = *c == '/' ? '.' : *c;
    return golden_open(path);
}

static void close_to(double got, double want, double tolerance, const char *what) {
    cr_assert(fabs(got - want) <= tolerance * (1 + fabs(want)), "%s: %.9g, should be %.9g", what,
        got, want);
}

static void check_latents(const psc_session *session, const psc_tensor *acts, const char *folder) {
    const psc_array ids = must_array(session, "sae.latent_ids");
    const psc_array values = must_array(session, "sae.latent_values");
    const psc_array active = must_array(session, "sae.active");
    const int64_t top = ids.shape[1], n = (int64_t)acts->shape[1];
    double largest = 0;
    for (int64_t i = 0; i < ROWS * n; i++) largest = fmax(largest, fabs(tensor_at(acts, i)));
    for (int64_t r = 0; r < ROWS; r++) {
        int64_t want = 0;
        for (int64_t i = 0; i < n; i++) want += tensor_at(acts, r * n + i) != 0;
        cr_assert_eq((int64_t)array_at(&active, r), want, "%s row %d", folder, (int)r);
        for (int64_t k = 0; k < top; k++) {
            const int64_t id = (int64_t)array_at(&ids, r * top + k);
            const double value = array_at(&values, r * top + k);
            cr_assert_eq(id < 0, k >= want);
            if (id < 0) continue;
            cr_assert(k == 0 || value <= array_at(&values, r * top + k - 1));
            cr_assert(fabs(value - tensor_at(acts, r * n + id)) <= 2e-5 * largest, "%s", folder);
        }
    }
}

static void check_figures(
    const psc_session *session, const psc_tensors *golden, const char *folder) {
    const psc_tensor *y = golden_find(golden, "y"), *out = golden_find(golden, "out");
    const psc_array error = must_array(session, "sae.squared_error");
    double errors = 0, squares = 0, cosines = 0, means[WIDTH] = {0}, variance;
    for (int64_t r = 0; r < ROWS; r++) {
        double e = 0, a = 0, b = 0, both = 0;
        for (int64_t i = 0; i < WIDTH; i++) {
            const double x = tensor_at(y, r * WIDTH + i), z = tensor_at(out, r * WIDTH + i);
            e += (x - z) * (x - z);
            a += x * x;
            b += z * z;
            both += x * z;
            means[i] += x / ROWS;
        }
        close_to(array_at(&error, r), e, 1e-4, folder);
        errors += e;
        squares += a;
        cosines += both / sqrt(a * b);
    }
    variance = squares / ROWS;
    for (int i = 0; i < WIDTH; i++) variance -= means[i] * means[i];
    close_to(value_of(session, "explained_variance"), 1 - errors / ROWS / variance, 1e-4, folder);
    close_to(value_of(session, "mean_squared_error"), errors / ROWS, 1e-4, folder);
    close_to(value_of(session, "cosine"), cosines / ROWS, 1e-4, folder);
}

Test(sae, equals_the_libraries_at_their_points) {
    static const char *const folders[] = {"standard", "standard_mlp", "layer_norm", "constant_norm",
        "average_in", "hook_z", "jumprelu", "topk", "topk_rescaled", "gated", "transcoder",
        "skip_transcoder", "jumprelu_transcoder", "old_hook_point", "old_hook_name", "learned_relu",
        "learned_gated", "learned_jumprelu", "sparsify_topk/layers.1", "sparsify_topk/layers.0.mlp",
        "sparsify_groupmax/layers.0.attention", "sparsify_transcoder/layers.0.mlp",
        "sparsify_skip/layers.1.mlp", "sparsify_old/layers.1", NULL};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int i = 0; folders[i]; i++) {
        psc_tensors *golden = open_golden(folders[i]);
        psc_session *session = run_golden(model, folders[i], ",loss=no,top=60", NULL, 1, 4);
        check_latents(session, golden_find(golden, "acts"), folders[i]);
        check_figures(session, golden, folders[i]);
        psc_session_close(&session);
        psc_tensors_close(&golden);
    }
    psc_model_close(&model);
}

Test(sae, bits) {
    static const char *const folders[] = {
        "standard", "hook_z", "topk", "sparsify_skip/layers.1.mlp", NULL};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int i = 0; folders[i]; i++) {
        psc_session *a = run_golden(model, folders[i], "", "reference", 1, 0);
        psc_session *b = run_golden(model, folders[i], "", NULL, 3, 2);
        assert_same_arrays(a, b, arrays, folders[i]);
        cr_assert_eq(value_of(a, "loss_recovered"), value_of(b, "loss_recovered"));
        cr_assert_eq(value_of(a, "explained_variance"), value_of(b, "explained_variance"));
        psc_session_close(&a);
        psc_session_close(&b);
    }
    psc_model_close(&model);
}

Test(sae, chosen_rows_and_named_latents) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *all = run_golden(model, "standard", ",top=53,latent=7+50", NULL, 1, 0);
    psc_session *some = run_golden(model, "standard", ",top=53,rows=2-5", NULL, 1, 3);
    const psc_array a = must_array(all, "sae.latent_values");
    const psc_array b = must_array(some, "sae.latent_values");
    const psc_array ids = must_array(all, "sae.latent_ids");
    const psc_array listed = must_array(all, "sae.listed_values");
    cr_assert(b.shape[0] == 4 && value_of(some, "tokens") == 4);
    cr_assert_eq(memcmp((const float *)a.data + 2 * 53, b.data, array_bytes(&b)), 0);
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t k = 0; k < 2; k++) {
            double want = 0;
            for (int64_t i = 0; i < 53; i++)
                if (array_at(&ids, r * 53 + i) == (k ? 50 : 7)) want = array_at(&a, r * 53 + i);
            cr_assert_eq(array_at(&listed, 2 * r + k), want);
        }
    psc_session_close(&all);
    psc_session_close(&some);
    psc_model_close(&model);
}

/* Without position 0 the figures are those of the rows from 1 on. */
Test(sae, without_the_first_position) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *a = run_golden(model, "standard", ",from=1", NULL, 1, 0);
    psc_session *b = run_golden(model, "standard", ",rows=1-8", NULL, 2, 4);
    assert_same_arrays(a, b, arrays, "from=1");
    cr_assert_eq(value_of(a, "tokens"), ROWS - 1);
    cr_assert_eq(value_of(a, "explained_variance"), value_of(b, "explained_variance"));
    cr_assert_eq(value_of(a, "loss_recovered"), value_of(b, "loss_recovered"));
    cr_assert_eq(value_of(a, "tokens_scored"), ROWS - 2);
    psc_session_close(&a);
    psc_session_close(&b);
    psc_model_close(&model);
}

/* --- losses ---------------------------------------------------------------------------------- */

/* What an editor puts in place of each row: a golden row, or zeros. */
static const psc_tensor *in_place;

static int replace(const psc_event *event, void *payload) {
    (void)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < WIDTH; i++)
            event->tensor.data[r * event->tensor.stride[0] + i] =
                in_place ? (float)tensor_at(in_place, event->rows[r].index * WIDTH + i) : 0.0f;
    return 0;
}

static double loss_of(
    psc_model *model, psc_point point, int32_t layer, const psc_tensor *rows, bool edits) {
    psc_token tokens[ROWS] = {{0}};
    psc_input input = {0, ROWS, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_filter filter = PSC_FILTER_INIT;
    psc_session *session = must_session(model, NULL, 1, 0);
    psc_error error = {0};
    const int32_t n_vocab = psc_model_get_info(model)->d_vocab;
    double sum = 0;
    filter.layers = &layer;
    filter.n_layers = 1;
    options.logits = PSC_ROWS_ALL;
    in_place = rows;
    if (edits)
        cr_assert_eq(psc_session_edit(session, point, &filter, replace, NULL, &error), PSC_OK);
    for (int i = 0; i < ROWS; i++) tokens[i].id = tokens_of_golden[i];
    cr_assert_eq(psc_session_run(session, &input, 1, &options, &error), PSC_OK);
    for (int32_t r = 0; r + 1 < ROWS; r++) {
        const float *z = psc_session_logits(session, r);
        double z_sum = 0;
        for (int32_t v = 0; v < n_vocab; v++) z_sum += exp((double)z[v]);
        sum += log(z_sum) - (double)z[tokens_of_golden[r + 1]];
    }
    psc_session_close(&session);
    return sum / (ROWS - 1);
}

Test(sae, losses_are_those_of_edited_runs) {
    static const struct {
        const char *folder;
        psc_point point;
        int32_t layer;
    } cases[] = {{"standard", PSC_HOOK_RESID_PRE, 1}, {"topk", PSC_HOOK_RESID_POST, 1},
        {"sparsify_transcoder/layers.0.mlp", PSC_HOOK_MLP_OUT, 0},
        {"sparsify_groupmax/layers.0.attention", PSC_HOOK_ATTN_OUT, 0}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_tensors *golden = open_golden(cases[i].folder);
        const psc_tensor *out = golden_find(golden, "out");
        psc_session *session = run_golden(model, cases[i].folder, "", NULL, 2, 4);
        const double plain = loss_of(model, cases[i].point, cases[i].layer, NULL, false);
        const double with = loss_of(model, cases[i].point, cases[i].layer, out, true);
        const double zero = loss_of(model, cases[i].point, cases[i].layer, NULL, true);
        close_to(value_of(session, "loss"), plain, 1e-6, cases[i].folder);
        close_to(value_of(session, "loss_with"), with, 1e-4, cases[i].folder);
        close_to(value_of(session, "loss_zero"), zero, 1e-6, cases[i].folder);
        close_to(value_of(session, "loss_recovered"), (zero - with) / (zero - plain), 1e-3,
            cases[i].folder);
        cr_assert_eq(value_of(session, "tokens_scored"), ROWS - 1);
        psc_session_close(&session);
        psc_tensors_close(&golden);
    }
    psc_model_close(&model);
}

Test(sae, an_edited_run_has_latents_but_no_loss) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    psc_token tokens[ROWS] = {{0}};
    psc_input input = {0, ROWS, tokens};
    psc_result_value value;
    psc_error error = {0};
    int32_t section = -1;
    cr_assert_eq(psc_session_plugin(session, "ablate", "at=L0H1", &error), PSC_OK);
    load(session, "path=" SAE "topk");
    must_run_one(session, tokens, ROWS);
    cr_assert_eq(value_of(session, "l0"), 5);
    cr_assert_eq(
        psc_results_find_section(&section, psc_session_results(session), "sae", &error), PSC_OK);
    cr_assert_neq(psc_results_find_value(
                      &value, psc_session_results(session), section, "loss_recovered", &error),
        PSC_OK);
    load(session, "path=" SAE "topk,loss=yes");
    psc_session_truncate(session, 0, 0);
    cr_assert_neq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_assert(
        strstr(error.message, "loss=yes does not work with interventions"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(sae, rows_that_from_leaves_out_are_refused) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    const psc_token tokens[3] = {{.id = 3}, {.id = 41}, {.id = 7}};
    const psc_input input = {0, 3, tokens};
    psc_error error = {0};
    load(session, "path=" SAE "standard,rows=0,from=1");
    cr_assert_neq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, "which from=1 leaves out"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(sae, bad_options) {
    static const char *const bad[][2] = {{"", "path is missing"},
        {"path=" SAE "none", "there is no"}, {"path=" SAE, "name the folder of one"},
        {"path=" SAE "topk,latent=53", "latents from 0 to 52"},
        {"path=" SAE "topk,latent=1+", "latents from 0 to 52"},
        {"path=" SAE "topk,latent=L1F2", "latents from 0 to 52"},
        {"path=" SAE "topk,loss=maybe", "loss=maybe"},
        {"path=" SAE "topk,point=blocks.7.hook_resid_post", "the layers 0 to 1"},
        {"path=" SAE "topk,point=blocks.1.mlp.hook_post", "a row of blocks.1.mlp.hook_post has"},
        {"path=" SAE "topk,point=blocks.1.attn.hook_pattern", "no rows of a fixed width"},
        {"path=" SAE "topk,point=blocks.1.hook_resid_mid", "parallel residual lacks"},
        {"path=" SAE "topk,point=here", "'here' is neither a hook point"},
        {"path=" SAE "topk,point=layers.0+layers.1", "is no transcoder"},
        {"path=" SAE "transcoder,point=hook_embed", "is one end of a transcoder"},
        {"path=" SAE "transcoder,point=blocks.1.hook_resid_pre+blocks.0.hook_mlp_out",
            "is computed before its input"}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_error error = {0};
        cr_assert_neq(
            psc_session_plugin(session, "sae", bad[i][0], &error), PSC_OK, "%s", bad[i][0]);
        cr_assert(strstr(error.message, bad[i][1]), "'%s' is not in: %s", bad[i][1], error.message);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(sae, points_are_named_by_hand) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *a = run_golden(model, "sparsify_topk/layers.1", "", NULL, 1, 0);
    psc_session *b =
        run_golden(model, "sparsify_topk/layers.1", ",point=blocks.1.hook_resid_post", NULL, 1, 0);
    psc_session *c = run_golden(model, "transcoder", "", NULL, 1, 0);
    psc_session *d = run_golden(
        model, "transcoder", ",point=blocks.0.mlp.hook_in+blocks.0.hook_mlp_out", NULL, 1, 0);
    psc_session *e = run_golden(model, "transcoder", ",point=layers.0.mlp", NULL, 1, 0);
    assert_same_arrays(a, b, arrays, "by its hook");
    assert_same_arrays(c, d, arrays, "by both hooks");
    assert_same_arrays(c, e, arrays, "by its module");
    psc_session_close(&a);
    psc_session_close(&b);
    psc_session_close(&c);
    psc_session_close(&d);
    psc_session_close(&e);
    psc_model_close(&model);
}
