/* Slots of a session take the prompts in turn:
 *
 *   a run: of each slot the whole prompt that it was given last, or the token drawn last
 *   then from the logits of each slot's last row a token, until its sequence ends
 *
 * A slot whose sequence has ended takes the next prompt. Sequences do not see each other, and
 * results do not depend on the rows of a run, so each has the tokens that it has alone. */
#include "prompts_together.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interventions.h"
#include "progress.h"
#include "setup.h"
#include "steps.h"
#include "text_stream.h"
#include "traps.h"

/* Most bytes of keys and values, unless one sequence has more. */
#define MOST_CACHE ((double)(1 << 30))

typedef struct sequence {
    cli_arguments alone; /* with --json: as if there were no other prompt */
    cli_steps steps;     /* with --json: the text and what the logits say of the tokens */
    psc_sampler sampler;
    cli_prompt prompt; /* until it was run */
    int32_t *ids;      /* [drawn] of [most] */
    int32_t drawn, most, printed;
    psc_token next; /* to be run */
    bool headed, ended;
} sequence;

typedef struct together {
    const cli_generation *how;
    cli_prompts *prompts;
    const cli_arguments *arguments;
    psc_model *model;
    psc_session *session;
    sequence *sequences; /* [prompts->n] */
    int32_t *slots;      /* [n_slots] the prompt in each, or -1 */
    psc_input *inputs;   /* [n_slots] */
    int32_t n_slots, n_begun, n_shown, longest;
    int64_t tokens; /* of all prompts and drawn */
    bool json;
    cli_text_stream stream; /* of prompt n_shown */
} together;

bool cli_prompts_are_plain(const cli_prompts *prompts, const cli_arguments *arguments) {
    static const char *const of_one[] = {"plugin", "target", "contrast", "out"};
    for (size_t i = 0; i < sizeof of_one / sizeof *of_one; i++)
        if (cli_has(arguments, of_one[i])) return false;
    for (int32_t i = 0; i < prompts->n; i++)
        if (prompts->list[i].n_targets > 0) return false;
    return !cli_has_intervention(arguments);
}

/* --- opening --------------------------------------------------------------------------------- */

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the prompts' sequences");
}

static psc_status read_prompt(cli_prompt *out, const together *t, int32_t i, psc_error *error) {
    const cli_prompt_given given = {
        .text = t->prompts->list[i].text, .bos = cli_has(t->arguments, "bos")};
    return cli_prompts_name(t->prompts, i, cli_prompt_take(out, t->model, &given, error), error);
}

/* Tokens that may follow n others; the last one drawn is not run. */
static int32_t room_after(const together *t, int32_t n) {
    const int32_t room = psc_model_get_info(t->model)->n_ctx - n + 1;
    return t->how->n < room ? (int32_t)t->how->n : room;
}

/* The longest sequence; each prompt is encoded for that and again when its turn comes. */
static psc_status find_longest(together *t, psc_error *error) {
    const int32_t n_ctx = psc_model_get_info(t->model)->n_ctx;
    psc_status status = PSC_OK;
    for (int32_t i = 0; !status && i < t->prompts->n; i++) {
        cli_prompt prompt;
        status = read_prompt(&prompt, t, i, error);
        if (status) break;
        const int32_t n = prompt.n + room_after(t, prompt.n);
        if (n > t->longest) t->longest = n < n_ctx ? n : n_ctx;
        cli_prompt_free(&prompt);
    }
    return status;
}

/* As many slots as asked for, while their keys and values stay below the cap. */
static void choose_slots(together *t) {
    const psc_model_info *info = psc_model_get_info(t->model);
    const double each = 2.0 * sizeof(float) * info->n_layers * (double)info->d_model * t->longest;
    const int32_t wanted = t->prompts->n < t->how->batch ? t->prompts->n : (int32_t)t->how->batch;
    t->n_slots = wanted * each <= MOST_CACHE ? wanted : (int32_t)(MOST_CACHE / each);
    if (t->n_slots < 1) t->n_slots = 1;
    if (t->n_slots == wanted) return;
    char line[160];
    snprintf(line, sizeof line,
        "note: %d of %d sequences are decoded together: their keys and values take %.0f MB",
        (int)t->n_slots, (int)wanted, each * t->n_slots * 1e-6);
    cli_progress_line(line);
}

static psc_status open_all(together *t, psc_error *error) {
    psc_session_options options = t->how->session_options;
    psc_status status = find_longest(t, error);
    if (status) return status;
    choose_slots(t);
    options.n_sequences = t->n_slots;
    options.capacity = t->longest;
    t->sequences = calloc((size_t)t->prompts->n, sizeof *t->sequences);
    t->slots = calloc((size_t)t->n_slots, sizeof *t->slots);
    t->inputs = calloc((size_t)t->n_slots, sizeof *t->inputs);
    if (!t->sequences || !t->slots || !t->inputs) return no_memory(error);
    for (int32_t k = 0; k < t->n_slots; k++) t->slots[k] = -1;
    return psc_session_open(&t->session, t->model, &options, error);
}

static void close_sequence(sequence *s) {
    cli_steps_close(&s->steps);
    cli_prompts_drop(&s->alone);
    cli_prompt_free(&s->prompt);
    free(s->ids);
    s->ids = NULL;
}

static void close_all(together *t) {
    for (int32_t i = 0; t->sequences && i < t->n_begun; i++) close_sequence(&t->sequences[i]);
    psc_session_close(&t->session);
    free(t->sequences);
    free(t->slots);
    free(t->inputs);
}

/* --- one run --------------------------------------------------------------------------------- */

