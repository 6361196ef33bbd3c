/* Accumulators: a plugin's totals over documents, merged with the same result in any order.
 * Private to runtime/ and tests/.
 * Threads: one at a time, except psc_accumulator_hold.
 * Ownership: a list owns its accumulators and their slots, and copies names. */
#ifndef ACCUMULATORS_H
#define ACCUMULATORS_H

#include "psc_plugin.h"

#include <stdatomic.h>
#include <stdbool.h>

#define PSC_ACCUMULATOR_NAME 64 /* most bytes of a name */

typedef struct psc_accumulator {
    char name[PSC_ACCUMULATOR_NAME + 1];
    psc_accumulate kind;
    int64_t n;      /* slots */
    int32_t k;      /* entries per slot of PSC_ACCUMULATE_TOP, else 0 */
    uint64_t extra; /* bytes of the plugin's own after each psc_top, a multiple of 8, or 0 */
    void *slots;    /* as saved: __int128, int64_t, double, or psc_top [n, k] with NaN if empty */
    uint64_t bytes; /* of slots */
    _Atomic(void *) held; /* slots that psc_accumulator_hold has added to; null before the first */
    atomic_bool holds;    /* since they were last empty */
} psc_accumulator;

typedef struct psc_accumulators {
    psc_accumulator *list;
    int32_t n;
} psc_accumulators;

/* Adds an empty accumulator; returns its handle, or -1 after setting error. */
int psc_accumulators_add(psc_accumulators *accumulators, const char *name, psc_accumulate kind,
    int64_t n, int32_t k, psc_error *error);
/* The same for a top list whose entries have `bytes` bytes of the plugin's own, a multiple of
 * 8. */
int psc_accumulators_add_records(psc_accumulators *accumulators, const char *name, int64_t n,
    int32_t k, uint64_t bytes, psc_error *error);
void psc_accumulators_close(psc_accumulators *accumulators);
/* Resets it to the state before the first partial. */
void psc_accumulator_clear(psc_accumulator *accumulator);

/* Adds one partial to slots begin..begin+n-1 (not TOP). A sum is rounded once to the grid 2^-40, to
 * the nearest, ties to even. After a failure, earlier slots keep their new values. */
psc_status psc_accumulator_add(psc_accumulator *accumulator, int64_t begin, int64_t n,
    const double *partial, psc_error *error);
/* The same into slots beside the totals, for a run that may still fail. Several threads may call it
 * at once for different slots. */
psc_status psc_accumulator_hold(psc_accumulator *accumulator, int64_t begin, int64_t n,
    const double *partial, psc_error *error);
/* Empties those slots, after adding them to the totals if add is true. */
psc_status psc_accumulator_release(psc_accumulator *accumulator, bool add, psc_error *error);
/* Offers one entry to a slot of TOP; record: its own bytes [extra], null where it has none. */
psc_status psc_accumulator_add_top(psc_accumulator *accumulator, int64_t slot, const psc_top *entry,
    const void *record, psc_error *error);
/* 1 if the slot would keep this entry, else 0; -1 after setting error. */
int psc_accumulator_ranks(
    const psc_accumulator *accumulator, int64_t slot, const psc_top *entry, psc_error *error);
/* Merges slots saved from the same accumulator elsewhere; they need no alignment and are
 * checked. */
psc_status psc_accumulator_merge(psc_accumulator *accumulator, const void *slots, psc_error *error);

/* The totals as f64, correctly rounded (not TOP). */
psc_status psc_accumulator_read(
    const psc_accumulator *accumulator, int64_t begin, int64_t n, double *out, psc_error *error);
/* Copies a slot's entries to out and their own bytes to records [k, extra] (both nullable), largest
 * first; returns how many, or -1 after setting error. */
int32_t psc_accumulator_read_top(const psc_accumulator *accumulator, int64_t slot, psc_top *out,
    void *records, psc_error *error);

#endif
