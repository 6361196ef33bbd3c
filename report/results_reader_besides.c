/* What a client added to results.json: its command, the time of the work, a generation. */
#include "results_reader.h"

#include <string.h>

static psc_status read_time(psc_results *results, const psc_json_at *document) {
    psc_result_time *time = &results->time;
    psc_json_at at;
    if (!json_object_get(document->object, "time")) return PSC_OK;
    psc_status status = psc_json_enter(&at, document, "time");
    if (status == PSC_OK) status = psc_json_get_real(&time->seconds, &at, "seconds");
    if (status == PSC_OK)
        status = psc_json_get_real(&time->tokens_per_second, &at, "tokens_per_second");
    if (status == PSC_OK)
        status =
            psc_json_get_integer(&time->peak_memory_bytes, &at, "peak_memory_bytes", 0, INT64_MAX);
    time->struct_size = sizeof *time;
    return status;
}

/* A text, which may have 0 bytes, or null. */
static psc_status take_bytes(
    const char **out, size_t *n, psc_results *results, const psc_json_at *at, const char *key) {
    const json_t *text = json_object_get(at->object, key);
    *out = NULL;
    *n = 0;
    if (json_is_null(text)) return PSC_OK;
    if (!json_is_string(text)) return psc_json_bad(at, key, "is neither a text nor null");
    *n = json_string_length(text);
    *out = psc_results_keep(results, json_string_value(text), *n);
    return *out ? PSC_OK : psc_json_no_room(at);
}

static psc_status read_settings(psc_generation *g, psc_results *results, const psc_json_at *at) {
    static const char *const ends[] = {"limit", "token", "context"};
    int64_t seed = 0;
    const char *end = NULL;
    const bool ended = !json_is_null(json_object_get(at->object, "end"));
    psc_status status = psc_json_get_integer(&g->limit, at, "limit", 0, INT64_MAX);
    if (status == PSC_OK) status = psc_json_get_real(&g->temperature, at, "temperature");
    if (status == PSC_OK) status = psc_json_get_count(&g->top_k, at, "top_k");
    if (status == PSC_OK) status = psc_json_get_real(&g->top_p, at, "top_p");
    if (status == PSC_OK) status = psc_json_get_real(&g->min_p, at, "min_p");
    if (status == PSC_OK) status = psc_json_get_integer(&seed, at, "seed", INT64_MIN, INT64_MAX);
    if (status == PSC_OK && ended) status = psc_json_get_text(&end, at, "end");
    if (status != PSC_OK) return status;
    g->seed = (uint64_t)seed;
    for (g->end = 0; end && g->end <= PSC_END_CONTEXT && strcmp(end, ends[g->end]) != 0;) g->end++;
    if (!end) g->end = PSC_END_NONE;
    if (g->end > PSC_END_CONTEXT) return psc_json_bad(at, "end", "is not limit, token or context");
    return take_bytes(&g->text, &g->text_bytes, results, at, "text");
}

static psc_status read_generated(
    psc_generated_token *out, psc_results *results, const psc_json_at *at) {
    psc_status status = psc_json_get_count(&out->id, at, "id");
    if (status == PSC_OK) status = take_bytes(&out->bytes, &out->n_bytes, results, at, "text");
    if (status == PSC_OK) status = psc_json_get_count(&out->rank, at, "rank");
    if (status == PSC_OK) status = psc_json_get_real(&out->p, at, "p");
    return status ? status : psc_json_get_real(&out->logit, at, "logit");
}

static psc_status read_generation(psc_results *results, const psc_json_at *document) {
    psc_generation *g = &results->generation;
    psc_json_at at;
    json_t *list;
    if (!json_object_get(document->object, "generation")) return PSC_OK;
    psc_status status = psc_json_enter(&at, document, "generation");
    if (status == PSC_OK) status = read_settings(g, results, &at);
    if (status == PSC_OK) status = psc_json_get_list(&list, &at, "tokens");
    if (status != PSC_OK) return status;
    const size_t n = json_array_size(list);
    if (n > INT32_MAX / 2) return psc_json_bad(&at, "tokens", "is too long");
    psc_generated_token *tokens = psc_arena_alloc(&results->own, n * sizeof *tokens + 1);
    if (!tokens) return psc_json_no_room(document);
    g->struct_size = sizeof *g;
    g->tokens = tokens;
    for (size_t i = 0; status == PSC_OK && i < n; i++) {
        psc_json_at one = {document->path, json_array_get(list, i), document->error, ""};
        snprintf(one.place, sizeof one.place, "generation.tokens[%zu].", i);
        if (!json_is_object(one.object))
            return psc_json_bad(&at, "tokens", "has an entry that is not an object");
        status = read_generated(&tokens[i], results, &one);
        g->n = (int32_t)i + 1;
    }
    return status;
}

psc_status psc_read_besides(psc_results *results, const psc_json_at *document) {
    psc_status status = PSC_OK;
    if (json_object_get(document->object, "command"))
        status = psc_read_text(&results->command, results, document, "command");
    if (status == PSC_OK) status = read_time(results, document);
    return status ? status : read_generation(results, document);
}
