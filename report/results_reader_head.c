/* The head of results.json: version, model, run, corpus, tokens, and the texts of token ids. */
#include "results_reader.h"

#include <stdlib.h>
#include <string.h>

psc_status psc_read_text(
    const char **out, psc_results *results, const psc_json_at *at, const char *key) {
    const char *text;
    psc_status status = psc_json_get_text(&text, at, key);
    if (status != PSC_OK) return status;
    *out = psc_results_keep(results, text, strlen(text));
    return *out ? PSC_OK : psc_json_no_room(at);
}

typedef struct count_member {
    const char *key;
    int32_t *out;
} count_member;

/* Ends with a null key. */
static psc_status take_counts(const count_member *members, const psc_json_at *at) {
    psc_status status = PSC_OK;
    for (; status == PSC_OK && members->key; members++)
        status = psc_json_get_count(members->out, at, members->key);
    return status;
}

/* --- the model ------------------------------------------------------------------------------- */

static psc_status read_ids(
    psc_result_model *model, psc_results *results, const psc_json_at *config) {
    json_t *list;
    psc_status status = PSC_OK;
    if (json_is_null(json_object_get(config->object, "bos_id")))
        model->bos_id = -1;
    else
        status = psc_json_get_count(&model->bos_id, config, "bos_id");
    if (status == PSC_OK) status = psc_json_get_list(&list, config, "eos_ids");
    if (status != PSC_OK) return status;
    const size_t n = json_array_size(list);
    int32_t *ids = psc_arena_alloc(&results->own, n * sizeof *ids + 1);
    if (!ids) return psc_json_no_room(config);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(list, i);
        const json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value > INT32_MAX)
            return psc_json_bad(config, "eos_ids", "has an entry that is not a token id");
        ids[i] = (int32_t)value;
    }
    model->eos_ids = ids;
    model->n_eos = (int32_t)n;
    return PSC_OK;
}

/* A scaled rotary embedding; results of another have neither key. */
static psc_status read_rope(
    psc_result_model *model, psc_results *results, const psc_json_at *config) {
    model->rope_type = "default";
    model->rope_factor = 1.0;
    if (!json_object_get(config->object, "rope_type")) return PSC_OK;
    psc_status status = psc_read_text(&model->rope_type, results, config, "rope_type");
    if (status != PSC_OK) return status;
    return psc_json_get_real(&model->rope_factor, config, "rope_factor");
}

static psc_status read_config(psc_results *results, const psc_json_at *config) {
    psc_result_model *m = &results->model;
    const count_member counts[] = {{"n_layers", &m->n_layers}, {"n_heads", &m->n_heads},
        {"d_model", &m->d_model}, {"d_head", &m->d_head}, {"d_mlp", &m->d_mlp},
        {"d_vocab", &m->d_vocab}, {"n_ctx", &m->n_ctx}, {"rotary_dims", &m->rotary_dims},
        {NULL, NULL}};
    psc_status status = take_counts(counts, config);
    if (status == PSC_OK) status = psc_json_get_real(&m->layer_norm_eps, config, "layer_norm_eps");
    if (status == PSC_OK) status = psc_json_get_real(&m->rotary_pct, config, "rotary_pct");
    if (status == PSC_OK) status = psc_json_get_real(&m->rotary_base, config, "rotary_base");
    if (status == PSC_OK) status = read_rope(m, results, config);
    if (status == PSC_OK)
        status = psc_json_get_flag(&m->parallel_residual, config, "parallel_residual");
    if (status == PSC_OK) status = psc_json_get_flag(&m->tied, config, "tied");
    if (status == PSC_OK) status = psc_json_get_flag(&m->attention_bias, config, "attention_bias");
    if (status == PSC_OK) status = psc_read_text(&m->activation, results, config, "activation");
    if (status == PSC_OK) status = psc_read_text(&m->dtype, results, config, "dtype");
    return status == PSC_OK ? read_ids(m, results, config) : status;
}

/* Files of older versions have no name: the path's last part. */
static psc_status take_name(psc_results *results, const psc_json_at *model) {
    const char *path = results->model.path, *slash = strrchr(path, '/');
    results->model.name = slash && slash[1] ? slash + 1 : path;
    if (!json_object_get(model->object, "name")) return PSC_OK;
    return psc_read_text(&results->model.name, results, model, "name");
}

static psc_status read_model(psc_results *results, const psc_json_at *document) {
    psc_json_at model, config;
    results->model = (psc_result_model)PSC_RESULT_MODEL_INIT;
    psc_status status = psc_json_enter(&model, document, "model");
    if (status == PSC_OK) status = psc_read_text(&results->model.path, results, &model, "path");
    if (status == PSC_OK) status = psc_read_text(&results->model.hash, results, &model, "hash");
    if (status == PSC_OK) status = take_name(results, &model);
    if (status == PSC_OK) status = psc_json_enter(&config, &model, "config");
    return status == PSC_OK ? read_config(results, &config) : status;
}

/* --- the run --------------------------------------------------------------------------------- */

