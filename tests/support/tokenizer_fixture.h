/* A tokenizer.json to change: a vocabulary of the 256 bytes and three merged tokens, no added
 * tokens; and tokenizers opened from JSON or a folder. Private to test_tokenizer*.c; failures
 * are Criterion assertions.
 * Threads: none; Criterion runs each test in a separate process.
 * Ownership: open_json takes the tree; the test closes the tokenizer. */
#ifndef TOKENIZER_FIXTURE_H
#define TOKENIZER_FIXTURE_H

#include "tokenizer.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sets the member that path ("model.vocab") names, or deletes it if value is null. */
static inline void set_member(json_t *root, const char *path, json_t *value) {
    char copy[128], *part = copy, *dot;
    snprintf(copy, sizeof copy, "%s", path);
    for (; (dot = strchr(part, '.')); part = dot + 1) {
        *dot = 0;
        root = json_object_get(root, part);
    }
    if (value)
        cr_assert_eq(json_object_set_new(root, part, value), 0);
    else
        json_object_del(root, part);
}

/* The character of a byte in the byte alphabet, as UTF-8. */
static inline void coded(char out[4], int byte) {
    int c = byte;
    if (byte <= 0x20) c = 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0) c = 0x121 + byte - 0x7f;
    if (byte == 0xad) c = 0x143;
    if (c < 0x80) {
        snprintf(out, 4, "%c", c);
    } else {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        out[2] = 0;
    }
}

static inline json_t *base(void) {
    json_t *root = json_loads(
        "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],"
        "\"normalizer\":{\"type\":\"NFC\"},"
        "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":"
        "true},"
        "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
        "\"dropout\":null,\"unk_token\":null,\"vocab\":{},\"merges\":[\"a b\",[\"ab\",\"c\"],\"b "
        "c\"]}}",
        0, NULL);
    cr_assert_not_null(root);
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    for (int i = 0; i < 256; i++) {
        char key[4];
        coded(key, i);
        json_object_set_new(vocab, key, json_integer(i));
    }
    json_object_set_new(vocab, "ab", json_integer(256));
    json_object_set_new(vocab, "abc", json_integer(257));
    json_object_set_new(vocab, "bc", json_integer(258));
    return root;
}

static inline psc_status open_bytes(
    psc_tokenizer **out, const char *data, size_t bytes, psc_error *error) {
    char path[] = "/tmp/psc_tokenizer_XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, data, bytes), (ssize_t)bytes);
    close(fd);
    psc_status status = psc_tokenizer_open(out, path, error);
    unlink(path);
    return status;
}

static inline psc_status open_json(psc_tokenizer **out, json_t *root, psc_error *error) {
    char *data = json_dumps(root, 0);
    cr_assert_not_null(data);
    psc_status status = open_bytes(out, data, strlen(data), error);
    free(data);
    json_decref(root);
    return status;
}

/* --- a folder -------------------------------------------------------------------------------- */

static char tokenizer_folder[] = "/tmp/psc-tokenizer-XXXXXX";

static inline void write_beside(const char *name, const char *content) {
    char path[200];
    snprintf(path, sizeof path, "%s/%s", tokenizer_folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(content, file) >= 0 && fclose(file) == 0);
}

/* A new folder with the tree as tokenizer.json. */
static inline void make_tokenizer_folder(json_t *root) {
    char *data = json_dumps(root, 0);
    cr_assert(mkdtemp(tokenizer_folder) && data);
    write_beside("tokenizer.json", data);
    free(data);
    json_decref(root);
}

static inline void remove_tokenizer_folder(void) {
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", tokenizer_folder);
    cr_assert_eq(system(command), 0);
    memcpy(tokenizer_folder + strlen(tokenizer_folder) - 6, "XXXXXX", 6);
}

#endif
