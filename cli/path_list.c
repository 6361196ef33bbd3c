/* The whole list is read at once; its lines become strings in place. */
#include "path_list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"

#define MOST_BYTES ((size_t)1 << 30)
#define MOST_PATHS 10000000

static psc_status no_memory(const char *name, psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the list %s", name);
}

static psc_status open_list(FILE **out, const char *name, psc_error *error) {
    char what[1100];
    *out = stdin;
    if (strcmp(name, "-") == 0) return PSC_OK;
    snprintf(what, sizeof what, "the list %.1080s", name);
    return cli_input_once(out, name, what, error);
}

/* All bytes of the list, and a 0 byte behind them. */
static psc_status read_text(
    char **text, size_t *bytes, FILE *file, const char *name, psc_error *error) {
    size_t room = 0;
    while (!feof(file)) {
        if (*bytes + 1 >= room) {
            room = room ? 2 * room : (size_t)1 << 16;
            char *more = room <= 2 * MOST_BYTES ? realloc(*text, room) : NULL;
            if (!more) return no_memory(name, error);
            *text = more;
        }
        *bytes += fread(*text + *bytes, 1, room - *bytes - 1, file);
        if (ferror(file))
            return psc_fail(
                error, PSC_ERROR_IO, "cannot read the list %s: %s", name, strerror(errno));
        if (*bytes > MOST_BYTES)
            return psc_fail(error, PSC_ERROR_INPUT,
                "the list %s has more than %zu MiB; name folders instead of files", name,
                MOST_BYTES >> 20);
    }
    (*text)[*bytes] = 0;
    return PSC_OK;
}

/* Cuts the text at its lines' ends, or at its 0 bytes if it has any. Counts the paths; writes them
 * unless `paths` is null. */
static int64_t cut(const char **paths, char *text, size_t bytes) {
    const char end = memchr(text, 0, bytes) ? 0 : '\n';
    int64_t n = 0;
    for (char *at = text; at < text + bytes;) {
        char *stop = memchr(at, end, (size_t)(text + bytes - at));
        if (!stop) stop = text + bytes;
        const bool any = stop > at && *at;
        if (any && paths) paths[n] = at;
        n += any;
        if (paths) *stop = 0;
        at = stop + 1;
    }
    return n;
}

psc_status cli_path_list_read(cli_path_list *out, const char *name, const char *const *first,
    int32_t n_first, psc_error *error) {
    size_t bytes = 0;
    *out = (cli_path_list){0};
    FILE *file;
    psc_status status = open_list(&file, name, error);
    if (status) return status;
    status = read_text(&out->text, &bytes, file, name, error);
    if (file != stdin) fclose(file);
    const int64_t n = status ? 0 : cut(NULL, out->text, bytes);
    if (!status && n == 0)
        status = psc_fail(error, PSC_ERROR_INPUT, "the list %s has no paths", name);
    if (!status && n > MOST_PATHS)
        status = psc_fail(
            error, PSC_ERROR_INPUT, "the list %s has more than %d paths", name, MOST_PATHS);
    if (!status && !(out->paths = calloc((size_t)(n_first + n), sizeof *out->paths)))
        status = no_memory(name, error);
    if (!status) {
        if (n_first > 0) memcpy(out->paths, first, (size_t)n_first * sizeof *out->paths);
        cut(out->paths + n_first, out->text, bytes);
        out->n = n_first + (int32_t)n;
    } else {
        cli_path_list_free(out);
    }
    return status;
}

void cli_path_list_free(cli_path_list *list) {
    free(list->paths);
    free(list->text);
    *list = (cli_path_list){0};
}
