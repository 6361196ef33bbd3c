/* The rotary tables of a config: cos and sin per position and frequency.
 * Private to runtime/ and tests/. Includes config.h and psc_error.h.
 * Threads: immutable once open.
 * Ownership: closes the way it opens; tables that borrow another's must be closed before it. */
#ifndef ROTARY_H
#define ROTARY_H

#include "config.h"
#include "psc_error.h"

#include <stdbool.h>

/* A model makes tables of at most this many positions. A config may claim any context, so longer
 * ones belong to the sessions whose capacity needs them. */
#define PSC_ROTARY_SHARED 4096

typedef struct psc_rotary {
    float *cos, *sin;    /* [rows, half] */
    double *frequencies; /* [half] */
    size_t rows, half;   /* half: rotary_dims / 2, perhaps 0 */
    double scale;
    bool borrowed;
} psc_rotary;

psc_status psc_rotary_open(
    psc_rotary *out, const psc_config *config, size_t rows, psc_error *error);
/* Tables of at least rows positions: another's, which has the same bits, if they suffice. */
psc_status psc_rotary_extend(
    psc_rotary *out, const psc_rotary *from, size_t rows, psc_error *error);
/* cos and sin of one position, which may lie beyond the tables, and frequency i. */
void psc_rotary_at(float *cos, float *sin, const psc_rotary *rotary, size_t position, size_t i);
void psc_rotary_close(psc_rotary *rotary);

#endif
