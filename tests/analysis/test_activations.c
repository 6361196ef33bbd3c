/* The plugin activations: what the shards hold equals captures bit for bit, for any batches, chunks
 * and threads; f16 and bf16 against float64; the choice of rows; overflows; refusals. */
#include "files.h"
#include "ln_mlp_fixture.h"

#include <unistd.h>

enum { DOCUMENTS = 3, LENGTH = 9, ROWS = 9 + 8 + 7 };
static psc_error error;
static psc_model *model;
static char folder[96];

static void open_fixture(void) {
    model = must_model(golden_path("parallel_f32", NULL));
    snprintf(folder, sizeof folder, "/tmp/psc-activations-%d", (int)getpid());
    psc_folder_remove(folder);
}

static void close_fixture(void) {
    psc_folder_remove(folder);
    psc_model_close(&model);
}

TestSuite(activations, .init = open_fixture, .fini = close_fixture);

static int32_t token_of(int document, int row) {
    return (int32_t)((row * row + 5 * document + 3) % 80);
}

/* --- writing --------------------------------------------------------------------------------- */

typedef struct run_setup {
    int together;
    int32_t chunk, threads, part, n_parts;
    float scale; /* of hook_embed; 0: no editor */
} run_setup;

static int enlarge(const psc_event *event, void *payload) {
    const float scale = *(const float *)payload;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int64_t i = 0; i < event->tensor.shape[1]; i++)
            event->tensor.data[r * event->tensor.stride[0] + i] *= scale;
    return 0;
}

static psc_session *accumulating(const run_setup *s) {
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = 1;
    options.n_sequences = DOCUMENTS;
    options.chunk = s->chunk;
    options.threads = s->threads;
    options.part = s->part;
    options.n_parts = s->n_parts;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    return session;
}

/* Document d has LENGTH - d tokens; its first one is the document's token 100 d, at byte 7. */
static void run_documents(psc_session *session, int together) {
    psc_token tokens[DOCUMENTS][LENGTH] = {{{0}}};
    for (int d = 0; d < DOCUMENTS; d += together) {
        psc_input inputs[DOCUMENTS];
        psc_document documents[DOCUMENTS];
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        run.documents = documents;
        run.no_logits = 1;
        for (int i = 0; i < together; i++) {
            for (int t = 0; t < LENGTH; t++)
                tokens[i][t] =
                    (psc_token){token_of(d + i, t), (uint32_t)(7 + 3 * t), (uint32_t)(10 + 3 * t)};
            inputs[i] = (psc_input){i, LENGTH - (d + i), tokens[i]};
            documents[i] = (psc_document){d + i, 100 * (d + i)};
            psc_session_truncate(session, i, 0);
        }
        cr_assert_eq(
            psc_session_run(session, inputs, together, &run, &error), PSC_OK, "%s", error.message);
    }
}

static psc_session *loaded(const char *options, run_setup *s) {
    char text[512];
    psc_session *session = accumulating(s);
    if (s->scale != 0.0f)
        cr_assert_eq(
            psc_session_edit(session, PSC_HOOK_EMBED, NULL, enlarge, &s->scale, &error), 0);
    snprintf(text, sizeof text, "out=%s,%s", folder, options);
    cr_assert_eq(
        psc_session_plugin(session, "activations", text, &error), PSC_OK, "%s", error.message);
    return session;
}

static void write_shards(const char *options, run_setup s) {
    psc_folder_remove(folder);
    psc_session *session = loaded(options, &s);
    run_documents(session, s.together);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    psc_session_close(&session);
}

/* --- reading --------------------------------------------------------------------------------- */

static const char *shard_name(int number) {
    static char path[160];
    snprintf(path, sizeof path, "%s/activations-%05d.safetensors", folder, number);
    return path;
}

/* An array of all shards, one after the other; *rows: of all. The caller frees it. */
static char *read_array(const char *name, size_t row_bytes, int *rows) {
    char *all = malloc(ROWS * row_bytes);
    *rows = 0;
    for (int i = 0; psc_path_exists(shard_name(i)); i++) {
        psc_tensors *file = golden_open(shard_name(i));
        const psc_tensor *t = golden_find(file, name);
        cr_assert_leq(*rows + t->shape[0], ROWS);
        memcpy(all + (size_t)*rows * row_bytes, t->data, (size_t)t->shape[0] * row_bytes);
        *rows += (int)t->shape[0];
        psc_tensors_close(&file);
    }
    return all;
}

