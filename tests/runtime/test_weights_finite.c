/* Weights that are NaN or infinite: the model does not open, with or without a cache, and the
 * sentence names the first of them. */
#include "weight_files.h"
#include "weights_cache_fixture.h"

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/loader/plain/"

TestSuite(weights_finite, .init = fixture_open, .fini = fixture_close);

/* Copies the model into this test's folder and sets element `index` of a tensor to bits. */
static const char *write_model(const char *tensor, size_t index, uint32_t bits) {
    static char path[600];
    char file[700];
    psc_tensors *set;
    snprintf(path, sizeof path, "%s/model", folder);
    mkdir(path, 0777);
    snprintf(file, sizeof file, "%s/config.json", path);
    copy_file(file, GOLDEN "config.json");
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    copy_file(file, GOLDEN "model.safetensors");
    if (!tensor) return path;
    cr_assert_eq(psc_tensors_open_file(&set, file, NULL), PSC_OK);
    const psc_tensor *t = psc_tensors_find(set, tensor);
    cr_assert(t, "no tensor %s", tensor);
    const size_t size = strcmp(t->dtype, "F32") == 0 ? 4 : 2;
    const size_t at = (size_t)(t->data - set->files[0].mapping.data) + index * size;
    psc_tensors_close(&set);
    int fd = open(file, O_WRONLY);
    cr_assert_eq(pwrite(fd, &bits, size, (off_t)at), (ssize_t)size);
    close(fd);
    return path;
}

static void expect_refusal(const char *path, const char *words) {
    for (int kept_too = 0; kept_too < 2; kept_too++) {
        psc_model *model = NULL;
        psc_error error = {0};
        psc_model_options options = PSC_MODEL_OPTIONS_INIT;
        options.cache_dir = kept_too ? kept() : NULL;
        options.cache_least = 1;
        expect_error(
            psc_model_open_with(&model, path, &options, &error), PSC_ERROR_INPUT, &error, words);
        cr_assert_null(model);
    }
    cr_assert_eq(count_files(".packed"), 0);
    cr_assert_eq(count_files(".source"), 0);
    cr_assert_eq(count_files(".partial"), 0);
}

/* mixed: vectors F32, matrices F32, F16 and BF16 in turn. */
Test(weights_finite, the_first_of_them_is_named) {
    static const struct {
        const char *tensor, *words;
        size_t index;
        uint32_t bits;
    } cases[] = {
        {"gpt_neox.final_layer_norm.bias", "\"gpt_neox.final_layer_norm.bias\" is NaN at [15]", 15,
            0x7fc00000},
        {"gpt_neox.final_layer_norm.weight", "final_layer_norm.weight\" is infinite at [0]", 0,
            0xff800000},
        {"gpt_neox.layers.1.attention.query_key_value.bias", "is NaN at [17]", 17, 0xff800001},
    };
    static const char *const matrices[] = {"gpt_neox.embed_in.weight",
        "gpt_neox.layers.0.attention.query_key_value.weight",
        "gpt_neox.layers.1.attention.dense.weight", "gpt_neox.layers.0.mlp.dense_h_to_4h.weight",
        "gpt_neox.layers.1.attention.query_key_value.weight", "embed_out.weight"};
    static const struct {
        const char *dtype;
        uint32_t infinite, not_a_number, largest;
    } bits[] = {{"F32", 0x7f800000, 0x7f800001, 0x7f7fffff}, {"F16", 0x7c00, 0xfc01, 0xfbff},
        {"BF16", 0xff80, 0x7fc0, 0x7f7f}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refusal(write_model(cases[i].tensor, cases[i].index, cases[i].bits), cases[i].words);
    unsigned seen = 0;
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        char words[200];
        psc_tensors *set;
        cr_assert_eq(psc_tensors_open_file(&set, GOLDEN "model.safetensors", NULL), PSC_OK);
        const psc_tensor *t = psc_tensors_find(set, matrices[i]);
        int kind = strcmp(t->dtype, "F32") == 0 ? 0 : strcmp(t->dtype, "F16") == 0 ? 1 : 2;
        const size_t last = t->shape[0] * t->shape[1] - 1;
        snprintf(words, sizeof words, "%s\" is infinite at [%zu, 15]|download", matrices[i],
            t->shape[0] - 1);
        psc_tensors_close(&set);
        seen |= 1u << kind;
        expect_refusal(write_model(matrices[i], last, bits[kind].infinite), words);
        snprintf(words, sizeof words, "%s\" is NaN at [1, 2]", matrices[i]);
        expect_refusal(write_model(matrices[i], 18, bits[kind].not_a_number), words);
        psc_model *model = NULL; /* the largest finite number is one */
        cr_assert_eq(
            psc_model_open(&model, write_model(matrices[i], 18, bits[kind].largest), NULL), PSC_OK);
        psc_model_close(&model);
    }
    cr_assert_eq(seen, 7, "the model lacks a type");
}

/* A file of packed weights belongs to a hash, and only finite weights have such a file. */
Test(weights_finite, weights_that_spoil_later_are_not_mapped) {
    const char *path = write_model(NULL, 0, 0);
    expect_opening(path, "packed, cached", "finite");
    expect_opening(path, "mapped", "finite");
    psc_model *model = NULL;
    psc_error error = {0};
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = kept();
    options.cache_least = 1;
    write_model("gpt_neox.final_layer_norm.bias", 3, 0x7f800000);
    expect_error(psc_model_open_with(&model, path, &options, &error), PSC_ERROR_INPUT, &error,
        "is infinite at [3]");
    cr_assert_eq(count_files(".packed"), 1);
}
