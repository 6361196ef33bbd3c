/* For each checkpoint the verb runs with a --model of one name, and a sink takes what it delivers.
 * Then psc_results_stack joins all, and the stack is delivered as the verb would deliver one. */
#include "checkpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache_folder.h"
#include "checkpoint_list.h"
#include "checkpoint_store.h"
#include "checkpoint_target.h"
#include "cluster.h"
#include "progress.h"
#include "say.h"
#include "setup.h"
#include "spread.h"
#include "spread_items.h"
#include "state.h"
#include "timing.h"

/* Most bytes of all checkpoints' arrays, which are in memory twice at the end. */
#define MOST_BYTES ((uint64_t)4 << 30)

typedef struct series {
    const cli_arguments *arguments;
    cli_checkpoint_list list;
    cli_checkpoint_store store;
    cli_target_choice target;
    psc_results **results; /* [list.n]; null: not yet */
    int current;
    int32_t sections; /* that a summary shows; 0: all */
} series;

/* Whether the verb's operand is a model, as --model is elsewhere. */
static bool takes_operand(const cli_arguments *arguments) {
    return arguments->verb == &cli_verb_info || arguments->verb == &cli_verb_bench;
}

static bool has_several(const cli_arguments *arguments, const char *option) {
    return cli_has(arguments, option) && cli_names_checkpoints(cli_value(arguments, option));
}

bool cli_has_checkpoints(const cli_arguments *arguments) {
    return has_several(arguments, "model") || has_several(arguments, "control") ||
           (takes_operand(arguments) && arguments->n_operands > 0 &&
               cli_names_checkpoints(arguments->operands[0]));
}

/* --- checks ---------------------------------------------------------------------------------- */

static int check_verb(const cli_arguments *arguments) {
    static const cli_verb *const verbs[] = {
        &cli_verb_analyze, &cli_verb_sweep, &cli_verb_weights, &cli_verb_corpus, &cli_verb_score};
    if (has_several(arguments, "control"))
        return cli_usage(arguments->verb, "--control takes one checkpoint, as NAME@step1000");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (arguments->verb == verbs[i]) return CLI_OK;
    return cli_usage(arguments->verb,
        "%s takes one checkpoint, as NAME@step1000; analyze, sweep, weights, corpus and score take several",
        arguments->verb->name);
}

/* One prompt, so that all results are of one text. Standard input can be read once only. */
static int check_input(const cli_arguments *arguments) {
    static const char *const files[] = {"file", "source-file", "prompts", "pairs"};
    bool is_read = false;
    int n_texts = 0;
    for (int i = 0; i < arguments->n_given; i++) {
        const char *name = arguments->given[i].option->name;
        n_texts += strcmp(name, "text") == 0 ? 1 : strcmp(name, "prompts") == 0 ? 2 : 0;
        for (size_t k = 0; k < sizeof files / sizeof *files; k++)
            if (strcmp(name, files[k]) == 0 && strcmp(arguments->given[i].values[0], "-") == 0)
                is_read = true;
    }
    if (n_texts > 1)
        return cli_usage(arguments->verb,
            "several checkpoints take one prompt; run the command once for each prompt");
    for (int i = 0; i < arguments->n_operands; i++)
        if (strcmp(arguments->operands[i], "-") == 0) is_read = true;
    if (!is_read) return CLI_OK;
    return cli_usage(arguments->verb,
        "standard input can be read for one checkpoint only; save it to a file and pass that");
}

/* --- memory ---------------------------------------------------------------------------------- */

static uint64_t bytes_of(const psc_array *array) {
    uint64_t bytes = array->element == PSC_F64 ? 8 : 4;
    for (int i = 0; i < array->n_axes; i++) bytes *= (uint64_t)array->shape[i];
    return bytes;
}

