/* Variants: the run with changes, computing only the layers and rows that these reach. A variant
 * begins at the first layer that it changes, with the run's own residual there, and at the first
 * row that it changes. Variants that begin at the same layer go through the pass together:
 *
 *   rows of slot 0 | rows of slot 1 | ...      [sum of rows, N] through layers first_layer..L-1
 *
 * so matmuls see many rows. Variants of few rows read the keys and values before their rows in the
 * run's own cache (psc_prefix). A longer one is a sequence of a cache of the variants, to which
 * these keys and values are copied. Its rows go through the pass in chunks. A first layer whose
 * changes later rows do not read before the next one computes the changed rows alone; the others
 * have the run's residual after it. One that is changed at hook_z or behind it begins there, with
 * the run's own z and MLP output. A row's bits do not depend on its neighbors (docs/numerics.md),
 * so each variant has the bits of a run with such editors. */
#include "variant_buffers.h"

#include <string.h>

#define ROWS_SAVED 32 /* from so many rows on, a pass of a layer's changed rows alone is worth it */
#define FEW_ROWS 16   /* a variant of at most so many rows copies no keys: own keys cost n^2 */

/* --- a batch --------------------------------------------------------------------------------- */

/* Copies the keys and values before the variant's rows to a sequence of the cache, unless it has
 * them. The variant then overwrites the positions from its first row on. */
static void copy_prefix(
    psc_context *context, int32_t index, int32_t sequence, int32_t first_layer, int32_t positions) {
    psc_variants *v = context->variants;
    psc_variant_held *h = &v->held[index];
    bool has = h->sequence == sequence && h->copied >= positions && h->from_layer <= first_layer;
    if (!has) {
        psc_kv_cache_copy(
            v->cache, index, context->session->cache, sequence, positions, first_layer);
        h->sequence = sequence;
        h->from_layer = first_layer;
    }
    h->copied = positions;
}

/* The residual that the variant begins with, from row `to` of the batch on. After the last layer
 * only the plugin has it, which then gave it with the edges. */
static psc_status copy_residual(
    psc_context *context, const psc_variant *variant, const psc_variant_span *span, int32_t to) {
    psc_variants *v = context->variants;
    const size_t n = (size_t)context->session->model->info.d_model;
    psc_event resid;
    const float *from = NULL;
    if (variant->edges && variant->edges->own)
        from = variant->edges->own->resid_pre[span->first_layer];
    else if (psc_host_fetch(context, v->retained, span->first_layer, &resid) == 0)
        from = resid.tensor.data;
    if (!from) return PSC_ERROR_STATE;
    memcpy(v->resid + (size_t)to * n, from + (size_t)span->row_begin * n,
        (size_t)span->n_rows * n * sizeof(float));
    return PSC_OK;
}

/* Adds variant `number` to the batch, its rows after those that the batch has. */
static psc_status add_to_batch(psc_context *context, psc_variant_batch *batch,
    const psc_variant *variant, int32_t number, const psc_variant_span *span, bool all_logits) {
    psc_variants *v = context->variants;
    const psc_session *s = context->session;
    int32_t index = batch->n_slots++, n_rows = batch->n_rows;
    psc_variant_slot *slot = &v->slots[index];
    const psc_row *first = &s->rows[span->row_begin];
    if (batch->shares) {
        v->sequences[index] = span->sequence;
        v->lengths[index] = first->position;
    } else {
        copy_prefix(context, index, span->sequence, span->first_layer, first->position);
    }
    psc_variant_place(slot, variant, batch->n_layers);
    slot->number = number;
    slot->row_begin = span->row_begin;
    slot->n_rows = span->n_rows;
    slot->position = first->position;
    for (int32_t r = 0; r < span->n_rows; r++) {
        v->rows[n_rows + r] = first[r];
        v->rows[n_rows + r].index = n_rows + r;
        v->rows[n_rows + r].sequence = index;
        v->wanted[n_rows + r] = all_logits || r + 1 == span->n_rows;
    }
    batch->n_rows += span->n_rows;
    return copy_residual(context, variant, span, n_rows);
}

