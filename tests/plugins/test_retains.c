/* Many retained tensors and many subscriptions: what twice as many cost is twice as much, counted
 * in bytes that realloc and memmove handle. The linker puts both in between
 * (tests/CMakeLists.txt). */
#include "plugin_fixture.h"
#include "registry.h"

TestSuite(retains, .init = fixture_open, .fini = fixture_close);

#if !defined(__APPLE__) /* its linker has no --wrap */
void *__real_realloc(void *memory, size_t bytes);
void *__real_memmove(void *out, const void *in, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_memmove(void *out, const void *in, size_t bytes);

static bool counting;
static uint64_t moved;

void *__wrap_realloc(void *memory, size_t bytes) {
    if (counting) moved += bytes;
    return __real_realloc(memory, bytes);
}

void *__wrap_memmove(void *out, const void *in, size_t bytes) {
    if (counting) moved += bytes;
    return __real_memmove(out, in, bytes);
}

static int32_t n_retains;

static int retains_open(psc_context *context, const psc_host *table, void **state) {
    (void)context, (void)state;
    host = table;
    return 0;
}

static int retains_begin(psc_context *context, void *state) {
    static const int32_t first[] = {0};
    psc_filter filter = PSC_FILTER_INIT;
    (void)state;
    filter.layers = first;
    filter.n_layers = 1;
    filter.rows = PSC_ROWS_LAST;
    for (int32_t i = 0; i < n_retains; i++)
        if (host->retain(context, PSC_HOOK_Z, &filter) != i) return -1;
    return 0;
}

static int retains_end(psc_context *context, void *state, int status) {
    psc_event event = {0};
    (void)state, (void)status;
    cr_assert_eq(host->fetch(context, n_retains - 1, 0, &event), 0);
    cr_assert_eq(event.n_rows, 1);
    return 0;
}

static uint64_t bytes_of_run(int32_t n) {
    n_retains = n;
    moved = 0;
    counting = true;
    must_run_ten();
    counting = false;
    return moved;
}

Test(retains, a_hundred_thousand_cost_what_they_are) {
    bridge->open = retains_open;
    bridge->run_begin = retains_begin;
    bridge->run_end = retains_end;
    must_load(PLUGIN("bridge"), NULL);
    bytes_of_run(100);
    const uint64_t some = bytes_of_run(50000), twice = bytes_of_run(100000);
    cr_assert_gt(some, 0, "nothing was counted");
    cr_assert_lt(twice, 3 * some, "%llu bytes for 50,000 and %llu for twice as many",
        (unsigned long long)some, (unsigned long long)twice);
}

static int nothing(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

/* Every other subscription goes with the run. */
static uint64_t bytes_of_registry(int32_t n) {
    psc_registry *registry = NULL;
    cr_assert_eq(psc_registry_open(&registry, 2, 2, true, &error), PSC_OK);
    moved = 0;
    counting = true;
    for (int32_t i = 0; i < n; i++) {
        const psc_subscriber subscriber = {.owner = &moved, .transient = i % 2 == 0};
        cr_assert_eq(
            psc_registry_add(registry, PSC_HOOK_Z, false, NULL, nothing, NULL, &subscriber, &error),
            PSC_OK);
    }
    psc_registry_end_run(registry);
    counting = false;
    cr_assert(psc_registry_any(registry));
    psc_registry_remove(registry, &moved);
    cr_assert_not(psc_registry_any(registry));
    psc_registry_close(&registry);
    return moved;
}

Test(retains, subscriptions_go_once) {
    const uint64_t some = bytes_of_registry(20000), twice = bytes_of_registry(40000);
    cr_assert_gt(some, 0, "nothing was counted");
    cr_assert_lt(twice, 3 * some, "%llu bytes for 20,000 and %llu for twice as many",
        (unsigned long long)some, (unsigned long long)twice);
}
#endif
