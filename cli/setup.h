/* What the verbs that run plugins share: targets, plugins, and delivering the results.
 * Private to cli/. Includes cli.h, psc.h and timing.h.
 * Threads: main thread only.
 * Ownership: nothing is kept. */
#ifndef SETUP_H
#define SETUP_H

#include "cli.h"
#include "psc.h"
#include "timing.h"

/* argument: "NAME[:key=value,...]". The caller frees the name by free(); null without memory. */
char *cli_plugin_name(const char *argument);
/* Whether the argument names this plugin. */
bool cli_names_plugin(const char *argument, const char *name);
psc_status cli_add_plugin(psc_session *session, const char *argument, psc_error *error);
/* Loads a plugin that a state file recorded. A path is loaded only if --plugin names the file, and
 * from there: a state file of a stranger makes the program run no code. */
psc_status cli_add_recorded_plugin(
    psc_session *session, const char *recorded, const cli_arguments *arguments, psc_error *error);
/* PSC_ERROR_INPUT if --plugin names another file than the recorded ones ([n]). */
psc_status cli_check_recorded_plugins(
    const cli_arguments *arguments, const char *const *recorded, size_t n, psc_error *error);
/* Loads the plugins of --plugin, if any. */
psc_status cli_add_given_plugins(
    psc_session *session, const cli_arguments *arguments, psc_error *error);
/* Loads the plugins of --plugin; without it those of cli_default_plugins, which ends with null. */
psc_status cli_add_plugins(psc_session *session, const cli_arguments *arguments, psc_error *error);
extern const char *const cli_default_plugins[];
/* Adds the targets of --target and --contrast, in the order given. */
psc_status cli_add_targets(psc_session *session, const cli_arguments *arguments, psc_error *error);
/* Checks the folder of --out and the file of --html before the work. */
psc_status cli_check_out(const cli_arguments *arguments, psc_error *error);
/* The same for the file of --html only. */
psc_status cli_check_page(const cli_arguments *arguments, psc_error *error);
/* What results.json has besides the results: the command, with --time the time. */
typedef struct cli_description {
    psc_format_options options;
    psc_result_time time;
    char *command; /* the caller frees it by free(), also after an error */
} cli_description;
/* n_tokens: of the work; negative: those of the results. */
psc_status cli_describe(cli_description *out, const psc_results *results, int64_t n_tokens,
    const cli_arguments *arguments, psc_error *error);
/* Writes the folder of --out, if given, and says so unless --json is given. */
psc_status cli_write_out(const psc_results *results, const psc_format_options *options,
    const cli_arguments *arguments, psc_error *error);
/* Writes the folder of --out and the page of --html, then prints JSON with --json, or the summary
 * without. */
psc_status cli_deliver(
    const psc_results *results, const cli_arguments *arguments, psc_error *error);
/* The same with what a verb knows besides. */
typedef struct cli_delivery {
    int32_t width;                    /* of the summary; 0: the terminal's */
    int32_t sections;                 /* that the summary has, from the first on; 0: all */
    const psc_results *beside;        /* nullable: on the page beside the results */
    const char *label, *beside_label; /* of the two on the page; nullable */
    int64_t tokens;                   /* of the work, for --time; 0: those of the results */
    int32_t one_line;                 /* nonzero: --json prints one line */
} cli_delivery;
psc_status cli_deliver_as(const cli_delivery *how, const psc_results *results,
    const cli_arguments *arguments, psc_error *error);

/* Takes what a verb delivers, in place of files and output. */
typedef psc_status (*cli_sink)(
    const cli_delivery *how, const psc_results *results, void *payload, psc_error *error);
/* From now on cli_deliver and cli_deliver_as give to the sink; null: they write and print again. */
void cli_collect(cli_sink sink, void *payload);
/* Whether a sink collects: then only finished results may be delivered. */
bool cli_is_collected(void);
/* A verb says that a signal stopped it before it delivered; whether one has said so. */
void cli_say_stopped(void);
bool cli_is_stopped(void);

/* The plugin of a verb that is one plugin; passes on the options that verb and plugin share. */
typedef struct cli_plugin {
    const char *name;
    psc_option options[12];
    int32_t n;
} cli_plugin;
/* Takes the values given for keys (ends with null); they are borrowed from arguments. */
cli_plugin cli_plugin_of(const cli_arguments *arguments, const char *name, const char *const *keys);
psc_status cli_plugin_load(psc_session *session, const cli_plugin *plugin, psc_error *error);

/* A whole run over one text, with the options CLI_PROMPT_OPTIONS, CLI_TARGET_OPTIONS,
 * CLI_RUN_OPTIONS and CLI_OUTPUT_OPTIONS. plugin: the only plugin; null: those of the arguments.
 * Returns an exit code (analyze.c). */
int cli_analyze(const cli_arguments *arguments, const cli_plugin *plugin);

// clang-format off
/* Option rows for the verbs that call cli_deliver, cli_add_targets, cli_add_plugins. */
#define CLI_OUTPUT_OPTIONS                                                                         \
    {"json", 0, false, "", "print results.json instead of the summary"},                           \
    {"out", 1, false, "DIR",                                                                       \
        "write DIR/results.json and DIR/tensors.safetensors,\n"                                    \
        "both or neither; DIR must be new or empty"},                                              \
    {"html", 1, false, "FILE",                                                                     \
        "write a page for a browser: one file with figures of\n"                                   \
        "all results, which needs no network"},                                                    \
    CLI_TIME_OPTION
#define CLI_TARGET_OPTIONS(by_default)                                                             \
    {"target", 1, true, "T",                                                                       \
        "what to explain: text of one token, #ID, next or\n"                                       \
        "top:K; repeatable; default: " by_default},                                                \
    {"contrast", 2, true, "A B", "the logit of A minus that of B; repeatable"}
#define CLI_PLUGIN_OPTION(by_default)                                                              \
    {"plugin", 1, true, "NAME[:key=value,...]",                                                    \
        "a built-in or the path of a shared object, with its\n"                                    \
        "options (pythiascope plugins lists all); repeatable;\n"                                   \
        "default: " by_default},                                                                   \
    {"check-plugins", 0, false, "",                                                                \
        "fail if a plugin writes to a tensor that it only\n"                                       \
        "observes; for authors of plugins, slower"}
// clang-format on

#endif
