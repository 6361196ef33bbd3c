/* The host table of psc_plugin.h, and its small calls. */
#include "host.h"
#include "plugin_options.h"

#include <stddef.h>

bool psc_host_stopped(psc_context *context) {
    if (psc_turn_in_part(context) || !psc_session_stopped(context->session)) return false;
    psc_host_fail(context, PSC_ERROR_CANCELLED, "cancelled");
    return true;
}

/* --- options ---------------------------------------------------------------------------------- */

static int host_options(psc_context *context, void *out) {
    psc_error error = {PSC_OK, ""};
    if (!psc_host_may(&context, "options", PSC_IN_OPEN)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "options", "the structure to fill", out)) return PSC_ERROR_PLUGIN;
    const psc_session *session = context->session;
    const psc_option_setting setting = {&session->model->info, session->options.accumulate != 0};
    psc_status status = psc_options_read(
        out, context->options, context->n_options, context->plugin, &setting, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

/* --- subscriptions --------------------------------------------------------------------------- */

static void enter_event(void *context) {
    psc_turn_begin(context, PSC_IN_EVENT);
}

static void leave_event(void *context) {
    psc_turn_end(context);
}

static int subscribe(psc_context *context, psc_point point, bool editor, const psc_filter *filter,
    psc_event_fn callback, void *payload) {
    static const psc_call_guard guard = {enter_event, leave_event};
    const char *call = editor ? "edit" : "observe";
    if (!psc_host_may(&context, call, PSC_IN_OPEN | PSC_IN_RUN_BEGIN)) return PSC_ERROR_STATE;
    if (!callback) return psc_host_fail(context, PSC_ERROR_INPUT, "%s needs a callback", call);
    if (!psc_host_filter(context, call, filter)) return PSC_ERROR_PLUGIN;
    psc_subscriber subscriber = {.name = context->name,
        .owner = context,
        .transient = context->turn.where == PSC_IN_RUN_BEGIN,
        .muted = &context->muted,
        .guard = &guard,
        .guarded = context};
    psc_error error = {PSC_OK, ""};
    psc_status status = psc_registry_add(psc_session_registry(context->session, filter), point,
        editor, filter, callback, payload, &subscriber, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

static int host_observe(psc_context *context, psc_point point, const psc_filter *filter,
    psc_event_fn callback, void *payload) {
    return subscribe(context, point, false, filter, callback, payload);
}

static int host_edit(psc_context *context, psc_point point, const psc_filter *filter,
    psc_event_fn callback, void *payload) {
    return subscribe(context, point, true, filter, callback, payload);
}

static int host_has_editor(psc_context *context, psc_point point) {
    if (!psc_host_may(&context, "has_editor", PSC_IN_RUN)) return 0;
    const psc_session *session = context->session;
    if ((int)point < 0 || point >= PSC_POINT_COUNT) {
        psc_host_fail(
            context, PSC_ERROR_INPUT, "has_editor: hook point %d does not exist", (int)point);
        return 0;
    }
    bool layered = psc_point_has_layer(point);
    for (int32_t l = 0; l < (layered ? session->model->info.n_layers : 1); l++)
        if (psc_registry_edits(
                session->registry, point, layered ? l : -1, session->rows, session->n_rows))
            return 1;
    return 0;
}

/* --- the run --------------------------------------------------------------------------------- */

static const psc_model_info *host_model(psc_context *context) {
    if (!psc_host_may(&context, "model", PSC_IN_ANY | PSC_IN_PART)) return NULL;
    return &context->session->model->info;
}

static const psc_row *host_rows(psc_context *context, int32_t *n_rows) {
    if (!psc_host_may(&context, "rows", PSC_IN_ANY | PSC_IN_PART)) return NULL;
    if (!psc_host_given(context, "rows", "n_rows", n_rows)) return NULL;
    *n_rows = context->in_run ? context->session->n_rows : 0;
    return context->in_run ? context->session->rows : NULL;
}

static const char *host_text(psc_context *context, uint64_t *bytes) {
    if (!psc_host_may(&context, "text", PSC_IN_ANY)) return NULL;
    if (!psc_host_given(context, "text", "bytes", bytes)) return NULL;
    const char *text = context->in_run ? context->session->text : NULL;
    *bytes = text ? context->session->text_bytes : 0;
    return text;
}

static const psc_target *host_targets(psc_context *context, int32_t *n_targets) {
    if (!psc_host_may(&context, "targets", PSC_IN_ANY)) return NULL;
    if (!psc_host_given(context, "targets", "n_targets", n_targets)) return NULL;
    *n_targets = context->session->targets.n;
    context->session->facts.asked = true;
    return context->session->targets.targets;
}

static int host_target_ids(
    psc_context *context, int32_t target, const psc_row *row, const float *logits, int32_t ids[2]) {
    psc_error error = {PSC_OK, ""};
    if (!psc_host_may(&context, "target_ids", PSC_IN_RUN)) return PSC_ERROR_STATE;
    if (!psc_host_given(context, "target_ids", "row", row) ||
        !psc_host_given(context, "target_ids", "ids", ids))
        return PSC_ERROR_PLUGIN;
    psc_status status = psc_targets_ids(context->session, target, row, logits, ids, &error);
    return status == PSC_OK ? 0 : psc_host_pass(context, &error);
}

static void host_progress(psc_context *context, double done) {
    if (!psc_host_may(&context, "progress", PSC_IN_ANY)) return;
    psc_session *session = context->session;
    const psc_run_options *options = session->run_options;
    psc_progress_fn progress = options ? options->progress : session->report_progress;
    void *payload = options ? options->payload : session->report_payload;
    if (!progress) return;
    done = done > 0 ? (done < 1 ? done : 1) : 0;
    if (progress(done, context->name, payload) != 0) session->cancelled = true;
}

/* In a part: as it was before parallel_for. */
static int host_cancelled(psc_context *context) {
    if (!psc_host_may(&context, "cancelled", PSC_IN_ANY | PSC_IN_PART)) return 1;
    return psc_turn_in_part(context) ? context->session->cancelled
                                     : psc_session_stopped(context->session);
}

static const char *host_document_name(psc_context *context, int64_t document) {
    if (!psc_host_may(&context, "document_name", PSC_IN_ANY)) return "";
    const psc_session *session = context->session;
    if (!session->document_name) return "";
    const char *name = session->document_name(document, session->document_payload);
    return name ? name : "";
}

static int phase_of(const psc_context *context) {
    const psc_run_options *options = context->session->run_options;
    return options ? options->phase : PSC_PHASE_ONLY;
}

static int host_phase(psc_context *context) {
    return psc_host_may(&context, "phase", PSC_IN_ANY) ? phase_of(context) : PSC_PHASE_ONLY;
}

static int host_source(psc_context *context) {
    if (!psc_host_may(&context, "source", PSC_IN_ANY)) return -1;
    return phase_of(context) == PSC_PHASE_SOURCE ? context->session->run_options->source : -1;
}

const psc_host psc_host_table = {
    .struct_size = sizeof(psc_host),
    .abi = PSC_PLUGIN_ABI,
    .fail = psc_host_say,
    .model = host_model,
    .life_alloc = psc_host_life_alloc,
    .run_alloc = psc_host_run_alloc,
    .label = psc_host_label,
    .token_text = psc_host_token_text,
    .options = host_options,
    .observe = host_observe,
    .edit = host_edit,
    .accumulating = psc_host_accumulating,
    .accumulator = psc_host_accumulator,
    .rows = host_rows,
    .text = host_text,
    .phase = host_phase,
    .source = host_source,
    .targets = host_targets,
    .has_editor = host_has_editor,
    .retain = psc_host_retain,
    .prepare_variants = psc_host_prepare_variants,
    .axis_labels = psc_host_axis_labels,
    .axis_numbers = psc_host_axis_numbers,
    .array = psc_host_array,
    .value_number = psc_host_value_number,
    .value_text = psc_host_value_text,
    .append_number = psc_host_append_number,
    .append_text = psc_host_append_text,
    .summary_text = psc_host_summary_text,
    .summary_bars = psc_host_summary_bars,
    .document = psc_host_document,
    .target_ids = host_target_ids,
    .fetch = psc_host_fetch,
    .variants = psc_host_variants,
    .accumulate = psc_host_accumulate,
    .accumulate_top = psc_host_accumulate_top,
    .progress = host_progress,
    .cancelled = host_cancelled,
    .accumulated = psc_host_accumulated,
    .accumulated_top = psc_host_accumulated_top,
    .ln_parameters = psc_host_ln_parameters,
    .bias = psc_host_bias,
    .embedding = psc_host_embedding,
    .unembedding = psc_host_unembedding,
    .unembedding_mean = psc_host_unembedding_mean,
    .parallel_for = psc_host_parallel_for,
    .apply = psc_host_apply,
    .pullback = psc_host_pullback,
    .row_norms = psc_host_row_norms,
    .column_norms = psc_host_column_norms,
    .dot = psc_host_dot,
    .exp = psc_host_exp,
    .erf = psc_host_erf,
    .log = psc_host_log,
    .log_sum_exp = psc_host_log_sum_exp,
    .shares = psc_host_shares,
    .keep = psc_host_keep,
    .rotate = psc_host_rotate,
    .read_tensor = psc_host_read_tensor,
    .load_setting = psc_host_load_setting,
    .save_folder = psc_host_save_folder,
    .sentences = psc_host_sentences,
    .read_sentences = psc_host_read_sentences,
    .token_bytes = psc_host_token_bytes,
    .save_file = psc_host_save_file,
    .token_ids = psc_host_token_ids,
    .accumulator_records = psc_host_accumulator_records,
    .accumulate_record = psc_host_accumulate_record,
    .accumulated_records = psc_host_accumulated_records,
    .place = psc_host_place,
    .tanh = psc_host_tanh,
    .read_entry = psc_host_read_entry,
    .document_name = host_document_name,
    .apply_outputs = psc_host_apply_outputs,
    .reductions = psc_host_reductions,
    .prefix = psc_host_prefix,
    .matrix_rows = psc_host_matrix_rows,
    .repeated = psc_host_repeated,
    .shards_open = psc_host_shards_open,
    .shards_rows = psc_host_shards_rows,
    .shards_write = psc_host_shards_write,
    .shards_close = psc_host_shards_close,
    .example = psc_host_example,
    .source_row = psc_host_source_row,
    .read_note = psc_host_read_note,
    .save_tensors = psc_host_save_tensors,
    .dictionary_open = psc_host_dictionary_open,
    .dictionary_encode = psc_host_dictionary_encode,
    .dictionary_decode = psc_host_dictionary_decode,
    .dictionary_vectors = psc_host_dictionary_vectors,
    .dictionary_skip = psc_host_dictionary_skip,
    .prepare_gradients = psc_host_prepare_gradients,
    .gradients = psc_host_gradients,
    .pullback_outputs = psc_host_pullback_outputs,
    .panel_products = psc_host_panel_products,
    .head_writes = psc_host_head_writes,
    .whole_set = psc_host_whole_set,
    .foretell = psc_host_foretell,
};
