/* Variants of few rows, which read the run's own keys and values before their rows: the same bits
 * as runs with editors where prefixes and own keys meet, begin and end blocks of 128 keys, for many
 * of different prefixes together, in any order, on every instruction set. */
#include "plugin_fixture.h"
#include "kernels.h"

TestSuite(variants_prefix, .fini = fixture_close);

enum { TOKENS = 300, MOST = 64, LAYERS = 4, SEQUENCES = 2 };

typedef struct cut {
    int sequence, begin, end, key; /* rows begin..end-1 do not read key */
} cut;

static psc_token tokens[TOKENS];
static cut cuts[MOST];
static psc_change changes[MOST][LAYERS];
static psc_variant variants[MOST];
static int n_variants, n_seen, first_layer;
static size_t n_vocab;
static float *seen[MOST], *expected[MOST]; /* [rows, V] */

static int on_open(psc_context *context, const psc_host *given, void **state) {
    (void)context, (void)state;
    host = given;
    return 0;
}

static int on_begin(psc_context *context, void *state) {
    (void)state;
    return host->prepare_variants(context);
}

static int on_variant(int32_t variant, const psc_event *logits, void *payload) {
    (void)payload;
    const size_t floats = (size_t)logits->n_rows * n_vocab;
    cr_assert_eq(logits->n_rows, cuts[variant].end - cuts[variant].begin);
    cr_assert_eq(logits->rows[0].position, cuts[variant].begin);
    seen[variant] = malloc(floats * sizeof(float));
    memcpy(seen[variant], logits->tensor.data, floats * sizeof(float));
    n_seen++;
    return 0;
}

static int on_end(psc_context *context, void *state, int status) {
    (void)state;
    if (status) return 0;
    return host->variants(context, n_variants, variants, PSC_ROWS_ALL, on_variant, NULL);
}

static void add(int sequence, int begin, int end, int key) {
    const int v = n_variants++;
    cuts[v] = (cut){sequence, begin, end, key};
    for (int l = first_layer; l < LAYERS; l++)
        changes[v][l - first_layer] = (psc_change){.struct_size = sizeof(psc_change),
            .kind = PSC_CHANGE_CUT,
            .point = PSC_HOOK_ATTN_SCORES,
            .layer = l,
            .sequence = sequence,
            .row_begin = begin,
            .row_end = end,
            .head = -1,
            .key = key};
    variants[v] =
        (psc_variant){sizeof(psc_variant), LAYERS - first_layer, changes[v], end, NULL, 0, NULL};
}

static int edit(const psc_event *event, void *payload) {
    const cut *c = payload;
    for (int i = 0; event->layer >= first_layer && i < event->n_rows; i++) {
        const psc_row *row = &event->rows[i];
        if (row->sequence != c->sequence || row->position < c->begin || row->position >= c->end)
            continue;
        for (int64_t h = 0; h < event->tensor.shape[1]; h++)
            event->tensor.data[i * event->tensor.stride[0] + h * event->tensor.stride[1] + c->key] =
                -INFINITY;
    }
    return 0;
}

static void open_books(psc_session **out, const char *isa, int chunk) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.n_sequences = SEQUENCES;
    options.capacity = TOKENS;
    options.threads = 2;
    options.isa = isa;
    options.chunk = chunk;
    cr_assert_eq(psc_session_open(out, model, &options, &error), PSC_OK, "%s", error.message);
}

static void run_both(psc_session *to) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    const psc_input inputs[SEQUENCES] = {{0, TOKENS, tokens}, {1, TOKENS - 9, tokens + 7}};
    options.logits = PSC_ROWS_ALL;
    for (int s = 0; s < SEQUENCES; s++) psc_session_truncate(to, s, 0);
    cr_assert_eq(
        psc_session_run(to, inputs, SEQUENCES, &options, &error), PSC_OK, "%s", error.message);
}

/* The logits of a variant's rows, from a run with an editor on the best instruction set. */
static float *expect(psc_session *plain, cut *c) {
    const size_t n = (size_t)(c->end - c->begin);
    float *logits = malloc(n * n_vocab * sizeof *logits);
    cr_assert_eq(psc_session_edit(plain, PSC_HOOK_ATTN_SCORES, NULL, edit, c, &error), PSC_OK);
    run_both(plain);
    psc_session_unhook(plain, c);
    for (size_t r = 0; r < n; r++)
        memcpy(logits + r * n_vocab,
            psc_session_logits(plain, c->sequence * TOKENS + c->begin + (int)r),
            n_vocab * sizeof *logits);
    return logits;
}

/* Prefixes of 0, 1, 127, 128, 129, 255, ... positions, own keys across a block's border; one
 * variant in reverse order, two of another sequence between others, one that copies its prefix. */
static void make_cuts(void) {
    static const int at[] = {1, 2, 15, 16, 17, 126, 127, 128, 129, 254, 255, 256, 257, 291};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        add(i % 5 == 4, at[i], at[i] + 1, at[i] / 2);
    add(0, 120, 136, 3);
    add(0, 120, 135, 121);
    add(1, 127, 130, 127 - 64);
    add(0, 128, 130, 128);
    add(0, 250, 264, 255);
    add(0, 5, 12, 4);
    add(0, 3, 40, 2);
    add(1, 256, 257, 256);
    add(0, 1, 17, 0);
}

static void check_isa(const char *isa) {
    open_books(&session, isa, 0);
    must_load(PLUGIN("bridge"), NULL);
    n_seen = 0;
    run_both(session);
    cr_assert_eq(n_seen, n_variants);
    for (int v = 0; v < n_variants; v++) {
        const size_t floats = (size_t)(cuts[v].end - cuts[v].begin) * n_vocab;
        cr_assert_arr_eq(
            seen[v], expected[v], floats * sizeof(float), "variant %d with %s", v, isa);
        free(seen[v]);
    }
    psc_session_close(&session);
}

static void check_all(void) {
    psc_session *plain = NULL;
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK, "%s",
        error.message);
    n_vocab = (size_t)psc_model_get_info(model)->d_vocab;
    for (int i = 0; i < TOKENS; i++) tokens[i].id = (i * 7919 + 13) % (int)n_vocab;
    make_cuts();
    open_books(&plain, NULL, 97);
    for (int v = 0; v < n_variants; v++) expected[v] = expect(plain, &cuts[v]);
    psc_session_close(&plain);
    find_bridge();
    bridge->open = on_open;
    bridge->run_begin = on_begin;
    bridge->run_end = on_end;
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++)
        if (psc_isa_mask() >> isa & 1) check_isa(psc_isa_name((psc_isa)isa));
    for (int v = 0; v < n_variants; v++) free(expected[v]);
}

Test(variants_prefix, from_the_first_layer) {
    check_all();
}

Test(variants_prefix, from_a_later_layer) {
    first_layer = 2;
    check_all();
}
