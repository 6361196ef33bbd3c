/* The file of --pairs goes to psc_pairs_read whole; the session gets as many
 * sequences as fill a pass. */
#include "pairs_option.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "progress.h"

#define MOST_CACHE ((double)(1 << 30)) /* bytes of keys and values, unless one sequence has more */
enum { FULL_PASS = 512, MOST_BATCH = 4096 }; /* rows that fill a pass */

int cli_pairs_check(cli_pairs *out, const cli_arguments *arguments) {
    static const char *const others[] = {
        "text", "file", "tokens", "prompts", "source", "source-file", "source-tokens"};
    static const char *const own[] = {"align", "batch", "draws", "seed"};
    static const char *const aligns[] = {"equal", "end", "start", "spans"};
    const char *align = cli_value(arguments, "align");
    long long draws = 10000, seed = 0;
    *out = (cli_pairs){.how = PSC_PAIRS_OPTIONS_INIT, .run = PSC_PAIRS_RUN_OPTIONS_INIT};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!cli_has(arguments, "pairs") && cli_has(arguments, own[i]))
            return cli_usage(arguments->verb, "--%s goes with --pairs FILE", own[i]);
    if (!cli_has(arguments, "pairs")) return CLI_OK;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (cli_has(arguments, others[i]))
            return cli_usage(arguments->verb,
                "--pairs and --%s are mutually exclusive; a set has its own prompts", others[i]);
    int code = cli_integer(&out->batch, arguments, "batch", 1, MOST_BATCH);
    if (!code) code = cli_integer(&draws, arguments, "draws", 0, 100000);
    if (!code) code = cli_integer(&seed, arguments, "seed", 0, LLONG_MAX);
    if (code) return code;
    out->run.draws = draws > 0 ? (int32_t)draws : -1;
    out->run.seed = (uint64_t)seed;
    for (int32_t i = 0; i < 4; i++)
        if (!align || strcmp(align, aligns[i]) == 0) {
            out->how.align = align ? i : 0;
            return CLI_OK;
        }
    return cli_usage(arguments->verb, "--align needs equal, end, start or spans, not '%s'", align);
}

psc_status cli_pairs_read(
    cli_pairs *pairs, const psc_model *model, const char *path, bool bos, psc_error *error) {
    const bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    FILE *file = stdin;
    char *text = NULL;
    size_t bytes = 0;
    pairs->how.bos = bos;
    psc_status status = standard ? PSC_OK : cli_input_once(&file, path, path, error);
    if (status) return status;
    status = cli_read_stream(&text, &bytes, file, name, error);
    if (!standard) fclose(file);
    if (!status) status = psc_pairs_read(&pairs->set, model, text, bytes, name, &pairs->how, error);
    free(text);
    return status;
}

void cli_pairs_size(psc_session_options *out, const cli_pairs *pairs, const psc_model *model) {
    const psc_model_info *info = psc_model_get_info(model);
    const int32_t longest = psc_pairs_longest(pairs->set), n = psc_pairs_count(pairs->set);
    const double each = 2.0 * sizeof(float) * info->n_layers * (double)info->d_model * longest;
    long long batch = pairs->batch ? pairs->batch : FULL_PASS / longest;
    if (batch > n) batch = n;
    if ((double)batch * each > MOST_CACHE) batch = (long long)(MOST_CACHE / each);
    out->n_sequences = batch > 1 ? (int32_t)batch : 1;
    out->capacity = longest;
}

int64_t cli_pairs_tokens(const cli_pairs *pairs) {
    int64_t tokens = 0;
    for (int32_t i = 0; pairs->set && i < psc_pairs_count(pairs->set); i++) {
        psc_pair pair = PSC_PAIR_INIT;
        (void)psc_pairs_at(&pair, pairs->set, i, NULL);
        tokens += pair.n_clean;
    }
    return tokens;
}

psc_status cli_pairs_target(
    psc_session *session, const cli_arguments *arguments, psc_error *error) {
    if (cli_has(arguments, "target") || cli_has(arguments, "contrast")) return PSC_OK;
    return psc_session_target(session, "example", error);
}

psc_status cli_pairs_run(
    psc_results **out, psc_session *session, const cli_pairs *pairs, psc_error *error) {
    psc_pairs_run_options run = pairs->run;
    run.progress = cli_progress_update;
    cli_progress_start("running the pairs");
    const psc_status status = psc_pairs_run(out, session, pairs->set, &run, error);
    cli_progress_stop();
    return status;
}
