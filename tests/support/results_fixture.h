/* Handmade results: a head, every kind of entry, a capture and a file.
 * Private to test_report*.c, test_terminal.c, test_page*.c and test_results*.c; they assert.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: the test closes the result of make_results. */
#ifndef RESULTS_FIXTURE_H
#define RESULTS_FIXTURE_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results.h"

/* The call succeeded; or it returned `expected`, and the test's `error` contains `words`. */
#define GIVES(call) cr_assert_eq((call), PSC_OK, "%s", error.message)
#define REFUSED(call, expected, words) results_refused((call), expected, words, &error)

static inline void results_refused(
    psc_status status, psc_status expected, const char *words, psc_error *error) {
    cr_assert_eq(status, expected, "status %d: %s", status, error->message);
    cr_assert(strstr(error->message, words), "'%s' is not in: %s", words, error->message);
    *error = (psc_error){PSC_OK, ""};
}

/* section -1: a capture. */
static inline void *add_array(psc_results *results, int section, const char *key,
    psc_element element, int64_t rows, int64_t columns, const char *axis) {
    psc_error error = {0};
    const int64_t shape[2] = {rows, columns};
    const char *axes[2] = {axis, axis};
    psc_stored_array *array = psc_results_add_array(
        results, section, key, element, 2, section < 0 ? NULL : axes, shape, true, &error);
    cr_assert(array, "%s", error.message);
    return (void *)array->view.data;
}

static inline void add_head(psc_results *results) {
    static const int32_t eos_ids[] = {0, 7};
    results->version = "9.9";
    results->model = (psc_result_model){.struct_size = sizeof results->model,
        .d_model = 8,
        .bos_id = -1,
        .n_eos = 2,
        .eos_ids = eos_ids,
        .layer_norm_eps = 1e-5,
        .path = "a/folder",
        .hash = "00ff",
        .activation = "gelu",
        .dtype = "",
        .name = "folder"};
    results->run = (psc_result_run){.struct_size = sizeof results->run,
        .threads = 1,
        .n_rows = 3,
        .sequences = 1,
        .bos = 1,
        .isa = "reference",
        .sleef = "3.6"};
    psc_result_token *tokens = psc_results_make_tokens(results, 3);
    cr_assert(tokens);
    tokens[0] = (psc_result_token){5, 0, 0, 0, 3, "The", 3};
    tokens[1] = (psc_result_token){6, 0, 1, 3, 12, " \033[31mcat", 9};
    tokens[2] = (psc_result_token){7, 0, 2, 12, 13, "\xf0", 1};
    results->has_head = true;
}

static inline void add_entries(psc_results *results, psc_section *section) {
    static const char *const components[] = {"embed", NULL, "a\xff"};
    static const char *const labels[] = {"L0H0", "embed", "0_mlp_out \xff"};
    static const double values[] = {2.5, -1.25, NAN};
    static const int32_t rows[] = {0, 2};
    int failed = psc_section_add_option(section, "level", "head");
    failed |= psc_section_add_number(section, "nothing", NAN);
    failed |= psc_section_add_labels(results, section, "components", 3, components);
    failed |= psc_section_add_text(section, "note", "caf\xc3\xa9");
    failed |= psc_section_append_number(section, "errors", 0.5);
    failed |= psc_section_add_numbers(section, "rows", 2, rows);
    failed |= psc_section_append_text(section, "sites", "0.ln1");
    failed |= psc_section_append_number(section, "errors", NAN);
    failed |= psc_section_append_number(section, "errors", 1e300);
    failed |= psc_section_add_numbers(section, "none", 0, NULL);
    failed |= psc_section_add_sentence(section, "After ' \033[2Jcat' the model expects\n' sat'.");
    failed |= psc_section_add_bars(section, "largest shares", "nats", 3, labels, values);
    cr_assert_eq(failed, 0);
}

/* Sections logits (0), with everything, and ln (1), with one array. */
static inline psc_results *make_results(void) {
    psc_results *results;
    cr_assert_eq(psc_results_open(&results, NULL), PSC_OK);
    add_head(results);
    psc_section *section = psc_results_add_section(results, "logits", "1");
    cr_assert(section);
    add_entries(results, section);
    cr_assert(psc_results_add_section(results, "ln", "2"));
    ((float *)add_array(results, 0, "contributions", PSC_F32, 1, 2, "rows"))[0] = 2.5f;
    const int32_t *ids = add_array(results, 0, "target_ids", PSC_I32, 1, 2, "rows");
    cr_assert_eq(ids[1], -1, "an integer array starts as -1");
    ((double *)add_array(results, 1, "mean", PSC_F64, 1, 1, "x"))[0] = 0.1;
    add_array(results, -1, "blocks.0.hook_attn_out", PSC_F32, 2, 3, NULL);
    return results;
}

#endif
