/* Sparse dictionaries through the host: what a plugin gets equals the coder's own to the bit; what
 * the host refuses, each in one sentence that names the plugin and the call. */
#include "coder.h"
#include "plugin_fixture.h"

#include "kernels.h"

#define FOLDER PSC_SOURCE_DIR "/tests/golden/sae/"

static psc_context *c;
static int (*action)(void);
static int handle;
static psc_dictionary info = PSC_DICTIONARY_INIT;
static const char *opened = FOLDER "sparsify_skip/layers.1.mlp";

static int on_open(psc_context *context, const psc_host *given, void **state) {
    (void)state;
    host = given;
    handle = host->dictionary_open(context, opened, NULL, &info);
    return handle < 0;
}

static int on_begin(psc_context *context, void *state) {
    (void)state;
    c = context;
    return action ? action() : 0;
}

static void begin(void) {
    open_session("parallel_f32", 10, 2);
    find_bridge();
    bridge->open = on_open;
    bridge->run_begin = on_begin;
}

TestSuite(host_dictionary, .init = begin, .fini = fixture_close);

/* --- as the coder has it --------------------------------------------------------------------- */

enum { ROWS = 300, WIDTH = 32 };
static float x[ROWS * WIDTH], y[ROWS * WIDTH], skipped[WIDTH], vectors[2 * WIDTH];
static int64_t n_entries;
static double sum;

static int take(const psc_latents *l, void *payload) {
    (void)payload;
    n_entries += l->begin[l->n_rows];
    for (int64_t e = 0; e < l->begin[l->n_rows]; e++) sum += l->values[e] * (double)(l->ids[e] + 1);
    return host->dictionary_decode(c, handle, l, x, WIDTH, y + l->first * WIDTH);
}

static int use(void) {
    static const int32_t ids[] = {52, 0};
    for (int i = 0; i < ROWS * WIDTH; i++) x[i] = (float)(i * 37 % 101 - 50) * 0.01f;
    return host->dictionary_encode(c, handle, x, WIDTH, ROWS, take, NULL) ||
           host->dictionary_vectors(c, handle, PSC_DICTIONARY_DECODER, 2, ids, vectors) ||
           host->dictionary_skip(c, handle, 1, skipped, x, 1);
}

static int add_up(const psc_latents *l, void *payload) {
    double *own = payload;
    for (int64_t e = 0; e < l->begin[l->n_rows]; e++)
        *own += l->values[e] * (double)(l->ids[e] + 1);
    return 0;
}

