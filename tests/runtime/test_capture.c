/* Captures by pattern, of all points, and of chosen rows: the same floats as in a whole capture. */
#include "plugin_fixture.h"

TestSuite(capture, .init = fixture_open, .fini = fixture_close);

static int32_t n_captures(void) {
    return psc_results_capture_count(psc_session_results(session));
}

static psc_array capture(const char *name) {
    psc_array a;
    cr_assert_eq(psc_results_find_array(&a, psc_session_results(session), name, &error), PSC_OK,
        "%s", error.message);
    return a;
}

static bool has_keys(const psc_array *a) {
    return strstr(a->name, "pattern") || strstr(a->name, "scores");
}

/* The floats of row `row` of a capture, of head `head` where the rows lie within heads. */
static const float *row_of(const psc_array *a, int64_t head, int64_t row, size_t *bytes) {
    int64_t width = 1;
    const bool keys = has_keys(a);
    for (int i = keys ? 2 : 1; i < a->n_axes; i++) width *= a->shape[i];
    *bytes = (size_t)width * sizeof(float);
    return (const float *)a->data + (keys ? head * a->shape[1] + row : row) * width;
}

/* The rows of b are those of a, in this order. */
static void same_rows(const psc_array *a, const psc_array *b, int n, const int *rows) {
    const int axis = has_keys(a) ? 1 : 0;
    size_t bytes, other;
    cr_assert(a->n_axes == b->n_axes && b->shape[axis] == n, "%s", b->name);
    for (int64_t h = 0; h < (axis ? a->shape[0] : 1); h++)
        for (int i = 0; i < n; i++) {
            const float *x = row_of(a, h, rows[i], &bytes), *y = row_of(b, h, i, &other);
            cr_assert(bytes == other && memcmp(x, y, bytes) == 0, "%s, row %d", b->name, rows[i]);
        }
}

/* A session without captures. */
static void begin_again(uint64_t cap) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = 3;
    options.capacity = 40;
    options.chunk = 3;
    options.threads = 2;
    if (cap > 0) options.retained_cap = cap;
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

static void run_two(void) {
    const psc_input inputs[] = {{0, 10, ten}, {2, 6, ten + 4}};
    psc_session_truncate(session, 0, 0);
    psc_session_truncate(session, 2, 0);
    cr_assert_eq(psc_session_run(session, inputs, 2, NULL, &error), PSC_OK, "%s", error.message);
}

/* Every point of the model, whole, then some rows of each, in a run of two sequences and chunks. */
Test(capture, rows_of_all_points) {
    static const int few[] = {0, 3, 4, 5}, last[] = {5}, last_of_ten[] = {9};
    psc_results *whole;
    must_capture("all");
    run_two();
    cr_assert_eq(psc_session_take_results(&whole, session, &error), PSC_OK);
    const int32_t n = psc_results_capture_count(whole);
    cr_assert_gt(n, 80);
    begin_again(0);
    must_capture("all:rows=3-5+0");
    run_two();
    cr_assert_eq(n_captures(), n);
    for (int32_t i = 0; i < n; i++) {
        psc_array a, b;
        psc_results_capture_at(&a, whole, i, &error);
        psc_results_capture_at(&b, psc_session_results(session), i, &error);
        cr_assert_str_eq(a.name, b.name);
        same_rows(&a, &b, 4, few);
    }
    begin_again(0);
    must_capture("*:rows=-1");
    run_two();
    cr_assert_eq(n_captures(), n);
    for (int32_t i = 0; i < n; i++) {
        psc_array a, b;
        psc_results_capture_at(&a, whole, i, &error);
        psc_results_capture_at(&b, psc_session_results(session), i, &error);
        same_rows(&a, &b, 1, strstr(a.name, "@0") ? last_of_ten : last);
    }
    psc_results_close(&whole);
}

Test(capture, patterns) {
    const int32_t layers = psc_model_get_info(model)->n_layers;
    must_capture("blocks.*hook_resid_p*");
    must_run_ten();
    cr_assert_eq(n_captures(), 2 * layers);
    capture("blocks.0.hook_resid_pre");
    must_capture("*");
    must_run_ten();
    const int32_t all = n_captures();
    must_capture("all");
    must_run_ten();
    cr_assert_eq(n_captures(), all);
    must_capture("blocks.*.hook_resid_post:rows=-2");
    must_run_ten();
    cr_assert(n_captures() == all && capture("blocks.0.hook_resid_post").shape[0] == 10);
}

