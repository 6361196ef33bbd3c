/* Results of many examples as one: batches of runs are taken apart by example and put together.
 * Private to base/results_examples*.c and runtime/pairs/. Includes results.h and team.h.
 * Threads: one at a time.
 * Ownership: opens by ** and closes by **; the results that it adds stay the caller's. */
#ifndef RESULTS_EXAMPLES_H
#define RESULTS_EXAMPLES_H

#include "results.h"
#include "team.h"

/* The leading axes of what is put together. */
#define PSC_EXAMPLES_AXIS "examples"
#define PSC_GROUPS_AXIS "groups"
#define PSC_STATISTICS_AXIS "over_examples"

/* The set, which the caller describes. */
typedef struct psc_examples_set {
    int32_t n, n_groups;
    const char *const *ids;    /* [n] */
    const int32_t *order;      /* [n] the examples in the order in which statistics take them */
    const int32_t *group;      /* [n] index of a group; -1: none */
    const char *const *groups; /* [n_groups] */
    /* The place of a row of an example among the names of all rows; -1: the row has none. */
    int32_t (*place)(void *payload, int32_t example, int32_t position);
    /* The name of a place. */
    void (*place_name)(char *out, size_t size, void *payload, int32_t place);
    void *payload;
    uint64_t most_bytes; /* of the arrays by example */
} psc_examples_set;

/* How statistics are drawn. */
typedef struct psc_examples_draws {
    int32_t draws; /* 0: mean, se and n only */
    uint64_t seed;
    double level;
    psc_team *team;
    int (*stop)(void *payload); /* nullable; nonzero ends with PSC_ERROR_CANCELLED */
    /* nullable; of each array the share (0..1) that is done; nonzero ends likewise */
    int (*progress)(double done, const char *what, void *payload);
    void *payload;
} psc_examples_draws;

typedef struct psc_examples psc_examples;

/* The set's members are borrowed. */
psc_status psc_examples_open(psc_examples **out, const psc_examples_set *set, psc_error *error);
void psc_examples_close(psc_examples **examples);

/* Whether every array of a run of several sequences can be taken apart: it has one axis of the
 * run's rows (numbers under the name rows, target_rows or last), or the axis `examples` in
 * front. */
bool psc_examples_can_split(const psc_results *results);
/* Adds the results of a run whose sequence k is example first + k. PSC_ERROR_INPUT where all
 * examples would take more than most_bytes. */
psc_status psc_examples_add(
    psc_examples *examples, const psc_results *results, int32_t first, int32_t n, psc_error *error);
/* Puts everything into sections of `out`, which has a head; the examples' own values are freed on
 * the way. After it only psc_examples_close is allowed. */
psc_status psc_examples_finish(
    psc_examples *examples, psc_results *out, const psc_examples_draws *how, psc_error *error);

/* --- inside ---------------------------------------------------------------------------------- */

/* An example's part of an array: dense, the kept axes in order. */
typedef struct psc_example_part {
    void *data;                     /* null: the example has none */
    int32_t *places[PSC_MOST_AXES]; /* of a row axis: [extent[axis]] */
    int64_t extent[PSC_MOST_AXES];
} psc_example_part;

/* An array of the plugins, without the axis `examples`. */
typedef struct psc_examples_array {
    int section; /* of the results put together */
    char *key;
    psc_element element;
    bool token_ids;
    int32_t n_axes;
    char *axes[PSC_MOST_AXES];
    bool is_row[PSC_MOST_AXES];    /* entries are places */
    int64_t extent[PSC_MOST_AXES]; /* of the other axes */
    psc_example_part *parts;       /* [set.n] */
    const char *left_out;          /* why; null: it is not */
} psc_examples_array;

/* The places that the examples have on a section's axis of rows. */
typedef struct psc_examples_rows {
    int section;
    const char *axis; /* an array's */
    int32_t *places;  /* [n], ascending */
    int64_t n;
} psc_examples_rows;

struct psc_examples {
    psc_examples_set set;
    psc_results *frame; /* sections, options, texts and axes of the first run */
    psc_examples_array *arrays;
    int32_t n_arrays;
    psc_examples_rows *rows; /* once everything is put together */
    int32_t n_rows;
    uint64_t bytes;
};

/* results_examples_statistics.c: NAME.over_examples and NAME.by_group beside the array `all` of
 * out, whose first axis is the examples; nothing beside integers. */
psc_status psc_examples_statistics(const psc_examples *examples, psc_results *out, int section,
    int all, const psc_examples_draws *how, psc_error *error);
/* results_examples_summary.c: what a person sees of a section. */
psc_status psc_examples_summarize(const psc_examples *examples, psc_results *out, int section,
    const psc_examples_draws *how, psc_error *error);
/* In the order of the axis. */
enum {
    PSC_STATISTIC_MEAN,
    PSC_STATISTIC_SE,
    PSC_STATISTIC_LOW,
    PSC_STATISTIC_HIGH,
    PSC_STATISTIC_LOW_PERCENTILE,
    PSC_STATISTIC_HIGH_PERCENTILE,
    PSC_STATISTIC_P,
    PSC_STATISTIC_N,
    PSC_STATISTICS
};

#endif
