/* Base64 (RFC 4648): three bytes are four characters of six bits. */
#include "page_base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_group(psc_base64 *b) {
    if (b->used + 4 > (int)sizeof b->buffer) {
        fwrite(b->buffer, 1, (size_t)b->used, b->out);
        b->used = 0;
    }
    for (int shift = 18; shift >= 0; shift -= 6)
        b->buffer[b->used++] = digits[b->bits >> shift & 63];
    b->bits = 0;
    b->n = 0;
}

void psc_base64_put(psc_base64 *b, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        b->bits = b->bits << 8 | (value >> 8 * i & 255);
        if (++b->n == 3) put_group(b);
    }
}

void psc_base64_end(psc_base64 *b) {
    const int missing = b->n > 0 ? 3 - b->n : 0;
    if (missing > 0) {
        b->bits <<= 8 * missing;
        put_group(b);
        for (int i = 1; i <= missing; i++) b->buffer[b->used - i] = '=';
    }
    fwrite(b->buffer, 1, (size_t)b->used, b->out);
    b->used = 0;
}
