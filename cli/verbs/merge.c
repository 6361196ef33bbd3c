/* merge: merges the state files of a corpus's parts into the results of one run over all parts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "prompt.h"
#include "state.h"

static const cli_option options[] = {
    CLI_MODEL_OPTION,
    {"plugin", 1, true, "FILE",
        "a plugin's file that the state files name; they make\n"
        "merge load no file that is not given here"},
    {"missing", 0, false, "",
        "only print the parts that are missing or unfinished,\n"
        "as sbatch --array takes them (3,7-9); exit code 1 if\n"
        "there are any"},
    CLI_OUTPUT_OPTIONS,
    {0},
};

typedef struct parts {
    psc_corpus_totals totals;
    char identity[33];
    int32_t n_shards, n_unfinished; /* parts in all, as finished and unfinished ones say */
    unsigned char *given;           /* [PSC_CORPUS_SHARDS] */
    json_t *setup;                  /* the first part's */
    psc_corpus_names *names;
} parts;

/* Marks a part of the corpus as given; keeps the first part's setup. */
static psc_status add_place(parts *p, const char *path, psc_error *error) {
    cli_state state;
    psc_status status = cli_state_read(&state, path, error);
    if (status) return status;
    status =
        psc_corpus_add_part(&p->totals, p->identity, &p->n_shards, p->given, state.place, error);
    /* Without a limit all parts came equally far and have the same names. */
    if (!status && (!p->names || p->totals.limit > 0))
        status = psc_corpus_names_add(&p->names, state.place, error);
    if (!p->setup) p->setup = json_incref(state.setup);
    if (!status && !json_equal(state.setup, p->setup))
        status = psc_fail(
            error, PSC_ERROR_INPUT, "it was made with different targets, plugins or interventions");
    cli_state_free(&state);
    return status ? cli_state_error(path, status, error) : PSC_OK;
}

static void close_parts(parts *p) {
    free(p->given);
    psc_corpus_names_close(&p->names);
    json_decref(p->setup);
}

static psc_status check_complete(const parts *p, psc_error *error) {
    for (int32_t i = 0; i < p->n_shards; i++)
        if (!p->given[i])
            return psc_fail(
                error, PSC_ERROR_INPUT, "part %d/%d is missing", (int)i + 1, (int)p->n_shards);
    return PSC_OK;
}

static psc_status merge_all(
    parts *p, psc_session *session, const cli_arguments *arguments, psc_error *error) {
    psc_status status = cli_setup_apply(session, p->setup, arguments, error);
    if (status) status = cli_state_error(arguments->operands[0], status, error);
    for (int i = 0; !status && i < arguments->n_operands; i++)
        status = psc_session_state_merge(session, arguments->operands[i], error);
    if (!status && p->totals.windows == 0)
        status = psc_fail(error, PSC_ERROR_INPUT, "the parts have no text that could be read");
    psc_corpus_names_give(&p->totals, p->names);
    if (!status) status = psc_session_report(session, &p->totals, error);
    return status ? status : cli_deliver(psc_session_results(session), arguments, error);
}

static psc_status merge(const cli_arguments *arguments, psc_error *error) {
    parts p = {.totals = PSC_CORPUS_TOTALS_INIT, .given = calloc(PSC_CORPUS_SHARDS, 1)};
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_session_options session_options = PSC_SESSION_OPTIONS_INIT;
    session_options.accumulate = 1;
    session_options.capacity = 1;
    psc_status status = cli_check_out(arguments, error);
    if (!p.given) status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the parts");
    for (int i = 0; !status && i < arguments->n_operands; i++)
        status = add_place(&p, arguments->operands[i], error);
    if (!status) status = check_complete(&p, error);
    session_options.n_parts = p.n_shards;
    if (!status) status = cli_open_model(&model, cli_value(arguments, "model"), error);
    if (!status) status = psc_session_open(&session, model, &session_options, error);
    if (!status) status = merge_all(&p, session, arguments, error);
    psc_session_close(&session);
    psc_model_close(&model);
    close_parts(&p);
    return status;
}

