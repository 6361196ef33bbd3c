/* A file of packed weights: the tiny model's own, changed by the input, with the header's checksum
 * made right, so that what follows it is reached.
 *
 *   byte 0         bit 0: the image's hash is made right, too; bit 1: the file ends early
 *   then patches   two bytes of place, one of length n, n bytes */
#include "fuzz.h"
#include "weights_cache.h"
#include "weights_cache_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define CHUNK ((size_t)4 << 20)

static char name[512];
static unsigned char *own, *changed;
static size_t n_own;

static psc_status open_kept(psc_model **model, psc_error *error) {
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = fuzz_path("kept");
    options.cache_least = 1;
    return psc_model_open_with(model, fuzz_model_folder(), &options, error);
}

static void make_own(void) {
    psc_model *model = NULL;
    psc_error error = {0};
    if (open_kept(&model, &error) != PSC_OK) fuzz_expect(0, error.message);
    psc_model_close(&model);
    DIR *folder = opendir(fuzz_path("kept"));
    for (struct dirent *e; folder && (e = readdir(folder));)
        if (strstr(e->d_name, PSC_CACHE_SUFFIX)) snprintf(name, sizeof name, "kept/%s", e->d_name);
    if (folder) closedir(folder);
    FILE *file = fopen(fuzz_path(name), "rb");
    own = malloc(1 << 20);
    changed = malloc(1 << 20);
    fuzz_expect(name[0] && file && own && changed, "no packed weights");
    n_own = fread(own, 1, 1 << 20, file);
    fclose(file);
    fuzz_expect(n_own < 1 << 20, "the packed weights are too large");
}

static void sign(unsigned char *file, size_t size, int with_body) {
    psc_cache_header *header = (void *)file;
    XXH128_canonical_t digest;
    if (size < PSC_CACHE_HEADER_BYTES) return;
    if (with_body) { /* one chunk */
        XXH128_canonicalFromHash(
            &digest, XXH3_128bits(file + PSC_CACHE_HEADER_BYTES, size - PSC_CACHE_HEADER_BYTES));
        XXH128_canonicalFromHash(&digest, XXH3_128bits(&digest, sizeof digest));
        memcpy(header->body, &digest, sizeof header->body);
    }
    header->mark = XXH3_64bits(header, offsetof(psc_cache_header, mark));
}

static void run(psc_model *model) {
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    const psc_token tokens[3] = {{.id = 0}, {.id = 1}, {.id = 2}};
    const psc_input input = {0, 3, tokens};
    psc_error error = {0};
    options.threads = 1;
    options.capacity = 4;
    fuzz_check(psc_session_open(&session, model, &options, &error), &error);
    if (session) fuzz_check(psc_session_run(session, &input, 1, NULL, &error), &error);
    psc_session_close(&session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    psc_cache_entry *entries = NULL;
    psc_model *model = NULL;
    psc_error error = {0};
    int32_t n = 0;
    (void)fuzz_folder();
    if (!own) make_own();
    size_t bytes = n_own;
    memcpy(changed, own, n_own);
    const unsigned how = fuzz_byte(&rest);
    if (how & 2) bytes = n_own * fuzz_byte(&rest) / 256;
    while (rest.size > 0) {
        size_t at = fuzz_byte(&rest) << 8;
        at |= fuzz_byte(&rest);
        for (unsigned left = fuzz_byte(&rest); left > 0 && rest.size > 0; left--, at++)
            changed[at % n_own] = (unsigned char)fuzz_byte(&rest);
    }
    sign(changed, bytes, (int)(how & 1));
    unlink(fuzz_path(name));
    chmod(fuzz_put(name, (fuzz_bytes){changed, bytes}), 0400);
    fuzz_check(psc_cache_list(&entries, &n, fuzz_path("kept"), &error), &error);
    for (int32_t i = 0; i < n; i++)
        fuzz_check(psc_cache_verify(fuzz_path("kept"), entries[i].name, &error), &error);
    psc_free(entries);
    fuzz_check(open_kept(&model, &error), &error);
    fuzz_expect(model != NULL, "a bad file of packed weights is an error");
    run(model);
    psc_model_close(&model);
    return 0;
}
