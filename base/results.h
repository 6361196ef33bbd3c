/* Result objects: the results of one run as plain structures. psc_results.h reads them for clients,
 * report/ writes them.
 * Private to base/, runtime/, report/, tests/ and bench/.
 * Threads: one at a time.
 * Ownership: a psc_results owns everything in it and copies names, texts and entries. It borrows
 * only the strings of the head and the tokens' bytes: from a model that must outlive it, or, when
 * they were read from a folder, from an arena of its own. */
#ifndef RESULTS_H
#define RESULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "psc_results.h"

/* The entries of a labeled axis, in one block. A model's neurons have some 10^5 labels, so axes
 * with the same labels share one list, also with the previous run. */
typedef struct psc_labels {
    int64_t n;
    bool used;           /* by an axis since the last psc_results_clear */
    const char *texts[]; /* [n], then their bytes */
} psc_labels;

/* Axes and values of a section share one order: place counts both. */
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

/* The results of one plugin. Names of axes and values are unique in it, and differ from the fixed
 * keys of a section in results.json: "version", "options", "arrays", "summary". */
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
    bool token_ids; /* its integers are token ids; negative: none */
} psc_stored_array;

/* A token id that arrays name, and its text: UTF-8 without 0 bytes, and a 0 behind it. */
typedef struct psc_vocabulary_entry {
    int32_t id;
    const char *text;
    size_t bytes; /* without the 0 */
} psc_vocabulary_entry;

struct psc_results {
    bool has_head, has_corpus; /* corpus: instead of tokens */
    const char *version;
    psc_result_model model;
    psc_result_run run;
    psc_corpus_totals corpus;
    psc_result_token *tokens;
    int32_t n_tokens, room_tokens;    /* the room is kept by psc_results_clear */
    psc_section *sections;            /* in the order of the plugins */
    psc_stored_array *arrays;         /* all plugins' and captures */
    psc_result_file *files;           /* of the output folder, besides the two that it always has */
    psc_stored_array *spare;          /* memory of the previous run, for arrays of the same size */
    psc_labels **labels;              /* of this run and the previous one */
    psc_vocabulary_entry *vocabulary; /* ascending ids; one block with the texts */
    psc_result_target *targets;       /* names and texts are in own */
    int n_sections, n_arrays, n_files, n_spare, n_labels;
    int32_t n_vocabulary, n_targets;
    const char *command;       /* of results that were read; null without. In own */
    psc_result_time time;      /* struct_size 0: none */
    psc_generation generation; /* struct_size 0: none. In own */
    psc_arena own;             /* texts of targets, and of a head that was read */
};

/* --- results.c ------------------------------------------------------------------------------- */
psc_status psc_results_open(psc_results **out, psc_error *error);
/* Moves head, sections, arrays and files to a new object, which psc_results_close closes. results
 * are then as psc_results_clear leaves them, but without the moved memory. */
psc_status psc_results_take(psc_results **out, psc_results *results, psc_error *error);
/* Drops head, sections, arrays and files. Keeps the arrays' memory, whose pages are mapped already,
 * for a run with the same sizes, until an array of another size is made. Keeps labels until a run
 * does not use them. */
void psc_results_clear(psc_results *results);

/* Room for the head's n tokens; null without memory. */
psc_result_token *psc_results_make_tokens(psc_results *results, int32_t n);
/* Room for n targets, of which none counts yet (n_targets is 0); null without memory. */
psc_result_target *psc_results_make_targets(psc_results *results, int32_t n);
/* bytes [n] (null: zeros) and a 0, as long as the results live; null without memory. */
char *psc_results_keep(psc_results *results, const char *bytes, size_t n);
/* A new section; null without memory. The pointer is valid until the next call. */
psc_section *psc_results_add_section(psc_results *results, const char *name, const char *version);
/* A new array of a section, stored as "SECTION.key", or a capture (section -1, axes null); axes are
 * names that belong to the section. Filled with NaN (integers: -1) when `filled`; null after
 * setting error. The pointer is valid until the next call. */
