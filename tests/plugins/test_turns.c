/* Who may call the host: the parts of parallel_for, threads of a plugin's own, another instance;
 * and callbacks that leave a call of the host by a jump. */
#include "plugin_fixture.h"

#include <pthread.h>
#include <setjmp.h>

TestSuite(turns, .init = fixture_open, .fini = fixture_close);

static psc_context *context, *first;
static int (*in_run_end)(void);

static int turns_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    if (!first) first = given;
    context = given;
    host = table;
    return 0;
}

static int turns_begin(psc_context *given, void *state) {
    (void)state;
    return host->prepare_variants(given);
}

static int turns_end(psc_context *given, void *state, int status) {
    (void)state;
    if (status != 0 || given != first) return 0;
    return in_run_end();
}

static psc_status run_with(int (*fn)(void)) {
    in_run_end = fn;
    bridge->open = turns_open;
    bridge->run_begin = turns_begin;
    bridge->run_end = turns_end;
    if (!context) must_load(PLUGIN("bridge"), NULL);
    return run_ten();
}

/* --- parts ----------------------------------------------------------------------------------- */

static int64_t failing_from;

static void fail_from(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)thread, (void)payload;
    for (int64_t i = begin; i < end; i++) {
        if (i < failing_from) continue;
        host->fail(context, "item %lld cannot be computed", (long long)i);
        return;
    }
}

static int fail_in_parts(void) {
    host->parallel_for(context, 1000, fail_from, NULL);
    return 0;
}

/* The sentence is that of the first item that failed, for any threads and in every run. */
Test(turns, the_lowest_part_that_fails_wins) {
    static const int64_t from[] = {0, 1, 333, 500, 999};
    for (int threads = 1; threads <= 8; threads++) {
        fixture_close();
        open_session("parallel_f32", 3, threads);
        context = first = NULL;
        for (int run = 0; run < 40; run++) {
            char sentence[64];
            failing_from = from[run % 5];
            snprintf(sentence, sizeof sentence, "plugin bridge: item %d cannot", (int)failing_from);
            REFUSED(run_with(fail_in_parts), PSC_ERROR_PLUGIN, sentence);
        }
        failing_from = 1000;
        cr_assert_eq(run_with(fail_in_parts), PSC_OK, "%s", error.message);
    }
}

static int fail_before_and_in_parts(void) {
    host->fail(context, "it failed before");
    return fail_in_parts();
}

Test(turns, an_earlier_error_stays) {
    failing_from = 0;
    REFUSED(run_with(fail_before_and_in_parts), PSC_ERROR_PLUGIN, "it failed before");
}

/* --- threads of a plugin's own --------------------------------------------------------------- */

enum { THREADS = 4 };
static void *(*in_thread)(void *);

static int run_threads(void) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, in_thread, NULL), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return 0;
}

static void *fail_in_thread(void *payload) {
    for (int i = 0; i < 100; i++) host->fail(context, "a thread failed");
    return payload;
}

static void *compute_in_thread(void *payload) {
    float x[4] = {1, 2, 3, 4};
    for (int i = 0; i < 100; i++) cr_assert(isnan(host->dot(context, 4, x, x)));
    return payload;
}

static void *label_in_thread(void *payload) {
    cr_assert_str_eq(host->token_text(context, 3), "?");
    cr_assert_null(host->rows(context, &(int32_t){0}));
    return payload;
}

Test(turns, threads_of_a_plugin_may_only_fail) {
    in_thread = fail_in_thread;
    REFUSED(run_with(run_threads), PSC_ERROR_PLUGIN, "plugin bridge: a thread failed");
    in_thread = compute_in_thread;
    REFUSED(
        run_with(run_threads), PSC_ERROR_STATE, "plugin bridge: dot was called", "another thread");
    in_thread = label_in_thread;
    REFUSED(run_with(run_threads), PSC_ERROR_STATE, "was called", "another thread");
}

/* --- another instance ------------------------------------------------------------------------ */

static int call_with_another(void) {
    cr_assert_neq(first, context);
    cr_assert_neq(host->value_number(context, "mine", 1), 0);
    return 0;
}

Test(turns, a_context_is_of_one_instance) {
    bridge->open = turns_open;
    must_load(PLUGIN("bridge"), NULL);
    must_load(PLUGIN("bridge"), NULL);
    REFUSED(run_with(call_with_another), PSC_ERROR_STATE,
        "plugin bridge#2: value_number was called outside the plugin's callbacks");
    bridge->run_end = NULL;
    must_run_ten();
}

/* --- jumps ----------------------------------------------------------------------------------- */

static jmp_buf back;

static void jump_in_part(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)end, (void)thread, (void)payload;
    if (begin == 0) longjmp(back, 1);
}

static int jump_out_of_parallel_for(void) {
    if (setjmp(back) == 0) host->parallel_for(context, 1, jump_in_part, NULL);
    return 0;
}

static int jump_in_variant(int32_t variant, const psc_event *event, void *payload) {
    (void)variant, (void)event, (void)payload;
    longjmp(back, 1);
}

static int jump_out_of_variants(void) {
    const psc_change change = {.struct_size = sizeof change,
        .point = PSC_HOOK_RESID_PRE,
        .row_end = 2,
        .head = -1,
        .key = -1,
        .alpha = 0.5f};
    const psc_variant variant = {sizeof variant, 1, &change, 0, NULL, 0, NULL};
    if (setjmp(back) == 0)
        host->variants(context, 1, &variant, PSC_ROWS_LAST, jump_in_variant, NULL);
    return 0;
}