/* The logits [n, token_ids] of a slot's rows; null without memory. */
static float *pick(
    psc_context *context, const psc_variant *variant, const float *logits, int32_t n) {
    const int64_t n_vocab = context->session->model->info.d_vocab, width = variant->n_token_ids;
    float *picked = psc_variant_picked(context, (size_t)n * (size_t)width);
    for (int32_t r = 0; picked && r < n; r++)
        for (int64_t i = 0; i < width; i++)
            picked[r * width + i] = logits[r * n_vocab + variant->token_ids[i]];
    return picked;
}

/* Shows each variant's logits to the plugin. */
static int deliver(psc_context *context, const psc_variant_batch *batch, bool all_logits,
    psc_variant_fn fn, void *payload) {
    psc_variants *v = context->variants;
    const psc_session *s = context->session;
    int64_t n_vocab = s->model->info.d_vocab;
    float *logits = v->logits;
    for (int32_t i = 0; i < batch->n_slots; i++) {
        const psc_variant_slot *slot = &v->slots[i];
        int32_t n = all_logits ? slot->n_rows : 1;
        memcpy(
            v->shown, s->rows + slot->row_begin + slot->n_rows - n, (size_t)n * sizeof *v->shown);
        psc_event event = {.struct_size = sizeof event,
            .point = PSC_HOOK_LOGITS,
            .layer = -1,
            .n_rows = n,
            .rows = v->shown,
            .tensor = {logits, 2, {n, n_vocab}, {n_vocab, 1}}};
        if (slot->variant.n_token_ids > 0) {
            const int64_t width = slot->variant.n_token_ids;
            event.tensor =
                (psc_view){pick(context, &slot->variant, logits, n), 2, {n, width}, {width, 1}};
            if (!event.tensor.data) return -1;
        }
        if (fn(slot->number, &event, payload) != 0 || s->error->status != PSC_OK) return -1;
        logits += (int64_t)n * n_vocab;
    }
    return 0;
}

/* Rows [n] of a batch through the pass, in chunks of at most `most`: pass is that of all of
 * them. */
static psc_status run_rows(psc_context *context, const psc_pass *pass, const psc_row *rows,
    int32_t n, int32_t most, psc_error *error) {
    const psc_model_info *info = &context->session->model->info;
    const int32_t chunks = (n - 1) / most + 1;
    psc_pass part = *pass;
    psc_edge_pass edges;
    psc_status status = PSC_OK;
    if (pass->edges) {
        edges = *pass->edges;
        part.edges = &edges;
    }
    for (int32_t i = 0, r = 0; i < chunks && status == PSC_OK; i++) {
        const int32_t count = (n - r) / (chunks - i); /* about equal */
        const size_t floats = (size_t)count * (size_t)info->d_model;
        status = psc_forward_chunk(context->variants->forward, rows + r, count, &part, error);
        for (int32_t k = 0; part.sink.to && k < count; k++)
            if (part.sink.wanted[k]) part.sink.to += info->d_vocab;
        if (part.sink.wanted) part.sink.wanted += count;
        if (part.resid) part.resid += floats;
        if (part.z) part.z += floats;
        if (part.mlp) part.mlp += floats;
        if (pass->edges) {
            edges.other_row += count;
            edges.own_row += count;
        }
        r += count;
    }
    return status;
}

/* Copies what the first layer makes of the changed rows. */
static int keep_changed(const psc_event *event, void *payload) {
    const psc_variants *v = payload;
    const int64_t n = event->tensor.shape[1];
    for (int32_t i = 0; i < event->n_rows; i++)
        memcpy(v->changed + event->rows[i].index * n,
            event->tensor.data + i * event->tensor.stride[0], (size_t)n * sizeof(float));
    return 0;
}

/* Takes the rows that the first layer changes from the batch to `first`, with their residual. */
static void take_first_rows(psc_variants *v, const psc_variant_batch *batch, size_t width) {
    int32_t n = 0, row = 0;
    for (int32_t i = 0; i < batch->n_slots; i++) {
        const int32_t rows = psc_variant_first_rows(batch, &batch->slots[i]);
        for (int32_t r = 0; r < rows; r++, n++) {
            v->first[n] = v->rows[row + r];
            v->first[n].index = n;
            memcpy(v->changed + (size_t)n * width, v->resid + (size_t)(row + r) * width,
                width * sizeof(float));
        }
        row += batch->slots[i].n_rows;
    }
}

