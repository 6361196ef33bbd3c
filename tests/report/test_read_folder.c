/* Folders of results read back: written again they have the same bytes; those of an older version are
 * read; what is wrong in one gives a sentence; mutated files never crash the reader. */
#include "files.h"
#include "plugin_fixture.h"
#include "results.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[] = "/tmp/psc-read-XXXXXX";

/* A path in the test's folder; the four last results stay valid. */
static const char *in_base(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void open_base(void) {
    cr_assert(mkdtemp(base));
}

static void remove_base(void) {
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", base);
    cr_assert_eq(system(command), 0);
    fixture_close();
}

TestSuite(read_folder, .init = open_base, .fini = remove_base);

typedef struct bytes {
    char *data;
    size_t n;
} bytes;

static bytes load(const char *folder, const char *name) {
    char path[256];
    bytes out;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(psc_read_file(&out.data, &out.n, path, SIZE_MAX / 4, &error), PSC_OK, "%s", path);
    return out;
}

/* Writes both files of a folder, which may exist. */
static void store(const char *folder, bytes json, bytes tensors) {
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

static psc_results *must_read(const char *folder) {
    psc_results *results = NULL;
    cr_assert_eq(psc_results_read_folder(&results, folder, &error), PSC_OK, "%s", error.message);
    return results;
}

static char *text_of(const psc_results *from) {
    char *text = NULL;
    cr_assert_eq(psc_results_write_memory(&text, NULL, from, PSC_FORMAT_TEXT, NULL, &error), PSC_OK,
        "%s", error.message);
    return text;
}

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
        {"roles", NULL}};
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

/* An array over one axis; its first bytes are numbered. */
static psc_stored_array *add(psc_results *r, int section, const char *key, psc_element element,
    const char *axis, int64_t n) {
    const char *axes[1] = {axis};
    psc_stored_array *array = psc_results_add_array(
        r, section, key, element, axis || n ? 1 : 0, axis ? axes : NULL, &n, true, &error);
    cr_assert(array, "%s", error.message);
    return array;
}

static void add_odd_section(psc_results *r) {
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

/* Arrays of two sections and captures that were made in turns, some of them empty. */
static psc_results *make_odd(void) {
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
        .dtype = "float16"};
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
    return r;
}

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
    psc_results_close(&read);
}

/* --- older versions and other writers -------------------------------------------------------- */

static json_t *parse(bytes text) {
    json_t *root = json_loadb(text.data, text.n, JSON_ALLOW_NUL, NULL);
    cr_assert(root);
    return root;
}

static bytes dump(const json_t *root) {
    bytes out = {json_dumps(root, 0), 0};
    cr_assert(out.data);
    out.n = strlen(out.data);
    return out;
}

/* A member by its path, "plugins/second/arrays"; null without. */
static json_t *at(json_t *root, const char *path) {
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

Test(read_folder, an_older_version_has_no_summary_and_no_vocabulary) {
    psc_results *results = make_odd();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder(results, folder, &error), PSC_OK, "%s", error.message);
    psc_results_close(&results);
    bytes json = load(folder, "results.json"), tensors = load(folder, "tensors.safetensors");
    json_t *root = parse(json);
    free(json.data);
    json_object_del(root, "vocabulary");
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
    psc_results_close(&results);
    json_decref(root);
    free(json.data);
    free(tensors.data);
}

/* --- refusals -------------------------------------------------------------------------------- */

