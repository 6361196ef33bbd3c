/* A set of pairs while memory runs out: from its lines to its results, requests fail in turn, once and
 * for good. Each life ends with a sentence, or with the results of enough memory. */
#include "failing_malloc.h"
#include "pairs_fixture.h"

static const char text[] =
    "{\"clean\": [3, 17, 5, 79], \"corrupt\": [3, 18, 5, 79], \"target\": 4, \"contrast\": 9, "
    "\"group\": \"x\", \"spans\": {\"s\": [1, 1]}}\n"
    "{\"clean\": [3, 17, 5], \"corrupt\": [4, 17, 6], \"target\": 2, \"id\": \"b\", \"spans\": "
    "{\"t\": [0, 1]}}\n"
    "{\"clean\": [8, 8, 8], \"corrupt\": [8, 9, 8], \"target\": 3, \"group\": \"y\", \"spans\": "
    "{\"s\": [0, 0], \"t\": [1, 1]}}\n";

static psc_results *results;

static psc_status live(void) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_pairs_run_options how = PSC_PAIRS_RUN_OPTIONS_INIT;
    options.threads = 1; /* only this thread's requests are counted */
    options.n_sequences = 2;
    options.capacity = 8;
    how.draws = 20;
    psc_status status = read_pairs(text, PSC_ALIGN_SPANS, 0);
    if (!status) status = psc_session_open(&session, model, &options, &error);
    if (!status) status = psc_session_target(session, "example", &error);
    if (!status) status = psc_session_plugin(session, "patch", "at=L0H1", &error);
    if (!status) status = psc_session_plugin(session, "ablate", "at=L0H0,by=mean", &error);
    if (!status) status = psc_session_plugin(session, "effects", "rows=all", &error);
    return status ? status : psc_pairs_run(&results, session, pairs, &how, &error);
}

static void end(void) {
    psc_results_close(&results);
    psc_session_close(&session);
    psc_pairs_close(&pairs);
}

/* A sum over the bytes of the effects, to compare lives. */
static uint64_t sum_up(void) {
    uint64_t sum = 0;
    static const char *const names[] = {
        "effects.dz", "effects.dz.over_examples", "effects.kl.by_group"};
    for (int i = 0; i < 3; i++) {
        const psc_array array = array_of(results, names[i]);
        for (size_t b = 0; b < bytes_of(&array); b++)
            sum = 31 * sum + ((const unsigned char *)array.data)[b];
    }
    return sum;
}

static void check_lives(bool stays_out) {
    cr_assert_eq(psc_model_open(&model, MODELS "parallel_f32", &error), PSC_OK);
    memory_fail_at(0, false);
    cr_assert_eq(live(), PSC_OK, "%s", error.message);
    const long requests = memory_back();
    const uint64_t whole = sum_up();
    end();
    cr_assert_gt(requests, 100);
    int failed = 0;
    for (long n = 1; n <= requests; n += 1 + n / 40) {
        error = (psc_error){0};
        memory_fail_at(n, stays_out);
        const psc_status status = live();
        memory_back();
        if (status) {
            failed++;
            cr_assert(error.message[0] && !results, "request %ld", n);
            cr_assert(strstr(error.message, "memory") || strstr(error.message, "too large"),
                "request %ld: %s", n, error.message);
        } else {
            cr_assert_eq(sum_up(), whole, "request %ld", n);
        }
        end();
    }
    cr_assert(failed > (stays_out ? 50 : 20), "%d lives failed", failed);
    psc_model_close(&model);
}

Test(pairs_memory, one_request_fails) {
    if (!MEMORY_FAILS) cr_skip_test("a sanitizer has the memory");
    check_lives(false);
}

Test(pairs_memory, memory_is_gone) {
    if (!MEMORY_FAILS) cr_skip_test("a sanitizer has the memory");
    check_lives(true);
}
