/* A model's figures and a control's, one below the other or side by side.
 * Private to cli/. Includes cli.h and psc.h.
 * Threads: main thread only.
 * Ownership: nothing is kept. */
#ifndef BESIDE_H
#define BESIDE_H

#include "cli.h"
#include "psc.h"

/* An array of f64 with an axis "levels", "trees" or "distances" and at most one other axis; or a
 * value. */
typedef struct cli_figure {
    const char *name;  /* of the array or value in its section; null ends a list */
    const char *title; /* as printed */
    bool percent;
    int32_t most_parts; /* of the other axis, its first entries; 0: all */
} cli_figure;

/* Prints the figures of two sections beside each other. A figure or section that does not exist is
 * left out; "-" stands where one side has no number. Entries of axes are matched by their labels.
 * Prints nothing with --json. */
void cli_beside(const psc_results *results, const cli_arguments *arguments, const char *model,
    const char *control, const cli_figure *figures);

#endif
