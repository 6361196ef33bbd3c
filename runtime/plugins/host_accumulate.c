/* The host's accumulators: declared in open, fed from events on, read at any time.
 * Partials of events are held beside the totals until run_end has succeeded. Those of run_end enter
 * the totals at once. If the run fails after any entered, the totals are invalid. */
#include "host.h"

/* True if the call is allowed here; otherwise sets the error. */
static bool in_place(psc_context **given, int32_t where, const char *call) {
    if (!psc_host_may(given, call, PSC_IN_ANY | (where & PSC_IN_PART))) return false;
    psc_context *context = *given;
    if (context->session->options.accumulate) return psc_host_may(given, call, where);
    psc_host_fail(
        context, PSC_ERROR_STATE, "%s needs a session that accumulates over documents", call);
    return false;
}

static psc_accumulator *find(psc_context *context, int handle, const char *call) {
    if (handle >= 0 && handle < context->accumulators.n) return &context->accumulators.list[handle];
    psc_host_fail(context, PSC_ERROR_PLUGIN, "%s: %d is not an accumulator's handle", call, handle);
    return NULL;
}

int psc_host_accumulating(psc_context *context) {
    return psc_host_may(&context, "accumulating", PSC_IN_ANY) &&
           context->session->options.accumulate != 0;
}

int psc_host_accumulator(
    psc_context *context, const char *name, psc_accumulate kind, int64_t n, int32_t k) {
    psc_error error = {PSC_OK, ""};
    if (!in_place(&context, PSC_IN_OPEN, "accumulator")) return -1;
    int handle = psc_accumulators_add(&context->accumulators, name, kind, n, k, &error);
    if (handle < 0) psc_host_pass(context, &error);
    return handle;
}