static psc_status read_run(psc_results *results, const psc_json_at *document) {
    psc_result_run *r = &results->run;
    const count_member counts[] = {{"threads", &r->threads}, {"chunk", &r->chunk},
        {"n_rows", &r->n_rows}, {"sequences", &r->sequences}, {NULL, NULL}};
    psc_json_at run;
    *r = (psc_result_run)PSC_RESULT_RUN_INIT;
    psc_status status = psc_json_enter(&run, document, "run");
    if (status == PSC_OK) status = psc_read_text(&r->isa, results, &run, "isa");
    if (status == PSC_OK) status = psc_read_text(&r->sleef, results, &run, "sleef");
    if (status == PSC_OK) status = take_counts(counts, &run);
    return status == PSC_OK ? psc_json_get_flag(&r->bos, &run, "bos") : status;
}

static psc_status read_corpus(psc_results *results, const psc_json_at *document) {
    psc_corpus_totals *c = &results->corpus;
    const struct {
        const char *key;
        int64_t *out;
    } totals[] = {{"documents", &c->documents}, {"documents_skipped", &c->skipped},
        {"windows", &c->windows}, {"tokens", &c->tokens}, {"limit_tokens", &c->limit},
        {"sample", &c->sample}, {"seed", &c->seed}, {"documents_in_corpus", &c->population}};
    psc_json_at corpus;
    *c = (psc_corpus_totals)PSC_CORPUS_TOTALS_INIT;
    psc_status status = psc_json_enter(&corpus, document, "corpus");
    for (int i = 0; status == PSC_OK && i < (int)(sizeof totals / sizeof *totals); i++)
        if (i < 4 || json_object_get(corpus.object, totals[i].key))
            status = psc_json_get_integer(totals[i].out, &corpus, totals[i].key, 0, INT64_MAX);
    if (status == PSC_OK) status = psc_json_get_count(&c->window, &corpus, "window");
    if (status == PSC_OK) status = psc_json_get_flag(&c->bos, &corpus, "bos");
    if (status == PSC_OK && json_object_get(corpus.object, "stride"))
        status = psc_json_get_count(&c->stride, &corpus, "stride");
    if (status == PSC_OK && json_object_get(corpus.object, "stopped"))
        status = psc_json_get_flag(&c->stopped, &corpus, "stopped");
    results->has_corpus = true;
    return status;
}

/* --- tokens ---------------------------------------------------------------------------------- */

static psc_status read_token(psc_result_token *out, psc_results *results, const psc_json_at *at) {
    const json_t *text = json_object_get(at->object, "text");
    int64_t start = 0, end = 0;
    *out = (psc_result_token){0};
    psc_status status = psc_json_get_count(&out->id, at, "id");
    if (status == PSC_OK) status = psc_json_get_count(&out->sequence, at, "sequence");
    if (status == PSC_OK) status = psc_json_get_count(&out->position, at, "position");
    if (status == PSC_OK) status = psc_json_get_integer(&start, at, "start", 0, UINT32_MAX);
    if (status == PSC_OK) status = psc_json_get_integer(&end, at, "end", 0, UINT32_MAX);
    if (status != PSC_OK) return status;
    out->start = (uint32_t)start;
    out->end = (uint32_t)end;
    if (json_is_null(text)) return PSC_OK;
    if (!json_is_string(text)) return psc_json_bad(at, "text", "is neither a text nor null");
    out->n_bytes = json_string_length(text);
    out->bytes = psc_results_keep(results, json_string_value(text), out->n_bytes);
    return out->bytes ? PSC_OK : psc_json_no_room(at);
}

static psc_status read_tokens(psc_results *results, const psc_json_at *document) {
    json_t *list;
    psc_status status = psc_json_get_list(&list, document, "tokens");
    if (status != PSC_OK) return status;
    const size_t n = json_array_size(list);
    if (n != (size_t)results->run.n_rows)
        return psc_json_bad(document, "tokens", "has another number of entries than run.n_rows");
    psc_result_token *tokens = n > 0 ? psc_results_make_tokens(results, (int32_t)n) : NULL;
    if (n > 0 && !tokens) return psc_json_no_room(document);
    for (size_t i = 0; status == PSC_OK && i < n; i++) {
        psc_json_at at = {document->path, json_array_get(list, i), document->error, ""};
        snprintf(at.place, sizeof at.place, "tokens[%zu].", i);
        if (!json_is_object(at.object))
            return psc_json_bad(document, "tokens", "has an entry that is not an object");
        status = read_token(&tokens[i], results, &at);
    }
    return status;
}

/* --- targets --------------------------------------------------------------------------------- */

/* A text or null. */
static psc_status take_text_or_null(
    const char **out, psc_results *results, const psc_json_at *at, const char *key) {
    *out = NULL;
    if (json_is_null(json_object_get(at->object, key))) return PSC_OK;
    return psc_read_text(out, results, at, key);
}

