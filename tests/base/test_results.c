/* psc_results.h: every reader, every kind, order and bounds. */
#include "results_fixture.h"

#include <unistd.h>

#include "psc.h"

static psc_results *results;
static psc_error error;

static void open_results(void) {
    results = make_results();
}

static void close_results(void) {
    psc_results_close(&results);
}

TestSuite(results, .init = open_results, .fini = close_results);

/* --- the head -------------------------------------------------------------------------------- */

Test(results, head) {
    psc_result_model model = PSC_RESULT_MODEL_INIT;
    psc_result_run run = PSC_RESULT_RUN_INIT;
    psc_corpus_totals corpus = PSC_CORPUS_TOTALS_INIT;
    cr_assert_str_eq(psc_results_version(results), "9.9");
    GIVES(psc_results_get_model(&model, results, &error));
    cr_assert(model.struct_size == sizeof model && model.d_model == 8 && model.bos_id == -1);
    cr_assert(model.n_eos == 2 && model.eos_ids[1] == 7 && model.layer_norm_eps == 1e-5);
    cr_assert_str_eq(model.path, "a/folder");
    cr_assert_str_eq(model.dtype, "");
    GIVES(psc_results_get_run(&run, results, &error));
    cr_assert(run.threads == 1 && run.n_rows == 3 && run.sequences == 1 && run.bos == 1);
    cr_assert_str_eq(run.isa, "reference");
    REFUSED(psc_results_get_corpus(&corpus, results, &error), PSC_ERROR_STATE, "not of a corpus");
    results->has_corpus = true;
    results->corpus.tokens = 15;
    GIVES(psc_results_get_corpus(&corpus, results, &error));
    cr_assert_eq(corpus.tokens, 15);
}

/* A caller with an older, shorter structure gets the members it knows; nothing is written past
 * them. */
Test(results, structures_of_another_size) {
    psc_result_run run;
    memset(&run, 0x55, sizeof run);
    run.struct_size = offsetof(psc_result_run, n_rows);
    GIVES(psc_results_get_run(&run, results, &error));
    cr_assert_eq(run.struct_size, offsetof(psc_result_run, n_rows));
    cr_assert_eq(run.threads, 1);
    cr_assert_eq(run.n_rows, 0x55555555);
    struct {
        psc_result_run run;
        char newer[16];
    } larger = {.newer = "untouched"};
    larger.run.struct_size = sizeof larger;
    GIVES(psc_results_get_run(&larger.run, results, &error));
    cr_assert_eq(larger.run.n_rows, 3);
    cr_assert_str_eq(larger.newer, "untouched");
    run.struct_size = 0;
    REFUSED(psc_results_get_run(&run, results, &error), PSC_ERROR_INPUT, "struct_size");
}

Test(results, tokens) {
    psc_result_token token;
    cr_assert_eq(psc_results_token_count(results), 3);
    GIVES(psc_results_token_at(&token, results, 2, &error));
    cr_assert(token.id == 7 && token.position == 2 && token.start == 12 && token.end == 13);
    cr_assert(token.n_bytes == 1 && token.bytes[0] == '\xf0', "a token's bytes are its own");
    REFUSED(psc_results_token_at(&token, results, 3, &error), PSC_ERROR_INPUT, "token 3");
    REFUSED(psc_results_token_at(&token, results, -1, &error), PSC_ERROR_INPUT, "token -1");
}

Test(results, that_hold_nothing) {
    psc_result_model model = PSC_RESULT_MODEL_INIT;
    char *text = "";
    size_t bytes = 9;
    psc_results_clear(results);
    cr_assert_null(psc_results_version(results));
    cr_assert_eq(psc_results_token_count(results), 0);
    cr_assert_eq(psc_results_section_count(results), 0);
    cr_assert_eq(psc_results_capture_count(results), 0);
    cr_assert_eq(psc_results_file_count(results), 0);
    REFUSED(psc_results_get_model(&model, results, &error), PSC_ERROR_STATE, "empty");
    REFUSED(psc_results_write_memory(&text, &bytes, results, PSC_FORMAT_JSON, NULL, &error),
        PSC_ERROR_STATE, "empty");
    cr_assert(text == NULL && bytes == 0);
    REFUSED(
        psc_results_write_folder(results, "/tmp/psc-never-made", &error), PSC_ERROR_STATE, "empty");
    cr_assert_neq(access("/tmp/psc-never-made", F_OK), 0);
}

/* --- sections -------------------------------------------------------------------------------- */

