/* Cached packed weights: equal to fresh ones to the bit, found again, remembered, shared, limited.
 * Damage: test_weights_cache_damage.c. */
#include "model_weights.h"
#include "weights_cache_fixture.h"

#include <sys/wait.h>

TestSuite(weights_cache, .init = fixture_open, .fini = fixture_close);

static void compare(const char *variant) {
    const char *path = golden_path(variant, NULL);
    psc_model *models[3] = {must_model(path), open_kept(path), open_kept(path)};
    recording runs[3];
    cr_assert_str_eq(psc_model_weights_text(models[0]), "packed, not cached");
    cr_assert_eq(strncmp(psc_model_weights_text(models[1]), "packed, cached in ", 18), 0);
    cr_assert_eq(strncmp(psc_model_weights_text(models[2]), "mapped from ", 12), 0);
    for (int i = 0; i < 3; i++) record(&runs[i], models[i]);
    for (int i = 1; i < 3; i++) {
        size_t mean = models[0]->config.d_model * sizeof(float);
        recording_assert_same(&runs[0], 0, &runs[i], 0, PROMPT_TOKENS, variant);
        cr_assert_eq(memcmp(models[0]->unembed_mean, models[i]->unembed_mean, mean), 0);
        cr_assert_eq(memcmp(models[0]->weights.data,
                         models[i]->weights.data + PSC_CACHE_HEADER_BYTES, models[0]->weights.size),
            0, "%s: the images differ", variant);
        cr_assert_str_eq(models[0]->hash, models[i]->hash);
    }
    for (int i = 0; i < 3; i++) {
        recording_close(&runs[i]);
        psc_model_close(&models[i]);
    }
}

Test(weights_cache, gives_the_bits_of_fresh_packing) {
    for (int i = 0; golden_variants[i]; i++) compare(golden_variants[i]);
    cr_assert_eq(count_files(".partial"), 0);
}

/* The embedded model's image has several slices and chunks. */
Test(weights_cache, gives_the_same_image_in_slices) {
    const char *path = golden_embedded();
    if (!path) return;
    psc_model *fresh = must_model(path), *made = open_kept(path);
    cr_assert(fresh->weights.size > (size_t)8 << 20, "the model is too small for this test");
    cr_assert_eq(memcmp(fresh->weights.data, made->weights.data + PSC_CACHE_HEADER_BYTES,
                     fresh->weights.size),
        0);
    psc_model_close(&fresh);
    psc_model_close(&made);
    expect_opening(path, "mapped", "the second time");
}

Test(weights_cache, keeps_nothing_unless_asked) {
    psc_error error = {0};
    psc_model *model = NULL;
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    const char *path = golden_path("parallel_f32", NULL);
    cr_assert_eq(psc_model_open_with(&model, path, &options, &error), PSC_OK);
    cr_assert_str_eq(psc_model_weights_text(model), "packed, not cached");
    psc_model_close(&model);
    options.cache_dir = kept();
    cr_assert_eq(psc_model_open_with(&model, path, &options, &error), PSC_OK);
    cr_assert_str_eq(psc_model_weights_text(model), "packed, too small to cache");
    psc_model_close(&model);
    cr_assert(!psc_path_exists(kept()));
}

Test(weights_cache, makes_the_folder_and_its_parents) {
    psc_model *model = open_limited(golden_path("parallel_f32", NULL), at("some/deep/folder"), 0);
    cr_assert_eq(strncmp(psc_model_weights_text(model), "packed, cached", 14), 0, "%s",
        psc_model_weights_text(model));
    psc_model_close(&model);
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'", at("some"));
    cr_assert_eq(system(command), 0);
}

/* The record stores the hash of the files. Without it, and while the files are too recent to be
 * remembered, the hash is computed again and the cache file is still found. */
Test(weights_cache, remembers_files_that_have_settled) {
    char weights[800];
    const char *model = copy_model("model", "parallel_f32");
    snprintf(weights, sizeof weights, "%s/model.safetensors", model);
    age(weights, 0);
    expect_opening(model, "packed, cached", "the first time");
    cr_assert_eq(count_files(".source"), 0, "a file that was just written is remembered");
    expect_opening(model, "mapped", "fresh files");
    cr_assert_eq(count_files(".source"), 0);
    age(weights, 10);
    expect_opening(model, "mapped", "files whose time was set back");
    cr_assert_eq(count_files(".source"), 0, "a file that was just changed is remembered");
    settle();
    expect_opening(model, "mapped", "settled files");
    cr_assert_eq(count_files(".source"), 1);
    expect_opening(model, "mapped", "remembered");
}

