/* Sets of examples: which pair a sequence is, and which row of its source a row is aligned with. */
#include "host.h"

int64_t psc_host_example(psc_context *context, int32_t sequence) {
    if (!psc_host_may(&context, "example", PSC_IN_RUN | PSC_IN_PART)) return -1;
    const psc_session *session = context->session;
    const psc_example *example = psc_session_example(session, sequence);
    if (!example) return -1;
    if (session->inputs[psc_session_input(session, sequence)].sequence == sequence)
        return example->number;
    psc_host_fail(
        context, PSC_ERROR_PLUGIN, "example: sequence %d is not in this run", (int)sequence);
    return -1;
}

int psc_host_source_row(psc_context *context, const psc_row *row, int32_t *position) {
    if (!psc_host_may(&context, "source_row", PSC_IN_RUN | PSC_IN_PART) ||
        !psc_host_given(context, "source_row", "row", row) ||
        !psc_host_given(context, "source_row", "position", position))
        return PSC_ERROR_PLUGIN;
    const psc_session *session = context->session;
    if (row->index < 0 || row->index >= session->n_rows)
        return psc_host_fail(
            context, PSC_ERROR_PLUGIN, "source_row: the row does not belong to this run");
    const psc_row *own = &session->rows[row->index];
    const psc_example *example = psc_session_example(session, own->sequence);
    *position = own->position;
    if (!example) return 0;
    const int32_t t = own->position - session->cache->lengths[own->sequence];
    *position = example->source_positions ? example->source_positions[t] : -1;
    return 0;
}

int psc_host_whole_set(psc_context *context) {
    if (!psc_host_may(&context, "whole_set", PSC_IN_OPEN)) return PSC_ERROR_STATE;
    if (!context->plugin->phases)
        return psc_host_fail(context, PSC_ERROR_PLUGIN, "whole_set: the plugin sees no phases");
    context->whole_set = true;
    return 0;
}
