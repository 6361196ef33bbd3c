/* config.json: every style of keys, and every refusal with its sentence. */
#include "config.h"
#include "loader_fixture.h"

#include <math.h>

TestSuite(config, .init = fixture_open, .fini = fixture_close);

static const char base[] =
    "{\"model_type\": \"gpt_neox\", \"num_hidden_layers\": 2, \"num_attention_heads\": 4,"
    " \"hidden_size\": 64, \"intermediate_size\": 256, \"vocab_size\": 300}";

/* The base config with the keys of overlay on top; "key": "-" removes the key. */
static psc_status read_over(psc_config *out, const char *overlay, psc_error *error) {
    json_t *root = json_loads(base, 0, NULL), *over = json_loads(overlay, 0, NULL), *value;
    const char *key;
    cr_assert(root && over, "bad JSON in the test: %s", overlay);
    json_object_foreach(over, key, value) {
        bool removed = json_is_string(value) && !strcmp(json_string_value(value), "-");
        if (removed)
            json_object_del(root, key);
        else
            json_object_set(root, key, value);
    }
    char *text = json_dumps(root, 0);
    put_text("config.json", text);
    free(text);
    json_decref(root);
    json_decref(over);
    return psc_config_read(out, folder, error);
}

static psc_config read_good(const char *overlay) {
    psc_config c;
    psc_error error = {0};
    cr_assert_eq(read_over(&c, overlay, &error), PSC_OK, "%s: %s", overlay, error.message);
    return c;
}

Test(config, defaults_are_those_of_transformers) {
    psc_config c = read_good("{}");
    cr_assert(c.n_layers == 2 && c.n_heads == 4 && c.d_model == 64 && c.d_head == 16);
    cr_assert(c.d_mlp == 256 && c.d_vocab == 300 && c.n_ctx == 2048);
    cr_assert(c.layer_norm_eps == 1e-5f && c.rotary_base == 10000.0 && c.rotary_pct == 0.25);
    cr_assert(c.rotary_dims == 4 && c.parallel_residual && !c.tied && c.attention_bias);
    cr_assert(c.bos_id == 0 && c.n_eos == 1 && c.eos_ids[0] == 2);
    cr_assert_str_eq(c.activation, "gelu");
    cr_assert_str_eq(c.dtype, "");
}

Test(config, keys_of_transformers_4_and_5) {
    static const char *const same[] = {
        "{\"rotary_pct\": 0.5, \"rotary_emb_base\": 500, \"torch_dtype\": \"float16\"}",
        "{\"rope_theta\": 500.0, \"partial_rotary_factor\": 0.5, \"dtype\": \"float16\"}",
        "{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 500,"
        " \"partial_rotary_factor\": 0.5}, \"dtype\": \"float16\"}",
        "{\"rope_parameters\": {\"type\": \"default\", \"rope_theta\": 500},"
        " \"rotary_pct\": 0.5, \"dtype\": \"float16\", \"torch_dtype\": \"float16\"}",
        "{\"rotary_pct\": 0.5, \"partial_rotary_factor\": 0.5, \"rotary_emb_base\": 500,"
        " \"rope_theta\": 500, \"rope_scaling\": null, \"dtype\": \"float16\"}",
        "{\"rope_scaling\": {\"rope_type\": \"default\", \"rope_theta\": 500},"
        " \"rotary_pct\": 0.5, \"dtype\": \"float16\"}",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        psc_config c = read_good(same[i]);
        cr_assert(c.rotary_dims == 8 && c.rotary_base == 500.0, "%s", same[i]);
        cr_assert_str_eq(c.dtype, "float16");
    }
}

Test(config, rotary_dims_truncate_as_in_python) {
    cr_assert_eq(read_good("{\"rotary_pct\": 0.3}").rotary_dims, 4); /* int(4.8) */
    cr_assert_eq(read_good("{\"rotary_pct\": 0}").rotary_dims, 0);
    cr_assert_eq(read_good("{\"rotary_pct\": 1}").rotary_dims, 16);
}

Test(config, flags_and_ids) {
    psc_config c = read_good("{\"use_parallel_residual\": false, \"tie_word_embeddings\": true,"
                             " \"attention_bias\": false, \"bos_token_id\": null,"
                             " \"eos_token_id\": [5, 7], \"layer_norm_eps\": 0.01}");
    cr_assert(!c.parallel_residual && c.tied && !c.attention_bias && c.bos_id == -1);
    cr_assert(c.n_eos == 2 && c.eos_ids[0] == 5 && c.eos_ids[1] == 7);
    cr_assert(c.layer_norm_eps == 0.01f);
    cr_assert_eq(read_good("{\"eos_token_id\": null}").n_eos, 0);
    cr_assert_eq(read_good("{\"eos_token_id\": -1}").n_eos, 0);
    read_good("{\"hidden_act\": \"gelu_python\", \"hidden_dropout\": 0.5, \"unheard\": [1]}");
}

