/* Pages with contexts of neurons and heads: which slices are kept where not all fit, and the texts
 * of the token ids that they name. */
#include "page_assets.h"
#include "page_fixture.h"
#include "results_fixture.h"

enum { LAYERS = 2, NEURONS = 3000, CONTEXTS = 8, WINDOW = 12 };

static const char *const axes[] = {"layers", "neurons", "contexts", "window"};
static const int64_t shape[] = {LAYERS, NEURONS, CONTEXTS, WINDOW};

static void *add(psc_results *results, int section, const char *key, psc_element element,
    int n_axes, const char *const *names, const int64_t *extents) {
    psc_error error = {0};
    psc_stored_array *array =
        psc_results_add_array(results, section, key, element, n_axes, names, extents, true, &error);
    cr_assert(array, "%s", error.message);
    return (void *)array->view.data;
}

static void add_numbers(psc_section *section, const char *name, int64_t n) {
    static int32_t numbers[70000];
    for (int i = 0; i < 70000; i++) numbers[i] = i;
    cr_assert_eq(psc_section_add_numbers(section, name, n, numbers), PSC_OK);
}

/* Results of a section with the axes above, and ids of tokens for each context. */
static psc_results *make_ids(int32_t **ids) {
    psc_results *results = make_results();
    psc_section *section = psc_results_add_section(results, "neurons", "1");
    cr_assert(section);
    for (int i = 0; i < 4; i++) add_numbers(section, axes[i], shape[i]);
    *ids = add(results, 2, "tokens", PSC_I32, 4, axes, shape);
    results->arrays[results->n_arrays - 1].token_ids = true;
    return results;
}

/* The data of a page of at most `room` bytes; 0: as usual. */
static json_t *data_in(const psc_results *results, int64_t room) {
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    options.page_bytes = room;
    char *page = page_of(results, &options, NULL);
    json_t *data = data_of(page);
    psc_free(page);
    return data;
}

/* The kept slices of the section's array; fresh. */
static double *slices_of(json_t *data, const char *key, size_t *n) {
    const json_t *array = array_of(data, 2, key);
    cr_assert_str_eq(text_in(array, "encoding"), "slices");
    return numbers_of(array, "slice_index", "u32", 1, n);
}

/* --- the order ------------------------------------------------------------------------------- */

/* Without an array of numbers all slices are alike, and the first ones are kept. */
Test(page_contexts, without_numbers_the_first_are_kept) {
    int32_t *ids;
    size_t n;
    psc_results *results = make_ids(&ids);
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS * WINDOW; i++) ids[i] = (int32_t)(i * 7919);
    json_t *data = data_in(results, 0);
    double *kept = slices_of(data, "tokens", &n);
    cr_assert(n >= 4 && n < LAYERS * NEURONS);
    for (size_t i = 0; i < n; i++) cr_assert_eq(kept[i], (double)i);
    free(kept);
    json_decref(data);
    psc_results_close(&results);
}

/* Slices of the largest values, which may be negative; a slice without a number is never kept. */
Test(page_contexts, the_largest_are_kept) {
    int32_t *ids;
    size_t n;
    psc_results *results = make_ids(&ids);
    double *values = add(results, 2, "value", PSC_F64, 3, axes, shape);
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS; i++) {
        values[i] = (double)NAN;
        ids[i * WINDOW] = (int32_t)(i * 7919); /* large enough that not all slices fit */
    }
    values[5 * CONTEXTS + 7] = -1;
    values[4000 * CONTEXTS] = -3;
    values[5999 * CONTEXTS + 1] = -2;
    json_t *data = data_in(results, 0);
    double *kept = slices_of(data, "tokens", &n);
    cr_assert(n == 3 && kept[0] == 5 && kept[1] == 4000 && kept[2] == 5999);
    free(kept);
    json_decref(data);
    psc_results_close(&results);
}

/* Slices of nothing but NaN: the group is omitted, and a note says so. */
Test(page_contexts, slices_without_a_number_are_omitted) {
    int32_t *ids;
    psc_results *results = make_ids(&ids);
    float *values = add(results, 2, "value", PSC_F32, 3, axes, shape);
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS; i++) values[i] = NAN;
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS * WINDOW; i++) ids[i] = (int32_t)(i * 7919);
    json_t *data = data_in(results, 0), *notes = json_object_get(data, "notes");
    cr_assert_str_eq(text_in(array_of(data, 2, "tokens"), "encoding"), "omitted");
    cr_assert_str_eq(text_in(array_of(data, 2, "value"), "encoding"), "omitted");
    cr_assert_str_eq(json_string_value(json_array_get(notes, 0)),
        "neurons.tokens and neurons.value are too large for this page; tensors.safetensors has "
        "all.");
    json_decref(data);
    psc_results_close(&results);
}

/* --- what belongs to a group ----------------------------------------------------------------- */

/* Arrays whose axes before "contexts" are others than the first one's are encoded on their own; so
 * are a list of numbers named "listed", and one whose slices are too many to be counted. */