/* Refuses results that would not fit n times, after the first checkpoint. */
static psc_status check_size(const psc_results *results, int n, psc_error *error) {
    psc_array array, largest = {0};
    uint64_t total = 0, most = 0;
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    for (int32_t s = 0; s < psc_results_section_count(results); s++) {
        psc_status status = psc_results_section_at(&section, results, s, error);
        for (int32_t i = 0; !status && i < section.n_arrays; i++) {
            status = psc_results_array_at(&array, results, s, i, error);
            if (status) break;
            total += bytes_of(&array);
            if (bytes_of(&array) <= most) continue;
            most = bytes_of(&array);
            largest = array;
        }
        if (status) return status;
    }
    for (int32_t i = 0; i < psc_results_capture_count(results); i++) {
        psc_status status = psc_results_capture_at(&array, results, i, error);
        if (status) return status;
        total += bytes_of(&array);
        if (bytes_of(&array) <= most) continue;
        most = bytes_of(&array);
        largest = array;
    }
    if (total <= MOST_BYTES / (uint64_t)n) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY,
        "the results of %d checkpoints would take %.1f GB, more than %d GB; name fewer checkpoints "
        "or plugins with smaller arrays (the largest is %s with %.0f MB per checkpoint)",
        n, 1e-9 * (double)n * (double)total, (int)(MOST_BYTES >> 30), largest.name,
        1e-6 * (double)most);
}

/* --- one checkpoint -------------------------------------------------------------------------- */

static psc_status take(
    const cli_delivery *how, const psc_results *results, void *payload, psc_error *error) {
    series *s = payload;
    const int k = s->current;
    s->sections = how->sections > 0 ? how->sections + 1 : 0;
    psc_results_close(&s->results[k]);
    psc_status status = check_size(results, s->list.n, error);
    if (!status) status = psc_results_copy(&s->results[k], results, error);
    return status ? status
                  : cli_checkpoint_store_keep(&s->store, s->list.labels[k], results, error);
}

/* A copy of the arguments with the checkpoint's model, its own state file, and the target. */
typedef struct one_run {
    cli_arguments arguments;
    char state[4096];
} one_run;

static psc_status prepare(one_run *out, const series *s, int k, psc_error *error) {
    const cli_arguments *from = s->arguments;
    out->arguments = *from;
    out->arguments.given = calloc((size_t)from->n_given + 1, sizeof *from->given);
    if (!out->arguments.given)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the options");
    for (int i = 0; i < from->n_given; i++) {
        cli_given *given = &out->arguments.given[i];
        *given = from->given[i];
        if (strcmp(given->option->name, "model") == 0) given->values[0] = s->list.models[k];
        if (strcmp(given->option->name, "state") != 0) continue;
        const int n =
            snprintf(out->state, sizeof out->state, "%s.%s", given->values[0], s->list.labels[k]);
        if (n < 0 || (size_t)n >= sizeof out->state)
            return psc_fail(error, PSC_ERROR_INPUT, "--state: the path is too long");
        given->values[0] = out->state;
    }
    if (s->target.option)
        out->arguments.given[out->arguments.n_given++] =
            (cli_given){s->target.option, {s->target.value}};
    return PSC_OK;
}

static int run_one(series *s, int k) {
    one_run run = {.state = ""};
    char name[192];
    psc_error error = {0};
    psc_status status = prepare(&run, s, k, &error);
    snprintf(name, sizeof name, "%.100s (%d of %d)", s->list.labels[k], k + 1, s->list.n);
    cli_progress_name(name);
    cli_name_errors(s->list.labels[k]);
    s->current = k;
    cli_collect(take, s);
    const int code = status ? cli_fail(&error) : s->arguments->verb->run(&run.arguments);
    cli_collect(NULL, NULL);
    cli_name_errors(NULL);
    cli_progress_name(NULL);
    free(run.arguments.given);
    return code;
}

/* --- several processes ----------------------------------------------------------------------- */

static bool is_open(int32_t k, void *payload) {
    const series *s = payload;
    return !s->results[k];
}

