/* Folders of results read back: written again they have the same bytes; those of an older
 * version are read, too. */
#include "folder_fixture.h"

TestSuite(read_folder, .init = open_base, .fini = remove_base);

/* --- the same bytes -------------------------------------------------------------------------- */

static void check_same_files(const char *a, const char *b) {
    static const char *const names[] = {"results.json", "tensors.safetensors"};
    for (int i = 0; i < 2; i++) {
        const bytes first = load(a, names[i]), second = load(b, names[i]);
        cr_assert(
            first.n == second.n && memcmp(first.data, second.data, first.n) == 0, "%s", names[i]);
        free(first.data);
        free(second.data);
    }
}

/* Results with all that a client adds are written again with the same bytes. */
static void round_trip_with_options(const psc_results *results) {
    const char *third = in_base("third"), *fourth = in_base("fourth");
    cr_assert_eq(psc_results_write_folder_with(results, odd_options(), third, &error), PSC_OK, "%s",
        error.message);
    psc_results *read = must_read(third), *copy = NULL;
    cr_assert_eq(psc_results_copy(&copy, read, &error), PSC_OK, "%s", error.message);
    psc_results_close(&read);
    cr_assert_eq(psc_results_write_folder(copy, fourth, &error), PSC_OK, "%s", error.message);
    check_same_files(third, fourth);
    psc_result_time time = PSC_RESULT_TIME_INIT;
    psc_generation g = PSC_GENERATION_INIT;
    cr_assert_str_eq(psc_results_command(copy), odd_options()->command);
    cr_assert_eq(psc_results_get_time(&time, copy, &error), PSC_OK);
    cr_assert(time.seconds == 0.125 && time.peak_memory_bytes == INT64_MAX);
    cr_assert_eq(psc_results_get_generation(&g, copy, &error), PSC_OK);
    cr_assert(g.seed == UINT64_MAX && g.end == PSC_END_CONTEXT && g.n == 2 && g.text_bytes == 4);
    cr_assert(g.tokens[0].n_bytes == 3 && g.tokens[1].rank == 7 && !g.tokens[1].bytes);
    psc_results_close(&copy);
}

Test(read_folder, what_a_client_adds) {
    psc_results *results = make_odd();
    psc_result_time time = PSC_RESULT_TIME_INIT;
    psc_generation g = PSC_GENERATION_INIT;
    round_trip_with_options(results);
    cr_assert_null(psc_results_command(results));
    REFUSED(psc_results_get_time(&time, results, &error), PSC_ERROR_STATE, "no time");
    REFUSED(psc_results_get_generation(&g, results, &error), PSC_ERROR_STATE, "no generation");
    psc_result_time none = {0};
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    options.time = &none;
    REFUSED(psc_results_write_folder_with(results, &options, in_base("fifth"), &error),
        PSC_ERROR_INPUT, "PSC_RESULT_TIME_INIT");
    psc_results_close(&results);
}

/* results -> first -> read -> second: the same files and the same printed text. */
static void round_trip(const psc_results *results) {
    const char *first = in_base("first"), *second = in_base("second");
    cr_assert_eq(psc_results_write_folder(results, first, &error), PSC_OK, "%s", error.message);
    psc_results *read = must_read(first);
    char *ours = text_of(results), *theirs = text_of(read);
    cr_assert_str_eq(ours, theirs);
    cr_assert_eq(psc_results_write_folder(read, second, &error), PSC_OK, "%s", error.message);
    check_same_files(first, second);
    cr_assert_eq(psc_results_file_count(read), 0);
    psc_free(ours);
    psc_free(theirs);
    psc_results_close(&read);
}

static void open_books(int32_t n_sequences, int accumulate) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = n_sequences;
    options.accumulate = accumulate;
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

Test(read_folder, a_run_of_many_plugins) {
    static const char *const loads[][2] = {{"logits", "rows=all,level=layer+head"},
        {"ln", "target_rows=all"}, {"lens", "rows=all"}, {"mlp", "arrays=all"}, {"lens", "top=2"},
        {"attention", NULL}, {"sampling", NULL}, {"partition", NULL}, {"graph", NULL},
        {"neurons", "entropy=no,geometry=none,top=3"}, {"edges", NULL}, {"sweep", NULL},
        {"roles", NULL}, {"gradient", "steps=8"}, {"attribution", "over=edges,sample=5"}};
    open_books(1, 0);
    cr_assert_eq(psc_session_target(session, "top:2", &error), PSC_OK);
    cr_assert_eq(psc_session_target(session, "next", &error), PSC_OK);
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) must_load(loads[i][0], loads[i][1]);
    must_capture("blocks.*.attn.hook_pattern");
    must_capture("hook_embed");
    must_run_ten();
    round_trip(psc_session_results(session));
}

