/* Dictionaries that are refused, each in one sentence that says what and where: cfg.json, tensors,
 * widths, names, damage; and memory that runs out at each request of opening and encoding. */
#include "failing_malloc.h"

#include "coder.h"
#include "golden.h"
#include "kernels.h"
#include "loader_fixture.h"

#include <math.h>

TestSuite(dictionary_refusals, .init = fixture_open, .fini = fixture_close);

static psc_error error;
static psc_model *model;

static psc_status open_at(const char *path, psc_coder **coder) {
    if (!model) model = must_model(golden_path("parallel_f32", NULL));
    error = (psc_error){0};
    return psc_coder_open(
        coder, path, NULL, model, psc_kernels_for(psc_isa_best(psc_isa_mask())), &error);
}

/* One sentence without its folder's part, so that words are looked for in what is said. */
static void refused(const char *name, const char *words) {
    psc_coder *coder = NULL;
    const psc_status status = open_at(at(name), &coder);
    cr_assert_null(coder);
    expect_error(status, PSC_ERROR_INPUT, &error, words);
    cr_assert(strlen(error.message) < 900 && !strchr(error.message, '\n'));
}

static void must_read(const char *name) {
    psc_coder *coder = NULL;
    cr_assert_eq(open_at(at(name), &coder), PSC_OK, "%s", error.message);
    psc_coder_close(&coder);
}

static void make_folder(const char *name) {
    cr_assert(mkdir(at(name), 0700) == 0 || errno == EEXIST);
}

/* --- files of zeros -------------------------------------------------------------------------- */

typedef struct shape {
    const char *name, *shape;
    int count;
} shape;

/* F32 tensors of zeros; the list ends with a null name. */
static void put_tensors(const char *name, const shape *shapes) {
    char header[2000] = "{";
    size_t n = 1, end = 0;
    for (int i = 0; shapes[i].name; i++) {
        const size_t bytes = 4 * (size_t)shapes[i].count;
        n += (size_t)snprintf(header + n, sizeof header - n,
            "%s\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", i ? "," : "",
            shapes[i].name, shapes[i].shape, end, end + bytes);
        end += bytes;
    }
    snprintf(header + n, sizeof header - n, "}");
    put_safetensors(name, header, end);
}

static const shape standard[] = {{"W_enc", "[32,4]", 128}, {"b_enc", "[4]", 4},
    {"W_dec", "[4,32]", 128}, {"b_dec", "[32]", 32}, {0}};

static void put_saelens(const char *cfg) {
    make_folder("d");
    put_text("d/cfg.json", cfg);
    put_tensors("d/sae_weights.safetensors", standard);
}

#define HOOK "\"hook_name\":\"blocks.1.hook_resid_post\""