/* A point of all documents, as captures have it. */
static float *captured(const char *point, int64_t width) {
    float *all = malloc(ROWS * (size_t)width * sizeof *all);
    int row = 0;
    for (int d = 0; d < DOCUMENTS; d++) {
        psc_token tokens[LENGTH] = {{0}};
        psc_session *session = must_session(model, NULL, 1, 0);
        cr_assert_eq(psc_session_capture(session, point, &error), PSC_OK, "%s", error.message);
        for (int t = 0; t < LENGTH - d; t++) tokens[t].id = token_of(d, t);
        must_run_one(session, tokens, LENGTH - d);
        const psc_array a = must_array(session, point);
        cr_assert_eq(array_count(&a), (LENGTH - d) * width);
        memcpy(all + row * width, a.data, (size_t)((LENGTH - d) * width) * sizeof *all);
        row += LENGTH - d;
        psc_session_close(&session);
    }
    return all;
}

static void check_point(const char *name, int64_t width) {
    int rows;
    char *got = read_array(name, (size_t)width * 4, &rows);
    float *want = captured(name, width);
    cr_assert_eq(rows, ROWS);
    cr_assert_arr_eq(got, want, ROWS * (size_t)width * 4, "%s", name);
    free(got);
    free(want);
}

Test(activations, are_those_of_captures) {
    static const run_setup setups[] = {
        {1, 0, 1, 0, 0, 0}, {3, 0, 2, 0, 0, 0}, {3, 4, 1, 0, 0, 0}, {1, 2, 3, 0, 0, 0}};
    const psc_model_info *m = psc_model_get_info(model);
    for (size_t i = 0; i < sizeof setups / sizeof *setups; i++) {
        write_shards("rows=5,points=blocks.*.hook_resid_post+blocks.1.attn.hook_z+hook_logits+"
                     "ln_final.hook_scale+hook_embed",
            setups[i]);
        check_point("blocks.0.hook_resid_post", m->d_model);
        check_point("blocks.1.hook_resid_post", m->d_model);
        check_point("blocks.1.attn.hook_z", (int64_t)m->n_heads * m->d_head);
        check_point("hook_logits", m->d_vocab);
        check_point("ln_final.hook_scale", 1);
        check_point("hook_embed", m->d_model);
    }
}

Test(activations, rows_say_where_they_are_from) {
    int rows, r = 0;
    write_shards("rows=5,points=hook_embed", (run_setup){1, 0, 1, 0, 0, 0});
    int64_t *document = (int64_t *)(void *)read_array("document", 8, &rows);
    int64_t *start = (int64_t *)(void *)read_array("byte_start", 8, &rows);
    int64_t *end = (int64_t *)(void *)read_array("byte_end", 8, &rows);
    int32_t *token = (int32_t *)(void *)read_array("token_ids", 4, &rows);
    int32_t *position = (int32_t *)(void *)read_array("position", 4, &rows);
    for (int d = 0; d < DOCUMENTS; d++)
        for (int t = 0; t < LENGTH - d; t++, r++) {
            cr_assert_eq(document[r], d);
            cr_assert_eq(position[r], 100 * d + t);
            cr_assert_eq(token[r], token_of(d, t));
            cr_assert_eq(start[r], 7 + 3 * t);
            cr_assert_eq(end[r], 10 + 3 * t);
        }
    cr_assert_eq(rows, r);
    free(document), free(start), free(end), free(token), free(position);
}

/* --- rounding -------------------------------------------------------------------------------- */

/* The nearest number with `bits` bits of significand and least step `least`; ties to even. */
static double nearest(double x, int bits, double least) {
    int exponent;
    if (x == 0.0) return x;
    (void)frexp(x, &exponent);
    const double step = fmax(ldexp(1.0, exponent - bits), least);
    return nearbyint(x / step) * step;
}

static double value_of(uint16_t u, int is_bf16) {
    const int e = is_bf16 ? u >> 7 & 0xff : u >> 10 & 0x1f, m = is_bf16 ? u & 0x7f : u & 0x3ff;
    const int bits = is_bf16 ? 7 : 10, bias = is_bf16 ? 127 : 15, top = is_bf16 ? 0xff : 0x1f;
    const double sign = u & 0x8000 ? -1.0 : 1.0;
    if (e == top) return m ? (double)NAN : sign * (double)INFINITY;
    return sign * ldexp(e ? (1 << bits) + m : m, (e ? e : 1) - bias - bits);
}