static psc_status begin(together *t, int32_t slot, psc_error *error) {
    const int32_t i = t->n_begun++;
    sequence *s = &t->sequences[i];
    char place[CLI_PLACE];
    t->slots[slot] = i;
    psc_session_truncate(t->session, slot, 0);
    psc_status status = read_prompt(&s->prompt, t, i, error);
    if (status) return status;
    cli_trap_notes(cli_prompts_place(place, t->prompts, i), &s->prompt, t->model, t->arguments);
    s->sampler = t->how->sampler;
    s->most = room_after(t, s->prompt.n);
    s->ids = malloc(((size_t)s->most + 1) * sizeof *s->ids);
    if (!s->ids) return no_memory(error);
    t->tokens += s->prompt.n;
    if (t->json) status = cli_prompts_alone(&s->alone, t->prompts, i, t->arguments, error);
    if (status) return status;
    const cli_arguments *arguments = t->json ? &s->alone : t->arguments;
    cli_steps_open(&s->steps, t->model, &s->sampler, t->how->n, arguments);
    return cli_steps_prompt(&s->steps, &s->prompt, error);
}

/* Gives prompts to free slots and lists what to run; returns the number of
 * inputs, -1 on failure. */
static int32_t fill(together *t, psc_error *error) {
    int32_t n = 0;
    for (int32_t k = 0; k < t->n_slots; k++) {
        if (t->slots[k] < 0 && t->n_begun < t->prompts->n && begin(t, k, error)) return -1;
        if (t->slots[k] < 0) continue;
        const sequence *s = &t->sequences[t->slots[k]];
        t->inputs[n++] = s->prompt.n > 0 ? (psc_input){k, s->prompt.n, s->prompt.tokens}
                                         : (psc_input){k, 1, &s->next};
    }
    return n;
}

/* Draws the token after a sequence's last row, which is row `last` of the run; or ends it. */
static psc_status draw(together *t, sequence *s, int32_t last, psc_error *error) {
    const psc_generation_end full = s->most < t->how->n ? PSC_END_CONTEXT : PSC_END_LIMIT;
    psc_token token = {0};
    cli_prompt_free(&s->prompt);
    s->ended = true;
    s->steps.generation.end = full;
    if (s->drawn == s->most) return PSC_OK;
    psc_status status = psc_session_sample(
        &token.id, t->session, &s->sampler, psc_session_logits(t->session, last), error);
    if (status) return status;
    s->steps.generation.end = PSC_END_TOKEN;
    if (psc_model_ends(t->model, token.id)) return PSC_OK;
    if (t->json) status = cli_steps_token(&s->steps, t->session, last, &token, error);
    s->ids[s->drawn++] = token.id;
    t->tokens++;
    s->next = token;
    s->ended = s->drawn == s->most;
    s->steps.generation.end = s->ended ? full : PSC_END_NONE;
    return status;
}

/* Draws for every slot after a run of n inputs; slots of ended sequences become free. */
static psc_status draw_all(together *t, int32_t n, psc_error *error) {
    psc_status status = PSC_OK;
    int32_t last = -1;
    for (int32_t i = 0; !status && i < n; i++) {
        const int32_t slot = t->inputs[i].sequence;
        sequence *s = &t->sequences[t->slots[slot]];
        last += t->inputs[i].n;
        status = draw(t, s, last, error);
        if (s->ended) t->slots[slot] = -1;
    }
    return status;
}

/* --- output ---------------------------------------------------------------------------------- */

static void show_text(together *t, sequence *s) {
    if (!s->headed) cli_prompts_begin(t->prompts, t->n_shown, t->arguments);
    s->headed = true;
    while (s->printed < s->drawn) cli_text_stream_token(&t->stream, t->model, s->ids[s->printed++]);
    if (s->ended) cli_text_stream_end(&t->stream, true);
}

/* Prints what is new of the first prompt that is not finished, and goes on to the next ones. */
static psc_status show(together *t, psc_error *error) {
    psc_status status = PSC_OK;
    while (!status && t->n_shown < t->n_begun) {
        sequence *s = &t->sequences[t->n_shown];
        if (!t->json) show_text(t, s);
        if (!s->ended) break;
        if (t->json) status = cli_steps_show_prompt(&s->steps, t->session, t->n_shown + 1, error);
        close_sequence(s);
        t->stream = (cli_text_stream){.on_terminal = t->stream.on_terminal};
        t->n_shown++;
    }
    if (fflush(stdout) != 0 && !status)
        status =
            psc_fail(error, PSC_ERROR_IO, "cannot write to standard output: %s", strerror(errno));
    return status;
}

static psc_status continue_all(together *t, psc_error *error) {
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    psc_status status = PSC_OK;
    run.phase = PSC_PHASE_ONLY;
    run.bos = cli_has(t->arguments, "bos");
    run.progress = cli_progress_update;
    cli_progress_start("reading the prompts");
    while (!status && t->n_shown < t->prompts->n) {
        const int32_t n = fill(t, error);
        status = n < 0 ? error->status : psc_session_run(t->session, t->inputs, n, &run, error);
        cli_progress_stop();
        run.progress = NULL;
        if (!status) status = draw_all(t, n, error);
        if (!status) status = show(t, error);
    }
    cli_progress_stop();
    return status;
}

psc_status cli_prompts_together(const cli_generation *how, cli_prompts *prompts, psc_model *model,
    const cli_arguments *arguments, psc_error *error) {
    together t = {.how = how, .prompts = prompts, .arguments = arguments, .model = model};
    psc_result_time time;
    t.json = cli_has(arguments, "json");
    t.stream.on_terminal = isatty(STDOUT_FILENO);
    psc_status status = open_all(&t, error);
    if (!status) status = continue_all(&t, error);
    if (!status) (void)cli_time_stop(&time, t.tokens, arguments);
    close_all(&t);
    return status;
}
