/* Texts of the results, with bytes that are not UTF-8 replaced; and growing lists. */
#include "results.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>

void *psc_list_grow(void *list, int n, size_t item_size) {
    if (n != 0 && (n & (n - 1)) != 0) return list;
    if (n > 1 << 28) return NULL;
    size_t capacity = n == 0 ? 1 : 2 * (size_t)n;
    return capacity > SIZE_MAX / item_size ? NULL : realloc(list, capacity * item_size);
}

size_t psc_text_clean(char *out, const char *bytes, size_t n) {
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        const int length = psc_utf8_next(&c, bytes + i, n - i);
        const size_t put = length > 0 ? (size_t)length : 3; /* U+FFFD has three bytes */
        if (out) memcpy(out + used, length > 0 ? bytes + i : "\xef\xbf\xbd", put);
        used += put;
        i += length > 0 ? (size_t)length : 1;
    }
    return used;
}

size_t psc_text_clean_whole(char *out, const char *bytes, size_t n) {
    size_t used = 0, begin = 0;
    while (begin <= n) {
        const char *zero = memchr(bytes + begin, 0, n - begin);
        const size_t end = zero ? (size_t)(zero - bytes) : n;
        used += psc_text_clean(out ? out + used : NULL, bytes + begin, end - begin);
        // NOLINTNEXTLINE(bugprone-not-null-terminated-result): nothing ends the text
        if (zero && out) memcpy(out + used, "\xef\xbf\xbd", 3);
        if (zero) used += 3;
        begin = end + 1;
    }
    return used;
}

char *psc_text_cleaned(const char *bytes, size_t n) {
    char *clean = n < SIZE_MAX / 3 - 1 ? malloc(psc_text_clean(NULL, bytes, n) + 1) : NULL;
    if (clean) clean[psc_text_clean(clean, bytes, n)] = 0;
    return clean;
}
