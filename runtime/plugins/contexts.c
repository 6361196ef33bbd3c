/* Plugin instances: loading, opening with options, the callbacks of each run, closing.
 *
 *   add:  open      a run:  run_begin -> events -> run_end(status) -> report      close:  close
 *
 * A callback ends the run by a nonzero return or by setting the error. All instances that began
 * still get run_end. */
#include "at_work.h"
#include "host.h"
#include "loader.h"
#include "plugin_options.h"
#include "row_shards.h"
#include "suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- opening --------------------------------------------------------------------------------- */

static psc_status find_builtin(const psc_plugin **out, const char *name, psc_error *error) {
    char known[512] = "", hint[PSC_SUGGEST_TEXT];
    psc_suggestion near = psc_suggest(name, strlen(name));
    for (int32_t i = 0; i < psc_builtin_count(); i++) {
        const psc_plugin *plugin = psc_builtin(i);
        *out = plugin;
        psc_suggest_name(&near, plugin->name);
        if (strcmp(plugin->name, name) == 0) return psc_plugin_check(plugin, "built-in", error);
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", plugin->name);
    }
    *out = NULL;
    return psc_fail(error, PSC_ERROR_INPUT,
        "unknown built-in plugin '%.100s'%s%s the built-ins are %s; pass a plugin file by its "
        "path, like ./name.so",
        name, psc_suggest_text(hint, &near, ""), near.best ? "" : ";", known);
}

static psc_status find_plugin(
    psc_context *context, const psc_plugin *object, const char *name_or_path, psc_error *error) {
    if (object) {
        context->plugin = object;
        return psc_plugin_check(object, "of the caller", error);
    }
    if (!name_or_path || !*name_or_path)
        return psc_fail(error, PSC_ERROR_INPUT, "the plugin's name is empty");
    bool is_path = strchr(name_or_path, '/') || psc_path_ends(name_or_path, ".so") ||
                   psc_path_ends(name_or_path, ".dylib");
    if (is_path) return psc_plugin_load(&context->library, &context->plugin, name_or_path, error);
    return find_builtin(&context->plugin, name_or_path, error);
}

static psc_status check_bos(const psc_context *context, psc_error *error) {
    const psc_model *model = context->session->model;
    if (!psc_plugin_needs_bos(context->plugin) || psc_model_bos(model) >= 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "plugin %s needs a beginning-of-text token in front of a text, but %s",
        context->plugin->name,
        model->tokenizer
            ? "the model has none (bos_token in tokenizer_config.json)"
            : "the model has no tokenizer, and bos_token_id in its config.json is null");
}

/* loading: else a run begins. */
static psc_status check_corpus(const psc_context *context, bool loading, psc_error *error) {
    if (!context->session->options.accumulate) return PSC_OK;
    const psc_plugin_corpus says = psc_plugin_over_corpus(context->plugin);
    if (loading && says == PSC_CORPUS_NO)
        return psc_fail(error, PSC_ERROR_INPUT,
            "plugin %s does not work over a corpus; it needs a single text, as analyze runs it",
            context->plugin->name);
    if (loading && context->session->options.overlap && says != PSC_CORPUS_OVERLAPS)
        return psc_fail(error, PSC_ERROR_INPUT,
            "plugin %s does not work with windows that overlap: it would count their tokens twice; "
            "leave out the stride, or the plugin; loss and sae count each token once",
            context->plugin->name);
    if (!loading && says == PSC_CORPUS_NO_RUNS)
        return psc_fail(error, PSC_ERROR_INPUT,
            "plugin %s reads no documents, so it does not work over a corpus",
            context->plugin->name);
    return PSC_OK;
}

/* The plugin's name; from the second instance on with "#2", "#3", ... */
static psc_status give_name(psc_context *context, const psc_session *session, psc_error *error) {
    int instance = 1;
    for (int32_t i = 0; i < session->n_contexts; i++)
        instance += strcmp(session->contexts[i]->plugin->name, context->plugin->name) == 0;
    size_t bytes = strlen(context->plugin->name) + 16;
    context->name = malloc(bytes);
    if (!context->name) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a plugin");
    if (instance == 1)
        snprintf(context->name, bytes, "%s", context->plugin->name);
    else
        snprintf(context->name, bytes, "%s#%d", context->plugin->name, instance);
    return PSC_OK;
}

/* The status of a callback. A host call that failed in it has set error, which fails the run
 * whatever the callback returned. */
