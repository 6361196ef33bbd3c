/* One run: makes rows from the inputs and runs chunk after chunk through the forward pass, inside
 * one region of the team. Plugins begin before and end after. A failure leaves the sequences
 * unchanged. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

static psc_status check_token(
    const psc_session *s, const psc_input *input, int32_t i, psc_error *error) {
    int32_t id = input->tokens[i].id, most = s->model->info.d_vocab - 1;
    if (id >= 0 && id <= most) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "token id %d (token %d of sequence %d) is out of range; the model's ids are 0 to %d",
        (int)id, (int)i, (int)input->sequence, (int)most);
}

static psc_status check_inputs(const psc_session *s, const psc_input *inputs, int32_t n_inputs,
    int32_t phase, psc_error *error) {
    int64_t total = 0;
    int32_t before = -1;
    for (int32_t i = 0; i < n_inputs; i++) {
        int32_t sequence = inputs[i].sequence;
        if (sequence <= before || sequence >= s->options.n_sequences)
            return psc_fail(error, PSC_ERROR_INPUT,
                "sequence %d: inputs must name sequences 0 to %d in ascending order, each once",
                (int)sequence, (int)s->options.n_sequences - 1);
        before = sequence;
        if (inputs[i].n < 1) return psc_fail(error, PSC_ERROR_INPUT, "the prompt has no tokens");
        int64_t length = (int64_t)s->cache->lengths[sequence] + inputs[i].n;
        if (length > s->model->info.n_ctx)
            return psc_fail(error, PSC_ERROR_INPUT,
                "the prompt has %lld tokens, but the model's context is %d", (long long)length,
                (int)s->model->info.n_ctx);
        if (length > s->options.capacity)
            return psc_fail(error, PSC_ERROR_INPUT,
                "sequence %d would have %lld tokens, but the session's capacity is %d",
                (int)sequence, (long long)length, (int)s->options.capacity);
        for (int32_t t = 0; t < inputs[i].n; t++) {
            psc_status status = check_token(s, &inputs[i], t, error);
            if (status != PSC_OK) return status;
        }
        psc_status status = PSC_OK;
        if (s->cache->lengths[sequence] == 0)
            status = psc_contexts_check_start(s, phase, sequence, inputs[i].tokens[0].id, error);
        if (status != PSC_OK) return status;
        total += inputs[i].n;
    }
    if (n_inputs < 1) return psc_fail(error, PSC_ERROR_INPUT, "the prompt has no tokens");
    if (total > INT32_MAX / 2)
        return psc_fail(error, PSC_ERROR_INPUT, "the run has more than %d rows", INT32_MAX / 2);
    return PSC_OK;
}

/* Shared positions: each sequence takes what it needs after those before it. */
static psc_status give_rooms(
    psc_session *s, const psc_input *inputs, int32_t n_inputs, psc_error *error) {
    for (int32_t i = 0; i < n_inputs; i++)
        if (!psc_kv_cache_give(s->cache, inputs[i].sequence, inputs[i].n))
            return psc_fail(error, PSC_ERROR_INPUT,
                "sequence %d: its %d token%s and those before exceed shared_tokens, %d; run fewer "
                "sequences at once",
                (int)inputs[i].sequence, (int)inputs[i].n, inputs[i].n == 1 ? "" : "s",
                (int)s->options.shared_tokens);
    return PSC_OK;
}

/* Each input has a token that is new. */
static psc_status check_repeated(
    const psc_input *inputs, int32_t n_inputs, const int32_t *repeated, psc_error *error) {
    for (int32_t i = 0; repeated && i < n_inputs; i++)
        if (repeated[i] < 0 || repeated[i] >= inputs[i].n)
            return psc_fail(error, PSC_ERROR_INPUT,
                "sequence %d repeats %d tokens, but it has %d: at least one must be new",
                (int)inputs[i].sequence, (int)repeated[i], (int)inputs[i].n);
    return PSC_OK;
}

