/* A plain run allocates nothing: its memory exists since the session opened, or since an earlier
 * run. The test counts every allocation of the process by replacing the allocator, which needs
 * glibc and no sanitizer that does the same. */
#include "golden.h"
#include "registry.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS 1

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static atomic_long allocations;

void *malloc(size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(n, bytes);
}

void *realloc(void *memory, size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    *out = __libc_memalign(alignment, bytes);
    return *out ? 0 : 12;
}
#else
#define COUNTS 0
static atomic_long allocations;
#endif

#define ROWS 30
#define STEPS 5

static psc_copy copies[PSC_POINT_COUNT];
static int32_t n_copies;

/* Copies the last row of every point of layer 0. */
static void ask_for_copies(const psc_model_info *info) {
    static float out[1 << 16];
    float *at = out;
    n_copies = 0;
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        if (p == PSC_HOOK_ATTN_SCORES || p == PSC_HOOK_PATTERN) continue; /* their keys grow */
        if (p == PSC_HOOK_RESID_MID && info->parallel_residual) continue;
        psc_copy copy = PSC_COPY_INIT;
        copy.point = p;
        copy.layer = psc_point_has_layer((psc_point)p) ? 0 : -1;
        copy.rows = PSC_ROWS_LAST;
        copy.out = at;
        copy.capacity = 1;
        for (const char *axis = psc_point_shape((psc_point)p); *axis; axis++)
            copy.capacity *= psc_axis_extent(*axis, info, 0);
        at += copy.capacity;
        cr_assert_leq(at - out, 1 << 16);
        copies[n_copies++] = copy;
    }
}

static psc_status run(psc_session *session, const psc_token *tokens, int32_t n, int32_t logits) {
    psc_error error;
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_input input = {0, n, tokens};
    options.logits = logits;
    options.copies = copies;
    options.n_copies = n_copies;
    return psc_session_run(session, &input, 1, &options, &error);
}

/* The number of allocations of a prefill and some decoded tokens. */
static long count(psc_session *session, const psc_token *tokens, int32_t logits) {
    long before = atomic_load(&allocations);
    psc_session_truncate(session, 0, 0);
    psc_status status = run(session, tokens, ROWS, logits);
    for (int32_t i = 0; i < STEPS && status == PSC_OK; i++)
        status = run(session, tokens + ROWS + i, 1, logits);
    long after = atomic_load(&allocations);
    cr_assert_eq(status, PSC_OK);
    return after - before;
}

static void check(const char *variant, int32_t chunk) {
    psc_token tokens[ROWS + STEPS];
    for (int i = 0; i < ROWS + STEPS; i++) tokens[i] = (psc_token){.id = (i * i + 3 * i) % 80};
    long opening = atomic_load(&allocations);
    psc_model *model = must_model(golden_path(variant, NULL));
    psc_session *session = must_session(model, NULL, 2, chunk);
    cr_assert_gt(atomic_load(&allocations), opening, "the count does not count");
    count(session, tokens, PSC_ROWS_LAST); /* the first run starts the threads */
    cr_assert_eq(count(session, tokens, PSC_ROWS_LAST), 0, "%s", variant);
    count(session, tokens, PSC_ROWS_ALL); /* memory for all rows' logits */
    cr_assert_eq(count(session, tokens, PSC_ROWS_ALL), 0, "%s: all logits", variant);
    ask_for_copies(psc_model_get_info(model));
    count(session, tokens, PSC_ROWS_LAST);
    cr_assert_eq(count(session, tokens, PSC_ROWS_LAST), 0, "%s: copies", variant);
    n_copies = 0;
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(allocation, plain_runs) {
    if (!COUNTS) cr_skip_test("the allocator cannot be counted here");
    for (const char *const *v = golden_variants; *v; v++) {
        check(*v, 0);
        check(*v, 7);
    }
}

/* --- pages ----------------------------------------------------------------------------------- */

#define SEQUENCES 4
#define CONTEXT 512 /* of the embedded model: with it, the session's memory has 20 MB */

static long page_faults(void) {
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_minflt + usage.ru_majflt;
}

/* A session's memory has its pages before the first run, which would wait for them. */
Test(allocation, pages_before_the_first_run) {
    const char *path = golden_embedded();
    if (!COUNTS || !path) cr_skip_test("needs the embedded model and its plain allocator");
    psc_error error;
    psc_model *model = must_model(path);
    psc_session *session;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.n_sequences = SEQUENCES;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    static psc_token tokens[CONTEXT];
    psc_input inputs[SEQUENCES];
    for (int i = 0; i < CONTEXT; i++) tokens[i].id = i;
    for (int i = 0; i < SEQUENCES; i++) inputs[i] = (psc_input){i, CONTEXT, tokens};
    const long before = page_faults();
    cr_assert_eq(psc_session_run(session, inputs, SEQUENCES, NULL, &error), PSC_OK);
    cr_expect_lt(page_faults() - before, 400, "%ld faults", page_faults() - before);
    psc_session_close(&session);
    psc_model_close(&model);
}
