/* Opening models with a folder of packed weights, and the files in that folder.
 * Private to test_weights_*.c; failures are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: paths are in static storage; fixture_close removes the folder and its files. */
#ifndef WEIGHTS_CACHE_FIXTURE_H
#define WEIGHTS_CACHE_FIXTURE_H

#include "golden.h"
#include "loader_fixture.h"
#include "model.h"
#include "weights_cache_file.h"

#include <fcntl.h>
#include <time.h>

#define PROMPT_TOKENS 24

/* The folder of packed weights of this test. */
static inline const char *kept(void) {
    static char path[600];
    snprintf(path, sizeof path, "%s/kept", folder);
    return path;
}

static inline psc_model *open_limited(const char *model_folder, const char *dir, uint64_t limit) {
    psc_error error = {0};
    psc_model *model = NULL;
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = dir;
    options.cache_limit = limit;
    options.cache_least = 1;
    cr_assert_eq(
        psc_model_open_with(&model, model_folder, &options, &error), PSC_OK, "%s", error.message);
    return model;
}

static inline psc_model *open_kept(const char *model_folder) {
    return open_limited(model_folder, kept(), 0);
}

/* Opens and closes a model; its description of its weights begins with words. */
static inline void expect_opening(const char *model_folder, const char *words, const char *when) {
    psc_model *model = open_kept(model_folder);
    const char *text = psc_model_weights_text(model);
    cr_assert_eq(
        strncmp(text, words, strlen(words)), 0, "%s: \"%s\", not \"%s\"", when, text, words);
    psc_model_close(&model);
}

static inline psc_cache_entry *entries(int32_t *n) {
    psc_error error = {0};
    psc_cache_entry *list;
    cr_assert_eq(psc_cache_list(&list, n, kept(), &error), PSC_OK, "%s", error.message);
    return list;
}

/* The path of the only file of packed weights. */
static inline const char *only_file(void) {
    static char path[800];
    int32_t n;
    psc_cache_entry *list = entries(&n);
    cr_assert_eq(n, 1, "%d files of packed weights, not 1", n);
    snprintf(path, sizeof path, "%s/%s", kept(), list[0].name);
    psc_free(list);
    return path;
}

/* Counts files in the folder by the end of their names. */
static inline int count_files(const char *suffix) {
    int n = 0;
    DIR *dir = opendir(kept());
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name), m = strlen(suffix);
        n += length > m && strcmp(entry->d_name + length - m, suffix) == 0;
    }
    if (dir) closedir(dir);
    return n;
}

static inline void copy_file(const char *to, const char *from) {
    char *data;
    size_t size;
    psc_error error = {0};
    cr_assert_eq(psc_read_file(&data, &size, from, 1 << 28, &error), PSC_OK, "%s", error.message);
    FILE *file = fopen(to, "wb");
    cr_assert(file);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
    free(data);
}

/* Sets a file's time to seconds ago. */
static inline void age(const char *path, long seconds) {
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= seconds;
    times[1] = times[0];
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Waits until files written before can be remembered: no program can set back the time of
 * an inode's last change. */
static inline void settle(void) {
    nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 100000000}, NULL);
}

/* Changes the last byte of a file and keeps its size and the time of its last change. */
static inline void change_in_place(const char *path) {
    struct stat before;
    unsigned char byte;
    cr_assert_eq(stat(path, &before), 0);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pread(fd, &byte, 1, before.st_size - 1), 1);
    byte ^= 0x01;
    cr_assert_eq(pwrite(fd, &byte, 1, before.st_size - 1), 1);
    close(fd);
    struct timespec times[2] = {before.st_atim, before.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* A copy of a golden one-file model as folder/name, dated an hour ago. */
static inline const char *copy_model(const char *name, const char *variant) {
    static char path[700];
    char to[800];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(mkdir(path, 0777), 0);
    snprintf(to, sizeof to, "%s/config.json", path);
    copy_file(to, golden_path(variant, "config.json"));
    snprintf(to, sizeof to, "%s/model.safetensors", path);
    copy_file(to, golden_path(variant, "model.safetensors"));
    age(to, 3600);
    return path;
}

/* All tensors of a run. */
static inline void record(recording *out, psc_model *model) {
    psc_token tokens[PROMPT_TOKENS];
    const psc_model_info *info = psc_model_get_info(model);
    psc_session *session = must_session(model, NULL, 1, 0);
    for (int i = 0; i < PROMPT_TOKENS; i++)
        tokens[i] = (psc_token){.id = (i * 37 + 11) % info->d_vocab};
    recording_open(out, info, 1, PROMPT_TOKENS);
    recording_attach(out, session);
    must_run_one(session, tokens, PROMPT_TOKENS);
    psc_session_close(&session);
}

#endif
