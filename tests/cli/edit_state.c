/* Gives a state file another header, client part or format, with a checksum that fits:
 *
 *   edit_state FILE header|client <NEW      edit_state FILE format N */
#include "files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FIXED = 40, HASH = 16, MOST = 1 << 24 }; /* session_state.c */

static void copy(unsigned char **to, const char *from, size_t n) {
    if (n > 0) memcpy(*to, from, n);
    *to += n;
}

/* The file with part 0 (header) or 1 (client) replaced; its bytes. */
static size_t rebuild(unsigned char *out, const char *file, int part, const char *new, size_t n) {
    uint64_t sizes[3];
    memcpy(sizes, file + 16, sizeof sizes);
    const char *from = file + FIXED;
    unsigned char *to = out;
    copy(&to, file, FIXED);
    for (int i = 0; i < 3; i++) {
        copy(&to, i == part ? new : from, i == part ? n : (size_t)sizes[i]);
        from += sizes[i];
    }
    if (part >= 0) sizes[part] = n;
    memcpy(out + 16, sizes, sizeof sizes);
    return (size_t)(to - out);
}

int main(int argc, char **argv) {
    static char new[MOST];
    static unsigned char out[2 * MOST];
    const int part = argc < 3                         ? -1
                     : strcmp(argv[2], "header") == 0 ? 0
                     : strcmp(argv[2], "client") == 0 ? 1
                                                      : -1;
    char *file = NULL;
    size_t size = 0;
    psc_error error;
    if (argc < 3 || (part < 0 && argc < 4)) return 2;
    const size_t n = part < 0 ? 0 : fread(new, 1, sizeof new, stdin);
    if (psc_read_file(&file, &size, argv[1], MOST, &error) || size < FIXED + HASH) return 1;
    size = rebuild(out, file, part, new, n);
    if (part < 0) out[8] = (unsigned char)atoi(argv[3]);
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(out, size));
    memcpy(out + size, &hash, HASH);
    free(file);
    return psc_write_file(argv[1], out, size + HASH, &error) ? 1 : 0;
}
