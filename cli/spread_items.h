/* Items of one kind over several processes: rank 0 deals their numbers to whoever is free, itself
 * included, and receives each one's results.
 * Private to cli/. Includes setup.h.
 * Threads: main thread only.
 * Ownership: results that a callback receives belong to it. */
#ifndef SPREAD_ITEMS_H
#define SPREAD_ITEMS_H

#include "setup.h"

typedef struct cli_items {
    int32_t n;
    /* Whether item i is still to be done. Null: all are. */
    bool (*is_open)(int32_t i, void *payload);
    /* Computes item i: an exit code, after a sentence. Results go to cli_collect's sink. */
    int (*run)(int32_t i, void *payload);
    /* Rank 0: takes the results of item i, in any order. Closes or keeps them. */
    psc_status (*take)(
        int32_t i, const cli_delivery *how, psc_results *results, void *payload, psc_error *error);
    void *payload;
} cli_items;

/* All processes call it. Returns an exit code; rank 0's is that of all, after a sentence. */
int cli_items_run(const cli_items *items);

#endif