/* The batch's residual after its first layer: the run's own, and that of the changed rows. */
static psc_status put_first_rows(
    psc_context *context, const psc_variant_batch *batch, size_t width) {
    psc_variants *v = context->variants;
    psc_event resid;
    float *to = v->resid;
    const float *changed = v->changed;
    if (psc_host_fetch(context, v->retained, batch->first_layer + 1, &resid) != 0)
        return PSC_ERROR_STATE;
    for (int32_t i = 0; i < batch->n_slots; i++) {
        const psc_variant_slot *slot = &batch->slots[i];
        const size_t rows = (size_t)psc_variant_first_rows(batch, slot);
        memcpy(to, resid.tensor.data + (size_t)slot->row_begin * width,
            (size_t)slot->n_rows * width * sizeof(float));
        memcpy(to, changed, rows * width * sizeof(float));
        to += (size_t)slot->n_rows * width;
        changed += rows * width;
    }
    return PSC_OK;
}

/* A layer changes only the rows that its own changes name, unless they are of keys, values or
 * before. Then it computes these rows alone, and *pass begins at the next layer. */
static psc_status run_first_layer(psc_context *context, const psc_variant_batch *batch,
    psc_pass *pass, int32_t most, psc_error *error) {
    psc_variants *v = context->variants;
    const size_t width = (size_t)context->session->model->info.d_model;
    if (batch->edges || batch->first_layer + 1 >= batch->n_layers) return PSC_OK;
    int32_t n = 0;
    for (int32_t i = 0; i < batch->n_slots; i++)
        n += psc_variant_first_rows(batch, &batch->slots[i]);
    if (batch->n_rows - n < ROWS_SAVED) return PSC_OK;
    take_first_rows(v, batch, width);
    const psc_subscriber subscriber = {.name = context->name, .owner = context, .transient = true};
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &batch->first_layer;
    filter.n_layers = 1;
    psc_status status = psc_registry_add(
        v->registry, PSC_HOOK_RESID_POST, false, &filter, keep_changed, v, &subscriber, error);
    const psc_pass first = {.first_layer = batch->first_layer,
        .resid = v->changed,
        .prefix = pass->prefix,
        .ends_early = true,
        .end_layer = batch->first_layer + 1};
    if (status == PSC_OK) status = run_rows(context, &first, v->first, n, most, error);
    if (status != PSC_OK) return status;
    pass->first_layer = batch->first_layer + 1;
    pass->resid = v->resid;
    return put_first_rows(context, batch, width);
}

/* Gives the pass the run's z and MLP output of the first layer, if that is all it needs. */
static psc_status begin_at_z(psc_context *context, const psc_variant_batch *batch, psc_pass *pass) {
    psc_variants *v = context->variants;
    const size_t width = (size_t)context->session->model->info.d_model;
    const int32_t layer = batch->first_layer;
    psc_event z, mlp;
    if (v->kept_z < 0 || batch->edges || layer + 1 >= batch->n_layers ||
        pass->first_layer != layer || !psc_variant_begins_at_z(batch))
        return PSC_OK;
    if (psc_host_fetch(context, v->kept_z, layer, &z) != 0 ||
        psc_host_fetch(context, v->kept_mlp, layer, &mlp) != 0)
        return PSC_ERROR_STATE;
    size_t to = 0;
    for (int32_t i = 0; i < batch->n_slots; i++) {
        const size_t from = (size_t)batch->slots[i].row_begin * width;
        const size_t n = (size_t)batch->slots[i].n_rows * width;
        memcpy(v->z + to, z.tensor.data + from, n * sizeof(float));
        memcpy(v->mlp + to, mlp.tensor.data + from, n * sizeof(float));
        to += n;
    }
    pass->resid = v->resid;
    pass->z = v->z;
    pass->mlp = v->mlp;
    return PSC_OK;
}

/* Lists the panels of the batch's token_ids; *n stays 0 where a variant needs all logits. */
static void list_panels(psc_variants *v, const psc_variant_batch *batch, int32_t *n) {
    int32_t count = 0;
    *n = 0;
    for (int32_t i = 0; i < batch->n_slots; i++) {
        const psc_variant *variant = &batch->slots[i].variant;
        if (variant->n_token_ids == 0) return;
        for (int32_t k = 0; k < variant->n_token_ids; k++) {
            const int32_t panel = variant->token_ids[k] / PSC_LANES;
            int32_t at = 0;
            while (at < count && v->panels[at] != panel) at++;
            if (at < count) continue;
            if (count == MOST_PICKED) return;
            v->panels[count++] = panel;
        }
    }
    *n = count;
}