Test(dictionary_refusals, cfg_of_saelens) {
    static const char *const bad[][2] = {{"", "cfg.json is not valid JSON"},
        {"[]", "cfg.json is not a JSON object"}, {"{\"d_in\":32,", "cfg.json is not valid JSON"},
        {"{\"d_in\":32}", "does not name the hook point (hook_name)|point="},
        {"{\"d_in\":\"32\"," HOOK "}", "d_in must be a number"},
        {"{\"d_in\":-1," HOOK "}", "d_in is -1|whole number"},
        {"{\"d_in\":1e300," HOOK "}", "d_in is 1e+300|whole number"},
        {"{\"d_in\":0," HOOK "}", "d_in is 0|whole number from 1"},
        {"{\"d_in\":NaN," HOOK "}", "d_in must be a whole number from 1"},
        {"{\"d_in\":1e999," HOOK "}", "d_in must be a whole number from 1"},
        {"{\"d_in\":32,\"d_sae\":0," HOOK "}", "d_sae is 0|whole number from 1"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"topk\",\"k\":NaN}", "k must be a whole number"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"gated\",\"activation_fn\":\"topk\"}",
            "activation is topk|\"gated\" has its own"},
        {"{\"d_in\":32," HOOK ",\"model_from_pretrained_kwargs\":[]}",
            "model_from_pretrained_kwargs must be an object"},
        {"{\"d_in\":32," HOOK ",\"model_from_pretrained_kwargs\":{\"center_writing_weights\":1}}",
            "center_writing_weights must be true or false"},
        {"{\"d_in\":32.5," HOOK "}", "d_in is 32.5"},
        {"{\"d_in\":64," HOOK "}", "d_in = 64|blocks.1.hook_resid_post has 32|another model"},
        {"{\"d_in\":64,\"model_name\":\"gpt2\"," HOOK "}", "another model, gpt2"},
        {"{\"d_in\":32,\"d_sae\":5," HOOK "}", "\"W_enc\" has 4 latents, but there must be 5"},
        {"{\"d_in\":32,\"d_sae\":99999999999," HOOK "}", "d_sae is 1e+11"},
        {"{\"d_in\":32,\"hook_name\":7}", "hook_name must be a string"},
        {"{\"d_in\":32,\"hook_name\":\"blocks.1.hook_new\"}", "'blocks.1.hook_new' is neither"},
        {"{\"d_in\":32,\"hook_name\":\"blocks.2.hook_resid_post\"}", "layers 0 to 1"},
        {"{\"d_in\":32,\"hook_name\":\"blocks.1.attn.hook_pattern\"}", "no rows of a fixed width"},
        {"{\"d_in\":32," HOOK ",\"hook_head_index\":3}", "one head (hook_head_index)"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"temporal\"}",
            "architecture \"temporal\" is unknown"},
        {"{\"d_in\":32," HOOK ",\"activation_fn_str\":\"tanh-relu\"}",
            "activation \"tanh-relu\" is unknown"},
        {"{\"d_in\":32," HOOK ",\"normalize_activations\":\"covariance_whitening\"}",
            "normalize_activations is \"covariance_whitening\""},
        {"{\"d_in\":32," HOOK ",\"apply_b_dec_to_input\":1}",
            "apply_b_dec_to_input must be true or false"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"topk\"}", "k is missing; topk needs"},
        {"{\"d_in\":32," HOOK ",\"activation_fn\":\"topk\",\"activation_fn_kwargs\":{}}",
            "k is missing; topk needs"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"topk\",\"k\":5}", "k is 5|4 latents"},
        {"{\"d_in\":32," HOOK ",\"hook_head_index_out\":0}", "one head (hook_head_index)"},
        {"{\"d_in\":32," HOOK ",\"hook_name_out\":\"blocks.1.hook_mlp_out\"}",
            "hook_name_out is blocks.1.hook_mlp_out|\"standard\" writes where it reads"},
        {"{\"d_in\":32," HOOK ",\"reshape_activations\":\"hook_z\"}",
            "reshape_activations is \"hook_z\" at blocks.1.hook_resid_post"},
        {"{\"d_in\":32," HOOK ",\"reshape_activations\":\"flat\"}", "\"flat\""},
        {"{\"d_in\":32,\"hook_name\":\"blocks.1.attn.hook_z\","
         "\"model_from_pretrained_kwargs\":{\"fold_value_biases\":true}}",
            "fold_value_biases|lack b_V"},
        {"{\"d_in\":32," HOOK ",\"normalize_activations\":\"constant_norm_rescale\","
         "\"model_from_pretrained_kwargs\":{\"center_writing_weights\":true}}",
            "center_writing_weights"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"topk\",\"k\":0}", "k is 0"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"jumprelu\"}",
            "no tensor \"threshold\"|jumprelu"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"gated\"}", "no tensor \"b_gate\"|gated"},
        {"{\"d_in\":32," HOOK ",\"architecture\":\"transcoder\"}", "hook_name_out|point=IN+OUT"},
        {"{\"d_in\":32,\"metadata\":[]}", "metadata must be an object"},
        {"{\"d_in\":32," HOOK ",\"activation_fn_kwargs\":3}",
            "activation_fn_kwargs must be an object"},
        {"{\"d_in\":32,\"d_in\":32," HOOK "}", "duplicate"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_saelens(bad[i][0]);
        refused("d", bad[i][1]);
    }
    put_saelens("{\"d_in\":32," HOOK "}");
    must_read("d");
    put_saelens("{\"d_in\":32,\"lr\":NaN,\"l1_coefficient\":Infinity," HOOK "}");
    must_read("d");
    put_saelens("{\"hook_point\":\"blocks.{layer}.hook_resid_post\",\"hook_point_layer\":1}");
    must_read("d");
}

Test(dictionary_refusals, tensors) {
    static const struct {
        shape shapes[6];
        const char *words;
    } bad[] = {
        {{{"W_enc", "[32,4]", 128}, {0}}, "no tensor \"b_enc\"|standard"},
        {{{"W", "[32,4]", 128}, {0}}, "no tensor \"W_enc\""},
        {{{"W_enc", "[128]", 128}, {0}}, "\"W_enc\" must have an axis of 32 numbers"},
        {{{"W_enc", "[31,4]", 124}, {0}}, "\"W_enc\" must have an axis of 32 numbers"},
        {{{"W_enc", "[32,0]", 0}, {0}}, "\"W_enc\" has no elements"},
        {{{"W_enc", "[4,32]", 128}, {"b_enc", "[32]", 32}, {"W_dec", "[32,32]", 1024},
             {"b_dec", "[32]", 32}, {0}},
            "\"W_enc\" must have the shape [32, 32]"},
        {{{"W_enc", "[32,4]", 128}, {"b_enc", "[5]", 5}, {0}}, "\"b_enc\" must have 4 numbers"},
        {{{"W_enc", "[32,4]", 128}, {"b_enc", "[4,1]", 4}, {0}}, "\"b_enc\" must have 4 numbers"},
        {{{"W_enc", "[32,4]", 128}, {"b_enc", "[4]", 4}, {"W_dec", "[32,4]", 128}, {0}},
            "\"W_dec\" must have the shape [4, 32]"},
        {{{"W_enc", "[32,4]", 128}, {"b_enc", "[4]", 4}, {"W_dec", "[4,32]", 128},
             {"b_dec", "[4]", 4}, {0}},
            "\"b_dec\" must have 32 numbers"},
        {{{"W_enc", "[32,4]", 128}, {"b_enc", "[4]", 4}, {"scaling_factor", "[4]", 4}, {0}},
            "scaling_factor is not 1"},
        {{{"W_enc", "[32,4]", 128}, {"b_enc", "[4]", 4}, {"log_threshold", "[4]", 4}, {0}},
            "\"log_threshold\" has no meaning in this kind of dictionary (standard)"},
    };
    put_saelens("{\"d_in\":32," HOOK "}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_tensors("d/sae_weights.safetensors", bad[i].shapes);
        refused("d", bad[i].words);
    }
    put_safetensors("d/sae_weights.safetensors",
        "{\"W_enc\":{\"dtype\":\"I32\",\"shape\":[32,4],\"data_offsets\":[0,512]}}", 512);
    refused("d", "\"W_enc\" has I32|F32, F16, BF16 or F64");
    put_text("d/sae_weights.safetensors", "version https://git-lfs.github.com/spec/v1\noid x\n");
    refused("d", "sae_weights.safetensors");
}

/* Each tensor of a good folder in turn holds a NaN, then infinity; then the file is cut. */
static void damage(const char *source, const char *file) {
    char *cfg = NULL, *bytes = NULL;
    char path[600], name[100], kept[4];
    size_t n = 0, size = 0;
    static const float wrong[] = {NAN, INFINITY, 1e30f};
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/sae/%s/cfg.json", source);
    cr_assert_eq(psc_read_file(&cfg, &n, path, 1 << 20, &error), PSC_OK);
    snprintf(path, sizeof path, PSC_SOURCE_DIR "/tests/golden/sae/%s/%s", source, file);
    cr_assert_eq(psc_read_file(&bytes, &size, path, 1 << 20, &error), PSC_OK);
    psc_tensors *set = golden_open(path);
    remove_folder(at("layers.1.mlp"));
    make_folder("layers.1.mlp");
    put("layers.1.mlp/cfg.json", cfg, n);
    snprintf(name, sizeof name, "layers.1.mlp/%s", file);
    for (size_t t = 0; t < set->count; t++)
        for (int w = 0; w < 3; w++) {
            const psc_tensor *tensor = &set->items[t];
            const size_t place = (size_t)(tensor->data - set->files[0].mapping.data) + 4 * 7;
            char words[100];
            memcpy(kept, bytes + place, 4);
            memcpy(bytes + place, &wrong[w], 4);
            put(name, bytes, size);
            memcpy(bytes + place, kept, 4);
            snprintf(words, sizeof words,
                w < 2 ? "\"%s\" holds a NaN or an infinite number (element 7)"
                      : "\"%s\" holds a number beyond 1e18 (element 7)",
                tensor->name);
            refused("layers.1.mlp", words);
        }
    for (size_t cut = 0; cut < size; cut += cut < 700 ? 41 : 997) {
        put(name, bytes, cut);
        refused("layers.1.mlp", file);
    }
    put(name, bytes, size);
    must_read("layers.1.mlp");
    psc_tensors_close(&set);
    free(cfg);
    free(bytes);
}

Test(dictionary_refusals, damaged_tensors) {
    damage("gated", "sae_weights.safetensors");
    damage("jumprelu", "sae_weights.safetensors");
    damage("sparsify_skip/layers.1.mlp", "sae.safetensors");
}

Test(dictionary_refusals, cfg_and_folders_of_sparsify) {
    static const shape shapes[] = {{"encoder.weight", "[4,32]", 128}, {"encoder.bias", "[4]", 4},
        {"W_dec", "[4,32]", 128}, {"b_dec", "[32]", 32}, {0}};
    static const char *const names[][2] = {{"layers.1", ""}, {"layers.0.mlp", ""}, {"layers_1", ""},
        {"gpt_neox.layers.1.attention", ""}, {"embed_in", ""},
        {"layers.1.post_attention_layernorm", ""}, {"final_layer_norm", ""},
        {"layers.x", "says no module|point="}, {"layers.1.head", "says no module"},
        {"sae", "says no module"}, {"layers.9", "layers 0 to 1"},
        {"layers.1.mlp.act", "d_in = 32"}};
    static const char good[] = "{\"d_in\":32,\"num_latents\":4,\"k\":2}";
    static const char *const bad[][2] = {{"{\"d_in\":32,\"num_latents\":4,\"k\":5}", "k is 5"},
        {"{\"d_in\":32,\"num_latents\":4,\"k\":3,\"activation\":\"groupmax\"}", "3 groups"},
        {"{\"d_in\":32,\"num_latents\":4,\"k\":2,\"activation\":\"relu\"}", "activation \"relu\""},
        {"{\"d_in\":32,\"num_latents\":0,\"k\":2}", "4 latents, but there must be 1024"},
        {"{\"d_in\":32,\"num_latents\":4,\"k\":2,\"skip_connection\":true}",
            "no tensor \"W_skip\""},
        {"{\"d_in\":32,\"num_latents\":4,\"k\":2,\"signed\":0}", "signed must be true or false"},
        {"{\"d_in\":32,\"num_latents\":4}", "k is missing; topk needs"},
        {"{\"d_in\":32,\"num_latents\":4,\"k\":2,\"batch_topk\":true}", "batch_topk is true"},
        {"{\"d_in\":32,\"num_latents\":4,\"k\":2,\"transcode\":false,\"skip_connection\":true}",
            "has a skip_connection, but transcode is false"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[200];
        make_folder(names[i][0]);
        snprintf(path, sizeof path, "%s/cfg.json", names[i][0]);
        put_text(path, good);
        snprintf(path, sizeof path, "%s/sae.safetensors", names[i][0]);
        put_tensors(path, shapes);
        if (names[i][1][0])
            refused(names[i][0], names[i][1]);
        else
            must_read(names[i][0]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text("layers.1/cfg.json", bad[i][0]);
        refused("layers.1", bad[i][1]);
    }
    refused("", "holds dictionaries of several hook points|/embed_in");
    refused("nothing", "there is no");
    make_folder("empty");
    refused("empty", "has no dictionary|cfg.json");
}

Test(dictionary_refusals, files_of_a_transcoder) {
    static const shape shapes[] = {{"W_enc", "[4,32]", 128}, {"b_enc", "[4]", 4},
        {"W_dec", "[4,32]", 128}, {"b_dec", "[32]", 32}, {"threshold", "[1]", 1}, {0}};
    psc_coder *coder = NULL;
    put_tensors("layer_1.safetensors", shapes);
    put_tensors("other.safetensors", shapes);
    put_tensors("layer_7.safetensors", shapes);
    refused("other.safetensors", "its name says no layer|point=IN+OUT");
    refused("layer_7.safetensors", "layers 0 to 1");
    cr_assert_eq(open_at(at("layer_1.safetensors"), &coder), PSC_OK, "%s", error.message);
    cr_assert(coder->info.kind == PSC_DICTIONARY_JUMPRELU && coder->info.is_transcoder);
    cr_assert_str_eq(coder->info.in_name, "blocks.1.mlp.hook_in");
    cr_assert_str_eq(coder->info.out_name, "blocks.1.hook_mlp_out");
    psc_coder_close(&coder);
    put_text(
        "config.yaml", "model_kind: transcoder_set\nfeature_input_hook: \"hook_resid_pre\" # x\n");
    cr_assert_eq(open_at(at("layer_1.safetensors"), &coder), PSC_OK, "%s", error.message);
    cr_assert_str_eq(coder->info.in_name, "blocks.1.hook_resid_pre");
    cr_assert_str_eq(coder->info.out_name, "blocks.1.hook_mlp_out");
    psc_coder_close(&coder);
    put_text("config.yaml", "feature_input_hook: hook_foo\n");
    refused(
        "layer_1.safetensors", "config.yaml: feature_input_hook|'blocks.1.hook_foo' is neither");
}

/* --- memory ---------------------------------------------------------------------------------- */

static int ignore(const psc_latents *latents, void *payload) {
    (void)latents, (void)payload;
    return 0;
}

static psc_status open_and_encode(const char *path) {
    static float x[300 * 32], y[300 * 32];
    psc_coder *coder = NULL;
    int stopped = 0;
    const int64_t begin[301] = {0};
    const float one[300] = {0};
    const psc_latents none = {
        .struct_size = sizeof none, .n_rows = 300, .begin = begin, .gain = one, .shift = one};
    for (int i = 0; i < 300 * 32; i++) x[i] = (float)(i % 29) - 14.0f;
    psc_status status = open_at(path, &coder);
    if (!status) status = psc_coder_encode(coder, NULL, x, 32, 300, ignore, NULL, &stopped, &error);
    if (!status) status = psc_coder_decode(coder, NULL, &none, x, 32, y, &error);
    psc_coder_close(&coder);
    return status;
}

Test(dictionary_refusals, memory_that_runs_out) {
    static const char *const paths[] = {PSC_SOURCE_DIR "/tests/golden/sae/gated",
        PSC_SOURCE_DIR "/tests/golden/sae/topk_rescaled",
        PSC_SOURCE_DIR "/tests/golden/sae/sparsify_skip/layers.1.mlp"};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(open_and_encode(paths[i]), PSC_OK, "%s", error.message);
        memory_fail_at(0, false);
        cr_assert_eq(open_and_encode(paths[i]), PSC_OK);
        const long n = memory_back();
        cr_assert(!MEMORY_FAILS || n > 20, "%ld requests", n);
        for (long k = 1; k <= n; k++) {
            memory_fail_at(k, false);
            const psc_status status = open_and_encode(paths[i]);
            memory_back();
            cr_assert(status == PSC_ERROR_MEMORY || status == PSC_OK, "request %ld: %d %s", k,
                (int)status, error.message);
        }
    }
}
