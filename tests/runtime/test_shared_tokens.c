/* Sequences that share a session's room: a row's bits are those of its text alone, whatever the
 * texts beside it, the chunks and the runs before; what does not fit is refused. */
#include "golden.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 12, SHARED = 160, LONGEST = 40 };

static const int32_t lengths[][MOST] = {{1, 2, 16, 17, 3, 40, 15}, {40, 33, 1, 31, 16},
    {7, 6, 5, 4, 3, 2, 1, 1, 1, 1}, {LONGEST, LONGEST, LONGEST}, {1}};
enum { RUNS = sizeof lengths / sizeof *lengths };

static psc_model *model;
static psc_session *session, *alone;
static psc_error error;
static psc_token tokens[MOST + LONGEST];
static psc_input inputs[MOST];

static void begin(void) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 2;
    options.chunk = 24;
    options.n_sequences = MOST;
    options.capacity = LONGEST;
    options.shared_tokens = SHARED;
    model = must_model(golden_path("parallel_f32", NULL));
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    alone = must_session(model, NULL, 1, 0);
    for (int i = 0; i < MOST + LONGEST; i++)
        tokens[i].id = (7 * i + i * i % 5) % psc_model_get_info(model)->d_vocab;
}

static void end(void) {
    psc_session_close(&session);
    psc_session_close(&alone);
    psc_model_close(&model);
}

TestSuite(shared_tokens, .init = begin, .fini = end);

/* Each text begins at another token. */
static int32_t make_inputs(const int32_t *of) {
    int32_t n = 0;
    for (; n < MOST && of[n] > 0; n++) inputs[n] = (psc_input){n, of[n], tokens + n};
    return n;
}

static psc_status run_shared(int32_t n) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.logits = PSC_ROWS_ALL;
    return psc_session_run(session, inputs, n, &options, &error);
}

static void compare(int32_t i, int32_t first_row) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    const psc_input input = {0, inputs[i].n, inputs[i].tokens};
    options.logits = PSC_ROWS_ALL;
    psc_session_truncate(alone, 0, 0);
    cr_assert_eq(psc_session_run(alone, &input, 1, &options, &error), PSC_OK);
    for (int32_t r = 0; r < input.n; r++)
        cr_assert_eq(
            memcmp(psc_session_logits(session, first_row + r), psc_session_logits(alone, r),
                (size_t)psc_model_get_info(model)->d_vocab * sizeof(float)),
            0, "sequence %d of %d tokens, row %d", (int)i, (int)input.n, (int)r);
}

Test(shared_tokens, bits_are_those_of_each_text_alone) {
    for (int round = 0; round < 2 * RUNS; round++) {
        const int32_t n = make_inputs(lengths[round % RUNS]);
        cr_assert_eq(run_shared(n), PSC_OK, "%s", error.message);
        for (int32_t i = 0, row = 0; i < n; row += inputs[i++].n) compare(i, row);
        for (int32_t i = 0; i < MOST; i++)
            cr_assert_eq(psc_session_length(session, i), i < n ? inputs[i].n : 0);
    }
}

/* Numbers of sequences with gaps. */
Test(shared_tokens, any_sequences) {
    const int32_t n = make_inputs(lengths[1]);
    for (int32_t i = 0; i < n; i++) inputs[i].sequence = 2 * i + 1;
    cr_assert_eq(run_shared(n), PSC_OK, "%s", error.message);
    for (int32_t i = 0, row = 0; i < n; row += inputs[i++].n) compare(i, row);
}

static void refused(psc_status got, const char *sentence) {
    cr_assert_eq(got, PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, sentence, "%s", error.message);
}

/* 160 positions: each text takes a multiple of 16. */
Test(shared_tokens, what_does_not_fit_is_refused) {
    static const int32_t most[MOST] = {17, 17, 17, 17, 17}, many[MOST] = {17, 17, 17, 17, 17, 1};
    static const int32_t long_text[MOST] = {LONGEST + 1};
    cr_assert_eq(run_shared(make_inputs(most)), PSC_OK, "%s", error.message);
    refused(run_shared(make_inputs(many)),
        "sequence 5: its 1 token and those before exceed shared_tokens, 160; run fewer "
        "sequences at once");
    refused(run_shared(make_inputs(long_text)),
        "sequence 0 would have 41 tokens, but the session's capacity is 40");
    cr_assert_eq(run_shared(make_inputs(most)), PSC_OK, "%s", error.message);
    psc_session *other = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.shared_tokens = -1;
    refused(psc_session_open(&other, model, &options, &error),
        "shared_tokens must be from 1 to 1073741824, not -1");
}
