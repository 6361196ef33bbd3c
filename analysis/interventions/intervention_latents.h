/* Latents of a sparse dictionary as places of `ablate`, `scale` and `steer`.
 * Private to analysis/interventions/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread.
 * Ownership: life_alloc and run_alloc; callers free nothing. */
#ifndef INTERVENTION_LATENTS_H
#define INTERVENTION_LATENTS_H

#include "intervention.h"

/* Whether at= is written as latents: L3F12, F12, joined by +. */
int intervention_names_latents(const char *at);
/* In open, when sae= is given: reads the dictionary, the latents of at= and their decoder rows. */
int intervention_latents_open(intervention *self);
/* In run_begin of an edited run: the editor, and of a transcoder the observer of its input. */
int intervention_latents_subscribe(intervention *self);

#endif
