/* A gradient's bits do not depend on the instruction set, threads, chunks, other sequences of the
 * run, or on what is kept of its pass. */
#include "gradient_takes.h"

static void check_settings(const char *variant) {
    static const struct {
        const char *isa;
        int32_t threads, chunk;
    } settings[] = {
        {NULL, 1, 0}, {NULL, 2, 7}, {NULL, 3, 64}, {"avx2", 2, 0}, {"reference", 3, 33}};
    psc_model *model = must_model(golden_path(variant, NULL));
    take base, one;
    set_up();
    take_one(&base, model, "reference", 1, 0, PSC_POINT_COUNT);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        psc_session *probe = NULL;
        psc_session_options options = PSC_SESSION_OPTIONS_INIT;
        options.isa = settings[i].isa;
        if (psc_session_open(&probe, model, &options, NULL) != PSC_OK) continue;
        psc_session_close(&probe);
        take_one(
            &one, model, settings[i].isa, settings[i].threads, settings[i].chunk, PSC_POINT_COUNT);
        assert_same(&base, &one, variant);
        take_close(&one);
    }
    static const int32_t points[] = {PSC_HOOK_RESID_PRE, PSC_HOOK_K, PSC_HOOK_PATTERN,
        PSC_HOOK_ATTN_SCORES, PSC_HOOK_LN1_SCALE, PSC_HOOK_RESULT};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        take_one(&one, model, NULL, 2, 0, points[i]);
        assert_same(&base, &one, "only one point is requested");
        take_close(&one);
    }
    recompute = 1;
    take_one(&one, model, NULL, 2, 50, PSC_POINT_COUNT);
    assert_same(&base, &one, "recomputed");
    take_close(&one);
    recompute = 0;
    take_close(&base);
    psc_model_close(&model);
}

Test(gradient_bits, parallel) {
    check_settings("parallel_f32");
}

Test(gradient_bits, tanh_sequential) {
    check_settings("rope_linear");
}

Test(gradient_bits, whole_rotary) {
    check_settings("rope_yarn");
}

Test(gradient_bits, odd_sizes) {
    rows = 60;
    check_settings("odd_sizes");
}

/* Three sequences of one run have the gradients that each has alone. */
Test(gradient_bits, in_a_batch) {
    static const int32_t lengths[] = {40, 1, 17};
    psc_model *model = must_model(golden_path("odd_sizes", NULL));
    const psc_model_info *info = psc_model_get_info(model);
    psc_session *session = must_session(model, NULL, 2, 9);
    copy_set set = {.info = *info, .n_inputs = 3};
    psc_input inputs[3];
    test_metric m;
    set_up();
    metric_open(&m);
    for (int32_t i = 0, first = 0; i < 3; first += lengths[i++]) {
        inputs[i] = (psc_input){i, lengths[i], tokens + i};
        set.inputs[i] = (copied_input){i, 0, lengths[i]};
        metric_add(&m, PSC_METRIC_LOG_P, first + lengths[i] - 1, 3 + i, 1.0, NULL);
    }
    gradients_add_all(&set);
    must_run_gradients(session, inputs, &set, &m);
    for (int32_t i = 0; i < 3; i++) {
        copy_set alone = {.info = *info, .n_inputs = 1, .inputs = {{0, 0, lengths[i]}}};
        test_metric one;
        metric_open(&one);
        metric_add(&one, PSC_METRIC_LOG_P, lengths[i] - 1, 3 + i, 1.0, NULL);
        gradients_add_all(&alone);
        psc_session_truncate(session, 0, 0);
        must_run_gradients(session, &(psc_input){0, lengths[i], tokens + i}, &alone, &one);
        for (int32_t c = 0; c < alone.n; c++) {
            const psc_copy *want = &alone.list[c], *got = &set.list[c];
            int64_t at = 0;
            for (int32_t before = 0; before < i; before++)
                at += lengths[before] * copied_width(&set, got->point, lengths[before]);
            cr_assert(!memcmp(got->out + at, want->out, (size_t)want->capacity * sizeof(float)),
                "sequence %d, %s of layer %d", (int)i, psc_point_suffix((psc_point)got->point),
                (int)got->layer);
        }
        copies_close(&alone);
    }
    copies_close(&set);
    psc_session_close(&session);
    psc_model_close(&model);
}
