/* The plugin roles against float64 (tests/tools/make_roles_golden.py), its bits, and refusals. */
#include "ln_mlp_fixture.h"

static const int32_t text[] = {3, 41, 7, 3, 60, 7, 3, 12, 5};
enum { LENGTH = sizeof text / sizeof *text };
static psc_error error;

static psc_status try_run(psc_session *session, int32_t n) {
    psc_token tokens[LENGTH] = {{0}};
    for (int i = 0; i < n; i++) tokens[i].id = text[i];
    psc_input input = {0, n, tokens};
    return psc_session_run(session, &input, 1, NULL, &error);
}

static psc_session *run_roles(psc_model *model, const char *options, const fixture_run *how) {
    psc_session *session = must_session(model, how->isa, how->threads, how->chunk);
    cr_assert_eq(psc_session_plugin(session, "roles", options, &error), PSC_OK, "%s: %s", options,
        error.message);
    cr_assert_eq(psc_session_target(session, "#5", &error), PSC_OK);
    cr_assert_eq(try_run(session, LENGTH), PSC_OK, "%s", error.message);
    return session;
}

static void check_model(const char *name, const char *options) {
    char path[1024];
    const fixture_run how = {.threads = 2, .chunk = 4};
    psc_model *model = must_model(golden_path(name, NULL));
    psc_session *session = run_roles(model, options, &how);
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/roles/%s.safetensors", name);
    psc_tensors *golden = golden_open(path);
    cr_assert_eq(golden->count, 11);
    for (size_t i = 0; i < golden->count; i++) {
        const double worst = compare_array(session, &golden->items[i], 5e-6);
        if (getenv("PSC_TEST_VERBOSE"))
            fprintf(stderr, "%-16s %-24s %.2e\n", name, golden->items[i].name, worst);
    }
    psc_tensors_close(&golden);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(roles, golden) {
    check_model("parallel_f32", "dimension=3,angles=all");
    check_model("sequential_f32", "dimension=3,target=given");
    check_model("rotary_full", "dimension=3");
}

/* All arrays except those that LAPACK computes. */
Test(roles, bits) {
    static const fixture_run ways[] = {{.isa = "reference", .threads = 1},
        {.isa = "reference", .threads = 2, .chunk = 2}, {.threads = 3, .chunk = 1}};
    static const char *const arrays[] = {"roles.predictor", "roles.attractor", "roles.influencer",
        "roles.influencer_onward", "roles.map", "roles.mean", "roles.deviation", "roles.largest",
        "roles.largest_row", NULL};
    const fixture_run plain = {.threads = 1};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *first = run_roles(model, "dimension=2", &plain);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        psc_session *other = run_roles(model, "dimension=2", &ways[w]);
        assert_same_arrays(first, other, arrays, "threads, chunks, isa");
        psc_session_close(&other);
    }
    psc_session_close(&first);
    psc_model_close(&model);
}

/* A single row has no later rows and no next token; more dimensions than directions. */
Test(roles, edges) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int32_t n = 1; n <= 2; n++) {
        psc_session *session = must_session(model, NULL, 2, 0);
        cr_assert_eq(psc_session_plugin(session, "roles", "dimension=256", &error), PSC_OK);
        cr_assert_eq(try_run(session, n), PSC_OK, "%s", error.message);
        const psc_array got = must_array(session, "roles.attractor");
        const psc_array cosines = must_array(session, "roles.cosines");
        cr_assert(isnan(array_at(&got, n - 1)));
        cr_assert_eq(n == 1, isnan(array_at(&cosines, 0)) != 0);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

Test(roles, refusals) {
    static const char *const bad[] = {"target=5", "onward=maybe", "angles=2", "angles=-1",
        "angles=x", "dimension=0", "dimension=257", "depth=3"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(psc_session_plugin(session, "roles", bad[i], &error), PSC_OK);
        char key[16];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(bad[i], "="), bad[i]);
        cr_assert(strstr(error.message, key), "%s: %s", bad[i], error.message);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}
