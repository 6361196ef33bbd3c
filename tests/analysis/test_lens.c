/* The plugin lens against float64 (tests/tools/make_lens_golden.py), its bits, and bad lenses. */
#include "ln_mlp_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#define LENS_GOLDEN PSC_SOURCE_DIR "/tests/golden/lens/"
#define TUNED LENS_GOLDEN "tuned_parallel_f32"

static const char *const arrays[] = {"lens.sigma", "lens.log_z", "lens.entropy", "lens.kl",
    "lens.kl_reverse", "lens.top_ids", "lens.top_probs", "lens.logit", "lens.log_prob", "lens.rank",
    "lens.target_ids", NULL};

static void check_golden(const char *name, const char *kind, const char *options) {
    char path[1024];
    fixture_run how = {.plugin = "lens", .options = options, .threads = 2, .chunk = 2};
    psc_model *model = must_model(golden_path(name, NULL));
    psc_session *session = fixture_session(model, &how);
    snprintf(path, sizeof path, LENS_GOLDEN "%s_%s.safetensors", name, kind);
    psc_tensors *golden = golden_open(path);
    cr_assert_geq(golden->count, 10);
    for (size_t i = 0; i < golden->count; i++) {
        const double worst = compare_array(session, &golden->items[i], 1e-5);
        if (getenv("PSC_TEST_VERBOSE"))
            fprintf(stderr, "%-24s %-18s %.2e\n", name, golden->items[i].name, worst);
    }
    psc_tensors_close(&golden);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(lens, logit_lens) {
    static const char *const names[] = {"parallel_f32", "sequential_f32", "odd_sizes"};
    for (int i = 0; i < 3; i++) {
        check_golden(names[i], "own", "rows=all,top=3");
        check_golden(names[i], "final", "rows=all,top=3,ln=final");
    }
}

Test(lens, affine_lens) {
    check_golden("parallel_f32", "affine", "rows=all,top=3,lens=" TUNED);
}

/* With many rows: several blocks. */
Test(lens, bits) {
    const fixture_run logit = {.plugin = "lens", .options = "rows=all"};
    const fixture_run affine = {.plugin = "lens", .options = "rows=all,ln=final,lens=" TUNED};
    assert_independent("odd_sizes", logit, arrays);
    assert_independent("sequential_f32", logit, arrays);
    assert_independent("parallel_f32", affine, arrays);
}

/* The last site is the model's own output, edits included. */
Test(lens, last_site_is_the_output) {
    const fixture_run how = {.plugin = "lens", .options = "rows=all", .edited = 1};
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    const psc_model_info *info = psc_model_get_info(model);
    psc_session *session = fixture_session(model, &how);
    const psc_array logit = must_array(session, "lens.logit"), kl = must_array(session, "lens.kl");
    for (int r = 0; r < N_IDS; r++) {
        const float *z = psc_session_logits(session, r);
        const int64_t at = (int64_t)info->n_layers * N_IDS + r;
        cr_assert(z && fabs(array_at(&logit, at) - (double)z[5]) < 1e-4 * (1 + fabs((double)z[5])));
        cr_assert_eq(array_at(&kl, at), 0.0);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}

/* arrays= omits the arrays that it does not name. */
Test(lens, chosen_arrays) {
    const fixture_run how = {.plugin = "lens", .options = "arrays=top"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = fixture_session(model, &how);
    psc_array array;
    cr_assert_eq(psc_session_array(session, "lens.top_ids", &array, NULL), PSC_OK);
    cr_assert_eq(psc_session_array(session, "lens.kl", &array, NULL), PSC_ERROR_INPUT);
    cr_assert_eq(psc_session_array(session, "lens.rank", &array, NULL), PSC_ERROR_INPUT);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- bad input ------------------------------------------------------------------------------- */

static void refuse(const char *name, const char *options, const char *words) {
    psc_model *model = must_model(golden_path(name, NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    psc_error error = {0};
    const psc_status status = psc_session_plugin(session, "lens", options, &error);
    cr_assert_neq(status, PSC_OK, "%s was taken", options);
    cr_assert(strstr(error.message, words), "'%s' is not in: %s", words, error.message);
    cr_assert(!strchr(error.message, '\n'));
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(lens, bad_options) {
    refuse("parallel_f32", "ln=both", "ln=both is not one of own, final");
    refuse("parallel_f32", "top=0", "top=0 is not a whole number");
    refuse("parallel_f32", "arrays=top+", "arrays=top+ is not one or more of top");
    refuse("parallel_f32", "rows=9-3", "rows=9-3");
    refuse("parallel_f32", "fit=/nowhere/x", "fit= needs the documents of a corpus");
    refuse("parallel_f32", "fit_ridge=-1", "fit_ridge=-1 is not");
    refuse("parallel_f32", "lens=/nowhere", "/nowhere/config.json");
}

static void write_file(const char *folder, const char *name, const void *data, size_t size) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

/* The data of bad_lens: zeros, or NaN. */
static int data_byte;

/* A lens of the tiny tied model in a separate folder; N = 24, L = 2. */
static void bad_lens(const char *config, const char *header, size_t data, const char *words) {
    char folder[] = "/tmp/psc-lens-XXXXXX", options[128], path[128];
    unsigned char *bytes = calloc(1, 1 << 16);
    cr_assert(bytes && mkdtemp(folder));
    const size_t length = strlen(header);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, header, length);
    memset(bytes + 8 + length, data_byte, data);
    write_file(folder, "config.json", config, strlen(config));
    write_file(folder, "params.safetensors", bytes, 8 + length + data);
    snprintf(options, sizeof options, "lens=%s", folder);
    refuse("tied_f32", options, words);
    snprintf(path, sizeof path, "%s/config.json", folder);
    remove(path);
    snprintf(path, sizeof path, "%s/params.safetensors", folder);
    remove(path);
    rmdir(folder);
    free(bytes);
}

#define GOOD "{\"d_model\": 24, \"num_hidden_layers\": 2}"
#define WEIGHT                                                                                     \
    "\"0.weight\": {\"dtype\": \"F32\", \"shape\": [24, 24], \"data_offsets\": [0, 2304]}"

Test(lens, bad_lenses) {
    refuse("tied_f32", "lens=" TUNED,
        "belongs to another model: its d_model is 32, this model's is 24");
    bad_lens("{\"d_model\": 24, \"num_hidden_layers\": 3}", "{}", 0, "num_hidden_layers is 3");
    bad_lens("{\"d_model\": \"24\"}", "{}", 0, "no number \"d_model\"");
    bad_lens("{\"d_model\": 24, \"d_model\": 24}", "{}", 0, "not valid JSON");
    bad_lens("[24]", "{}", 0, "not a JSON object");
    bad_lens("{\"d_model\": 24, \"num_hidden_layers\": 2, \"model_hash\": \"00\"}", "{}", 0,
        "its model_hash is 00");
    bad_lens(GOOD, "{}", 0, "no tensor \"0.weight\"");
    bad_lens(GOOD, "{}", 7, "do not belong to any tensor");
    bad_lens(GOOD, "{" WEIGHT "}", 2304, "no tensor \"0.bias\"");
    bad_lens(GOOD, "{" WEIGHT "}", 2303, "truncated");
    bad_lens(GOOD,
        "{\"0.weight\": {\"dtype\": \"F32\", \"shape\": [576], \"data_offsets\": [0, 2304]}}", 2304,
        "does not have the shape [24, 24]");
    bad_lens(GOOD,
        "{\"0.weight\": {\"dtype\": \"I32\", \"shape\": [24, 24], \"data_offsets\": [0, 2304]}}",
        2304, "has dtype I32");
    data_byte = 0xff;
    bad_lens(GOOD, "{" WEIGHT "}", 2304, "contains NaN or infinities");
}
