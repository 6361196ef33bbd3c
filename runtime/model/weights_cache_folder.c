/* The folder of packed weights: its files, and which of them to remove.
 *      <hash>-<layout>.<version>.packed    weights_cache_file.h; its time is its last use
 *      <digest>.source                     weights_record.c
 *      making-<pid>-<n>.partial            in progress, or abandoned */
#include "arena.h"
#include "weights_cache.h"
#include "weights_cache_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAX_RECORDS 256
#define SPARE_BYTES ((uint64_t)1 << 30) /* left free on the disk */

typedef struct item {
    char name[PSC_CACHE_NAME_BYTES];
    uint64_t bytes;
    int64_t used;
} item;

typedef struct items {
    item *list;
    size_t n, capacity;
    int failure; /* errno of what could not be read; 0: the list is whole */
} items;

/* Only names that this program gives: they begin with 32 digits of a hash, or "making-". */
static bool is_ours(const char *name, const char *suffix) {
    if (strlen(name) >= PSC_CACHE_NAME_BYTES || !psc_path_ends(name, suffix)) return false;
    return strncmp(name, "making-", 7) == 0 || strspn(name, "0123456789abcdef") == 32;
}

static void remove_name(const psc_cache_place *place, const char *name) {
    unlinkat(place->fd, name, 0);
}

static void append(items *out, const item *one) {
    if (!psc_grow((void **)&out->list, &out->capacity, out->n + 1, sizeof *out->list))
        out->failure = ENOMEM;
    else
        out->list[out->n++] = *one;
}

static int by_use(const void *a, const void *b) {
    const item *s = a, *t = b;
    if (s->used != t->used) return s->used < t->used ? -1 : 1;
    return strcmp(s->name, t->name);
}

/* The folder's regular files with that suffix that could be read, least recently used first. */
static items list_files(const psc_cache_place *place, const char *suffix) {
    items out = {0};
    const int fd = openat(place->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (!stream) out.failure = errno;
    while (stream && out.failure != ENOMEM) {
        struct stat info;
        item one = {0};
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry && errno) out.failure = errno;
        if (!entry) break;
        if (!is_ours(entry->d_name, suffix)) continue;
        if (fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno != ENOENT) out.failure = errno;
            continue;
        }
        if (!S_ISREG(info.st_mode)) continue;
        memcpy(one.name, entry->d_name, strlen(entry->d_name) + 1);
        one.bytes = (uint64_t)info.st_size;
        one.used = (int64_t)info.st_mtime;
        append(&out, &one);
    }
    if (stream)
        closedir(stream);
    else if (fd >= 0)
        close(fd);
    if (out.n > 1) qsort(out.list, out.n, sizeof *out.list, by_use);
    return out;
}

void psc_cache_folder_sweep(const psc_cache_place *place) {
    items partial = list_files(place, ".partial");
    for (size_t i = 0; i < partial.n; i++) psc_cache_remove_abandoned(place, partial.list[i].name);
    free(partial.list);
}

psc_status psc_cache_folder_room(
    const psc_cache_place *place, uint64_t bytes, uint64_t limit, psc_error *error) {
    if (bytes > limit)
        return psc_fail(error, PSC_ERROR_IO,
            "the packed weights need %llu MiB, but the cache's limit is %llu MiB",
            (unsigned long long)(bytes >> 20), (unsigned long long)(limit >> 20));
    items packed = list_files(place, PSC_CACHE_SUFFIX),
          records = list_files(place, PSC_RECORD_SUFFIX);
    uint64_t total = bytes;
    for (size_t i = 0; i < packed.n; i++) total += packed.list[i].bytes;
    for (size_t i = 0; i < packed.n && total > limit; i++) {
        remove_name(place, packed.list[i].name);
        total -= packed.list[i].bytes;
    }
    for (size_t i = 0; i + MAX_RECORDS < records.n; i++) remove_name(place, records.list[i].name);
    free(packed.list);
    free(records.list);
    struct statvfs disk;
    if (fstatvfs(place->fd, &disk) == 0) {
        uint64_t available = (uint64_t)disk.f_bavail * disk.f_frsize;
        if (available < bytes || available - bytes < SPARE_BYTES)
            return psc_fail(
                error, PSC_ERROR_IO, "the disk of %s would have less than 1 GiB free", place->path);
    }
    return PSC_OK;
}

bool psc_cache_folder_has_size(const psc_cache_place *place, uint64_t bytes) {
    items packed = list_files(place, PSC_CACHE_SUFFIX);
    bool found = false;
    for (size_t i = 0; i < packed.n && !found; i++) found = packed.list[i].bytes == bytes;
    free(packed.list);
    return found;
}

/* --- psc_cache_* of psc.h -------------------------------------------------------------------- */