/* The member at `path` becomes `value` (JSON; null: it is removed); the sentence has `words`. */
static const struct {
    const char *path, *value, *words;
} refusals[] = {
    {"pythiascope", NULL, "is not a results.json"},
    {"pythiascope/version", "1", "pythiascope.version is not a text"},
    {"model", "[]", "model is not an object"},
    {"model/hash", NULL, "model.hash is missing"},
    {"model/config/n_layers", "-1", "model.config.n_layers is not a whole number from 0 to 2147"},
    {"model/config/n_layers", "2147483648", "model.config.n_layers"},
    {"model/config/layer_norm_eps", "\"x\"", "layer_norm_eps is not a number"},
    {"model/config/tied", "1", "tied is neither true nor false"},
    {"model/config/eos_ids", "[-1]", "eos_ids"},
    {"model/config/dtype", "\"a\\u0000b\"", "0 byte"},
    {"run/n_rows", "3", "tokens has another number of entries"},
    {"run/bos", NULL, "run.bos"},
    {"corpus", "{}", "corpus.documents is missing"},
    {"tokens", "{}", "tokens is not a list"},
    {"tokens/0", "3", "tokens has an entry that is not an object"},
    {"tokens/1/id", "-4", "tokens[1].id"},
    {"tokens/1/text", "5", "tokens[1].text"},
    {"tokens/1/end", "4294967296", "tokens[1].end"},
    {"vocabulary", "[]", "vocabulary"},
    {"vocabulary/x", "\"\"", "vocabulary.x is not a token id"},
    {"vocabulary/007", "\"\"", "vocabulary.007"},
    {"vocabulary/2147483648", "\"\"", "vocabulary.2147483648"},
    {"vocabulary/3", "\"\"", "vocabulary.3 is not above"},
    {"vocabulary/7", "7", "vocabulary.7"},
    {"plugins", "0", "plugins is not an object"},
    {"plugins/second", "[]", "plugins.second"},
    {"plugins/second/version", NULL, "plugins.second.version is missing"},
    {"plugins/second/options", "[]", "plugins.second.options"},
    {"plugins/second/options/key", "5", "plugins.second.options.key"},
    {"plugins/second/arrays", NULL, "plugins.second.arrays is missing"},
    {"plugins/second/arrays/one", "0", "arrays.one is not an object"},
    {"plugins/second/arrays/one/dtype", "\"F16\"", "arrays.one.dtype is not F32"},
    {"plugins/second/arrays/one/dtype", "\"I32\"", "another dtype or shape for \"second.one\""},
    {"plugins/second/arrays/one/shape", "[3]", "does not match the lengths of its axes"},
    {"plugins/second/arrays/one/shape", "[-2]", "arrays.one.shape"},
    {"plugins/second/arrays/one/shape", "[1,1,1,1,1,1,1]", "more than 6"},
    {"plugins/second/arrays/one/shape", "[1, 2]", "another number of entries than shape"},
    {"plugins/second/arrays/one/axes", "[\"y\"]", "names an axis that the section lacks"},
    {"plugins/second/arrays/one/axes", "[5]", "names an axis"},
    {"plugins/second/arrays/one/token_ids", "true", "token_ids is for I32 only"},
    {"plugins/second/arrays/one/token_ids", "1", "token_ids is neither"},
    {"plugins/second/arrays/new", "{\"dtype\":\"F32\",\"axes\":[],\"shape\":[]}",
        "lacks the array \"second.new\""},
    {"plugins/second/arrays/two", NULL, "8 tensors, but results.json describes 7 arrays"},
    {"plugins/second/x", "[0, 1, 2]", "does not match the lengths"},
    {"plugins/second/x", "[0, 2147483648]", "x has an entry that does not fit"},
    {"plugins/second/x", "[0.5, 1.5]", "names an axis that the section lacks"},
    {"plugins/second/y", "{}", "plugins.second.y is of a kind that this version does not know"},
    {"plugins/second/y", "true", "plugins.second.y is of a kind"},
    {"plugins/second/y", "[[1]]", "plugins.second.y is of a kind"},
    {"plugins/second/y", "[\"a\", 1]", "plugins.second.y is of a kind"},
    {"plugins/second/y", "\"a\\u0000\"", "plugins.second.y is of a kind"},
    {"plugins/second/summary", "{}", "plugins.second.summary is not a list"},
    {"plugins/second/summary", "[5]", "neither a text nor bars"},
    {"plugins/second/summary", "[{}]", "plugins.second.summary[0].title is missing"},
    {"plugins/second/summary",
        "[\"\", {\"title\":\"\",\"unit\":\"\",\"labels\":[],\"values\":[0]}]",
        "summary[1].values has another number"},
    {"plugins/second/summary",
        "[{\"title\":\"\",\"unit\":\"\",\"labels\":[\"a\"],\"values\":[\"b\"]}]",
        "summary[0].labels and values"},
    {"captures", "[]", "captures is not an object"},
    {"captures/capture/shape", "[2]", "another dtype or shape for \"capture\""},
};

