/* The files of a corpus: folders walked in the order of their paths' bytes, and the identity of the
 * list: XXH3-128 over the field's name and each file's path and size. */
#include "corpus.h"

#include "arena.h"
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAX_DEPTH 64
#define MAX_FILES 10000000

/* Whether the path ends in this, or in this and .gz or .zst. */
static bool ends(const char *path, const char *suffix) {
    char packed[16];
    snprintf(packed, sizeof packed, "%s.gz", suffix);
    if (psc_path_ends(path, suffix) || psc_path_ends(path, packed)) return true;
    snprintf(packed, sizeof packed, "%s.zst", suffix);
    return psc_path_ends(path, packed);
}

bool corpus_file_is_packed(const char *path) {
    return psc_path_ends(path, ".gz") || psc_path_ends(path, ".zst");
}

static bool is_document(const char *path) {
    return ends(path, ".txt") || ends(path, ".md") || ends(path, ".jsonl");
}

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the list of files");
}

/* Copies path and fault, which is null for a file that can be read. */
static psc_status add_file(
    psc_corpus *c, const char *path, int64_t size, const char *fault, psc_error *error) {
    if (c->n_files >= MAX_FILES)
        return psc_fail(error, PSC_ERROR_INPUT, "a corpus can have at most %d files", MAX_FILES);
    size_t needed = (size_t)c->n_files + 1;
    bool room = psc_grow((void **)&c->files, &c->files_capacity, needed, sizeof *c->files);
    char *copy = room ? strdup(path) : NULL, *why = copy && fault ? strdup(fault) : NULL;
    if (!copy || (fault && !why)) {
        free(copy);
        return no_memory(error);
    }
    c->files[c->n_files++] = (corpus_file){.path = copy,
        .fault = why,
        .size = size,
        .jsonl = !fault && ends(path, ".jsonl"),
        .first = CORPUS_AHEAD};
    c->bytes += size;
    return PSC_OK;
}

/* A document that will be skipped when its turn comes, by the part that it belongs to. */
static psc_status add_unreadable(
    psc_corpus *c, const char *path, const char *fault, psc_error *error) {
    if (c->strict) return psc_fail(error, PSC_ERROR_INPUT, "%s %s", path, fault);
    return add_file(c, path, 0, fault, error);
}

/* What `call` failed at, by errno. A failure that is not the path's own ends the listing. */
static psc_status refuse(psc_corpus *c, const char *path, const char *call, psc_error *error) {
    char fault[160];
    const int why = errno;
    struct stat link;
    if (!corpus_stream_is_own_fault(why))
        return psc_fail(error, PSC_ERROR_IO, "cannot %s %s: %s", call, path, strerror(why));
    snprintf(fault, sizeof fault, "cannot be read (%s: %s)", call, strerror(why));
    if (why == ENOENT && lstat(path, &link) == 0)
        snprintf(fault, sizeof fault, "is a link whose target does not exist");
    else if (why == ENOENT)
        snprintf(fault, sizeof fault, "does not exist");
    return add_unreadable(c, path, fault, error);
}

/* Names what is neither a regular file nor a folder. */
static const char *kind_fault(mode_t mode) {
    if (S_ISFIFO(mode)) return "is a FIFO, not a regular file";
    if (S_ISSOCK(mode)) return "is a socket, not a regular file";
    return "is a device, not a regular file";
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t n) {
    for (size_t i = 0; i < n; i++) free(names[i]);
    free(names);
}

/* The folder's names, sorted, without those that begin with a dot; *failed: 0, or the errno of a
 * folder that cannot be read, which has none. */
static psc_status read_names(
    char ***out, size_t *n, int *failed, const char *folder, psc_error *error) {
    char **names = NULL;
    size_t capacity = 0;
    psc_status status = PSC_OK;
    DIR *directory = opendir(folder);
    *n = 0;
    *failed = 0;
    if (!directory) {
        *failed = errno;
        return PSC_OK;
    }
    errno = 0;
    for (struct dirent *entry; status == PSC_OK && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        bool room = psc_grow((void **)&names, &capacity, *n + 1, sizeof *names);
        if (!room || !(names[(*n)++] = strdup(entry->d_name))) status = no_memory(error);
        errno = 0;
    }
    if (status == PSC_OK) *failed = errno;
    closedir(directory);
    if (status != PSC_OK || *failed) {
        free_names(names, *n);
        return status;
    }
    if (*n > 0) qsort(names, *n, sizeof *names, compare_names);
    *out = names;
    return PSC_OK;
}

static psc_status walk(psc_corpus *c, const char *folder, int depth, psc_error *error);