static psc_status run_batch(
    psc_context *context, const psc_variant_batch *batch, psc_error *error) {
    psc_variants *v = context->variants;
    const psc_prefix prefix = {context->session->cache, v->own, v->sequences, v->lengths};
    psc_edge_pass edges;
    psc_pass pass = {.first_layer = batch->first_layer,
        .resid = batch->first_layer > 0 ? v->resid : NULL,
        .sink = {v->wanted, v->logits},
        .prefix = batch->shares ? &prefix : NULL,
        .edges = batch->edges ? &edges : NULL};
    int32_t most = ROWS_TOGETHER, of_edges = ROWS_TOGETHER;
    psc_status status = PSC_OK;
    list_panels(v, batch, &pass.sink.n_panels);
    if (pass.sink.n_panels > 0) pass.sink.panels = v->panels;
    if (batch->edges) status = psc_variant_edges_fill(context, batch, &edges, &of_edges, error);
    if (status == PSC_OK) status = psc_variant_subscribe(v->registry, context, batch, false, error);
    if (status == PSC_OK) status = psc_variant_shown_open(context, batch, &most, error);
    if (most > of_edges) most = of_edges;
    if (status == PSC_OK) status = run_first_layer(context, batch, &pass, most, error);
    if (status == PSC_OK) status = begin_at_z(context, batch, &pass);
    if (status == PSC_OK) status = run_rows(context, &pass, v->rows, batch->n_rows, most, error);
    if (status == PSC_ERROR_PLUGIN)
        return psc_fail(error, PSC_ERROR_INPUT,
            "variants %d to %d: the cuts leave an attention row without keys",
            (int)v->slots[0].number, (int)v->slots[batch->n_slots - 1].number);
    return status;
}

/* --- all of them ----------------------------------------------------------------------------- */

static int refuse_early(psc_context **given) {
    if (!psc_host_may(given, "variants", PSC_IN_RUN_END | PSC_IN_REPORT)) return PSC_ERROR_STATE;
    psc_context *context = *given;
    if (context->turn.in_variants)
        return psc_host_fail(
            context, PSC_ERROR_STATE, "variants was called inside a callback of variants");
    if (!context->variants)
        return psc_host_fail(
            context, PSC_ERROR_STATE, "variants needs a call of prepare_variants in run_begin");
    if (psc_registry_any_editor(context->session->registry))
        return psc_host_fail(
            context, PSC_ERROR_STATE, "variants cannot be computed in an edited run");
    return 0;
}

/* Whether a variant reads the keys and values before its rows in the run's own cache. */
static bool shares(psc_context *context, const psc_variant_span *span, bool edges) {
    const psc_variants *v = context->variants;
    return span->n_rows <= FEW_ROWS && psc_variant_own_open(context) &&
           (!edges || psc_edge_fits(&v->edges, context->session, v->most_rows, span->n_rows, 1));
}

/* Whether a variant of this span can go through the pass with the batch, which is not empty. */
static bool joins(psc_context *context, const psc_variant_batch *batch,
    const psc_variant_span *span, bool edges) {
    const psc_variants *v = context->variants;
    const int32_t slots = batch->shares ? ROWS_TOGETHER : v->n_slots;
    const int32_t n = batch->n_rows + span->n_rows, together = batch->shares ? n : 1;
    int32_t rows = batch->shares ? ROWS_TOGETHER : v->most_rows;
    if (edges && batch->shares && rows > psc_edge_rows_together(context->session))
        rows = psc_edge_rows_together(context->session);
    return batch->edges == edges && span->first_layer == batch->first_layer &&
           batch->n_slots < slots && n <= rows && batch->shares == shares(context, span, edges) &&
           (!edges || psc_edge_fits(
                          &v->edges, context->session, v->most_rows, together, batch->n_slots + 1));
}

/* Takes variants from *next on that can go through the pass together, as many as fit; computes and
 * delivers them. */
