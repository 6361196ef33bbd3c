/* What the verbs that run plugins share: loading one, and delivering the results.
 * Private to cli/. Includes cli.h and psc.h.
 * Threads: main thread only.
 * Ownership: nothing is kept. */
#ifndef SETUP_H
#define SETUP_H

#include "cli.h"
#include "psc.h"

/* "NAME[:key=value,...]" */
psc_status cli_add_plugin(psc_session *session, const char *argument, psc_error *error);
/* Writes the folder of --out, then prints JSON with --json, or the summary without. */
psc_status cli_deliver(
    const psc_results *results, const cli_arguments *arguments, psc_error *error);

/* The plugin of a verb that is one plugin; passes on the options that verb and plugin share. */
typedef struct cli_plugin {
    const char *name;
    psc_option options[8];
    int32_t n;
} cli_plugin;
/* Takes the values given for keys (ends with null); they are borrowed from arguments. */
cli_plugin cli_plugin_of(const cli_arguments *arguments, const char *name, const char *const *keys);
psc_status cli_plugin_load(psc_session *session, const cli_plugin *plugin, psc_error *error);

/* A whole run over one text, with the options CLI_PROMPT_OPTIONS, CLI_RUN_OPTIONS, target,
 * contrast, json and out. plugin: the only plugin; null: those of the arguments. Returns an exit
 * code (analyze.c). */
int cli_analyze(const cli_arguments *arguments, const cli_plugin *plugin);

// clang-format off
/* Option rows for the verbs that call cli_deliver; for those that call cli_setup_write. */
#define CLI_OUTPUT_OPTIONS                                                                         \
    {"json", 0, false, "", "print results.json instead of the summary"},                           \
    {"out", 1, false, "DIR",                                                                       \
        "write DIR/results.json and DIR/tensors.safetensors,\n"                                    \
        "both or neither; DIR must be new or empty"}
#define CLI_SETUP_OPTIONS                                                                          \
    {"target", 1, true, "T",                                                                       \
        "what to explain: text of one token, #ID, next or\n"                                       \
        "top:K; repeatable; default: next"},                                                       \
    {"contrast", 2, true, "A B", "the logit of A minus that of B; repeatable"},                    \
    {"plugin", 1, true, "NAME[:key=value,...]",                                                    \
        "a built-in or the path of a shared object, with its\n"                                    \
        "options; repeatable; default: logits, ln, mlp"}
// clang-format on

/* Targets, contrasts and plugins as text for a state file, and from such text into a session. The
 * caller frees *out with free. */
psc_status cli_setup_write(char **out, const cli_arguments *arguments, psc_error *error);
psc_status cli_setup_apply(psc_session *session, const char *setup, psc_error *error);

#endif
