/* A remembered hash: a text of the facts that must be unchanged, compared as a whole, and the hash.
 *
 *   pythiascope source 2
 *   model <folder>
 *   config <XXH3-128 of psc_identity_config>
 *   file <size> <times of the last change of bytes and inode, ns> <inode> <name>   for each file
 *   hash <32 hex digits>
 *
 * One small file per model folder. Processes never wait for each other: the last one wins. */
#undef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath */
#include "weights_cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#define RECORD_CAP ((size_t)1 << 20)
#define SETTLED_NS ((int64_t)2000000000)
static const char head[] = "pythiascope source 2\nmodel ";

static void digest_text(char hex[33], const void *data, size_t size) {
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(data, size));
    for (size_t i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", digest.digest[i]);
}

psc_status psc_record_open(
    psc_record *out, const char *model, const psc_checkpoint *checkpoint, psc_error *error) {
    const psc_tensors *files = checkpoint->files;
    char config[768], hex[33];
    char *path = realpath(model, NULL);
    *out = (psc_record){0};
    size_t n_config = psc_identity_config(config, sizeof config, &checkpoint->config);
    size_t size = sizeof head + (path ? strlen(path) : 0) + 64;
    for (size_t i = 0; i < files->n_files; i++) size += strlen(files->files[i].name) + 120;
    if (path) out->text = malloc(size);
    if (!path || !out->text) {
        free(path);
        return psc_fail(error, PSC_ERROR_IO, "cannot resolve the path of %s", model);
    }
    digest_text(hex, path, strlen(path));
    snprintf(out->name, sizeof out->name, "%s" PSC_RECORD_SUFFIX, hex);
    digest_text(hex, config, n_config);
    int n = snprintf(out->text, size, "%s%s\nconfig %s\n", head, path, hex);
    for (size_t i = 0; i < files->n_files; i++) {
        const psc_file_facts *f = &files->files[i].mapping.facts;
        n += snprintf(out->text + n, size - (size_t)n,
            "file %" PRIu64 " %" PRId64 " %" PRId64 " %" PRIu64 " %s\n", f->size, f->modified,
            f->changed, f->inode, files->files[i].name);
    }
    free(path);
    return PSC_OK;
}

void psc_record_close(psc_record *record) {
    free(record->text);
    record->text = NULL;
}

/* Parses "hash <32 digits>\n", which must be the whole text. */
static bool parse_hash(char hex[33], const char *line) {
    if (strncmp(line, "hash ", 5) != 0 || strspn(line + 5, "0123456789abcdef") != 32) return false;
    if (strcmp(line + 37, "\n") != 0) return false;
    memcpy(hex, line + 5, 32);
    hex[32] = 0;
    return true;
}

bool psc_record_recall(char hex[33], const psc_record *record, const psc_cache_place *place) {
    size_t size, n = strlen(record->text);
    int failed; /* a hash that cannot be read is computed again */
    char *text = psc_cache_place_text(&size, &failed, place, record->name, RECORD_CAP);
    bool found = text && size == strlen(text) && size > n && memcmp(text, record->text, n) == 0 &&
                 parse_hash(hex, text + n);
    free(text);
    return found;
}

bool psc_record_unchanged(const char *model, const psc_checkpoint *checkpoint) {
    bool same = true;
    for (size_t i = 0; i < checkpoint->files->n_files && same; i++) {
        const psc_tensor_file *file = &checkpoint->files->files[i];
        psc_file_facts now;
        char *path = psc_path_join(model, file->name);
        same = path && psc_file_examine(&now, path) && psc_file_same(&now, &file->mapping.facts);
        free(path);
    }
    return same;
}

/* Whether a change after the mapping would show in the times: none is of the last two seconds. */
static bool has_settled(const psc_checkpoint *checkpoint) {
    struct timespec clock;
    clock_gettime(CLOCK_REALTIME, &clock);
    const int64_t now = (int64_t)clock.tv_sec * 1000000000 + clock.tv_nsec;
    for (size_t i = 0; i < checkpoint->files->n_files; i++) {
        const psc_file_facts *facts = &checkpoint->files->files[i].mapping.facts;
        if (now - facts->modified < SETTLED_NS || now - facts->changed < SETTLED_NS) return false;
    }
    return true;
}

void psc_record_keep(const psc_record *record, const char *hex, const psc_cache_place *place,
    const char *model, const psc_checkpoint *checkpoint) {
    psc_cache_partial file;
    char line[48];
    const size_t n = strlen(record->text);
    const int m = snprintf(line, sizeof line, "hash %s\n", hex);
    if (!has_settled(checkpoint) || !psc_record_unchanged(model, checkpoint)) return;
    if (psc_cache_partial_open(&file, place, NULL) == PSC_OK &&
        psc_cache_partial_put(&file, record->text, n, 0) == 0 &&
        psc_cache_partial_put(&file, line, (size_t)m, n) == 0)
        (void)psc_cache_partial_rename(&file, record->name, 0600);
    psc_cache_partial_close(&file);
}

bool psc_record_read(char *model, size_t size, char hex[33], int *failed,
    const psc_cache_place *place, const char *name) {
    size_t bytes;
    char *text = psc_cache_place_text(&bytes, failed, place, name, RECORD_CAP);
    if (!text) return false;
    char *last = strstr(text, "\nhash ");
    bool good = strncmp(text, head, sizeof head - 1) == 0 && last && parse_hash(hex, last + 1);
    if (good) {
        const char *from = text + sizeof head - 1;
        size_t n = strcspn(from, "\n");
        if (n >= size) n = size - 1;
        memcpy(model, from, n);
        model[n] = 0;
    }
    free(text);
    return good;
}
