/* The plugin `directions`: what its files share.
 * Private to analysis/interventions/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; in parallel parts each thread owns its tiles or rows.
 * Ownership: sums and weights live with the instance, rows of examples with the run. */
#ifndef DIRECTIONS_H
#define DIRECTIONS_H

#include "intervention.h"

/* Examples are kept in panels of 16 columns, and sums of products in tiles of 16 x 16. */
enum { DIRECTIONS_PANEL = 16, DIRECTIONS_TILE = 256, DIRECTIONS_CLASSES = 256 };

/* What is fitted at one site. */
typedef struct directions_place {
    intervention_site *site;
    char name[80];         /* intervention_site_name */
    int64_t width, panels; /* panels of 16 numbers */
    double *xx;            /* [tiles of column panels i <= j, 16, 16]: sum x x^T of training */
    double *x;             /* [classes, panels 16]: sum x of each class */
    /* After solving, padded with zeros to panels: */
    double *means;      /* [classes, panels 16] */
    double *half;       /* [classes] |mean|^2/2 */
    double *difference; /* [directions, panels 16] */
    double *probe;      /* [directions, panels 16]: score = probe . x + bias */
    double *bias;       /* [directions] */
    double *components; /* [n_components, width] orthonormal */
    double *explained;  /* [n_components] variances, n - 1 in the denominator */
    double variance;    /* of all columns together */
    int32_t n_components;
    int64_t right_probe, right_means; /* of the held-out examples */
    /* The run: training columns of many examples are read, of held-out ones whole examples. */
    double *run; /* [panels, examples, 16], or held out [examples, panels 16] */
    int64_t panel_stride, row_stride;
    int32_t *guess; /* [examples, 2] by the probe, by the nearest mean */
} directions_place;

typedef struct directions_state {
    intervention base; /* must be first: at, rows, layers, heads */
    const char *labels_text, *save, *prompts, *split;
    int32_t whole_mean, components, memory; /* options */
    double ridge;
    const psc_reductions *reductions;
    const char *labels[DIRECTIONS_CLASSES];
    int32_t n_classes, n_directions;       /* 1 direction for two classes, else one per class */
    directions_place *places;              /* [base.n_sites] */
    int64_t counts[DIRECTIONS_CLASSES][2]; /* examples: training, held out */
    int64_t prompts_seen[2];
    int solved;
    double bytes; /* taken so far */

    /* The run. */
    int32_t of_class, held; /* -1: no class */
    int32_t n_examples, n_prompts;
    int32_t *example_of; /* [rows] by psc_row.index, or -1 */
    int32_t *n_rows;     /* [examples] rows that are averaged */
} directions_state;

/* --- directions_sums.c --- */
/* Zeroed memory of the instance, counted against memory=. */
void *directions_take(directions_state *s, double count, uint64_t size);
int directions_sums_make(directions_state *s);
/* In run_end of a training run: adds the examples. */
void directions_sums_add(directions_state *s);

/* --- directions_fit.c --- */
/* After training: means, differences, components and probes of every place. */
int directions_solve(directions_state *s);
/* In run_end of a held-out run: guesses, and counts what is right. */
int directions_test(directions_state *s);

/* --- directions_report.c --- */
int directions_write(directions_state *s);

#endif