Test(activations, f16_and_bf16_are_the_nearest) {
    const int64_t width = psc_model_get_info(model)->d_mlp;
    float *want = captured("blocks.1.mlp.hook_post", width);
    for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
        int rows;
        write_shards(is_bf16 ? "dtype=bf16,points=blocks.1.mlp.hook_post"
                             : "dtype=f16,points=blocks.1.mlp.hook_post",
            (run_setup){3, 5, 2, 0, 0, 0});
        uint16_t *got =
            (uint16_t *)(void *)read_array("blocks.1.mlp.hook_post", (size_t)width * 2, &rows);
        cr_assert_eq(rows, ROWS);
        for (int64_t i = 0; i < ROWS * width; i++) {
            const double near =
                is_bf16 ? nearest(want[i], 8, 0x1p-133) : nearest(want[i], 11, 0x1p-24);
            cr_assert_eq(
                value_of(got[i], is_bf16), near, "%g: %g", want[i], value_of(got[i], is_bf16));
        }
        free(got);
    }
    free(want);
}

/* Values beyond f16 become infinite, and are counted and said. */
Test(activations, overflows_are_counted) {
    const int64_t width = psc_model_get_info(model)->d_model;
    float *plain = captured("hook_embed", width);
    run_setup s = {3, 0, 1, 0, 0, 1e6f};
    int rows, expected = 0;
    psc_session *session = loaded("dtype=f16,points=hook_embed", &s);
    run_documents(session, 3);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    uint16_t *got = (uint16_t *)(void *)read_array("hook_embed", (size_t)width * 2, &rows);
    for (int64_t i = 0; i < ROWS * width; i++) {
        const bool beyond = fabs((double)(plain[i] * 1e6f)) >= 65520.0;
        cr_assert_eq(isinf(value_of(got[i], 0)) != 0, beyond);
        expected += beyond;
    }
    cr_assert_gt(expected, 0);
    char *text = NULL;
    size_t size = 0;
    cr_assert_eq(psc_results_write_memory(
                     &text, &size, psc_session_results(session), PSC_FORMAT_TEXT, NULL, &error),
        PSC_OK);
    cr_assert(strstr(text, "are beyond f16 and were written as infinity"), "%s", text);
    psc_free(text);
    psc_session_close(&session);
    free(plain);
    free(got);
}

/* --- the choice of rows ---------------------------------------------------------------------- */

static int count_rows(void) {
    int rows;
    free(read_array("document", 8, &rows));
    return rows;
}

Test(activations, a_sample_does_not_depend_on_the_batches) {
    char *first = NULL;
    int n = 0, rows;
    for (int together = 1; together <= DOCUMENTS; together += 2) {
        write_shards("rows=4,points=hook_embed,sample=0.5,seed=3",
            (run_setup){together, together, 1, 0, 0, 0});
        char *positions = read_array("position", 4, &rows);
        if (first) cr_assert_arr_eq(first, positions, (size_t)rows * 4);
        if (first) cr_assert_eq(n, rows);
        n = rows;
        if (first) free(positions);
        first = first ? first : positions;
    }
    cr_assert(n > 4 && n < ROWS - 4, "%d", n);
    free(first);
    write_shards("points=hook_embed,sample=0", (run_setup){1, 0, 1, 0, 0, 0});
    cr_assert_eq(count_rows(), 0);
}

Test(activations, filters) {
    int rows, expected = 0;
    write_shards("points=hook_embed,from=1", (run_setup){3, 0, 1, 0, 0, 0});
    cr_assert_eq(count_rows(), ROWS - DOCUMENTS);
    write_shards("points=hook_embed,tokens=12+3", (run_setup){3, 2, 1, 0, 0, 0});
    int32_t *tokens = (int32_t *)(void *)read_array("token_ids", 4, &rows);
    for (int d = 0; d < DOCUMENTS; d++)
        for (int t = 0; t < LENGTH - d; t++)
            expected += token_of(d, t) == 12 || token_of(d, t) == 3;
    cr_assert_eq(rows, expected);
    cr_assert_gt(rows, 0);
    for (int i = 0; i < rows; i++) cr_assert(tokens[i] == 12 || tokens[i] == 3);
    free(tokens);
}

/* --- folders --------------------------------------------------------------------------------- */