static int next_batch(psc_context *context, int32_t n, const psc_variant *variants, int32_t *next,
    bool all_logits, psc_variant_fn fn, void *payload) {
    psc_variants *v = context->variants;
    psc_variant_batch batch = {
        .slots = v->slots, .n_layers = context->session->model->info.n_layers};
    for (; *next < n; ++*next) {
        psc_variant_span span;
        const psc_variant variant = psc_variant_at(variants, *next);
        psc_status status =
            psc_variant_check(context, *next, &variant, &span); /* fn may change it */
        if (status != PSC_OK) return status;
        const bool edges = variant.edges != NULL;
        if (batch.n_slots > 0 && !joins(context, &batch, &span, edges)) break;
        batch.edges = edges;
        batch.first_layer = span.first_layer;
        if (batch.n_slots == 0) batch.shares = shares(context, &span, edges);
        status = add_to_batch(context, &batch, &variant, *next, &span, all_logits);
        if (status != PSC_OK) return status;
    }
    psc_error error = {PSC_OK, ""};
    if (run_batch(context, &batch, &error) != PSC_OK) return psc_host_pass(context, &error);
    return deliver(context, &batch, all_logits, fn, payload);
}

int psc_variants_range(psc_context *context, int32_t begin, int32_t end,
    const psc_variant *variants, bool all_logits, psc_variant_fn fn, void *payload) {
    int32_t next = begin;
    while (next < end) {
        int returned = next_batch(context, end, variants, &next, all_logits, fn, payload);
        if (returned != 0) return returned;
        if (psc_session_stopped(context->session)) return PSC_ERROR_CANCELLED;
    }
    return 0;
}

/* Checks all variants. Those of more than FEW_ROWS rows are sequences of the cache. */
static psc_status measure(
    psc_context *context, int32_t n, const psc_variant *variants, psc_variant_call *out) {
    int32_t n_long = 0, shortest = INT32_MAX;
    *out = (psc_variant_call){.n = n};
    for (int32_t i = 0; i < n; i++) {
        const psc_variant variant = psc_variant_at(variants, i);
        psc_variant_span span;
        const psc_status status = psc_variant_check(context, i, &variant, &span);
        if (status != PSC_OK) return status;
        out->edges = out->edges || variant.edges;
        if (span.n_rows <= FEW_ROWS) continue;
        n_long++;
        if (span.n_rows < shortest) shortest = span.n_rows;
    }
    const int32_t most = context->variants->most_rows / shortest;
    out->slots = n_long < most ? n_long : most;
    if (out->slots < 1) out->slots = 1;
    return PSC_OK;
}

int psc_host_variants(psc_context *context, int32_t n, const psc_variant *variants,
    int32_t logit_rows, psc_variant_fn fn, void *payload) {
    int refused = refuse_early(&context);
    if (refused) return refused;
    if (!psc_host_list(context, "variants", "the list", n, sizeof *variants, variants) ||
        !psc_host_given(context, "variants", "a function", (const void *)(uintptr_t)fn))
        return PSC_ERROR_PLUGIN;
    if (n == 0) return 0;
    if (logit_rows != PSC_ROWS_ALL && logit_rows != PSC_ROWS_LAST)
        return psc_host_fail(
            context, PSC_ERROR_INPUT, "variants: logit_rows must be PSC_ROWS_ALL or PSC_ROWS_LAST");
    psc_error error = {PSC_OK, ""};
    bool all = logit_rows == PSC_ROWS_ALL;
    psc_variant_call call;
    psc_status status = measure(context, n, variants, &call);
    if (status != PSC_OK) return status;
    status = psc_variant_buffers_open(context, &call, all, &error);
    if (status == PSC_OK) status = psc_variant_logits_open(context, all, &error);
    if (status != PSC_OK) return psc_host_pass(context, &error);
    const bool shared = context->session->share.n_parts > 1;
    context->turn.inside++; /* fn may leave by a jump */
    context->turn.in_variants = true;
    const int returned = shared ? psc_variants_shared(context, n, variants, all, fn, payload)
                                : psc_variants_range(context, 0, n, variants, all, fn, payload);
    context->turn.in_variants = false;
    context->turn.inside--;
    return returned;
}
