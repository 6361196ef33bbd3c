/* A copy of results that depends on nothing else: a head borrows its texts from the model, which
 * may be closed before the copy. */
#include "results.h"

#include <string.h>

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a copy of the results");
}

/* *text: replaced by a copy of its own; null stays null. False without memory. */
static bool own_text(psc_results *to, const char **text) {
    if (!*text) return true;
    *text = psc_results_keep(to, *text, strlen(*text));
    return *text != NULL;
}

/* Every text and list that psc_result_model and psc_result_run point to. */
static bool own_texts(psc_results *to) {
    psc_result_model *m = &to->model;
    const char **const texts[] = {&to->version, &m->path, &m->name, &m->hash, &m->activation,
        &m->dtype, &m->rope_type, &to->run.isa, &to->run.sleef};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!own_text(to, texts[i])) return false;
    const size_t bytes = (size_t)m->n_eos * sizeof *m->eos_ids;
    int32_t *ids = psc_arena_alloc(&to->own, bytes + 1);
    if (ids && bytes) memcpy(ids, m->eos_ids, bytes);
    m->eos_ids = ids;
    return ids != NULL;
}

static bool own_tokens(psc_results *to, const psc_results *from) {
    if (from->n_tokens == 0) return true;
    psc_result_token *tokens = psc_results_make_tokens(to, from->n_tokens);
    for (int32_t i = 0; tokens && i < from->n_tokens; i++) {
        tokens[i] = from->tokens[i];
        if (!tokens[i].bytes) continue;
        tokens[i].bytes = psc_results_keep(to, tokens[i].bytes, tokens[i].n_bytes);
        if (!tokens[i].bytes) return false;
    }
    return tokens != NULL;
}

static bool own_targets(psc_results *to, const psc_results *from) {
    if (from->n_targets == 0) return true;
    psc_result_target *targets = psc_results_make_targets(to, from->n_targets);
    for (int32_t i = 0; targets && i < from->n_targets; i++) {
        targets[i] = from->targets[i];
        if (!own_text(to, &targets[i].name) || !own_text(to, &targets[i].text) ||
            !own_text(to, &targets[i].minus_text))
            return false;
        to->n_targets = i + 1;
    }
    return targets != NULL;
}

psc_status psc_results_copy_head(psc_results *to, const psc_results *from, psc_error *error) {
    to->version = from->version;
    to->model = from->model;
    to->run = from->run;
    to->corpus = from->corpus;
    to->has_corpus = from->has_corpus;
    to->has_head = from->has_head;
    if (!from->has_head || (own_texts(to) && own_tokens(to, from) && own_targets(to, from)))
        return PSC_OK;
    to->has_head = false;
    return no_memory(error);
}

/* What a client adds. */
static bool own_rest(psc_results *to, const psc_results *from) {
    psc_generation *g = &to->generation;
    to->command = from->command;
    to->time = from->time;
    *g = from->generation;
    if (!own_text(to, &to->command)) return false;
    if (g->text && !(g->text = psc_results_keep(to, g->text, g->text_bytes))) return false;
    const size_t bytes = (size_t)g->n * sizeof *g->tokens;
    psc_generated_token *tokens = psc_arena_alloc(&to->own, bytes + 1);
    if (tokens && bytes) memcpy(tokens, g->tokens, bytes);
    g->tokens = tokens;
    for (int32_t i = 0; tokens && i < g->n; i++)
        if (tokens[i].bytes &&
            !(tokens[i].bytes = psc_results_keep(to, tokens[i].bytes, tokens[i].n_bytes)))
            return false;
    return tokens != NULL;
}

psc_status psc_results_copy(psc_results **out, const psc_results *results, psc_error *error) {
    psc_results *copy = NULL;
    *out = NULL;
    psc_status status = psc_results_open(&copy, error);
    if (!status) status = psc_results_copy_head(copy, results, error);
    if (!status && !own_rest(copy, results)) status = no_memory(error);
    if (!status) status = psc_results_adopt(copy, results, NULL, error);
    if (status) psc_results_close(&copy);
    *out = copy;
    return status;
}