static psc_status outcome(
    const psc_context *context, const char *callback, int returned, psc_error *error) {
    const psc_session *session = context->session;
    if ((session->run_options || session->report_stop || session->report_progress) &&
        session->cancelled)
        return psc_fail(error, PSC_ERROR_CANCELLED, "plugin %s: cancelled", context->name);
    if (error->status != PSC_OK) return error->status;
    if (returned == 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_PLUGIN, "plugin %s: %s failed (returned %d)", context->name,
        callback, returned);
}

static void call_close(psc_context *context) {
    if (!context->plugin->close) return;
    psc_turn_begin(context, PSC_IN_CLOSE);
    context->plugin->close(context, context->state);
    psc_turn_end(context);
}

/* Checks the options first, so that wrong values also fail for a plugin that never reads them. */
static psc_status call_open(psc_context *context, psc_error *error) {
    psc_session *session = context->session;
    const psc_option_setting setting = {&session->model->info, session->options.accumulate != 0};
    psc_status checked = psc_options_read(
        NULL, context->options, context->n_options, context->plugin, &setting, error);
    if (checked == PSC_OK && !context->plugin->open)
        context->takes_source = psc_plugin_takes_source(context->plugin, context, NULL);
    if (checked != PSC_OK || !context->plugin->open) return checked;
    psc_error *outer = session->error, inner = {PSC_OK, ""};
    session->error = &inner;
    psc_fp_state fp = psc_fp_enter();
    psc_turn_begin(context, PSC_IN_OPEN);
    int returned = context->plugin->open(context, &psc_host_table, &context->state);
    psc_turn_end(context);
    session->error = outer;
    psc_status status = outcome(context, "open", returned, &inner);
    /* A plugin whose open returned 0 expects close. */
    if (status != PSC_OK && returned == 0) call_close(context);
    if (status == PSC_OK)
        context->takes_source = psc_plugin_takes_source(context->plugin, context, context->state);
    psc_fp_leave(fp);
    if (status != PSC_OK && error) *error = inner;
    return status;
}

static void free_context(psc_context *context) {
    psc_session *session = context->session;
    if (session->registry) psc_registry_remove(session->registry, context);
    if (session->gradients) psc_registry_remove(session->gradients, context);
    psc_host_drop_variants(context);
    psc_host_drop_gradients(context);
    psc_host_drop_retained(context);
    psc_host_free_labels(context);
    psc_host_close_label_files(context);
    psc_host_close_dictionaries(context);
    psc_accumulators_close(&context->accumulators);
    psc_shards_free(&context->shards);
    psc_host_drop_run(context);
    psc_host_drop_life(context);
    psc_options_free(&context->options, context->n_options);
    const char *before = psc_at_work_begin(context->name); /* its code at the end may run */
    psc_plugin_unload(&context->library);
    psc_at_work_end(before);
    psc_turn_close(&context->turn);
    free(context->name);
    free(context);
}

psc_status psc_contexts_add(psc_session *session, const psc_plugin *object,
    const char *name_or_path, const char *text, const psc_option *options, int32_t n,
    psc_error *error) {
    if (session->broken) return psc_session_refuse_broken(error);
    if (psc_session_busy(session))
        return psc_fail(error, PSC_ERROR_STATE, "plugins cannot be added in a callback");
    if (n < 0 || (n > 0 && !options))
        return psc_fail(error, PSC_ERROR_INPUT, "%d options were given without a list", (int)n);
    psc_context *context = calloc(1, sizeof *context);
    psc_context **list =
        realloc(session->contexts, ((size_t)session->n_contexts + 1) * sizeof *list);
    if (list) session->contexts = list;
    if (!context || !list) {
        free(context);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a plugin");
    }
    context->session = session;
    context->section = -1;
    psc_turn_open(&context->turn);
    psc_status status = find_plugin(context, object, name_or_path, error);
    if (status == PSC_OK) status = check_corpus(context, true, error);
    if (status == PSC_OK) status = check_bos(context, error);
    if (status == PSC_OK && session->options.accumulate)
        status = psc_targets_imply(session, error); /* accumulators are sized in open */
    if (status == PSC_OK) status = give_name(context, session, error);
    if (status == PSC_OK)
        status = psc_options_take(
            &context->options, &context->n_options, context->plugin, text, options, n, error);
    if (status == PSC_OK) status = call_open(context, error);
    if (status != PSC_OK) {
        free_context(context);
        return status;
    }
    session->contexts[session->n_contexts++] = context;
    return PSC_OK;
}

