/* A file of torch.save. An input that begins with P is a data.pkl, around which the harness builds
 * the archive m/data.pkl, m/data/0 .. m/data/4 of 24, 8, 4, 2 and 0 bytes, so that the pickle
 * machine sees it; any other is the file. */
#include "fuzz.h"
#include "torch_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct text {
    unsigned char *bytes;
    size_t size;
} text;

static void put(text *t, const void *bytes, size_t size) {
    if (size > 0) memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
}

static void put_number(text *t, uint64_t n, size_t size) {
    unsigned char bytes[8];
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(n >> 8 * i);
    put(t, bytes, size);
}

static void put_entry(text *out, text *directory, const char *name, const void *data, size_t size) {
    const size_t place = out->size, n = strlen(name);
    put(out, "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18);
    put_number(out, size, 4);
    put_number(out, size, 4);
    put_number(out, n, 4);
    put(out, name, n);
    put(out, data, size);
    put(directory, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    put_number(directory, size, 4);
    put_number(directory, size, 4);
    put_number(directory, n, 8);
    put_number(directory, 0, 6);
    put_number(directory, place, 4);
    put(directory, name, n);
}

/* The archive in memory of exactly its size, for the caller to free. */
static text build(fuzz_bytes pickle) {
    static const size_t sizes[] = {24, 8, 4, 2, 0};
    static const unsigned char zeros[24];
    text out = {malloc(pickle.size + 1024), 0}, directory = {malloc(1024), 0};
    char name[24];
    if (!out.bytes || !directory.bytes) abort();
    put_entry(&out, &directory, "m/data.pkl", pickle.data, pickle.size);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "m/data/%d", i);
        put_entry(&out, &directory, name, zeros, sizes[i]);
    }
    const size_t place = out.size;
    put(&out, directory.bytes, directory.size);
    put(&out, "PK\5\6\0\0\0\0\6\0\6\0", 12);
    put_number(&out, directory.size, 4);
    put_number(&out, place, 4);
    put_number(&out, 0, 2);
    free(directory.bytes);
    unsigned char *exact = realloc(out.bytes, out.size);
    if (!exact) abort();
    return (text){exact, out.size};
}

static void read_file(const unsigned char *bytes, size_t size) {
    static psc_tensor_file file = {.name = "fuzzed"};
    psc_tensors set = {.files = &file, .n_files = 1};
    psc_error error = {0};
    file.mapping = (psc_mapping){.data = bytes, .size = size};
    const psc_status status = psc_torch_add_mapped(&set, 0, "fuzzed", &error);
    fuzz_check(status, &error);
    for (size_t i = 0; i < set.count; i++) {
        const psc_tensor *t = &set.items[i];
        fuzz_expect(t->data || t->size == 0 || !(t->flaw || status), "a flawed tensor has data");
        if (t->data) fuzz_read(t->data, t->size);
        free(t->name);
    }
    free(set.items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const int whole = size == 0 || data[0] != 'P' || (size > 1 && data[1] == 'K');
    text archive = {0};
    if (!whole) archive = build((fuzz_bytes){data + 1, size - 1});
    read_file(whole ? data : archive.bytes, whole ? size : archive.size);
    free(archive.bytes);
    return 0;
}
