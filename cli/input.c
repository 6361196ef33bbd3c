/* Regular files only: opening a pipe would wait for a writer. */
#include "input.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

size_t cli_input_mark(const char *text, size_t bytes) {
    return bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

psc_status cli_input_open(FILE **out, const char *path, psc_error *error) {
    struct stat info;
    *out = NULL;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not a regular file", path);
    *out = fopen(path, "rb");
    char first[3];
    if (*out && cli_input_mark(first, fread(first, 1, sizeof first, *out)) == 0) rewind(*out);
    if (*out) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
}

bool cli_input_same(const char *a, const char *b) {
    struct stat left, right;
    if (stat(a, &left) != 0 || stat(b, &right) != 0) return false;
    if (!S_ISREG(left.st_mode) || !S_ISREG(right.st_mode) || left.st_size != right.st_size)
        return false;
    FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
    bool same = x && y;
    while (same) {
        char some[4096], others[4096];
        const size_t n = fread(some, 1, sizeof some, x), m = fread(others, 1, sizeof others, y);
        same = n == m && memcmp(some, others, n) == 0 && !ferror(x) && !ferror(y);
        if (n == 0) break;
    }
    if (x) fclose(x);
    if (y) fclose(y);
    return same;
}
