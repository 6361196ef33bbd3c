/* Files and tiny models for the loader's tests, made at run time.
 * Private to tests/.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: folder names are in static storage; fixture_close removes the files. */
#ifndef LOADER_FIXTURE_H
#define LOADER_FIXTURE_H

#include "files.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[512]; /* this test's own */

static void fixture_open(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/psc-test-XXXXXX", base ? base : "/tmp");
    cr_assert(mkdtemp(folder), "cannot make %s", folder);
}

/* Removes a folder, its files and one level of folders in it. */
static void remove_folder(const char *path) {
    DIR *dir = opendir(path);
    char inner[1024];
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0) remove_folder(inner);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

static void fixture_close(void) {
    remove_folder(folder);
}

/* folder/name, in one of four rotating buffers. */
static inline const char *at(const char *name) {
    static char paths[4][1024];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
    return paths[turn];
}

static inline void put(const char *name, const void *data, size_t size) {
    FILE *file = fopen(at(name), "wb");
    cr_assert(file);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

static inline void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

/* A safetensors file with this header and this many bytes of data. */
static inline void put_safetensors(const char *name, const char *header, size_t data_size) {
    size_t n = strlen(header);
    unsigned char *bytes = calloc(1, 8 + n + data_size);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(bytes + 8, header, n);
    put(name, bytes, 8 + n + data_size);
    free(bytes);
}

/* The call failed with this status, and its sentence contains each of the words, which '|'
 * separates. */
static inline void expect_error(
    psc_status status, psc_status expected, const psc_error *error, const char *words) {
    char copy[256];
    cr_assert_eq(status, expected, "status %d, not %d, for: %s (%s)", status, expected, words,
        status ? error->message : "no error");
    cr_assert_eq(error->status, expected);
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(copy, "|"); word; word = strtok(NULL, "|"))
        cr_assert(strstr(error->message, word), "\"%s\" is not in: %s", word, error->message);
}

#endif
