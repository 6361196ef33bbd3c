/* What the machine can do and what a pass needs (psc_limits.h): the work of small passes by hand,
 * and limits that are measured. */
#include "failing_malloc.h"
#include "golden.h"
#include "psc_limits.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

static psc_model *model;
static psc_session *session;
static psc_error error;

static void open_it(void) {
    model = must_model(golden_path("parallel_f32", NULL));
    session = must_session(model, NULL, 2, 0);
}

static void close_it(void) {
    psc_session_close(&session);
    psc_model_close(&model);
}

TestSuite(limits, .init = open_it, .fini = close_it);

static psc_pass_work work_of(int32_t rows, int32_t keys) {
    psc_pass_work work = PSC_PASS_WORK_INIT;
    cr_assert_eq(psc_session_work(&work, session, rows, keys, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(work.struct_size, sizeof work);
    return work;
}

/* n weights of four matrices of attention and two of the MLP per layer, and of the unembedding. */
Test(limits, the_work_of_passes) {
    const psc_model_info *info = psc_model_get_info(model);
    const double d = info->d_model, mlp = info->d_mlp, layers = info->n_layers;
    const double keys_values = 2 * d * d, others = 2 * d * d + 2 * d * mlp,
                 head = d * info->d_vocab;
    psc_pass_work work = work_of(1, 1);
    cr_assert_eq(work.matmul, 2 * (layers * (keys_values + others) + head));
    cr_assert_eq(work.attention, 4 * d * layers);
    cr_assert_eq(work.weight_bytes, 4 * (layers * (keys_values + others) + head), "f32 weights");
    cr_assert_eq(work.cache_bytes, 2 * d * layers * 4);
    work = work_of(3, 5); /* of the last layer, all but keys and values for one row only */
    cr_assert_eq(work.matmul,
        2 * ((layers - 1) * 3 * (keys_values + others) + 3 * keys_values + others + head));
    cr_assert_eq(work.attention, 4 * d * ((layers - 1) * (3 + 4 + 5) + 5));
    cr_assert_eq(work.cache_bytes, 5 * 2 * d * layers * 4);
    cr_assert_eq(work.weight_bytes, work_of(1, 1).weight_bytes, "read once, however many rows");
}

Test(limits, passes_that_do_not_exist) {
    static const int32_t bad[][2] = {{0, 1}, {-1, 1}, {2, 1}, {1, 0}};
    psc_pass_work work = PSC_PASS_WORK_INIT;
    char sentence[200];
    for (int i = 0; i < 4; i++) {
        snprintf(sentence, sizeof sentence,
            "a pass of %d rows over %d keys does not exist; rows are 1 to the number of keys",
            (int)bad[i][0], (int)bad[i][1]);
        cr_assert_eq(
            psc_session_work(&work, session, bad[i][0], bad[i][1], &error), PSC_ERROR_INPUT);
        cr_assert_str_eq(error.message, sentence);
    }
    work.struct_size = 3;
    cr_assert_eq(psc_session_work(&work, session, 1, 1, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(
        error.message, "psc_pass_work.struct_size is not set; start from PSC_PASS_WORK_INIT");
}

Test(limits, an_earlier_structure_is_not_overrun) {
    psc_pass_work work;
    memset(&work, 0xa5, sizeof work);
    work.struct_size = offsetof(psc_pass_work, weight_bytes);
    cr_assert_eq(psc_session_work(&work, session, 1, 1, &error), PSC_OK);
    cr_assert_eq(work.attention, work_of(1, 1).attention);
    for (size_t i = offsetof(psc_pass_work, weight_bytes); i < sizeof work; i++)
        cr_assert_eq(((const unsigned char *)&work)[i], 0xa5, "byte %zu", i);
}

Test(limits, what_the_machine_can_do) {
    psc_limits *limits = NULL;
    psc_limits_close(NULL);
    psc_limits_close(&limits);
    cr_assert_eq(psc_limits_open(&limits, session, &error), PSC_OK, "%s", error.message);
    const double flops = psc_limits_flops(limits), bandwidth = psc_limits_bandwidth(limits);
    cr_assert(flops > 1e6 && flops < 1e15, "%g operations per second", flops);
    cr_assert(bandwidth > 1e6 && bandwidth < 1e14, "%g bytes per second", bandwidth);
    psc_limits_close(&limits);
    cr_assert_null(limits);
}

Test(limits, without_memory) {
    psc_limits *limits = NULL;
    for (long i = 1; MEMORY_FAILS && i <= 2; i++) {
        memory_fail_at(i, false);
        const psc_status status = psc_limits_open(&limits, session, &error);
        memory_back();
        cr_assert_eq(status, PSC_ERROR_MEMORY, "request %ld", i);
        cr_assert_str_eq(
            error.message, "not enough memory to measure the read bandwidth (192 MiB)");
        cr_assert_null(limits);
    }
}
