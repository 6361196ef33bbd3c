/* results.json: the results' head, then "plugins" with one object per plugin, then "captures". */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "json_arrays.h"
#include "json_head.h"
#include "results.h"

static void put_text(psc_json *json, const char *key, const char *value) {
    psc_json_member(json, key, psc_json_string(value));
}

static json_t *token_object(const psc_result_token *token) {
    json_t *text = token->bytes ? psc_json_bytes(token->bytes, token->n_bytes) : json_null();
    return json_pack("{s:i, s:o, s:I, s:I, s:i, s:i}", "id", (int)token->id, "text", text, "start",
        (json_int_t)token->start, "end", (json_int_t)token->end, "sequence", (int)token->sequence,
        "position", (int)token->position);
}

static void put_tokens(psc_json *json, const psc_results *results) {
    psc_json_list(json, "tokens", 0);
    for (int32_t i = 0; i < results->n_tokens; i++)
        psc_json_object_listed(json, token_object(&results->tokens[i]));
    psc_json_objects_end(json);
}

static json_t *text_or_null(const char *text) {
    return text ? psc_json_string(text) : json_null();
}

/* A contrast has its second token under "minus". Null without memory. */
static json_t *target_object(const psc_result_target *t) {
    json_t *object =
        json_pack("{s:o, s:i, s:i, s:o, s:i, s:o, s:o}", "name", psc_json_string(t->name), "row",
            (int)t->row, "id", (int)t->id, "text", text_or_null(t->text), "rank", (int)t->rank, "p",
            psc_json_real(t->p), "logit", psc_json_real(t->logit));
    if (!object || t->minus_id < 0) return object;
    json_t *minus = json_pack("{s:i, s:o, s:i, s:o, s:o}", "id", (int)t->minus_id, "text",
        text_or_null(t->minus_text), "rank", (int)t->minus_rank, "p", psc_json_real(t->minus_p),
        "logit", psc_json_real(t->minus_logit));
    if (json_object_set_new(object, "minus", minus) == 0) return object;
    json_decref(object);
    return NULL;
}

static void put_targets(psc_json *json, const psc_results *results) {
    psc_json_list(json, "targets", 0);
    for (int32_t i = 0; i < results->n_targets; i++)
        psc_json_object_listed(json, target_object(&results->targets[i]));
    psc_json_objects_end(json);
}

/* {"1234": " the", ...}, for the ids in arrays. */
static void put_vocabulary(psc_json *json, const psc_results *results) {
    psc_json_object(json, "vocabulary");
    for (int32_t i = 0; i < results->n_vocabulary; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", (int)results->vocabulary[i].id);
        put_text(json, key, results->vocabulary[i].text);
    }
    psc_json_end(json);
}

/* --- sections -------------------------------------------------------------------------------- */

static void put_options(psc_json *json, const psc_section *section) {
    psc_json_object(json, "options");
    for (int i = 0; i < section->n_options; i++)
        put_text(json, section->options[i].key, section->options[i].value);
    psc_json_end(json);
}

/* {"dtype": "F32", "axes": [...], "shape": [...]} and numbers; a capture has no axis names. */
static void put_array(psc_json *json, const psc_results *results, const psc_stored_array *stored) {
    static const char *const dtypes[] = {"F32", "F64", "I32"};
    const psc_array *array = &stored->view;
    psc_json_object(json, array->key);
    put_text(json, "dtype", dtypes[array->element]);
    if (stored->section >= 0) {
        psc_json_list(json, "axes", array->n_axes);
        for (int i = 0; i < array->n_axes; i++)
            psc_json_listed(json, psc_json_string(array->axes[i]));
        psc_json_list_end(json);
    }
    psc_json_list(json, "shape", array->n_axes);
    for (int i = 0; i < array->n_axes; i++) psc_json_listed(json, json_integer(array->shape[i]));
    psc_json_list_end(json);
    if (stored->token_ids) psc_json_member(json, "token_ids", json_true());
    psc_json_numbers(
        json, stored->section < 0 ? NULL : &results->sections[stored->section], stored);
    psc_json_end(json);
}

/* The arrays of a section, or the captures (-1). */
static void put_arrays(psc_json *json, const char *key, const psc_results *results, int section) {
    psc_json_object(json, key);
    for (int i = 0; i < results->n_arrays; i++)
        if (results->arrays[i].section == section) put_array(json, results, &results->arrays[i]);
    psc_json_end(json);
}

static void put_axis(psc_json *json, const psc_result_axis *axis) {
    psc_json_list(json, axis->name, axis->n);
    for (int64_t i = 0; i < axis->n; i++)
        psc_json_listed(
            json, axis->labels ? psc_json_string(axis->labels[i]) : json_integer(axis->numbers[i]));
    psc_json_list_end(json);
}

