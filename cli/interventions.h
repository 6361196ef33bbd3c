/* Interventions on the command line: editors of a run, the prompts they take values from, and the
 * runs that precede the edited one.
 * Private to cli/. Includes prompt.h.
 * Threads: main thread only.
 * Ownership: cli_sources_free frees the source prompts; the caller owns the sessions. */
#ifndef INTERVENTIONS_H
#define INTERVENTIONS_H

#include "prompt.h"

// clang-format off
#define CLI_SOURCE_OPTIONS                                                                         \
    {"source", 1, true, "S",                                                                       \
        "a source prompt; numbered from 1 in the order given,\n"                                   \
        "together with the next two options"},                                                     \
    {"source-file", 1, true, "F", "a source prompt from a file"},                                  \
    {"source-tokens", 1, true, "1,2,3", "a source prompt as token ids"}
#define CLI_EDIT_OPTIONS                                                                           \
    {"ablate", 1, true, "AT[:key=value,...]",                                                      \
        "set components to zero, to a mean (by=mean) or to\n"                                      \
        "rows of a source prompt (by=resample);\n"                                                 \
        "AT: L0H3, 0_mlp_out, L0N12, embed or a hook point,\n"                                     \
        "several joined by +; * matches any layer or head;\n"                                      \
        "rows=, layers= and heads= restrict it; repeatable,\n"                                     \
        "like the next five (docs/interventions.md)"},                                             \
    {"scale", 1, true, "AT[:alpha=A,...]", "multiply components by A"},                            \
    {"steer", 1, true, "AT[:file=F|plus=1,minus=2,...]",                                           \
        "add alpha times a vector from a file, or times the\n"                                     \
        "difference of two source prompts"},                                                       \
    {"knockout", 1, true, "HEADS:keys=A-B[,rows=...]", "cut the attention from rows to keys"},     \
    {"direction", 1, true, "AT:along=V|file=F|plus=1,minus=2,...",                                 \
        "take directions out of components; do=set, do=add and\n"                                  \
        "do=swap set, add or exchange them; V: L3N12.in,\n"                                        \
        "L2H3.O, W_U:' a'-' b' or the like"}
#define CLI_INTERVENTION_OPTIONS                                                                   \
    CLI_EDIT_OPTIONS,                                                                              \
    {"patch", 1, true, "AT[:source=1,...]", "take components from a source prompt"},               \
    CLI_SOURCE_OPTIONS
// clang-format on

typedef struct cli_sources {
    cli_prompt *prompts;
    int n;
} cli_sources;

/* Checks the intervention options; 0, or CLI_USAGE after a sentence if source prompts have no
 * intervention. */
int cli_interventions_check(const cli_arguments *arguments);
/* Whether --source, --source-file or --source-tokens is given. */
bool cli_has_source(const cli_arguments *arguments);
bool cli_has_intervention(const cli_arguments *arguments);
/* The editors that cli_interventions_add loads. */
int32_t cli_interventions_count(const cli_arguments *arguments);
/* "with --ablate L0H3 --scale embed", cut with an ellipsis where it is too long. */
void cli_interventions_label(char *out, size_t size, const cli_arguments *arguments);
/* Whether the option is --ablate, --scale, --steer, --knockout, --patch or --direction. */
bool cli_is_intervention(const char *option);
/* Loads the editor of that option; place: "AT[:key=value,...]". */
psc_status cli_intervention_add(
    psc_session *session, const char *option, const char *place, psc_error *error);
/* Whether a --plugin argument names one of the editors. */
bool cli_names_editor(const char *argument);
/* Reads and encodes the source prompts. */
psc_status cli_sources_read(
    cli_sources *out, const psc_model *model, const cli_arguments *arguments, psc_error *error);
/* The most tokens of a source prompt; at least `least`. */
int32_t cli_sources_longest(const cli_sources *sources, int32_t least);
/* PSC_ERROR_INPUT if there are source prompts, and no plugin of the session would see them. */
psc_status cli_sources_check(
    const cli_sources *sources, const psc_session *session, psc_error *error);
void cli_sources_free(cli_sources *sources);
/* Loads the editors in the order of the command line. */
psc_status cli_interventions_add(
    psc_session *session, const cli_arguments *arguments, psc_error *error);
/* If a plugin compares phases, runs the source prompts and the unchanged prompt, and leaves the
 * sequence empty. Sets *phase to the phase of the next run. */
psc_status cli_run_before(psc_session *session, const cli_sources *sources,
    const cli_prompt *prompt, int32_t *phase, psc_error *error);

#endif