Test(read_folder, several_sequences) {
    const psc_input inputs[] = {{0, 6, ten + 4}, {1, 3, ten}};
    open_books(2, 0);
    must_load("logits", "rows=all,level=head");
    must_load("lens", "rows=all");
    must_capture("blocks.*.hook_resid_post");
    cr_assert_eq(psc_session_run(session, inputs, 2, NULL, &error), PSC_OK, "%s", error.message);
    round_trip(psc_session_results(session));
}

Test(read_folder, a_corpus) {
    open_books(1, 1);
    must_load("logits", NULL);
    must_load("neurons", "entropy=no,geometry=none,top=3,contexts=2");
    must_load("lens", NULL);
    must_run_ten();
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    totals.documents = 1;
    totals.limit = (int64_t)1 << 40;
    cr_assert_eq(psc_session_report(session, &totals, &error), PSC_OK, "%s", error.message);
    round_trip(psc_session_results(session));
}

/* --- every kind of entry --------------------------------------------------------------------- */

Test(read_folder, every_kind_of_entry) {
    psc_results *results = make_odd();
    round_trip(results);
    psc_results *read = must_read(in_base("first"));
    psc_results_close(&results);
    psc_result_axis axis;
    psc_result_value value;
    psc_result_token token;
    const char *text;
    int32_t id;
    cr_assert_eq(psc_results_find_axis(&axis, read, 0, "labels", &error), PSC_OK);
    cr_assert(axis.n == 4 && axis.labels && strcmp(axis.labels[2], "\"\\\n\x01") == 0);
    cr_assert_eq(psc_results_find_axis(&axis, read, 0, "none", &error), PSC_OK);
    cr_assert_eq(psc_results_find_axis(&axis, read, 1, "x", &error), PSC_OK);
    cr_assert(axis.numbers[0] == INT32_MIN && axis.numbers[1] == INT32_MAX);
    cr_assert_eq(psc_results_find_value(&value, read, 0, "labels_of_nothing", &error), PSC_OK);
    cr_assert_eq(psc_results_find_value(&value, read, 0, "whole", &error), PSC_OK);
    cr_assert(value.kind == PSC_VALUE_NUMBER && value.numbers[0] == 12);
    cr_assert_eq(psc_results_find_value(&value, read, 0, "nans", &error), PSC_OK);
    cr_assert(value.kind == PSC_VALUE_NUMBERS && isnan(value.numbers[0]));
    cr_assert_eq(psc_results_token_at(&token, read, 0, &error), PSC_OK);
    cr_assert(token.n_bytes == 3 && memcmp(token.bytes, "a\0b", 3) == 0 && token.end == UINT32_MAX);
    cr_assert_eq(psc_results_token_at(&token, read, 1, &error), PSC_OK);
    cr_assert_null(token.bytes);
    cr_assert_eq(psc_results_vocabulary_count(read), 3);
    cr_assert_eq(psc_results_vocabulary_at(&id, &text, read, 2, &error), PSC_OK);
    cr_assert(id == INT32_MAX && !*text);
    cr_assert_eq(psc_results_array_holds_token_ids(read, "odd \"name\".x.ids"), 1);
    psc_result_target target = PSC_RESULT_TARGET_INIT;
    cr_assert_eq(psc_results_target_count(read), 2);
    cr_assert_eq(psc_results_target_at(&target, read, 1, &error), PSC_OK);
    cr_assert(target.id == INT32_MAX && !target.text && isnan(target.p));
    cr_assert(target.minus_id == 0 && strcmp(target.minus_text, " a") == 0);
    psc_results_close(&read);
}

/* --- older versions and other writers -------------------------------------------------------- */