/* Bytes changed in place, with size and time as before. */
Test(weights_cache, notices_a_change_that_keeps_size_and_time) {
    char weights[800], remembered[33];
    struct stat before, after;
    const char *model = copy_model("model", "parallel_f32");
    snprintf(weights, sizeof weights, "%s/model.safetensors", model);
    settle();
    psc_model *first = open_kept(model);
    memcpy(remembered, first->hash, 33);
    psc_model_close(&first);
    cr_assert_eq(count_files(".source"), 1);
    cr_assert_eq(stat(weights, &before), 0);
    change_in_place(weights);
    cr_assert_eq(stat(weights, &after), 0);
    cr_assert(after.st_size == before.st_size && after.st_ino == before.st_ino &&
              after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
              after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
    psc_model *changed = open_kept(model), *fresh = must_model(model);
    cr_assert_str_neq(changed->hash, remembered);
    cr_assert_str_eq(changed->hash, fresh->hash);
    psc_model_close(&changed);
    psc_model_close(&fresh);
}

Test(weights_cache, notices_changed_files) {
    char weights[800], other[33];
    const char *model = copy_model("model", "parallel_f32");
    snprintf(weights, sizeof weights, "%s/model.safetensors", model);
    psc_model *first = open_kept(model);
    memcpy(other, first->hash, 33);
    psc_model_close(&first);
    struct stat info;
    cr_assert_eq(stat(weights, &info), 0);
    int fd = open(weights, O_WRONLY);
    cr_assert_eq(pwrite(fd, "\x01", 1, info.st_size - 1), 1);
    close(fd);
    psc_model *changed = open_kept(model), *fresh = must_model(model);
    cr_assert_str_eq(changed->hash, fresh->hash);
    cr_assert_str_neq(changed->hash, other);
    cr_assert_eq(strncmp(psc_model_weights_text(changed), "packed, cached", 14), 0);
    cr_assert_eq(memcmp(fresh->weights.data, changed->weights.data + PSC_CACHE_HEADER_BYTES,
                     fresh->weights.size),
        0);
    psc_model_close(&changed);
    psc_model_close(&fresh);
}

/* Another file in place of the remembered one, with equal size and time. */
Test(weights_cache, notices_a_replaced_file) {
    char weights[800], remembered[33];
    struct stat before, after;
    const char *model = copy_model("model", "parallel_f32");
    snprintf(weights, sizeof weights, "%s/model.safetensors", model);
    settle();
    psc_model *first = open_kept(model);
    memcpy(remembered, first->hash, 33);
    psc_model_close(&first);
    cr_assert_eq(count_files(".source"), 1);
    cr_assert_eq(stat(weights, &before), 0);
    copy_file(at("other"), weights);
    int fd = open(at("other"), O_WRONLY);
    cr_assert_eq(pwrite(fd, "\x01", 1, before.st_size - 1), 1);
    close(fd);
    struct timespec times[2] = {before.st_atim, before.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, at("other"), times, 0), 0);
    cr_assert_eq(rename(at("other"), weights), 0);
    cr_assert_eq(stat(weights, &after), 0);
    cr_assert(after.st_size == before.st_size && after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
    psc_model *second = open_kept(model);
    cr_assert_str_neq(second->hash, remembered);
    psc_model_close(&second);
}

#ifdef __linux__
/* Mappings of this process whose line ends with this and contains the word. */
static int count_mappings(const char *word, const char *end) {
    int n = 0;
    char line[4096];
    FILE *file = fopen("/proc/self/maps", "r");
    if (!file) cr_skip_test("no /proc");
    while (fgets(line, sizeof line, file)) {
        const size_t length = strcspn(line, "\n"), m = strlen(end);
        line[length] = 0;
        n += strstr(line, word) && length > m && strcmp(line + length - m, end) == 0;
    }
    fclose(file);
    return n;
}

/* No second copy of the weights remains: the model's files are unmapped, and the mapped cache is
 * read-only. */
Test(weights_cache, lets_the_models_files_go) {
    const char *path = golden_path("parallel_f32", NULL);
    psc_checkpoint *checkpoint;
    psc_model *models[3] = {must_model(path), open_kept(path), NULL};
    cr_assert_eq(psc_checkpoint_open(&checkpoint, path, &models[0]->config, NULL), PSC_OK);
    cr_assert_gt(count_mappings("", ".safetensors"), 0, "the count does not count");
    psc_checkpoint_close(&checkpoint);
    models[2] = open_kept(path);
    cr_assert_eq(count_mappings("", ".safetensors"), 0);
    cr_assert_geq(
        count_mappings(" r--p ", PSC_CACHE_SUFFIX) + count_mappings(" r--s ", PSC_CACHE_SUFFIX), 1);
    cr_assert_eq(count_mappings(" rw", PSC_CACHE_SUFFIX), 0);
    for (int i = 0; i < 3; i++) psc_model_close(&models[i]);
}
#endif

/* The same weights with another config are another model. */
Test(weights_cache, notices_a_changed_config) {
    char path[800], *text;
    size_t size;
    const char *model = copy_model("model", "parallel_f32");
    expect_opening(model, "packed, cached", "the first time");
    snprintf(path, sizeof path, "%s/config.json", model);
    cr_assert_eq(psc_read_file(&text, &size, path, 1 << 20, NULL), PSC_OK);
    char *value = strstr(text, "\"use_parallel_residual\": true");
    cr_assert(value);
    memcpy(value, "\"use_parallel_residual\":false", 29);
    cr_assert_eq(psc_write_file(path, text, size, NULL), PSC_OK);
    free(text);
    expect_opening(model, "packed, cached", "another config");
    cr_assert_eq(count_files(PSC_CACHE_SUFFIX), 2);
}

Test(weights_cache, removes_what_was_not_used_for_longest) {
    const char *const variants[] = {"parallel_f32", "sequential_f32", "tied_f32"};
    char paths[2][800], name[PSC_CACHE_NAME_BYTES];
    int32_t n;
    uint64_t bytes = 0;
    for (int i = 0; i < 2; i++) {
        psc_model *model = open_kept(golden_path(variants[i], NULL));
        bytes += model->weights.size;
        psc_cache_file_name(name, model->hash);
        snprintf(paths[i], sizeof paths[i], "%s/%s", kept(), name);
        psc_model_close(&model);
    }
    age(paths[0], 200);
    age(paths[1], 100);
    expect_opening(golden_path(variants[0], NULL), "mapped", "a use"); /* now 1 is the oldest */
    psc_model *third = open_limited(golden_path(variants[2], NULL), kept(), bytes);
    cr_assert_eq(strncmp(psc_model_weights_text(third), "packed, cached", 14), 0);
    psc_model_close(&third);
    cr_assert(psc_path_exists(paths[0]), "the file in use was removed");
    cr_assert(!psc_path_exists(paths[1]), "the oldest file was not removed");
    psc_free(entries(&n));
    cr_assert_eq(n, 2);
    third = open_limited(golden_path(variants[1], NULL), kept(), 4096);
    cr_assert(strstr(psc_model_weights_text(third), "not cached: ") &&
              strstr(psc_model_weights_text(third), "limit"));
    psc_model_close(&third);
    psc_free(entries(&n));
    cr_assert_eq(n, 2, "a model beyond the limit removed others");
}

/* Open models keep their weights when the cache is cleared. */
Test(weights_cache, clears_only_its_own_files) {
    psc_error error = {0};
    recording before, after;
    psc_model *model = open_kept(golden_path("parallel_f32", NULL));
    copy_file(at("kept/mine.packed"), golden_path("parallel_f32", "config.json"));
    record(&before, model);
    cr_assert_eq(psc_cache_clear(kept(), "mine.packed", &error), PSC_ERROR_INPUT);
    cr_assert_eq(psc_cache_clear(kept(), "../x", &error), PSC_ERROR_INPUT);
    cr_assert_eq(psc_cache_clear(kept(), NULL, &error), PSC_OK, "%s", error.message);
    cr_assert(psc_path_exists(at("kept/mine.packed")));
    cr_assert_eq(count_files(PSC_CACHE_SUFFIX), 1);
    cr_assert_eq(count_files(".source"), 0);
    record(&after, model);
    recording_assert_same(&before, 0, &after, 0, PROMPT_TOKENS, "a cleared folder");
    recording_close(&before);
    recording_close(&after);
    psc_model_close(&model);
    cr_assert_eq(psc_cache_clear(at("nowhere"), NULL, &error), PSC_OK);
}

/* The hash of the weights that a child process found, as its exit code. */
static int open_in_child(const char *path, const char *hash) {
    psc_model *model = NULL;
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = kept();
    options.cache_least = 1;
    if (psc_model_open_with(&model, path, &options, NULL) != PSC_OK) return 1;
    int bad = strcmp(model->hash, hash) != 0 ||
              strstr(psc_model_weights_text(model), "not cached") != NULL;
    psc_model_close(&model);
    return bad;
}

Test(weights_cache, is_made_by_several_processes_at_once) {
    enum { CHILDREN = 6 };
    const char *path = golden_path("sequential_f32", NULL);
    psc_model *fresh = must_model(path);
    for (int round = 0; round < 3; round++) {
        pid_t children[CHILDREN];
        for (int i = 0; i < CHILDREN; i++)
            if ((children[i] = fork()) == 0) _exit(open_in_child(path, fresh->hash));
        for (int i = 0; i < CHILDREN; i++) {
            int code = -1;
            cr_assert_eq(waitpid(children[i], &code, 0), children[i]);
            cr_assert_eq(code, 0, "a process failed");
        }
        cr_assert_eq(count_files(PSC_CACHE_SUFFIX), 1);
        cr_assert_eq(count_files(".partial"), 0);
        expect_opening(path, "mapped", "after the race");
        cr_assert_eq(psc_cache_clear(kept(), NULL, NULL), PSC_OK);
    }
    psc_model_close(&fresh);
}
