/* The host: bytes of tokens, a file, retained tensors, memory, labels and rows. */
#include "host_fixture.h"

TestSuite(host, .init = fixture_open, .fini = fixture_close);

/* --- the bytes of tokens ---------------------------------------------------------------------- */

static const psc_model *asked_model;

static int bytes_of_tokens(void) {
    uint64_t bytes = 1;
    size_t size;
    int32_t n = psc_model_tokenizer_size(asked_model);
    for (int32_t t = 0; t < n; t++) {
        const char *text = host->token_bytes(context, t, &bytes);
        cr_assert_eq(text, psc_model_token_bytes(asked_model, t, &size));
        cr_assert_eq(bytes, text ? size : 0);
    }
    cr_assert(host->token_bytes(context, -1, &bytes) == NULL && bytes == 0);
    cr_assert(host->token_bytes(context, INT32_MAX, &bytes) == NULL && bytes == 0);
    return 0;
}

Test(host, bytes_of_tokens_are_the_tokenizers) {
    psc_session_close(&session);
    psc_model_close(&model);
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK);
    cr_assert_eq(psc_session_open(&session, model, NULL, &error), PSC_OK, "%s", error.message);
    asked_model = model;
    cr_assert(psc_model_tokenizer_size(model) > 1000);
    cr_assert_eq(run_with(NULL, bytes_of_tokens), PSC_OK, "%s", error.message);
}

Test(host, bytes_of_tokens_without_a_tokenizer) {
    asked_model = model;
    cr_assert_not(psc_model_has_tokenizer(model));
    cr_assert_eq(run_with(NULL, bytes_of_tokens), PSC_OK, "%s", error.message);
}

/* --- one file -------------------------------------------------------------------------------- */

static const char *file_path;
static const char *file_bytes;

static int save_one(void) {
    return host->save_file(context, file_path, file_bytes, file_bytes ? strlen(file_bytes) : 0);
}

