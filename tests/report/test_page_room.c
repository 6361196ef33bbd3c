/* The size of a page: whatever the results hold, it stays within its bytes, and its notes name what
 * is not whole. */
#include "page_assets.h"
#include "page_fixture.h"
#include "results_fixture.h"

/* A new array, filled with small numbers that differ. */
static void *add(psc_results *results, int section, const char *key, psc_element element,
    int n_axes, const char *const *axes, const int64_t *shape) {
    psc_error error = {0};
    psc_stored_array *array =
        psc_results_add_array(results, section, key, element, n_axes, axes, shape, true, &error);
    cr_assert(array, "%s", error.message);
    int64_t n = 1;
    for (int i = 0; i < n_axes; i++) n *= shape[i];
    for (int64_t i = 0; i < n; i++) {
        const double value = (double)(i * 7919 % 10007) / 10007;
        if (element == PSC_F32) ((float *)array->view.data)[i] = (float)value;
        if (element == PSC_F64) ((double *)array->view.data)[i] = value;
        if (element == PSC_I32) ((int32_t *)array->view.data)[i] = (int32_t)(i * 7919 % 50000);
    }
    return (void *)array->view.data;
}

static psc_section *add_section(psc_results *results, const char *name) {
    psc_section *section = psc_results_add_section(results, name, "1");
    cr_assert(section);
    return section;
}

static void add_labels(
    psc_results *results, psc_section *section, const char *axis, int64_t n, const char *format) {
    char **labels = calloc((size_t)n, sizeof *labels);
    for (int64_t i = 0; i < n; i++) {
        labels[i] = malloc(64);
        snprintf(labels[i], 64, format, (int)(i * 7919 % 1000003), (int)i);
    }
    cr_assert_eq(
        psc_section_add_labels(results, section, axis, n, (const char *const *)labels), PSC_OK);
    for (int64_t i = 0; i < n; i++) free(labels[i]);
    free(labels);
}

static size_t size_of_viewer(void) {
    return (psc_page_viewer_bytes + 2) / 3 * 4 + psc_page_loader_bytes + psc_page_style_bytes;
}

/* The bytes of the page without the viewer. */
static size_t size_of_page(const psc_results *results, int64_t room, json_t **data) {
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    size_t bytes;
    options.page_bytes = room;
    char *page = page_of(results, &options, &bytes);
    *data = data_of(page);
    psc_free(page);
    return bytes - size_of_viewer();
}

enum { FRAME = 3000 }; /* the page without texts, data and viewer */

static void check_rooms(const psc_results *results, const int64_t *rooms) {
    for (; *rooms; rooms++) {
        json_t *data;
        const size_t bytes = size_of_page(results, *rooms, &data);
        cr_assert_leq(
            (int64_t)bytes, (*rooms > 0 ? *rooms : 1000000) + FRAME, "%lld", (long long)*rooms);
        json_decref(data);
    }
}

static bool is_noted(json_t *data, const char *name) {
    size_t i;
    json_t *note;
    json_array_foreach(json_object_get(data, "notes"), i, note) {
        if (strstr(json_string_value(note), name)) return true;
    }
    return false;
}

static const int64_t rooms[] = {8000, 20000, 100000, 700000, 0};