Test(page_contexts, arrays_of_other_axes_are_no_members) {
    static const char *const others[] = {"neurons", "layers", "contexts"};
    static const int64_t other_shape[] = {NEURONS, LAYERS, CONTEXTS};
    int32_t *ids;
    size_t n, n_other;
    psc_results *results = make_ids(&ids);
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS * WINDOW; i++) ids[i] = (int32_t)(i * 7919);
    add_numbers(&results->sections[2], "listed", 3);
    float *swapped = add(results, 2, "swapped", PSC_F32, 3, others, other_shape);
    float *shorter = add(results, 2, "shorter", PSC_F32, 2, axes + 1, shape + 1);
    float *value = add(results, 2, "value", PSC_F32, 3, axes, shape);
    for (int i = 0; i < 100; i++) swapped[i] = shorter[i] = value[i] = (float)i;
    json_t *data = data_in(results, 0);
    cr_assert_str_neq(text_in(array_of(data, 2, "swapped"), "encoding"), "slices");
    cr_assert_str_neq(text_in(array_of(data, 2, "shorter"), "encoding"), "slices");
    double *kept = slices_of(data, "tokens", &n), *other = slices_of(data, "value", &n_other);
    cr_assert(n == n_other && memcmp(kept, other, n * sizeof *kept) == 0);
    free(kept);
    free(other);
    json_decref(data);
    psc_results_close(&results);
}

Test(page_contexts, slices_beyond_32_bits) {
    static const char *const names[] = {"many", "more", "contexts"};
    static const int64_t extents[] = {65536, 65536, 0};
    psc_results *results = make_results();
    psc_section *section = psc_results_add_section(results, "neurons", "1");
    for (int i = 0; i < 3; i++) add_numbers(section, names[i], extents[i]);
    add(results, 2, "empty", PSC_F32, 3, names, extents);
    json_t *data = data_in(results, 0);
    cr_assert_eq(strlen(text_in(array_of(data, 2, "empty"), "data")), 0);
    json_decref(data);
    psc_results_close(&results);
}

/* --- texts of ids ---------------------------------------------------------------------------- */

/* A page has the texts of the ids that it shows: of the kept slices, or of a whole array. */
Test(page_contexts, the_texts_of_the_shown_ids) {
    static const psc_vocabulary_entry words[] = {
        {0, "zero", 4}, {7, "seven", 5}, {9, "nine", 4}, {12, "twelve", 6}, {2000, "two", 3}};
    int32_t *ids;
    psc_error error = {0};
    psc_results *results = make_ids(&ids);
    float *value = add(results, 2, "value", PSC_F32, 3, axes, shape);
    cr_assert_eq(
        psc_results_add_vocabulary(results, 5, words, &error), PSC_OK, "%s", error.message);
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS * WINDOW; i++)
        ids[i] = (int32_t)(i % 60000);
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS; i++) value[i] = (float)-INFINITY;
    for (int i = 0; i < CONTEXTS * WINDOW; i++) ids[i] = i == 3 ? 7 : -1; /* slice 0 */
    value[0] = 1;
    int32_t *small = add(results, 2, "small", PSC_I32, 1, axes, shape);
    results->arrays[results->n_arrays - 1].token_ids = true;
    small[0] = 12;
    small[1] = 5000; /* beyond the largest id with a text */
    int32_t *plain = add(results, 2, "plain", PSC_I32, 1, axes, shape); /* no ids */
    plain[0] = plain[1] = 9;
    json_t *data = data_in(results, 0);
    const json_t *run = json_array_get(json_object_get(data, "runs"), 0);
    const json_t *texts = json_object_get(run, "vocabulary");
    cr_assert_eq(json_object_size(texts), 2, "%zu", json_object_size(texts));
    cr_assert_str_eq(text_in(texts, "7"), "seven");
    cr_assert_str_eq(text_in(texts, "12"), "twelve");
    json_decref(data);
    psc_results_close(&results);
}

/* --- two runs -------------------------------------------------------------------------------- */

/* A note names an array once though both runs have it, and one that only the second run has. */
Test(page_contexts, notes_of_two_runs) {
    int32_t *ids, *others;
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    psc_results *results = make_ids(&ids), *beside = make_ids(&others);
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS * WINDOW; i++)
        ids[i] = others[i] = (int32_t)(i * 7919);
    psc_section *section = psc_results_add_section(beside, "second", "1");
    for (int i = 0; i < 4; i++) add_numbers(section, axes[i], shape[i]);
    int32_t *own = add(beside, 3, "own", PSC_I32, 4, axes, shape);
    memcpy(own, ids, sizeof *own * LAYERS * NEURONS * CONTEXTS * WINDOW);
    options.beside = beside;
    char *page = page_of(results, &options, NULL);
    json_t *data = data_of(page), *note;
    size_t i, n_named = 0;
    json_array_foreach(json_object_get(data, "notes"), i, note) {
        const char *text = json_string_value(note);
        if (!strstr(text, "neurons.tokens")) continue;
        n_named++;
        cr_expect_str_eq(text,
            "neurons.tokens and second.own have only some slices here, each whole; "
            "tensors.safetensors has all.");
    }
    cr_assert_eq(n_named, 1);
    psc_free(page);
    json_decref(data);
    psc_results_close(&results);
    psc_results_close(&beside);
}
