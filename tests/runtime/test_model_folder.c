/* What is not a model folder: one sentence each, of what it is and what to do. */
#include "config.h"
#include "loader_fixture.h"
#include "weight_files.h"

#define GOOD PSC_SOURCE_DIR "/tests/golden/loader/plain/"
#define POINTER                                                                                    \
    "version https://git-lfs.github.com/spec/v1\noid "                                             \
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nsize 166029852\n"

TestSuite(model_folder, .init = fixture_open, .fini = fixture_close);

static void make_folder(const char *name) {
    cr_assert_eq(mkdir(at(name), 0777), 0);
}

static void copy_config(const char *to) {
    char *data;
    size_t size;
    cr_assert_eq(psc_read_file(&data, &size, GOOD "config.json", 1 << 20, NULL), PSC_OK);
    put(to, data, size);
    free(data);
}

static void expect_config(const char *path, psc_status expected, const char *words) {
    psc_config config;
    psc_error error = {0};
    expect_error(psc_config_read(&config, path, &error), expected, &error, words);
}

static void expect_weights(psc_status expected, const char *words) {
    psc_config config;
    psc_tensors *tensors;
    psc_error error = {0};
    cr_assert_eq(psc_config_read(&config, folder, &error), PSC_OK, "%s", error.message);
    expect_error(psc_tensors_open(&tensors, folder, &error), expected, &error, words);
    cr_assert_null(tensors);
}

Test(model_folder, files_in_place_of_a_folder) {
    static const struct {
        const char *name, *bytes, *words;
        size_t size;
        psc_status status;
    } cases[] = {
        {"m.gguf", "GGUF\3\0\0\0", "m.gguf is a GGUF file|Hugging Face folder", 8,
            PSC_ERROR_SUPPORT},
        {"a", "GGUF\3\0\0\0", "is a GGUF file", 8, PSC_ERROR_SUPPORT}, /* by its bytes */
        {"model.safetensors", "\2\0\0\0\0\0\0\0{}", "is a file of weights; pass the folder", 10,
            PSC_ERROR_INPUT},
        {"pytorch_model.bin", "PK\3\4", "is a file of weights; pass the folder", 4,
            PSC_ERROR_INPUT},
        {"x.pth", "PK\3\4", "is a file of weights", 4, PSC_ERROR_INPUT},
        {"old.bin", "\x80\2\x8a\nl\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "from before 1.6", 15,
            PSC_ERROR_SUPPORT},
        {"model.h5", "\x89HDF\r\n\x1a\n", "HDF5", 8, PSC_ERROR_SUPPORT},
        {"lfs", POINTER, "git-lfs pointer|git lfs pull", sizeof POINTER - 1, PSC_ERROR_INPUT},
        {"config.json", "{}", "is a file, not a model folder; pass the folder", 2, PSC_ERROR_INPUT},
        {"nothing", "", "is a file, not a model folder", 0, PSC_ERROR_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(cases[i].name, cases[i].bytes, cases[i].size);
        expect_config(at(cases[i].name), cases[i].status, cases[i].words);
    }
}

Test(model_folder, folders_without_a_config) {
    expect_config(folder, PSC_ERROR_INPUT, "is empty; pass a folder with config.json");
    put_text("notes.txt", "x");
    expect_config(folder, PSC_ERROR_INPUT, "is not a model folder: it has no config.json");
    make_folder("hub");
    expect_config(folder, PSC_ERROR_INPUT, "is not a model folder: it has no config.json");
    make_folder("hub/models--EleutherAI--pythia-14m");
    expect_config(folder, PSC_ERROR_INPUT,
        "HF_HOME), not a model; pass a model's name, for example EleutherAI/pythia-14m");
    remove_folder(at("hub"));
    put_text("model.safetensors", "x");
    expect_config(folder, PSC_ERROR_INPUT,
        "has model.safetensors but no config.json; download the model's config.json");
    make_folder("step2000");
    copy_config("step2000/config.json");
    make_folder("step1000");
    copy_config("step1000/config.json");
    expect_config(folder, PSC_ERROR_INPUT, "its folder step1000 has; pass |/step1000");
    make_folder("models--EleutherAI--pythia-70m");
    expect_config(folder, PSC_ERROR_INPUT, "Hugging Face cache|for example EleutherAI/pythia-70m");
    put_text("m.Q4_0.gguf", "GGUF");
    expect_config(folder, PSC_ERROR_SUPPORT, "has only m.Q4_0.gguf, a GGUF file");
    make_folder("global_step143000");
    expect_config(folder, PSC_ERROR_SUPPORT, "DeepSpeed (global_step143000)|zero_to_fp32.py");
    put_text("adapter_config.json", "{}");
    expect_config(folder, PSC_ERROR_SUPPORT, "PEFT adapter|merge_and_unload()");
}

Test(model_folder, folders_without_weights) {
    copy_config("config.json");
    expect_weights(PSC_ERROR_IO, "has no weights: neither model.safetensors nor pytorch_model.bin");
    put_text("rust_model.ot", "x");
    put_text("tf_model.h5", "x");
    expect_weights(PSC_ERROR_SUPPORT, "has tf_model.h5, but only|save_pretrained()");
    put_text("flax_model.msgpack", "x");
    expect_weights(PSC_ERROR_SUPPORT, "has flax_model.msgpack, but only");
    put_text("decoder.onnx", "x");
    expect_weights(PSC_ERROR_SUPPORT, "has decoder.onnx, but only");
    put_text("a.ckpt", "x");
    expect_weights(PSC_ERROR_SUPPORT, "has a.ckpt, but only");
    put_text("model-00002-of-00002.safetensors", "x");
    expect_weights(PSC_ERROR_IO, "has model-00002-of-00002.safetensors but no index");
    make_folder("global_step5");
    expect_weights(PSC_ERROR_SUPPORT, "DeepSpeed (global_step5)");
    put_text("adapter_config.json", "{}");
    expect_weights(PSC_ERROR_SUPPORT, "PEFT adapter");
}

/* git clone without git-lfs leaves small texts in place of files. */
Test(model_folder, pointers_of_git_lfs) {
    put_text("config.json", POINTER);
    expect_config(folder, PSC_ERROR_INPUT, "config.json is a git-lfs pointer|git lfs pull");
    copy_config("config.json");
    put_text("pytorch_model.bin.index.json", POINTER);
    expect_weights(PSC_ERROR_INPUT, "pytorch_model.bin.index.json is a git-lfs pointer");
    put_text("pytorch_model.bin", POINTER);
    expect_weights(PSC_ERROR_INPUT, "pytorch_model.bin is a git-lfs pointer");
    put_text("model.safetensors", POINTER);
    expect_weights(PSC_ERROR_INPUT, "model.safetensors is a git-lfs pointer");
}

/* A snapshot of a cache whose blobs are gone. */
Test(model_folder, links_without_a_target) {
    cr_assert_eq(symlink("../blobs/abc", at("config.json")), 0);
    expect_config(
        folder, PSC_ERROR_IO, "config.json is a link to ../blobs/abc, which does not exist");
    unlink(at("config.json"));
    copy_config("config.json");
    cr_assert_eq(symlink("../blobs/def", at("model.safetensors")), 0);
    expect_weights(PSC_ERROR_IO, "model.safetensors is a link to ../blobs/def|download");
    unlink(at("model.safetensors"));
    put_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"shard\"}}");
    cr_assert_eq(symlink("gone", at("shard")), 0);
    expect_weights(PSC_ERROR_IO, "shard is a link to gone");
}
