/* The state of the plugin `probe`: what its files share.
 * Private to analysis/probe/ and tests/.
 * Threads: as the plugin's callbacks; in the parallel parts each thread owns its tiles or rows.
 * Ownership: tasks, sums and weights live with the instance, units and residuals with the run. */
#ifndef ANALYSIS_PROBE_H
#define ANALYSIS_PROBE_H

#include "common.h"
#include "units.h"

/* Residuals are kept in panels of 16 columns, and sums of products in tiles of 16 x 16. */
enum { PROBE_PANEL = 16, PROBE_TILE = 256 };
enum { PROBE_TASKS = 16, PROBE_LABEL = 128 };
/* psc_run_options.source of a run whose labels are counted, and of a run that trains. */
enum { PROBE_COUNT = 0, PROBE_TRAIN = 1 };

typedef enum probe_rule {
    PROBE_UPOS,
    PROBE_NUMBER,
    PROBE_TENSE,
    PROBE_ROLE,
    PROBE_LEMMA,
    PROBE_QUESTION,
    PROBE_IMPERATIVE,
    PROBE_QUOTATION,
    PROBE_MENTION,
    PROBE_FEATURE
} probe_rule;

/* A unit of a run: a word, words that share a token, or a span. Its label is that of its word whose
 * head is outside the unit. */
typedef struct probe_unit {
    int32_t row;            /* psc_row.index of its last token */
    int32_t sentence, word; /* of the run; the word with its label, in the sentence */
    int32_t last_word;
    uint8_t content; /* not punctuation only */
    uint8_t quoted;  /* inside quotation marks */
    uint8_t kept;    /* content, in a sentence of the right size */
} probe_unit;

/* Rows that one or several tasks train on, and their sums. */
typedef struct probe_group {
    double *xx; /* [levels, tiles, 16, 16]: sum x x^T, tiles of column panels i <= j */
    double *x;  /* [levels, padded] sum x */
    int64_t n;
    /* The run. */
    int32_t *rows; /* units */
    int32_t n_rows;
} probe_group;

typedef struct probe_task {
    const char *name, *feature; /* feature: of PROBE_FEATURE */
    int32_t rule, group;
    int32_t n_classes, n_found; /* kept, in the training labels */
    const char **labels;    /* [classes] ascending by strcmp; null before the labels are known */
    double *sums;           /* [levels, classes, padded]: X^T Y, after solving the weights */
    double *bias;           /* [levels, classes] after solving */
    int64_t *train, *test;  /* [classes] rows */
    int64_t *right;         /* [levels, classes] */
    int64_t unseen;         /* rows of the test without a trained class */
    int32_t trained;        /* classes with rows; a task needs two */
    int64_t n_scores, room; /* of tasks with two classes: rows with scores */
    double *scores;         /* [room, levels] of class 1 */
    uint8_t *truth;         /* [room] */
} probe_task;

typedef struct probe_state {
    psc_context *context;
    const psc_host *host;
    const psc_reductions *reductions;
    const char *tasks_text;
    int32_t units, classes, least, most, memory; /* options */
    double ridge;
    int32_t n_layers, n_dims, n_levels, n_panels, padded;
    int32_t n_tasks, n_groups;
    probe_task tasks[PROBE_TASKS];
    probe_group groups[PROBE_TASKS];
    int ready, solved;       /* sums are allocated; weights are made */
    double bytes;            /* taken so far */
    int64_t n_train, n_test; /* sentences seen */

    /* The run. */
    int32_t n_units, n_sentences, training;
    probe_unit *units_at;          /* [n_units] */
    int32_t *unit_of;              /* [rows] the first unit whose last token is the row, or -1 */
    const psc_sentence *sentences; /* [n_sentences] */
    int32_t *first_of;             /* [n_sentences] the first sentence of the same sequence */
    int32_t *classes_at;           /* [n_units, tasks]; -1: no label, -2: not in training */
    double *x;                     /* [levels, ...] residuals of units */
    int64_t panel_stride, row_stride, level_stride;
    int32_t *guess; /* [n_units, tasks, levels] */
    double *score;  /* [n_units, tasks, levels] */
} probe_state;

/* --- labels (probe_tasks.c) --- */
/* Reads tasks=. */
int probe_tasks_parse(probe_state *s);
/* The label of a unit, into out [PROBE_LABEL]; zero if the task does not concern it. */
int probe_label(const probe_state *s, const probe_task *task, const probe_unit *unit, char *out);
/* The class of a label, or -1. */
int32_t probe_class_of(const probe_task *task, const char *label);
/* Counts the labels of the run's sentences and fixes the classes of every task. */
int probe_classes_fix(probe_state *s);

/* --- units of a run (probe_units.c) --- */
int probe_units_make(probe_state *s);

/* --- sums and weights (probe_sums.c, probe_solve.c) --- */
/* Allocates the sums when the classes are known; refuses more than memory=. */
int probe_sums_make(probe_state *s);
int probe_sums_add(probe_state *s);
int probe_solve(probe_state *s);
/* Life memory that counts against memory=. */
void *probe_take(probe_state *s, double count, uint64_t size);

/* --- test (probe_test.c, probe_report.c) --- */
int probe_test_begin(probe_state *s);
int probe_test_add(probe_state *s);
/* The area under the ROC curve, ties half; NaN without both classes. pairs: scratch [2 n]. */
double probe_auroc(
    int64_t n, const double *scores, int64_t stride, const uint8_t *truth, double *pairs);
int probe_report_write(probe_state *s);

#endif