Test(results, sections) {
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    int32_t index = -1;
    cr_assert_eq(psc_results_section_count(results), 2);
    GIVES(psc_results_section_at(&section, results, 0, &error));
    cr_assert(section.n_options == 1 && section.n_axes == 3 && section.n_arrays == 2);
    cr_assert(section.n_values == 4 && section.n_items == 2);
    cr_assert_str_eq(section.name, "logits");
    cr_assert_str_eq(section.version, "1");
    GIVES(psc_results_find_section(&index, results, "ln", &error));
    cr_assert_eq(index, 1);
    REFUSED(psc_results_section_at(&section, results, 2, &error), PSC_ERROR_INPUT, "section 2");
    REFUSED(psc_results_find_section(&index, results, "l", &error), PSC_ERROR_INPUT, "'l'");
}

Test(results, options) {
    const char *key, *value;
    GIVES(psc_results_option_at(&key, &value, results, 0, 0, &error));
    cr_assert_str_eq(key, "level");
    cr_assert_str_eq(value, "head");
    REFUSED(psc_results_option_at(&key, &value, results, 0, 1, &error), PSC_ERROR_INPUT,
        "'logits' has no option 1");
    REFUSED(
        psc_results_option_at(&key, &value, results, 2, 0, &error), PSC_ERROR_INPUT, "section 2");
}

Test(results, axes) {
    static const char *const names[] = {"components", "rows", "none"};
    psc_result_axis axis;
    for (int32_t i = 0; i < 3; i++) {
        GIVES(psc_results_axis_at(&axis, results, 0, i, &error));
        cr_assert_str_eq(axis.name, names[i]);
    }
    cr_assert(axis.n == 0 && axis.numbers && !axis.labels);
    GIVES(psc_results_find_axis(&axis, results, 0, "components", &error));
    cr_assert(axis.n == 3 && axis.labels && !axis.numbers);
    cr_assert_str_eq(axis.labels[0], "embed");
    cr_assert_str_eq(axis.labels[1], "", "a null label is an empty one");
    cr_assert_str_eq(axis.labels[2], "a\xef\xbf\xbd", "labels are UTF-8");
    GIVES(psc_results_find_axis(&axis, results, 0, "rows", &error));
    cr_assert(axis.n == 2 && axis.numbers[1] == 2 && !axis.labels);
    REFUSED(psc_results_axis_at(&axis, results, 0, 3, &error), PSC_ERROR_INPUT, "axis 3");
    REFUSED(psc_results_axis_at(&axis, results, 0, -1, &error), PSC_ERROR_INPUT, "axis -1");
    REFUSED(psc_results_find_axis(&axis, results, 0, "note", &error), PSC_ERROR_INPUT, "'note'");
}

Test(results, values) {
    static const char *const names[] = {"nothing", "note", "errors", "sites"};
    static const int32_t kinds[] = {
        PSC_VALUE_NUMBER, PSC_VALUE_TEXT, PSC_VALUE_NUMBERS, PSC_VALUE_TEXTS};
    psc_result_value v;
    for (int32_t i = 0; i < 4; i++) {
        GIVES(psc_results_value_at(&v, results, 0, i, &error));
        cr_assert_str_eq(v.name, names[i]);
        cr_assert_eq(v.kind, kinds[i], "%s", names[i]);
        cr_assert_eq(v.n, i == 2 ? 3 : 1);
        const bool text = v.kind == PSC_VALUE_TEXT || v.kind == PSC_VALUE_TEXTS;
        cr_assert(text ? v.texts && !v.numbers : v.numbers && !v.texts);
    }
    GIVES(psc_results_find_value(&v, results, 0, "nothing", &error));
    cr_assert(isnan(v.numbers[0]), "NaN stays NaN");
    GIVES(psc_results_find_value(&v, results, 0, "errors", &error));
    cr_assert(v.numbers[0] == 0.5 && isnan(v.numbers[1]) && v.numbers[2] == 1e300);
    GIVES(psc_results_find_value(&v, results, 0, "note", &error));
    cr_assert_str_eq(v.texts[0], "caf\xc3\xa9");
    REFUSED(psc_results_value_at(&v, results, 0, 4, &error), PSC_ERROR_INPUT, "value 4");
    REFUSED(psc_results_find_value(&v, results, 0, "rows", &error), PSC_ERROR_INPUT, "'rows'");
    REFUSED(psc_results_find_value(&v, results, 1, "note", &error), PSC_ERROR_INPUT, "'ln'");
}

