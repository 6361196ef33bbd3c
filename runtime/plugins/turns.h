/* A plugin's turn: from the host's call of a callback to its return. Every call of the host's table
 * asks here whether it is allowed at this time and on this thread, and every error of a plugin goes
 * through here.
 * Private to runtime/plugins/. Includes loader.h and psc_plugin.h.
 * Threads: one turn at a time, on the thread that calls into the session; the parts of parallel_for
 * on the team's. Threads of a plugin's own may call, and are refused.
 * Ownership: a turn is a member of its psc_context. */
#ifndef TURNS_H
#define TURNS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "loader.h"
#include "psc_plugin.h"

/* Where a call may come from; a set of these. */
enum {
    PSC_IN_OPEN = 1,
    PSC_IN_RUN_BEGIN = 2,
    PSC_IN_EVENT = 4,
    PSC_IN_RUN_END = 8,
    PSC_IN_REPORT = 16,
    PSC_IN_CLOSE = 32,
    PSC_IN_PART = 64, /* inside parallel_for, besides */
    PSC_IN_RUN = PSC_IN_RUN_BEGIN | PSC_IN_EVENT | PSC_IN_RUN_END | PSC_IN_REPORT,
    PSC_IN_ANY = PSC_IN_OPEN | PSC_IN_RUN | PSC_IN_CLOSE
};

/* What other threads than the callback's have to say; the first part of parallel_for wins. */
typedef struct psc_said {
    pthread_mutex_t lock;
    atomic_bool any;
    int64_t begin; /* of the part that said it; INT64_MAX for a thread of the plugin's own */
    psc_error error;
} psc_said;

typedef struct psc_turn {
    int32_t where;                /* PSC_IN_...; 0: in no callback */
    _Atomic(const void *) thread; /* a mark of the callback's thread; null: in no callback */
    const char *before;           /* the plugin at work on that thread before */
    psc_context *outer;           /* and its context */
    int32_t inside;               /* calls of parallel_for and variants in progress */
    bool in_variants;
    psc_said said;
} psc_turn;

void psc_turn_open(psc_turn *turn);
void psc_turn_close(psc_turn *turn);
/* Around a call of a callback. The end takes over what other threads said into the session's error,
 * and refuses a callback that left a call of the host by a jump or an exception. */
void psc_turn_begin(psc_context *context, int32_t where);
void psc_turn_end(psc_context *context);

/* The plugin's function over one part of parallel_for, on any thread of the team. */
void psc_turn_part(psc_context *context, int64_t begin, int64_t end, int32_t thread,
    psc_range_fn fn, void *payload);
/* Whether this thread is inside a part of the context's parallel_for. */
bool psc_turn_in_part(const psc_context *context);
/* Whether this thread is the one that called the plugin. */
bool psc_turn_on_thread(const psc_context *context);
/* After parallel_for: its parts' error becomes the session's, unless there is one already. */
void psc_turn_take_said(psc_context *context);

/* --- checks at the start of host calls. Each is false after setting an error that names the call.
 * A null *context becomes that of the callback in progress. */
bool psc_host_may(psc_context **context, const char *call, int32_t where);
/* pointer is not null; what names it. */
bool psc_host_given(psc_context *context, const char *call, const char *what, const void *pointer);
/* n can be the length of a list of elements of `bytes` bytes, and the list
 * is there unless n is 0. */
bool psc_host_list(psc_context *context, const char *call, const char *what, int64_t n,
    uint64_t bytes, const void *list);
/* size lies between that of the first hosts of this ABI and what any structure of it can have. */
bool psc_host_size(
    psc_context *context, const char *call, const char *what, uint32_t size, size_t least);

#endif
