/* The place and the setup in a state file. */
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interventions.h"
#include "report.h"
#include "report_line.h"

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the state");
}

/* --- the setup ------------------------------------------------------------------------------- */

static bool is_utf8(const char *text) {
    for (size_t left = strlen(text); left > 0;) {
        const int n = psc_report_character(text, left);
        if (n <= 0) return false;
        text += n;
        left -= (size_t)n;
    }
    return true;
}

static psc_status check_text(const cli_given *given, psc_error *error) {
    for (int i = 0; i < given->option->n_values; i++)
        if (!is_utf8(given->values[i]))
            return psc_fail(error, PSC_ERROR_INPUT,
                "--%s %.200s is not UTF-8, which --state needs; leave --state out",
                given->option->name, given->values[i]);
    return PSC_OK;
}

/* One use of an option as a string, or as an array of its two values. */
static psc_status append(json_t *list, const cli_given *given, psc_error *error) {
    const char *const *values = given->values;
    psc_status status = check_text(given, error);
    if (status) return status;
    json_t *entry = given->option->n_values == 2 ? json_pack("[s, s]", values[0], values[1])
                                                 : json_string(values[0]);
    return json_array_append_new(list, entry) == 0 ? PSC_OK : no_memory(error);
}

/* ["ablate", "L0H3:rows=last"] */
static psc_status append_edit(json_t *list, const cli_given *given, psc_error *error) {
    psc_status status = check_text(given, error);
    if (status) return status;
    json_t *entry = json_pack("[s, s]", given->option->name, given->values[0]);
    return json_array_append_new(list, entry) == 0 ? PSC_OK : no_memory(error);
}

/* The targets, plugins and interventions of the command line; plugins by name where it has none. */
static psc_status fill(json_t *targets, json_t *plugins, json_t *edits,
    const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    for (int i = 0; !status && i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        const char *name = given->option->name;
        if (strcmp(name, "target") == 0 || strcmp(name, "contrast") == 0)
            status = append(targets, given, error);
        else if (strcmp(name, "plugin") == 0)
            status = append(plugins, given, error);
        else if (cli_is_intervention(name))
            status = append_edit(edits, given, error);
    }
    const bool chosen = cli_has(arguments, "plugin");
    for (int i = 0; !status && !chosen && cli_default_plugins[i]; i++)
        if (json_array_append_new(plugins, json_string(cli_default_plugins[i])) != 0)
            status = no_memory(error);
    return status;
}

psc_status cli_setup_write(json_t **out, const cli_arguments *arguments, psc_error *error) {
    json_t *targets = json_array(), *plugins = json_array(), *edits = json_array();
    psc_status status = no_memory(error);
    *out = NULL;
    if (targets && plugins && edits) status = fill(targets, plugins, edits, arguments, error);
    if (!status) *out = json_pack("{s:O, s:O}", "targets", targets, "plugins", plugins);
    if (!status && (!*out || (json_array_size(edits) > 0 &&
                                 json_object_set(*out, "interventions", edits) != 0)))
        status = no_memory(error);
    json_decref(targets);
    json_decref(plugins);
    json_decref(edits);
    return status;
}

static psc_status add_edits(psc_session *session, const json_t *edits, psc_error *error) {
    psc_status status = PSC_OK;
    size_t i;
    json_t *value;
    json_array_foreach(edits, i, value) {
        const char *kind = json_string_value(json_array_get(value, 0));
        const char *at = json_string_value(json_array_get(value, 1));
        if (!status && !(kind && at && cli_is_intervention(kind)))
            status = psc_fail(error, PSC_ERROR_INPUT,
                "a recorded intervention is not an array of its kind and its place");
        if (!status) status = cli_intervention_add(session, kind, at, error);
    }
    return status;
}

static psc_status add_target(psc_session *session, const json_t *target, psc_error *error) {
    const char *a = json_string_value(json_array_get(target, 0));
    const char *b = json_string_value(json_array_get(target, 1));
    if (json_is_string(target))
        return psc_session_target(session, json_string_value(target), error);
    if (a && b && json_array_size(target) == 2) return psc_session_contrast(session, a, b, error);
    return psc_fail(
        error, PSC_ERROR_INPUT, "a recorded target is neither a string nor an array of two");
}

/* Checks all before it loads one. */
static psc_status add_plugins(
    psc_session *session, const json_t *plugins, const cli_arguments *arguments, psc_error *error) {
    const size_t n = json_array_size(plugins);
    const char **texts = malloc((n + 1) * sizeof *texts);
    psc_status status = texts ? PSC_OK : no_memory(error);
    for (size_t i = 0; !status && i < n; i++) {
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without a status there is memory
        texts[i] = json_string_value(json_array_get(plugins, i));
        if (!texts[i])
            status = psc_fail(error, PSC_ERROR_INPUT, "a recorded plugin is not a string");
    }
    if (!status) status = cli_check_recorded_plugins(arguments, texts, n, error);
    for (size_t i = 0; !status && i < n; i++)
        status = cli_add_recorded_plugin(session, texts[i], arguments, error);
    free(texts);
    return status;
}