Test(results, names_are_used_once) {
    psc_section *s = &results->sections[0];
    const int32_t none[1] = {0};
    static const char *const taken[] = {
        "note", "rows", "errors", "version", "options", "arrays", "summary"};
    for (int i = 0; i < 7; i++) {
        cr_assert_eq(psc_section_add_number(s, taken[i], 1), PSC_ERROR_INPUT, "%s", taken[i]);
        cr_assert_eq(psc_section_add_text(s, taken[i], "x"), PSC_ERROR_INPUT, "%s", taken[i]);
        cr_assert_eq(psc_section_add_numbers(s, taken[i], 1, none), PSC_ERROR_INPUT);
        cr_assert_eq(psc_section_add_labels(results, s, taken[i], 0, NULL), PSC_ERROR_INPUT);
        cr_assert_eq(psc_section_append_text(s, taken[i], "x"), PSC_ERROR_INPUT, "%s", taken[i]);
    }
    cr_assert_eq(psc_section_append_number(s, "sites", 1), PSC_ERROR_INPUT, "texts and numbers");
    cr_assert(s->n_axes == 3 && s->n_values == 4);
}

Test(results, items) {
    psc_result_item item;
    GIVES(psc_results_item_at(&item, results, 0, 0, &error));
    cr_assert(item.sentence && !item.title && item.n == 0);
    GIVES(psc_results_item_at(&item, results, 0, 1, &error));
    cr_assert(!item.sentence && item.n == 3 && item.values[1] == -1.25 && isnan(item.values[2]));
    cr_assert_str_eq(item.title, "largest shares");
    cr_assert_str_eq(item.unit, "nats");
    cr_assert_str_eq(item.labels[0], "L0H0");
    REFUSED(psc_results_item_at(&item, results, 0, 2, &error), PSC_ERROR_INPUT, "summary item 2");
    REFUSED(psc_results_item_at(&item, results, 1, 0, &error), PSC_ERROR_INPUT, "it has 0");
}

/* --- arrays, captures, files ----------------------------------------------------------------- */

Test(results, arrays) {
    psc_array a;
    GIVES(psc_results_array_at(&a, results, 0, 1, &error));
    cr_assert(a.element == PSC_I32 && a.n_axes == 2 && a.shape[0] == 1 && a.shape[1] == 2);
    cr_assert_str_eq(a.name, "logits.target_ids");
    cr_assert_str_eq(a.key, "target_ids");
    cr_assert_str_eq(a.axes[1], "rows");
    GIVES(psc_results_find_array(&a, results, "logits.contributions", &error));
    cr_assert(((const float *)a.data)[0] == 2.5f && isnan(((const float *)a.data)[1]));
    cr_assert_eq((uintptr_t)a.data % 64, 0);
    GIVES(psc_results_array_at(&a, results, 1, 0, &error));
    cr_assert_str_eq(a.name, "ln.mean");
    cr_assert_eq(((const double *)a.data)[0], 0.1);
    REFUSED(psc_results_array_at(&a, results, 1, 1, &error), PSC_ERROR_INPUT, "no array 1");
    REFUSED(psc_results_array_at(&a, results, -1, 0, &error), PSC_ERROR_INPUT, "section -1");
    REFUSED(psc_results_find_array(&a, results, "mean", &error), PSC_ERROR_INPUT, "'mean'");
}

Test(results, captures) {
    psc_array a;
    cr_assert_eq(psc_results_capture_count(results), 1);
    GIVES(psc_results_capture_at(&a, results, 0, &error));
    cr_assert_str_eq(a.name, "blocks.0.hook_attn_out");
    cr_assert_str_eq(a.key, a.name);
    cr_assert(a.n_axes == 2 && a.shape[1] == 3 && !a.axes[0] && !a.axes[1]);
    REFUSED(psc_results_capture_at(&a, results, 1, &error), PSC_ERROR_INPUT, "capture 1");
    GIVES(psc_results_find_array(&a, results, "blocks.0.hook_attn_out", &error));
}

Test(results, files) {
    psc_result_file file;
    GIVES(psc_results_add_file(results, "graph.dot", "a\0b", 3, &error));
    cr_assert_eq(psc_results_file_count(results), 1);
    GIVES(psc_results_file_at(&file, results, 0, &error));
    cr_assert_str_eq(file.name, "graph.dot");
    cr_assert(file.n == 3 && memcmp(file.bytes, "a\0b", 3) == 0);
    REFUSED(psc_results_file_at(&file, results, 1, &error), PSC_ERROR_INPUT, "file 1");
    REFUSED(
        psc_results_add_file(results, "graph.dot", "", 0, &error), PSC_ERROR_INPUT, "graph.dot");
}

/* --- texts of token ids ---------------------------------------------------------------------- */

