/* The plugin mlp: every array against float64, identities, bits. */
#include "ln_mlp_fixture.h"

#define TOLERANCE 5e-6

static const char *const arrays[] = {"mlp.pre", "mlp.gate", "mlp.post", "mlp.fires",
    "mlp.participation", "mlp.share_participation", "mlp.relu_error", "mlp.relu_error_target",
    "mlp.top_share", "mlp.top_layer", "mlp.top_neuron", "mlp.top_pre", "mlp.top_gate",
    "mlp.target_ids", NULL};

static const fixture_run all_rows = {
    .plugin = "mlp", .options = "rows=all,target_rows=all,top=6,arrays=all", .threads = 1};

static void check_golden(const char *name) {
    psc_model *model = must_model(golden_path(name, NULL));
    psc_session *session = fixture_session(model, &all_rows);
    cr_assert_eq(compare_golden(session, name, "mlp.", TOLERANCE), 11, "%s", name);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(mlp, arrays_are_float64s) {
    check_golden("parallel_f32");
    check_golden("sequential_f32");
    check_golden("tied_f32");
}

/* The gate equals the forward pass's own: pre times gate is hook_post to the bit. */
Test(mlp, gate_is_the_forward_pass_s) {
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    psc_session *session = fixture_session(model, &all_rows);
    const psc_array pre = must_array(session, "mlp.pre"), gate = must_array(session, "mlp.gate");
    const psc_array post = must_array(session, "mlp.post");
    const float *a = pre.data, *phi = gate.data, *g = post.data;
    const int64_t count = array_count(&pre);
    for (int64_t i = 0; i < count; i++)
        cr_assert_eq(a[i] * phi[i], g[i], "element %ld of a = %.9g", (long)i, (double)a[i]);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* With top = all neurons, each is listed once, in descending order of size. */
Test(mlp, list_is_ordered) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    fixture_run how = all_rows;
    how.options = "target_rows=all,top=256,arrays=none";
    psc_session *session = fixture_session(model, &how);
    const psc_array share = must_array(session, "mlp.top_share");
    const psc_array neuron = must_array(session, "mlp.top_neuron");
    const psc_array layer = must_array(session, "mlp.top_layer");
    const psc_model_info *info = psc_model_get_info(model);
    const int64_t n = share.shape[2];
    cr_assert_eq(n, info->n_layers * info->d_mlp);
    char seen[256];
    for (int64_t cell = 0; cell < share.shape[0] * share.shape[1]; cell++) {
        memset(seen, 0, sizeof seen);
        for (int64_t i = cell * n; i < (cell + 1) * n; i++) {
            if (isnan(array_at(&share, i))) continue;
            const int at = (int)(array_at(&layer, i) * info->d_mlp + array_at(&neuron, i));
            cr_assert_eq(seen[at]++, 0, "a neuron is listed twice");
            if (i > cell * n)
                cr_assert_leq(fabs(array_at(&share, i)), fabs(array_at(&share, i - 1)));
        }
    }
    psc_session_close(&session);
    psc_model_close(&model);
}

/* fires counts the rows with a > 0, and needs no arrays kept. */
Test(mlp, fires_counts) {
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    psc_session *session = fixture_session(model, &all_rows);
    fixture_run how = all_rows;
    how.options = "arrays=none";
    psc_session *none = fixture_session(model, &how);
    const psc_array pre = must_array(session, "mlp.pre"), fires = must_array(none, "mlp.fires");
    const int64_t m = pre.shape[2];
    for (int64_t i = 0; i < array_count(&fires); i++) {
        int count = 0;
        for (int64_t r = 0; r < N_IDS; r++)
            count += array_at(&pre, ((i / m) * N_IDS + r) * m + i % m) > 0.0;
        cr_assert_eq(array_at(&fires, i), count);
    }
    psc_array array;
    cr_assert_neq(psc_session_array(none, "mlp.gate", &array, NULL), PSC_OK);
    psc_session_close(&none);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Shares of fewer rows equal those of all rows, to the bit. */
Test(mlp, fewer_rows_same_values) {
    psc_model *model = must_model(golden_path("tied_f32", NULL));
    fixture_run how = all_rows;
    psc_session *all = fixture_session(model, &how);
    how.options = "rows=2-4,target_rows=3,top=6";
    psc_session *few = fixture_session(model, &how);
    const psc_array gate = must_array(all, "mlp.gate"), some = must_array(few, "mlp.gate");
    const psc_array share = must_array(all, "mlp.top_share"),
                    one = must_array(few, "mlp.top_share");
    const int64_t m = gate.shape[2];
    cr_assert_eq(some.shape[1], 3);
    for (int64_t i = 0; i < array_count(&some); i++) {
        const int64_t l = i / (3 * m), r = i / m % 3;
        cr_assert_eq(array_at(&some, i), array_at(&gate, (l * N_IDS + r + 2) * m + i % m));
    }
    for (int64_t t = 0; t < one.shape[0]; t++)
        for (int64_t i = 0; i < 6; i++)
            cr_assert_eq(array_at(&one, t * 6 + i), array_at(&share, (t * N_IDS + 3) * 6 + i));
    psc_session_close(&few);
    psc_session_close(&all);
    psc_model_close(&model);
}

Test(mlp, bits_do_not_depend_on_the_run) {
    fixture_run how = all_rows;
    assert_independent("parallel_f32", how, arrays);
    assert_independent("odd_sizes", how, arrays);
    how.edited = 1;
    assert_independent("sequential_f32", how, arrays);
}

Test(mlp, bad_options) {
    psc_model *model = must_model(golden_path("tied_f32", NULL));
    static const char *const bad[] = {"top=0", "top=1001", "top=x", "top=", "arrays=some",
        "centered=1", "rows=9-7", "target_rows=last,rows=no"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        psc_session *session = must_session(model, NULL, 1, 0);
        psc_error error = {0};
        cr_assert_neq(psc_session_plugin(session, "mlp", bad[i], &error), PSC_OK, "%s", bad[i]);
        cr_assert(strchr(error.message, '='), "%s", error.message);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}