/* pythia-160m on 128 tokens: what logits, ln, mlp, lens and attention leave. */
static psc_results *make_large(void) {
    psc_results *results = make_results();
    psc_result_token *tokens = psc_results_make_tokens(results, 128);
    for (int i = 0; i < 128; i++) tokens[i] = (psc_result_token){i, 0, i, 0, 4, " the", 4};
    psc_section *section = add_section(results, "all");
    static const char *const names[] = {
        "layers", "heads", "rows", "keys", "neurons", "components", "statistics", "tops"};
    static const int sizes[] = {13, 12, 128, 128, 3072, 37005, 8, 5};
    for (int i = 0; i < 8; i++) add_labels(results, section, names[i], sizes[i], "L%dN%d");
    add(results, 2, "pattern", PSC_F32, 4, (const char *const[]){"layers", "heads", "rows", "keys"},
        (const int64_t[]){12, 12, 128, 128});
    add(results, 2, "statistics", PSC_F32, 4,
        (const char *const[]){"layers", "heads", "rows", "statistics"},
        (const int64_t[]){12, 12, 128, 8});
    static const char *const mlp[] = {"pre", "gate", "post"};
    for (int i = 0; i < 3; i++)
        add(results, 2, mlp[i], PSC_F32, 3, (const char *const[]){"layers", "rows", "neurons"},
            (const int64_t[]){12, 128, 3072});
    add(results, 2, "top_ids", PSC_I32, 3, (const char *const[]){"layers", "rows", "tops"},
        (const int64_t[]){13, 128, 5});
    add(results, 2, "contributions", PSC_F32, 1, (const char *const[]){"components"},
        (const int64_t[]){37005});
    static const char *const lens[] = {"entropy", "kl", "rank", "logit", "log_z"};
    for (int i = 0; i < 5; i++)
        add(results, 2, lens[i], PSC_F64, 2, (const char *const[]){"layers", "rows"},
            (const int64_t[]){13, 128});
    return results;
}

Test(page_room, a_prompt_of_128_tokens_on_160m_is_at_most_1_mb) {
    psc_results *results = make_large();
    json_t *data;
    size_t bytes;
    char *page = page_of(results, NULL, &bytes);
    cr_expect_leq(bytes, 1000000, "%zu", bytes);
    cr_expect_leq(size_of_viewer(), 300000, "it leaves room for data");
    data = data_of(page);
    const json_t *pattern = array_of(data, 2, "pattern");
    cr_expect_str_eq(text_in(pattern, "encoding"), "top");
    cr_expect_geq(json_integer_value(json_object_get(pattern, "kept")), 2);
    const char *small = text_in(array_of(data, 2, "entropy"), "encoding");
    cr_expect(strcmp(small, "f32") == 0 || strcmp(small, "f16") == 0, "%s", small);
    cr_expect_str_eq(text_in(array_of(data, 2, "top_ids"), "encoding"), "u16");
    cr_expect(is_noted(data, "all.pattern"));
    cr_expect(is_noted(data, "all.pre"));
    cr_expect_eq(is_noted(data, "all.entropy"), strcmp(small, "f16") == 0);
    json_decref(data);
    check_rooms(results, rooms);
    psc_free(page);
    psc_results_close(&results);
}

Test(page_room, labels_in_runs_or_those_in_use) {
    psc_results *results = make_results();
    psc_section *section = add_section(results, "s");
    char **runs = calloc(5000, sizeof *runs);
    for (int i = 0; i < 5000; i++) {
        runs[i] = malloc(32);
        snprintf(runs[i], 32, i == 0 ? "embed" : i < 3000 ? "L0N%d" : "L1N%d", i % 3000);
    }
    psc_section_add_labels(results, section, "runs", 5000, (const char *const *)runs);
    add_labels(results, section, "random", 100000, "label %d of %d!");
    add_labels(results, section, "short", 1999, "label %d of %d!");
    float *values = add(results, 2, "values", PSC_F32, 1, (const char *const[]){"random"},
        (const int64_t[]){100000});
    values[77777] = 1000;
    add(results, 2, "others", PSC_F32, 1, (const char *const[]){"runs"}, (const int64_t[]){5000});
    json_t *data;
    const size_t bytes = size_of_page(results, 0, &data);
    cr_expect_leq(bytes, 1000000 + FRAME - (int64_t)size_of_viewer());
    json_t *axes = json_object_get(section_of(data, 0, 2), "axes"), *part;
    const json_t *list = json_object_get(json_object_get(axes, "runs"), "runs");
    size_t k;
    int at = 0;
    json_array_foreach(list, k, part) {
        if (json_is_string(part)) {
            cr_assert_str_eq(json_string_value(part), runs[at++]);
            continue;
        }
        for (int i = 0; i < json_integer_value(json_array_get(part, 2)); i++) {
            char label[64];
            snprintf(label, sizeof label, "%s%d", json_string_value(json_array_get(part, 0)),
                (int)json_integer_value(json_array_get(part, 1)) + i);
            cr_assert_str_eq(label, runs[at++]);
        }
    }
    cr_expect_eq(at, 5000);
    cr_expect_leq(json_array_size(list), 4);
    const json_t *used = json_object_get(json_object_get(axes, "random"), "labels");
    cr_expect(json_is_object(used) && json_object_size(used) < 5000);
    char want[64];
    snprintf(want, sizeof want, "label %d of %d!", 77777 * 7919 % 1000003, 77777);
    cr_expect_str_eq(text_in(used, "77777"), want, "of the largest number");
    cr_expect_eq(json_array_size(json_object_get(json_object_get(axes, "short"), "labels")), 1999);
    json_decref(data);
    check_rooms(results, rooms);
    for (int i = 0; i < 5000; i++) free(runs[i]);
    free(runs);
    psc_results_close(&results);
}