static void change(json_t *root, const char *path, const char *value) {
    char parent[128];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/'), *key = slash ? slash + 1 : parent;
    if (slash) *slash = 0;
    json_t *object = slash ? at(root, parent) : root;
    cr_assert(object, "%s", path);
    json_t *made = value ? json_loads(value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    if (!value)
        cr_assert_eq(json_object_del(object, key), 0, "%s", path);
    else if (json_is_array(object))
        cr_assert_eq(json_array_set_new(object, (size_t)atoi(key), made), 0, "%s", path);
    else
        cr_assert_eq(json_object_set_new(object, key, made), 0, "%s", path);
}

Test(read_folder, refused_entries) {
    psc_results *results = make_odd();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder(results, folder, &error), PSC_OK, "%s", error.message);
    psc_results_close(&results);
    const bytes json = load(folder, "results.json");
    const bytes tensors = load(folder, "tensors.safetensors");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        json_t *root = parse(json);
        change(root, refusals[i].path, refusals[i].value);
        const bytes changed = dump(root);
        store(folder, changed, tensors);
        results = (psc_results *)&error;
        REFUSED(psc_results_read_folder(&results, folder, &error), PSC_ERROR_INPUT,
            i == 0 ? "results.json" : folder, refusals[i].words);
        cr_assert_null(results);
        json_decref(root);
        free(changed.data);
    }
    free(json.data);
    free(tensors.data);
}

static bytes repeated(const char *head, const char *text, int n, const char *tail) {
    bytes out = {calloc(1, strlen(head) + strlen(text) * (size_t)n + strlen(tail) + 1), 0};
    char *to = out.data;
    to += sprintf(to, "%s", head);
    for (int i = 0; i < n; i++) to += sprintf(to, "%s", text);
    to += sprintf(to, "%s", tail);
    out.n = (size_t)(to - out.data);
    return out;
}

