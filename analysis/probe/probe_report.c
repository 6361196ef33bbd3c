/* The results: accuracy of every task by level, the area under the ROC curve of tasks with two
 * classes, what guessing the most frequent class reaches, recall of each class, and a summary. */
#include "probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 6, LEVEL_NAME = 16 }; /* levels side by side */

typedef struct tables {
    double *accuracy, *auroc;                 /* [tasks, levels] */
    double *majority;                         /* [tasks] */
    int32_t *train, *test, *unseen, *classes; /* [tasks] */
    int32_t *best;                            /* [tasks] */
    double *recall;                           /* [classes of all tasks, levels] */
    int32_t *class_train, *class_test;        /* [classes of all tasks] */
} tables;

static int64_t total(const int64_t *counts, int32_t n) {
    int64_t sum = 0;
    for (int32_t i = 0; i < n; i++) sum += counts[i];
    return sum;
}

/* --- axes and arrays ------------------------------------------------------------------------- */

static int make_axes(probe_state *s, int32_t n_classes) {
    const psc_host *host = s->host;
    const char *tasks[PROBE_TASKS];
    const char **levels = host->life_alloc(s->context, (uint64_t)s->n_levels * sizeof *levels);
    const char **classes = host->life_alloc(s->context, (uint64_t)n_classes * sizeof *classes + 1);
    char *names = host->life_alloc(s->context, (uint64_t)s->n_levels * LEVEL_NAME);
    if (!levels || !classes || !names) return -1;
    for (int32_t l = 0; l < s->n_levels; l++) {
        snprintf(names + l * LEVEL_NAME, LEVEL_NAME, "x%d", (int)l);
        levels[l] = names + l * LEVEL_NAME;
    }
    int32_t n = 0;
    for (int32_t t = 0; t < s->n_tasks; t++) {
        const probe_task *task = &s->tasks[t];
        tasks[t] = task->name;
        for (int32_t c = 0; c < task->n_classes; c++) {
            const uint64_t size = strlen(task->name) + strlen(task->labels[c]) + 2;
            char *label = host->life_alloc(s->context, size);
            if (!label) return -1;
            snprintf(label, size, "%s=%s", task->name, task->labels[c]);
            classes[n++] = label;
        }
    }
    return host->axis_labels(s->context, "tasks", s->n_tasks, tasks) ||
           host->axis_labels(s->context, "levels", s->n_levels, levels) ||
           host->axis_labels(s->context, "classes", n_classes, classes);
}

static int make_tables(probe_state *s, tables *out) {
    static const char *const tasks[] = {"tasks", "levels"};
    static const char *const classes[] = {"classes", "levels"};
    const psc_host *host = s->host;
    psc_context *context = s->context;
    int32_t n_classes = 0;
    for (int32_t t = 0; t < s->n_tasks; t++) n_classes += s->tasks[t].n_classes;
    if (make_axes(s, n_classes)) return -1;
    out->accuracy = host->array(context, "accuracy", PSC_F64, 2, tasks);
    out->auroc = host->array(context, "auroc", PSC_F64, 2, tasks);
    out->majority = host->array(context, "majority", PSC_F64, 1, tasks);
    out->train = host->array(context, "train_rows", PSC_I32, 1, tasks);
    out->test = host->array(context, "test_rows", PSC_I32, 1, tasks);
    out->unseen = host->array(context, "unseen_rows", PSC_I32, 1, tasks);
    out->classes = host->array(context, "trained_classes", PSC_I32, 1, tasks);
    out->best = host->array(context, "best_level", PSC_I32, 1, tasks);
    out->recall = host->array(context, "recall", PSC_F64, 2, classes);
    out->class_train = host->array(context, "class_train_rows", PSC_I32, 1, classes);
    out->class_test = host->array(context, "class_test_rows", PSC_I32, 1, classes);
    return out->accuracy && out->auroc && out->majority && out->train && out->test && out->unseen &&
                   out->classes && out->best && out->recall && out->class_train && out->class_test
               ? 0
               : -1;
}

/* --- figures --------------------------------------------------------------------------------- */

/* Accuracy and area at every level, and the level where the task's figure is largest: the area of
 * tasks with two classes, else the accuracy; ties to the first. */
static void fill_levels(
    const probe_state *s, const tables *w, int32_t t, int64_t n, double *pairs) {
    const probe_task *task = &s->tasks[t];
    double best = -1.0;
    for (int32_t l = 0; l < s->n_levels; l++) {
        const int64_t at = (int64_t)t * s->n_levels + l;
        const int64_t right = total(task->right + (int64_t)l * task->n_classes, task->n_classes);
        w->accuracy[at] = (double)right / (double)n;
        if (task->n_scores)
            w->auroc[at] =
                probe_auroc(task->n_scores, task->scores + l, s->n_levels, task->truth, pairs);
        const double figure = isnan(w->auroc[at]) ? w->accuracy[at] : w->auroc[at];
        if (!(figure > best)) continue;
        best = figure;
        w->best[t] = l;
    }
}

