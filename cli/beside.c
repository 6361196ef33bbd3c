/* Tables of a model's figures beside a control's. Levels are columns, at most COLUMNS per row of
 * the table; trees, whose names are long, are rows. */
#include "beside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report.h"

enum { COLUMNS = 8, TITLE = 40, LABEL = 64 };

/* An array with the axis that the table shows (main), and the other (parts; n 0: none). */
typedef struct side {
    psc_array array;
    psc_result_axis main, parts;
    bool main_first;
} side;

/* A label, escaped for a terminal. */
static const char *printable(char out[LABEL], const psc_result_axis *axis, int64_t i) {
    if (!axis->labels) {
        snprintf(out, LABEL, "%d", (int)axis->numbers[i]);
        return out;
    }
    psc_report_escape(out, LABEL, axis->labels[i], strlen(axis->labels[i]));
    return out;
}

static bool is_main(const char *axis) {
    return !strcmp(axis, "levels") || !strcmp(axis, "trees") || !strcmp(axis, "distances");
}

static bool find_side(
    side *out, const psc_results *results, const char *section, const char *figure) {
    char name[128];
    int32_t index = 0;
    *out = (side){.main_first = true};
    snprintf(name, sizeof name, "%s.%s", section, figure);
    if (psc_results_find_section(&index, results, section, NULL) ||
        psc_results_find_array(&out->array, results, name, NULL) || out->array.element != PSC_F64 ||
        out->array.n_axes < 1 || out->array.n_axes > 2)
        return false;
    const psc_array *a = &out->array;
    out->main_first = is_main(a->axes[0]);
    if (psc_results_find_axis(&out->main, results, index, a->axes[!out->main_first], NULL))
        return false;
    return a->n_axes == 1 || psc_results_find_axis(&out->parts, results, index,
                                 a->axes[out->main_first], NULL) == PSC_OK;
}

static double element(const side *s, int64_t i, int64_t part) {
    const double *data = s->array.data;
    if (i < 0 || part < 0) return (double)NAN;
    if (s->array.n_axes == 1) return data[i];
    return s->main_first ? data[i * s->array.shape[1] + part] : data[part * s->array.shape[1] + i];
}

/* The entry of b with the label of entry i of a; -1: none. */
static int64_t same_entry(const psc_result_axis *a, int64_t i, const psc_result_axis *b) {
    char want[LABEL], has[LABEL];
    if (a->n == 0) return 0;
    printable(want, a, i);
    for (int64_t k = 0; k < b->n; k++)
        if (strcmp(want, printable(has, b, k)) == 0) return k;
    return -1;
}

static void print_number(double x, bool percent, int width) {
    if (isnan(x))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, percent ? 2 : 3, percent ? 100.0 * x : x);
}

/* --- tables ---------------------------------------------------------------------------------- */

static void print_trees(const side *own, const side *control, const cli_figure *f) {
    char label[LABEL];
    printf("  %-*s %8s %8s\n", TITLE, f->title, "model", "control");
    for (int64_t i = 0; i < own->main.n; i++) {
        const int64_t k = same_entry(&own->main, i, &control->main);
        const double x = element(own, i, 0), y = element(control, k, 0);
        if (isnan(x) && isnan(y)) continue;
        printf("    %-*s", TITLE - 2, printable(label, &own->main, i));
        print_number(x, f->percent, 8);
        print_number(y, f->percent, 8);
        printf("\n");
    }
}

/* Entries first.. of the main axis of one part, and below them the control's. */
static void print_rows(
    const side *own, const side *control, const cli_figure *f, int64_t part, int64_t first) {
    char label[LABEL], title[160];
    const int64_t other = same_entry(&own->parts, part, &control->parts);
    snprintf(title, sizeof title, "%s%s%s", f->title, own->parts.n > 0 && *f->title ? ", " : "",
        own->parts.n > 0 ? printable(label, &own->parts, part) : "");
    for (int row = 0; row < 2; row++) {
        printf("  %-*s", TITLE, row ? "  control" : title);
        for (int64_t i = first; i < own->main.n && i < first + COLUMNS; i++) {
            const int64_t k = row ? same_entry(&own->main, i, &control->main) : i;
            print_number(element(row ? control : own, k, row ? other : part), f->percent, 7);
        }
        printf("\n");
    }
}

static bool has_numbers(const side *own, int64_t part) {
    for (int64_t i = 0; i < own->main.n; i++)
        if (!isnan(element(own, i, part))) return true;
    return false;
}

/* *header: the axis whose labels were printed last, if all fit in one row. */
static void print_levels(
    const side *own, const side *control, const cli_figure *f, char header[LABEL]) {
    const char *axis = own->array.axes[!own->main_first];
    char label[LABEL];
    for (int64_t first = 0; first < own->main.n; first += COLUMNS) {
        if (own->main.n > COLUMNS || strcmp(header, axis) != 0) {
            printf("  %-*s", TITLE, axis);
            for (int64_t i = first; i < own->main.n && i < first + COLUMNS; i++)
                printf(" %7s", printable(label, &own->main, i));
            printf("\n");
            snprintf(header, LABEL, "%s", axis);
        }
        int64_t parts = own->parts.n > 0 ? own->parts.n : 1;
        if (f->most_parts > 0 && f->most_parts < parts) parts = f->most_parts;
        for (int64_t part = 0; part < parts; part++)
            if (has_numbers(own, part)) print_rows(own, control, f, part, first);
    }
}

static double find_value(const psc_results *results, const char *section, const char *name) {
    psc_result_value value = {0};
    int32_t index = 0;
    if (psc_results_find_section(&index, results, section, NULL) ||
        psc_results_find_value(&value, results, index, name, NULL) ||
        value.kind != PSC_VALUE_NUMBER)
        return (double)NAN;
    return value.numbers[0];
}

static void print_value(double x, double y, const cli_figure *f, char header[LABEL]) {
    if (strcmp(header, "model") != 0) printf("  %-*s %7s %7s\n", TITLE, "", "model", "control");
    snprintf(header, LABEL, "model");
    printf("  %-*s", TITLE, f->title);
    print_number(x, f->percent, 7);
    print_number(y, f->percent, 7);
    printf("\n");
}

void cli_beside(const psc_results *results, const cli_arguments *arguments, const char *model,
    const char *control, const cli_figure *figures) {
    char header[LABEL] = "";
    int32_t index = 0;
    if (cli_has(arguments, "json") || psc_results_find_section(&index, results, model, NULL) ||
        psc_results_find_section(&index, results, control, NULL))
        return;
    printf("\n%s beside %s\n", model, control);
    for (const cli_figure *f = figures; f->name; f++) {
        side own, other;
        if (find_side(&own, results, model, f->name) &&
            find_side(&other, results, control, f->name)) {
            if (strcmp(own.array.axes[0], "trees") == 0)
                print_trees(&own, &other, f);
            else
                print_levels(&own, &other, f, header);
            continue;
        }
        const double x = find_value(results, model, f->name);
        if (!isnan(x)) print_value(x, find_value(results, control, f->name), f, header);
    }
}
