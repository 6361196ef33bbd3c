/* Where packed weights are kept: --cache-dir, --cache-limit and --no-cache, or the environment.
 * Private to cli/. Includes cli.h and psc.h.
 * Threads: main thread only.
 * Ownership: the options borrow static storage and argv. */
#ifndef CACHE_FOLDER_H
#define CACHE_FOLDER_H

#include "cli.h"
#include "psc.h"

/* Rows for the option tables of verbs that open a model. */
// clang-format off
#define CLI_CACHE_PLACE_OPTIONS                                                                    \
    {"cache-dir", 1, false, "DIR",                                                                 \
        "the cache folder of packed weights; default:\n"                                           \
        "$PSC_CACHE_DIR, or pythiascope in the user's cache\n"                                     \
        "folder"},                                                                                 \
    {"cache-limit", 1, false, "SIZE",                                                              \
        "the size limit of the cache, such as 500M or 20G;\n"                                      \
        "default: $PSC_CACHE_LIMIT, or 32G"}
#define CLI_CACHE_OPTIONS                                                                          \
    CLI_CACHE_PLACE_OPTIONS,                                                                       \
    {"no-cache", 0, false, "", "neither read nor write the cache of packed weights"}
// clang-format on

/* Determines the options for this run of the program; 0, or CLI_USAGE after a sentence. */
int cli_cache_choose(const cli_arguments *arguments);
/* Neither reads nor writes the cache from now on. */
void cli_cache_turn_off(void);
/* A note on stderr if the folder was refused because it cannot be trusted, once per run. A folder
 * that cannot be written to has no note: the model opens without it, and info --load says why. */
void cli_cache_say(const psc_model *model);
/* The options as determined; cache_dir is null without a cache. */
const psc_model_options *cli_cache_options(void);

#endif