static int fill_task(probe_state *s, const tables *w, int32_t t, int32_t first) {
    const probe_task *task = &s->tasks[t];
    const int64_t n = total(task->test, task->n_classes);
    int32_t frequent = 0;
    w->train[t] = (int32_t)total(task->train, task->n_classes);
    w->test[t] = (int32_t)n;
    w->unseen[t] = (int32_t)task->unseen;
    w->classes[t] = task->trained;
    for (int32_t c = 0; c < task->n_classes; c++) {
        if (task->train[c] > task->train[frequent]) frequent = c;
        w->class_train[first + c] = (int32_t)task->train[c];
        w->class_test[first + c] = (int32_t)task->test[c];
        for (int32_t l = 0; l < s->n_levels && task->test[c] && task->trained > 1; l++)
            w->recall[((int64_t)first + c) * s->n_levels + l] =
                (double)task->right[(int64_t)l * task->n_classes + c] / (double)task->test[c];
    }
    if (n == 0) return 0;
    w->majority[t] = (double)task->test[frequent] / (double)n;
    if (task->trained < 2) return 0;
    double *pairs =
        s->host->life_alloc(s->context, 2 * (uint64_t)task->n_scores * sizeof *pairs + 1);
    if (!pairs) return -1;
    fill_levels(s, w, t, n, pairs);
    return 0;
}

/* --- the summary ----------------------------------------------------------------------------- */

static int is_tested(const probe_state *s, const tables *w, int32_t t) {
    return s->tasks[t].trained > 1 && w->test[t] > 0;
}

static int say_untested(probe_state *s, const tables *w, int32_t t) {
    char line[240];
    const int32_t classes = s->tasks[t].trained, rows = w->test[t];
    snprintf(line, sizeof line,
        "%.60s: left out; it has %d class%s in training and %d row%s in test.", s->tasks[t].name,
        (int)classes, classes == 1 ? "" : "es", (int)rows, rows == 1 ? "" : "s");
    return s->host->summary_text(s->context, line);
}

/* One task at levels first..: the area under the ROC curve of two classes, else accuracy. */
static int say_task(probe_state *s, const tables *w, int32_t t, int32_t first) {
    const probe_task *task = &s->tasks[t];
    const int area = task->n_scores > 0 && !isnan(w->auroc[(int64_t)t * s->n_levels]);
    char line[240];
    int at = snprintf(line, sizeof line, "%-14.60s %-5s %6d %7d %6.3f", task->name,
        area ? "AUROC" : "acc.", (int)w->test[t], (int)task->trained, area ? 0.5 : w->majority[t]);
    for (int32_t l = first; l < s->n_levels && l < first + COLUMNS; l++)
        at += snprintf(line + at, sizeof line - (size_t)at, " %5.3f",
            (area ? w->auroc : w->accuracy)[(int64_t)t * s->n_levels + l]);
    return s->host->summary_text(s->context, line);
}

static int say_levels(probe_state *s, const tables *w, int32_t first) {
    char line[160], name[LEVEL_NAME];
    int at = snprintf(
        line, sizeof line, "%-14s %-5s %6s %7s %6s", "task", "", "units", "classes", "chance");
    for (int32_t l = first; l < s->n_levels && l < first + COLUMNS; l++) {
        snprintf(name, sizeof name, "x%d", (int)l);
        at += snprintf(line + at, sizeof line - (size_t)at, " %5s", name);
    }
    if (s->host->summary_text(s->context, line)) return -1;
    for (int32_t t = 0; t < s->n_tasks; t++)
        if (is_tested(s, w, t) && say_task(s, w, t, first)) return -1;
    return 0;
}

static int say_tasks(probe_state *s, const tables *w) {
    int32_t tested = 0;
    for (int32_t t = 0; t < s->n_tasks; t++) tested += is_tested(s, w, t);
    for (int32_t first = 0; first < s->n_levels && tested > 0; first += COLUMNS)
        if (say_levels(s, w, first)) return -1;
    if (tested > 0 &&
        s->host->summary_text(s->context,
            "acc.: accuracy, beside that of the most frequent class; AUROC: area under "
            "the ROC curve of two classes, chance 0.5"))
        return -1;
    for (int32_t t = 0; t < s->n_tasks; t++)
        if (!is_tested(s, w, t) && say_untested(s, w, t)) return -1;
    return 0;
}

static int summarize(probe_state *s, const tables *w) {
    char line[300];
    snprintf(line, sizeof line,
        "Linear probes of %d levels, trained on %s sentence%s and tested on %s other%s; sums and "
        "scores took %.0f MiB. LAPACK computes the last bits of the weights.",
        (int)s->n_levels, PSC_COMMAS(s->n_train), s->n_train == 1 ? "" : "s", PSC_COMMAS(s->n_test),
        s->n_test == 1 ? "" : "s", ceil(s->bytes / 0x1p20));
    if (s->host->summary_text(s->context, line) ||
        s->host->value_number(s->context, "train_sentences", (double)s->n_train) ||
        s->host->value_number(s->context, "test_sentences", (double)s->n_test) ||
        s->host->value_number(s->context, "memory_mib", s->bytes / 0x1p20) ||
        s->host->value_number(s->context, "ridge", s->ridge))
        return -1;
    return say_tasks(s, w);
}

int probe_report_write(probe_state *s) {
    tables w = {0};
    int32_t first = 0;
    if (!s->solved)
        return s->host->fail(s->context, "there are no test sentences; use the verb probe");
    if (make_tables(s, &w)) return -1;
    for (int32_t t = 0; t < s->n_tasks; t++) {
        w.majority[t] = NAN;
        if (fill_task(s, &w, t, first)) return -1;
        first += s->tasks[t].n_classes;
    }
    return summarize(s, &w);
}
