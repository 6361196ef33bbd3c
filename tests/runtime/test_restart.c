/* A pass that begins at a later layer, from the residual and the cache of an earlier run, gives
 * that run's logits to the bit: for every first layer, and for the later rows only on a copy of the
 * earlier rows' cache. */
#include "golden.h"
#include "session_inside.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 40
#define SPLIT 21 /* rows before it come from a copied cache; not a multiple of a panel */

typedef struct restart {
    psc_session *session;
    psc_row rows[ROWS];
    int32_t n_rows;
    psc_pass pass;
    float *logits; /* [n_rows, V] */
    int64_t d_vocab;
    psc_status status;
    psc_error error;
} restart;

static void pass_body(void *payload) {
    restart *r = payload;
    r->status = psc_forward_chunk(r->session->forward, r->rows, r->n_rows, &r->pass, &r->error);
}

/* Fills a sequence with NaN, so that a read of unwritten values shows. */
static void poison(psc_kv_cache *cache, int32_t sequence) {
    float *begin = psc_kv_cache_keys(cache, sequence, 0, 0);
    float *end = begin + (size_t)cache->n_layers * (size_t)cache->n_heads *
                             cache->parts[sequence].room * ((size_t)cache->d_head + cache->wide);
    while (begin < end) *begin++ = NAN;
}

/* Rows first..ROWS-1 in sequence 1, from layer on. */
static void restart_and_compare(
    psc_session *session, const psc_token *tokens, int32_t first, int32_t layer) {
    static bool wanted[ROWS];
    char name[64];
    psc_array resid = {0};
    restart r = {.session = session, .d_vocab = session->model->config.d_vocab};
    for (int32_t t = first; t < ROWS; t++)
        r.rows[r.n_rows++] = (psc_row){.index = t - first,
            .sequence = 1,
            .position = t,
            .token = tokens[t].id,
            .next = t + 1 < ROWS ? tokens[t + 1].id : -1};
    memset(wanted, 1, sizeof wanted);
    int32_t n_layers = session->model->info.n_layers;
    bool end = layer == n_layers;
    snprintf(name, sizeof name, "blocks.%d.hook_resid_%s", end ? layer - 1 : layer,
        end ? "post" : "pre");
    cr_assert_eq(psc_session_array(session, name, &resid, &r.error), PSC_OK, "%s", r.error.message);
    r.pass = (psc_pass){
        .first_layer = layer, .resid = (const float *)resid.data + first * resid.shape[1]};
    r.logits = calloc((size_t)ROWS * (size_t)r.d_vocab, sizeof *r.logits);
    cr_assert(r.logits);
    r.pass.sink = (psc_logits_sink){.wanted = wanted, .to = r.logits};
    poison(session->cache, 1);
    psc_kv_cache_copy(session->cache, 1, session->cache, 0, first, layer);
    psc_team_run(session->team, pass_body, &r);
    cr_assert_eq(r.status, PSC_OK, "%s", r.error.message);
    for (int32_t i = 0; i < r.n_rows; i++)
        cr_assert(!memcmp(r.logits + i * r.d_vocab, psc_session_logits(session, first + i),
                      (size_t)r.d_vocab * sizeof(float)),
            "layer %d, rows from %d: row %d differs", (int)layer, (int)first, (int)i);
    free(r.logits);
}

static void every_layer(const char *variant) {
    psc_token tokens[ROWS];
    psc_error error = {0};
    psc_model *model = must_model(golden_path(variant, NULL));
    psc_session *session = must_session(model, NULL, 2, 0);
    for (int i = 0; i < ROWS; i++) tokens[i] = (psc_token){.id = (i * i + 3 * i) % 80};
    cr_assert_eq(psc_session_capture(session, "blocks.*.hook_resid_pre", &error), PSC_OK);
    cr_assert_eq(psc_session_capture(session, "blocks.*.hook_resid_post", &error), PSC_OK);
    must_run_one(session, tokens, ROWS);
    for (int32_t layer = 0; layer <= model->info.n_layers; layer++) {
        restart_and_compare(session, tokens, 0, layer);
        restart_and_compare(session, tokens, SPLIT, layer);
    }
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(restart, every_variant) {
    for (const char *const *v = golden_variants; *v; v++) every_layer(*v);
}