/* --- the parts that are not there ------------------------------------------------------------ */

/* Says why a state file does not count; it need not stop the others. */
static void say_left_out(const psc_error *why) {
    char sentence[sizeof why->message + 40];
    snprintf(sentence, sizeof sentence, "note: %s; it is left out", why->message);
    cli_progress_line(sentence);
}

/* Marks the part if it is finished. A file that cannot be read, or of an
 * unfinished part, is noted. */
static psc_status look_at(parts *p, const char *path, psc_error *error) {
    cli_state state;
    cli_state_part part = {0};
    psc_error why = {PSC_OK, ""};
    psc_status status = cli_state_read(&state, path, &why);
    if (status == PSC_ERROR_MEMORY) return psc_fail(error, status, "%s", why.message);
    if (status) {
        say_left_out(&why);
        return PSC_OK;
    }
    status = cli_state_get_part(&part, &state, error);
    if (!status && p->n_shards > 0 && part.n != p->n_shards)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "it is one of %d part(s), but the first is one of %d", (int)part.n, (int)p->n_shards);
    if (status) {
        status = cli_state_error(path, status, error);
    } else if (!part.finished) {
        p->n_unfinished = part.n;
        psc_fail(&why, PSC_ERROR_INPUT, "the state file %.600s: part %d/%d is not finished", path,
            (int)part.shard, (int)part.n);
        say_left_out(&why);
    }
    cli_state_free(&state);
    return status || !part.finished ? status : add_place(p, path, error);
}

/* "3,7-9"; returns the number of missing parts. */
static int print_missing(const parts *p, int32_t n) {
    int missing = 0;
    for (int32_t i = 0, end = 0; i < n; i = end + 1) {
        for (end = i; end < n && !p->given[end]; end++) continue;
        if (end == i) continue;
        printf("%s%d", missing ? "," : "", (int)i + 1);
        if (end > i + 1) printf("-%d", (int)end);
        missing += end - i;
    }
    if (missing) printf("\n");
    return missing;
}

static psc_status find_missing(const cli_arguments *arguments, psc_error *error) {
    parts p = {.totals = PSC_CORPUS_TOTALS_INIT, .given = calloc(PSC_CORPUS_SHARDS, 1)};
    psc_status status = PSC_OK;
    if (!p.given) status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the parts");
    for (int i = 0; !status && i < arguments->n_operands; i++)
        status = look_at(&p, arguments->operands[i], error);
    const int32_t n = p.n_shards ? p.n_shards : p.n_unfinished;
    if (!status && n == 0)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "no state file could be read, so the number of parts is unknown");
    if (!status) {
        const int missing = print_missing(&p, n);
        errno = EIO;
        if (fflush(stdout) != 0)
            status = psc_fail(
                error, PSC_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
        else if (missing)
            status = psc_fail(error, PSC_ERROR_INPUT,
                "%d of %d parts %s missing; run them with sbatch --array and --shard auto/%d",
                missing, (int)n, missing == 1 ? "is" : "are", (int)n);
    }
    close_parts(&p);
    return status;
}

static int run_merge(const cli_arguments *arguments) {
    psc_error error = {0};
    if (arguments->n_operands < 1)
        return cli_usage(arguments->verb, "no state files; pass one per part");
    if (cli_has(arguments, "missing"))
        return find_missing(arguments, &error) ? cli_fail(&error) : CLI_OK;
    return merge(arguments, &error) ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_merge = {
    .name = "merge",
    .summary = "Merges the parts of a corpus into the results of one run over all of it.",
    .usage = "[--model MODEL] STATE... [options]",
    .notes = "example:\n  pythiascope corpus books/ --shard 1/2 --state one.state\n"
             "  pythiascope corpus books/ --shard 2/2 --state two.state\n"
             "  pythiascope merge one.state two.state --out both\n"
             "  sbatch --array=$(pythiascope merge --missing *.state) job.sh",
    .options = options,
    .max_operands = PSC_CORPUS_SHARDS,
    .run = run_merge,
};