Test(read_folder, refused_files) {
    const char *folder = in_base("first");
    psc_results *results = NULL;
    REFUSED(psc_results_read_folder(&results, folder, &error), PSC_ERROR_IO, "first/results.json");
    cr_assert_eq(psc_results_read_folder(&results, folder, NULL), PSC_ERROR_IO);
    const bytes none = {"", 0};
    const struct {
        bytes json;
        const char *words;
    } texts[] = {{none, "not valid JSON"}, {repeated("[]", "", 0, ""), "is not a results.json"},
        {repeated("{\"pythiascope\": 1}", "", 0, ""), "pythiascope is not an object"},
        {repeated("{\"a\": 1, \"a\": 2}", "", 0, ""), "not valid JSON: line 1: duplicate"},
        {repeated("{\"pythiascope\": ", "[", 1000000, ""), "not valid JSON"},
        {repeated("{\"pythiascope\": \"\xff\"}", "", 0, ""), "not valid JSON"},
        {repeated("{\"pythiascope\": 1e999}", "", 0, ""), "not valid JSON"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        store(folder, texts[i].json, none);
        REFUSED(psc_results_read_folder(&results, folder, &error), PSC_ERROR_INPUT, texts[i].words);
        if (i > 0) free(texts[i].json.data);
    }
    results = make_odd();
    cr_assert_eq(psc_results_write_folder(results, in_base("odd"), &error), PSC_OK);
    psc_results_close(&results);
    cr_assert_eq(remove(in_base("odd/tensors.safetensors")), 0);
    REFUSED(psc_results_read_folder(&results, in_base("odd"), &error), PSC_ERROR_IO,
        "odd/tensors.safetensors");
    cr_assert_eq(mkdir(in_base("odd/tensors.safetensors"), 0777), 0);
    REFUSED(psc_results_read_folder(&results, in_base("odd"), &error), PSC_ERROR_INPUT,
        "is a directory");
}

/* --- mutations ------------------------------------------------------------------------------- */

static uint32_t random_state = 1;

static uint32_t below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

/* A change of some bytes: flipped, removed, doubled, or replaced by a byte that JSON reads. */
static bytes mutate(bytes from) {
    static const char likely[] = "0123456789-+.eE\"\\{}[],: ntf\0\xff";
    bytes out = {malloc(2 * from.n + 1), from.n};
    memcpy(out.data, from.data, from.n);
    for (uint32_t n = 1 + below(3); n > 0 && out.n > 0; n--) {
        const size_t place = below((uint32_t)out.n);
        size_t length = 1 + below(8);
        if (length > out.n - place) length = out.n - place;
        switch (below(5)) {
        case 0:
            out.data[place] ^= (char)(1 << below(8));
            break;
        case 1:
            memmove(out.data + place, out.data + place + length, out.n - place - length);
            out.n -= length;
            break;
        case 2:
            if (out.n + length > 2 * from.n) break;
            memmove(out.data + place + length, out.data + place, out.n - place);
            out.n += length;
            break;
        case 3:
            if (below(10) == 0) out.n = place;
            break;
        default:
            out.data[place] = likely[below(sizeof likely - 1)];
        }
    }
    return out;
}

/* Some node of the document gets another value, or loses a member. */
static void mutate_tree(json_t *node) {
    static const char *const values[] = {"null", "-1", "1e308", "0", "2147483647", "\"\"", "[]",
        "{}", "[0, 1]", "true", "9223372036854775807", "[\"x\"]", "0.5"};
    for (;;) {
        const bool list = json_is_array(node);
        const size_t n = list ? json_array_size(node) : json_object_size(node);
        if (n == 0) return;
        size_t index = below((uint32_t)n);
        void *iter = list ? NULL : json_object_iter(node);
        for (size_t i = 0; !list && i < index; i++) iter = json_object_iter_next(node, iter);
        json_t *child = list ? json_array_get(node, index) : json_object_iter_value(iter);
        if (json_is_array(child) + json_is_object(child) && below(4) > 0) {
            node = child;
            continue;
        }
        json_t *value = json_loads(
            values[below(sizeof values / sizeof *values)], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (below(5) == 0 && !list) {
            json_decref(value);
            json_object_del(node, json_object_iter_key(iter));
        } else if (list) {
            json_array_set_new(node, index, value);
        } else {
            json_object_iter_set_new(node, iter, value);
        }
        return;
    }
}

/* Reads the folder, which may be refused with a sentence; else its results can be written. */
static bool try_folder(const char *folder) {
    psc_results *results = (psc_results *)&error;
    error.message[0] = 0;
    const psc_status status = psc_results_read_folder(&results, folder, &error);
    if (status != PSC_OK) {
        cr_assert(error.message[0] && !results && error.status == status);
        cr_assert(status == PSC_ERROR_INPUT, "%s", error.message);
        return false;
    }
    char *text = text_of(results), *json;
    cr_assert_eq(psc_results_write_memory(&json, NULL, results, PSC_FORMAT_JSON, NULL, &error),
        PSC_OK, "%s", error.message);
    psc_free(text);
    psc_free(json);
    psc_results_close(&results);
    return true;
}

enum { MUTATIONS = 6000 };

Test(read_folder, mutated_files) {
    psc_results *results = make_odd();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder(results, folder, &error), PSC_OK, "%s", error.message);
    psc_results_close(&results);
    const bytes json = load(folder, "results.json");
    const bytes tensors = load(folder, "tensors.safetensors");
    int read = 0;
    for (int i = 0; i < MUTATIONS; i++) {
        bytes changed;
        if (i % 3 == 0) {
            changed = mutate(json);
            store(folder, changed, tensors);
        } else if (i % 3 == 1) {
            changed = mutate(tensors);
            store(folder, json, changed);
        } else {
            json_t *root = parse(json);
            for (uint32_t n = 1 + below(2); n > 0; n--) mutate_tree(root);
            changed = dump(root);
            store(folder, changed, tensors);
            json_decref(root);
        }
        read += try_folder(folder);
        free(changed.data);
    }
    cr_assert(read > MUTATIONS / 50 && read < MUTATIONS, "%d of %d were read", read, MUTATIONS);
    free(json.data);
    free(tensors.data);
}