/* The results go to the sink of the items. */
static int compute(int32_t k, void *payload) {
    one_run run = {.state = ""};
    series *s = payload;
    psc_error error = {0};
    const psc_status status = prepare(&run, s, k, &error);
    cli_name_errors(s->list.labels[k]);
    const int code = status ? cli_fail(&error) : s->arguments->verb->run(&run.arguments);
    cli_name_errors(NULL);
    free(run.arguments.given);
    return code;
}

static psc_status receive(
    int32_t k, const cli_delivery *how, psc_results *results, void *payload, psc_error *error) {
    series *s = payload;
    s->current = k;
    const psc_status status = take(how, results, s, error);
    psc_results_close(&results);
    return status;
}

/* A corpus is one work of all processes, checkpoint after checkpoint: rank 0 says which one. */
static int serve_corpora(series *s) {
    for (;;) {
        char *text = NULL;
        psc_error error = {0};
        if (cli_spread_tell(&text, &error)) return cli_fail(&error);
        const long k = *text ? strtol(text, NULL, 10) : -1;
        free(text);
        const int code = k >= 0 && k < s->list.n ? run_one(s, (int)k) : CLI_OK;
        if (k < 0 || code) return code;
    }
}

static int announce(int k) {
    char text[16] = "", *said = text;
    psc_error error = {0};
    if (k >= 0) snprintf(text, sizeof text, "%d", k);
    return cli_spread_tell(&said, &error) ? cli_fail(&error) : CLI_OK;
}

static int run_corpora(series *s) {
    int code = CLI_OK;
    if (cluster_is_worker()) return serve_corpora(s);
    for (int k = 0; !code && k < s->list.n; k++) {
        if (s->results[k]) continue;
        code = announce(k);
        if (!code) code = run_one(s, k);
    }
    return code ? code : announce(-1);
}

static int run_together(series *s) {
    const cli_items items = {
        .n = s->list.n, .is_open = is_open, .run = compute, .take = receive, .payload = s};
    return s->arguments->verb == &cli_verb_corpus ? run_corpora(s) : cli_items_run(&items);
}

/* Says after a failure what need not be done again. */
static void say_kept(const series *s) {
    char sentence[1024];
    int n = 0;
    for (int k = 0; k < s->list.n; k++) n += s->results[k] != NULL;
    if (n == 0 || !s->store.folder) return;
    snprintf(sentence, sizeof sentence,
        "note: %d of %d checkpoints are finished and kept in %.600s; the same command continues "
        "from there",
        n, s->list.n, s->store.folder);
    cli_progress_line(sentence);
}

/* A process killed after it kept a checkpoint left the lock of its state, which
 * no run needs any more. */
static void sweep_lock(const series *s, int k) {
    char path[4096], lock_path[4104];
    const char *state = cli_value(s->arguments, "state");
    cli_lock lock = {NULL, -1};
    char *file = NULL;
    const int n = state ? snprintf(path, sizeof path, "%s.%s", state, s->list.labels[k]) : -1;
    if (n < 0 || (size_t)n >= sizeof path) return;
    snprintf(lock_path, sizeof lock_path, "%s.lock", path);
    if (access(lock_path, F_OK) != 0) return;
    if (cli_state_lock(&lock, &file, path, NULL) == PSC_OK) cli_lock_release(&lock);
    free(file);
}

static int run_all(series *s) {
    psc_error error = {0};
    int kept = 0;
    cli_time_start();
    cli_time_keep(0); /* what came before, finding the target, is not counted */
    for (int k = 0; k < s->list.n; k++) {
        if (cli_checkpoint_store_read(&s->results[k], &s->store, s->list.labels[k], &error))
            return cli_fail(&error);
        if (!s->results[k]) continue;
        kept++;
        sweep_lock(s, k);
    }
    if (kept > 0) {
        char sentence[1024];
        snprintf(sentence, sizeof sentence,
            "note: %d of %d checkpoints are taken from %.600s, where an earlier run kept them",
            kept, s->list.n, s->store.folder);
        cli_progress_line(sentence);
    }
    int code = cluster_is_on() ? run_together(s) : CLI_OK;
    for (int k = 0; !code && !cluster_is_on() && k < s->list.n; k++)
        if (!s->results[k]) code = run_one(s, k);
    if (code) say_kept(s);
    return code;
}