Test(results, vocabulary) {
    static const psc_vocabulary_entry first[] = {{3, " a\xff", 3}, {9, "x\0y", 3}, {20, "", 0}};
    static const psc_vocabulary_entry more[] = {{2, "two", 3}, {9, "other", 5}, {21, "z", 1}};
    static const int32_t ids[] = {2, 3, 9, 20, 21};
    static const char *const texts[] = {"two", " a\xef\xbf\xbd", "x\xef\xbf\xbdy", "", "z"};
    cr_assert_eq(psc_results_vocabulary_count(results), 0);
    GIVES(psc_results_add_vocabulary(results, 3, first, &error));
    GIVES(psc_results_add_vocabulary(results, 3, more, &error));
    GIVES(psc_results_add_vocabulary(results, 0, NULL, &error));
    cr_assert_eq(psc_results_vocabulary_count(results), 5);
    for (int32_t i = 0; i < 5; i++) {
        const char *text;
        int32_t id = -1;
        GIVES(psc_results_vocabulary_at(&id, &text, results, i, &error));
        cr_assert(id == ids[i] && strcmp(text, texts[i]) == 0, "%d: '%s'", id, text);
    }
    results->arrays[1].token_ids = true;
    char *text;
    GIVES(psc_results_write_memory(&text, NULL, results, PSC_FORMAT_JSON, NULL, &error));
    cr_assert(strstr(text, "  ],\n  \"vocabulary\": {\n    \"2\": \"two\",\n"), "%s", text);
    cr_assert(strstr(text, "\"shape\": [1, 2],\n          \"token_ids\": true,\n"));
    psc_free(text);
    psc_results_clear(results);
    cr_assert_eq(psc_results_vocabulary_count(results), 0);
}

/* --- memory of an earlier run ---------------------------------------------------------------- */

Test(results, arrays_and_labels_keep_their_memory) {
    static const char *const names[] = {"a", "b"}, *const others[] = {"a", "c"};
    psc_array a;
    psc_result_axis axis;
    psc_section *s = psc_results_add_section(results, "first", "1");
    cr_assert_eq(psc_section_add_labels(results, s, "x", 2, names), PSC_OK);
    cr_assert_eq(psc_section_add_labels(results, s, "y", 2, names), PSC_OK);
    cr_assert(s->axes[0].view.labels == s->axes[1].view.labels, "shared within a run");
    const char *const *labels = s->axes[0].view.labels;
    GIVES(psc_results_find_array(&a, results, "logits.contributions", &error));
    const void *data = a.data;
    for (int run = 0; run < 3; run++) {
        psc_results_clear(results);
        s = psc_results_add_section(results, "logits", "1");
        cr_assert_eq(psc_section_add_labels(results, s, "x", 2, names), PSC_OK);
        cr_assert_eq(psc_section_add_labels(results, s, "z", 2, others), PSC_OK);
        cr_assert_eq(psc_results_find_axis(&axis, results, 0, "x", NULL), PSC_OK);
        cr_assert(axis.labels == labels, "shared with the run before");
        cr_assert_str_eq(s->axes[1].view.labels[1], "c");
        cr_assert(add_array(results, 0, "contributions", PSC_F32, 1, 2, "x") == data || run == 0);
        data = results->arrays[0].view.data;
        cr_assert(isnan(((const float *)data)[0]));
    }
    psc_results_clear(results);
    psc_results_clear(results);
    cr_assert_eq(results->n_labels, 0, "what two runs did not use is freed");
}

/* --- of a session ---------------------------------------------------------------------------- */

Test(session_results, bos_is_recorded_as_the_caller_says) {
    static const psc_token tokens[] = {{3, 0, 0}, {17, 0, 0}};
    psc_model *model = NULL;
    psc_session *session = NULL;
    GIVES(psc_model_open(&model, PSC_SOURCE_DIR "/tests/golden/parity/parallel_f32", &error));
    GIVES(psc_session_open(&session, model, NULL, &error));
    const psc_results *found = psc_session_results(session);
    psc_result_run run = PSC_RESULT_RUN_INIT;
    REFUSED(psc_results_get_run(&run, found, &error), PSC_ERROR_STATE, "empty");
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    for (options.bos = 0; options.bos <= 1; options.bos++) {
        const psc_input input = {0, 2, tokens};
        psc_session_truncate(session, 0, 0);
        GIVES(psc_session_run(session, &input, 1, &options, &error));
        cr_assert(psc_session_results(session) == found);
        GIVES(psc_results_get_run(&run, found, &error));
        cr_assert_eq(run.bos, options.bos);
        cr_assert_eq(psc_results_token_count(found), 2);
    }
    const psc_input bad = {0, 1, &(psc_token){-1, 0, 0}};
    cr_assert_neq(psc_session_run(session, &bad, 1, NULL, NULL), PSC_OK);
    REFUSED(psc_results_get_run(&run, found, &error), PSC_ERROR_STATE, "empty");
    psc_session_close(&session);
    psc_model_close(&model);
}
