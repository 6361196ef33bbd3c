/* Result objects: what one run found, as plain structures. psc_results.h reads them for everyone,
 * report/ writes them.
 * Private to base/, runtime/, report/, tests/ and bench/.
 * Threads: one at a time.
 * Ownership: a psc_results owns everything in it; names, texts and entries are copied in. Only the
 * strings of the head and the tokens' bytes are borrowed, from a model that must outlive it. */
#ifndef RESULTS_H
#define RESULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "psc_results.h"

/* The entries of a labelled axis, in one block: a model's neurons are some 10^5 labels, so axes
 * with the same labels share one list, also with the run before. */
typedef struct psc_labels {
    int64_t n;
    bool used;           /* by an axis since the last clearing */
    const char *texts[]; /* [n], then their bytes */
} psc_labels;

/* Axes and values of a section have one order: place counts both. */
typedef struct psc_section_axis {
    psc_result_axis view; /* labels belong to psc_results.labels */
    int place;
} psc_section_axis;

typedef struct psc_section_value {
    psc_result_value view;
    int place;
} psc_section_value;

typedef struct psc_section_option {
    char *key, *value;
} psc_section_option;

/* A plugin's part. Names of axes and values are used once, and are none of those that a section
 * has in results.json anyway: "version", "options", "arrays". */
typedef struct psc_section {
    char *name, *version;
    psc_section_option *options;
    psc_section_axis *axes;
    psc_section_value *values;
    psc_result_item *items;
    int n_options, n_axes, n_values, n_items;
    int n_arrays; /* in psc_results.arrays */
} psc_section;

typedef struct psc_stored_array {
    psc_array view; /* row-major; the names of axes are the section's */
    uint64_t bytes; /* of view.data */
    int section;    /* -1: a capture */
} psc_stored_array;

struct psc_results {
    bool has_head, has_corpus; /* corpus: instead of tokens */
    const char *version;
    psc_result_model model;
    psc_result_run run;
    psc_corpus_totals corpus;
    psc_result_token *tokens;
    int32_t n_tokens, room_tokens; /* the room is kept by psc_results_clear */
    psc_section *sections;         /* in the order of the plugins */
    psc_stored_array *arrays;      /* all plugins' and captures */
    psc_result_file *files;        /* of the output folder, beside the two that are always there */
    psc_stored_array *spare;       /* memory of the run before, for arrays of the same size */
    psc_labels **labels;           /* of this run and the one before */
    int n_sections, n_arrays, n_files, n_spare, n_labels;
};

/* --- results.c ------------------------------------------------------------------------------- */
psc_status psc_results_open(psc_results **out, psc_error *error);
void psc_results_close(psc_results **results);
/* Drops head, sections, arrays and files. The arrays' memory, already touched, is kept for a next
 * run that asks for the same sizes, until one asks for another; labels until a run without them. */
void psc_results_clear(psc_results *results);

/* Room for n tokens, which become the head's; null without memory. */
psc_result_token *psc_results_make_tokens(psc_results *results, int32_t n);
/* A new section; null without memory. The pointer is valid until the next call. */
psc_section *psc_results_add_section(psc_results *results, const char *name, const char *version);
/* A new array of a section, stored as "SECTION.key", or a capture (section -1, axes null); axes are
 * names that belong to the section. Filled with NaN (integers: -1) when `filled`; null after
 * setting error. The pointer is valid until the next call. */
psc_stored_array *psc_results_add_array(psc_results *results, int section, const char *key,
    psc_element element, int n_axes, const char *const *axes, const int64_t *shape, bool filled,
    psc_error *error);
/* The array of that name; null when there is none. */
const psc_stored_array *psc_results_array_named(const psc_results *results, const char *name);
/* Copies the bytes; a name that is taken is PSC_ERROR_INPUT. */
psc_status psc_results_add_file(
    psc_results *results, const char *name, const char *bytes, uint64_t n, psc_error *error);
size_t psc_element_size(psc_element element);

/* --- results_section.c: PSC_ERROR_INPUT for a name that is taken; texts may be null: "" ------- */
psc_status psc_section_add_option(psc_section *section, const char *key, const char *value);
psc_status psc_section_add_labels(psc_results *results, psc_section *section, const char *name,
    int64_t n, const char *const *labels);
psc_status psc_section_add_numbers(
    psc_section *section, const char *name, int64_t n, const int32_t *numbers);
psc_status psc_section_add_number(psc_section *section, const char *name, double value);
psc_status psc_section_add_text(psc_section *section, const char *name, const char *value);
/* PSC_ERROR_INPUT when the name is something else than a list of such entries. */
psc_status psc_section_append_number(psc_section *section, const char *name, double value);
psc_status psc_section_append_text(psc_section *section, const char *name, const char *value);
psc_status psc_section_add_sentence(psc_section *section, const char *text);
psc_status psc_section_add_bars(psc_section *section, const char *title, const char *unit, int n,
    const char *const *labels, const double *values);
/* Null when there is none. */
const psc_result_axis *psc_section_axis_named(const psc_section *section, const char *name);
const psc_result_value *psc_section_value_named(const psc_section *section, const char *name);
/* Frees what the section holds, but not labels. */
void psc_section_free(psc_section *section);

/* --- results_text.c -------------------------------------------------------------------------- */
/* Bytes as UTF-8 without a 0 after them: each byte that is not becomes U+FFFD. Writes them to out,
 * unless it is null, and returns how many they are. */
size_t psc_text_clean(char *out, const char *bytes, size_t n);
/* The same as fresh memory with a 0 after it (free() by the caller); null without memory. */
char *psc_text_cleaned(const char *bytes, size_t n);

/* The list (n used) with room for one more item, or null and the list as it was. Lists that grow by
 * this have room for the next power of two, which need not be stored. */
void *psc_list_grow(void *list, int n, size_t item_size);

#endif
