/* The folder: --cache-dir, $PSC_CACHE_DIR, $XDG_CACHE_HOME/pythiascope, ~/.cache/pythiascope or on
 * macOS ~/Library/Caches/pythiascope. An empty or relative variable counts as unset, as in the XDG
 * specification. The limit: --cache-limit, $PSC_CACHE_LIMIT. */
#include "cache_folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"

#ifdef __APPLE__
#define HOME_CACHES "Library/Caches"
#else
#define HOME_CACHES ".cache"
#endif

static char folder[4096];
static psc_model_options chosen = PSC_MODEL_OPTIONS_INIT;

/* The value of a variable if it is an absolute path, else null. */
static const char *absolute(const char *variable) {
    const char *value = getenv(variable);
    return value && *value == '/' ? value : NULL;
}

static const char *find_folder(void) {
    const char *own = absolute("PSC_CACHE_DIR"), *caches = absolute("XDG_CACHE_HOME");
    const char *home = absolute("HOME");
    int n = -1;
    if (own)
        n = snprintf(folder, sizeof folder, "%s", own);
    else if (caches)
        n = snprintf(folder, sizeof folder, "%s/pythiascope", caches);
    else if (home)
        n = snprintf(folder, sizeof folder, "%s/" HOME_CACHES "/pythiascope", home);
    return n > 0 && (size_t)n < sizeof folder ? folder : NULL;
}

/* "500M" -> bytes; 0 for anything else. */
static uint64_t parse_size(const char *text) {
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || errno) return 0;
    const char *unit = *end ? strchr(units, *end & ~32) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if ((*end && (!unit || end[1])) || n > UINT64_MAX >> shift) return 0;
    return (uint64_t)n << shift;
}

int cli_cache_choose(const cli_arguments *arguments) {
    const char *dir = cli_value(arguments, "cache-dir");
    const char *limit = cli_value(arguments, "cache-limit");
    const char *variable = getenv("PSC_CACHE_LIMIT");
    chosen = (psc_model_options)PSC_MODEL_OPTIONS_INIT;
    if (dir && !*dir) return cli_usage(arguments->verb, "--cache-dir needs a folder");
    if (dir && cli_has(arguments, "no-cache"))
        return cli_usage(arguments->verb, "--cache-dir and --no-cache are mutually exclusive");
    if (limit && !(chosen.cache_limit = parse_size(limit)))
        return cli_usage(
            arguments->verb, "--cache-limit needs a size like 500M or 20G, not '%s'", limit);
    if (!limit && variable && *variable && !(chosen.cache_limit = parse_size(variable)))
        return cli_usage(arguments->verb,
            "the environment variable PSC_CACHE_LIMIT needs a size like 500M or 20G, not '%s'",
            variable);
    if (!cli_has(arguments, "no-cache")) chosen.cache_dir = dir ? dir : find_folder();
    return CLI_OK;
}

void cli_cache_turn_off(void) {
    chosen.cache_dir = NULL;
}

void cli_cache_say(const psc_model *model) {
    static const char begin[] = "packed, not cached: ", refused[] = "the cache folder ";
    static bool said;
    char note[1400];
    const char *reason = psc_model_weights_text(model);
    if (said || strncmp(reason, begin, sizeof begin - 1) != 0) return;
    reason += sizeof begin - 1;
    if (strncmp(reason, refused, sizeof refused - 1) != 0) return;
    snprintf(note, sizeof note, "note: the cache is not used: %s", reason);
    cli_progress_line(note);
    said = true;
}

const psc_model_options *cli_cache_options(void) {
    return &chosen;
}