static void must_be_broken(int (*fn)(void), const char *call) {
    REFUSED(run_with(fn), PSC_ERROR_PLUGIN, "plugin bridge: it left ", call, "close it");
    REFUSED(run_ten(), PSC_ERROR_STATE, "cannot be used any more");
    REFUSED(psc_session_plugin(session, "ln", NULL, &error), PSC_ERROR_STATE, "close it");
}

Test(turns, a_jump_out_of_parallel_for_ends_the_session) {
    must_be_broken(jump_out_of_parallel_for, "parallel_for");
}

Test(turns, a_jump_out_of_variants_ends_the_session) {
    must_be_broken(jump_out_of_variants, "variants");
}

/* The name for a program that must say which plugin ended it. */
static int check_name(void) {
    cr_assert_str_eq(psc_plugin_at_work(), "bridge");
    return 0;
}

Test(turns, the_plugin_at_work_is_named) {
    cr_assert_null(psc_plugin_at_work());
    cr_assert_eq(run_with(check_name), PSC_OK, "%s", error.message);
    cr_assert_null(psc_plugin_at_work());
}

/* --- writes of observers --------------------------------------------------------------------- */

static psc_filter chosen;
static psc_point watched;
static void (*write_to)(const psc_event *event);

static int writer(const psc_event *event, void *payload) {
    (void)payload;
    if (event->layer <= 0) write_to(event);
    return 0;
}

static int writes_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    return table->observe(given, watched, &chosen, writer, NULL);
}

static int edits_open(psc_context *given, const psc_host *table, void **state) {
    (void)state;
    return table->edit(given, watched, &chosen, writer, NULL);
}

static void to_tensor(const psc_event *event) {
    const psc_view *t = &event->tensor;
    t->data[(t->shape[0] - 1) * t->stride[0] + t->shape[t->n_axes - 1] - 1] += 1;
}

static void to_rows(const psc_event *event) {
    ((psc_row *)(uintptr_t)event->rows)[0].token++;
}

static void to_event(const psc_event *event) {
    ((psc_event *)(uintptr_t)event)->n_rows--;
}

static void to_before(const psc_event *event) {
    if (event->before.data) event->before.data[0] += 1;
}

static void to_nothing(const psc_event *event) {
    cr_assert_gt(event->n_rows, 0);
}

static psc_status run_checked(bool checks, int (*open)(psc_context *, const psc_host *, void **),
    void (*fn)(const psc_event *)) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session_close(&session);
    options.check_plugins = checks;
    options.capacity = 40;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    write_to = fn;
    bridge->open = open;
    must_load(PLUGIN("bridge"), NULL);
    return run_ten();
}

#define MUST_BE_NOTICED(open, fn, what, where)                                                     \
    REFUSED(run_checked(true, open, fn), PSC_ERROR_PLUGIN, "plugin bridge wrote to ", what, where)

Test(turns, writes_of_observers_are_noticed) {
    static const int32_t head[] = {1};
    chosen = (psc_filter)PSC_FILTER_INIT;
    watched = PSC_HOOK_RESID_POST;
    cr_assert_eq(run_checked(false, writes_open, to_tensor), PSC_OK); /* it costs time */
    cr_assert_eq(run_checked(true, writes_open, to_nothing), PSC_OK, "%s", error.message);
    MUST_BE_NOTICED(writes_open, to_tensor, "it only observes", "blocks.0.hook_resid_post");
    MUST_BE_NOTICED(writes_open, to_rows, "it only observes", "blocks.0.hook_resid_post");
    MUST_BE_NOTICED(writes_open, to_event, "it only observes", "blocks.0.hook_resid_post");
    watched = PSC_HOOK_ATTN_SCORES;
    MUST_BE_NOTICED(writes_open, to_tensor, "it only observes", "blocks.0.attn.hook_attn_scores");
    chosen.heads = head;
    chosen.n_heads = 1;
    MUST_BE_NOTICED(writes_open, to_tensor, "it only observes", "blocks.0.attn.hook_attn_scores");
    chosen.n_heads = 0;
    chosen.rows = PSC_ROWS_LAST;
    MUST_BE_NOTICED(writes_open, to_rows, "it only observes", "blocks.0.attn.hook_attn_scores");
}

static int edits_and_observes(psc_context *given, const psc_host *table, void **state) {
    return edits_open(given, table, state) || writes_open(given, table, state);
}

static void to_tensor_then_before(const psc_event *event) {
    if (event->before.data)
        to_before(event);
    else
        to_tensor(event);
}

Test(turns, editors_may_write_to_the_tensor_only) {
    chosen = (psc_filter)PSC_FILTER_INIT;
    watched = PSC_HOOK_RESID_POST;
    cr_assert_eq(run_checked(true, edits_open, to_tensor), PSC_OK, "%s", error.message);
    MUST_BE_NOTICED(edits_open, to_rows, "more than the tensor", "blocks.0.hook_resid_post");
    MUST_BE_NOTICED(edits_and_observes, to_tensor_then_before, "it only observes", "resid_post");
}

/* A client's own hook has no name. */
Test(turns, writes_of_a_clients_hook) {
    chosen = (psc_filter)PSC_FILTER_INIT;
    watched = PSC_HOOK_RESID_POST;
    cr_assert_eq(run_checked(true, NULL, to_tensor), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_observe(session, PSC_HOOK_Z, NULL, writer, NULL, &error), PSC_OK);
    REFUSED(run_ten(), PSC_ERROR_PLUGIN, "a hook wrote to what it only observes",
        "blocks.0.attn.hook_z");
}
