/* Adopted results: everything is copied under the prefix and outlives the other object; a taken
 * name, too little memory or a wrong call leaves the results as they were. */
#include "results_fixture.h"

#include <jansson.h>
#include <sys/resource.h>

#include "psc.h"

static psc_results *results, *other;
static psc_error error;

static void open_both(void) {
    static const int32_t zero = 0;
    results = make_results();
    other = make_results();
    GIVES(psc_section_add_numbers(&other->sections[1], "x", 1, &zero));
    GIVES(psc_results_add_file(other, "graph.json", "{}", 2, &error));
}

static void close_both(void) {
    psc_results_close(&results);
    psc_results_close(&other);
}

TestSuite(adopt, .init = open_both, .fini = close_both);

static char *text_of(const psc_results *from, psc_format format) {
    char *text = NULL;
    GIVES(psc_results_write_memory(&text, NULL, from, format, NULL, &error));
    return text;
}

/* How often word is in the text. */
static int count(const char *text, const char *word) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at++) n++;
    return n;
}

Test(adopt, copies_everything) {
    char *before = text_of(other, PSC_FORMAT_JSON);
    json_t *original = json_loads(before, 0, NULL);
    json_t *theirs = json_object_get(original, "plugins");
    GIVES(psc_results_adopt(results, other, "control", &error));
    psc_results_close(&other);
    char *after = text_of(results, PSC_FORMAT_JSON);
    json_t *all = json_loads(after, 0, NULL), *plugins = json_object_get(all, "plugins");
    cr_assert_eq(json_object_size(plugins), 4);
    static const char *const names[] = {"logits", "ln"};
    for (int i = 0; i < 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "control.%s", names[i]);
        json_t *copy = json_object_get(plugins, name);
        cr_assert(json_equal(copy, json_object_get(theirs, names[i])), "%s", name);
    }
    cr_assert(json_object_get(json_object_get(all, "captures"), "control.blocks.0.hook_attn_out"));
    cr_assert_eq(count(after, "\"components\": ["), 2, "axes and values keep their order");
    char *shown = text_of(results, PSC_FORMAT_TEXT);
    cr_assert_eq(count(shown, "the model expects"), 2);
    cr_assert_eq(count(shown, "largest shares"), 2);
    cr_assert(strstr(shown, "control.logits"));
    json_decref(original);
    json_decref(all);
    psc_free(before);
    psc_free(after);
    psc_free(shown);
}

Test(adopt, arrays_and_files) {
    psc_array array;
    psc_result_file file;
    GIVES(psc_results_adopt(results, other, "control", &error));
    ((float *)other->arrays[0].view.data)[0] = -1;
    GIVES(psc_results_find_array(&array, results, "control.logits.contributions", &error));
    cr_assert_eq(((const float *)array.data)[0], 2.5f, "the data is a copy");
    cr_assert(isnan(((const float *)array.data)[1]));
    cr_assert_str_eq(array.key, "contributions");
    cr_assert_str_eq(array.axes[0], "rows");
    cr_assert_eq((uintptr_t)array.data % 64, 0);
    GIVES(psc_results_find_array(&array, results, "control.ln.mean", &error));
    cr_assert_eq(((const double *)array.data)[0], 0.1);
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    GIVES(psc_results_section_at(&section, results, 2, &error));
    cr_assert(strcmp(section.name, "control.logits") == 0 && section.n_arrays == 2);
    GIVES(psc_results_file_at(&file, results, 0, &error));
    cr_assert(strcmp(file.name, "control.graph.json") == 0 && file.n == 2);
    GIVES(psc_results_adopt(results, other, "second", &error));
    cr_assert_eq(psc_results_section_count(results), 6);
    cr_assert_eq(psc_results_capture_count(results), 3);
}

/* Ids of both; the adopting results' own text stays. */
Test(adopt, texts_of_token_ids) {
    static const psc_vocabulary_entry ours[] = {{5, " our", 4}},
                                      theirs[] = {{4, "their", 5}, {5, "x", 1}};
    const char *text;
    int32_t id = -1;
    GIVES(psc_results_add_vocabulary(results, 1, ours, &error));
    GIVES(psc_results_add_vocabulary(other, 2, theirs, &error));
    other->arrays[1].token_ids = true;
    GIVES(psc_results_adopt(results, other, "control", &error));
    cr_assert_eq(psc_results_vocabulary_count(results), 2);
    GIVES(psc_results_vocabulary_at(&id, &text, results, 0, &error));
    cr_assert(id == 4 && strcmp(text, "their") == 0);
    GIVES(psc_results_vocabulary_at(&id, &text, results, 1, &error));
    cr_assert(id == 5 && strcmp(text, " our") == 0);
    cr_assert_eq(psc_results_array_holds_token_ids(results, "control.logits.target_ids"), 1);
    cr_assert_eq(psc_results_array_holds_token_ids(results, "logits.target_ids"), 0);
}

