/* Sums of examples' values over draws.
 * Private to base/ and tests/.
 * Threads: an object belongs to one thread.
 * Ownership: psc_draw_masks_open allocates, psc_draw_masks_close frees; a zeroed object is closed.
 *
 * A draw weighs example i by a whole number c_i, or by a sign. Eight examples are a group, and bit
 * k of their counts is a mask of eight bits. With T_g [mask], the sum of the group's values in the
 * mask in ascending order,
 *
 *   sum_i c_i v_i = sum over spans of sum_k 2^k sum_g T_g [mask_gk]
 *
 * k descends and is Horner's; g ascends within a span of 128 examples. A sign's table has the sum
 * of +v outside the mask and -v inside, and one k. So a sum takes about n / 4 additions, and n / 8
 * of signs. */
#ifndef RESAMPLING_SUMS_H
#define RESAMPLING_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PSC_SUM_LANES = 8,                                  /* quantities that are summed together */
    PSC_SUM_SPAN = 16,                                  /* groups that share the tables */
    PSC_SUM_TABLES = PSC_SUM_SPAN * 256 * PSC_SUM_LANES /* doubles */
};

typedef enum psc_draw_kind { PSC_DRAW_COUNTS, PSC_DRAW_SIGNS, PSC_DRAW_ALL_SIGNS } psc_draw_kind;

/* The masks of some draws; of all of them where they take at most 8 MB. */
typedef struct psc_draw_masks {
    uint64_t seed;
    psc_draw_kind kind;
    int32_t n;            /* examples */
    int32_t first, count; /* the draws that are here */
    uint8_t *planes;      /* [draws] the number of k */
    uint8_t *masks;       /* each draw's [planes][groups] */
    size_t bytes;         /* of masks */
    double *weights;      /* [examples] */
} psc_draw_masks;

/* For at most n_examples. False: no memory. */
bool psc_draw_masks_open(psc_draw_masks *out, int32_t n_examples, int32_t draws);
void psc_draw_masks_close(psc_draw_masks *masks);
/* Makes the draws first.. of a kind over n examples, up to draw `end`, as many as fit. ALL_SIGNS:
 * draw d has the bits of d, below 2^n; n at most 30. */
void psc_draw_masks_take(psc_draw_masks *masks, psc_draw_kind kind, uint64_t seed, int32_t n,
    int32_t first, int32_t end);
/* sums [PSC_SUM_LANES][stride], from draw masks->first on. values [n][PSC_SUM_LANES], finite;
 * tables [PSC_SUM_TABLES] is scratch. */
void psc_sum_draws(double *sums, int64_t stride, const psc_draw_masks *masks, const double *values,
    double *tables);
/* sums [PSC_SUM_LANES] of all n values, with the bits of a draw that has each once. */
void psc_sum_all(double *sums, int32_t n, const double *values);

#endif
