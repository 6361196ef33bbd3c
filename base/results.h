/* Result objects: what one run found, as plain named values, axes and arrays; report/ writes them.
 * Private to base/, runtime/, report/, bench/ and tests/.
 * Threads: one at a time.
 * Ownership: a psc_results owns everything in it; strings and entries are copied in. */
#ifndef RESULTS_H
#define RESULTS_H

#include <jansson.h>
#include <stdint.h>

#include "psc_error.h"

#include <stdbool.h>

typedef enum psc_result_dtype { PSC_RESULT_F32, PSC_RESULT_F64, PSC_RESULT_I32 } psc_result_dtype;

typedef struct psc_result_array {
    char *name; /* in its file: "logits.contributions", or a capture's hook name */
    psc_result_dtype dtype;
    int n_axes;
    int64_t shape[6];
    const char *axes[6]; /* names, owned by the section's json; null for captures */
    void *data;          /* row-major, 64-byte aligned */
    uint64_t bytes;
} psc_result_array;

typedef struct psc_result_bars {
    char *title, *unit;
    int n;
    char **labels;
    double *values;
} psc_result_bars;

/* One line of the printed summary: a sentence, or bars. */
typedef struct psc_result_item {
    char *sentence; /* null: bars */
    psc_result_bars bars;
} psc_result_item;

/* A plugin's part. json: {"version", "options": {...}, values..., "<axis>": [entries], ...,
 * "arrays": {"contributions": {"dtype", "axes": [...], "shape": [...]}}} */
typedef struct psc_result_section {
    char *name;
    json_t *json;
    psc_result_item *items;
    int n_items;
} psc_result_section;

/* A file of the output folder beside the two that are always there. */
typedef struct psc_result_document {
    char *name, *bytes;
    uint64_t n;
} psc_result_document;

typedef struct psc_results {
    json_t *head; /* {"pythiascope": {"version"}, "model": {...}, "run": {...}, "tokens": [...]} */
    psc_result_section *sections; /* in the order of the plugins */
    int n_sections;
    psc_result_array *arrays; /* all plugins' and captures */
    int n_arrays;
    psc_result_document *documents;
    int n_documents;
    psc_result_array *spare; /* memory of the run before, for arrays of the same size */
    int n_spare;
} psc_results;

psc_status psc_results_open(psc_results **out, psc_error *error);
void psc_results_close(psc_results **results);
/* Drops sections, arrays and head. The arrays' memory, already touched, is kept for a next run that
 * asks for the same sizes, until one asks for another. */
void psc_results_clear(psc_results *results);

/* A new section; null when out of memory. The pointer is valid until the next call. */
psc_result_section *psc_results_section(psc_results *results, const char *name);
/* A new array, filled with NaN (integers: -1) when `filled`; null after setting error. */
psc_result_array *psc_results_array(psc_results *results, const char *name, psc_result_dtype dtype,
    int n_axes, const int64_t *shape, bool filled, psc_error *error);
/* Copies the bytes; a name that is taken is PSC_ERROR_INPUT. */
psc_status psc_results_document(
    psc_results *results, const char *name, const char *bytes, uint64_t n, psc_error *error);
psc_status psc_section_sentence(psc_result_section *section, const char *text);
psc_status psc_section_bars(psc_result_section *section, const char *title, const char *unit, int n,
    const char *const *labels, const double *values);
size_t psc_result_dtype_size(psc_result_dtype dtype);
/* A JSON number, or null where value is not finite. Null pointer: out of memory. */
json_t *psc_result_number(double value);
/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. Null pointer: out of memory. */
json_t *psc_result_text(const char *bytes, size_t n);

#endif