/* The failing call leaves the results as they are. */
static void stays(psc_status expected, const char *words) {
    char *before = text_of(results, PSC_FORMAT_JSON);
    const int files = psc_results_file_count(results);
    REFUSED(psc_results_adopt(results, other, "control", &error), expected, words);
    char *after = text_of(results, PSC_FORMAT_JSON);
    cr_assert_str_eq(before, after);
    cr_assert_eq(psc_results_file_count(results), files);
    psc_free(before);
    psc_free(after);
}

Test(adopt, a_taken_name) {
    GIVES(psc_results_add_file(results, "control.graph.json", "", 0, &error));
    stays(PSC_ERROR_INPUT, "control.graph.json");
    cr_assert(psc_results_add_section(results, "control.ln", "1"));
    stays(PSC_ERROR_INPUT, "section 'control.ln'");
}

#if !defined(__SANITIZE_ADDRESS__) &&                                                              \
    !defined(                                                                                      \
        __SANITIZE_THREAD__) /* a sanitizer reserves address space that a limit would count */
Test(adopt, too_little_memory) {
    const struct rlimit limit = {(rlim_t)1 << 31, (rlim_t)1 << 31};
    const int64_t shape[1] = {(int64_t)900 << 20};
    const char *axes[1] = {"x"};
    cr_assert(psc_results_add_array(other, 1, "vast", PSC_F32, 1, axes, shape, false, &error));
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    stays(PSC_ERROR_MEMORY, "vast");
}
#endif

/* --- of sessions ----------------------------------------------------------------------------- */

static psc_model *model;
static psc_session *session, *control;
static const psc_token tokens[] = {{3, 0, 0}, {17, 0, 0}, {5, 0, 0}};

static void run(psc_session *to, int32_t n) {
    const psc_input input = {0, n, tokens};
    psc_session_truncate(to, 0, 0);
    GIVES(psc_session_run(to, &input, 1, NULL, &error));
}

static void open_sessions(void) {
    GIVES(psc_model_open(&model, PSC_SOURCE_DIR "/tests/golden/parity/parallel_f32", &error));
    GIVES(psc_session_open(&session, model, NULL, &error));
    GIVES(psc_session_open(&control, model, NULL, &error));
    GIVES(psc_session_plugin(session, "ln", NULL, &error));
    GIVES(psc_session_plugin(control, "ln", NULL, &error));
}

static void close_sessions(void) {
    psc_session_close(&session);
    psc_session_close(&control);
    psc_model_close(&model);
}

TestSuite(adopt_sessions, .init = open_sessions, .fini = close_sessions);

Test(adopt_sessions, a_control_beside_the_results) {
    run(session, 3);
    run(control, 2);
    GIVES(psc_session_adopt(session, control, "control", &error));
    psc_array array;
    GIVES(psc_session_array(session, "control.ln.mean", &array, &error));
    GIVES(psc_session_array(session, "ln.mean", &array, &error));
    REFUSED(psc_session_adopt(session, control, "control", &error), PSC_ERROR_INPUT, "control.ln");
    psc_session_close(&control);
    char folder[] = "/tmp/psc-adopt-XXXXXX", path[64];
    cr_assert(mkdtemp(folder));
    GIVES(psc_results_write_folder(psc_session_results(session), folder, &error));
    static const char *const files[] = {"results.json", "tensors.safetensors"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        cr_assert_eq(remove(path), 0);
    }
    remove(folder);
    run(session, 3);
    cr_assert_eq(psc_results_section_count(psc_session_results(session)), 1, "a run drops them");
}

static int adopt_inside(const psc_event *event, void *payload) {
    (void)event;
    *(psc_status *)payload = psc_session_adopt(session, control, "control", NULL);
    return 0;
}

Test(adopt_sessions, refusals) {
    psc_status inside = PSC_OK;
    run(control, 2);
    REFUSED(psc_session_adopt(session, control, "a", &error), PSC_ERROR_STATE, "the adopting");
    REFUSED(psc_session_adopt(control, session, "a", &error), PSC_ERROR_STATE, "the other");
    GIVES(psc_session_observe(session, PSC_HOOK_EMBED, NULL, adopt_inside, &inside, &error));
    run(session, 2);
    cr_assert_eq(inside, PSC_ERROR_STATE);
    REFUSED(psc_session_adopt(session, session, "a", &error), PSC_ERROR_STATE, "its own");
    REFUSED(psc_session_adopt(session, control, NULL, &error), PSC_ERROR_INPUT, "prefix");
    REFUSED(psc_session_adopt(session, control, "", &error), PSC_ERROR_INPUT, "prefix");
    REFUSED(psc_session_adopt(session, control, "a.b", &error), PSC_ERROR_INPUT, "a.b");
    cr_assert_eq(psc_results_section_count(psc_session_results(session)), 1);
    GIVES(psc_session_adopt(session, control, "a", &error));
}