/* A part has names of its own, and its index does not replace the whole one's. */
Test(activations, parts_have_names_of_their_own) {
    char path[160];
    write_shards("points=hook_embed", (run_setup){1, 0, 1, 2, 12, 0});
    snprintf(path, sizeof path, "%s/activations-02-of-12-00000.safetensors", folder);
    cr_assert(psc_path_exists(path));
    snprintf(path, sizeof path, "%s/index-02-of-12.json", folder);
    cr_assert(psc_path_exists(path));
    snprintf(path, sizeof path, "%s/index.json", folder);
    cr_assert_not(psc_path_exists(path));
}

/* After a run that failed, the rows before it stay, and later ones take its place. */
static int fail_at(const psc_event *event, void *payload) {
    return *(int *)payload && event->rows[0].sequence == 1;
}

Test(activations, rows_of_a_failed_run_do_not_count) {
    run_setup s = {1, 2, 1, 0, 0, 0};
    psc_token tokens[LENGTH] = {{0}};
    int failing = 1;
    psc_session *session = loaded("rows=5,points=hook_embed", &s);
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_RESID_POST, NULL, fail_at, &failing, &error), 0);
    const psc_input input = {1, LENGTH, tokens};
    cr_assert_neq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    failing = 0;
    run_documents(session, 1);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    psc_session_close(&session);
    check_point("hook_embed", psc_model_get_info(model)->d_model);
}

Test(activations, foretells_and_keeps_its_limit) {
    uint64_t bytes = 0;
    run_setup s = {1, 0, 1, 0, 0, 0};
    psc_session *session = loaded("rows=5,points=hook_embed,limit=0.000004", &s);
    cr_assert_eq(psc_session_foretell(&bytes, session, 5, &error), PSC_OK, "%s", error.message);
    const int64_t row = 32 + 4 * psc_model_get_info(model)->d_model;
    cr_assert(bytes > (uint64_t)(5 * row) && bytes < (uint64_t)(5 * row + 1024), "%d", (int)bytes);
    cr_assert_eq(psc_session_foretell(&bytes, session, 1000, &error), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "the limit is"), "%s", error.message);
    psc_token tokens[LENGTH] = {{0}};
    const psc_input input = {0, LENGTH, tokens};
    psc_status status = PSC_OK;
    for (int i = 0; i < 10 && status == PSC_OK; i++) {
        psc_session_truncate(session, 0, 0);
        status = psc_session_run(session, &input, 1, NULL, &error);
    }
    cr_assert_eq(status, PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "the limit is"), "%s", error.message);
    psc_session_close(&session);
}

Test(activations, refusals) {
    static const char *const bad[][2] = {{"", "out= is missing"},
        {"out=/no/such/folder", "/no/such/folder"}, {"out=/dev/null", "is not a folder"},
        {"out=/tmp/x,points=hook_nothing", "names no hook point"},
        {"out=/tmp/x,points=blocks.0.attn.hook_pattern", "number of keys"},
        {"out=/tmp/x,points=blocks.9.hook_resid_post", "names no hook point"},
        {"out=/tmp/x,points=blocks.0.hook_resid_mid", "parallel residual"},
        {"out=/tmp/x,points=*pattern", "names no hook point"}, {"out=/tmp/x,tokens=3+", "token id"},
        {"out=/tmp/x,tokens=99999", "token id"}, {"out=/tmp/x,dtype=f64", "f32"},
        {"out=/tmp/x,rows=0", "rows"}, {"out=" PSC_SOURCE_DIR, "has other files"}};
    const run_setup s = {1, 0, 1, 0, 0, 0};
    psc_session *session = accumulating(&s);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(psc_session_plugin(session, "activations", bad[i][0], &error), PSC_OK);
        cr_assert(strstr(error.message, bad[i][1]), "%s: %s", bad[i][0], error.message);
    }
    psc_session_close(&session);
    session = must_session(model, NULL, 1, 0);
    cr_assert_neq(psc_session_plugin(session, "activations", "out=/tmp/x", &error), PSC_OK);
    cr_assert(strstr(error.message, "corpus"), "%s", error.message);
    psc_session_close(&session);
}

/* A folder with rows that no state counts is not written to. */
Test(activations, earlier_rows_are_kept) {
    run_setup s = {1, 0, 1, 0, 0, 0};
    psc_token token = {0};
    const psc_input input = {0, 1, &token};
    write_shards("points=hook_embed", s);
    psc_session *session = loaded("points=hook_embed", &s);
    cr_assert_neq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, "has the rows of an earlier run"), "%s", error.message);
    psc_session_close(&session);
    check_point("hook_embed", psc_model_get_info(model)->d_model);
}
