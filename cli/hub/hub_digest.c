/* Hashes by libcrypto, which libcurl needs anyway for TLS. */
#include "hub_digest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hub_request.h"

enum { BLOCK = 1 << 14 };

psc_status hub_digest_open(hub_digest *out, const hub_file *file, psc_error *error) {
    char head[48];
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    *out = (hub_digest){state, false};
    if (!state || EVP_DigestInit_ex(state, file->is_large ? EVP_sha256() : EVP_sha1(), NULL) != 1) {
        hub_digest_close(out);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to check %s", file->name);
    }
    const int n = snprintf(head, sizeof head, "blob %lld", (long long)file->size);
    if (!file->is_large) hub_digest_add(out, head, (size_t)n + 1);
    return PSC_OK;
}

void hub_digest_add(hub_digest *digest, const void *data, size_t size) {
    if (EVP_DigestUpdate(digest->state, data, size) != 1) digest->failed = true;
}

bool hub_digest_matches(hub_digest *digest, const hub_file *file) {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned int n = 0;
    bool good = !digest->failed && EVP_DigestFinal_ex(digest->state, bytes, &n) == 1;
    for (unsigned int i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    hub_digest_close(digest);
    return good && strcmp(hex, file->hash) == 0;
}

void hub_digest_close(hub_digest *digest) {
    EVP_MD_CTX_free(digest->state);
    digest->state = NULL;
}

bool hub_digest_add_file(hub_digest *digest, int fd, int64_t bytes) {
    char block[BLOCK]; /* no memory is asked for: without it what has arrived would be lost */
    int64_t done = 0;
    while (done < bytes && !hub_interrupted) {
        const int64_t left = bytes - done;
        const ssize_t n = pread(fd, block, left < BLOCK ? (size_t)left : BLOCK, (off_t)done);
        if (n <= 0) break;
        hub_digest_add(digest, block, (size_t)n);
        done += n;
    }
    return done == bytes;
}
