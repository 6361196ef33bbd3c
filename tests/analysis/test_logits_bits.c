/* The plugin logits to the bit: over threads, chunks, ISAs and batches, and for every way of
 * computing a target's shares. */
#include "logits_fixture.h"

static const char *const bit_arrays[] = {"contributions", "contributions.head",
    "contributions.layer", "values", "constant", "sigma", "completeness_error", "sum_abs_share",
    "completeness_error.layer", "sum_abs_share.head"};
enum { N_BIT_ARRAYS = sizeof bit_arrays / sizeof *bit_arrays };

typedef struct snapshot {
    float *data[N_BIT_ARRAYS];
    int64_t n[N_BIT_ARRAYS];
} snapshot;

static void take(snapshot *out) {
    for (int i = 0; i < N_BIT_ARRAYS; i++) {
        const psc_array array = array_of(bit_arrays[i]);
        out->n[i] = elements_of(&array);
        out->data[i] = malloc((size_t)out->n[i] * sizeof(float));
        memcpy(out->data[i], array.data, (size_t)out->n[i] * sizeof(float));
    }
}

static int same_bits(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void assert_same(const snapshot *want, const char *what) {
    for (int i = 0; i < N_BIT_ARRAYS; i++) {
        const psc_array array = array_of(bit_arrays[i]);
        cr_assert_eq(elements_of(&array), want->n[i]);
        for (int64_t k = 0; k < want->n[i]; k++)
            cr_assert(same_bits(((const float *)array.data)[k], want->data[i][k]),
                "%s: %s[%d] differs", what, bit_arrays[i], (int)k);
    }
}

static void free_snapshot(snapshot *s) {
    for (int i = 0; i < N_BIT_ARRAYS; i++) free(s->data[i]);
}

static void run_all_levels(const char *name, const char *isa, int32_t threads, int32_t chunk) {
    start(golden_path(name, NULL), isa, threads, chunk);
    load_logits("level=layer+head+neuron,rows=all");
    add_targets();
    must_run_one(session, six, 6);
}

Test(logits_bits, over_threads_chunks_and_isas) {
    const char *const names[] = {"odd_sizes", "sequential_bf16_v5", "old_f16"};
    const int32_t chunks[] = {1, 2, 0};
    for (int m = 0; m < 3; m++) {
        snapshot want;
        run_all_levels(names[m], "reference", 1, 0);
        take(&want);
        stop();
        for (int i = 0; i < 18; i++) {
            const char *isa = i % 2 ? "reference" : NULL;
            run_all_levels(names[m], isa, 1 + i / 2 % 3, chunks[i / 6]);
            assert_same(&want, names[m]);
            stop();
        }
        free_snapshot(&want);
    }
}

/* The same rows as the middle one of three sequences. */
Test(logits_bits, in_a_batch) {
    run_all_levels("odd_sizes", NULL, 2, 4);
    snapshot alone;
    take(&alone);
    stop();
    start(golden_path("odd_sizes", NULL), NULL, 2, 4);
    load_logits("level=layer+head+neuron,rows=all");
    add_targets();
    const psc_input inputs[] = {{0, 3, six + 2}, {1, 6, six}, {2, 5, six + 1}};
    must_run(session, inputs, 3);
    const psc_array shares = array_of("contributions");
    const int64_t n = shares.shape[2];
    cr_assert_eq(shares.shape[1], 14);
    for (int64_t t = 0; t < 5; t++)
        for (int64_t i = 0; i < 6 * n; i++)
            cr_assert(same_bits(
                ((const float *)shares.data)[(t * 14 + 3) * n + i], alone.data[0][t * 6 * n + i]));
    free_snapshot(&alone);
    stop();
}

/* Computed during events (#id), in batches (next) or from retained tensors (top:1): one id, one
 * result. */
Test(logits_bits, of_one_id_by_every_way) {
    char target[16];
    start(golden_path("parallel_f32", NULL), NULL, 2, 4);
    load_logits("level=head+neuron,rows=all");
    add_target("top:1");
    add_target("next");
    for (int i = 0; i < 80; i++) {
        snprintf(target, sizeof target, "#%d", i);
        add_target(target);
    }
    must_run_one(session, six, 6);
    const psc_array shares = array_of("contributions");
    const int32_t *ids = array_of("target_ids").data;
    const int64_t n = shares.shape[2];
    const float *data = shares.data;
    for (int64_t at = 0; at < 11; at++) /* top:1 at six rows, next at five */
        for (int64_t c = 0; c < n; c++)
            cr_assert(same_bits(data[at * n + c], data[((2 + ids[2 * at]) * 6 + at % 6) * n + c]));
    stop();
}
