/* The folder of packed weights: its owner, its files, and which of them to remove.
 *      <hash>-<layout>.<version>.packed    weights_cache_file.h; its time is its last use
 *      <digest>.source                     weights_record.c
 *      making-<pid>-<n>.partial            in progress, or abandoned */
#include "arena.h"
#include "weights_cache.h"
#include "weights_cache_file.h"

#include <dirent.h>
#include <errno.h>
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
} items;

/* Only names that this program gives: they begin with 32 digits of a hash, or "making-". */
static bool is_ours(const char *name, const char *suffix) {
    if (strlen(name) >= PSC_CACHE_NAME_BYTES || !psc_path_ends(name, suffix)) return false;
    return strncmp(name, "making-", 7) == 0 || strspn(name, "0123456789abcdef") == 32;
}

static void remove_name(const char *dir, const char *name) {
    char *path = psc_path_join(dir, name);
    if (path) unlink(path);
    free(path);
}

static bool append(items *out, const item *one) {
    if (!psc_grow((void **)&out->list, &out->capacity, out->n + 1, sizeof *out->list)) return false;
    out->list[out->n++] = *one;
    return true;
}

static int by_use(const void *a, const void *b) {
    const item *s = a, *t = b;
    if (s->used != t->used) return s->used < t->used ? -1 : 1;
    return strcmp(s->name, t->name);
}

/* The folder's regular files with that suffix, least recently used first; none if unreadable. */
static items list_files(const char *dir, const char *suffix) {
    items out = {0};
    DIR *stream = opendir(dir);
    bool room = true;
    for (struct dirent *entry; room && stream && (entry = readdir(stream));) {
        struct stat info;
        item one = {0};
        if (!is_ours(entry->d_name, suffix)) continue;
        char *path = psc_path_join(dir, entry->d_name);
        if (path && lstat(path, &info) == 0 && S_ISREG(info.st_mode)) {
            memcpy(one.name, entry->d_name, strlen(entry->d_name) + 1);
            one.bytes = (uint64_t)info.st_size;
            one.used = (int64_t)info.st_mtime;
            room = append(&out, &one);
        }
        free(path);
    }
    if (stream) closedir(stream);
    if (out.n > 1) qsort(out.list, out.n, sizeof *out.list, by_use);
    return out;
}

static psc_status check_folder(const char *dir, psc_error *error) {
    struct stat info;
    if (stat(dir, &info) != 0)
        return psc_fail(error, PSC_ERROR_IO, "cannot use the folder %s: %s", dir, strerror(errno));
    if (!S_ISDIR(info.st_mode)) return psc_fail(error, PSC_ERROR_IO, "%s is not a directory", dir);
    if (info.st_uid != geteuid())
        return psc_fail(error, PSC_ERROR_IO, "the folder %s is owned by another user", dir);
    return PSC_OK;
}

psc_status psc_cache_folder_make(const char *dir, psc_error *error) {
    if (!*dir) return psc_fail(error, PSC_ERROR_INPUT, "the cache folder's name is empty");
    char *path = strdup(dir);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    for (char *slash = path + 1; psc_path_exists(dir) == false && *slash; slash++) {
        if (*slash != '/') continue;
        *slash = 0;
        mkdir(path, 0700); /* an existing folder is fine */
        *slash = '/';
    }
    mkdir(path, 0700);
    free(path);
    return check_folder(dir, error);
}

static void remove_abandoned(const char *dir) {
    items partial = list_files(dir, ".partial");
    for (size_t i = 0; i < partial.n; i++) {
        char *path = psc_path_join(dir, partial.list[i].name);
        if (path) psc_cache_remove_abandoned(path);
        free(path);
    }
    free(partial.list);
}