Test(host_dictionary, equals_the_coder) {
    psc_coder *coder = NULL;
    double own = 0;
    int stopped = 0;
    float row[WIDTH];
    must_load(PLUGIN("bridge"), NULL);
    cr_assert(handle == 0 && info.n_latents == 53 && info.k == 5 && info.is_transcoder);
    cr_assert(info.has_skip && info.in_affine && info.in_point == PSC_HOOK_LN2_NORMALIZED);
    action = use;
    must_run_ten();
    cr_assert(n_entries > ROWS && n_entries <= (int64_t)ROWS * 5);
    const psc_kernels *reference = psc_kernels_for(PSC_ISA_REFERENCE);
    cr_assert_eq(psc_coder_open(&coder, opened, NULL, model, reference, &error), PSC_OK);
    cr_assert_eq(
        psc_coder_encode(coder, NULL, x, WIDTH, ROWS, add_up, &own, &stopped, &error), PSC_OK);
    cr_assert_eq(sum, own);
    psc_coder_vector(coder, PSC_DICTIONARY_DECODER, 52, row);
    cr_assert_arr_eq(row, vectors, sizeof row);
    psc_coder_skip(coder, true, row, x, 1);
    cr_assert_arr_eq(row, skipped, sizeof row);
    psc_coder_close(&coder);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void fails(int (*call)(void), psc_status status, const char *sentence) {
    action = call;
    REFUSED(run_ten(), status, "plugin bridge: ", sentence);
}

static int ignore(const psc_latents *l, void *payload) {
    (void)l, (void)payload;
    return 0;
}

static int open_late(void) {
    return host->dictionary_open(c, opened, NULL, &info) < 0;
}
static int other_handle(void) {
    return host->dictionary_encode(c, 1, x, WIDTH, 1, ignore, NULL);
}
static int no_function(void) {
    return host->dictionary_encode(c, handle, x, WIDTH, 1, NULL, NULL);
}
static int no_rows(void) {
    return host->dictionary_encode(c, handle, NULL, WIDTH, 1, ignore, NULL);
}
static int near_rows(void) {
    return host->dictionary_encode(c, handle, x, WIDTH - 1, 2, ignore, NULL);
}
static int again(const psc_latents *l, void *payload) {
    (void)l;
    return host->dictionary_encode(c, handle, x, WIDTH, 1, ignore, payload);
}
static int nested(void) {
    return host->dictionary_encode(c, handle, x, WIDTH, 1, again, NULL);
}
static int stop(const psc_latents *l, void *payload) {
    (void)l, (void)payload;
    return host->fail(c, "enough");
}
static int stopped_by_plugin(void) {
    return host->dictionary_encode(c, handle, x, WIDTH, ROWS, stop, NULL);
}
static int latents_of(int32_t id, int64_t second, int64_t first) {
    const int64_t begin_at[] = {0, second};
    const float one = 1;
    const psc_latents l = {.struct_size = sizeof l,
        .n_rows = 1,
        .first = first,
        .begin = begin_at,
        .ids = &id,
        .values = &one,
        .gain = &one,
        .shift = &one};
    return host->dictionary_decode(c, handle, &l, x, WIDTH, y);
}
static int id_beyond(void) {
    return latents_of(53, 1, 0);
}
static int id_negative(void) {
    return latents_of(-1, 1, 0);
}
static int begin_falls(void) {
    return latents_of(0, -1, 0);
}
static int first_negative(void) {
    return latents_of(0, 1, -1);
}
static int no_latents(void) {
    return host->dictionary_decode(c, handle, NULL, x, WIDTH, y);
}
static int other_side(void) {
    const int32_t id = 0;
    return host->dictionary_vectors(c, handle, 2, 1, &id, vectors);
}
static int vector_beyond(void) {
    const int32_t id = 53;
    return host->dictionary_vectors(c, handle, PSC_DICTIONARY_ENCODER, 1, &id, vectors);
}
static int skip_of_nothing(void) {
    return host->dictionary_skip(c, handle, 0, y, NULL, 1);
}

Test(host_dictionary, refusals) {
    must_load(PLUGIN("bridge"), NULL);
    fails(open_late, PSC_ERROR_STATE, "dictionary_open");
    fails(other_handle, PSC_ERROR_INPUT, "dictionary_encode: there is no dictionary 1");
    fails(no_function, PSC_ERROR_PLUGIN, "dictionary_encode");
    fails(no_rows, PSC_ERROR_PLUGIN, "dictionary_encode");
    fails(near_rows, PSC_ERROR_INPUT, "rows of 32 numbers cannot be 31 apart");
    fails(nested, PSC_ERROR_STATE, "dictionary_encode was called inside its own function");
    fails(stopped_by_plugin, PSC_ERROR_PLUGIN, "enough");
    fails(id_beyond, PSC_ERROR_INPUT, "ids of the latents is out of range");
    fails(id_negative, PSC_ERROR_INPUT, "ids of the latents is out of range");
    fails(begin_falls, PSC_ERROR_INPUT, "begin of the latents is out of range");
    fails(first_negative, PSC_ERROR_INPUT, "first of the latents is out of range");
    fails(no_latents, PSC_ERROR_PLUGIN, "dictionary_decode");
    fails(other_side, PSC_ERROR_INPUT, "side must be");
    fails(vector_beyond, PSC_ERROR_INPUT, "latent 53 does not exist; latents are 0 to 52");
    fails(skip_of_nothing, PSC_ERROR_PLUGIN, "dictionary_skip");
    action = use;
    must_run_ten();
}

/* A plugin that knows a shorter structure gets that, and nothing behind it. */
Test(host_dictionary, a_structure_without_its_size) {
    info.struct_size = 0;
    REFUSED(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_ERROR_PLUGIN,
        "dictionary_open", "psc_dictionary");
    info.struct_size = sizeof info;
    must_load(PLUGIN("bridge"), NULL);
    cr_assert_eq(info.struct_size, sizeof info);
}

Test(host_dictionary, a_folder_that_is_none) {
    opened = FOLDER "none";
    REFUSED(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_ERROR_INPUT,
        "plugin bridge: there is no ");
}
