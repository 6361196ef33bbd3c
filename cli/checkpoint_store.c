/* DIR.steps/command names what the results depend on; DIR.steps/LABEL is a folder of results, whole
 * or not there. */
#undef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* nftw */
#include "checkpoint_store.h"

#include "say.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input.h"

enum { COMMAND_SIZE = 1 << 16 };

/* --- the command ----------------------------------------------------------------------------- */

/* Options that change no result, and those that say where the results go. */
static bool is_ignored(const char *option) {
    static const char *const names[] = {"model", "out", "json", "html", "threads", "isa", "chunk",
        "retain", "batch", "state", "save-seconds", "cache-dir", "cache-limit", "no-cache", "time",
        "mpi", "mpi-timeout"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], option) == 0) return true;
    return false;
}

/* One line for each thing that the results depend on; false if they do not fit. --html is one,
 * because it adds plugins. */
static bool describe(
    char *out, size_t size, const cli_arguments *arguments, const char *base, const char *target) {
    int used =
        snprintf(out, size, "pythiascope %s\n%s\nmodel %s\ntarget %s\npage %d\n", psc_version(),
            arguments->verb->name, base, target ? target : "", cli_has(arguments, "html"));
    for (int i = 0; used > 0 && (size_t)used < size && i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        if (is_ignored(given->option->name)) continue;
        used += snprintf(out + used, size - (size_t)used, "--%s %s %s\n", given->option->name,
            given->values[0] ? given->values[0] : "", given->values[1] ? given->values[1] : "");
    }
    for (int i = 0; used > 0 && (size_t)used < size && i < arguments->n_operands; i++)
        used += snprintf(out + used, size - (size_t)used, "%s\n", arguments->operands[i]);
    return used > 0 && (size_t)used < size;
}

/* "FOLDER/NAME" in fresh memory; null without memory. */
static char *join(const char *folder, const char *name) {
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path) snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static psc_status cannot(psc_error *error, const char *what, const char *path) {
    return psc_fail(error, PSC_ERROR_IO, "cannot %s %.400s: %s", what, path, strerror(errno));
}

/* The file appears whole, so that a killed run leaves none or one that can be compared. */
static psc_status write_command(const char *path, const char *text, psc_error *error) {
    char temporary[4200];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    FILE *file = fopen(temporary, "wb");
    if (!file) return cannot(error, "write", temporary);
    const bool written = fputs(text, file) != EOF;
    if (fclose(file) != 0 || !written || rename(temporary, path) != 0)
        return cannot(error, "write", path);
    return PSC_OK;
}

/* Writes the command into a new folder, or compares it with that of an earlier run. */
static psc_status compare(
    const char *folder, const char *path, const char *text, psc_error *error) {
    FILE *file;
    if (access(path, F_OK) != 0 && errno == ENOENT) return write_command(path, text, error);
    psc_status status = cli_input_open(&file, path, error);
    if (status) return status;
    char *found = calloc(1, COMMAND_SIZE + 1);
    const size_t n = found ? fread(found, 1, COMMAND_SIZE, file) : 0;
    const bool read = found && !ferror(file),
               same = read && n == strlen(text) && strcmp(found, text) == 0;
    if (!found)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to read %.400s", path);
    else if (!read)
        status = cannot(error, "read", path);
    fclose(file);
    free(found);
    if (status || same) return status;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%.400s holds checkpoints of another command; remove it, or pass a different --out",
        folder);
}

/* --- the folder ------------------------------------------------------------------------------ */

/* DIR.steps, for a DIR that may end in slashes; null without memory. */
static char *folder_of(const char *out) {
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') n--;
    char *folder = malloc(n + sizeof ".steps");
    if (!folder) return NULL;
    memcpy(folder, out, n); // NOLINT(bugprone-not-null-terminated-result): .steps brings its 0
    memcpy(folder + n, ".steps", sizeof ".steps");
    return folder;
}

psc_status cli_checkpoint_store_open(cli_checkpoint_store *out, const cli_arguments *arguments,
    const char *base, const char *target, psc_error *error) {
    const char *place = cli_value(arguments, "out");
    *out = (cli_checkpoint_store){0};
    if (!place) return PSC_OK;
    char *text = calloc(1, COMMAND_SIZE);
    out->folder = folder_of(place);
    char *path = out->folder ? join(out->folder, "command") : NULL;
    psc_status status = PSC_OK;
    if (!text || !path)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the command");
    else if (strlen(path) > 4090 || !describe(text, COMMAND_SIZE, arguments, base, target))
        status = psc_fail(error, PSC_ERROR_INPUT, "the command is too long to keep checkpoints of");
    else if (mkdir(out->folder, 0777) != 0 && errno != EEXIST)
        status = cannot(error, "make", out->folder);
    if (!status) status = cli_lock_take(&out->lock, path, out->folder, "--out", error);
    if (!status) status = compare(out->folder, path, text, error);
    free(text);
    free(path);
    return status;
}

psc_status cli_checkpoint_store_read(
    psc_results **out, const cli_checkpoint_store *store, const char *label, psc_error *error) {
    struct stat info;
    *out = NULL;
    if (!store->folder) return PSC_OK;
    char *path = join(store->folder, label);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    psc_status status = PSC_OK;
    if (stat(path, &info) == 0)
        status = psc_results_read_folder(out, path, error);
    else if (errno != ENOENT)
        status = cannot(error, "read", path);
    free(path);
    return status;
}

psc_status cli_checkpoint_store_keep(const cli_checkpoint_store *store, const char *label,
    const psc_results *results, psc_error *error) {
    if (!store->folder) return PSC_OK;
    char *path = join(store->folder, label);
    if (!path) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    const psc_status status = psc_results_write_folder(results, path, error);
    free(path);
    return status;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void cli_checkpoint_store_remove(const cli_checkpoint_store *store) {
    if (!store->folder || nftw(store->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0) return;
    cli_say("note: cannot remove %.400s: %s; the results are whole, so it may be removed",
        store->folder, strerror(errno));
}

void cli_checkpoint_store_close(cli_checkpoint_store *store) {
    cli_lock_release(&store->lock);
    free(store->folder);
    *store = (cli_checkpoint_store){0};
}
