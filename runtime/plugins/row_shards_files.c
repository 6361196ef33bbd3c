/* The files of shards. A shard is written in place, row by row, under the name .STEM-NNNNN.part,
 * with the layout of a full one:
 *
 *   u64 bytes of the header; header; column 0 [rows]; column 1 [rows]; ...
 *
 * so a row's place depends on its number alone, and rows behind the state's place are
 * overwritten. A full shard is renamed to STEM-NNNNN.safetensors; the last one is copied
 * to its own size first. */
#define _DEFAULT_SOURCE /* flock */
#include "files.h"
#include "json.h"
#include "row_shards.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALIGNMENT = 64, COPY_BYTES = 1 << 20, MOST_AT_ONCE = 1 << 30 };

static psc_status no_memory(const psc_shards *s, psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the shards of %s", s->folder);
}

static psc_status failed(const char *path, psc_error *error) {
    return psc_fail(error, PSC_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
}

/* --- the layout ------------------------------------------------------------------------------ */

static json_t *column_entry(const psc_shard_column *c, int64_t rows, uint64_t at) {
    json_t *shape = json_array();
    bool ok = json_array_append_new(shape, json_integer(rows)) == 0;
    for (int32_t i = 0; i < c->n_axes; i++)
        ok = json_array_append_new(shape, json_integer(c->shape[i])) == 0 && ok;
    const json_int_t begin = (json_int_t)at, bytes = rows * (json_int_t)c->row_bytes;
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", c->dtype, "shape", shape,
        "data_offsets", begin, begin + bytes);
    if (ok) return entry;
    json_decref(entry);
    return NULL;
}

psc_status psc_shard_header(
    char **out, size_t *size, const psc_shards *s, int64_t rows, psc_error *error) {
    json_t *header = json_object();
    bool ok = header != NULL;
    uint64_t at = 0;
    for (int32_t i = 0; ok && i < s->n_columns; i++) {
        ok = json_object_set_new(
                 header, s->columns[i].name, column_entry(&s->columns[i], rows, at)) == 0;
        at += (uint64_t)rows * s->columns[i].row_bytes;
    }
    char *text = ok ? psc_json_dump(header, JSON_COMPACT) : NULL;
    json_decref(header);
    const size_t n = text ? strlen(text) : 0,
                 full = (n + 8 + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    *out = text ? malloc(full + 1) : NULL;
    if (*out) {
        for (int i = 0; i < 8; i++) (*out)[i] = (char)((uint64_t)(full - 8) >> (8 * i));
        memcpy(*out + 8, text, n);
        memset(*out + 8 + n, ' ', full - 8 - n);
        (*out)[full] = 0;
    }
    free(text);
    *size = full;
    return *out ? PSC_OK : no_memory(s, error);
}

/* --- names ----------------------------------------------------------------------------------- */

static psc_status name_path(char **out, const psc_shards *s, const char *name, psc_error *error) {
    *out = psc_path_join(s->folder, name);
    return *out ? PSC_OK : no_memory(s, error);
}

psc_status psc_shard_path(
    char **out, const psc_shards *s, int64_t number, bool whole, psc_error *error) {
    char name[PSC_SHARD_NAME + 48];
    snprintf(name, sizeof name, "%s%s-%05" PRId64 "%s", whole ? "" : ".", s->stem, number,
        whole ? ".safetensors" : ".part");
    return name_path(out, s, name, error);
}

int64_t psc_shard_number(const psc_shards *s, const char *name, bool *whole) {
    const size_t n = strlen(s->stem);
    *whole = name[0] != '.';
    name += !*whole;
    if (strncmp(name, s->stem, n) != 0 || name[n] != '-') return -1;
    char *end;
    const size_t digits = strspn(name + n + 1, "0123456789");
    if (digits < 5 || digits > 18) return -1;
    const int64_t number = strtoll(name + n + 1, &end, 10);
    return strcmp(end, *whole ? ".safetensors" : ".part") == 0 ? number : -1;
}

/* --- the folder ------------------------------------------------------------------------------ */

/* Whether a name is one that some part of such a run writes. */
static bool is_known(const psc_shards *s, const char *name) {
    const size_t n = s->n_name;
    name += name[0] == '.';
    return (strncmp(name, s->stem, n) == 0 && (name[n] == '-' || name[n] == '.')) ||
           strcmp(name, "index.json") == 0 || strncmp(name, "index-", 6) == 0;
}

static psc_status check_content(const psc_shards *s, psc_error *error) {
    char other[200] = "";
    bool known = false;
    DIR *dir = opendir(s->folder);
    if (!dir)
        return psc_fail(
            error, PSC_ERROR_IO, "cannot read the folder %s: %s", s->folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        known = known || is_known(s, entry->d_name);
        if (!is_known(s, entry->d_name)) snprintf(other, sizeof other, "%.150s", entry->d_name);
    }
    closedir(dir);
    if (known || !other[0]) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "the folder %s has other files, such as %s; name a new one", s->folder, other);
}

