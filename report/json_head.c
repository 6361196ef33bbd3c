/* The head of results.json, which the page has, too. */
#include "json_head.h"

#include <string.h>

static void put_integer(psc_json *json, const char *key, int64_t value) {
    psc_json_member(json, key, json_integer((json_int_t)value));
}

static void put_text(psc_json *json, const char *key, const char *value) {
    psc_json_member(json, key, psc_json_string(value));
}

static void put_bool(psc_json *json, const char *key, int32_t value) {
    psc_json_member(json, key, json_boolean(value));
}

static void put_config(psc_json *json, const psc_result_model *m) {
    psc_json_object(json, "config");
    put_integer(json, "n_layers", m->n_layers);
    put_integer(json, "n_heads", m->n_heads);
    put_integer(json, "d_model", m->d_model);
    put_integer(json, "d_head", m->d_head);
    put_integer(json, "d_mlp", m->d_mlp);
    put_integer(json, "d_vocab", m->d_vocab);
    put_integer(json, "n_ctx", m->n_ctx);
    psc_json_written(json, "layer_norm_eps", m->layer_norm_eps);
    put_integer(json, "rotary_dims", m->rotary_dims);
    psc_json_written(json, "rotary_pct", m->rotary_pct);
    psc_json_written(json, "rotary_base", m->rotary_base);
    if (m->rope_type && strcmp(m->rope_type, "default") != 0) {
        put_text(json, "rope_type", m->rope_type);
        psc_json_written(json, "rope_factor", m->rope_factor);
    }
    put_bool(json, "parallel_residual", m->parallel_residual);
    put_bool(json, "tied", m->tied);
    put_bool(json, "attention_bias", m->attention_bias);
    put_text(json, "activation", m->activation);
    put_text(json, "dtype", m->dtype);
    psc_json_member(json, "bos_id", m->bos_id < 0 ? json_null() : json_integer(m->bos_id));
    psc_json_list(json, "eos_ids", m->n_eos);
    for (int32_t i = 0; i < m->n_eos; i++) psc_json_listed(json, json_integer(m->eos_ids[i]));
    psc_json_list_end(json);
    psc_json_end(json);
}

void psc_json_model(psc_json *json, const psc_result_model *model) {
    psc_json_object(json, "model");
    put_text(json, "name", model->name);
    put_text(json, "path", model->path);
    put_text(json, "hash", model->hash);
    put_config(json, model);
    psc_json_end(json);
}

void psc_json_run(psc_json *json, const psc_result_run *run) {
    psc_json_object(json, "run");
    put_text(json, "isa", run->isa);
    put_integer(json, "threads", run->threads);
    put_integer(json, "chunk", run->chunk);
    put_text(json, "sleef", run->sleef);
    put_integer(json, "n_rows", run->n_rows);
    put_integer(json, "sequences", run->sequences);
    put_bool(json, "bos", run->bos);
    psc_json_end(json);
}

void psc_json_corpus(psc_json *json, const psc_corpus_totals *corpus) {
    psc_json_object(json, "corpus");
    put_integer(json, "documents", corpus->documents);
    put_integer(json, "documents_skipped", corpus->skipped);
    put_integer(json, "windows", corpus->windows);
    put_integer(json, "tokens", corpus->tokens);
    put_integer(json, "window", corpus->window);
    put_bool(json, "bos", corpus->bos);
    if (corpus->stride > 0) put_integer(json, "stride", corpus->stride);
    if (corpus->limit > 0) put_integer(json, "limit_tokens", corpus->limit);
    if (corpus->sample > 0) {
        put_integer(json, "sample", corpus->sample);
        put_integer(json, "seed", corpus->seed);
        put_integer(json, "documents_in_corpus", corpus->population);
    }
    if (corpus->stopped) put_bool(json, "stopped", true);
    psc_json_end(json);
}

void psc_json_time(psc_json *json, const psc_result_time *time) {
    psc_json_object(json, "time");
    psc_json_member(json, "seconds", psc_json_real(time->seconds));
    psc_json_member(json, "tokens_per_second", psc_json_real(time->tokens_per_second));
    put_integer(json, "peak_memory_bytes", time->peak_memory_bytes);
    psc_json_end(json);
}

static json_t *generated(const psc_generated_token *token) {
    json_t *text = token->bytes ? psc_json_bytes(token->bytes, token->n_bytes) : json_null();
    return json_pack("{s:i, s:o, s:i, s:o, s:o}", "id", (int)token->id, "text", text, "rank",
        (int)token->rank, "p", psc_json_real(token->p), "logit", psc_json_real(token->logit));
}

void psc_json_generation(psc_json *json, const psc_generation *g) {
    static const char *const ends[] = {"limit", "token", "context"};
    psc_json_object(json, "generation");
    put_integer(json, "limit", g->limit);
    psc_json_member(json, "temperature", psc_json_real(g->temperature));
    put_integer(json, "top_k", g->top_k);
    psc_json_member(json, "top_p", psc_json_real(g->top_p));
    psc_json_member(json, "min_p", psc_json_real(g->min_p));
    put_integer(json, "seed", (int64_t)g->seed);
    if (g->end == PSC_END_NONE)
        psc_json_member(json, "end", json_null());
    else
        put_text(json, "end", ends[g->end > 0 && g->end <= PSC_END_CONTEXT ? g->end : 0]);
    psc_json_member(json, "text", g->text ? psc_json_bytes(g->text, g->text_bytes) : json_null());
    psc_json_list(json, "tokens", 0);
    for (int32_t i = 0; i < g->n; i++) psc_json_object_listed(json, generated(&g->tokens[i]));
    psc_json_objects_end(json);
    psc_json_end(json);
}
