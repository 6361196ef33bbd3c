/* A folder for folders of results, their two files as bytes, and results with every kind of entry.
 * Private to test_read_folder*.c and test_json_numbers.c; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: callers free the bytes; the folder is removed by remove_base. */
#ifndef FOLDER_FIXTURE_H
#define FOLDER_FIXTURE_H

#include "files.h"
#include "plugin_fixture.h"
#include "results.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[] = "/tmp/psc-read-XXXXXX";

/* A path in the test's folder; the four last results stay valid. */
static inline const char *in_base(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static inline void open_base(void) {
    cr_assert(mkdtemp(base));
}

static inline void remove_base(void) {
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", base);
    cr_assert_eq(system(command), 0);
    fixture_close();
}

typedef struct bytes {
    char *data;
    size_t n;
} bytes;

static inline bytes load(const char *folder, const char *name) {
    char path[256];
    bytes out;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(psc_read_file(&out.data, &out.n, path, SIZE_MAX / 4, &error), PSC_OK, "%s", path);
    return out;
}

/* Writes both files of a folder, which may exist. */
static inline void store(const char *folder, bytes json, bytes tensors) {
    static const char *const names[] = {"results.json", "tensors.safetensors"};
    const bytes both[] = {json, tensors};
    mkdir(folder, 0777);
    for (int i = 0; i < 2; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path); /* writing over a file may wait for the disk */
        FILE *file = fopen(path, "wb");
        cr_assert(file && fwrite(both[i].data, 1, both[i].n, file) == both[i].n);
        cr_assert_eq(fclose(file), 0);
    }
}

static inline psc_results *must_read(const char *folder) {
    psc_results *results = NULL;
    cr_assert_eq(psc_results_read_folder(&results, folder, &error), PSC_OK, "%s", error.message);
    return results;
}

static inline char *text_of(const psc_results *from) {
    char *text = NULL;
    cr_assert_eq(psc_results_write_memory(&text, NULL, from, PSC_FORMAT_TEXT, NULL, &error), PSC_OK,
        "%s", error.message);
    return text;
}

/* --- results with every kind of entry -------------------------------------------------------- */

/* An array over one axis; its first bytes are numbered. */
static inline psc_stored_array *add(psc_results *r, int section, const char *key,
    psc_element element, const char *axis, int64_t n) {
    const char *axes[1] = {axis};
    psc_stored_array *array = psc_results_add_array(
        r, section, key, element, axis || n ? 1 : 0, axis ? axes : NULL, &n, true, &error);
    cr_assert(array, "%s", error.message);
    return array;
}

static inline void add_odd_section(psc_results *r) {
    static const char *const labels[] = {"a", "", "\"\\\n\x01", "caf\xc3\xa9"};
    static const double values[] = {NAN, -0.0, 5e-324, 1e308};
    psc_section *s = psc_results_add_section(r, "odd \"name\".x", "");
    cr_assert(s);
    int failed = psc_section_add_option(s, "", "a,b");
    failed |= psc_section_append_text(s, "labels_of_nothing", "text");
    failed |= psc_section_append_number(s, "numbers", 3);
    failed |= psc_section_append_number(s, "nans", NAN);
    failed |= psc_section_add_labels(r, s, "labels", 4, labels);
    failed |= psc_section_add_number(s, "whole", 12);
    failed |= psc_section_add_text(s, "text", "");
    failed |= psc_section_add_labels(r, s, "unused", 4, labels);
    failed |= psc_section_add_numbers(s, "none", 0, NULL);
    failed |= psc_section_append_number(s, "numbers", 1e300);
    failed |= psc_section_add_sentence(s, "");
    failed |= psc_section_add_bars(s, "", "", 0, NULL, NULL);
    failed |= psc_section_add_bars(s, "t", "u", 4, labels, values);
    failed |= psc_section_add_sentence(s, "a sentence\twith \x7f");
    cr_assert_eq(failed, 0);
}

static inline void add_targets(psc_results *r) {
    psc_result_target *t = psc_results_make_targets(r, 2);
    cr_assert(t);
    t[0] = (psc_result_target){.struct_size = sizeof *t,
        .id = 5,
        .minus_id = -1,
        .rank = 1,
        .name = "top:1",
        .text = "\"",
        .p = 0.1,
        .logit = -0.0};
    t[1] = (psc_result_target){.struct_size = sizeof *t,
        .row = 1,
        .id = INT32_MAX,
        .minus_id = 0,
        .rank = 7,
        .minus_rank = 8,
        .name = "#2147483647 - ' a'",
        .minus_text = " a",
        .p = NAN,
        .logit = 1e300,
        .minus_p = 5e-324,
        .minus_logit = 1.0 / 3};
    r->n_targets = 2;
}