/* One entry of a folder: walks a folder, lists a document, ignores anything else. */
static psc_status visit(psc_corpus *c, const char *path, int depth, psc_error *error) {
    struct stat info, link;
    if (stat(path, &info) != 0 || lstat(path, &link) != 0) {
        /* A link to nothing, or gone; what fails otherwise may be a folder of documents. */
        const bool ignored = (errno == ENOENT || errno == ELOOP) && !is_document(path);
        return ignored ? PSC_OK : refuse(c, path, "stat", error);
    }
    if (S_ISDIR(info.st_mode)) {
        if (S_ISLNK(link.st_mode)) return PSC_OK;
        if (depth < MAX_DEPTH) return walk(c, path, depth + 1, error);
        return psc_fail(
            error, PSC_ERROR_INPUT, "%s is nested more than %d folders deep", path, MAX_DEPTH);
    }
    if (!is_document(path)) return PSC_OK;
    if (!S_ISREG(info.st_mode)) return add_unreadable(c, path, kind_fault(info.st_mode), error);
    return add_file(c, path, (int64_t)info.st_size, NULL, error);
}

/* depth 0: the folder was named by the caller, who is told that it cannot be read. */
static psc_status walk(psc_corpus *c, const char *folder, int depth, psc_error *error) {
    char **names = NULL;
    size_t n = 0;
    int failed = 0;
    psc_status status = read_names(&names, &n, &failed, folder, error);
    if (status != PSC_OK) return status;
    /* Without permission to search it, its entries have names only. */
    if (!failed && faccessat(AT_FDCWD, folder, X_OK, AT_EACCESS) != 0) failed = errno;
    for (size_t i = 0; i < n && !failed && status == PSC_OK; i++) {
        char *path = psc_path_join(folder, names[i]);
        status = path ? visit(c, path, depth, error) : no_memory(error);
        free(path);
    }
    if (n > 0 && names) free_names(names, n);
    errno = failed;
    if (failed && depth > 0) return refuse(c, folder, "open", error);
    if (failed)
        return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", folder, strerror(failed));
    return status;
}

/* listed: the path is one of a list's. */
static psc_status list_one(psc_corpus *c, const char *path, bool listed, psc_error *error) {
    struct stat info;
    int64_t before = c->n_files;
    if (stat(path, &info) != 0) {
        if (listed) return refuse(c, path, "stat", error);
        return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
    }
    if (S_ISREG(info.st_mode)) {
        const int file = listed ? -1 : open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (!listed && file < 0)
            return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", path, strerror(errno));
        if (file >= 0) close(file);
        return add_file(c, path, (int64_t)info.st_size, NULL, error);
    }
    if (!S_ISDIR(info.st_mode) && listed)
        return add_unreadable(c, path, kind_fault(info.st_mode), error);
    if (!S_ISDIR(info.st_mode))
        return psc_fail(
            error, PSC_ERROR_INPUT, "%s is neither a regular file nor a directory", path);
    psc_status status = walk(c, path, listed ? 1 : 0, error);
    if (status == PSC_OK && c->n_files == before)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the folder %s contains no *.txt, *.md or *.jsonl file, also with .gz or .zst", path);
    return status;
}

static psc_status identify(psc_corpus *c, psc_error *error) {
    XXH3_state_t *state = XXH3_createState();
    if (!state) return no_memory(error);
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, c->field, strlen(c->field) + 1);
    for (int64_t i = 0; i < c->n_files; i++) {
        char size[32];
        snprintf(size, sizeof size, "%lld", c->files[i].fault ? -1LL : (long long)c->files[i].size);
        XXH3_128bits_update(state, c->files[i].path, strlen(c->files[i].path) + 1);
        XXH3_128bits_update(state, size, strlen(size) + 1);
    }
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    for (int i = 0; i < 16; i++) snprintf(c->identity + 2 * i, 3, "%02x", digest.digest[i]);
    return PSC_OK;
}

psc_status corpus_list(psc_corpus *c, const char *const *paths, int32_t n_paths, psc_error *error) {
    const int32_t n_listed = c->n_listed;
    psc_status status = PSC_OK;
    if (n_paths < 1)
        return psc_fail(error, PSC_ERROR_INPUT, "a corpus needs at least one file or folder");
    if (n_listed < 0 || n_listed > n_paths)
        return psc_fail(error, PSC_ERROR_INPUT, "of %d paths, %d cannot be from a list",
            (int)n_paths, (int)n_listed);
    for (int32_t i = 0; i < n_paths && status == PSC_OK; i++)
        status = list_one(c, paths[i], i >= n_paths - n_listed, error);
    if (status == PSC_OK) status = identify(c, error);
    return status == PSC_OK ? corpus_deal(c, error) : status;
}
