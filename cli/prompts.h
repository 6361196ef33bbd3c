/* Several prompts in one run of the program: repeated --text, or the lines of --prompts.
 * Private to cli/. Includes prompt.h.
 * Threads: main thread only.
 * Ownership: cli_prompts_free frees the list, cli_prompts_drop the arguments of one prompt. */
#ifndef PROMPTS_H
#define PROMPTS_H

#include "prompt.h"

// clang-format off
/* CLI_PROMPT_OPTIONS for verbs that take several prompts. */
#define CLI_PROMPTS_OPTIONS                                                                        \
    CLI_MODEL_OPTION,                                                                              \
    {"text", 1, true, "S",                                                                         \
        "the text; repeated: one result for each text"},                                           \
    {"prompts", 1, false, "FILE",                                                                  \
        "one result for each line of FILE; if its first line\n"                                    \
        "begins with {, every line is a JSON object\n"                                             \
        "{\"text\": S, \"target\": T}; - is standard input"},                                       \
    CLI_PROMPT_OTHERS
// clang-format on

typedef struct cli_text {
    char *text;     /* ends with a 0 byte */
    char **targets; /* [n_targets] of this prompt, besides those of the command line */
    char *label;    /* of an object, if labels are read; else null */
    int32_t n_targets;
    int32_t line; /* of the file; 0: of --text */
} cli_text;

enum { CLI_PLACE = 600 }; /* bytes of a prompt's place */

typedef struct cli_prompts {
    bool labelled;    /* objects have labels */
    bool several;     /* else the command line has one prompt, which is not in the list */
    const char *path; /* of --prompts; null: --text */
    cli_text *list;
    int32_t n;
    bool begun; /* the options suit the model: what fails from then on is named by its prompt */
} cli_prompts;

/* As cli_prompt_check, with --prompts and repeated --text. */
int cli_prompts_check(const cli_arguments *arguments);
/* Reads the list, if several prompts are given; a wrong line is named. */
psc_status cli_prompts_read(cli_prompts *out, const cli_arguments *arguments, psc_error *error);
/* Reads a file of --prompts' form; "-" is standard input. labelled: each object needs a "label".
 * The path is borrowed. */
psc_status cli_prompts_read_file(
    cli_prompts *out, const char *path, bool labelled, psc_error *error);
void cli_prompts_free(cli_prompts *prompts);
/* Encodes every text and parses every target, so that a wrong one is named before any work. */
psc_status cli_prompts_try(
    const cli_prompts *prompts, psc_model *model, const cli_arguments *arguments, psc_error *error);
/* Prompt i is about to run: prints "prompt 2 of 5", but not with --json. */
void cli_prompts_begin(cli_prompts *prompts, int32_t i, const cli_arguments *arguments);
/* "text 2" or "FILE, line 2", in out; null if prompts is null. */
const char *cli_prompts_place(char out[CLI_PLACE], const cli_prompts *prompts, int32_t i);
/* Puts that in front of an error's sentence. Returns status. */
psc_status cli_prompts_name(
    const cli_prompts *prompts, int32_t i, psc_status status, psc_error *error);
/* The command line as if prompt i were the only one: its text, its targets, DIR/1 for --out DIR,
 * page-1.html for --html page.html. cli_prompts_drop frees it. */
psc_status cli_prompts_alone(cli_arguments *out, const cli_prompts *prompts, int32_t i,
    const cli_arguments *arguments, psc_error *error);
void cli_prompts_drop(cli_arguments *alone);

#endif
