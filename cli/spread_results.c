/* i64 tokens, i32 width, sections, one_line, 0, u64 and u64: sizes, then results.json and
 * tensors.safetensors. A folder in TMPDIR that is removed at once is the way to and from these
 * bytes: what was read is written again with the same bytes (psc_results.h). */
#include "spread_results.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const files[] = {"results.json", "tensors.safetensors"};
#define PREFIX "pythiascope-rank-"

typedef struct head {
    int64_t tokens;
    int32_t width, sections, one_line, unused;
    uint64_t sizes[2];
} head;

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results of a rank");
}

/* --- the folder ------------------------------------------------------------------------------ */

typedef struct place {
    char folder[512], path[600];
} place;

static const char *parent(void) {
    const char *folder = getenv("TMPDIR");
    return folder && *folder ? folder : "/tmp";
}

static void remove_folder(const char *folder) {
    char path[600];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

/* What processes left that were killed. */
static void sweep(void) {
    DIR *list = opendir(parent());
    const struct dirent *entry;
    char folder[512];
    while (list && (entry = readdir(list))) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0) continue;
        const long process = strtol(entry->d_name + strlen(PREFIX), NULL, 10);
        if (process <= 0 || kill((pid_t)process, 0) == 0 || errno != ESRCH) continue;
        const int n = snprintf(folder, sizeof folder, "%s/%.255s", parent(), entry->d_name);
        if (n > 0 && (size_t)n < sizeof folder) remove_folder(folder);
    }
    if (list) closedir(list);
}

static psc_status make_place(place *out, psc_error *error) {
    static bool swept;
    if (!swept) sweep();
    swept = true;
    const int n = snprintf(
        out->folder, sizeof out->folder, "%.400s/" PREFIX "%ld-XXXXXX", parent(), (long)getpid());
    if (n > 0 && (size_t)n < sizeof out->folder && mkdtemp(out->folder)) return PSC_OK;
    return psc_fail(
        error, PSC_ERROR_IO, "cannot make a folder in %.400s: %s", parent(), strerror(errno));
}

static const char *path_of(place *p, size_t file) {
    snprintf(p->path, sizeof p->path, "%s/%s", p->folder, files[file]);
    return p->path;
}

/* --- packing --------------------------------------------------------------------------------- */

static psc_status append(
    char **bytes, size_t *n, const char *path, uint64_t *size, psc_error *error) {
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0) {
        if (file) fclose(file);
        return psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", path, strerror(errno));
    }
    *size = (uint64_t)info.st_size;
    char *more = realloc(*bytes, *n + (size_t)*size + 1);
    if (more) *bytes = more;
    const bool whole = more && fread(more + *n, 1, (size_t)*size, file) == *size;
    fclose(file);
    if (!more) return no_memory(error);
    if (!whole) return psc_fail(error, PSC_ERROR_IO, "cannot read all of %s", path);
    *n += (size_t)*size;
    return PSC_OK;
}

psc_status cli_results_pack(char **bytes, size_t *n, const cli_delivery *how,
    const psc_results *results, psc_error *error) {
    head h = {.tokens = how->tokens,
        .width = how->width,
        .sections = how->sections,
        .one_line = how->one_line};
    place p;
    *n = sizeof h;
    *bytes = malloc(*n);
    if (!*bytes) return no_memory(error);
    psc_status status = make_place(&p, error);
    if (status) return status;
    status = psc_results_write_folder(results, p.folder, error);
    for (size_t i = 0; !status && i < sizeof files / sizeof *files; i++)
        status = append(bytes, n, path_of(&p, i), &h.sizes[i], error);
    remove_folder(p.folder);
    memcpy(*bytes, &h, sizeof h);
    return status;
}

/* --- unpacking ------------------------------------------------------------------------------- */

static psc_status write_one(const char *path, const char *bytes, size_t n, psc_error *error) {
    FILE *file = fopen(path, "wb");
    const bool whole = file && fwrite(bytes, 1, n, file) == n;
    if (file && fclose(file) == 0 && whole) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot write %s: %s", path, strerror(errno));
}

psc_status cli_results_unpack(
    cli_delivery *how, psc_results **results, const char *bytes, size_t n, psc_error *error) {
    head h;
    place p;
    *results = NULL;
    if (n < sizeof h)
        return psc_fail(error, PSC_ERROR_INPUT, "the results of a rank are cut short");
    memcpy(&h, bytes, sizeof h);
    if (h.sizes[0] > n || h.sizes[1] > n || sizeof h + h.sizes[0] + h.sizes[1] != n)
        return psc_fail(error, PSC_ERROR_INPUT, "the results of a rank are cut short");
    *how = (cli_delivery){
        .tokens = h.tokens, .width = h.width, .sections = h.sections, .one_line = h.one_line};
    psc_status status = make_place(&p, error);
    if (status) return status;
    bytes += sizeof h;
    status = write_one(path_of(&p, 0), bytes, (size_t)h.sizes[0], error);
    if (!status) status = write_one(path_of(&p, 1), bytes + h.sizes[0], (size_t)h.sizes[1], error);
    if (!status) status = psc_results_read_folder(results, p.folder, error);
    remove_folder(p.folder);
    return status;
}