/* Texts of 1 MB, of characters whose escapes are long, in every place. */
Test(page_room, long_texts_are_cut) {
    psc_results *results = make_results();
    char *control = malloc(1000001), *plain = malloc(1000001);
    memset(control, 1, 1000000);
    memset(plain, '<', 1000000);
    control[1000000] = plain[1000000] = 0;
    const char *labels[] = {control, plain, "x"};
    static const double values[] = {1, 2, 3};
    results->tokens[1].bytes = control;
    results->tokens[1].n_bytes = 1000000;
    psc_section *section = add_section(results, "s");
    int failed = psc_section_add_option(section, "o", control);
    failed |= psc_section_add_text(section, "text", plain);
    failed |= psc_section_append_text(section, "list", control);
    failed |= psc_section_add_labels(results, section, "labels", 3, labels);
    failed |= psc_section_add_sentence(section, plain);
    failed |= psc_section_add_bars(section, control, plain, 3, labels, values);
    for (int i = 0; i < 3; i++) failed |= psc_section_append_text(section, "list", plain);
    failed |= psc_section_add_text(section, "after", "still here");
    cr_assert_eq(failed, 0);
    json_t *data;
    cr_expect_leq(size_of_page(results, 0, &data), 1000000 + FRAME - (int64_t)size_of_viewer());
    cr_expect(is_noted(data, "shortened"));
    json_t *list = json_object_get(section_of(data, 0, 2), "values");
    const char *text = text_in(list, "text");
    cr_expect(strlen(text) > 100 && strcmp(text + strlen(text) - 3, "\xe2\x80\xa6") == 0);
    cr_expect_str_eq(text_in(list, "after"), "still here");
    json_decref(data);
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    options.command = control;
    options.label = plain;
    options.beside_label = plain;
    options.beside = results;
    size_t bytes;
    char *page = page_of(results, &options, &bytes);
    cr_expect_leq((int64_t)bytes, 1000000);
    psc_free(page);
    check_rooms(results, rooms);
    free(control);
    free(plain);
    psc_results_close(&results);
}

