/* Memory that the host hands to a plugin. What a run takes, with the arrays of its results, counts
 * as retained: run_alloc's and the arrays until the run's end, life_alloc's until close. What open
 * and the report of a corpus take depends on the model and the options alone, and is not counted. */
#include "gradients.h"

double psc_host_room(const psc_context *context) {
    const psc_session *s = context->session;
    const uint64_t cap = s->options.retained_cap;
    return cap > s->retained_bytes ? (double)(cap - s->retained_bytes) : 0.0;
}

static bool counts(const psc_context *context) {
    return context->session->run_options != NULL;
}

/* After the run's pass, frees buffers of variants and gradients that later calls open again; false if
 * there are none. */
static bool release(psc_context *context) {
    const bool after = context->turn.where & (PSC_IN_RUN_END | PSC_IN_REPORT);
    return after && !context->turn.in_variants &&
           (psc_variant_release(context) || psc_gradient_release(context));
}

bool psc_host_has_room(psc_context *context, const char *what, double bytes) {
    if (!counts(context)) return true;
    while (bytes > psc_host_room(context) && release(context)) continue;
    if (bytes <= psc_host_room(context)) return true;
    psc_host_fail(context, PSC_ERROR_MEMORY,
        "%s needs %.0f bytes for %d rows; the cap (retained_cap, --retain) leaves %.0f; run fewer "
        "tokens or raise it",
        what, bytes, (int)context->session->n_rows, psc_host_room(context));
    return false;
}

/* Adds bytes, which psc_host_has_room allowed, to a count of the context. */
static void add(psc_context *context, uint64_t *count, double bytes) {
    if (!counts(context)) return;
    *count += (uint64_t)bytes;
    context->session->retained_bytes += (uint64_t)bytes;
}

void psc_host_count_run(psc_context *context, double bytes) {
    add(context, &context->run_bytes, bytes);
}

static void drop(psc_context *context, psc_arena *arena, uint64_t *count) {
    context->session->retained_bytes -= *count;
    *count = 0;
    psc_arena_clear(arena);
}

void psc_host_drop_run(psc_context *context) {
    drop(context, &context->run_arena, &context->run_bytes);
}

void psc_host_drop_life(psc_context *context) {
    drop(context, &context->life_arena, &context->life_bytes);
}

/* A size that no arena has is a fault of the plugin, and the sentence names the call. */
static void *take(
    psc_context *context, psc_arena *arena, uint64_t *count, const char *call, uint64_t bytes) {
    if (bytes <= SIZE_MAX / 4 && !psc_host_has_room(context, "its work", (double)bytes))
        return NULL;
    void *memory = psc_arena_alloc(arena, bytes);
    if (memory)
        add(context, count, (double)bytes);
    else
        psc_host_fail(context, PSC_ERROR_MEMORY, "%s: not enough memory for %llu bytes", call,
            (unsigned long long)bytes);
    return memory;
}

void *psc_host_run_alloc(psc_context *context, uint64_t bytes) {
    if (!psc_host_may(&context, "run_alloc", PSC_IN_RUN)) return NULL;
    return take(context, &context->run_arena, &context->run_bytes, "run_alloc", bytes);
}

void *psc_host_life_alloc(psc_context *context, uint64_t bytes) {
    if (!psc_host_may(&context, "life_alloc", PSC_IN_ANY)) return NULL;
    return take(context, &context->life_arena, &context->life_bytes, "life_alloc", bytes);
}

int psc_host_foretell(psc_context *context, uint64_t bytes) {
    if (!psc_host_may(&context, "foretell", PSC_IN_RUN)) return PSC_ERROR_STATE;
    return psc_host_has_room(context, "its work", (double)bytes) ? 0 : PSC_ERROR_MEMORY;
}
