/* The man page and the completions of shells, from the tables that make --help.
 * Private to cli/. Includes cli.h.
 * Threads: main thread only.
 * Ownership: verbs are borrowed. */
#ifndef GENERATED_H
#define GENERATED_H

#include "cli.h"

#include <stdio.h>

/* The program's verbs; verb [n]. */
typedef struct cli_program {
    const cli_verb *const *verbs;
    int n;
} cli_program;

/* What completes an option's value. */
typedef enum cli_value_kind {
    CLI_VALUE_FREE,
    CLI_VALUE_FILE,
    CLI_VALUE_FOLDER,
    CLI_VALUE_PLUGIN, /* NAME[:key=value,...] */
    CLI_VALUE_ISA
} cli_value_kind;
cli_value_kind cli_value_kind_of(const cli_option *option);

/* Prints man, bash, zsh or fish on stdout; returns an exit code. */
int cli_generate(const cli_program *program, const char *kind);
void cli_generate_man(const cli_program *program, FILE *out);
void cli_generate_bash(const cli_program *program, FILE *out);
void cli_generate_zsh(const cli_program *program, FILE *out);
void cli_generate_fish(const cli_program *program, FILE *out);

/* Prints text up to its end, or its first line (is_line), with a backslash before each of these
 * characters; line ends become spaces. */
void cli_print_quoted(FILE *out, const char *text, const char *special, bool is_line);

#endif
