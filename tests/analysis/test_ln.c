/* The plugin ln: every array against float64 by brute force, identities, edits, bits. */
#include "ln_mlp_fixture.h"

#define TOLERANCE 5e-6

static const char *const arrays[] = {"ln.mean", "ln.norm", "ln.scale", "ln.coupling", "ln.shares",
    "ln.coupling_fraction", "ln.coupling_error", "ln.frozen_ln", "ln.recomputed_ln",
    "ln.freeze_error", "ln.frozen_ln.layer", "ln.recomputed_ln.layer", "ln.freeze_error.layer",
    "ln.numerator", "ln.target_ids", NULL};

static const fixture_run all_rows = {
    .plugin = "ln", .options = "rows=all,target_rows=all", .threads = 1};

static psc_session *session_of(psc_model **model, const char *name, fixture_run how) {
    *model = must_model(golden_path(name, NULL));
    return fixture_session(*model, &how);
}

static void check_golden(const char *name, const char *file, fixture_run how) {
    psc_model *model;
    psc_session *session = session_of(&model, name, how);
    cr_assert_eq(compare_golden(session, file, "ln.", TOLERANCE), 12, "%s", file);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(ln, arrays_are_the_brute_force) {
    check_golden("parallel_f32", "parallel_f32", all_rows);
    check_golden("sequential_f32", "sequential_f32", all_rows);
    check_golden("tied_f32", "tied_f32", all_rows);
}

Test(ln, centered_targets_large_eps_odd_sizes) {
    fixture_run how = all_rows;
    how.options = "rows=all,target_rows=all,centered=yes";
    check_golden("odd_sizes", "odd_sizes_centered", how);
}

Test(ln, edits_are_a_component) {
    fixture_run how = all_rows;
    how.edited = 1;
    check_golden("parallel_f32", "parallel_f32_edited", how);
    check_golden("sequential_f32", "sequential_f32_edited", how);
}

/* sum_ab G_ab = |P(x)|^2 at ln_final; shares sum to one at every site; ln2 repeats ln1. */
static void check_sums(const char *name, int edited) {
    fixture_run how = all_rows;
    how.edited = edited;
    psc_model *model;
    psc_session *session = session_of(&model, name, how);
    const psc_array norm = must_array(session, "ln.norm"),
                    coupling = must_array(session, "ln.coupling");
    const psc_array shares = must_array(session, "ln.shares");
    const psc_array error = must_array(session, "ln.coupling_error");
    const int64_t sites = shares.shape[0], rows = shares.shape[1], writers = shares.shape[2];
    for (int64_t r = 0; r < rows; r++) {
        double total = 0.0;
        for (int64_t i = 0; i < writers * writers; i++)
            total += array_at(&coupling, r * writers * writers + i);
        const double want = pow(array_at(&norm, (sites - 1) * rows + r), 2);
        cr_assert_float_eq(total / want, 1.0, 2e-6, "%s: %.9g of %.9g", name, total, want);
        for (int64_t a = 0; a < writers; a++)
            for (int64_t b = 0; b < a; b++)
                cr_assert_eq(array_at(&coupling, (r * writers + a) * writers + b),
                    array_at(&coupling, (r * writers + b) * writers + a));
    }
    for (int64_t i = 0; i < sites * rows; i++) {
        double sum = 0.0;
        for (int64_t w = 0; w < writers; w++) sum += array_at(&shares, i * writers + w);
        cr_assert_float_eq(sum, 1.0, 2e-6);
        cr_assert_float_eq(fabs(sum - 1.0), array_at(&error, i), 1e-12);
    }
    const psc_array scale = must_array(session, "ln.scale");
    for (int64_t i = 0; psc_model_get_info(model)->parallel_residual && i < rows; i++)
        cr_assert_eq(array_at(&scale, i), array_at(&scale, rows + i));
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(ln, sums_close) {
    check_sums("parallel_f32", 0);
    check_sums("sequential_f32", 0);
    check_sums("no_attention_bias", 0);
    check_sums("parallel_f32", 1);
    check_sums("sequential_f32", 1);
}

/* recomputed_ln = frozen_ln + freeze_error, and frozen_ln sums to -S/sigma. */
static void check_effects(const char *name, int edited) {
    fixture_run how = all_rows;
    how.edited = edited;
    psc_model *model;
    psc_session *session = session_of(&model, name, how);
    const psc_array frozen = must_array(session, "ln.frozen_ln");
    const psc_array again = must_array(session, "ln.recomputed_ln");
    const psc_array error = must_array(session, "ln.freeze_error");
    const psc_array numerator = must_array(session, "ln.numerator");
    const psc_array scale = must_array(session, "ln.scale");
    const int64_t rows = frozen.shape[1], parts = frozen.shape[2];
    const int64_t last = (scale.shape[0] - 1) * rows;
    for (int64_t cell = 0; cell < frozen.shape[0] * rows; cell++) {
        if (isnan(array_at(&numerator, cell))) continue;
        double sum = 0.0, size = 1.0;
        for (int64_t c = cell * parts; c < (cell + 1) * parts; c++) {
            sum += array_at(&frozen, c);
            size += fabs(array_at(&frozen, c));
            cr_assert_float_eq(
                array_at(&again, c), array_at(&frozen, c) + array_at(&error, c), 1e-14);
        }
        const double want = -array_at(&numerator, cell) / array_at(&scale, last + cell % rows);
        cr_assert_lt(fabs(sum - want), 1e-5 * size, "%s: %.9g, should be %.9g", name, sum, want);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(ln, effects_are_complete) {
    check_effects("parallel_f32", 0);
    check_effects("sequential_f32", 0);
    check_effects("sharded_padded_f16", 0);
    check_effects("parallel_f32", 1);
    check_effects("sequential_f32", 1);
}

/* rows=last and a range give the same rows as `all`, to the bit. */
Test(ln, fewer_rows_same_values) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    fixture_run how = all_rows;
    psc_session *all = fixture_session(model, &how);
    how.options = "rows=1-2,target_rows=3-3";
    psc_session *few = fixture_session(model, &how);
    const psc_array scale = must_array(all, "ln.scale"), two = must_array(few, "ln.scale");
    const psc_array effect = must_array(all, "ln.recomputed_ln");
    const psc_array one = must_array(few, "ln.recomputed_ln");
    cr_assert_eq(two.shape[1], 2);
    cr_assert_eq(one.shape[1], 1);
    for (int64_t site = 0; site < scale.shape[0]; site++)
        for (int64_t r = 0; r < 2; r++)
            cr_assert_eq(array_at(&two, 2 * site + r), array_at(&scale, N_IDS * site + 1 + r));
    for (int64_t t = 0; t < one.shape[0]; t++)
        for (int64_t c = 0; c < one.shape[2]; c++)
            cr_assert_eq(array_at(&one, t * one.shape[2] + c),
                array_at(&effect, (t * N_IDS + 3) * one.shape[2] + c));
    psc_session_close(&few);
    psc_session_close(&all);
    psc_model_close(&model);
}

/* Without targets: the top prediction at the last row. */
Test(ln, default_options) {
    psc_model *model;
    const fixture_run how = {.plugin = "ln", .threads = 1, .no_targets = 1};
    psc_session *session = session_of(&model, "tied_f32", how);
    const psc_array effect = must_array(session, "ln.frozen_ln");
    const psc_array scale = must_array(session, "ln.scale");
    cr_assert_eq(effect.shape[0], 1);
    cr_assert_eq(effect.shape[1], 1);
    cr_assert_eq(scale.shape[1], N_IDS);
    cr_assert(!isnan(array_at(&effect, 0)));
    psc_session_close(&session);
    psc_model_close(&model);
}

/* `next` alone with target_rows=last: the last row that has a next token. */
Test(ln, next_takes_the_last_but_one_row) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    psc_error error = {0};
    psc_token tokens[N_IDS] = {{0}};
    for (int i = 0; i < N_IDS; i++) tokens[i].id = fixture_ids[i];
    cr_assert_eq(psc_session_plugin(session, "ln", NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK, "%s", error.message);
    must_run_one(session, tokens, N_IDS);
    const psc_array ids = must_array(session, "ln.target_ids");
    cr_assert_eq(ids.shape[1], 1);
    cr_assert_eq(array_at(&ids, 0), fixture_ids[N_IDS - 1]);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Two sequences in one run give each the values that it has alone, to the bit; a second run of a
 * session gives the same values as its first. */
Test(ln, batch_and_second_run) {
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    psc_error error = {0};
    psc_token tokens[N_IDS] = {{0}};
    for (int i = 0; i < N_IDS; i++) tokens[i].id = fixture_ids[i];
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 2;
    options.chunk = 3;
    options.n_sequences = 2;
    psc_session *both = NULL, *alone = must_session(model, NULL, 1, 0);
    cr_assert_eq(psc_session_open(&both, model, &options, &error), PSC_OK, "%s", error.message);
    psc_session *sessions[] = {both, alone};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(psc_session_plugin(sessions[i], "ln", NULL, &error), PSC_OK);
        cr_assert_eq(psc_session_target(sessions[i], "#5", &error), PSC_OK);
        cr_assert_eq(psc_session_target(sessions[i], "next", &error), PSC_OK);
    }
    const psc_input inputs[] = {{0, 3, tokens}, {1, N_IDS, tokens}};
    must_run(both, inputs, 2);
    must_run_one(alone, tokens, 2);
    psc_session_truncate(alone, 0, 0);
    must_run_one(alone, tokens, N_IDS);
    const psc_array x = must_array(both, "ln.recomputed_ln");
    const psc_array y = must_array(alone, "ln.recomputed_ln");
    cr_assert_eq(x.shape[1], 4); /* two rows of each sequence, for `next` */
    cr_assert_eq(y.shape[1], 2);
    const size_t bytes = (size_t)x.shape[2] * sizeof(double);
    const double *a = x.data, *b = y.data;
    for (int64_t t = 0; t < 2; t++)
        cr_assert_eq(
            memcmp(a + (4 * t + 2) * x.shape[2], b + 2 * t * x.shape[2], bytes * (t == 0 ? 2 : 1)),
            0);
    psc_session_close(&both);
    psc_session_close(&alone);
    psc_model_close(&model);
}

static void refused(psc_model *model, const char *options) {
    psc_session *session = must_session(model, NULL, 1, 0);
    psc_error error = {0};
    psc_token tokens[N_IDS] = {{0}};
    psc_input input = {0, N_IDS, tokens};
    psc_status status = psc_session_plugin(session, "ln", options, &error);
    if (status == PSC_OK) status = psc_session_run(session, &input, 1, NULL, &error);
    cr_assert_neq(status, PSC_OK, "%s was taken", options);
    cr_assert(strchr(error.message, '='), "%s", error.message);
    psc_session_close(&session);
}

Test(ln, bad_options) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    static const char *const bad[] = {"rows=", "rows=first", "rows=3-1", "rows=-1", "rows=1-",
        "rows=99999999999", "rows=2147483647", "rows=1-2-3", "target_rows=5-9", "centered=maybe"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refused(model, bad[i]);
    psc_model_close(&model);
}

Test(ln, bits_do_not_depend_on_the_run) {
    fixture_run how = all_rows;
    assert_independent("parallel_f32", how, arrays);
    assert_independent("odd_sizes", how, arrays);
    how.edited = 1;
    assert_independent("sequential_f32", how, arrays);
}