/* The config keeps them as people wrote them; transformers opens it, and
 * none of them is a token. */
Test(config, ids_outside_the_vocabulary) {
    psc_config c = read_good("{\"bos_token_id\": 300, \"eos_token_id\": [7, 50256, 99999999999]}");
    cr_assert(c.bos_id == -1 && c.n_eos == 1 && c.eos_ids[0] == 7);
    cr_assert(c.n_ends == 1 && c.end_ids[0] == 7);
}

static psc_config with_generation(const char *overlay, const char *generation) {
    put_text("generation_config.json", generation);
    psc_config c = read_good(overlay);
    put_text("generation_config.json", "{");
    psc_error error = {0};
    expect_error(read_over(&c, overlay, &error), PSC_ERROR_INPUT, &error,
        "generation_config.json|not valid JSON");
    put_text("generation_config.json", "{\"eos_token_id\": \"x\"}");
    expect_error(read_over(&c, overlay, &error), PSC_ERROR_INPUT, &error,
        "generation_config.json|eos_token_id");
    put_text("generation_config.json", generation);
    return read_good(overlay);
}

/* As transformers 5.23 has them in model.generation_config.eos_token_id. */
Test(config, ends_of_generation) {
    psc_config c = read_good("{\"eos_token_id\": [5, 7]}");
    cr_assert(c.n_ends == 2 && c.end_ids[0] == 5 && c.end_ids[1] == 7);
    cr_assert_eq(read_good("{}").n_ends, 0);
    cr_assert_eq(read_good("{\"eos_token_id\": null}").n_ends, 0);
    c = with_generation("{\"eos_token_id\": 7}", "{\"eos_token_id\": [3, 4]}");
    cr_assert(c.n_ends == 2 && c.end_ids[0] == 3 && c.end_ids[1] == 4);
    cr_assert(c.n_eos == 1 && c.eos_ids[0] == 7);
    c = with_generation("{\"eos_token_id\": 7}", "{\"_from_model_config\": true}");
    cr_assert_eq(c.n_ends, 0);
}

Test(config, names_of_gelu) {
    static const char *const tanhs[] = {
        "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"};
    char overlay[64];
    for (size_t i = 0; i < sizeof tanhs / sizeof *tanhs; i++) {
        snprintf(overlay, sizeof overlay, "{\"hidden_act\": \"%s\"}", tanhs[i]);
        psc_config c = read_good(overlay);
        cr_assert(c.gelu == PSC_GELU_TANH, "%s", tanhs[i]);
        cr_assert_str_eq(c.activation, tanhs[i]);
    }
    cr_assert_eq(read_good("{\"hidden_act\": \"gelu_python\"}").gelu, PSC_GELU_ERF);
}

Test(config, kinds_of_rotary_scaling) {
    psc_rope r = read_good("{}").rope;
    cr_assert(r.kind == PSC_ROPE_DEFAULT && r.factor == 1.0 && r.scale == 1.0);
    r = read_good("{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}").rope;
    cr_assert(r.kind == PSC_ROPE_LINEAR && r.factor == 4.0 && r.scale == 1.0);
    cr_assert_str_eq(r.type, "linear");
    r = read_good("{\"rope_parameters\": {\"rope_type\": \"dynamic\", \"factor\": 2.5}}").rope;
    cr_assert(r.kind == PSC_ROPE_DYNAMIC && r.factor == 2.5);
    r = read_good("{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4,"
                  " \"original_max_position_embeddings\": 512}}")
            .rope;
    cr_assert(r.kind == PSC_ROPE_YARN && r.context == 512.0 && r.truncate);
    cr_assert(r.beta_fast == 32.0 && r.beta_slow == 1.0);
    cr_assert_float_eq(r.scale, 0.1 * log(4.0) + 1.0, 1e-15);
    /* The key outside the object wins; the factor is then the ratio of the contexts. */
    r = read_good(
        "{\"original_max_position_embeddings\": 256, \"rope_scaling\": {\"type\": \"yarn\","
        " \"original_max_position_embeddings\": 512, \"factor\": null, \"mscale\": 0.7,"
        " \"mscale_all_dim\": 2, \"beta_fast\": 16, \"truncate\": false}}")
            .rope;
    cr_assert(r.context == 256.0 && r.factor == 8.0 && r.beta_fast == 16.0 && !r.truncate);
    cr_assert_float_eq(r.scale, (0.07 * log(8.0) + 1.0) / (0.2 * log(8.0) + 1.0), 1e-15);
    r = read_good(
        "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, \"attention_factor\": 1.25}}")
            .rope;
    cr_assert(r.scale == 1.25 && r.context == 2048.0);
}

