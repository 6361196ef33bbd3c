/* Results that are stacked while memory runs out: each request fails in turn, once and for good.
 * The stack is whole or the call says so; its summary loses no text. */
#include "failing_malloc.h"
#include "results_fixture.h"

#include "psc_results.h"

enum { N = 3 };

static psc_results *one[N];
static const char *const labels[N] = {"step0", "step64", "main"};
static psc_error error;

static void open_three(void) {
    for (int k = 0; k < N; k++) {
        one[k] = make_results();
        psc_result_target *target = psc_results_make_targets(one[k], 1);
        cr_assert(target);
        *target = (psc_result_target){.struct_size = sizeof *target,
            .row = 1,
            .id = 1,
            .minus_id = -1,
            .name = "top:1",
            .text = " sat",
            .p = 0.25 * k};
        one[k]->n_targets = 1;
    }
}

/* The summary and the document; null if memory ran out. */
static char *stack_text(psc_status *status) {
    psc_results *stack = NULL;
    char *text = NULL;
    *status = psc_results_stack(&stack, (const psc_results *const *)one, labels, N, &error);
    memory_back();
    if (!*status)
        cr_assert_eq(
            psc_results_write_memory(&text, NULL, stack, PSC_FORMAT_JSON, NULL, &error), PSC_OK);
    psc_results_close(&stack);
    return text;
}

static void fail_each(bool on) {
    psc_status status;
    memory_fail_at(0, false);
    char *whole = stack_text(&status);
    const long n = memory_requests;
    cr_assert_eq(status, PSC_OK, "%s", error.message);
    cr_assert(strstr(whole, "p of ' sat' (top:1) at @1 '"), "%s", whole);
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        char *text = stack_text(&status);
        cr_assert_eq(status, text ? PSC_OK : PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n,
            error.message);
        if (text) cr_assert_str_eq(text, whole, "request %ld of %ld", i, n);
        psc_free(text);
    }
    cr_assert(!MEMORY_FAILS || n > 50, "%ld requests", n);
    psc_free(whole);
}

Test(results_stack_memory, a_stack) {
    open_three();
    fail_each(false);
    fail_each(true);
    for (int k = 0; k < N; k++) psc_results_close(&one[k]);
}
