/* Models from files of torch.save: the same identity as from safetensors, and what a folder of them
 * may lack. */
#include "loader_fixture.h"
#include "model_weights.h"
#include "psc.h"

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/"

TestSuite(loader_torch, .init = fixture_open, .fini = fixture_close);

static void copy_file(const char *to, const char *from) {
    char *data;
    size_t size;
    cr_assert_eq(psc_read_file(&data, &size, from, 1 << 24, NULL), PSC_OK, "%s", from);
    put(to, data, size);
    free(data);
}

static psc_status open_folder(char hex[33], size_t *ignored, const char *path, psc_error *error) {
    psc_config config;
    psc_checkpoint *cp = NULL;
    psc_status status = psc_config_read(&config, path, error);
    if (!status) status = psc_checkpoint_open(&cp, path, &config, error);
    if (!status) status = psc_checkpoint_hash(hex, cp, error);
    if (!status && ignored) *ignored = cp->ignored;
    psc_checkpoint_close(&cp);
    return status;
}

Test(loader_torch, the_same_weights_are_the_same_model) {
    char safetensors[33], plain[33], sharded[33];
    size_t ignored;
    psc_error error = {0};
    cr_assert_eq(open_folder(safetensors, NULL, GOLDEN "loader/plain", &error), PSC_OK);
    cr_assert_eq(
        open_folder(plain, &ignored, GOLDEN "torch/plain", &error), PSC_OK, "%s", error.message);
    cr_assert_str_eq(plain, safetensors);
    cr_assert_eq(ignored, 7); /* three buffers per layer, and one more tensor */
    cr_assert_eq(open_folder(sharded, &ignored, GOLDEN "torch/sharded", &error), PSC_OK, "%s",
        error.message);
    cr_assert_str_eq(sharded, safetensors);
    cr_assert_eq(ignored, 7);
}

/* embed_out is a view of embed_in's storage. */
Test(loader_torch, tied_weights_share_a_storage) {
    psc_model *model;
    psc_error error = {0};
    cr_assert_eq(psc_model_open(&model, GOLDEN "torch/tied", &error), PSC_OK, "%s", error.message);
    cr_assert(psc_model_get_info(model)->tied);
    psc_model_close(&model);
}

Test(loader_torch, safetensors_come_first) {
    char hex[33];
    psc_error error = {0};
    copy_file("config.json", GOLDEN "loader/plain/config.json");
    copy_file("model.safetensors", GOLDEN "loader/plain/model.safetensors");
    put_text("pytorch_model.bin", "broken");
    cr_assert_eq(open_folder(hex, NULL, folder, &error), PSC_OK, "%s", error.message);
    unlink(at("model.safetensors"));
    expect_error(open_folder(hex, NULL, folder, &error), PSC_ERROR_INPUT, &error,
        "pytorch_model.bin|torch.save");
}

/* The two shards and their index, in this test's folder. */
static void copy_shards(void) {
    copy_file("config.json", GOLDEN "torch/sharded/config.json");
    copy_file("pytorch_model.bin.index.json", GOLDEN "torch/sharded/pytorch_model.bin.index.json");
    copy_file("pytorch_model-00001-of-00002.bin",
        GOLDEN "torch/sharded/pytorch_model-00001-of-00002.bin");
    copy_file("pytorch_model-00002-of-00002.bin",
        GOLDEN "torch/sharded/pytorch_model-00002-of-00002.bin");
}

Test(loader_torch, a_shard_that_is_missing_or_no_file_of_torch_is_named) {
    char hex[33];
    psc_error error = {0};
    copy_shards();
    put_text("pytorch_model-00002-of-00002.bin", "hello");
    expect_error(open_folder(hex, NULL, folder, &error), PSC_ERROR_INPUT, &error,
        "pytorch_model-00002-of-00002.bin|not a file of torch.save");
    unlink(at("pytorch_model-00002-of-00002.bin"));
    expect_error(open_folder(hex, NULL, folder, &error), PSC_ERROR_IO, &error,
        "index.json lists pytorch_model-00002-of-00002.bin|not in its folder|download");
    unlink(at("pytorch_model.bin.index.json"));
    expect_error(open_folder(hex, NULL, folder, &error), PSC_ERROR_IO, &error,
        "pytorch_model-00001-of-00002.bin but no index");
}

/* As for transformers: the tensors of all shards count, listed or not. */
Test(loader_torch, a_needed_tensor_may_be_unlisted) {
    char hex[33], good[33];
    psc_error error = {0};
    copy_shards();
    cr_assert_eq(open_folder(good, NULL, folder, &error), PSC_OK);
    json_t *index = json_load_file(at("pytorch_model.bin.index.json"), 0, NULL);
    json_t *map = json_object_get(index, "weight_map");
    cr_assert_eq(json_object_del(map, "embed_in.weight"), 0);
    cr_assert_eq(json_object_del(map, "lm_head.weight"), 0);
    cr_assert_eq(json_dump_file(index, at("pytorch_model.bin.index.json"), 0), 0);
    json_decref(index);
    cr_assert_eq(open_folder(hex, NULL, folder, &error), PSC_OK, "%s", error.message);
    cr_assert_str_eq(hex, good);
}

Test(loader_torch, a_needed_tensor_that_is_not_contiguous_is_named) {
    char hex[33];
    psc_error error = {0};
    copy_file("config.json", GOLDEN "torch/strided/config.json");
    copy_file("pytorch_model.bin", GOLDEN "torch/strided/pytorch_model.bin");
    expect_error(open_folder(hex, NULL, folder, &error), PSC_ERROR_SUPPORT, &error,
        "pytorch_model.bin|\"gpt_neox.layers.1.mlp.dense_h_to_4h.weight\" is not contiguous|contiguous()");
}