void psc_contexts_close(psc_session *session) {
    psc_error ignored = {PSC_OK, ""};
    psc_fp_state fp = psc_fp_enter();
    session->error = &ignored;
    while (session->n_contexts > 0) {
        psc_context *context = session->contexts[--session->n_contexts];
        call_close(context);
        free_context(context);
    }
    psc_fp_leave(fp);
    free(session->contexts);
    session->contexts = NULL;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* Ends a context's part of a run. */
static void leave_run(psc_context *context) {
    context->in_run = false;
    context->section = -1;
    psc_host_drop_variants(context);
    psc_host_drop_gradients(context);
    psc_host_drop_retained(context);
    (void)psc_host_release(context, false, NULL);
    psc_host_drop_run(context);
}

static psc_status begin_one(psc_context *context, psc_error *error) {
    psc_status status = PSC_OK;
    int returned = 0;
    if (!context->session->options.accumulate) status = psc_host_begin_results(context, error);
    if (status != PSC_OK) {
        leave_run(context);
        return status;
    }
    context->in_run = true;
    psc_turn_begin(context, PSC_IN_RUN_BEGIN);
    if (context->plugin->run_begin) returned = context->plugin->run_begin(context, context->state);
    psc_turn_end(context);
    if (returned != 0) leave_run(context); /* else run_end follows, even if the error is set */
    return outcome(context, "run_begin", returned, error);
}

bool psc_phase_is_for_all(int32_t phase) {
    return phase != PSC_PHASE_SOURCE && phase != PSC_PHASE_BASE;
}

int psc_session_has_phases(const psc_session *session) {
    for (int32_t i = 0; i < session->n_contexts; i++) {
        const int32_t phases = session->contexts[i]->plugin->phases;
        if (phases && phases != PSC_PHASES_COMPARES) return 1;
    }
    return 0;
}

bool psc_contexts_compare(const psc_session *session) {
    bool compare = false;
    for (int32_t i = 0; i < session->n_contexts; i++)
        compare |= session->contexts[i]->plugin->phases == PSC_PHASES_COMPARES;
    return compare && session->options.accumulate && psc_session_has_phases(session);
}

bool psc_contexts_want_set(const psc_session *session) {
    bool wanted = false;
    for (int32_t i = 0; i < session->n_contexts; i++) wanted |= session->contexts[i]->whole_set;
    return wanted;
}

bool psc_contexts_want_source(const psc_session *session) {
    bool wanted = false;
    for (int32_t i = 0; i < session->n_contexts; i++) wanted |= session->contexts[i]->takes_source;
    return wanted;
}

int psc_session_takes_source(const psc_session *session) {
    return psc_contexts_want_source(session) || psc_contexts_want_set(session);
}

/* Whether a run of this phase is not for this plugin. */
static bool rests(const psc_context *context, int32_t phase) {
    const int32_t phases = context->plugin->phases;
    const psc_run_options *run = context->session->run_options;
    if (phase == PSC_PHASE_SOURCE && run && run->source >= PSC_SOURCE_SET)
        return !context->whole_set;
    if (phase == PSC_PHASE_SOURCE && phases != PSC_PHASES_COMPARES) return !context->takes_source;
    if (context->session->options.accumulate && phase == PSC_PHASE_BASE)
        return phases != PSC_PHASES_COMPARES;
    return !psc_phase_is_for_all(phase) && !phases;
}

const char *psc_session_needs_bos(const psc_session *session) {
    for (int32_t i = 0; i < session->n_contexts; i++)
        if (psc_plugin_needs_bos(session->contexts[i]->plugin)) return session->contexts[i]->name;
    return NULL;
}

psc_status psc_contexts_check_start(
    const psc_session *session, int32_t phase, int32_t sequence, int32_t token, psc_error *error) {
    const int32_t bos = psc_model_bos(session->model);
    for (int32_t i = 0; token != bos && i < session->n_contexts; i++) {
        const psc_context *context = session->contexts[i];
        if (rests(context, phase) || !psc_plugin_needs_bos(context->plugin)) continue;
        return psc_fail(error, PSC_ERROR_INPUT,
            "plugin %s: sequence %d must begin with the beginning-of-text token %d, not with %d",
            context->name, (int)sequence, (int)bos, (int)token);
    }
    return PSC_OK;
}

psc_status psc_contexts_begin(psc_session *session, psc_error *error) {
    psc_error *outer = session->error, inner = {PSC_OK, ""};
    psc_status status = psc_targets_imply(session, &inner);
    session->error = &inner;
    psc_fp_state fp = psc_fp_enter();
    bool for_all = psc_phase_is_for_all(session->run_options->phase);
    session->facts.asked = false;
    for (int32_t i = 0; i < session->n_contexts && status == PSC_OK; i++) {
        psc_context *context = session->contexts[i];
        context->muted = rests(context, session->run_options->phase);
        if (context->muted) continue;
        inner = (psc_error){PSC_OK, ""};
        status = check_corpus(context, false, &inner);
        if (status == PSC_OK) status = begin_one(context, &inner);
    }
    session->error = outer;
    if (status == PSC_OK && session->reader)
        status = psc_registry_check_shared(session->registry, &inner);
    if (status == PSC_OK && for_all) status = psc_target_facts_begin(session, &inner);
    if (status != PSC_OK) {
        if (error) *error = inner;
        status = psc_contexts_end(session, status, error);
    }
    psc_fp_leave(fp);
    return status;
}

/* Calls run_end, or report, of one context; session->error receives its sentence. */
static psc_status finish_one(psc_context *context, psc_status status, bool report) {
    psc_session *session = context->session;
    const psc_plugin *plugin = context->plugin;
    int returned = 0;
    *session->error = (psc_error){PSC_OK, ""};
    psc_turn_begin(context, report ? PSC_IN_REPORT : PSC_IN_RUN_END);
    if (report)
        returned = plugin->report ? plugin->report(context, context->state) : 0;
    else if (plugin->run_end)
        returned = plugin->run_end(context, context->state, status);
    psc_turn_end(context);
    if (!report) { /* room for the plugins after it */
        psc_host_drop_variants(context);
        psc_host_drop_gradients(context);
    }
    if (status != PSC_OK) return status;
    status = outcome(context, report ? "report" : "run_end", returned, session->error);
    return status || report ? status : psc_host_release(context, true, session->error);
}

psc_status psc_contexts_end(psc_session *session, psc_status status, psc_error *error) {
    psc_error *outer = session->error, inner;
    if (status == PSC_ERROR_PLUGIN && session->cancelled)
        status = psc_fail(error, PSC_ERROR_CANCELLED, "the run was cancelled");
    session->error = &inner;
    for (int report = 0; report <= !session->options.accumulate; report++) {
        for (int32_t i = 0; i < session->n_contexts; i++) {
            if (!session->contexts[i]->in_run || (report && status != PSC_OK)) continue;
            psc_status now = finish_one(session->contexts[i], status, report);
            if (now != status && error) *error = inner;
            status = now;
        }
    }
    session->error = outer;
    for (int32_t i = 0; i < session->n_contexts && status == PSC_OK; i++)
        if (session->contexts[i]->in_run) status = psc_shards_commit(session->contexts[i], error);
    for (int32_t i = 0; i < session->n_contexts; i++)
        if (session->contexts[i]->in_run) leave_run(session->contexts[i]);
    psc_registry_end_run(session->registry);
    psc_registry_end_run(session->gradients);
    return status;
}

psc_status psc_session_refuse_broken(psc_error *error) {
    return psc_fail(error, PSC_ERROR_STATE,
        "a plugin left a call of the host by a jump or an exception, so the session cannot be "
        "used any more; close it");
}

bool psc_session_stopped(psc_session *session) {
    const psc_run_options *options = session->run_options;
    int (*stop)(void *) = options ? options->stop : session->report_stop;
    void *payload = options ? options->payload : session->report_payload;
    if (stop && !session->cancelled && stop(payload) != 0) session->cancelled = true;
    return session->cancelled;
}

psc_status psc_contexts_report(psc_session *session, psc_error *error) {
    psc_error *outer = session->error, inner = {PSC_OK, ""};
    if (session->broken) return psc_session_refuse_broken(error);
    psc_status status = psc_targets_imply(session, &inner);
    session->error = &inner;
    for (int32_t i = 0; i < session->n_contexts && status == PSC_OK; i++) {
        psc_context *context = session->contexts[i];
        inner = (psc_error){PSC_OK, ""};
        status = psc_host_begin_results(context, &inner);
        if (status != PSC_OK) break;
        context->in_run = true;
        status = finish_one(context, PSC_OK, true);
        leave_run(context);
    }
    session->error = outer;
    if (status != PSC_OK && error) *error = inner;
    return status;
}