psc_status psc_shards_check_folder(const psc_shards *s, bool merging, psc_error *error) {
    struct stat info;
    if (stat(s->folder, &info) == 0) {
        if (!S_ISDIR(info.st_mode))
            return psc_fail(error, PSC_ERROR_INPUT, "%s is not a folder", s->folder);
        if (access(s->folder, W_OK | X_OK) != 0) return failed(s->folder, error);
        return check_content(s, error);
    }
    if (merging)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the folder %s of the parts' shards is not here; run merge where it is", s->folder);
    char *parent = strdup(s->folder);
    if (!parent) return no_memory(s, error);
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/') parent[--n] = 0;
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = 0;
    const int denied = access(slash ? parent : ".", W_OK | X_OK);
    free(parent);
    return denied ? failed(s->folder, error) : PSC_OK;
}

static psc_status lock_path(char **out, const psc_shards *s, psc_error *error) {
    char name[PSC_SHARD_NAME + 8];
    snprintf(name, sizeof name, ".%s.lock", s->stem);
    return name_path(out, s, name, error);
}

psc_status psc_shards_lock(psc_shards *s, psc_error *error) {
    char *path;
    if (mkdir(s->folder, 0777) != 0 && errno != EEXIST) return failed(s->folder, error);
    psc_status status = lock_path(&path, s, error);
    if (status != PSC_OK) return status;
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (s->lock < 0) status = failed(path, error);
    /* Where the file system has no locks, the user keeps other processes away. */
    if (s->lock >= 0 && flock(s->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "another process or plugin writes to the folder %s; name another one", s->folder);
    if (status != PSC_OK && s->lock >= 0) {
        close(s->lock);
        s->lock = -1;
    }
    free(path);
    return status;
}

void psc_shards_unlock(psc_shards *s) {
    char *path;
    if (s->lock < 0) return;
    if (lock_path(&path, s, NULL) == PSC_OK) {
        unlink(path);
        free(path);
    }
    close(s->lock);
    s->lock = -1;
}

psc_status psc_shards_remove_from(
    const psc_shards *s, int64_t number, bool only_count, int64_t *found, psc_error *error) {
    psc_status status = PSC_OK;
    *found = 0;
    DIR *dir = opendir(s->folder);
    if (!dir) return failed(s->folder, error);
    for (struct dirent *entry; status == PSC_OK && (entry = readdir(dir));) {
        bool whole;
        if (psc_shard_number(s, entry->d_name, &whole) < number) continue;
        ++*found;
        if (!only_count && unlinkat(dirfd(dir), entry->d_name, 0) != 0)
            status = failed(s->folder, error);
    }
    closedir(dir);
    return status;
}

/* --- the open shard -------------------------------------------------------------------------- */

psc_status psc_shard_write(
    int fd, const void *from, uint64_t n, uint64_t at, const char *path, psc_error *error) {
    const char *bytes = from;
    while (n > 0) {
        const ssize_t done =
            pwrite(fd, bytes, n < MOST_AT_ONCE ? (size_t)n : MOST_AT_ONCE, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return failed(path, error);
        bytes += done;
        at += (uint64_t)done;
        n -= (uint64_t)done;
    }
    return PSC_OK;
}

static void leave(psc_shards *s) {
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    s->number = -1;
}

psc_status psc_shard_open(psc_shards *s, int64_t number, psc_error *error) {
    char *path, *header = NULL;
    size_t size = 0;
    struct stat info;
    if (s->number == number) return PSC_OK;
    leave(s);
    psc_status status = psc_shard_path(&path, s, number, false, error);
    if (status != PSC_OK) return status;
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (s->fd < 0 || fstat(s->fd, &info) != 0) status = failed(path, error);
    const uint64_t full = s->columns[0].offset + (uint64_t)s->rows * s->row_bytes;
    if (status == PSC_OK && (uint64_t)info.st_size != full) {
        status = psc_shard_header(&header, &size, s, s->rows, error);
        if (status == PSC_OK) status = psc_shard_write(s->fd, header, size, 0, path, error);
        if (status == PSC_OK && ftruncate(s->fd, (off_t)full) != 0) status = failed(path, error);
    }
    if (status == PSC_OK)
        s->number = number;
    else
        leave(s);
    free(header);
    free(path);
    return status;
}

/* Copies n rows of every column from one layout to another. */
static psc_status copy_rows(const psc_shards *s, int to, int from, int64_t n, int64_t rows_to,
    int64_t rows_from, uint64_t header_to, uint64_t header_from, const char *path,
    psc_error *error) {
    psc_status status = PSC_OK;
    uint64_t at_to = header_to, at_from = header_from;
    char *buffer = malloc(COPY_BYTES);
    if (!buffer) return no_memory(s, error);
    for (int32_t c = 0; status == PSC_OK && c < s->n_columns; c++) {
        const uint64_t bytes = (uint64_t)n * s->columns[c].row_bytes;
        for (uint64_t done = 0; status == PSC_OK && done < bytes;) {
            const size_t some = bytes - done < COPY_BYTES ? (size_t)(bytes - done) : COPY_BYTES;
            const ssize_t got = pread(from, buffer, some, (off_t)(at_from + done));
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0)
                status = psc_fail(error, PSC_ERROR_IO, "cannot read the rows of %s: %s", path,
                    got < 0 ? strerror(errno) : "the file ends too early");
            else
                status = psc_shard_write(to, buffer, (uint64_t)got, at_to + done, path, error);
            done += got > 0 ? (uint64_t)got : 0;
        }
        at_to += (uint64_t)rows_to * s->columns[c].row_bytes;
        at_from += (uint64_t)rows_from * s->columns[c].row_bytes;
    }
    free(buffer);
    return status;
}

/* A whole file of fewer rows than a full shard's: its rows go to the open one. */
static psc_status unpack(
    psc_shards *s, int64_t number, int64_t n, const char *path, psc_error *error) {
    struct stat info;
    unsigned char first[8] = {0};
    uint64_t header = 0;
    const int from = open(path, O_RDONLY | O_CLOEXEC);
    psc_status status = PSC_OK;
    if (from < 0 || fstat(from, &info) != 0 || pread(from, first, 8, 0) != 8)
        status = psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", path, strerror(errno));
    for (int i = 0; i < 8; i++) header |= (uint64_t)first[i] << (8 * i);
    header += 8;
    const uint64_t size = status == PSC_OK ? (uint64_t)info.st_size : 0;
    const int64_t rows = header < size ? (int64_t)((size - header) / s->row_bytes) : 0;
    if (status == PSC_OK && (rows < n || rows > s->rows))
        status = psc_fail(error, PSC_ERROR_INPUT,
            "%s has other rows than the state file counts; begin anew with a new folder and state",
            path);
    if (status == PSC_OK) status = psc_shard_open(s, number, error);
    if (status == PSC_OK)
        status =
            copy_rows(s, s->fd, from, n, s->rows, rows, s->columns[0].offset, header, path, error);
    if (from >= 0) close(from);
    return status;
}

psc_status psc_shard_reopen(psc_shards *s, int64_t number, int64_t n, psc_error *error) {
    char *whole = NULL, *open_path = NULL;
    psc_file_facts facts = {0};
    psc_status status = psc_shard_path(&whole, s, number, true, error);
    if (status == PSC_OK) status = psc_shard_path(&open_path, s, number, false, error);
    const uint64_t full = s->columns[0].offset + (uint64_t)s->rows * s->row_bytes;
    if (status == PSC_OK && psc_file_examine(&facts, whole)) {
        if (facts.size == full && rename(whole, open_path) != 0) status = failed(whole, error);
        if (status == PSC_OK && facts.size != full) status = unpack(s, number, n, whole, error);
        if (status == PSC_OK && facts.size != full && unlink(whole) != 0)
            status = failed(whole, error);
    } else if (status == PSC_OK && (!psc_file_examine(&facts, open_path) || facts.size != full)) {
        status = psc_fail(error, PSC_ERROR_INPUT,
            "the folder %s lacks rows of shard %" PRId64
            " that the state file counts; begin anew with a new folder and state",
            s->folder, number);
    }
    free(whole);
    free(open_path);
    return status;
}

/* The first n rows of the open shard, as a file of its own. */
static psc_status pack(psc_shards *s, int64_t n, const char *path, psc_error *error) {
    psc_temporary file = {NULL, -1};
    char *header;
    size_t size;
    psc_status status = psc_shard_header(&header, &size, s, n, error);
    if (status != PSC_OK) return status;
    status = psc_temporary_open(&file, path, "cannot write", error);
    if (status == PSC_OK) status = psc_shard_write(file.fd, header, size, 0, path, error);
    if (status == PSC_OK)
        status =
            copy_rows(s, file.fd, s->fd, n, n, s->rows, size, s->columns[0].offset, path, error);
    if (status == PSC_OK) status = psc_temporary_commit(&file, path, error);
    psc_temporary_close(&file);
    free(header);
    return status;
}

psc_status psc_shard_close(psc_shards *s, int64_t n, psc_error *error) {
    char *whole = NULL, *path = NULL;
    psc_status status = psc_shard_path(&whole, s, s->number, true, error);
    if (status == PSC_OK) status = psc_shard_path(&path, s, s->number, false, error);
    if (status == PSC_OK && n < s->rows) {
        status = pack(s, n, whole, error);
        if (status == PSC_OK && unlink(path) != 0) status = failed(path, error);
    } else if (status == PSC_OK) {
        if (fsync(s->fd) != 0 || rename(path, whole) != 0) status = failed(whole, error);
    }
    leave(s);
    free(whole);
    free(path);
    return status;
}
