/* A model opened without its weights: 20 GB of safetensors or of PyTorch, sparse files, take no
 * time and little memory, and nothing is written. */
#include "loader_fixture.h"
#include "psc.h"

#include <sys/resource.h>
#include <time.h>

#define PLAIN PSC_SOURCE_DIR "/tests/golden/loader/plain"

TestSuite(model_header, .init = fixture_open, .fini = fixture_close);

/* --- a large model --------------------------------------------------------------------------- */

enum { N = 16384, M = 65536, V = 50304 };
static const char config[] = "{\"model_type\": \"gpt_neox\", \"num_hidden_layers\": 1,"
                             "\"num_attention_heads\": 128, \"hidden_size\": 16384,"
                             "\"intermediate_size\": 65536, \"vocab_size\": 50304}";
#define LAYER "gpt_neox.layers.0."
static const struct large {
    const char *name;
    uint64_t rows, cols; /* cols 0: a vector */
} large[] = {{"gpt_neox.embed_in.weight", V, N}, {"embed_out.weight", V, N},
    {"gpt_neox.final_layer_norm.weight", N, 0}, {"gpt_neox.final_layer_norm.bias", N, 0},
    {LAYER "input_layernorm.weight", N, 0}, {LAYER "input_layernorm.bias", N, 0},
    {LAYER "post_attention_layernorm.weight", N, 0}, {LAYER "post_attention_layernorm.bias", N, 0},
    {LAYER "attention.query_key_value.weight", 3 * N, N},
    {LAYER "attention.query_key_value.bias", 3 * N, 0}, {LAYER "attention.dense.weight", N, N},
    {LAYER "attention.dense.bias", N, 0}, {LAYER "mlp.dense_h_to_4h.weight", M, N},
    {LAYER "mlp.dense_h_to_4h.bias", M, 0}, {LAYER "mlp.dense_4h_to_h.weight", N, M},
    {LAYER "mlp.dense_4h_to_h.bias", N, 0}};
#define N_LARGE (sizeof large / sizeof large[0])

static uint64_t elements(size_t i) {
    return large[i].rows * (large[i].cols ? large[i].cols : 1);
}

/* False where the file system has no sparse files of this size. */
static bool extend(const char *name, uint64_t size) {
    return truncate(at(name), (off_t)size) == 0;
}

static bool write_safetensors(void) {
    char header[8192] = "{", *end = header + 1;
    uint64_t offset = 0;
    for (size_t i = 0; i < N_LARGE; i++) {
        const uint64_t next = offset + 4 * elements(i);
        end += sprintf(end, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%llu", i ? "," : "",
            large[i].name, (unsigned long long)large[i].rows);
        if (large[i].cols) end += sprintf(end, ",%llu", (unsigned long long)large[i].cols);
        end += sprintf(end, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
            (unsigned long long)next);
        offset = next;
    }
    strcpy(end, "}");
    put_safetensors("model.safetensors", header, 0);
    return extend("model.safetensors", 8 + strlen(header) + offset);
}

/* A text of bytes that grows. */
typedef struct bytes {
    unsigned char data[16384];
    size_t n;
} bytes;

static void add(bytes *to, const void *from, size_t n) {
    cr_assert(to->n + n <= sizeof to->data);
    memcpy(to->data + to->n, from, n);
    to->n += n;
}

static void add_number(bytes *to, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; i++) to->data[to->n++] = (unsigned char)(value >> 8 * i);
}

static void add_text(bytes *to, const char *text) {
    add(to, "X", 1);
    add_number(to, strlen(text), 4);
    add(to, text, strlen(text));
}

static void add_integer(bytes *to, uint64_t value) {
    add(to, "\x8a\x08", 2);
    add_number(to, value, 8);
}

/* The state dict as torch.save pickles it. */
static void pickle_model(bytes *to) {
    add(to, "\x80\2}", 3);
    for (size_t i = 0; i < N_LARGE; i++) {
        char key[8];
        snprintf(key, sizeof key, "%zu", i);
        add_text(to, large[i].name);
        add(to, "ctorch._utils\n_rebuild_tensor_v2\n((", 35);
        add_text(to, "storage");
        add(to, "ctorch\nFloatStorage\n", 20);
        add_text(to, key);
        add_text(to, "cpu");
        add_integer(to, elements(i));
        add(to, "tQK\0(", 5);
        add_integer(to, large[i].rows);
        if (large[i].cols) add_integer(to, large[i].cols);
        add(to, "t(", 2);
        add_integer(to, large[i].cols ? large[i].cols : 1);
        if (large[i].cols) add_integer(to, 1);
        add(to, "t\x89}tRs", 6);
    }
    add(to, ".", 1);
}

/* One entry of a zip archive at `place`: its local header, and its header in the directory. Sizes
 * have 64 bits. Returns the place after its data. */
