/* What the verbs of the command line share: options, messages, exit codes.
 * Private to cli/. Includes psc_error.h only.
 * Threads: main thread only.
 * Ownership: arguments borrow argv; cli_free_arguments frees the lists. */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "psc_error.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 }; /* exit codes */

typedef struct cli_option {
    const char *name;   /* without the dashes; null ends a list */
    int n_values;       /* 0, 1 or 2 */
    bool repeatable;    /* otherwise given at most once */
    const char *values; /* as the help shows them: "DIR" */
    const char *help;
} cli_option;

typedef struct cli_given {
    const cli_option *option;
    const char *values[2];
} cli_given;

typedef struct cli_verb cli_verb;

typedef struct cli_arguments {
    const cli_verb *verb;
    cli_given *given; /* in the order of the command line */
    int n_given;
    const char **operands;
    int n_operands;
    int n_typed;
    char **typed; /* what follows the verb, as the user typed it */
    bool help;
} cli_arguments;

struct cli_verb {
    const char *name, *summary;
    const char *usage; /* what follows "pythiascope NAME" */
    const char *notes; /* printed after the options; nullable */
    const cli_option *options;
    int max_operands;
    int (*run)(const cli_arguments *arguments); /* returns an exit code */
};

extern const cli_verb cli_verb_analyze, cli_verb_bench, cli_verb_sweep, cli_verb_cache,
    cli_verb_corpus, cli_verb_directions, cli_verb_forms, cli_verb_generate, cli_verb_info,
    cli_verb_merge, cli_verb_plugins, cli_verb_pull, cli_verb_score, cli_verb_treebank,
    cli_verb_probe, cli_verb_view, cli_verb_weights, cli_verb_words;

/* 0, or CLI_USAGE after a sentence on stderr. argv starts after the verb. */
int cli_parse(cli_arguments *out, const cli_verb *verb, int argc, char **argv);
void cli_free_arguments(cli_arguments *arguments);
void cli_print_help(const cli_verb *verb);

bool cli_has(const cli_arguments *arguments, const char *name);
/* The option's value; null if the user did not give it. */
const char *cli_value(const cli_arguments *arguments, const char *name);
/* The next use of a repeatable option, null after the last; *cursor starts at 0. */
const cli_given *cli_next(const cli_arguments *arguments, const char *name, int *cursor);
/* These leave *out unchanged if the option is absent. 0, or CLI_USAGE after a sentence. */
int cli_integer(long long *out, const cli_arguments *arguments, const char *name, long long least,
    long long most);
int cli_real(double *out, const cli_arguments *arguments, const char *name, double least);

/* "pythiascope: <sentence> (see pythiascope VERB --help)" on stderr; returns CLI_USAGE. */
int cli_usage(const cli_verb *verb, const char *format, ...) PSC_PRINTF(2, 3);
/* "pythiascope: <error's sentence>" on stderr; returns CLI_FAILED. */
int cli_fail(const psc_error *error);
/* From now on cli_fail puts "name: " before its sentence; null: nothing. Borrowed. */
void cli_name_errors(const char *name);
/* From now on cli_usage and cli_fail give their sentence to listen; null: they print it again. */
typedef void (*cli_sentence_fn)(const char *sentence);
void cli_listen(cli_sentence_fn listen);
/* Flushes stdout; a closed pipe is not a failure. Returns an exit code. */
int cli_flush(void);

#endif