static psc_status make_rows(
    psc_session *s, const psc_input *inputs, int32_t n_inputs, int32_t phase, psc_error *error) {
    const bool shared = s->options.shared_tokens > 0;
    if (shared) psc_kv_cache_clear(s->cache);
    psc_status status = check_inputs(s, inputs, n_inputs, phase, error);
    if (status == PSC_OK && shared) status = give_rooms(s, inputs, n_inputs, error);
    if (status != PSC_OK) return status;
    int32_t n = 0;
    for (int32_t i = 0; i < n_inputs; i++) n += inputs[i].n;
    status = psc_session_reserve(s, n, 0, error);
    if (status != PSC_OK) return status;
    psc_row *rows = s->rows;
    s->n_rows = 0;
    for (int32_t i = 0; i < n_inputs; i++) {
        const psc_input *input = &inputs[i];
        for (int32_t t = 0; t < input->n; t++) {
            const psc_token *token = &input->tokens[t];
            rows[s->n_rows] = (psc_row){.index = s->n_rows,
                .sequence = input->sequence,
                .position = s->cache->lengths[input->sequence] + t,
                .token = token->id,
                .next = t + 1 < input->n ? token[1].id : -1,
                .start = token->start,
                .end = token->end};
            s->n_rows++;
        }
    }
    return PSC_OK;
}

psc_status psc_session_reserve(psc_session *s, int32_t n_rows, int32_t n_logits, psc_error *error) {
    size_t n = (size_t)n_rows;
    uint64_t floats = (uint64_t)n_logits * s->model->config.d_vocab;
    if (n_rows > s->most_rows) {
        // NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): most_rows >= 0, so n >= 1
        psc_row *rows = realloc(s->rows, n * sizeof *rows);
        if (rows) s->rows = rows;
        int32_t *logit_rows = realloc(s->logit_rows, n * sizeof *logit_rows);
        if (logit_rows) s->logit_rows = logit_rows;
        bool *wanted = realloc(s->wanted, n * sizeof *wanted);
        if (wanted) s->wanted = wanted;
        if (!rows || !logit_rows || !wanted)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %d rows", (int)n_rows);
        s->most_rows = n_rows;
    }
    if (floats > s->logits_capacity) {
        float *logits = NULL;
        if (floats < SIZE_MAX / 8) logits = realloc(s->own_logits, (size_t)floats * sizeof *logits);
        if (!logits)
            return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the logits of %d rows",
                (int)n_logits);
        s->own_logits = logits;
        s->logits_capacity = floats;
    }
    return PSC_OK;
}

/* Marks the rows whose logits the caller wants, and makes room for these. */
static psc_status plan_logits(psc_session *s, const psc_run_options *options, psc_error *error) {
    const bool none = options->no_logits || options->stop_at_layer != 0;
    int32_t n = 0;
    if (s->reader) {
        memcpy(s->wanted, s->reader->wanted, (size_t)s->n_rows * sizeof *s->wanted);
        s->logits = NULL;
        return PSC_OK;
    }
    for (int32_t r = 0; r < s->n_rows; r++) {
        s->wanted[r] = !none && (options->logits == PSC_ROWS_ALL || s->rows[r].next < 0);
        if (s->wanted[r]) s->logit_rows[n++] = r;
    }
    const int64_t floats = (int64_t)n * s->model->info.d_vocab;
    psc_status status = PSC_OK;
    if (!options->logits_memory)
        status = psc_session_reserve(s, s->n_rows, n, error);
    else if (options->logits_capacity < floats)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "the run has %lld logits, but logits_memory is for %lld", (long long)floats,
            (long long)options->logits_capacity);
    if (status != PSC_OK) return status;
    s->logits = options->logits_memory ? options->logits_memory : s->own_logits;
    s->n_logit_rows = n;
    return PSC_OK;
}

typedef struct pass {
    psc_session *s;
    psc_status status;
    psc_error *error;
} pass;

static psc_status report_progress(psc_session *s, int32_t done, int32_t all, psc_error *error) {
    const psc_run_options *options = s->run_options;
    if (!options->progress || all <= s->options.chunk) return PSC_OK;
    if (options->progress((double)done / all, "forward", options->payload) != 0)
        s->cancelled = true;
    return s->cancelled ? psc_fail(error, PSC_ERROR_CANCELLED, "cancelled") : PSC_OK;
}

