/* Who may call the host, and when.
 *
 *   callback's thread   psc_turn_begin marks it; the call's place is turn.where
 *   part                a thread of the team, or the callback's, inside parallel_for
 *   any other thread    a plugin's own: refused
 *
 * Errors of the callback's thread go to the session at once. Others wait in turn.said: of the
 * parts, the one with the lowest begin is kept, so that the sentence does not depend on threads. */
#include "turns.h"

#include "at_work.h"
#include "host.h"

#include <stdio.h>
#include <string.h>

/* A thread is marked by the address of its own. */
static _Thread_local struct {
    psc_context *context; /* of the innermost turn */
    psc_context *part_of; /* null: in no part */
    int64_t begin;        /* of that part */
} here;

void psc_turn_open(psc_turn *turn) {
    pthread_mutex_init(&turn->said.lock, NULL);
}

void psc_turn_close(psc_turn *turn) {
    pthread_mutex_destroy(&turn->said.lock);
}

/* --- turns ----------------------------------------------------------------------------------- */

void psc_turn_begin(psc_context *context, int32_t where) {
    psc_turn *turn = &context->turn;
    turn->where = where;
    turn->inside = 0;
    turn->in_variants = false;
    turn->outer = here.context;
    here.context = context;
    turn->before = psc_at_work_begin(context->name);
    atomic_store(&turn->thread, &here);
}

void psc_turn_take_said(psc_context *context) {
    psc_said *said = &context->turn.said;
    psc_error *error = context->session->error;
    if (!atomic_load(&said->any)) return;
    pthread_mutex_lock(&said->lock);
    if (error && error->status == PSC_OK) *error = said->error;
    atomic_store(&said->any, false);
    pthread_mutex_unlock(&said->lock);
}

void psc_turn_end(psc_context *context) {
    psc_turn *turn = &context->turn;
    psc_session *session = context->session;
    if (turn->inside != 0) {
        here.part_of = NULL;
        session->broken = true;
        psc_fail(session->error, PSC_ERROR_PLUGIN,
            "plugin %s: it left %s by a jump or an exception, so the session cannot be used any "
            "more; close it",
            context->name, turn->in_variants ? "variants" : "parallel_for");
    }
    psc_turn_take_said(context);
    atomic_store(&turn->thread, NULL);
    psc_at_work_end(turn->before);
    here.context = turn->outer;
    turn->where = 0;
}

void psc_turn_part(psc_context *context, int64_t begin, int64_t end, int32_t thread,
    psc_range_fn fn, void *payload) {
    psc_context *outer = here.part_of;
    const int64_t outer_begin = here.begin;
    const char *before = psc_at_work_begin(context->name);
    here.part_of = context;
    here.begin = begin;
    fn(begin, end, thread, payload);
    here.part_of = outer;
    here.begin = outer_begin;
    psc_at_work_end(before);
}

bool psc_turn_in_part(const psc_context *context) {
    return here.part_of == context;
}

bool psc_turn_on_thread(const psc_context *context) {
    return atomic_load(&context->turn.thread) == &here;
}

/* --- errors ---------------------------------------------------------------------------------- */

/* Of a part, or of a thread of the plugin's own. */
static void say_later(psc_context *context, const psc_error *error) {
    psc_said *said = &context->turn.said;
    const int64_t begin = here.part_of == context ? here.begin : INT64_MAX;
    pthread_mutex_lock(&said->lock);
    if (!atomic_load(&said->any) || begin < said->begin) {
        said->error = *error;
        said->begin = begin;
        atomic_store(&said->any, true);
    }
    pthread_mutex_unlock(&said->lock);
}

static bool is_memory(const psc_error *error) {
    return error->status == PSC_ERROR_MEMORY;
}

/* own: the plugin's words, which do not replace that a call before found no memory. */
static psc_status say(
    psc_context *context, bool own, psc_status status, const char *format, va_list arguments) {
    psc_error error;
    char prefix[80];
    snprintf(prefix, sizeof prefix, "plugin %s", context->name);
    psc_fail_va(&error, status, format, arguments);
    psc_error_prefix(&error, status, prefix);
    const bool at_once =
        here.part_of != context && atomic_load(&context->turn.thread) == (const void *)&here;
    if (!at_once)
        say_later(context, &error);
    else if (context->session->error && !(own && is_memory(context->session->error)))
        *context->session->error = error;
    return status;
}