/* What a client adds to results.json. */
static inline const psc_format_options *odd_options(void) {
    static const psc_generated_token tokens[] = {
        {5, 1, 0.5, -3, "a\0b", 3}, {INT32_MAX, 7, NAN, 1e300, NULL, 0}};
    static const psc_result_time time = {sizeof time, 0.125, NAN, INT64_MAX};
    static const psc_generation generation = {.struct_size = sizeof generation,
        .n = 2,
        .tokens = tokens,
        .text = "\"a\0b",
        .text_bytes = 4,
        .limit = INT64_MAX,
        .seed = UINT64_MAX,
        .temperature = 0.7,
        .top_k = 3,
        .end = PSC_END_CONTEXT};
    static psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    options.command = "pythiascope 'caf\xc3\xa9'\n";
    options.time = &time;
    options.generation = &generation;
    return &options;
}

/* Arrays of two sections and captures that were made in turns, some of them empty. */
static inline psc_results *make_odd(void) {
    static const int32_t eos[] = {0, 7};
    static const int32_t numbers[] = {INT32_MIN, INT32_MAX};
    static const psc_vocabulary_entry words[] = {{0, "\"", 1}, {7, "a\0b", 3}, {INT32_MAX, "", 0}};
    psc_results *r;
    cr_assert_eq(psc_results_open(&r, &error), PSC_OK);
    r->version = "0.0.1";
    r->model = (psc_result_model){.struct_size = sizeof r->model,
        .bos_id = -1,
        .n_eos = 2,
        .eos_ids = eos,
        .layer_norm_eps = 1e-5,
        .rotary_base = 10000,
        .path = "a/\"folder\"",
        .hash = "00ff",
        .activation = "",
        .dtype = "float16",
        .name = "owner/\"name\"@step3"};
    r->run = (psc_result_run){.struct_size = sizeof r->run,
        .n_rows = 2,
        .sequences = 1,
        .isa = "reference",
        .sleef = "3.6"};
    psc_result_token *tokens = psc_results_make_tokens(r, 2);
    tokens[0] = (psc_result_token){5, 0, 0, 0, UINT32_MAX, "a\0b", 3};
    tokens[1] = (psc_result_token){6, 0, 1, 3, 12, NULL, 0};
    r->has_head = true;
    add_odd_section(r);
    psc_section *s = psc_results_add_section(r, "second", "2");
    cr_assert_eq(psc_section_add_numbers(s, "x", 2, numbers), PSC_OK);
    add(r, -1, "capture", PSC_F32, NULL, 3);
    add(r, 1, "one", PSC_F32, "x", 2);
    add(r, 0, "empty", PSC_F32, "none", 0);
    add(r, 0, "wide", PSC_F64, "labels", 4);
    add(r, 1, "two", PSC_F64, "x", 2);
    add(r, 0, "ids", PSC_I32, "labels", 4)->token_ids = true;
    add(r, 1, "one.two", PSC_F32, NULL, 0);
    add(r, -1, "a.capture", PSC_F32, NULL, 1);
    cr_assert_eq(psc_results_add_vocabulary(r, 3, words, &error), PSC_OK);
    add_targets(r);
    return r;
}

/* --- results.json as a tree ------------------------------------------------------------------- */

static inline json_t *parse(bytes text) {
    json_t *root = json_loadb(text.data, text.n, JSON_ALLOW_NUL, NULL);
    cr_assert(root);
    return root;
}

static inline bytes dump(const json_t *root) {
    bytes out = {json_dumps(root, 0), 0};
    cr_assert(out.data);
    out.n = strlen(out.data);
    return out;
}

/* A member by its path, "plugins/second/arrays"; null without. */
static inline json_t *at(json_t *root, const char *path) {
    char part[64];
    while (root && *path) {
        const size_t n = strcspn(path, "/");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        root = json_is_array(root) ? json_array_get(root, (size_t)atoi(part))
                                   : json_object_get(root, part);
        path += n + (path[n] == '/');
    }
    return root;
}

#endif