static const struct {
    const char *overlay, *words;
    psc_status status;
} refusals[] = {
    {"{\"model_type\": \"llama\"}", "model_type|llama|gpt_neox", PSC_ERROR_SUPPORT},
    {"{\"model_type\": \"-\"}", "no model_type", PSC_ERROR_INPUT},
    {"{\"model_type\": 7}", "model_type|string", PSC_ERROR_INPUT},
    {"{\"hidden_act\": \"relu\"}", "hidden_act|relu|gelu_fast", PSC_ERROR_SUPPORT},
    {"{\"hidden_act\": \"quick_gelu\"}", "hidden_act|quick_gelu", PSC_ERROR_SUPPORT},
    {"{\"quantization_config\": {}}", "quantization_config", PSC_ERROR_SUPPORT},
    {"{\"num_hidden_layers\": \"-\"}", "has no num_hidden_layers", PSC_ERROR_INPUT},
    {"{\"num_hidden_layers\": 0}", "num_hidden_layers is 0", PSC_ERROR_INPUT},
    {"{\"num_hidden_layers\": 2.0}", "num_hidden_layers|integer", PSC_ERROR_INPUT},
    {"{\"num_hidden_layers\": 1000000}", "num_hidden_layers is 1000000", PSC_ERROR_INPUT},
    {"{\"num_attention_heads\": -4}", "num_attention_heads is -4", PSC_ERROR_INPUT},
    {"{\"num_attention_heads\": 5}", "hidden_size 64|multiple|5", PSC_ERROR_INPUT},
    {"{\"hidden_size\": 9223372036854775807}", "hidden_size is 92", PSC_ERROR_INPUT},
    {"{\"hidden_size\": \"64\"}", "hidden_size|integer", PSC_ERROR_INPUT},
    {"{\"intermediate_size\": true}", "intermediate_size|integer", PSC_ERROR_INPUT},
    {"{\"vocab_size\": 0}", "vocab_size is 0", PSC_ERROR_INPUT},
    {"{\"vocab_size\": 4294967297}", "vocab_size", PSC_ERROR_INPUT},
    {"{\"max_position_embeddings\": -1}", "max_position_embeddings", PSC_ERROR_INPUT},
    {"{\"max_position_embeddings\": 1e9}", "max_position_embeddings", PSC_ERROR_INPUT},
    {"{\"head_dim\": 8}", "head_dim is 8", PSC_ERROR_INPUT},
    {"{\"layer_norm_eps\": 0}", "layer_norm_eps", PSC_ERROR_INPUT},
    {"{\"layer_norm_eps\": -1e-5}", "layer_norm_eps", PSC_ERROR_INPUT},
    {"{\"layer_norm_eps\": 1e-60}", "layer_norm_eps", PSC_ERROR_INPUT},
    {"{\"layer_norm_eps\": 1e9}", "layer_norm_eps", PSC_ERROR_INPUT},
    {"{\"layer_norm_eps\": \"1e-5\"}", "layer_norm_eps|number", PSC_ERROR_INPUT},
    {"{\"rotary_pct\": 1.5}", "rotary_pct is 1.5", PSC_ERROR_INPUT},
    {"{\"rotary_pct\": -0.25}", "rotary_pct is -0.25", PSC_ERROR_INPUT},
    {"{\"rotary_pct\": 0.2}", "rotary_pct|3 of them|even", PSC_ERROR_SUPPORT},
    {"{\"rotary_emb_base\": 0}", "rotary_emb_base is 0", PSC_ERROR_INPUT},
    {"{\"rotary_emb_base\": 1e300}", "rotary_emb_base", PSC_ERROR_INPUT},
    {"{\"rotary_pct\": 0.25, \"partial_rotary_factor\": 0.5}",
        "rotary_pct is 0.25|partial_rotary_factor is 0.5", PSC_ERROR_INPUT},
    {"{\"rotary_emb_base\": 10000, \"rope_theta\": 500}", "rotary_emb_base|rope_theta",
        PSC_ERROR_INPUT},
    {"{\"rope_theta\": 7, \"rope_parameters\": {\"rope_theta\": 8}}",
        "rope_parameters.rope_theta is 8|rope_theta is 7", PSC_ERROR_INPUT},
    {"{\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 8}}",
        "rope_parameters|llama3|yarn", PSC_ERROR_SUPPORT},
    {"{\"rope_scaling\": {\"type\": \"longrope\"}}", "rope_scaling|longrope", PSC_ERROR_SUPPORT},
    {"{\"rope_scaling\": {\"type\": \"linear\"}}", "linear|needs a factor", PSC_ERROR_INPUT},
    {"{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": null}}", "dynamic|needs a factor",
        PSC_ERROR_INPUT},
    {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}}", "rope_scaling.factor is 0",
        PSC_ERROR_INPUT},
    {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": \"4\"}}", "rope_scaling.factor|number",
        PSC_ERROR_INPUT},
    {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}, \"rope_parameters\": {\"factor\": 2}}",
        "rope_parameters.factor is 2|rope_scaling.factor is 4", PSC_ERROR_INPUT},
    {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}, \"rope_parameters\":"
     " {\"rope_type\": \"yarn\", \"factor\": 4}}",
        "yarn|linear|equal", PSC_ERROR_INPUT},
    {"{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, \"beta_fast\": -1}}", "beta_fast",
        PSC_ERROR_INPUT},
    {"{\"rope_scaling\": {\"type\": \"yarn\", \"original_max_position_embeddings\": 0}}",
        "original_max_position_embeddings is 0", PSC_ERROR_INPUT},
    {"{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4}, \"rope_theta\": 1}", "base|yarn",
        PSC_ERROR_INPUT},
    {"{\"rope_parameters\": {\"full_attention\": {}}}", "full_attention", PSC_ERROR_SUPPORT},
    {"{\"rope_parameters\": 3}", "rope_parameters|object", PSC_ERROR_INPUT},
    {"{\"use_parallel_residual\": 1}", "use_parallel_residual|true or false", PSC_ERROR_INPUT},
    {"{\"tie_word_embeddings\": \"no\"}", "tie_word_embeddings", PSC_ERROR_INPUT},
    {"{\"bos_token_id\": -2}", "bos_token_id is -2", PSC_ERROR_INPUT},
    {"{\"eos_token_id\": [1, -9]}", "eos_token_id is -9", PSC_ERROR_INPUT},
    {"{\"eos_token_id\": [1, \"x\"]}", "eos_token_id", PSC_ERROR_INPUT},
    {"{\"eos_token_id\": [1,1,1,1,1,1,1,1,1]}", "eos_token_id lists", PSC_ERROR_INPUT},
    {"{\"dtype\": \"float16\", \"torch_dtype\": \"float32\"}", "dtype|float16|float32",
        PSC_ERROR_INPUT},
};