psc_stored_array *psc_results_add_array(psc_results *results, int section, const char *key,
    psc_element element, int n_axes, const char *const *axes, const int64_t *shape, bool filled,
    psc_error *error);
/* The array of that name, or null. */
const psc_stored_array *psc_results_array_named(const psc_results *results, const char *name);
/* Copies the bytes; PSC_ERROR_INPUT if the name is taken. */
psc_status psc_results_add_file(
    psc_results *results, const char *name, const char *bytes, uint64_t n, psc_error *error);
size_t psc_element_size(psc_element element);

/* --- results_vocabulary.c -------------------------------------------------------------------- */
/* Adds n entries with ascending ids >= 0; an id that is there keeps its text. Copies the texts,
 * which may be any bytes and need no 0 behind them. */
psc_status psc_results_add_vocabulary(
    psc_results *results, int32_t n, const psc_vocabulary_entry *entries, psc_error *error);
/* The distinct ids below `limit` that arrays of token ids name, ascending: *out [*n], which the
 * caller frees by free(). */
psc_status psc_results_named_ids(
    int32_t **out, int32_t *n, const psc_results *results, int32_t limit, psc_error *error);

/* --- results_adopt.c ------------------------------------------------------------------------- */
/* Copies the other's sections, arrays, captures and files behind those of results, as
 * "prefix.name", or under their own names if prefix is null. After a failure results are as before:
 * PSC_ERROR_INPUT if a name is taken. */
psc_status psc_results_adopt(
    psc_results *results, const psc_results *other, const char *prefix, psc_error *error);
psc_status psc_results_copy_axis(psc_results *to, int section, const psc_result_axis *axis);
psc_status psc_section_copy_value(psc_section *to, const psc_result_value *value);

/* --- results_copy.c -------------------------------------------------------------------------- */
/* Copies the head, the tokens and the targets, with all their texts, into results without any. */
psc_status psc_results_copy_head(psc_results *to, const psc_results *from, psc_error *error);

/* --- results_section.c: PSC_ERROR_INPUT if the name is taken; a null text becomes "" ---------- */
psc_status psc_section_add_option(psc_section *section, const char *key, const char *value);
psc_status psc_section_add_labels(psc_results *results, psc_section *section, const char *name,
    int64_t n, const char *const *labels);
psc_status psc_section_add_numbers(
    psc_section *section, const char *name, int64_t n, const int32_t *numbers);
psc_status psc_section_add_number(psc_section *section, const char *name, double value);
psc_status psc_section_add_text(psc_section *section, const char *name, const char *value);
/* PSC_ERROR_INPUT when the name belongs to anything but a list of such entries. */
psc_status psc_section_append_number(psc_section *section, const char *name, double value);
psc_status psc_section_append_text(psc_section *section, const char *name, const char *value);
psc_status psc_section_add_sentence(psc_section *section, const char *text);
psc_status psc_section_add_bars(psc_section *section, const char *title, const char *unit, int n,
    const char *const *labels, const double *values);
/* Whether two axes have the same entries. */
bool psc_results_same_axis(const psc_result_axis *a, const psc_result_axis *b);
/* The axis or value of that name, or null. */
const psc_result_axis *psc_section_axis_named(const psc_section *section, const char *name);
const psc_result_value *psc_section_value_named(const psc_section *section, const char *name);
/* Frees everything in the section except labels. */
void psc_section_free(psc_section *section);

/* --- results_text.c -------------------------------------------------------------------------- */
/* Copies bytes to out as UTF-8, with U+FFFD in place of each byte that is not, and no 0 at the end.
 * Returns the length; out may be null. */
size_t psc_text_clean(char *out, const char *bytes, size_t n);
/* The same with U+FFFD in place of 0 bytes, too. */
size_t psc_text_clean_whole(char *out, const char *bytes, size_t n);
/* As psc_text_clean, in fresh memory with a 0 after it, which the caller frees by
 * free(); null without memory. */
char *psc_text_cleaned(const char *bytes, size_t n);

/* The list (n used) with room for one more item; null, and an unchanged list, without memory. Such
 * lists have room for the next power of two, so the capacity need not be stored. */
void *psc_list_grow(void *list, int n, size_t item_size);

#endif
