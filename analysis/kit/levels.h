/* Levels: one layer, a sum of layers, or heads; what `levels=` names.
 * Private to analysis/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: everything lives with the instance (life_alloc). */
#ifndef ANALYSIS_LEVELS_H
#define ANALYSIS_LEVELS_H

#include "common.h"

typedef struct psc_level_part {
    int32_t layer, head; /* head -1: all heads of the layer */
} psc_level_part;

typedef struct psc_level {
    const char *name;            /* "2", "1+2", "L2H5" */
    int32_t n;                   /* parts, at least 1 */
    const psc_level_part *parts; /* ascending, without overlap */
    int32_t n_heads;             /* heads of all parts together */
} psc_level;

typedef struct psc_levels {
    int32_t n;
    const psc_level *at;
    const char *const *names; /* [n], for an axis */
} psc_levels;

/* Parses "each" (every layer by itself) or levels with , or / between them: "1+2,3", "L2H5". Parts
 * are layers (2 or L2) and heads (L2H5) with + between them. Fails with a sentence that begins with
 * the option's key. */
int psc_levels_parse(
    psc_context *context, const psc_host *host, const char *key, const char *text, psc_levels *out);

#endif