Test(read_folder, an_older_version_has_no_summary_and_no_vocabulary) {
    psc_results *results = make_odd();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder(results, folder, &error), PSC_OK, "%s", error.message);
    psc_results_close(&results);
    bytes json = load(folder, "results.json"), tensors = load(folder, "tensors.safetensors");
    json_t *root = parse(json);
    free(json.data);
    cr_expect_str_eq(json_string_value(at(root, "model/name")), "owner/\"name\"@step3");
    json_object_del(at(root, "model"), "name"); /* then it is the folder's last part */
    json_object_del(root, "vocabulary");
    json_object_del(root, "targets");
    json_object_del(root, "captures"); /* its tensors stay */
    json_object_del(at(root, "plugins/odd \"name\".x"), "summary");
    json_object_del(at(root, "plugins/odd \"name\".x/arrays/ids"), "token_ids");
    json_object_set_new(root, "of a later version", json_array());
    json = dump(root);
    store(folder, json, tensors);
    REFUSED(psc_results_read_folder(&results, folder, &error), PSC_ERROR_INPUT, "8 tensors",
        "6 arrays");
    json_object_set_new(root, "captures",
        json_pack("{s:{s:s,s:[i]}, s:{s:s,s:[i]}}", "capture", "dtype", "F32", "shape", 3,
            "a.capture", "dtype", "F32", "shape", 1));
    free(json.data);
    json = dump(root);
    store(folder, json, tensors);
    results = must_read(folder);
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    cr_assert_eq(psc_results_section_at(&section, results, 0, &error), PSC_OK);
    cr_assert(section.n_items == 0 && psc_results_vocabulary_count(results) == 0);
    psc_result_model facts = PSC_RESULT_MODEL_INIT;
    cr_assert_eq(psc_results_get_model(&facts, results, &error), PSC_OK);
    cr_expect_str_eq(facts.name, "\"folder\"");
    psc_results_close(&results);
    json_decref(root);
    free(json.data);
    free(tensors.data);
}

/* Files of another writer may have the arrays in two orders; each has its own numbers. */
Test(read_folder, arrays_in_another_order) {
    static const char *const keys[] = {"d", "c", "b", "a"};
    static const int32_t numbers[] = {0, 1};
    psc_results *results = make_odd();
    psc_section *s = psc_results_add_section(results, "third", "1");
    cr_assert_eq(psc_section_add_numbers(s, "x", 2, numbers), PSC_OK);
    for (int i = 3; i >= 0; i--)
        ((float *)add(results, 2, keys[i], PSC_F32, "x", 2)->view.data)[0] = (float)i;
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder(results, folder, &error), PSC_OK, "%s", error.message);
    psc_results_close(&results);
    bytes json = load(folder, "results.json"), tensors = load(folder, "tensors.safetensors");
    json_t *root = parse(json), *arrays = json_object();
    for (int i = 0; i < 4; i++)
        json_object_set(
            arrays, keys[i], json_object_get(at(root, "plugins/third/arrays"), keys[i]));
    json_object_set_new(at(root, "plugins/third"), "arrays", arrays);
    free(json.data);
    json = dump(root);
    store(folder, json, tensors);
    results = must_read(folder);
    for (int i = 0; i < 4; i++) {
        psc_array array;
        cr_assert_eq(psc_results_array_at(&array, results, 2, i, &error), PSC_OK);
        cr_assert_str_eq(strrchr(array.name, '.') + 1, keys[i]);
        cr_assert_eq(((const float *)array.data)[0], (float)i, "%s", array.name);
    }
    psc_results_close(&results);
    json_decref(root);
    free(json.data);
    free(tensors.data);
}

/* Without a name the path's last part is the name; all of the path where it ends with a slash. */
Test(read_folder, names_from_paths) {
    static const char *const paths[][2] = {
        {"books", "books"}, {"a/books", "books"}, {"a/books/", "a/books/"}, {"", ""}};
    psc_results *results = make_odd();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder_with(results, odd_options(), folder, &error), PSC_OK);
    psc_results_close(&results);
    const bytes json = load(folder, "results.json"), tensors = load(folder, "tensors.safetensors");
    json_t *root = parse(json);
    json_object_del(at(root, "model"), "name");
    json_object_set_new(at(root, "generation"), "end", json_null());
    for (int i = 0; i < 4; i++) {
        psc_result_model facts = PSC_RESULT_MODEL_INIT;
        psc_generation g = PSC_GENERATION_INIT;
        json_object_set_new(at(root, "model"), "path", json_string(paths[i][0]));
        const bytes changed = dump(root);
        store(folder, changed, tensors);
        results = must_read(folder);
        cr_assert_eq(psc_results_get_model(&facts, results, &error), PSC_OK);
        cr_assert_str_eq(facts.name, paths[i][1]);
        cr_assert_eq(psc_results_get_generation(&g, results, &error), PSC_OK);
        cr_assert_eq(g.end, PSC_END_NONE);
        psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
        char *text;
        options.generation = &g;
        cr_assert_eq(
            psc_results_write_memory(&text, NULL, results, PSC_FORMAT_JSON, &options, &error),
            PSC_OK);
        cr_assert(strstr(text, "\"end\": null"), "%s", text);
        psc_free(text);
        psc_results_close(&results);
        free(changed.data);
    }
    json_decref(root);
    free(json.data);
    free(tensors.data);
}
