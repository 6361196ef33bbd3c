/* Three places, the first that holds the file: <the program's folder>/../share/pythiascope, the
 * program's folder (in a Python wheel and in a build), PSC_DATADIR/pythiascope. The first two move
 * with the installation. */
#undef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath */
#include "embedded_model.h"

#include "report.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#include <stdint.h>
#endif

/* The folder of the running program, without a final slash. */
static bool program_folder(char *out, size_t size) {
#ifdef __APPLE__
    uint32_t room = (uint32_t)size;
    if (_NSGetExecutablePath(out, &room) != 0) return false;
#else
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0 || (size_t)n >= size - 1) return false;
    out[n] = 0;
#endif
    char *slash = strrchr(out, '/');
    if (slash) *slash = 0;
    return slash != NULL;
}

/* The path of models/<name> at a place, if the file models/<name><file> is there. */
static bool is_there(
    char *out, size_t size, const char *place, const char *name, const char *file) {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/models/%s%s", place, name, file);
    if (n <= 0 || (size_t)n >= sizeof path || access(path, R_OK) != 0) return false;
    n = snprintf(out, size, "%s/models/%s", place, name);
    return n > 0 && (size_t)n < size;
}

/* In a build, models is a link: results name the folder of the tree. */
static bool follow(char *path, size_t size) {
    char *real = realpath(path, NULL);
    if (real && strlen(real) < size) memcpy(path, real, strlen(real) + 1);
    free(real);
    return true;
}

static bool find(char *out, size_t size, const char *name, const char *file) {
    char program[2048], place[2080];
    if (program_folder(program, sizeof program)) {
        snprintf(place, sizeof place, "%s/../share/pythiascope", program);
        if (is_there(out, size, place, name, file)) return true;
        if (is_there(out, size, program, name, file)) return follow(out, size);
    }
    return is_there(out, size, PSC_DATADIR "/pythiascope", name, file);
}

psc_status cli_find_embedded(char *out, size_t size, psc_error *error) {
    if (find(out, size, "books-5m", "/config.json")) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "the embedded model is neither installed nor beside the program; pass --model MODEL");
}

bool cli_find_embedded_named(char *out, size_t size, const char *model) {
    const char *at = strchr(model, '@');
    const size_t n = at ? (size_t)(at - model) : strlen(model);
    const bool steps = n == strlen("books-0.5m") && strncmp(model, "books-0.5m", n) == 0;
    if (!steps && (n != strlen("books-5m") || strncmp(model, "books-5m", n) != 0)) return false;
    if (access(model, F_OK) == 0) return false; /* a folder of the user has that name */
    if (!find(out, size, steps ? "books-0.5m" : "books-5m",
            steps ? "/step0/config.json" : "/config.json"))
        return false;
    const size_t used = strlen(out);
    if (at && used + strlen(at) >= size) return false;
    if (at) memcpy(out + used, at, strlen(at) + 1);
    return true;
}

static const char *embedded_name(const void *list, int32_t i) {
    static const char *const names[] = {"books-5m", "books-0.5m", NULL};
    (void)list;
    return names[i];
}

void cli_suggest_embedded(psc_error *error, const char *model) {
    char hint[PSC_REPORT_SUGGESTION];
    const size_t used = strlen(error->message);
    if (access(model, F_OK) == 0) return;
    psc_report_suggest(hint, model, strcspn(model, "@"), "", embedded_name, NULL);
    snprintf(error->message + used, sizeof error->message - used, "%s", hint);
}

psc_status cli_find_english_forms(char *out, size_t size, psc_error *error) {
    if (find(out, size, "forms/english.tsv", "")) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "the list of English forms is neither installed nor beside the program; pass a FILE");
}
