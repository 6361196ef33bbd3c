/* How many windows of a corpus go through the model in one pass: by their tokens, not by their
 * number, so that short documents fill a pass as long ones do.
 * Private to cli/. Includes psc.h.
 * Threads: any; no state.
 * Ownership: none. */
#ifndef WINDOW_BATCH_H
#define WINDOW_BATCH_H

#include <stdbool.h>

#include "psc.h"

/* A pass has room for `tokens` tokens; a window of n takes n, rounded up to a multiple of 16. */
typedef struct window_batch {
    int32_t window;   /* most tokens of one */
    int32_t tokens;   /* full * window, rounded up */
    int32_t most;     /* windows: some plugins keep a partial of each until the pass ends */
    int32_t n, taken; /* windows and tokens that the pass has so far */
} window_batch;

enum { WINDOW_BATCH_SHORT = 16 }; /* windows in the place of a full one */

static inline int32_t window_batch_room(int32_t n) {
    return (n + 15) / 16 * 16;
}

/* Keys and values of one full window, in bytes. */
static inline double window_batch_bytes(const psc_model_info *model, int32_t window) {
    return 2.0 * sizeof(float) * model->n_layers * (double)model->d_model *
           window_batch_room(window);
}

/* The room of `full` windows of `window` tokens. */
static inline window_batch window_batch_of(int32_t full, int32_t window) {
    const int64_t room = window_batch_room(window), tokens = full * room;
    const int64_t most = WINDOW_BATCH_SHORT * (int64_t)full;
    return (window_batch){.window = window,
        .tokens = (int32_t)tokens,
        .most = (int32_t)(most < tokens / 16 ? most : tokens / 16)};
}

/* Whether one more window fits, whatever its length: windows are taken in the corpus's order and
 * none is held back, so a state file between two passes has a plain place. */
static inline bool window_batch_has_room(const window_batch *b) {
    return b->n < b->most && b->taken + window_batch_room(b->window) <= b->tokens;
}

static inline void window_batch_take(window_batch *b, int32_t n) {
    b->n++;
    b->taken += window_batch_room(n);
}

#endif