static json_t *entry(const psc_result_value *value, int32_t i) {
    return value->texts ? psc_json_string(value->texts[i]) : psc_json_real(value->numbers[i]);
}

static void put_value(psc_json *json, const psc_result_value *value) {
    if (value->kind == PSC_VALUE_NUMBER || value->kind == PSC_VALUE_TEXT) {
        psc_json_member(json, value->name, entry(value, 0));
        return;
    }
    psc_json_list(json, value->name, value->n);
    for (int32_t i = 0; i < value->n; i++) psc_json_listed(json, entry(value, i));
    psc_json_list_end(json);
}

/* {"title", "unit", "labels", "values"}; null without memory. */
static json_t *bars_object(const psc_result_item *bars) {
    json_t *labels = json_array(), *values = json_array();
    bool complete = labels && values;
    for (int32_t i = 0; complete && i < bars->n; i++)
        complete = json_array_append_new(labels, psc_json_string(bars->labels[i])) == 0 &&
                   json_array_append_new(values, psc_json_real(bars->values[i])) == 0;
    if (complete)
        return json_pack("{s:o, s:o, s:o, s:o}", "title", psc_json_string(bars->title), "unit",
            psc_json_string(bars->unit), "labels", labels, "values", values);
    json_decref(labels);
    json_decref(values);
    return NULL;
}

/* Sentences as texts, bars as objects, in the order of the printed summary. */
static void put_summary(psc_json *json, const psc_section *section) {
    psc_json_list(json, "summary", 0);
    for (int i = 0; i < section->n_items; i++) {
        const psc_result_item *item = &section->items[i];
        psc_json_object_listed(
            json, item->sentence ? psc_json_string(item->sentence) : bars_object(item));
    }
    psc_json_objects_end(json);
}

/* Axes and values in the order of their creation. */
static void put_section(psc_json *json, const psc_results *results, int index) {
    const psc_section *section = &results->sections[index];
    psc_json_object(json, section->name);
    put_text(json, "version", section->version);
    put_options(json, section);
    put_arrays(json, "arrays", results, index);
    if (section->n_items > 0) put_summary(json, section);
    for (int axis = 0, value = 0; axis + value < section->n_axes + section->n_values;)
        if (axis < section->n_axes && section->axes[axis].place == axis + value)
            put_axis(json, &section->axes[axis++].view);
        else
            put_value(json, &section->values[value++].view);
    psc_json_end(json);
}

/* What the client knows besides; else what the results were read with. */
static void put_besides(
    psc_json *json, const psc_results *results, const psc_format_options *options) {
    const char *command = options->command ? options->command : results->command;
    const psc_result_time *time = options->time ? options->time : &results->time;
    const psc_generation *generation =
        options->generation ? options->generation : &results->generation;
    if (command) put_text(json, "command", command);
    if (time->struct_size > 0) psc_json_time(json, time);
    if (generation->struct_size > 0) psc_json_generation(json, generation);
}

/* What the run saw and found. */
static void put_findings(psc_json *json, const psc_results *results) {
    if (results->has_corpus) psc_json_corpus(json, &results->corpus);
    put_tokens(json, results);
    if (results->n_targets > 0) put_targets(json, results);
    if (results->n_vocabulary > 0) put_vocabulary(json, results);
    psc_json_object(json, "plugins");
    for (int i = 0; i < results->n_sections; i++) put_section(json, results, i);
    psc_json_end(json);
    if (psc_results_capture_count(results) > 0) put_arrays(json, "captures", results, -1);
}

static void put_document(
    psc_json *json, const psc_results *results, const psc_format_options *options) {
    psc_json_object(json, NULL);
    psc_json_object(json, "pythiascope");
    put_text(json, "version", results->version);
    psc_json_end(json);
    if (options->prompt > 0) psc_json_member(json, "prompt", json_integer(options->prompt));
    put_besides(json, results, options);
    psc_json_model(json, &results->model);
    psc_json_run(json, &results->run);
    if (!options->generation_only) put_findings(json, results);
    psc_json_end(json);
}

psc_status psc_report_json(
    const psc_results *results, const psc_format_options *options, FILE *out, psc_error *error) {
    psc_json json = {.out = out, .compact = options->one_line != 0};
    errno = 0;
    put_document(&json, results, options);
    if (!psc_json_close(&json))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the results");
    if (fputc('\n', out) != EOF && !ferror(out)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot write the results as JSON: %s",
        errno ? strerror(errno) : "the output failed");
}
