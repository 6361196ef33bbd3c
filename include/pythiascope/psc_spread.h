/* One work over several processes, which the caller connects by its own means, such as MPI: totals
 * in memory, which it adds up, and variants that the processes share.
 * Public: any caller may include it.
 * Threads: as psc_session; psc_totals_add uses only its arguments.
 * Ownership: slots are the session's, valid until a plugin is added or the session closes. */
#ifndef PSC_SPREAD_H
#define PSC_SPREAD_H

#include "psc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- totals ----------------------------------------------------------------------------------
 * Each process gives other documents to its own accumulating session; one of them adds up all. */

/* One table of totals: n slots of slot_bytes bytes each. Slots of the same table in another session
 * with the same identity can be added to it, in any order and grouping, with the same bits. */
typedef struct psc_totals {
    uint32_t struct_size;
    int32_t kind;        /* 0 to 4: sum, count, minimum, maximum, top list */
    int32_t entries;     /* of a slot of a top list, else 0 */
    int64_t n;           /* slots */
    uint64_t slot_bytes; /* a multiple of 8 */
    uint64_t extra;      /* bytes of the plugin's own after each entry of a top list */
    void *slots;         /* [n * slot_bytes], 16-byte aligned; little-endian, as in a state file */
    const char *plugin;  /* the names of the plugin and of its accumulator, for sentences */
    const char *name;
} psc_totals;
#define PSC_TOTALS_INIT                                                                            \
    { sizeof(psc_totals), 0, 0, 0, 0, 0, 0, 0, 0 }

/* The number of tables: the accumulators of all plugins, in the order of loading. */
PSC_API int32_t psc_session_totals_count(const psc_session *session);
/* Table i. PSC_ERROR_STATE in a callback, for a session that does not accumulate, and after a run
 * that failed while it added; PSC_ERROR_INPUT without such a table. */
PSC_API psc_status psc_session_totals_at(
    psc_totals *out, psc_session *session, int32_t i, psc_error *error);
/* Adds n slots at `from`, of any alignment, to n slots at `to`, aligned like the table's own.
 * PSC_ERROR_PLUGIN names the accumulator and the slot, counted from `to`, where a sum or count
 * overflows; earlier slots keep their new values. */
PSC_API psc_status psc_totals_add(
    const psc_totals *table, void *to, const void *from, int64_t n, psc_error *error);

/* The windows and tokens that the totals cover; add changes them (out of
 * range: PSC_ERROR_INPUT). */
PSC_API void psc_session_totals_counts(
    int64_t *windows, int64_t *tokens, const psc_session *session);
PSC_API psc_status psc_session_totals_count_more(
    psc_session *session, int64_t windows, int64_t tokens, psc_error *error);
/* Sets all totals and counts to those before the first run. PSC_ERROR_STATE as above. */
PSC_API psc_status psc_session_totals_clear(psc_session *session, psc_error *error);
/* 32 hex digits, equal for sessions whose totals may be added up: of the model, SLEEF, targets,
 * plugins with versions and options, and accumulators, as a state file records them. */
PSC_API psc_status psc_session_totals_identity(
    char out[33], psc_session *session, psc_error *error);

/* --- shared variants -------------------------------------------------------------------------
 * All processes make the same run, with the same plugins. Each computes a part of the
 * variants that a plugin asks for (psc_host, variants), and every plugin sees all of them,
 * with the bits of one process. */

typedef struct psc_share {
    uint32_t struct_size;
    int32_t part, n_parts; /* this process is part 0 to n_parts - 1 */
    /* Part p has filled values[bounds[p]] to values[bounds[p + 1] - 1], bounds [n_parts + 1];
     * afterwards every process has all of them. All processes call it with the same bounds. */
    psc_status (*gather)(float *values, const int64_t *bounds, void *payload, psc_error *error);
    void *payload;
} psc_share;

/* For the runs from now on. PSC_ERROR_STATE in a callback. */
PSC_API psc_status psc_session_share(
    psc_session *session, const psc_share *share, psc_error *error);

#ifdef __cplusplus
}
#endif
#endif
