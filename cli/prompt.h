/* The input of a run: the model's folder and the tokens of --text, --file or --tokens.
 * Private to cli/. Includes cache_folder.h.
 * Threads: main thread only.
 * Ownership: cli_prompt_free frees a prompt; the caller closes the model. */
#ifndef PROMPT_H
#define PROMPT_H

#include "cache_folder.h"

#include <stdio.h>

typedef struct cli_prompt {
    char *text; /* null with --tokens */
    size_t bytes;
    psc_token *tokens;
    int32_t n;
    bool bos; /* the beginning token precedes the text */
} cli_prompt;

/* Rows that verbs share in their option tables. */
// clang-format off
#define CLI_MODEL_OPTION                                                                           \
    {"model", 1, false, "MODEL",                                                                   \
        "a Hugging Face folder, or a name like\n"                                                  \
        "EleutherAI/pythia-160m@step3000; default: the\n"                                          \
        "embedded model"}
/* In the notes of the verbs that take several checkpoints (checkpoints.h). */
#define CLI_CHECKPOINTS_NOTE                                                                       \
    "--model NAME@step0,step1000 or NAME@all-steps: one run over training steps\n"                 \
    "(docs/checkpoints.md).\n"
#define CLI_PROMPT_OPTIONS                                                                         \
    CLI_MODEL_OPTION,                                                                              \
    {"text", 1, false, "S", "the text"},                                                           \
    CLI_PROMPT_OTHERS
#define CLI_PROMPT_OTHERS                                                                          \
    {"file", 1, false, "F", "read the text from a file; - is standard input"},                     \
    {"tokens", 1, false, "1,2,3", "token ids instead of text"},                                    \
    {"bos", 0, false, "", "put the model's beginning token before the text"}
#define CLI_MACHINE_OPTIONS                                                                        \
    {"threads", 1, false, "N", "number of threads; default: one per core"},                        \
    {"isa", 1, false, "NAME",                                                                      \
        "reference, avx2, avx512 or neon; default: the best\n"                                     \
        "that this machine has"},                                                                  \
    CLI_CACHE_OPTIONS
#define CLI_RUN_OPTIONS                                                                            \
    {"chunk", 1, false, "ROWS", "most rows per pass; results do not depend on it"},                \
    {"retain", 1, false, "MIB",                                                                    \
        "most MiB that plugins, gradients and captures keep\n"                                     \
        "in a run; default: 2048"},                                                                \
    CLI_MACHINE_OPTIONS
// clang-format on

/* 0, or CLI_USAGE after a sentence: exactly one of --text, --file, --tokens. */
int cli_prompt_check(const cli_arguments *arguments);
/* Fills the session options of CLI_RUN_OPTIONS; 0, or CLI_USAGE after a sentence. */
int cli_session_options(psc_session_options *out, const cli_arguments *arguments);
/* Opens a folder or a name, or the embedded model if folder is null, under a progress bar. Caches
 * packed weights as cli_cache_options says. */
psc_status cli_open_model(psc_model **out, const char *folder, psc_error *error);
/* The same without the weights: reads headers, writes nothing. */
psc_status cli_open_header(psc_model **out, const char *folder, psc_error *error);
/* Reads and encodes the prompt; refuses one that is empty or exceeds the context. */
psc_status cli_prompt_read(
    cli_prompt *out, const psc_model *model, const cli_arguments *arguments, psc_error *error);
/* Exactly one of the three is not null; otherwise as cli_prompt_read. */
typedef struct cli_prompt_given {
    const char *text, *file, *ids;
    bool bos;
} cli_prompt_given;
psc_status cli_prompt_take(
    cli_prompt *out, const psc_model *model, const cli_prompt_given *given, psc_error *error);
void cli_prompt_free(cli_prompt *prompt);
/* Reads a whole stream, of at most 16 MiB, into new memory, which the caller frees by free(); the
 * stream may be a pipe of unknown size. name: of the stream, for sentences. */
psc_status cli_read_stream(
    char **out, size_t *bytes, FILE *file, const char *name, psc_error *error);

#endif
