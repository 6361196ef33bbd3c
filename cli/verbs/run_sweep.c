/* sweep: the plugin `sweep` over one text; the verb's options are the plugin's. */
#include <string.h>

#include "interventions.h"
#include "pairs_option.h"
#include "prompts.h"
#include "setup.h"
#include "spread.h"

// clang-format off
static const cli_option options[] = {
    CLI_PROMPTS_OPTIONS,
    {"over", 1, false, "WHAT",
        "what to change in turn: heads, heads_by_pos,\n"
        "resid_pre, attn_out, mlp_out or edges; default: heads"},
    {"do", 1, false, "HOW",
        "zero, mean, patch (from the source prompt) or cut\n"
        "(edges); default: zero"},
    {"metric", 1, false, "M", "logit, log_prob or kl; default: logit"},
    {"layer", 1, false, "L", "the layer of the edges; default: 0"},
    {"top", 1, false, "N", "effects listed per target; default: 10"},
    CLI_TARGET_OPTIONS("the top prediction"),
    CLI_SOURCE_OPTIONS,
    CLI_PAIRS_OPTIONS,
    CLI_SPREAD_OPTIONS,
    CLI_RUN_OPTIONS,
    CLI_OUTPUT_OPTIONS,
    {0},
};
// clang-format on

static int run_sweep(const cli_arguments *arguments) {
    static const char *const keys[] = {"over", "do", "metric", "layer", "top", NULL};
    const cli_plugin plugin = cli_plugin_of(arguments, "sweep", keys);
    const char *how = cli_value(arguments, "do");
    if (cli_has_source(arguments) && (!how || strcmp(how, "patch") != 0))
        return cli_usage(arguments->verb, "a source prompt needs --do patch");
    return cli_analyze(arguments, &plugin);
}

const cli_verb cli_verb_sweep = {
    .name = "sweep",
    .summary = "Ablates or patches each head, layer and row, or edge in turn.",
    .usage = "[--model MODEL] (--text S | --file F | --tokens 1,2,3 | --prompts FILE |\n"
             "       --pairs FILE) [options]",
    .notes = CLI_CHECKPOINTS_NOTE
    "example:\n  pythiascope sweep --text \"the Emerald City of\" --over heads_by_pos\n"
    "  pythiascope sweep --text \"the cat sat\" --source \"the dog sat\" --over resid_pre "
    "--do patch",
    .options = options,
    .run = run_sweep,
};
