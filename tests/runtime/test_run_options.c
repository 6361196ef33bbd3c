/* Options of a run: the caller's memory for logits, a run that stops at a layer, and `stop`, which
 * ends a run at any of its polls and leaves the session usable. */
#include "forward_inside.h"
#include "session_inside.h"

#include "copies_fixture.h"
#include "plugin_fixture.h"

#include <stdatomic.h>

static copy_set set;
static psc_run_options options = PSC_RUN_OPTIONS_INIT;

static void open_this(void) {
    fixture_open();
    set.info = *psc_model_get_info(model);
    set.n_inputs = 1;
    set.inputs[0] = (copied_input){0, 0, 10};
}

static void close_this(void) {
    copies_close(&set);
    fixture_close();
}

TestSuite(run_options, .init = open_this, .fini = close_this);

static psc_status run(void) {
    const psc_input input = {0, 10, ten};
    options.copies = set.list;
    options.n_copies = set.n;
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

static void must_run_it(void) {
    cr_assert_eq(run(), PSC_OK, "%s", error.message);
}

static float *all_logits(void) {
    const size_t v = (size_t)set.info.d_vocab;
    float *copy = malloc(10 * v * sizeof *copy);
    must_run_ten();
    for (int32_t r = 0; r < 10; r++)
        memcpy(copy + (size_t)r * v, psc_session_logits(session, r), v * sizeof *copy);
    return copy;
}

/* --- logits ---------------------------------------------------------------------------------- */

Test(run_options, logits_memory) {
    const size_t v = (size_t)set.info.d_vocab;
    float *expected = all_logits(), *out = calloc(11 * v, sizeof *out);
    options.logits = PSC_ROWS_ALL;
    options.logits_memory = out;
    options.logits_capacity = (int64_t)(10 * v);
    must_run_it();
    cr_assert(!memcmp(out, expected, 10 * v * sizeof *out));
    cr_assert_eq(psc_session_logits(session, 3), out + 3 * v);
    cr_assert_eq(out[10 * v], 0);
    options.logits = PSC_ROWS_LAST;
    memset(out, 0, 10 * v * sizeof *out);
    must_run_it();
    cr_assert(!memcmp(out, expected + 9 * v, v * sizeof *out));
    cr_assert_eq(psc_session_logits(session, 9), out);
    cr_assert_eq(out[v], 0);
    const psc_token bad = {.id = -1};
    REFUSED(psc_session_run(session, &(psc_input){0, 1, &bad}, 1, NULL, &error), PSC_ERROR_INPUT,
        "token id -1");
    cr_assert_null(psc_session_logits(session, 9), "the caller may have freed the memory");
    options.logits_capacity = (int64_t)v - 1;
    REFUSED(run(), PSC_ERROR_INPUT, "logits_memory");
    cr_assert_eq(psc_session_length(session, 0), 0);
    must_run_ten();
    cr_assert_neq(psc_session_logits(session, 0), out);
    cr_assert(!memcmp(psc_session_logits(session, 0), expected, v * sizeof *out));
    free(expected);
    free(out);
}

/* --- stop_at_layer --------------------------------------------------------------------------- */

Test(run_options, stop_at_layer) {
    recording seen;
    recording_open(&seen, &set.info, 1, 10);
    recording_attach(&seen, session);
    must_run_ten();
    psc_session_unhook(session, &seen);
    float *expected = all_logits();
    for (int32_t stop = 1; stop <= set.info.n_layers; stop++) {
        options.stop_at_layer = stop;
        const int32_t rows[] = {PSC_ROWS_ALL, PSC_ROWS_LAST, PSC_ROWS_RANGE};
        for (int r = 0; r < 3; r++) {
            copies_add_all(&set, stop, rows[r], 4, 6);
            while (psc_point_has_layer((psc_point)set.list[set.n - 1].point) == 0 &&
                   set.list[set.n - 1].point != PSC_HOOK_EMBED)
                free(set.list[--set.n].out);
            must_run_it();
            copies_assert_same(&set, &seen, "until a layer");
            cr_assert_eq(psc_session_length(session, 0), 0, "the sequence keeps its length");
            cr_assert_null(psc_session_logits(session, 9));
            copies_close(&set);
        }
    }
    float *again = all_logits();
    cr_assert(!memcmp(again, expected, (size_t)(10 * set.info.d_vocab) * sizeof *again));
    free(again);
    free(expected);
    recording_close(&seen);
}

static int count_event(const psc_event *event, void *payload) {
    (void)event;
    ++*(int *)payload;
    return 0;
}

Test(run_options, stop_at_the_embedding) {
    int embeddings = 0, later = 0;
    psc_copy embed = PSC_COPY_INIT;
    psc_session_observe(session, PSC_HOOK_EMBED, NULL, count_event, &embeddings, &error);
    psc_session_observe(session, PSC_HOOK_RESID_PRE, NULL, count_event, &later, &error);
    psc_session_observe(session, PSC_HOOK_LN_FINAL_SCALE, NULL, count_event, &later, &error);
    copies_add(&set, embed);
    options.stop_at_layer = -1;
    must_run_it();
    cr_assert(embeddings == 4 && later == 0, "%d %d", embeddings, later);
    options.stop_at_layer = 1;
    must_run_it();
    cr_assert(embeddings == 8 && later == 4, "%d %d", embeddings, later);
}

Test(run_options, refused_stops) {
    psc_copy copy = PSC_COPY_INIT;
    copy.point = PSC_HOOK_Z;
    copy.layer = 1;
    copies_add(&set, copy);
    options.stop_at_layer = 1;
    REFUSED(run(), PSC_ERROR_INPUT, "blocks.1.attn.hook_z", "stops at layer 1");
    options.stop_at_layer = -1;
    REFUSED(run(), PSC_ERROR_INPUT, "blocks.1.attn.hook_z", "stops at layer 0");
    copies_close(&set);
    copy.point = PSC_HOOK_LOGITS;
    copy.layer = -1;
    copies_add(&set, copy);
    options.stop_at_layer = set.info.n_layers;
    REFUSED(run(), PSC_ERROR_INPUT, "hook_logits");
    copies_close(&set);
    options.stop_at_layer = set.info.n_layers + 1;
    REFUSED(run(), PSC_ERROR_INPUT, "stop_at_layer must be");
    options.stop_at_layer = -2;
    REFUSED(run(), PSC_ERROR_INPUT, "stop_at_layer must be");
    options.stop_at_layer = 1;
    must_capture("blocks.1.hook_mlp_out");
    REFUSED(run(), PSC_ERROR_INPUT, "blocks.1.hook_mlp_out");
    must_load("ln", NULL);
    REFUSED(run(), PSC_ERROR_STATE, "plugins");
    must_run_ten();
}

static const psc_kernels *real;
static _Atomic uint64_t terms; /* multiply-adds of matmuls */

static void count_f32(const psc_matmul *m) {
    const size_t end = 16 * m->panel_end < m->out ? 16 * m->panel_end : m->out;
    atomic_fetch_add(&terms, m->rows * m->k * (end - 16 * m->panel_begin));
    real->matmul[PSC_DTYPE_F32](m);
}

static uint64_t terms_of(int32_t stop, int32_t point, int32_t layer, int32_t rows) {
    psc_copy copy = PSC_COPY_INIT;
    copy.point = point;
    copy.layer = layer;
    copy.rows = rows;
    copies_add(&set, copy);
    options.stop_at_layer = stop;
    atomic_store(&terms, 0);
    must_run_it();
    copies_close(&set);
    return atomic_load(&terms);
}

/* No layer after the last copy is computed, and in that one only what the copy needs. */
Test(run_options, only_what_is_asked) {
    psc_kernels counting = *session->forward->kernels;
    real = session->forward->kernels;
    counting.matmul_f32 = counting.matmul[PSC_DTYPE_F32] = count_f32;
    session->forward->kernels = &counting;
    const uint64_t n = (uint64_t)set.info.d_model, m = (uint64_t)set.info.d_mlp;
    const uint64_t layer = 10 * (4 * n * n + 2 * n * m);
    cr_assert_geq(set.info.n_layers, 2);
    cr_assert_eq(terms_of(1, PSC_HOOK_RESID_POST, 0, PSC_ROWS_ALL), layer);
    cr_assert_eq(terms_of(2, PSC_HOOK_RESID_POST, 0, PSC_ROWS_ALL), layer);
    cr_assert_eq(terms_of(2, PSC_HOOK_RESID_POST, 1, PSC_ROWS_ALL), 2 * layer);
    cr_assert_eq(terms_of(2, PSC_HOOK_EMBED, -1, PSC_ROWS_ALL), 0);
    cr_assert_eq(terms_of(2, PSC_HOOK_LN1_NORMALIZED, 1, PSC_ROWS_ALL), layer);
    cr_assert_eq(terms_of(2, PSC_HOOK_ROT_K, 1, PSC_ROWS_ALL), layer + 10 * 3 * n * n);
    session->forward->kernels = real;
}

/* --- stop ------------------------------------------------------------------------------------ */

static int polls, stop_after;

static int stop(void *payload) {
    cr_assert_eq(payload, &polls);
    return polls++ == stop_after;
}

static void stop_everywhere(void) {
    float *expected = all_logits();
    options.logits = PSC_ROWS_ALL;
    options.stop = stop;
    options.payload = &polls;
    polls = 0;
    stop_after = -1;
    must_run_it();
    const int all = polls;
    cr_assert_geq(all, 4 * set.info.n_layers, "%d polls", all); /* four chunks */
    for (stop_after = 0; stop_after < all; stop_after++) {
        polls = 0;
        REFUSED(run(), PSC_ERROR_CANCELLED, "cancelled");
        cr_assert_eq(polls, stop_after + 1, "no poll after the one that stopped");
        cr_assert_eq(psc_session_length(session, 0), 0);
        cr_assert_null(psc_results_version(psc_session_results(session)));
        cr_assert_null(psc_session_logits(session, 9));
    }
    float *again = all_logits();
    cr_assert(!memcmp(again, expected, (size_t)(10 * set.info.d_vocab) * sizeof *again));
    free(again);
    free(expected);
}

Test(run_options, stop_in_a_plain_run) {
    copies_add_all(&set, set.info.n_layers, PSC_ROWS_ALL, 0, 0);
    stop_everywhere();
}

Test(run_options, stop_in_plugins) {
    must_load("sweep", NULL);
    must_load("partition", NULL);
    must_load("weights", NULL);
    stop_everywhere();
}

static psc_status ended;

static int note_end(psc_context *context, void *state, int32_t status) {
    (void)context;
    (void)state;
    ended = (psc_status)status;
    return 0;
}

Test(run_options, a_plugin_learns_that_the_run_stopped) {
    bridge->run_end = note_end;
    must_load(PLUGIN("bridge"), NULL);
    options.stop = stop;
    options.payload = &polls;
    stop_after = 2;
    REFUSED(run(), PSC_ERROR_CANCELLED, "cancelled");
    cr_assert_eq(ended, PSC_ERROR_CANCELLED);
    stop_after = -1;
    must_run_it();
    cr_assert_eq(ended, PSC_OK);
}

Test(run_options, stop_in_a_report) {
    psc_session_options corpus = PSC_SESSION_OPTIONS_INIT;
    corpus.accumulate = 1;
    psc_session *totals = NULL;
    cr_assert_eq(psc_session_open(&totals, model, &corpus, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_plugin(totals, "weights", NULL, &error), PSC_OK, "%s", error.message);
    polls = 0;
    stop_after = -1;
    cr_assert_eq(psc_session_report_until(totals, NULL, stop, &polls, &error), PSC_OK);
    const int most = polls;
    cr_assert_gt(most, 3);
    for (int after = 0; after < most; after += 1 + most / 16) {
        polls = 0;
        stop_after = after;
        REFUSED(psc_session_report_until(totals, NULL, stop, &polls, &error), PSC_ERROR_CANCELLED,
            "cancelled");
        cr_assert_null(psc_results_version(psc_session_results(totals)));
    }
    cr_assert_eq(psc_session_report(totals, NULL, &error), PSC_OK, "%s", error.message);
    psc_session_close(&totals);
}

typedef struct shares {
    int n, stop_at;
    double last;
} shares;

static int note_share(double done, const char *what, void *payload) {
    shares *s = payload;
    cr_assert_str_eq(what, "weights");
    cr_assert(done >= s->last && done <= 1.0, "%g after %g", done, s->last);
    s->last = done;
    return ++s->n == s->stop_at;
}

Test(run_options, progress_of_a_report) {
    psc_session_options corpus = PSC_SESSION_OPTIONS_INIT;
    corpus.accumulate = 1;
    psc_session *totals = NULL;
    cr_assert_eq(psc_session_open(&totals, model, &corpus, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_plugin(totals, "weights", NULL, &error), PSC_OK, "%s", error.message);
    shares all = {0}, some = {.stop_at = 3};
    cr_assert_eq(psc_session_report_watched(totals, NULL, note_share, &all, &error), PSC_OK);
    cr_assert(all.n > 6 && all.last == 1.0, "%d %g", all.n, all.last);
    REFUSED(psc_session_report_watched(totals, NULL, note_share, &some, &error),
        PSC_ERROR_CANCELLED, "cancelled");
    cr_assert_eq(some.n, 3);
    cr_assert_null(psc_results_version(psc_session_results(totals)));
    cr_assert_eq(psc_session_report_watched(totals, NULL, NULL, NULL, &error), PSC_OK);
    psc_session_close(&totals);
}

/* A caller compiled before these options existed. */
Test(run_options, of_an_older_caller) {
    memset(&options, 0x55, sizeof options);
    const psc_run_options defaults = PSC_RUN_OPTIONS_INIT;
    memcpy(&options, &defaults, offsetof(psc_run_options, copies));
    options.struct_size = offsetof(psc_run_options, copies);
    const psc_input input = {0, 10, ten};
    cr_assert_eq(
        psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    cr_assert(psc_session_logits(session, 9));
}
