/* Folders of results that are not as they were written: one sentence for what is wrong; mutated
 * files never crash the reader. */
#include "folder_fixture.h"

TestSuite(read_damaged, .init = open_base, .fini = remove_base);

/* --- refusals -------------------------------------------------------------------------------- */

/* The member at `path` becomes `value` (JSON; null: it is removed); the sentence has `words`. */
#define CORPUS "{\"documents\":1,\"documents_skipped\":0,\"windows\":1,\"tokens\":9,\"window\":9,"

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
    {"model/config/eos_ids", "[2147483648]", "eos_ids has an entry that is not a token id"},
    {"model/config/eos_ids", "[\"0\"]", "eos_ids has an entry that is not a token id"},
    {"model/config/bos_id", "-2", "model.config.bos_id is not a whole number from 0 to 2147483647"},
    {"model/config/rope_type", "5", "model.config.rope_type is not a text"},
    {"model/config/rope_type", "\"linear\"", "model.config.rope_factor is missing"},
    {"model/config/dtype", "\"a\\u0000b\"", "0 byte"},
    {"run/n_rows", "3", "tokens has another number of entries"},
    {"run/bos", NULL, "run.bos"},
    {"corpus", "{}", "corpus.documents is missing"},
    {"corpus", CORPUS "\"bos\":1}", "corpus.bos is neither true nor false"},
    {"corpus", CORPUS "\"bos\":true,\"stopped\":0}", "corpus.stopped is neither true nor false"},
    {"corpus", CORPUS "\"bos\":true,\"seed\":-1}", "corpus.seed is not a whole number from 0 to"},
    {"tokens", "{}", "tokens is not a list"},
    {"tokens/0", "3", "tokens has an entry that is not an object"},
    {"tokens/1/id", "-4", "tokens[1].id"},
    {"tokens/1/text", "5", "tokens[1].text"},
    {"tokens/1/end", "4294967296", "tokens[1].end"},
    {"command", "5", "command is not a text"},
    {"time", "5", "time is not an object"},
    {"time", "{}", "time.seconds is missing"},
    {"time/peak_memory_bytes", "-1", "time.peak_memory_bytes"},
    {"generation", "[]", "generation is not an object"},
    {"generation/end", "\"x\"", "generation.end is not limit, token or context"},
    {"generation/end", "5", "generation.end is not a text"},
    {"generation/tokens/0/text", "[]", "generation.tokens[0].text is neither a text nor null"},
    {"generation/text", "5", "generation.text is neither"},
    {"generation/tokens", "{}", "generation.tokens is not a list"},
    {"generation/tokens/0", "7", "tokens has an entry that is not an object"},
    {"generation/tokens/1/rank", NULL, "generation.tokens[1].rank is missing"},
    {"targets", "{}", "targets is not a list"},
    {"targets/0", "3", "targets has an entry that is not an object"},
    {"targets/0/name", "3", "targets[0].name is not a text"},
    {"targets/0/row", "2", "targets[0].row"},
    {"targets/0/row", "-1", "targets[0].row"},
    {"targets/1/id", "-1", "targets[1].id"},
    {"targets/1/text", "5", "targets[1].text"},
    {"targets/1/rank", NULL, "targets[1].rank"},
    {"targets/1/p", "\"x\"", "targets[1].p is not a number"},
    {"targets/1/minus", "[]", "targets[1].minus is not an object"},
    {"targets/1/minus/logit", NULL, "minus.logit is missing"},
    {"vocabulary", "[]", "vocabulary"},
    {"vocabulary/", "\"\"", "vocabulary. is not a token id"},
    {"vocabulary/12345678901", "\"\"", "vocabulary.12345678901 is not a token id"},
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
    {"plugins/second/arrays/one/shape", "[1.5]",
        "arrays.one.shape has an entry that is not a whole"},
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
    {"plugins/second/x", "[-2147483649, 0]", "x has an entry that does not fit"},
    {"plugins/second/y", "[1, \"a\"]", "plugins.second.y is of a kind"},
    {"plugins/second/y", "[\"a\\u0000\"]", "plugins.second.y is of a kind"},
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
    {"plugins/second/summary", "[{\"title\":\"\",\"unit\":\"\",\"labels\":[5],\"values\":[1]}]",
        "summary[0].labels and values are not texts and numbers"},
    {"plugins/second/summary", "[{\"title\":\"\",\"unit\":5}]", "summary[0].unit is not a text"},
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

Test(read_damaged, refused_entries) {
    psc_results *results = make_odd();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder_with(results, odd_options(), folder, &error), PSC_OK,
        "%s", error.message);
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

/* --- more names than a folder may have -------------------------------------------------------- */

/* An object or a list of n entries. */
static json_t *many(int n, bool list) {
    json_t *out = list ? json_array() : json_object();
    for (int i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_eq(list ? json_array_append_new(out, json_integer(i))
                          : json_object_set_new(out, key, json_string("")),
            0);
    }
    return out;
}

Test(read_damaged, too_many_names) {
    static const struct {
        const char *path, *key;
        int n;
        bool list;
        const char *words;
    } cases[] = {{"", "plugins", 1025, false, "results.json: plugins has too many entries"},
        {"plugins/second", "options", 4097, false, "plugins.second.options has too many entries"},
        {"plugins", "second", 4097, false, "plugins.second has too many entries"},
        {"plugins/second", "arrays", 65537, false, "plugins.second.arrays. has too many arrays"},
        {"", "targets", 1025, true, "results.json: targets has too many entries"}};
    psc_results *results = make_odd();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder(results, folder, &error), PSC_OK);
    psc_results_close(&results);
    const bytes json = load(folder, "results.json"), tensors = load(folder, "tensors.safetensors");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = parse(json), *entries = many(cases[i].n, cases[i].list);
        if (strcmp(cases[i].key, "second") == 0)
            json_object_set_new(entries, "version", json_string("1"));
        json_object_set_new(at(root, cases[i].path), cases[i].key, entries);
        const bytes changed = dump(root);
        store(folder, changed, tensors);
        REFUSED(psc_results_read_folder(&results, folder, &error), PSC_ERROR_INPUT, cases[i].words);
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

Test(read_damaged, refused_files) {
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

Test(read_damaged, mutated_files) {
    psc_results *results = make_odd();
    const char *folder = in_base("first");
    cr_assert_eq(psc_results_write_folder_with(results, odd_options(), folder, &error), PSC_OK,
        "%s", error.message);
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