Test(page_room, many_of_everything) {
    psc_results *results = make_results();
    psc_result_token *tokens = psc_results_make_tokens(results, 50000);
    for (int i = 0; i < 50000; i++) tokens[i] = (psc_result_token){i, 0, i, 0, 4, " a<b", 4};
    psc_section *section = add_section(results, "s");
    for (int i = 0; i < 20000; i++) psc_section_append_number(section, "numbers", 1.0 / (i + 3));
    static int32_t odd[30000];
    for (int i = 0; i < 30000; i++) odd[i] = 2 * i;
    psc_section_add_numbers(section, "odd", 30000, odd);
    add_labels(results, section, "x", 3, "%d %d");
    for (int i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof name, "value %d", i);
        psc_section_add_text(section, name, "a text of some length");
        psc_section_add_sentence(section, "A sentence of some length.");
        snprintf(name, sizeof name, "array_%d", i);
        add(results, 2, name, i % 2 ? PSC_F32 : PSC_I32, 1, (const char *const[]){"x"},
            (const int64_t[]){3});
    }
    check_rooms(results, rooms);
    psc_results_close(&results);
    results = make_results();
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof name, "section %d", i);
        section = add_section(results, name);
        add_labels(results, section, "x", 40, "%d %d");
        add(results, 2 + i, "y", PSC_F64, 2, (const char *const[]){"x", "x"},
            (const int64_t[]){40, 40});
    }
    check_rooms(results, rooms);
    psc_results_close(&results);
}

/* --- contexts -------------------------------------------------------------------------------- */

enum { LAYERS = 3, NEURONS = 4000, CONTEXTS = 8, WINDOW = 13 };

Test(page_room, contexts_are_whole_for_some_neurons) {
    psc_results *results = make_results();
    psc_section *section = add_section(results, "neurons");
    static const char *const listed[] = {"L2N3999", "L0N7", "L9N0", "something"};
    static const char *const axes[] = {"layers", "neurons", "contexts", "window"};
    static const int64_t shape[] = {LAYERS, NEURONS, CONTEXTS, WINDOW};
    for (int i = 0; i < 4; i++) add_labels(results, section, axes[i], shape[i], "%d %d");
    cr_assert_eq(psc_section_add_labels(results, section, "listed", 4, listed), PSC_OK);
    float *value = add(results, 2, "context_value", PSC_F32, 3, axes, shape);
    int32_t *tokens = add(results, 2, "context_tokens", PSC_I32, 4, axes, shape);
    for (int64_t i = 0; i < LAYERS * NEURONS * CONTEXTS; i++)
        value[i] = (float)(i / CONTEXTS * 31 % (LAYERS * NEURONS));
    json_t *data;
    cr_expect_leq(size_of_page(results, 0, &data), 1000000 + FRAME - (int64_t)size_of_viewer());
    const json_t *a = array_of(data, 2, "context_value"), *b = array_of(data, 2, "context_tokens");
    size_t n, n_other, n_tokens;
    double *kept = numbers_of(a, "slice_index", "u32", 1, &n);
    double *other = numbers_of(b, "slice_index", "u32", 1, &n_other);
    double *read = numbers_of(b, "data", text_in(b, "type"), 1, &n_tokens);
    cr_assert(n == n_other && n >= 64 && memcmp(kept, other, n * sizeof *kept) == 0);
    cr_assert_eq(n_tokens, n * CONTEXTS * WINDOW);
    bool has_listed[2] = {false};
    int above = 0;
    for (size_t i = 0; i < n; i++) {
        const int64_t slice = (int64_t)kept[i];
        if (slice == 2 * NEURONS + 3999) has_listed[0] = true;
        if (slice == 7) has_listed[1] = true;
        above += value[slice * CONTEXTS] >= (float)(LAYERS * NEURONS - (int)n);
        for (int64_t k = 0; k < CONTEXTS * WINDOW; k++)
            cr_assert_eq(
                read[(int64_t)i * CONTEXTS * WINDOW + k], tokens[slice * CONTEXTS * WINDOW + k]);
    }
    cr_expect(has_listed[0] && has_listed[1]);
    cr_expect_geq(above, (int)n - 2, "the others are those with the largest values");
    cr_expect(is_noted(data, "neurons.context_tokens"));
    free(kept);
    free(other);
    free(read);
    json_decref(data);
    check_rooms(results, rooms);
    psc_results_close(&results);
}
