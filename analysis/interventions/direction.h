/* The editor `direction`: what its files share.
 * Private to analysis/interventions/; built on psc_plugin.h alone.
 * Threads: the callbacks' thread; direction_edit's parts own their rows.
 * Ownership: everything lives with the instance (life_alloc). */
#ifndef DIRECTION_H
#define DIRECTION_H

#include "intervention.h"

typedef enum direction_do {
    DIRECTION_OUT,
    DIRECTION_SET,
    DIRECTION_ADD,
    DIRECTION_SWAP
} direction_do;

/* n vectors [n, width], and where a message says that they come from. */
typedef struct direction_vectors {
    double *at;
    int64_t n, width;
    const char *from; /* "along=L0N3.in" */
} direction_vectors;

typedef struct direction direction;

/* Rows of an event that are edited together. */
enum { DIRECTION_ROWS = 64 };

/* What acts at one site, in the order of the instance's sites. */
typedef struct direction_place {
    direction *owner;
    intervention_site *site;
    int64_t n;      /* directions */
    double *basis;  /* [n, width] orthonormal rows */
    double *target; /* [n] of do=set: the coordinates that are set */
    float *sum;     /* [width] of do=add: the sum of the vectors as they were given */
    double *seen;   /* [n_sources, width] of source prompts: their last rows or means */
    /* The edit under way: rows first.. of an event, and what do=swap takes; none: the row stays. */
    const psc_event *event;
    int32_t first;
    const float *source[DIRECTION_ROWS];
    int none[DIRECTION_ROWS];
} direction_place;

/* A source prompt of plus= (first) or minus=. */
typedef struct direction_source {
    int32_t number, length; /* from 0; its tokens */
    int complete;
} direction_source;

struct direction {
    intervention base; /* must be first: option tables and sites refer to it */
    int32_t what, whole_mean, columns, folded, components; /* direction_do; of=, vectors=, ... */
    const char *along, *file, *tensor, *index, *plus, *minus, *value, *mean;
    direction_source *sources; /* [n_sources] those of plus=, then those of minus= */
    int32_t n_sources, n_plus;
    direction_place *places;
    double *coefficients; /* [DIRECTION_ROWS, most n] */
    int64_t most;
    int made; /* bases are made from the source prompts */
};

/* --- direction_basis.c: pure --- */
/* Makes the rows of v orthonormal in order. Returns -1, or the number of the first row that is not
 * finite, or that depends on those before it. *finite says which. */
int64_t direction_orthonormal(double *v, int64_t n, int64_t width, int *finite);
/* The eigenvalues of the symmetric a [n, n], descending, into values [n], and as the rows of
 * vectors [n, n] its eigenvectors. Destroys a. The bits do not depend on the machine. */
void direction_eigen(double *values, double *vectors, double *a, int64_t n);

/* --- direction_along.c: named vectors --- */
/* The vectors of along= [n, N]. */
int direction_named(const direction *d, direction_vectors *out);

/* --- direction_files.c --- */
/* Reads numbers joined by +, A-B among them, into *out [*n]: "0-3+7". least: of each number. */
int direction_list(const direction *d, const char *key, const char *text, int32_t least,
    int32_t **out, int32_t *n);
/* The vectors of file= for a site. */
int direction_read(const direction *d, const intervention_site *site, direction_vectors *out);
/* The mean of value=mean at a site, into site->vector. */
int direction_read_mean(direction *d, intervention_site *site);

/* --- direction_sets.c: vectors from source prompts --- */
/* In open: reads plus= and minus=. */
int direction_sets_open(direction *d);
/* In run_begin of PSC_PHASE_SOURCE: observes the prompt if it is in a set. */
int direction_sets_record(direction *d);
/* In run_end of such a run that succeeded. */
void direction_sets_finish(direction *d);
/* In run_begin of a run with edits: the differences at a place; fails if a prompt was not run. */
int direction_sets_vectors(
    const direction *d, const direction_place *place, direction_vectors *out);

#endif