/* Returns errno of what could not be read; 0: nothing. */
static int find_models(psc_cache_entry *entries, size_t n, const psc_cache_place *place) {
    items records = list_files(place, PSC_RECORD_SUFFIX);
    for (size_t r = 0; r < records.n; r++) {
        char model[sizeof entries->model], hex[33];
        int failed;
        const bool found =
            psc_record_read(model, sizeof model, hex, &failed, place, records.list[r].name);
        if (failed) records.failure = failed;
        if (!found) continue;
        for (size_t i = 0; i < n; i++)
            if (strcmp(entries[i].hash, hex) == 0) memcpy(entries[i].model, model, sizeof model);
    }
    free(records.list);
    return records.failure;
}

psc_status psc_cache_list(
    psc_cache_entry **out, int32_t *n, const char *cache_dir, psc_error *error) {
    psc_cache_place place;
    bool missing;
    *out = NULL;
    *n = 0;
    psc_status status = psc_cache_place_open(&place, &missing, cache_dir, false, error);
    if (status) return missing ? PSC_OK : status;
    items packed = list_files(&place, PSC_CACHE_SUFFIX);
    psc_cache_entry *entries = calloc(packed.n + 1, sizeof *entries);
    for (size_t i = 0; entries && i < packed.n; i++) {
        const item *from = &packed.list[packed.n - 1 - i];
        psc_cache_entry *to = &entries[i];
        char current[PSC_CACHE_NAME_BYTES];
        memcpy(to->name, from->name, sizeof to->name);
        memcpy(to->hash, from->name, 32);
        psc_cache_file_name(current, to->hash);
        to->bytes = from->bytes;
        to->used = from->used;
        to->current = strcmp(current, to->name) == 0;
    }
    const int unread = entries ? find_models(entries, packed.n, &place) : 0;
    if (!packed.failure) packed.failure = unread;
    psc_cache_place_close(&place);
    free(packed.list);
    if (!entries || packed.failure == ENOMEM)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to list %s", cache_dir);
    else if (packed.failure)
        status = psc_fail(
            error, PSC_ERROR_IO, "cannot read %s: %s", cache_dir, strerror(packed.failure));
    if (status) free(entries);
    *n = status ? 0 : (int32_t)packed.n;
    *out = status ? NULL : entries;
    return status;
}

psc_status psc_cache_verify(const char *cache_dir, const char *name, psc_error *error) {
    psc_cache_header header;
    psc_mapping file = {0};
    psc_cache_place place;
    bool intact;
    psc_status status = psc_cache_place_open(&place, NULL, cache_dir, false, error);
    if (!status) status = psc_cache_file_map(&file, &header, &place, name, error);
    if (!status && strncmp(header.model, name, 32) != 0)
        status =
            psc_fail(error, PSC_ERROR_INPUT, "%s/%s: it contains another model", cache_dir, name);
    if (!status) status = psc_cache_file_intact(&intact, &file, &header, error);
    if (!status && !intact)
        status = psc_fail(
            error, PSC_ERROR_INPUT, "%s/%s: the weights do not match their hash", cache_dir, name);
    psc_unmap_file(&file);
    psc_cache_place_close(&place);
    return status;
}

/* Returns errno of what could not be removed, or of a list that may lack some; 0: none is left. */
static int remove_all(const psc_cache_place *place, const char *suffix) {
    items found = list_files(place, suffix);
    int failed = found.failure;
    for (size_t i = 0; i < found.n; i++)
        if (unlinkat(place->fd, found.list[i].name, 0) != 0 && errno != ENOENT) failed = errno;
    free(found.list);
    return failed;
}

static psc_status clear_all(const psc_cache_place *place, psc_error *error) {
    const int packed = remove_all(place, PSC_CACHE_SUFFIX);
    const int records = remove_all(place, PSC_RECORD_SUFFIX);
    psc_cache_folder_sweep(place);
    if (!packed && !records) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot remove the files in %s: %s", place->path,
        strerror(packed ? packed : records));
}

psc_status psc_cache_clear(const char *cache_dir, const char *name, psc_error *error) {
    psc_cache_place place;
    bool missing;
    psc_status status = psc_cache_place_open(&place, &missing, cache_dir, false, error);
    if (status) return missing ? PSC_OK : status;
    if (!name)
        status = clear_all(&place, error);
    else if (!is_ours(name, PSC_CACHE_SUFFIX))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s is not a file of packed weights", name);
    else if (unlinkat(place.fd, name, 0) != 0)
        status = psc_fail(
            error, PSC_ERROR_IO, "cannot remove %s/%s: %s", cache_dir, name, strerror(errno));
    psc_cache_place_close(&place);
    return status;
}