static const char *content_of(const char *path) {
    static char text[64];
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

Test(host, a_file_is_saved_whole) {
    char folder[] = "/tmp/psc-save-XXXXXX", path[64], command[128];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/one.xml", folder);
    file_path = path;
    cr_assert_eq(run_with(NULL, save_one), PSC_OK, "%s", error.message);
    cr_assert_null(content_of(path)); /* only a check */
    file_bytes = "first";
    cr_assert_eq(run_with(NULL, save_one), PSC_OK, "%s", error.message);
    cr_assert_str_eq(content_of(path), "first");
    file_bytes = "";
    cr_assert_eq(run_with(save_one, NULL), PSC_OK, "%s", error.message);
    cr_assert_str_eq(content_of(path), "");
    file_bytes = NULL;
    file_path = folder;
    REFUSED(run_with(NULL, save_one), PSC_ERROR_INPUT, "plugin", folder, "is not a regular file");
    snprintf(path, sizeof path, "%s/none/one.xml", folder);
    file_path = path;
    REFUSED(run_with(NULL, save_one), PSC_ERROR_IO, "cannot write", path, "No such file");
    file_bytes = "x";
    REFUSED(run_with(NULL, save_one), PSC_ERROR_IO, "cannot write", path, "No such file");
    file_bytes = NULL;
    file_path = "";
    REFUSED(run_with(NULL, save_one), PSC_ERROR_INPUT, "'' is not the name of a file");
    file_path = "/tmp/none/";
    REFUSED(run_with(NULL, save_one), PSC_ERROR_INPUT, "is not the name of a file");
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

/* --- retained tensors ------------------------------------------------------------------------ */

static int handle_z, handle_pattern, handle_scores, handle_last;
static const int32_t some_heads[] = {0, 2};

static int retain_some(void) {
    psc_filter heads = PSC_FILTER_INIT, rows = PSC_FILTER_INIT, last = PSC_FILTER_INIT;
    heads.heads = some_heads;
    heads.n_heads = 2;
    rows.rows = PSC_ROWS_RANGE;
    rows.row_begin = 1;
    rows.row_end = 8;
    last.rows = PSC_ROWS_LAST;
    handle_z = host->retain(context, PSC_HOOK_Z, &heads);
    handle_pattern = host->retain(context, PSC_HOOK_PATTERN, NULL);
    handle_scores = host->retain(context, PSC_HOOK_ATTN_SCORES, &rows);
    handle_last = host->retain(context, PSC_HOOK_LOGITS, &last);
    return handle_z < 0 || handle_pattern < 0 || handle_scores < 0 || handle_last < 0 ? -1 : 0;
}

/* rows of [heads, keys] compared with a capture [H, T, T]. */
static void check_keys(int handle, const char *name, int32_t first, int32_t n, int64_t keys) {
    psc_event e;
    cr_assert_eq(host->fetch(context, handle, 1, &e), 0);
    const float *whole = captured(name);
    cr_assert(e.n_rows == n && e.tensor.shape[1] == 4 && e.tensor.shape[2] == keys);
    for (int32_t r = 0; r < n; r++) {
        cr_assert_eq(e.rows[r].position, first + r);
        for (int64_t h = 0; h < 4; h++)
            cr_assert_arr_eq(e.tensor.data + r * e.tensor.stride[0] + h * e.tensor.stride[1],
                whole + (h * 10 + first + r) * 10, (size_t)keys * sizeof *whole);
    }
}

static int fetch_all(void) {
    psc_event e;
    check_keys(handle_pattern, "blocks.1.attn.hook_pattern", 0, 10, 10);
    check_keys(handle_scores, "blocks.1.attn.hook_attn_scores", 1, 7, 8);
    cr_assert_eq(host->fetch(context, handle_z, 0, &e), 0);
    cr_assert(e.n_rows == 10 && e.n_heads == 2 && e.heads[1] == 2 && e.tensor.shape[1] == 2);
    for (int32_t r = 0; r < 10; r++)
        for (int h = 0; h < 2; h++)
            cr_assert_arr_eq(e.tensor.data + r * e.tensor.stride[0] + h * e.tensor.stride[1],
                captured("blocks.0.attn.hook_z") + (r * 4 + some_heads[h]) * 8, 8 * sizeof(float));
    cr_assert_eq(host->fetch(context, handle_last, -1, &e), 0);
    cr_assert(e.n_rows == 1 && e.rows[0].index == 9 && e.layer == -1 && e.tensor.n_axes == 2);
    cr_assert_arr_eq(e.tensor.data, captured("hook_logits") + 9 * 80, 80 * sizeof(float));
    return 0;
}

static int fetch_unknown(void) {
    psc_event e;
    return host->fetch(context, 99, 0, &e);
}

static int fetch_beyond(void) {
    psc_event e;
    return host->fetch(context, handle_z, 2, &e);
}

Test(host, retained_over_chunks) {
    must_capture("blocks.*.attn.hook_z");
    must_capture("blocks.1.attn.hook_pattern");
    must_capture("blocks.1.attn.hook_attn_scores");
    must_capture("hook_logits");
    for (int i = 0; i < 2; i++)
        cr_assert_eq(run_with(retain_some, fetch_all), PSC_OK, "%s", error.message);
    REFUSED(run_with(retain_some, fetch_unknown), PSC_ERROR_INPUT, "plugin bridge",
        "99 is not a handle");
    REFUSED(run_with(retain_some, fetch_beyond), PSC_ERROR_INPUT, "plugin bridge", "layer 2");
}

static int retain_much(void) {
    if (host->retain(context, PSC_HOOK_EMBED, NULL) < 0) return -1;
    return host->retain(context, PSC_HOOK_RESULT, NULL) < 0 ? -1 : 0;
}

Test(host, retained_cap) {
    psc_session_close(&session);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.retained_cap = 12000;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    for (int i = 0; i < 2; i++) /* 2 layers of 10 rows of 4 x 32 floats, and their rows */
        REFUSED(run_with(retain_much, NULL), PSC_ERROR_MEMORY, "plugin bridge", "attn.hook_result",
            "10800", "12000");
    cr_assert_eq(run_with(NULL, NULL), PSC_OK);
}

/* --- memory of a run under the cap ------------------------------------------------------------ */

static uint64_t run_bytes, life_bytes, told_bytes;
static int64_t array_items;

static int take(void) {
    static const char *const axes[] = {"items"};
    if (run_bytes && !host->run_alloc(context, run_bytes)) return -1;
    if (life_bytes && !host->life_alloc(context, life_bytes)) return -1;
    if (told_bytes && host->foretell(context, told_bytes)) return -1;
    if (!array_items) return 0;
    int32_t numbers[1000] = {0};
    if (host->axis_numbers(context, "items", array_items, numbers)) return -1;
    return host->array(context, "things", PSC_F64, 1, axes) ? 0 : -1;
}

static psc_status taking(uint64_t run, uint64_t life, uint64_t told, int64_t items) {
    run_bytes = run;
    life_bytes = life;
    told_bytes = told;
    array_items = items;
    return run_with(take, NULL);
}

/* run_with opens a session's plugin once; what it takes in open is not counted. */
Test(host, what_a_run_takes_counts_against_the_cap) {
    psc_session_close(&session);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.retained_cap = 10000;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    for (int i = 0; i < 3; i++) /* a run's memory and arrays are free after it */
        cr_assert_eq(taking(4000, 0, 2000, 500), PSC_OK, "%s", error.message);
    REFUSED(taking(4000, 0, 0, 751), PSC_ERROR_MEMORY, "plugin bridge", "array 'things'", "6008",
        "leaves 6000");
    REFUSED(taking(10001, 0, 0, 0), PSC_ERROR_MEMORY, "plugin bridge", "its work", "10001",
        "10 rows", "leaves 10000");
    REFUSED(taking(4000, 0, 6001, 0), PSC_ERROR_MEMORY, "plugin bridge", "its work", "6001");
    for (int i = 0; i < 2; i++) /* memory of the instance stays */
        cr_assert_eq(taking(0, 4000, 0, 0), PSC_OK, "%s", error.message);
    REFUSED(taking(0, 4000, 0, 0), PSC_ERROR_MEMORY, "plugin bridge", "its work", "leaves 2000");
    cr_assert_eq(taking(2000, 0, 0, 0), PSC_OK, "%s", error.message);
}

static int retain_late(void) {
    return host->retain(context, PSC_HOOK_EMBED, NULL) < 0 ? -1 : 0;
}

Test(host, retain_only_from_run_begin) {
    REFUSED(run_with(NULL, retain_late), PSC_ERROR_STATE, "plugin bridge", "retain", "run_begin");
}

/* --- memory, labels, rows -------------------------------------------------------------------- */

static char *kept;

static int memory_and_labels(void) {
    char *run = host->run_alloc(context, 1000);
    if (!kept) kept = host->life_alloc(context, 100000);
    for (int i = 0; i < 1000; i++) cr_assert_eq(run[i], 0);
    cr_assert_eq((uintptr_t)run % 64 + (uintptr_t)kept % 64, 0);
    memset(kept, 7, 100000);
    cr_assert_str_eq(host->label(context, PSC_COMPONENT_EMBED, 5, 5), "embed");
    cr_assert_str_eq(host->label(context, PSC_COMPONENT_HEAD, 0, 3), "L0H3");
    cr_assert_str_eq(host->label(context, PSC_COMPONENT_ATTN_BIAS, 2, 0), "2_attn_bias");
    cr_assert_str_eq(host->label(context, PSC_COMPONENT_ATTN_OUT, 2, 0), "2_attn_out");
    cr_assert_str_eq(host->label(context, PSC_COMPONENT_MLP_BIAS, 2, 0), "2_mlp_bias");
    cr_assert_str_eq(host->label(context, PSC_COMPONENT_MLP_OUT, 2, 0), "2_mlp_out");
    cr_assert_str_eq(host->label(context, PSC_COMPONENT_EDIT, 0, 0), "edit");
    cr_assert_str_eq(host->token_text(context, 7), "#7"); /* this model has no tokenizer */
    const char *first = host->label(context, PSC_COMPONENT_NEURON, 1, 12);
    char expected[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(expected, sizeof expected, "L1N%d", i);
        cr_assert_str_eq(host->label(context, PSC_COMPONENT_NEURON, 1, i), expected);
    }
    cr_assert_eq(host->label(context, PSC_COMPONENT_NEURON, 1, 12), first);
    int32_t n = 0;
    uint64_t bytes = 1;
    const psc_row *rows = host->rows(context, &n);
    cr_assert(n == 10 && rows[4].next == 41 && rows[9].next == -1 && rows[9].position == 9);
    cr_assert(host->text(context, &bytes) == NULL && bytes == 0);
    return 0;
}

Test(host, memory_and_labels) {
    for (int i = 0; i < 2; i++)
        cr_assert_eq(run_with(memory_and_labels, memory_and_labels), PSC_OK, "%s", error.message);
    for (int i = 0; i < 100000; i++) cr_assert_eq(kept[i], 7);
}

static int wrong_numbers(void) {
    float row[256];
    double norms[256];
    const float *gamma, *beta;
    cr_assert_neq(host->embedding(context, 80, row), 0);
    cr_assert_neq(host->unembedding(context, -1, row), 0);
    cr_assert_neq(host->apply(context, PSC_W_IN, 2, row, row, 1), 0);
    cr_assert_neq(host->pullback(context, (psc_matrix)44, 0, row, row, 1), 0);
    cr_assert_neq(host->row_norms(context, PSC_W_Q, -1, 0, norms), 0);
    cr_assert_neq(host->ln_parameters(context, PSC_LN2, 2, &gamma, &beta), 0);
    cr_assert_null(host->run_alloc(context, UINT64_MAX));
    return host->embedding(context, 80, row);
}

static int wrong_label(void) {
    cr_assert_str_eq(host->label(context, (psc_component_kind)99, 0, 0), "?");
    return 0;
}

Test(host, wrong_numbers_are_errors) {
    REFUSED(run_with(wrong_label, NULL), PSC_ERROR_INPUT, "plugin bridge", "component kind 99");
    REFUSED(run_with(wrong_numbers, NULL), PSC_ERROR_INPUT, "plugin bridge", "token id 80", "79");
}