psc_status cli_setup_apply(
    psc_session *session, const json_t *setup, const cli_arguments *arguments, psc_error *error) {
    const json_t *targets = json_object_get(setup, "targets");
    const json_t *plugins = json_object_get(setup, "plugins");
    psc_status status = PSC_OK;
    size_t i;
    json_t *value;
    if (!json_is_array(targets) || !json_is_array(plugins))
        return psc_fail(
            error, PSC_ERROR_INPUT, "the recorded targets or plugins are not a JSON array");
    json_array_foreach(targets, i, value) {
        if (!status) status = add_target(session, value, error);
    }
    if (!status) status = add_plugins(session, plugins, arguments, error);
    return status ? status : add_edits(session, json_object_get(setup, "interventions"), error);
}

/* --- the file -------------------------------------------------------------------------------- */

psc_status cli_state_save(const psc_session *session, const char *path, const psc_corpus *corpus,
    json_t *setup, psc_error *error) {
    char *place = NULL;
    psc_status status = psc_corpus_tell(&place, corpus, error);
    if (status) return status;
    json_t *client = json_pack(
        "{s:o, s:O}", "place", psc_report_value(place, strlen(place), NULL), "setup", setup);
    char *text = psc_report_value_text(client);
    status =
        text ? psc_session_state_save(session, path, text, strlen(text), error) : no_memory(error);
    free(text);
    json_decref(client);
    psc_free(place);
    return status;
}

psc_status cli_state_error(const char *path, psc_status status, psc_error *error) {
    char prefix[600];
    snprintf(prefix, sizeof prefix, "the state file %.500s", path);
    return psc_error_prefix(error, status, prefix);
}

psc_status cli_state_lock(cli_lock *out, char **file, const char *path, psc_error *error) {
    char what[700];
    bool exists = false;
    snprintf(what, sizeof what, "the state file %.650s", path);
    psc_status status = cli_lock_find(file, &exists, path, what, error);
    return status ? status : cli_lock_take(out, *file, what, "--state", error);
}

static psc_status parse(cli_state *out, const char *text, size_t bytes, psc_error *error) {
    json_error_t why;
    json_t *client = psc_report_value(text, bytes, &why);
    if (!client && !why.text[0]) return no_memory(error);
    if (!client)
        return psc_fail(
            error, PSC_ERROR_INPUT, "its position and setup are not valid JSON: %s", why.text);
    const json_t *place = json_object_get(client, "place");
    json_t *setup = json_object_get(client, "setup");
    psc_status status = PSC_OK;
    if (!json_is_object(place) || !json_is_object(setup))
        status = psc_fail(error, PSC_ERROR_INPUT, "it has no position in a corpus or no setup");
    else if (!(out->place = psc_report_value_text(place)))
        status = no_memory(error);
    else
        out->setup = json_incref(setup);
    json_decref(client);
    return status;
}

psc_status cli_state_read(cli_state *out, const char *path, psc_error *error) {
    void *client = NULL;
    size_t bytes = 0;
    *out = (cli_state){0};
    psc_status status = psc_state_client(&client, &bytes, path, error);
    if (status) return status;
    status = parse(out, client, bytes, error);
    psc_free(client);
    return status ? cli_state_error(path, status, error) : PSC_OK;
}

psc_status cli_state_get_part(cli_state_part *out, const cli_state *state, psc_error *error) {
    json_t *place = psc_report_value(state->place, strlen(state->place), NULL);
    if (!place) return no_memory(error); /* it was an object when it was read */
    const json_t *shard = json_object_get(place, "shard"), *n = json_object_get(place, "n_shards");
    const json_int_t k = json_integer_value(shard), all = json_integer_value(n);
    out->finished = json_integer_value(json_object_get(place, "finished")) == 1;
    const bool valid = json_is_integer(shard) && json_is_integer(n) && k >= 0 && k <= all &&
                       all <= PSC_CORPUS_SHARDS && (k > 0 || all == 0);
    json_decref(place);
    if (!valid)
        return psc_fail(error, PSC_ERROR_INPUT, "the recorded part of the corpus is out of range");
    out->shard = all > 0 ? (int32_t)k : 1;
    out->n = all > 0 ? (int32_t)all : 1;
    return PSC_OK;
}

void cli_state_free(cli_state *state) {
    free(state->place);
    json_decref(state->setup);
    *state = (cli_state){0};
}
