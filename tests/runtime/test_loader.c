/* Checkpoints: tensors by role against the config, and the model's identity. The good model is
 * tests/golden/loader/plain; each broken one changes one thing in it. */
#include "loader_fixture.h"
#include "weight_files.h"
#include "model_weights.h"

#include <math.h>
#include <xxhash.h>

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/loader/"

TestSuite(checkpoint, .init = fixture_open, .fini = fixture_close);

static psc_checkpoint *open_good(const char *path) {
    psc_config config;
    psc_checkpoint *cp;
    psc_error error = {0};
    cr_assert_eq(psc_config_read(&config, path, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_checkpoint_open(&cp, path, &config, &error), PSC_OK, "%s", error.message);
    return cp;
}

/* The same, with the identity; closes the checkpoint. */
static void identity_of(char hex[33], const char *path) {
    psc_checkpoint *cp = open_good(path);
    cr_assert_eq(psc_checkpoint_hash(hex, cp, NULL), PSC_OK);
    psc_checkpoint_close(&cp);
    cr_assert_null(cp);
}

static json_t *load_expected(void) {
    json_t *expected = json_load_file(GOLDEN "expected.json", 0, NULL);
    cr_assert(expected);
    return expected;
}

/* --- the good model ------------------------------------------------------------------------- */

Test(checkpoint, hash_function_is_xxh3_128) {
    XXH128_canonical_t digest;
    char hex[33];
    XXH128_canonicalFromHash(&digest, XXH3_128bits("", 0));
    for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", digest.digest[i]);
    cr_assert_str_eq(hex, "99aa06d3014798d86001c324468d497f");
}

Test(checkpoint, identity_is_that_of_the_description) {
    json_t *expected = load_expected();
    const char *identity = json_string_value(json_object_get(expected, "identity"));
    char hex[33];
    identity_of(hex, GOLDEN "plain");
    cr_assert_str_eq(hex, identity);
    identity_of(hex, GOLDEN "sharded"); /* other names, other files, other keys: the same model */
    cr_assert_str_eq(hex, identity);
    json_decref(expected);
}

static double sum_of(const psc_weight *w) {
    size_t n = w->rows * w->cols;
    float *values = malloc((n + 1) * sizeof *values);
    double sum = 0;
    values[n] = 42;
    psc_weight_to_f32(values, w);
    for (size_t i = 0; i < n; i++) sum += values[i];
    cr_assert(values[n] == 42);
    free(values);
    return sum;
}

static void check_sum(json_t *sums, const char *name, const psc_weight *w) {
    json_t *value = json_object_get(sums, name);
    cr_assert(value, "%s", name);
    cr_assert(fabs(sum_of(w) - json_number_value(value)) < 1e-9, "%s", name);
}

static void check_sums(const char *path) {
    json_t *expected = load_expected(), *sums = json_object_get(expected, "sums");
    psc_checkpoint *cp = open_good(path);
    const psc_layer_weights *l = &cp->layers[1];
    check_sum(sums, "gpt_neox.embed_in.weight", &cp->embed);
    check_sum(sums, "embed_out.weight", &cp->unembed);
    check_sum(sums, "gpt_neox.final_layer_norm.weight", &cp->ln_final_gamma);
    check_sum(sums, "gpt_neox.final_layer_norm.bias", &cp->ln_final_beta);
    check_sum(sums, "gpt_neox.layers.1.input_layernorm.weight", &l->ln1_gamma);
    check_sum(sums, "gpt_neox.layers.1.input_layernorm.bias", &l->ln1_beta);
    check_sum(sums, "gpt_neox.layers.1.post_attention_layernorm.weight", &l->ln2_gamma);
    check_sum(sums, "gpt_neox.layers.1.post_attention_layernorm.bias", &l->ln2_beta);
    check_sum(sums, "gpt_neox.layers.1.attention.query_key_value.weight", &l->qkv);
    check_sum(sums, "gpt_neox.layers.1.attention.query_key_value.bias", &l->qkv_bias);
    check_sum(sums, "gpt_neox.layers.1.attention.dense.weight", &l->dense);
    check_sum(sums, "gpt_neox.layers.1.attention.dense.bias", &l->dense_bias);
    check_sum(sums, "gpt_neox.layers.1.mlp.dense_h_to_4h.weight", &l->mlp_in);
    check_sum(sums, "gpt_neox.layers.1.mlp.dense_h_to_4h.bias", &l->mlp_in_bias);
    check_sum(sums, "gpt_neox.layers.1.mlp.dense_4h_to_h.weight", &l->mlp_out);
    check_sum(sums, "gpt_neox.layers.1.mlp.dense_4h_to_h.bias", &l->mlp_out_bias);
    psc_checkpoint_close(&cp);
    json_decref(expected);
}

Test(checkpoint, every_tensor_is_in_its_role) {
    check_sums(GOLDEN "plain");
    check_sums(GOLDEN "sharded");
}

Test(checkpoint, shapes_and_counts) {
    psc_checkpoint *cp = open_good(GOLDEN "sharded");
    const psc_layer_weights *l = &cp->layers[0];
    cr_assert(l->qkv.rows == 48 && l->qkv.cols == 16 && l->mlp_out.cols == 24);
    cr_assert(l->qkv_bias.rows == 48 && l->qkv_bias.cols == 1 && cp->embed.rows == 21);
    cr_assert_eq(cp->ignored, 6); /* three old buffers per layer */
    psc_checkpoint_close(&cp);
    psc_checkpoint_close(&cp); /* null: nothing to do */
    cp = open_good(GOLDEN "plain");
    cr_assert_eq(cp->ignored, 0);
    psc_checkpoint_close(&cp);
}

/* --- the good model with one thing changed -------------------------------------------------- */

typedef struct edit {
    const char *config; /* keys that override config.json, nullable */
    const char *drop;   /* tensor to omit, nullable */
    const char *change; /* tensor to change to these, null to remove: */
    const char *name, *dtype, *shape;
    const char *add; /* header entry to add, without offsets, and its bytes of data */
    size_t add_size;
    bool zero_unembed;      /* embed_out's bytes become 0 */
    bool no_attention_bias; /* the four bias tensors are omitted */
} edit;

static json_t *read_golden_header(unsigned char **data, size_t *size) {
    char *raw;
    size_t total;
    cr_assert_eq(psc_read_file(&raw, &total, GOLDEN "plain/model.safetensors", 1 << 20, NULL), 0);
    size_t n = (unsigned char)raw[0] + 256u * (unsigned char)raw[1];
    json_t *header = json_loadb(raw + 8, n, 0, NULL);
    cr_assert(header);
    *size = total - 8 - n;
    *data = malloc(*size);
    memcpy(*data, raw + 8 + n, *size);
    free(raw);
    return header;
}

static size_t offset_of(json_t *entry, size_t end) {
    return (size_t)json_integer_value(json_array_get(json_object_get(entry, "data_offsets"), end));
}

/* Removes a tensor from the header and its bytes from the data. */
static void drop_tensor(json_t *header, const char *name, unsigned char *data, size_t *size) {
    json_t *gone = json_object_get(header, name), *entry;
    const char *key;
    cr_assert(gone, "%s", name);
    size_t begin = offset_of(gone, 0), end = offset_of(gone, 1);
    json_object_foreach(header, key, entry) {
        if (!json_object_get(entry, "data_offsets") || offset_of(entry, 0) < end) continue;
        json_t *offsets = json_pack("[I, I]", (json_int_t)(offset_of(entry, 0) - (end - begin)),
            (json_int_t)(offset_of(entry, 1) - (end - begin)));
        json_object_set_new(entry, "data_offsets", offsets);
    }
    memmove(data + begin, data + end, *size - end);
    *size -= end - begin;
    json_object_del(header, name);
}

static void change_tensor(json_t *header, const edit *e) {
    json_t *entry = json_incref(json_object_get(header, e->change));
    cr_assert(entry, "%s", e->change);
    if (e->dtype) json_object_set_new(entry, "dtype", json_string(e->dtype));
    if (e->shape) json_object_set_new(entry, "shape", json_loads(e->shape, 0, NULL));
    if (e->name) {
        json_object_del(header, e->change);
        json_object_set(header, e->name, entry);
    }
    json_decref(entry);
}

static void add_tensor(json_t *header, const edit *e, unsigned char **data, size_t *size) {
    json_t *more = json_loads(e->add, 0, NULL);
    cr_assert(more, "%s", e->add);
    void *iterator = json_object_iter(more);
    json_t *offsets = json_pack("[I, I]", (json_int_t)*size, (json_int_t)(*size + e->add_size));
    json_object_set_new(json_object_iter_value(iterator), "data_offsets", offsets);
    json_object_update(header, more);
    *data = realloc(*data, *size + e->add_size);
    memset(*data + *size, 0, e->add_size);
    *size += e->add_size;
    json_decref(more);
}

static void write_config(const edit *e) {
    json_t *config = json_load_file(GOLDEN "plain/config.json", 0, NULL);
    json_t *over = json_loads(e->config ? e->config : "{}", 0, NULL);
    cr_assert(config && over);
    json_object_update(config, over);
    cr_assert_eq(json_dump_file(config, at("config.json"), 0), 0);
    json_decref(config);
    json_decref(over);
}

static void write_model(const edit *e) {
    unsigned char *data;
    size_t size;
    json_t *header = read_golden_header(&data, &size);
    if (e->zero_unembed) {
        json_t *entry = json_object_get(header, "embed_out.weight");
        memset(data + offset_of(entry, 0), 0, offset_of(entry, 1) - offset_of(entry, 0));
    }
    for (int l = 0; l < 2 && e->no_attention_bias; l++) {
        char name[64];
        snprintf(name, sizeof name, "gpt_neox.layers.%d.attention.dense.bias", l);
        drop_tensor(header, name, data, &size);
        snprintf(name, sizeof name, "gpt_neox.layers.%d.attention.query_key_value.bias", l);
        drop_tensor(header, name, data, &size);
    }
    if (e->drop) drop_tensor(header, e->drop, data, &size);
    if (e->change) change_tensor(header, e);
    if (e->add) add_tensor(header, e, &data, &size);
    char *text = json_dumps(header, JSON_COMPACT);
    put_safetensors("model.safetensors", text, size);
    FILE *file = fopen(at("model.safetensors"), "r+b");
    cr_assert(file && fseek(file, (long)(8 + strlen(text)), SEEK_SET) == 0);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    fclose(file);
    free(text);
    free(data);
    json_decref(header);
    write_config(e);
}

static psc_status open_edited(psc_checkpoint **cp, const edit *e, psc_error *error) {
    psc_config config;
    write_model(e);
    cr_assert_eq(psc_config_read(&config, folder, error), PSC_OK, "%s", error->message);
    return psc_checkpoint_open(cp, folder, &config, error);
}

#define L1 "gpt_neox.layers.1."

static const struct {
    edit edit;
    const char *words;
    psc_status status;
} contradictions[] = {
    {{.config = "{\"vocab_size\": 22}"}, "embed_|[21, 16]|config.json requires [22, 16]",
        PSC_ERROR_INPUT},
    {{.config = "{\"hidden_size\": 32}"}, "shape|config.json requires", PSC_ERROR_INPUT},
    {{.config = "{\"intermediate_size\": 64}"}, "mlp.dense|64", PSC_ERROR_INPUT},
    {{.config = "{\"num_hidden_layers\": 1}"}, "layers.1.|num_hidden_layers to 1", PSC_ERROR_INPUT},
    {{.config = "{\"num_hidden_layers\": 3}"}, "no tensor \"gpt_neox.layers.2.", PSC_ERROR_INPUT},
    {{.config = "{\"attention_bias\": false}"}, "attention_bias to false|.bias", PSC_ERROR_INPUT},
    {{.config = "{\"tie_word_embeddings\": true}"}, "tie_word_embeddings|differ", PSC_ERROR_INPUT},
    {{.drop = "gpt_neox.embed_in.weight"}, "no tensor \"gpt_neox.embed_in.weight\"",
        PSC_ERROR_INPUT},
    {{.drop = "embed_out.weight"}, "no tensor \"embed_out.weight\"", PSC_ERROR_INPUT},
    {{.drop = "gpt_neox.final_layer_norm.bias"}, "no tensor|final_layer_norm.bias",
        PSC_ERROR_INPUT},
    {{.drop = L1 "mlp.dense_4h_to_h.bias"}, "no tensor|" L1 "mlp.dense_4h_to_h.bias",
        PSC_ERROR_INPUT},
    {{.drop = L1 "attention.dense.bias"}, "no tensor|" L1 "attention.dense.bias", PSC_ERROR_INPUT},
    {{.change = L1 "mlp.dense_h_to_4h.weight", .shape = "[16, 24]"},
        "model.safetensors|dense_h_to_4h.weight|[16, 24]|[24, 16]", PSC_ERROR_INPUT},
    {{.change = L1 "mlp.dense_h_to_4h.weight", .shape = "[384]"}, "[384]|[24, 16]",
        PSC_ERROR_INPUT},
    {{.change = L1 "input_layernorm.bias", .shape = "[1, 16]"}, "[1, 16]|[16]", PSC_ERROR_INPUT},
    {{.change = L1 "input_layernorm.bias", .dtype = "I32"}, "input_layernorm.bias|I32|F32",
        PSC_ERROR_SUPPORT},
    {{.change = L1 "input_layernorm.bias", .dtype = "F64", .shape = "[8]"}, "F64",
        PSC_ERROR_SUPPORT},
    {{.change = L1 "input_layernorm.bias", .name = "gpt_neox.layers.7.input_layernorm.bias"},
        "layers.7.|num_hidden_layers to 2", PSC_ERROR_INPUT},
    {{.change = L1 "input_layernorm.bias",
         .name = "layers.99999999999999999999999.input_layernorm.bias"},
        "num_hidden_layers to 2", PSC_ERROR_INPUT},
    {{.change = L1 "input_layernorm.bias", .name = "gpt_neox.layers.01.input_layernorm.bias"},
        "no tensor \"" L1 "input_layernorm.bias\"", PSC_ERROR_INPUT},
    {{.add = "{\"layers.1.input_layernorm.bias\": {\"dtype\": \"F32\", \"shape\": [16]}}",
         .add_size = 64},
        "input_layernorm.bias|already present", PSC_ERROR_INPUT},
    {{.add = "{\"lm_head.weight\": {\"dtype\": \"F32\", \"shape\": [21, 16]}}", .add_size = 1344},
        "already present", PSC_ERROR_INPUT},
    {{.add = "{\"gpt_neox.layers.2.attention.bias\": {\"dtype\": \"U8\", \"shape\": [4]}}",
         .add_size = 4},
        "layers.2.|num_hidden_layers to 2", PSC_ERROR_INPUT},
};

Test(checkpoint, contradictions_are_refused) {
    for (size_t i = 0; i < sizeof contradictions / sizeof contradictions[0]; i++) {
        psc_checkpoint *cp;
        psc_error error = {0};
        psc_status status = open_edited(&cp, &contradictions[i].edit, &error);
        expect_error(status, contradictions[i].status, &error, contradictions[i].words);
        cr_assert_null(cp);
    }
}

Test(checkpoint, a_truncated_file_is_refused) {
    const edit none = {0};
    psc_checkpoint *cp;
    psc_config config;
    psc_error error;
    struct stat info;
    write_model(&none);
    cr_assert_eq(psc_config_read(&config, folder, &error), PSC_OK);
    cr_assert_eq(stat(at("model.safetensors"), &info), 0);
    cr_assert_eq(truncate(at("model.safetensors"), info.st_size - 1), 0);
    expect_error(psc_checkpoint_open(&cp, folder, &config, &error), PSC_ERROR_INPUT, &error,
        "model.safetensors|truncated");
}

Test(checkpoint, unknown_tensors_are_counted_and_do_not_change_the_identity) {
    static const edit e = {
        .add = "{\"gpt_neox.something\": {\"dtype\": \"I64\", \"shape\": [2]}}", .add_size = 16};
    psc_checkpoint *cp;
    psc_error error = {0};
    char hex[33], plain[33];
    cr_assert_eq(open_edited(&cp, &e, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(cp->ignored, 1);
    psc_checkpoint_close(&cp);
    identity_of(hex, folder);
    identity_of(plain, GOLDEN "plain");
    cr_assert_str_eq(hex, plain);
}

Test(checkpoint, identity_sees_what_matters) {
    static const struct {
        edit edit;
        bool same;
    } cases[] = {
        {{.config = "{}"}, true},
        {{.config = "{\"torch_dtype\": \"float16\"}"}, true},
        {{.config = "{\"eos_token_id\": 4, \"hidden_dropout\": 0.1}"}, true},
        {{.config = "{\"hidden_act\": \"gelu_python\"}"}, true},
        {{.config = "{\"rotary_pct\": 0.51}"}, true}, /* the same four dimensions */
        {{.config = "{\"rotary_pct\": 1.0}"}, false},
        {{.config = "{\"rotary_emb_base\": 778}"}, false},
        {{.config = "{\"layer_norm_eps\": 1e-5}"}, false},
        {{.config = "{\"use_parallel_residual\": false}"}, false},
        {{.config = "{\"num_attention_heads\": 1, \"rotary_pct\": 0.25}"}, false},
        {{.config = "{\"max_position_embeddings\": 9}"}, false},
        {{.zero_unembed = true}, false},
    };
    char hex[33], plain[33];
    identity_of(plain, GOLDEN "plain");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_model(&cases[i].edit);
        identity_of(hex, folder);
        cr_assert_eq(strcmp(hex, plain) == 0, cases[i].same, "case %zu", i);
    }
}

Test(checkpoint, tied_models_hold_either_matrix) {
    static const edit without_out = {
        .config = "{\"tie_word_embeddings\": true}", .drop = "embed_out.weight"};
    static const edit without_in = {
        .config = "{\"tie_word_embeddings\": true}", .drop = "gpt_neox.embed_in.weight"};
    psc_checkpoint *cp;
    psc_error error = {0};
    cr_assert_eq(open_edited(&cp, &without_out, &error), PSC_OK, "%s", error.message);
    cr_assert(cp->embed.data && cp->embed.data == cp->unembed.data);
    psc_checkpoint_close(&cp);
    cr_assert_eq(open_edited(&cp, &without_in, &error), PSC_OK, "%s", error.message);
    cr_assert(cp->embed.data && cp->embed.data == cp->unembed.data);
    psc_checkpoint_close(&cp);
}

Test(checkpoint, without_attention_bias_the_biases_are_zeros) {
    static const edit e = {.config = "{\"attention_bias\": false}", .no_attention_bias = true};
    psc_checkpoint *cp;
    psc_error error = {0};
    float zeros[48] = {1};
    cr_assert_eq(open_edited(&cp, &e, &error), PSC_OK, "%s", error.message);
    const psc_weight *bias = &cp->layers[1].qkv_bias;
    cr_assert(!bias->data && bias->rows == 48 && bias->cols == 1);
    psc_weight_to_f32(zeros, bias);
    for (int i = 0; i < 48; i++) cr_assert(zeros[i] == 0);
    psc_checkpoint_close(&cp);
    static const edit still_claimed = {.no_attention_bias = true};
    expect_error(open_edited(&cp, &still_claimed, &error), PSC_ERROR_INPUT, &error,
        "no tensor|attention.query_key_value.bias");
}
