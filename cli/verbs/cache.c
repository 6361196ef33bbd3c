/* cache: shows, verifies or clears the folder of packed weights. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache_folder.h"
#include "report.h"

enum { LEAST_DIGITS = 6 }; /* of a hash on the command line */

static const cli_option options[] = {
    CLI_CACHE_PLACE_OPTIONS,
    {0},
};

typedef struct listing {
    const char *dir;
    psc_cache_entry *entries;
    int32_t n;
} listing;

static void print_size(uint64_t bytes) {
    if (bytes >> 30)
        printf("%7.1f GiB", (double)bytes / (double)(1 << 30));
    else
        printf("%7.1f MiB", (double)bytes / (double)(1 << 20));
}

static void print_entry(const psc_cache_entry *entry) {
    char shown[2048], day[32] = "?";
    time_t used = (time_t)entry->used;
    struct tm local;
    if (localtime_r(&used, &local)) strftime(day, sizeof day, "%Y-%m-%d %H:%M", &local);
    const char *model = entry->model[0] ? entry->model : "(unknown folder)";
    psc_report_escape(shown, sizeof shown, model, strlen(model));
    printf("  %s ", entry->hash);
    print_size(entry->bytes);
    printf("  used %s  %s%s\n", day, shown, entry->current ? "" : " (another version)");
}

static int show(const listing *list) {
    char shown[4096];
    uint64_t total = 0, limit = cli_cache_options()->cache_limit;
    for (int32_t i = 0; i < list->n; i++) total += list->entries[i].bytes;
    psc_report_escape(shown, sizeof shown, list->dir, strlen(list->dir));
    printf("%s\n", shown);
    for (int32_t i = 0; i < list->n; i++) print_entry(&list->entries[i]);
    printf("  %" PRId32 " model%s, ", list->n, list->n == 1 ? "" : "s");
    print_size(total);
    printf(", limit ");
    print_size(limit ? limit : PSC_CACHE_LIMIT_DEFAULT);
    printf("\n");
    return CLI_OK;
}

static int clear(const listing *list, const char *hash, psc_error *error) {
    if (!hash && psc_cache_clear(list->dir, NULL, error)) return cli_fail(error);
    int32_t removed = 0;
    uint64_t bytes = 0;
    for (int32_t i = 0; i < list->n; i++) {
        const psc_cache_entry *entry = &list->entries[i];
        if (hash && strncmp(entry->hash, hash, strlen(hash)) != 0) continue;
        if (hash && psc_cache_clear(list->dir, entry->name, error)) return cli_fail(error);
        removed++;
        bytes += entry->bytes;
    }
    printf("removed %" PRId32 " model%s, ", removed, removed == 1 ? "" : "s");
    print_size(bytes);
    printf("\n");
    return CLI_OK;
}

static int verify(const listing *list, const char *hash, psc_error *error) {
    int code = CLI_OK;
    for (int32_t i = 0; i < list->n; i++) {
        const psc_cache_entry *entry = &list->entries[i];
        if (hash && strncmp(entry->hash, hash, strlen(hash)) != 0) continue;
        if (psc_cache_verify(list->dir, entry->name, error))
            code = cli_fail(error);
        else
            printf("%s is intact\n", entry->hash);
    }
    return code;
}

/* The entry whose hash is `hash` or begins with it. */
static int check_hash(const listing *list, const char *hash, const cli_verb *verb) {
    psc_error error;
    size_t n = strlen(hash);
    if (n < LEAST_DIGITS || n > 32 || strspn(hash, "0123456789abcdef") != n)
        return cli_usage(verb, "HASH needs 6 to 32 hexadecimal digits, not '%s'", hash);
    for (int32_t i = 0; i < list->n; i++)
        if (strncmp(list->entries[i].hash, hash, n) == 0) return CLI_OK;
    psc_fail(&error, PSC_ERROR_INPUT, "%s contains no model %s", list->dir, hash);
    return cli_fail(&error);
}

static int run_cache(const cli_arguments *arguments) {
    psc_error error = {0};
    listing list = {.dir = cli_cache_options()->cache_dir};
    const char *what = arguments->n_operands > 0 ? arguments->operands[0] : NULL;
    const char *hash = arguments->n_operands > 1 ? arguments->operands[1] : NULL;
    bool clears = what && strcmp(what, "clear") == 0;
    if (what && !clears && strcmp(what, "verify") != 0)
        return cli_usage(arguments->verb, "cache takes clear or verify, not '%s'", what);
    if (!list.dir) {
        psc_fail(&error, PSC_ERROR_INPUT, "no cache folder: HOME is not set; pass --cache-dir DIR");
        return cli_fail(&error);
    }
    if (psc_cache_list(&list.entries, &list.n, list.dir, &error)) return cli_fail(&error);
    int code = hash ? check_hash(&list, hash, arguments->verb) : CLI_OK;
    if (!code && !what) code = show(&list);
    if (!code && what) code = clears ? clear(&list, hash, &error) : verify(&list, hash, &error);
    psc_free(list.entries);
    return code;
}

const cli_verb cli_verb_cache = {
    .name = "cache",
    .summary = "Shows, clears or verifies the cache of packed weights.",
    .usage = "[clear [HASH] | verify [HASH]] [options]",
    .notes =
        "HASH is a model's hash or its first digits, at least 6. A model of 64 MiB or more is\n"
        "packed once and cached, so that later starts are faster. At the limit the least recently\n"
        "used models are removed. verify checks whole files against their hashes; a start checks\n"
        "only files of up to 2 GiB.",
    .options = options,
    .max_operands = 2,
    .run = run_cache,
};