static int is_stopped(void *payload) {
    return psc_session_stopped(payload);
}

/* The whole run between the plugins' run_begin and run_end; on the caller's thread. */
static void run_chunks(void *payload) {
    pass *p = payload;
    psc_session *s = p->s;
    const int32_t stop = s->run_options->stop_at_layer, n_layers = s->model->info.n_layers;
    float *to = s->logits;
    int32_t n_rows;
    p->status = psc_gradient_begin(s, p->error);
    psc_shared_rows_plan(s);
    const psc_row *rows = psc_shared_rows_chosen(s, &n_rows);
    const int32_t n_chunks = (n_rows - 1) / s->options.chunk + 1;
    for (int32_t i = 0, r = 0, n; i < n_chunks && p->status == PSC_OK; i++, r += n) {
        n = (n_rows - r) / (n_chunks - i); /* about equal: a short chunk costs more per row */
        psc_pass one = {.sink = {s->wanted + rows[r].index, to, s->reader ? s->reader->read : NULL,
                            s->reader ? s->reader->payload : NULL},
            .copies = s->copies.n > 0 ? &s->copies : NULL,
            .stop = s->run_options->stop ? is_stopped : NULL,
            .payload = s,
            .ends_early = stop != 0,
            .end_layer = stop < 0          ? 0
                         : stop < n_layers ? stop
                                           : n_layers};
        psc_shared_rows_give(&one, s, rows + r, n);
        p->status = psc_forward_chunk(s->forward, rows + r, n, &one, p->error);
        for (int32_t k = r; to && k < r + n; k++)
            to += s->wanted[rows[k].index] ? s->model->config.d_vocab : 0;
        if (p->status == PSC_OK) p->status = report_progress(s, r + n, n_rows, p->error);
    }
    if (p->status == PSC_OK) p->status = psc_gradient_run(s, p->error);
    p->status = psc_contexts_end(s, p->status, p->error);
}

/* Begins copies, captures and plugins, runs, ends plugins. */
static psc_status run_rows(psc_session *s, psc_error *error) {
    pass p = {.s = s, .error = error};
    psc_status status = PSC_OK;
    if (!s->options.accumulate && !s->reader) status = psc_run_head(s, error);
    if (status == PSC_OK) status = psc_copies_begin(s, error);
    if (status == PSC_OK && psc_phase_is_for_all(s->run_options->phase) && !s->reader)
        status = psc_captures_begin(s, error);
    if (status == PSC_OK) status = psc_contexts_begin(s, error);
    if (status != PSC_OK) return status;
    psc_team_run(s->team, run_chunks, &p);
    if (p.status == PSC_OK) p.status = psc_target_facts_end(s, error);
    if (p.status == PSC_OK) p.status = psc_gradient_put(s, error);
    return p.status == PSC_OK && !s->reader ? psc_run_vocabulary(s->model, s->results, error)
                                            : p.status;
}

static psc_status check_options(
    const psc_session *s, const psc_run_options *options, psc_error *error) {
    const int32_t stop = options->stop_at_layer, n_layers = s->model->info.n_layers;
    if (s->broken) return psc_session_refuse_broken(error);
    if (psc_session_busy(s))
        return psc_fail(error, PSC_ERROR_STATE, "psc_session_run cannot be called from a callback");
    if (options->phase < PSC_PHASE_ONLY || options->phase > PSC_PHASE_CHANGED ||
        options->source < 0)
        return psc_fail(error, PSC_ERROR_INPUT, "the run's phase %d or source %d is invalid",
            (int)options->phase, (int)options->source);
    if (stop < -1 || stop > n_layers)
        return psc_fail(error, PSC_ERROR_INPUT, "stop_at_layer must be from -1 to %d, not %d",
            (int)n_layers, (int)stop);
    if (options->repeated && !s->options.overlap)
        return psc_fail(error, PSC_ERROR_STATE,
            "a run that repeats tokens needs a session with the option overlap");
    if (stop != 0 && s->n_contexts > 0)
        return psc_fail(error, PSC_ERROR_STATE,
            "stop_at_layer %d: a session with plugins must compute all layers", (int)stop);
    if (stop != 0 && options->metric)
        return psc_fail(error, PSC_ERROR_INPUT,
            "stop_at_layer %d: a run with a metric must compute all layers", (int)stop);
    return psc_run_check_sentences(options, error);
}