static psc_status read_minus(psc_result_target *t, psc_results *results, const psc_json_at *at) {
    psc_json_at minus;
    t->minus_id = -1;
    if (!json_object_get(at->object, "minus")) return PSC_OK;
    psc_status status = psc_json_enter(&minus, at, "minus");
    if (status == PSC_OK) status = psc_json_get_count(&t->minus_id, &minus, "id");
    if (status == PSC_OK) status = take_text_or_null(&t->minus_text, results, &minus, "text");
    if (status == PSC_OK) status = psc_json_get_count(&t->minus_rank, &minus, "rank");
    if (status == PSC_OK) status = psc_json_get_real(&t->minus_p, &minus, "p");
    return status ? status : psc_json_get_real(&t->minus_logit, &minus, "logit");
}

static psc_status read_target(psc_result_target *t, psc_results *results, const psc_json_at *at) {
    int64_t row = 0;
    t->struct_size = sizeof *t;
    psc_status status = psc_read_text(&t->name, results, at, "name");
    if (status == PSC_OK)
        status = psc_json_get_integer(&row, at, "row", 0, (int64_t)results->n_tokens - 1);
    if (status == PSC_OK) status = psc_json_get_count(&t->id, at, "id");
    if (status == PSC_OK) status = take_text_or_null(&t->text, results, at, "text");
    if (status == PSC_OK) status = psc_json_get_count(&t->rank, at, "rank");
    if (status == PSC_OK) status = psc_json_get_real(&t->p, at, "p");
    if (status == PSC_OK) status = psc_json_get_real(&t->logit, at, "logit");
    t->row = (int32_t)row;
    return status ? status : read_minus(t, results, at);
}

static psc_status read_targets(psc_results *results, const psc_json_at *document) {
    json_t *list;
    if (!json_object_get(document->object, "targets")) return PSC_OK; /* none, or older */
    psc_status status = psc_json_get_list(&list, document, "targets");
    if (status != PSC_OK) return status;
    const size_t n = json_array_size(list);
    if (n > PSC_MOST_RESULT_TARGETS)
        return psc_json_bad(document, "targets", "has too many entries");
    if (!psc_results_make_targets(results, (int32_t)n)) return psc_json_no_room(document);
    for (size_t i = 0; status == PSC_OK && i < n; i++) {
        psc_json_at at = {document->path, json_array_get(list, i), document->error, ""};
        snprintf(at.place, sizeof at.place, "targets[%zu].", i);
        if (!json_is_object(at.object))
            return psc_json_bad(document, "targets", "has an entry that is not an object");
        status = read_target(&results->targets[i], results, &at);
        results->n_targets = (int32_t)i + 1;
    }
    return status;
}

/* --- the texts of token ids ------------------------------------------------------------------ */

/* An id as it is written: digits without a leading 0. */
static bool parse_id(int32_t *out, const char *key) {
    int64_t id = 0;
    const size_t n = strlen(key);
    if (n == 0 || n > 10 || strspn(key, "0123456789") != n || (key[0] == '0' && n > 1))
        return false;
    for (size_t i = 0; i < n; i++) id = 10 * id + (key[i] - '0');
    *out = (int32_t)id;
    return id <= INT32_MAX;
}

static psc_status read_entries(psc_vocabulary_entry *entries, const psc_json_at *at) {
    const char *key;
    json_t *text;
    int32_t n = 0;
    json_object_foreach(at->object, key, text) {
        psc_vocabulary_entry *entry = &entries[n];
        if (!parse_id(&entry->id, key)) return psc_json_bad(at, key, "is not a token id");
        if (n > 0 && entry->id <= entry[-1].id)
            return psc_json_bad(at, key, "is not above the id before it");
        if (!psc_json_is_text(text)) return psc_json_bad(at, key, "is not a text, or has a 0 byte");
        entry->text = json_string_value(text);
        entry->bytes = json_string_length(text);
        n++;
    }
    return PSC_OK;
}

static psc_status read_vocabulary(psc_results *results, const psc_json_at *document) {
    psc_json_at at;
    if (!json_object_get(document->object, "vocabulary")) return PSC_OK; /* an older version's */
    psc_status status = psc_json_enter(&at, document, "vocabulary");
    if (status != PSC_OK) return status;
    const size_t n = json_object_size(at.object);
    psc_vocabulary_entry *entries = malloc(n * sizeof *entries + 1);
    if (!entries) return psc_json_no_room(document);
    status = read_entries(entries, &at);
    if (status == PSC_OK)
        status = psc_results_add_vocabulary(results, (int32_t)n, entries, document->error);
    free(entries);
    return status;
}

/* --- the whole ------------------------------------------------------------------------------- */

psc_status psc_read_head(psc_results *results, const psc_json_at *document) {
    psc_json_at program;
    psc_status status = psc_json_enter(&program, document, "pythiascope");
    if (status == PSC_OK) status = psc_read_text(&results->version, results, &program, "version");
    if (status == PSC_OK) status = psc_read_besides(results, document);
    if (status == PSC_OK) status = read_model(results, document);
    if (status == PSC_OK) status = read_run(results, document);
    if (status == PSC_OK && json_object_get(document->object, "corpus"))
        status = read_corpus(results, document);
    if (status == PSC_OK) status = read_tokens(results, document);
    if (status == PSC_OK) status = read_targets(results, document);
    if (status == PSC_OK) status = read_vocabulary(results, document);
    results->has_head = status == PSC_OK;
    return status;
}
