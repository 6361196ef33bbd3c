/* Base64 onto a stream, from numbers in little-endian order.
 * Private to report/page/. Includes nothing of ours.
 * Threads: one at a time.
 * Ownership: a writer borrows its stream. */
#ifndef PAGE_BASE64_H
#define PAGE_BASE64_H

#include <stdint.h>
#include <stdio.h>

typedef struct psc_base64 {
    FILE *out;
    uint32_t bits; /* of the bytes that wait for a third */
    int n;         /* such bytes */
    int used;
    char buffer[4096];
} psc_base64;

/* The lowest `bytes` bytes (1 to 4) of value. */
void psc_base64_put(psc_base64 *b, uint32_t value, int bytes);
/* Writes what waits. The writer can then begin again. */
void psc_base64_end(psc_base64 *b);

#endif