psc_status(psc_host_fail)(psc_context *context, psc_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(context, false, status, format, arguments);
    va_end(arguments);
    return status;
}

psc_status psc_host_pass(psc_context *context, const psc_error *error) {
    return psc_host_fail(context, error->status, "%s", error->message);
}

int psc_host_say(psc_context *context, const char *format, ...) {
    if (!context) context = here.part_of ? here.part_of : here.context;
    if (!context) return PSC_ERROR_PLUGIN;
    va_list arguments;
    va_start(arguments, format);
    say(context, true, PSC_ERROR_PLUGIN, format, arguments);
    va_end(arguments);
    return PSC_ERROR_PLUGIN;
}

/* --- checks ---------------------------------------------------------------------------------- */

/* "open and run_begin" */
static void list_places(char *out, size_t size, int32_t where) {
    static const struct {
        int32_t bit;
        const char *name;
    } places[] = {{PSC_IN_OPEN, "open"}, {PSC_IN_RUN_BEGIN, "run_begin"}, {PSC_IN_EVENT, "events"},
        {PSC_IN_RUN_END, "run_end"}, {PSC_IN_REPORT, "report"}, {PSC_IN_CLOSE, "close"}};
    size_t used = 0;
    *out = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (where & places[i].bit && used < size)
            used += (size_t)snprintf(
                out + used, size - used, "%s%s", used ? " and " : "", places[i].name);
}

static void refuse_place(psc_context *context, const char *call, int32_t where) {
    char places[80];
    list_places(places, sizeof places, where);
    if ((where & PSC_IN_ANY) == PSC_IN_RUN)
        psc_host_fail(context, PSC_ERROR_STATE,
            "%s was called outside a run; it is allowed from run_begin to report", call);
    else
        psc_host_fail(context, PSC_ERROR_STATE, "%s is allowed in %s only", call, places);
}

bool psc_host_may(psc_context **given, const char *call, int32_t where) {
    if (!*given) *given = here.part_of ? here.part_of : here.context;
    psc_context *context = *given;
    if (!context) return false; /* no plugin is at work here: there is no one to tell */
    if (here.part_of == context) {
        if (where & PSC_IN_PART) return true;
        psc_host_fail(context, PSC_ERROR_STATE, "%s was called inside parallel_for", call);
    } else if (atomic_load(&context->turn.thread) != (const void *)&here) {
        psc_host_fail(context, PSC_ERROR_STATE,
            "%s was called outside the plugin's callbacks, or on another thread than theirs", call);
    } else if (context->turn.where & where) {
        return true;
    } else {
        refuse_place(context, call, where);
    }
    return false;
}

bool psc_host_given(psc_context *context, const char *call, const char *what, const void *pointer) {
    if (pointer) return true;
    psc_host_fail(context, PSC_ERROR_PLUGIN, "%s needs %s, which is null", call, what);
    return false;
}

/* More bytes than a process can address. */
#define MOST_BYTES (UINT64_C(1) << 47)

bool psc_host_list(psc_context *context, const char *call, const char *what, int64_t n,
    uint64_t bytes, const void *list) {
    if (n < 0 || (uint64_t)n > MOST_BYTES / bytes) {
        psc_host_fail(context, PSC_ERROR_PLUGIN, "%s: %s cannot have the length %lld", call, what,
            (long long)n);
        return false;
    }
    return n == 0 || psc_host_given(context, call, what, list);
}

bool psc_host_size(
    psc_context *context, const char *call, const char *what, uint32_t size, size_t least) {
    if (size >= least && size <= PSC_MOST_STRUCTURE) return true;
    psc_host_fail(context, PSC_ERROR_PLUGIN,
        "%s: the struct_size of %s is %u; set it to the structure's size, at least %u", call, what,
        (unsigned)size, (unsigned)least);
    return false;
}