static int64_t rows_of(const char *a, const char *b, const char *c) {
    begin_again(0);
    must_capture(a);
    must_capture(b);
    if (c) must_capture(c);
    must_run_ten();
    const psc_array hook = capture("blocks.0.hook_resid_pre");
    int32_t n;
    const uint64_t bytes = psc_session_capture_bytes(session, 10, &n);
    if (n == 1) cr_assert_eq(bytes, (uint64_t)(hook.shape[0] * hook.shape[1]) * sizeof(float));
    return hook.shape[0];
}

/* Of several requests for a tensor the rows of all are kept, in any order. */
Test(capture, joined) {
    const char *const hook = "blocks.0.hook_resid_pre",
                      *const one = "blocks.0.hook_resid_pre:rows=1",
                      *const more = "blocks.0.hook_resid_pre:rows=-1+1+4-5",
                      *const last = "*resid_pre:rows=9";
    static const int wanted[] = {1, 4, 5, 9};
    must_capture(hook);
    must_run_ten();
    psc_results *whole;
    psc_array a, b;
    cr_assert_eq(psc_session_take_results(&whole, session, &error), PSC_OK);
    psc_results_capture_at(&a, whole, 0, &error);
    cr_assert_eq(rows_of(one, more, NULL), 4);
    b = capture(hook);
    same_rows(&a, &b, 4, wanted);
    cr_assert_eq(rows_of(more, one, NULL), 4);
    cr_assert_eq(rows_of(last, one, "blocks.0.hook_resid_pre:rows=2"), 3);
    cr_assert_eq(rows_of(one, last, one), 2);
    cr_assert_eq(rows_of(one, hook, more), 10);
    cr_assert_eq(rows_of(hook, one, more), 10);
    psc_results_close(&whole);
}

static psc_status add(const char *request) {
    return psc_session_capture(session, request, &error);
}

Test(capture, refused) {
    REFUSED(add("x*y"), PSC_ERROR_INPUT, "'x*y' fits no hook point");
    REFUSED(add("hook_x"), PSC_ERROR_INPUT, "hook_x");
    REFUSED(add("hook_embed:rows="), PSC_ERROR_INPUT, "capture hook_embed: rows ''");
    REFUSED(add("hook_embed:rows=1+"), PSC_ERROR_INPUT, "rows ''");
    REFUSED(add("hook_embed:rows=1,2"), PSC_ERROR_INPUT, "rows '1,2'");
    REFUSED(add("hook_embed:rows=-0"), PSC_ERROR_INPUT, "rows '-0'");
    REFUSED(add("hook_embed:rows=5-3"), PSC_ERROR_INPUT, "rows '5-3'");
    REFUSED(add("hook_embed:rows=12345678"), PSC_ERROR_INPUT, "rows '12345678'");
    REFUSED(add("hook_embed:rows=0-9999999"), PSC_ERROR_INPUT, "more than 65536 rows");
    must_run_ten();
    cr_assert_eq(n_captures(), 0);
    must_capture("hook_embed:rows=10");
    REFUSED(run_ten(), PSC_ERROR_INPUT, "row 10 does not exist; the text has rows 0 to 9");
    begin_again(0);
    must_capture("hook_embed:rows=-11");
    REFUSED(run_ten(), PSC_ERROR_INPUT, "row -11 does not exist");
    begin_again(0);
    must_capture("hook_embed:rows=-1+9");
    REFUSED(run_ten(), PSC_ERROR_INPUT, "row 9 is named twice");
}

/* What is announced is what a run takes, to the byte. */
Test(capture, memory) {
    int32_t n = -1;
    cr_assert(psc_session_capture_bytes(session, 10, &n) == 0 && n == 0);
    must_capture("blocks.*");
    must_capture("hook_logits:rows=1+-1");
    must_run_ten();
    double bytes = 0;
    for (int32_t i = 0; i < n_captures(); i++) {
        psc_array a;
        double one = sizeof(float);
        psc_results_capture_at(&a, psc_session_results(session), i, &error);
        for (int d = 0; d < a.n_axes; d++) one *= (double)a.shape[d];
        bytes += one;
    }
    cr_assert_eq((double)psc_session_capture_bytes(session, 10, &n), bytes);
    cr_assert_eq(n, n_captures());
}

Test(capture, cap) {
    begin_again(20000);
    must_capture("all");
    REFUSED(run_ten(), PSC_ERROR_MEMORY, "capturing", "the cap (retained_cap, --retain) is 20000");
    begin_again(20000);
    must_capture("all:rows=0");
    must_run_ten();
}
