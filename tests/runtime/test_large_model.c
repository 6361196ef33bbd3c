/* A model of pythia-6.9b's shape in f16 on a computer of 24 GiB, without its weights: a sparse file
 * gives the shapes, and the shapes determine the bytes of the packed weights. The session is opened
 * for real. Opening holds the packed weights and the pages of one tensor of the files at a time. */
#include "loader_fixture.h"
#include "session_inside.h"
#include "weights_image.h"

#define GIB 1073741824.0

TestSuite(large_model, .init = fixture_open, .fini = fixture_close);

enum { LAYERS = 32, WIDTH = 4096, MLP = 16384, VOCABULARY = 50432, CONTEXT = 2048 };

static const char config_text[] =
    "{\"model_type\": \"gpt_neox\", \"architectures\": [\"GPTNeoXForCausalLM\"],"
    "\"hidden_act\": \"gelu\", \"hidden_size\": 4096, \"intermediate_size\": 16384,"
    "\"layer_norm_eps\": 1e-05, \"max_position_embeddings\": 2048, \"num_attention_heads\": 32,"
    "\"num_hidden_layers\": 32, \"rotary_emb_base\": 10000, \"rotary_pct\": 0.25,"
    "\"tie_word_embeddings\": false, \"torch_dtype\": \"float16\","
    "\"use_parallel_residual\": true, \"vocab_size\": 50432}";

typedef struct header {
    char *text;
    size_t used;
    uint64_t bytes; /* of the tensors so far */
} header;

/* cols 0: a vector. */
static void add(header *h, const char *name, int layer, int rows, int cols) {
    const uint64_t end = h->bytes + 2 * (uint64_t)rows * (uint64_t)(cols ? cols : 1);
    char place[64] = "gpt_neox.", shape[32];
    if (layer >= 0) snprintf(place, sizeof place, "gpt_neox.layers.%d.", layer);
    snprintf(shape, sizeof shape, cols ? "%d, %d" : "%d", rows, cols);
    h->used += (size_t)sprintf(h->text + h->used,
        "%c\"%s%s\": {\"dtype\": \"F16\", \"shape\": [%s], \"data_offsets\": [%llu, %llu]}",
        h->used ? ',' : '{', strncmp(name, "embed_out", 9) ? place : "", name, shape,
        (unsigned long long)h->bytes, (unsigned long long)end);
    h->bytes = end;
}

static void add_layer(header *h, int layer) {
    add(h, "input_layernorm.weight", layer, WIDTH, 0);
    add(h, "input_layernorm.bias", layer, WIDTH, 0);
    add(h, "post_attention_layernorm.weight", layer, WIDTH, 0);
    add(h, "post_attention_layernorm.bias", layer, WIDTH, 0);
    add(h, "attention.query_key_value.weight", layer, 3 * WIDTH, WIDTH);
    add(h, "attention.query_key_value.bias", layer, 3 * WIDTH, 0);
    add(h, "attention.dense.weight", layer, WIDTH, WIDTH);
    add(h, "attention.dense.bias", layer, WIDTH, 0);
    add(h, "mlp.dense_h_to_4h.weight", layer, MLP, WIDTH);
    add(h, "mlp.dense_h_to_4h.bias", layer, MLP, 0);
    add(h, "mlp.dense_4h_to_h.weight", layer, WIDTH, MLP);
    add(h, "mlp.dense_4h_to_h.bias", layer, WIDTH, 0);
}

/* Writes config.json and the weights as a hole after their header; returns the tensors' bytes. */
static uint64_t put_model(void) {
    header h = {.text = malloc(1 << 18)};
    add(&h, "embed_in.weight", -1, VOCABULARY, WIDTH);
    for (int l = 0; l < LAYERS; l++) add_layer(&h, l);
    add(&h, "final_layer_norm.weight", -1, WIDTH, 0);
    add(&h, "final_layer_norm.bias", -1, WIDTH, 0);
    add(&h, "embed_out.weight", -1, VOCABULARY, WIDTH);
    snprintf(h.text + h.used, 2, "}");
    put_text("config.json", config_text);
    put_safetensors("model.safetensors", h.text, 0);
    if (truncate(at("model.safetensors"), (off_t)(8 + strlen(h.text) + h.bytes)) != 0)
        cr_skip_test("no file of %.1f GiB can be made here", (double)h.bytes / GIB);
    free(h.text);
    return h.bytes;
}

/* Bytes of address space of this process, or 0 if unknown. */
static double address_space(void) {
    double pages = 0.0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%lf", &pages) != 1) pages = 0.0;
    if (file) fclose(file);
    return pages * (double)sysconf(_SC_PAGESIZE);
}

/* The address space of a session with the whole context, touched or not. */
static double session_bytes(psc_model *model) {
    psc_error error;
    psc_session *session = NULL;
    const psc_config *c = &model->config;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 2;
    model->info = (psc_model_info){.struct_size = sizeof model->info,
        .n_layers = (int32_t)c->n_layers,
        .n_heads = (int32_t)c->n_heads,
        .d_model = (int32_t)c->d_model,
        .d_head = (int32_t)c->d_head,
        .d_mlp = (int32_t)c->d_mlp,
        .d_vocab = (int32_t)c->d_vocab,
        .n_ctx = (int32_t)c->n_ctx,
        .parallel_residual = 1};
    const double before = address_space();
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    const double after = address_space();
    psc_session_close(&session);
    /* keys and values, and at least a row's logits */
    const double least = 2.0 * CONTEXT * LAYERS * WIDTH * 4 + VOCABULARY * 4.0;
    cr_assert(before == 0.0 || after - before > least, "%.0f bytes", after - before);
    return before == 0.0 ? least : after - before;
}

Test(large_model, fits_into_24_gib) {
    psc_error error;
    psc_model model = {.path = folder};
    psc_checkpoint *checkpoint = NULL;
    psc_image_plan plan;
    const uint64_t bytes = put_model();
    cr_assert_eq(psc_config_read(&model.config, folder, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_checkpoint_open(&checkpoint, folder, &model.config, &error), PSC_OK, "%s",
        error.message);
    cr_assert_eq(checkpoint->bytes, bytes);
    model.layers = calloc(LAYERS, sizeof *model.layers);
    cr_assert_eq(psc_image_plan_open(&plan, &model, checkpoint, &error), PSC_OK);

    /* Vectors are widened to f32; matrices do not grow: 1 in 4,000. */
    cr_assert_geq(plan.bytes, bytes);
    cr_assert_lt((double)plan.bytes, 1.0005 * (double)bytes);
    uint64_t end = 0, largest = 0;
    for (size_t i = 0; i < plan.n; i++) {
        cr_assert_geq(plan.pieces[i].offset, end, "two pieces overlap");
        end = plan.pieces[i].offset + plan.pieces[i].bytes;
        if (plan.pieces[i].bytes > largest) largest = plan.pieces[i].bytes;
    }
    cr_assert_leq(end, plan.bytes);
    cr_assert_gt(end, (uint64_t)12 << 30, "the sums are not of 64 bits");

    const double session = session_bytes(&model);
    const double opening = (double)(plan.bytes + largest), running = (double)plan.bytes + session;
    cr_log_info("packed %.2f GiB, opening %.2f GiB, running %.2f GiB", (double)plan.bytes / GIB,
        opening / GIB, running / GIB);
    cr_assert_lt(opening, 24.0 * GIB);
    cr_assert_lt(running, 24.0 * GIB);
    psc_image_plan_close(&plan);
    psc_checkpoint_close(&checkpoint);
    free(model.layers);
}
