/* The plugin means: the saved means equal those of the captured tensors, for any batches; ablate
 * reads them; refusals. */
#include "ln_mlp_fixture.h"

#include <unistd.h>

enum { DOCUMENTS = 3, LENGTH = 7 };
static psc_error error;
static char folder[64];

static int32_t token_of(int document, int row) {
    return (int32_t)((row * row + 5 * document + 3) % 80);
}

static void fill(psc_token *tokens, int document) {
    memset(tokens, 0, LENGTH * sizeof *tokens);
    for (int i = 0; i < LENGTH - document; i++) tokens[i].id = token_of(document, i);
}

static psc_session *accumulating(psc_model *model, int32_t chunk, int32_t threads) {
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = 1;
    options.n_sequences = DOCUMENTS;
    options.chunk = chunk;
    options.threads = threads;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    return session;
}

/* All documents, `together` per run; the means go to `folder`. */
static void save_means(psc_model *model, const char *points, int together, int32_t chunk) {
    char options[256];
    psc_token tokens[DOCUMENTS][LENGTH];
    static int counter;
    snprintf(folder, sizeof folder, "/tmp/psc-means-%d-%d", (int)getpid(), counter++);
    snprintf(options, sizeof options, "points=%s,save=%s", points, folder);
    psc_session *session = accumulating(model, chunk, together);
    cr_assert_eq(
        psc_session_plugin(session, "means", options, &error), PSC_OK, "%s", error.message);
    for (int d = 0; d < DOCUMENTS; d += together) {
        psc_input inputs[DOCUMENTS];
        psc_document documents[DOCUMENTS];
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        run.documents = documents;
        run.no_logits = 1;
        for (int i = 0; i < together; i++) {
            fill(tokens[i], d + i);
            inputs[i] = (psc_input){i, LENGTH - (d + i), tokens[i]};
            documents[i] = (psc_document){d + i, 0};
            psc_session_truncate(session, i, 0);
        }
        cr_assert_eq(
            psc_session_run(session, inputs, together, &run, &error), PSC_OK, "%s", error.message);
    }
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    psc_session_close(&session);
}

static const char *saved_file(void) {
    static char path[128];
    snprintf(path, sizeof path, "%s/params.safetensors", folder);
    return path;
}

static void remove_means(void) {
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", folder);
    remove(path);
    remove(saved_file());
    rmdir(folder);
}

/* Sums of a captured tensor over all documents' rows except the first. */
static int expected(psc_model *model, const char *point, double *sum, int64_t *width) {
    int rows = 0;
    psc_token tokens[LENGTH];
    for (int d = 0; d < DOCUMENTS; d++) {
        psc_session *session = must_session(model, NULL, 1, 0);
        cr_assert_eq(psc_session_capture(session, point, &error), PSC_OK, "%s", error.message);
        fill(tokens, d);
        must_run_one(session, tokens, LENGTH - d);
        const psc_array array = must_array(session, point);
        *width = array_count(&array) / array.shape[0];
        for (int64_t r = 1; r < array.shape[0]; r++, rows++)
            for (int64_t i = 0; i < *width; i++) sum[i] += array_at(&array, r * *width + i);
        psc_session_close(&session);
    }
    return rows;
}

Test(means, are_those_of_the_tensors) {
    static const char *const points[] = {"blocks.1.attn.hook_z", "blocks.0.hook_mlp_out",
        "blocks.1.mlp.hook_post", "hook_embed", "ln_final.hook_scale"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    save_means(
        model, "attn.hook_z+hook_mlp_out+mlp.hook_post+hook_embed+ln_final.hook_scale", 1, 3);
    psc_tensors *saved = golden_open(saved_file());
    for (int p = 0; p < 5; p++) {
        double sum[1024] = {0};
        int64_t width = 0;
        const int rows = expected(model, points[p], sum, &width);
        const psc_tensor *got = golden_find(saved, points[p]);
        cr_assert_eq(got->rank, p == 0 ? 2 : 1);
        for (int64_t i = 0; i < width; i++)
            cr_assert(fabs(tensor_at(got, i) - sum[i] / rows) < 1e-6,
                "%s element %ld: %g, should "
                "be %g",
                points[p], (long)i, tensor_at(got, i), sum[i] / rows);
    }
    psc_tensors_close(&saved);
    remove_means();
    psc_model_close(&model);
}

/* One document at a time or all together: the same bytes; ablate accepts them. */
Test(means, batches_do_not_show) {
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    float *first = NULL;
    for (int together = 1; together <= DOCUMENTS; together += DOCUMENTS - 1) {
        save_means(model, "attn.hook_z", together, together == 1 ? 2 : 0);
        psc_tensors *saved = golden_open(saved_file());
        const psc_tensor *got = golden_find(saved, "blocks.0.attn.hook_z");
        const size_t n = (size_t)(got->shape[0] * got->shape[1]);
        float *values = golden_f32(got, n);
        if (first) cr_assert_arr_eq(values, first, n * sizeof *first);
        first = first ? first : values;
        psc_tensors_close(&saved);
        if (together == 1) remove_means();
    }
    char options[192];
    snprintf(options, sizeof options, "at=L0H1,by=mean,file=%s", saved_file());
    psc_session *session = must_session(model, NULL, 1, 0);
    cr_assert_eq(
        psc_session_plugin(session, "ablate", options, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_capture(session, "blocks.0.attn.hook_z", &error), PSC_OK);
    psc_token tokens[LENGTH];
    fill(tokens, 0);
    must_run_one(session, tokens, LENGTH);
    const psc_array z = must_array(session, "blocks.0.attn.hook_z");
    const int64_t size = z.shape[2];
    for (int64_t i = 0; i < size; i++)
        cr_assert_eq((float)array_at(&z, (2 * z.shape[1] + 1) * size + i), first[size + i]);
    psc_session_close(&session);
    remove_means();
    psc_model_close(&model);
}

Test(means, refusals) {
    static const char *const bad[][2] = {{"points=attn.hook_pattern", "no mean"},
        {"points=hook_nothing", "is not a hook point"}, {"points=attn.hook_z+attn.hook_z", "twice"},
        {"points=hook_logits", "no mean"}, {"from=2", "from"},
        {"save=/no/such/folder/x", "/no/such"}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = accumulating(model, 0, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(psc_session_plugin(session, "means", bad[i][0], &error), PSC_OK);
        cr_assert(strstr(error.message, bad[i][1]), "%s: %s", bad[i][0], error.message);
    }
    psc_session_close(&session);
    session = must_session(model, NULL, 1, 0);
    cr_assert_neq(psc_session_plugin(session, "means", "", &error), PSC_OK);
    cr_assert(strstr(error.message, "corpus"), "%s", error.message);
    psc_session_close(&session);
    psc_model_close(&model);
}