psc_status psc_cache_folder_room(
    const char *dir, uint64_t bytes, uint64_t limit, psc_error *error) {
    if (bytes > limit)
        return psc_fail(error, PSC_ERROR_IO,
            "the packed weights need %llu MiB, but the cache's limit is %llu MiB",
            (unsigned long long)(bytes >> 20), (unsigned long long)(limit >> 20));
    remove_abandoned(dir);
    items packed = list_files(dir, PSC_CACHE_SUFFIX), records = list_files(dir, PSC_RECORD_SUFFIX);
    uint64_t total = bytes;
    for (size_t i = 0; i < packed.n; i++) total += packed.list[i].bytes;
    for (size_t i = 0; i < packed.n && total > limit; i++) {
        remove_name(dir, packed.list[i].name);
        total -= packed.list[i].bytes;
    }
    for (size_t i = 0; i + MAX_RECORDS < records.n; i++) remove_name(dir, records.list[i].name);
    free(packed.list);
    free(records.list);
    struct statvfs disk;
    if (statvfs(dir, &disk) == 0) {
        uint64_t available = (uint64_t)disk.f_bavail * disk.f_frsize;
        if (available < bytes || available - bytes < SPARE_BYTES)
            return psc_fail(
                error, PSC_ERROR_IO, "the disk of %s would have less than 1 GiB free", dir);
    }
    return PSC_OK;
}

bool psc_cache_folder_has_size(const char *dir, uint64_t bytes) {
    items packed = list_files(dir, PSC_CACHE_SUFFIX);
    bool found = false;
    for (size_t i = 0; i < packed.n && !found; i++) found = packed.list[i].bytes == bytes;
    free(packed.list);
    return found;
}

/* --- psc_cache_* of psc.h -------------------------------------------------------------------- */

static void find_models(psc_cache_entry *entries, size_t n, const char *dir) {
    items records = list_files(dir, PSC_RECORD_SUFFIX);
    for (size_t r = 0; r < records.n; r++) {
        char model[sizeof entries->model], hex[33];
        char *path = psc_path_join(dir, records.list[r].name);
        bool good = path && psc_record_read(model, sizeof model, hex, path);
        for (size_t i = 0; good && i < n; i++)
            if (strcmp(entries[i].hash, hex) == 0) memcpy(entries[i].model, model, sizeof model);
        free(path);
    }
    free(records.list);
}

psc_status psc_cache_list(
    psc_cache_entry **out, int32_t *n, const char *cache_dir, psc_error *error) {
    *out = NULL;
    *n = 0;
    if (!psc_path_exists(cache_dir)) return PSC_OK;
    psc_status status = check_folder(cache_dir, error);
    if (status) return status;
    items packed = list_files(cache_dir, PSC_CACHE_SUFFIX);
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
    if (entries) find_models(entries, packed.n, cache_dir);
    *n = entries ? (int32_t)packed.n : 0;
    free(packed.list);
    *out = entries;
    if (entries) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to list %s", cache_dir);
}

psc_status psc_cache_verify(const char *cache_dir, const char *name, psc_error *error) {
    psc_cache_header header;
    psc_mapping file;
    char *path = psc_path_join(cache_dir, name);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    psc_status status = psc_cache_file_map(&file, &header, path, error);
    if (!status && strncmp(header.model, name, 32) != 0)
        status = psc_fail(error, PSC_ERROR_INPUT, "%s: it contains another model", path);
    if (!status && !psc_cache_file_intact(&file, &header))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s: the weights do not match their hash", path);
    psc_unmap_file(&file);
    free(path);
    return status;
}

static void remove_all(const char *dir, const char *suffix) {
    items found = list_files(dir, suffix);
    for (size_t i = 0; i < found.n; i++) remove_name(dir, found.list[i].name);
    free(found.list);
}

psc_status psc_cache_clear(const char *cache_dir, const char *name, psc_error *error) {
    if (!psc_path_exists(cache_dir)) return PSC_OK;
    psc_status status = check_folder(cache_dir, error);
    if (status) return status;
    if (!name) {
        remove_all(cache_dir, PSC_CACHE_SUFFIX);
        remove_all(cache_dir, PSC_RECORD_SUFFIX);
        remove_abandoned(cache_dir);
        items left = list_files(cache_dir, PSC_CACHE_SUFFIX);
        if (left.n > 0)
            status = psc_fail(error, PSC_ERROR_IO, "cannot remove the files in %s", cache_dir);
        free(left.list);
        return status;
    }
    if (!is_ours(name, PSC_CACHE_SUFFIX))
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not a file of packed weights", name);
    char *path = psc_path_join(cache_dir, name);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    if (unlink(path) != 0)
        status = psc_fail(error, PSC_ERROR_IO, "cannot remove %s: %s", path, strerror(errno));
    free(path);
    return status;
}
