/* The plugin `activations`: hook points of a corpus's rows on disk. Shared by its files.
 * Private to analysis/activations/.
 * Threads: the callbacks' thread; conversions run over parts of rows.
 * Ownership: the host owns the instance's memory and the files. */
#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H

#include "common.h"

enum { ACTIVATIONS_NAME = 48, ACTIVATIONS_F32 = 0, ACTIVATIONS_F16 = 1, ACTIVATIONS_BF16 = 2 };

/* A point of one layer: an array of every shard. */
typedef struct activations_array {
    psc_point point;
    int32_t layer; /* -1 where there is none */
    int32_t n_axes;
    int64_t shape[2], width;
    char name[ACTIVATIONS_NAME];
} activations_array;

typedef struct activations_state {
    psc_context *context;
    const psc_host *host;
    const char *points, *folder, *tokens;
    int32_t element, shard_rows, from, seed;
    double sample, limit;
    activations_array *arrays;
    int32_t n_arrays;
    int32_t *array_of; /* [points, layers + 1] which array, or -1 */
    uint32_t *listed;  /* bits [vocabulary]; null: all tokens */
    int overflows;     /* accumulator: values of f16 that became infinite */
    double overflowed; /* of this run */
    psc_kept chosen, slots, values;
    int32_t *slot; /* run: [rows] place among the chosen ones, or -1 */
    int32_t n_chosen;
} activations_state;

/* --- activations_points.c --- */
/* Fills arrays and array_of from the option `points`; nonzero after an error. */
int activations_find_points(activations_state *s);

/* --- activations_convert.c --- */
/* out[i] = x[i] rounded to the nearest, ties to even. Returns how many finite
 * ones became infinite. */
int64_t activations_to_f16(uint16_t *out, const float *x, int64_t n);
void activations_to_bf16(uint16_t *out, const float *x, int64_t n);

/* --- activations_choice.c --- */
/* Reads the option `tokens`; nonzero after an error. */
int activations_read_tokens(activations_state *s);
/* In run_begin: which rows go to disk. Their indices, or null after an error. */
const int32_t *activations_choose(activations_state *s);

#endif