Test(config, refusals) {
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        psc_config c;
        psc_error error = {0};
        psc_status status = read_over(&c, refusals[i].overlay, &error);
        expect_error(status, refusals[i].status, &error, refusals[i].words);
        cr_assert(strstr(error.message, "config.json"), "no file in: %s", error.message);
        cr_assert_eq(
            read_over(&c, refusals[i].overlay, NULL), refusals[i].status); /* error: nullable */
    }
}

Test(config, refusals_of_the_text) {
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "config.json|JSON"},
        {"[1, 2]", "not a JSON object"},
        {"{\"model_type\": \"gpt_neox\", \"vocab_size\": 1", "JSON|line 1"},
        {"{\"model_type\": \"gpt_neox\", \"vocab_size\": 1, \"vocab_size\": 2}", "duplicate"},
        {"{\"layer_norm_eps\": NaN}", "JSON"},
        {"{\"layer_norm_eps\": 1e999}", "JSON"},
        {"{\"hidden_size\": 99999999999999999999}", "JSON"},
        {"{\"model_type\": \"\xff\xfe\"}", "JSON"},
        {"{} {}", "JSON"},
    };
    psc_config c;
    psc_error error;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text("config.json", cases[i].text);
        expect_error(psc_config_read(&c, folder, &error), PSC_ERROR_INPUT, &error, cases[i].words);
    }
    size_t deep = 200000;
    char *text = malloc(deep);
    memset(text, '[', deep);
    put("config.json", text, deep);
    expect_error(psc_config_read(&c, folder, &error), PSC_ERROR_INPUT, &error, "JSON");
    free(text);
}

Test(config, refusals_of_the_file) {
    psc_config c;
    psc_error error;
    expect_error(psc_config_read(&c, folder, &error), PSC_ERROR_INPUT, &error, "is empty");
    cr_assert_eq(mkdir(at("config.json"), 0777), 0);
    expect_error(psc_config_read(&c, folder, &error), PSC_ERROR_INPUT, &error, "directory");
    rmdir(at("config.json"));
    FILE *file = fopen(at("config.json"), "wb");
    cr_assert(file && fseek(file, 3 << 20, SEEK_SET) == 0 && fputc(' ', file) == ' ');
    fclose(file);
    expect_error(psc_config_read(&c, folder, &error), PSC_ERROR_INPUT, &error, "the limit is");
}