/* --- all ------------------------------------------------------------------------------------- */

static void warn_of_equal(const psc_results *stack) {
    psc_result_item item;
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    if (psc_results_section_at(&section, stack, 0, NULL)) return;
    for (int32_t i = 0; i < section.n_items; i++)
        if (!psc_results_item_at(&item, stack, 0, i, NULL) && item.sentence &&
            strncmp(item.sentence, "The same weights", 16) == 0) {
            char sentence[1200];
            snprintf(sentence, sizeof sentence, "warning: %.1100s", item.sentence);
            cli_progress_line(sentence);
        }
}

/* The first n checkpoints as one result. */
static psc_status deliver(const series *s, int n, psc_error *error) {
    psc_results *stack = NULL;
    psc_status status = psc_results_stack(&stack, (const psc_results *const *)s->results,
        (const char *const *)s->list.labels, n, error);
    if (!status) warn_of_equal(stack);
    if (!status)
        status =
            cli_deliver_as(&(cli_delivery){.sections = s->sections}, stack, s->arguments, error);
    psc_results_close(&stack);
    return status;
}

/* After a signal, unless the same command would go on: the checkpoints
 * before the one it stopped. */
static void deliver_finished(const series *s) {
    psc_error error = {0};
    char sentence[400];
    int n = 0;
    while (n < s->list.n && s->results[n]) n++;
    if (n == 0 || s->store.folder || cli_has(s->arguments, "state")) return;
    if (deliver(s, n, &error)) {
        (void)cli_fail(&error);
        return;
    }
    (void)fflush(stdout);
    snprintf(sentence, sizeof sentence,
        "note: the results cover %d of %d checkpoints, up to %.100s; with --out DIR the same command "
        "would continue from there",
        n, s->list.n, s->list.labels[n - 1]);
    cli_progress_line(sentence);
}

static psc_status make_results(series *s, psc_error *error) {
    s->results = calloc((size_t)s->list.n, sizeof *s->results);
    if (s->results) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
}

/* Rank 0 has chosen the target and keeps what is finished. */
static psc_status begin_worker(series *s, psc_error *error) {
    psc_status status = cli_spread_tell(&s->target.value, error);
    if (!status && s->target.value[0]) s->target.option = cli_target_option(s->arguments);
    return status ? status : make_results(s, error);
}

static psc_status begin(series *s, psc_error *error) {
    psc_status status = cli_checkpoint_list_read(&s->list, cli_value(s->arguments, "model"), error);
    if (!status) status = cli_check_out(s->arguments, error);
    if (!status && cluster_is_worker()) return begin_worker(s, error);
    if (!status) status = cli_target_choose(&s->target, s->arguments, &s->list, error);
    if (!status && cluster_is_on()) status = cli_spread_tell(&s->target.value, error);
    if (!status)
        status = cli_checkpoint_store_open(
            &s->store, s->arguments, s->list.base, s->target.value, error);
    return status ? status : make_results(s, error);
}

int cli_run_checkpoints(const cli_arguments *arguments) {
    series s = {.arguments = arguments};
    psc_error error = {0};
    int code = check_verb(arguments);
    if (!code) code = check_input(arguments);
    if (code) return code;
    if (!cli_has(arguments, "cache-dir")) cli_cache_turn_off();
    code = begin(&s, &error) ? cli_fail(&error) : run_all(&s);
    if (code && cli_is_stopped()) deliver_finished(&s);
    if (!code && !cluster_is_worker()) {
        code = deliver(&s, s.list.n, &error) ? cli_fail(&error) : CLI_OK;
        if (!code || cli_has_written()) cli_checkpoint_store_remove(&s.store);
    }
    for (int k = 0; s.results && k < s.list.n; k++) psc_results_close(&s.results[k]);
    free(s.results);
    cli_target_free(&s.target);
    cli_checkpoint_store_close(&s.store);
    cli_checkpoint_list_free(&s.list);
    return code;
}
