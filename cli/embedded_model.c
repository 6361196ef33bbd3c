/* Three places, the first that holds a config.json: <the program's folder>/../share/pythiascope,
 * the source tree, PSC_DATADIR/pythiascope. The first one moves with the installation. */
#include "embedded_model.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#include <stdint.h>
#endif

#define EMBEDDED_NAME "models/books-5m"

/* The folder of the running program, with its final slash. */
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
    if (slash) slash[1] = 0;
    return slash != NULL;
}

static bool has_model(const char *folder) {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/config.json", folder);
    return n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0;
}

psc_status cli_find_embedded(char *out, size_t size, psc_error *error) {
    char program[2048];
    if (program_folder(program, sizeof program)) {
        snprintf(out, size, "%s../share/pythiascope/" EMBEDDED_NAME, program);
        if (has_model(out)) return PSC_OK;
    }
    snprintf(out, size, "%s/" EMBEDDED_NAME, PSC_SOURCE_DIR);
    if (has_model(out)) return PSC_OK;
    snprintf(out, size, "%s/pythiascope/" EMBEDDED_NAME, PSC_DATADIR);
    if (has_model(out)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "the embedded model is neither installed nor in the source tree; pass --model DIR");
}