/* The run as such; the session holds its options meanwhile. */
static psc_status run_with(psc_session *s, const psc_input *inputs, int32_t n_inputs,
    const psc_run_options *options, psc_error *error) {
    s->run_options = options;
    s->text = options->text;
    s->text_bytes = options->text_bytes;
    s->error = error;
    s->cancelled = false;
    s->inputs = inputs;
    s->n_inputs = n_inputs;
    psc_status status = run_rows(s, error);
    psc_shared_rows_keep(s, status == PSC_OK);
    psc_gradient_end(s);
    psc_registry_end_run(s->registry);
    psc_registry_end_run(s->gradients);
    s->run_options = NULL;
    s->text = NULL;
    s->error = NULL;
    s->inputs = NULL;
    return status;
}

/* The ordinary run of a document that plugins compare: first unchanged. The sequences keep their
 * lengths in between, so that the second run takes the place of the first. */
static psc_status run_phases(psc_session *s, const psc_input *inputs, int32_t n_inputs,
    psc_run_options *options, psc_error *error) {
    if (options->phase != PSC_PHASE_ONLY || !psc_contexts_compare(s))
        return run_with(s, inputs, n_inputs, options, error);
    psc_run_options base = *options;
    base.phase = PSC_PHASE_BASE;
    base.n_copies = 0;
    psc_status status = run_with(s, inputs, n_inputs, &base, error);
    options->phase = PSC_PHASE_CHANGED;
    return status != PSC_OK ? status : run_with(s, inputs, n_inputs, options, error);
}

psc_status psc_session_run(psc_session *s, const psc_input *inputs, int32_t n_inputs,
    const psc_run_options *given, psc_error *error) {
    return psc_session_run_read(s, inputs, n_inputs, given, NULL, error);
}

psc_status psc_session_run_read(psc_session *s, const psc_input *inputs, int32_t n_inputs,
    const psc_run_options *given, const psc_run_reader *reader, psc_error *error) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    if (given)
        memcpy(&options, given,
            given->struct_size < sizeof options ? given->struct_size : sizeof options);
    psc_error own = {PSC_OK, ""};
    if (!error) error = &own;
    error->status = PSC_OK;
    psc_status status = check_options(s, &options, error);
    if (status != PSC_OK) return status;
    psc_results_clear(s->results);
    s->n_logit_rows = 0;
    s->run_accumulated = false;
    s->reader = reader;
    if (s->options.accumulate) status = psc_accumulation_check(s, error);
    if (status == PSC_OK) status = make_rows(s, inputs, n_inputs, options.phase, error);
    if (status == PSC_OK) status = check_repeated(inputs, n_inputs, options.repeated, error);
    if (status == PSC_OK) status = psc_run_check_examples(s, inputs, n_inputs, &options, error);
    if (status == PSC_OK) status = plan_logits(s, &options, error);
    if (status == PSC_OK) status = run_phases(s, inputs, n_inputs, &options, error);
    s->reader = NULL;
    if (status != PSC_OK) {
        s->n_logit_rows = 0;
        s->spoilt = s->spoilt || s->run_accumulated;
        psc_results_clear(s->results);
        return status;
    }
    if (psc_phase_is_for_all(options.phase) && !reader) {
        s->windows += n_inputs;
        s->tokens += s->n_rows;
        for (int32_t i = 0; options.repeated && i < n_inputs; i++) s->tokens -= options.repeated[i];
    }
    for (int32_t i = 0; i < n_inputs && options.stop_at_layer == 0; i++)
        s->cache->lengths[inputs[i].sequence] += inputs[i].n;
    return PSC_OK;
}