static uint64_t add_entry(
    FILE *file, bytes *directory, uint64_t place, const char *name, uint64_t size) {
    static bytes local;
    const size_t n = strlen(name);
    local.n = 0;
    add(&local, "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377", 26);
    add_number(&local, n, 2);
    add_number(&local, 20, 2);
    add(&local, name, n);
    add_number(&local, 0x100001, 4);
    add_number(&local, size, 8);
    add_number(&local, size, 8);
    cr_assert_eq(fseeko(file, (off_t)place, SEEK_SET), 0);
    cr_assert_eq(fwrite(local.data, 1, local.n, file), local.n);
    add(directory, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377", 28);
    add_number(directory, n, 2);
    add_number(directory, 28, 2);
    add(directory, "\0\0\0\0\0\0\0\0\0\0\377\377\377\377",
        14); /* comment, disk, attributes; offset */
    add(directory, name, n);
    add_number(directory, 0x180001, 4);
    add_number(directory, size, 8);
    add_number(directory, size, 8);
    add_number(directory, place, 8);
    return place + local.n + size;
}

static bool write_torch(void) {
    static bytes pickle, directory, end;
    char name[32];
    pickle.n = directory.n = end.n = 0;
    pickle_model(&pickle);
    FILE *file = fopen(at("pytorch_model.bin"), "wb");
    cr_assert(file);
    uint64_t place = add_entry(file, &directory, 0, "m/data.pkl", pickle.n);
    cr_assert_eq(fwrite(pickle.data, 1, pickle.n, file), pickle.n);
    for (size_t i = 0; i < N_LARGE; i++) {
        snprintf(name, sizeof name, "m/data/%zu", i);
        place = add_entry(file, &directory, place, name, 4 * elements(i));
    }
    add(&end, "PK\6\6\54\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
    add_number(&end, N_LARGE + 1, 8);
    add_number(&end, N_LARGE + 1, 8);
    add_number(&end, directory.n, 8);
    add_number(&end, place, 8);
    add(&end, "PK\6\7\0\0\0\0", 8);
    add_number(&end, place + directory.n, 8);
    add(&end, "\1\0\0\0PK\5\6\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\0\0",
        26);
    const bool fits = fseeko(file, (off_t)place, SEEK_SET) == 0 &&
                      fwrite(directory.data, 1, directory.n, file) == directory.n &&
                      fwrite(end.data, 1, end.n, file) == end.n;
    return fclose(file) == 0 && fits;
}

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void expect_instant(const char *words) {
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    struct rusage before, after;
    psc_model *model = NULL;
    psc_error error = {0};
    char cache[600];
    snprintf(cache, sizeof cache, "%s/kept", folder);
    options.cache_dir = cache;
    const double begin = processor_seconds();
    getrusage(RUSAGE_SELF, &before);
    cr_assert_eq(
        psc_model_open_header(&model, folder, &options, &error), PSC_OK, "%s", error.message);
    getrusage(RUSAGE_SELF, &after);
    cr_assert_lt(processor_seconds() - begin, 2.0); /* reading 20 GB takes longer on any machine */
    cr_assert_lt(after.ru_minflt - before.ru_minflt, 4000); /* pages, of 5 million in the file */
    cr_assert_str_eq(psc_model_weights_text(model), words);
    cr_assert_str_eq(psc_model_get_info(model)->hash, "");
    cr_assert_eq(psc_model_get_info(model)->d_mlp, M);
    cr_assert(!psc_path_exists(cache));
    psc_model_close(&model);
}

Test(model_header, twenty_gigabytes_of_safetensors_open_at_once) {
    put_text("config.json", config);
    if (!write_safetensors()) return;
    expect_instant("model.safetensors, 18.1 GiB, not read");
}

Test(model_header, twenty_gigabytes_of_pytorch_open_at_once) {
    put_text("config.json", config);
    if (!write_torch()) return;
    expect_instant("pytorch_model.bin, 18.1 GiB, not read");
}

/* --- what it can do -------------------------------------------------------------------------- */

Test(model_header, has_no_weights_to_give) {
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_error error = {0};
    float values[16];
    cr_assert_eq(psc_model_open_header(&model, PLAIN, NULL, &error), PSC_OK, "%s", error.message);
    expect_error(psc_session_open(&session, model, NULL, &error), PSC_ERROR_STATE, &error,
        "plain was opened without its weights");
    expect_error(psc_model_matrix(values, 16, model, PSC_W_U, 0, &error), PSC_ERROR_STATE, &error,
        "without its weights");
    expect_error(psc_model_bias(values, 16, model, PSC_W_O, 0, &error), PSC_ERROR_STATE, &error,
        "without its weights");
    expect_error(psc_model_ln(values, NULL, 16, model, PSC_LN_FINAL, 0, &error), PSC_ERROR_STATE,
        &error, "without its weights");
    expect_error(psc_model_embedding(values, 16, model, 0, 1, &error), PSC_ERROR_STATE, &error,
        "without its weights");
    psc_model_close(&model);
}

Test(model_header, refuses_what_the_headers_show) {
    psc_model *model = NULL;
    psc_error error = {0};
    put_text("config.json", config);
    put_safetensors("model.safetensors", "{}", 0);
    expect_error(psc_model_open_header(&model, folder, NULL, &error), PSC_ERROR_INPUT, &error,
        "no tensor \"gpt_neox.embed_in.weight\"");
    cr_assert_null(model);
}