int psc_host_accumulate(
    psc_context *context, int handle, int64_t begin, int64_t n, const double *partial) {
    psc_error error = {PSC_OK, ""};
    if (!in_place(&context, PSC_IN_EVENT | PSC_IN_RUN_END | PSC_IN_PART, "accumulate"))
        return PSC_ERROR_STATE;
    if (!(context->turn.where & (PSC_IN_EVENT | PSC_IN_RUN_END)))
        return psc_host_fail(
            context, PSC_ERROR_STATE, "accumulate is allowed in events and run_end only");
    psc_accumulator *accumulator = find(context, handle, "accumulate");
    if (!accumulator ||
        !psc_host_list(context, "accumulate", "partial", n, sizeof *partial, partial))
        return PSC_ERROR_PLUGIN;
    psc_status status;
    if (context->turn.where == PSC_IN_RUN_END && !psc_turn_in_part(context)) {
        context->session->run_accumulated = true;
        status = psc_accumulator_add(accumulator, begin, n, partial, &error);
    } else {
        status = psc_accumulator_hold(accumulator, begin, n, partial, &error);
    }
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

psc_status psc_host_release(psc_context *context, bool add, psc_error *error) {
    psc_status first = PSC_OK;
    for (int32_t i = 0; i < context->accumulators.n; i++) {
        psc_accumulator *accumulator = &context->accumulators.list[i];
        psc_error inner = {PSC_OK, ""};
        if (add && atomic_load(&accumulator->holds)) context->session->run_accumulated = true;
        const psc_status status = psc_accumulator_release(accumulator, add && !first, &inner);
        if (status && !first)
            first = psc_fail(error, status, "plugin %s: %s", context->name, inner.message);
    }
    return first;
}

/* --- top lists ------------------------------------------------------------------------------- */

/* The document that a sequence of this run belongs to. */
static psc_document document_of(const psc_session *session, int32_t sequence) {
    const psc_document *documents = session->run_options->documents;
    return documents ? documents[psc_session_input(session, sequence)] : (psc_document){0, 0};
}

/* The tokens around row index of the run, as far as its sequence reaches. */
static void copy_tokens(const psc_session *session, int32_t index, psc_top *top) {
    for (int32_t i = 0; i < PSC_TOP_BEFORE + 1 + PSC_TOP_AFTER; i++) {
        int64_t at = (int64_t)index + i - PSC_TOP_BEFORE;
        bool inside = at >= 0 && at < session->n_rows &&
                      session->rows[at].sequence == session->rows[index].sequence;
        top->tokens[i] = inside ? session->rows[at].token : -1;
    }
}

static bool is_of_run(psc_context *context, const char *call, const psc_row *row) {
    if (row && row->index >= 0 && row->index < context->session->n_rows) return true;
    psc_host_fail(context, PSC_ERROR_PLUGIN, "%s: the row does not belong to this run", call);
    return false;
}

/* The entry of one of the run's rows. */
static psc_status entry_of(
    psc_context *context, const char *call, double value, const psc_row *row, psc_top *out) {
    const psc_session *session = context->session;
    if (!is_of_run(context, call, row)) return PSC_ERROR_PLUGIN;
    const psc_row *own = &session->rows[row->index];
    psc_document document = document_of(session, own->sequence);
    int64_t position = document.first + own->position;
    if (position < INT32_MIN || position > INT32_MAX)
        return psc_host_fail(context, PSC_ERROR_PLUGIN,
            "%s: the position in the document does not fit in 32 bits", call);
    *out = (psc_top){.value = value, .document = document.number, .position = (int32_t)position};
    copy_tokens(session, own->index, out);
    return PSC_OK;
}

/* The accumulator, and the entry to offer to it; null after setting the error. */
static psc_accumulator *offered(psc_context **given, int handle, const char *call, double value,
    const psc_row *row, psc_top *out) {
    if (!in_place(given, PSC_IN_RUN_END, call)) return NULL;
    psc_context *context = *given;
    psc_accumulator *accumulator = find(context, handle, call);
    return accumulator && entry_of(context, call, value, row, out) == PSC_OK ? accumulator : NULL;
}

int psc_host_accumulate_top(
    psc_context *context, int handle, int64_t slot, double value, const psc_row *row) {
    psc_error error = {PSC_OK, ""};
    psc_top top;
    psc_accumulator *accumulator = offered(&context, handle, "accumulate_top", value, row, &top);
    if (!accumulator) return PSC_ERROR_PLUGIN;
    context->session->run_accumulated = true;
    psc_status status = psc_accumulator_add_top(accumulator, slot, &top, NULL, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

/* --- records --------------------------------------------------------------------------------- */

int psc_host_accumulator_records(
    psc_context *context, const char *name, int64_t n, int32_t k, uint64_t bytes) {
    psc_error error = {PSC_OK, ""};
    if (!in_place(&context, PSC_IN_OPEN, "accumulator_records")) return -1;
    int handle = psc_accumulators_add_records(&context->accumulators, name, n, k, bytes, &error);
    if (handle < 0) psc_host_pass(context, &error);
    return handle;
}

int psc_host_accumulate_record(psc_context *context, int handle, int64_t slot, double value,
    const psc_row *row, const void *record) {
    psc_error error = {PSC_OK, ""};
    psc_top top;
    psc_accumulator *accumulator = offered(&context, handle, "accumulate_record", value, row, &top);
    if (!accumulator) return -1;
    const int ranks = psc_accumulator_ranks(accumulator, slot, &top, &error);
    if (ranks >= 0 && record) {
        context->session->run_accumulated = true;
        if (psc_accumulator_add_top(accumulator, slot, &top, record, &error) == PSC_OK)
            return ranks;
    } else if (ranks >= 0) {
        return ranks;
    }
    psc_host_pass(context, &error);
    return -1;
}

int psc_host_place(psc_context *context, const psc_row *row, int64_t *document, int32_t *position) {
    psc_top top;
    if (!in_place(&context, PSC_IN_RUN, "place")) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "place", "document", document) ||
        !psc_host_given(context, "place", "position", position))
        return PSC_ERROR_PLUGIN;
    if (entry_of(context, "place", 0.0, row, &top) != PSC_OK) return PSC_ERROR_PLUGIN;
    *document = top.document;
    *position = top.position;
    return 0;
}

int psc_host_repeated(psc_context *context, const psc_row *row) {
    if (!psc_host_may(&context, "repeated", PSC_IN_RUN_BEGIN | PSC_IN_EVENT | PSC_IN_RUN_END) ||
        !is_of_run(context, "repeated", row))
        return -1;
    const psc_session *session = context->session;
    const int32_t *repeated = session->run_options->repeated;
    const psc_row *own = &session->rows[row->index];
    return repeated && own->position < repeated[psc_session_input(session, own->sequence)];
}

/* --- reading --------------------------------------------------------------------------------- */

int psc_host_accumulated(psc_context *context, int handle, int64_t begin, int64_t n, double *out) {
    psc_error error = {PSC_OK, ""};
    if (!in_place(&context, PSC_IN_ANY, "accumulated")) return PSC_ERROR_STATE;
    const psc_accumulator *accumulator = find(context, handle, "accumulated");
    if (!accumulator || !psc_host_list(context, "accumulated", "out", n, sizeof *out, out))
        return PSC_ERROR_PLUGIN;
    psc_status status = psc_accumulator_read(accumulator, begin, n, out, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

int32_t psc_host_accumulated_top(psc_context *context, int handle, int64_t slot, psc_top *out) {
    psc_error error = {PSC_OK, ""};
    if (!in_place(&context, PSC_IN_ANY, "accumulated_top")) return -1;
    const psc_accumulator *accumulator = find(context, handle, "accumulated_top");
    if (!accumulator) return -1;
    int32_t n = psc_accumulator_read_top(accumulator, slot, out, NULL, &error);
    if (n < 0) psc_host_pass(context, &error);
    return n;
}

int32_t psc_host_accumulated_records(
    psc_context *context, int handle, int64_t slot, psc_top *out, void *records) {
    psc_error error = {PSC_OK, ""};
    if (!in_place(&context, PSC_IN_ANY, "accumulated_records")) return -1;
    const psc_accumulator *accumulator = find(context, handle, "accumulated_records");
    if (!accumulator) return -1;
    int32_t n = psc_accumulator_read_top(accumulator, slot, out, records, &error);
    if (n < 0) psc_host_pass(context, &error);
    return n;
}
