/* The rotary tables of a config.
 * Private to runtime/model/. Includes config.h only.
 * Threads: a pure function.
 * Ownership: the caller's arrays. */
#ifndef ROTARY_H
#define ROTARY_H

#include "config.h"

/* Tables [n_ctx, rotary_dims/2], and the frequencies [rotary_dims/2] of them. No overlap. */
void psc_rotary_fill(float *cos, float *sin, double *frequencies, const psc_config *c);

#endif
