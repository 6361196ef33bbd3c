/* Changes of a variant: checked against the run, and applied in an editor's event of values. In one
 * of gradients a FIX makes them 0.
 *
 *   SCALE x <- alpha x (0: +0)   SET, FIX x <- v   ADD x <- fma(alpha, v, x)   CUT score[key] <- -inf
 *
 * v has one row for each of row_begin..row_end-1. A change of a layer's hook_resid_post is applied
 * at hook_resid_pre of the next layer, which is the same value. */
#include "variants.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* More than a process can address. */
#define MOST_FLOATS (INT64_C(1) << 45)

/* --- checking -------------------------------------------------------------------------------- */

static const char *fault_of_point(const psc_change *c, const psc_model_info *info) {
    if (c->point < 0 || c->point >= PSC_POINT_COUNT) return "the hook point does not exist";
    psc_point point = (psc_point)c->point;
    bool layered = psc_point_has_layer(point);
    if (!layered && point != PSC_HOOK_EMBED) return "the hook point is after the last layer";
    if (layered ? c->layer < 0 || c->layer >= info->n_layers : c->layer != -1)
        return "the layer does not exist";
    if (point == PSC_HOOK_RESID_MID && info->parallel_residual)
        return "a model with parallel residual has no hook_resid_mid";
    if (c->head < -1 || c->head >= info->n_heads || (c->head >= 0 && !psc_point_has_heads(point)))
        return "the hook point has no such head";
    return NULL;
}

static const char *fault_of_value(const psc_change *c) {
    bool takes_values =
        c->kind == PSC_CHANGE_SET || c->kind == PSC_CHANGE_ADD || c->kind == PSC_CHANGE_FIX;
    bool keyed = psc_point_has_keys((psc_point)c->point);
    if (c->kind < PSC_CHANGE_SCALE || c->kind > PSC_CHANGE_FIX) return "the kind is unknown";
    if (!isfinite(c->alpha)) return "alpha must be finite";
    if (takes_values && !c->values) return "values are missing";
    if (keyed && c->kind == PSC_CHANGE_FIX) return "scores and pattern cannot be fixed";
    if (keyed && c->key < 0 && c->kind != PSC_CHANGE_SCALE)
        return "a change of scores or pattern must name a key, unless it scales them";
    if (keyed && c->key >= c->row_end) return "none of its rows can attend to that key";
    if (c->kind == PSC_CHANGE_CUT && c->point != PSC_HOOK_ATTN_SCORES)
        return "only attention scores can be cut";
    return NULL;
}

int32_t psc_variant_rows(const psc_session *s, int32_t sequence, int32_t *n) {
    int32_t first = 0;
    while (first < s->n_rows && s->rows[first].sequence != sequence) first++;
    *n = 0;
    while (first + *n < s->n_rows && s->rows[first + *n].sequence == sequence) ++*n;
    return first;
}

psc_variant psc_variant_at(const psc_variant *variants, int32_t index) {
    psc_variant out = {0};
    const size_t size = variants->struct_size;
    memcpy(
        &out, (const char *)variants + (size_t)index * size, size < sizeof out ? size : sizeof out);
    return out;
}

/* The point and layer where a change is applied. */
typedef struct place {
    psc_point point;
    int32_t layer;
} place;

static place place_of(const psc_change *c, int32_t n_layers) {
    if (c->point == PSC_HOOK_RESID_POST && c->layer + 1 < n_layers)
        return (place){PSC_HOOK_RESID_PRE, c->layer + 1};
    return (place){(psc_point)c->point, c->layer};
}

/* What is wrong with one change of a variant of the sequence whose rows have these positions. */
static const char *fault_of_change(const psc_change *c, const psc_model_info *info,
    int32_t sequence, int32_t position, int32_t end, int32_t row_end) {
    if (c->struct_size != sizeof *c) /* they are an array, so the host must know their size */
        return "its struct_size is not that of psc_change";
    const char *fault = fault_of_point(c, info);
    if (!fault) fault = fault_of_value(c);
    if (fault) return fault;
    if (c->sequence != sequence) return "a variant can change only one sequence";
    if (c->row_begin < position || c->row_begin >= c->row_end || c->row_end > end)
        return "its rows are not in the run";
    if (c->row_end > row_end) return "its rows are not before the variant's row_end";
    if (c->stride < 0 || c->stride > MOST_FLOATS / (c->row_end - c->row_begin))
        return "its stride is not possible";
    return NULL;
}

psc_status psc_variant_check(
    psc_context *context, int32_t number, const psc_variant *variant, psc_variant_span *out) {
    const psc_session *s = context->session;
    const psc_model_info *info = &s->model->info;
    if (variant->struct_size < PSC_VARIANT_BYTES || variant->struct_size > PSC_MOST_STRUCTURE)
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "variants: variant %d: its struct_size is %u; at least %u are required", (int)number,
            (unsigned)variant->struct_size, (unsigned)PSC_VARIANT_BYTES);
    for (int32_t i = 0; i < variant->n_token_ids || variant->n_token_ids < 0; i++)
        if (variant->n_token_ids < 0 || !variant->token_ids || variant->token_ids[i] < 0 ||
            variant->token_ids[i] >= info->d_vocab)
            return psc_host_fail(context, PSC_ERROR_INPUT,
                "variants: variant %d: its token_ids need n_token_ids ids of 0 to %d", (int)number,
                (int)info->d_vocab - 1);
    if (variant->edges) {
        const char *fault = psc_variant_edges_check(s, variant, out);
        if (!fault) return PSC_OK;
        return psc_host_fail(
            context, PSC_ERROR_INPUT, "variants: variant %d: %s", (int)number, fault);
    }
    if (variant->n_changes < 1 || !variant->changes)
        return psc_host_fail(
            context, PSC_ERROR_INPUT, "variants: variant %d has no changes", (int)number);
    int32_t first = INT32_MAX, n;
    *out = (psc_variant_span){.sequence = variant->changes[0].sequence, .first_layer = INT32_MAX};
    const int32_t begin = psc_variant_rows(s, out->sequence, &n);
    const int32_t position = n > 0 ? s->rows[begin].position : 0, end = position + n;
    const int32_t row_end = variant->row_end ? variant->row_end : end;
    if (row_end < 0 || row_end > end)
        return psc_host_fail(context, PSC_ERROR_INPUT,
            "variants: variant %d: its row_end %d is beyond the run's rows of its sequence, which end at %d",
            (int)number, (int)row_end, (int)end);
    for (int32_t i = 0; i < variant->n_changes; i++) {
        const psc_change *c = &variant->changes[i];
        const char *fault = fault_of_change(c, info, out->sequence, position, end, row_end);
        if (fault)
            return psc_host_fail(context, PSC_ERROR_INPUT, "variants: variant %d, change %d: %s",
                (int)number, (int)i, fault);
        if (c->row_begin < first) first = c->row_begin;
        int32_t layer = place_of(c, info->n_layers).layer;
        if (layer < out->first_layer) out->first_layer = layer < 0 ? 0 : layer;
    }
    out->row_begin = begin + first - position;
    out->n_rows = row_end - first;
    return PSC_OK;
}

/* --- applying -------------------------------------------------------------------------------- */

static void change_values(const psc_change *c, float *x, int64_t n, const float *values) {
    for (int64_t i = 0; i < n; i++) {
        if (c->kind == PSC_CHANGE_SCALE)
            x[i] = c->alpha == 0.0f ? 0.0f : x[i] * c->alpha;
        else if (c->kind == PSC_CHANGE_CUT)
            x[i] = -INFINITY;
        else
            x[i] = c->kind == PSC_CHANGE_ADD ? fmaf(c->alpha, values[i], x[i]) : values[i];
    }
}

static bool sees_nothing(const float *scores, int32_t position) {
    for (int32_t j = 0; j <= position; j++)
        if (scores[j] != -INFINITY) return false;
    return true;
}

/* The changes from c on, at most n, that cut adjacent keys of the same rows: one change of a range
 * of keys. 1 for any other change. */
static int32_t adjacent_cuts(const psc_change *c, int32_t n) {
    int32_t m = 1;
    if (c->kind != PSC_CHANGE_CUT) return 1;
    while (m < n && c[m].kind == PSC_CHANGE_CUT && c[m].key == c->key + m &&
           c[m].layer == c->layer && c[m].head == c->head && c[m].row_begin == c->row_begin &&
           c[m].row_end == c->row_end)
        m++;
    return m;
}

/* One change in row i of the event, of n_keys keys where it names one. Nonzero: a row of attention
 * has lost its last key. */
static int change_row(const psc_change *c, int32_t n_keys, const psc_event *event, int32_t i) {
    const psc_view *t = &event->tensor;
    const int32_t position = event->rows[i].position;
    const bool keyed = psc_point_has_keys((psc_point)event->point), one_key = keyed && c->key >= 0;
    if (one_key && c->key > position) return 0;
    int64_t width = keyed ? position + 1 : t->shape[t->n_axes - 1];
    if (one_key) width = n_keys <= position - c->key ? n_keys : position - c->key + 1;
    int64_t heads = t->n_axes > 2 ? t->shape[1] : 1, first = c->head >= 0 ? c->head : 0;
    int64_t end = c->head >= 0 ? c->head + 1 : heads;
    const float *values = c->values ? c->values + (position - c->row_begin) * c->stride : NULL;
    for (int64_t h = first; h < end; h++) {
        float *x = t->data + i * t->stride[0] + (t->n_axes > 2 ? h * t->stride[1] : 0);
        if (event->gradient) {
            memset(x, 0, (size_t)width * sizeof *x);
            continue;
        }
        change_values(
            c, one_key ? x + c->key : x, width, values ? values + (h - first) * width : NULL);
        if (c->kind == PSC_CHANGE_CUT && sees_nothing(x, position)) return -1;
    }
    return 0;
}

/* The first change that can apply at a layer. */
static int32_t first_change(const psc_variant_slot *slot, int32_t layer, int32_t n_layers) {
    int32_t low = 0, high = slot->by_layer ? slot->variant.n_changes : 0;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (place_of(&slot->variant.changes[middle], n_layers).layer < layer)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int change_all(const psc_variant_batch *batch, const psc_event *event, int32_t i) {
    const psc_row *row = &event->rows[i];
    const psc_variant_slot *slot = &batch->slots[row->sequence];
    const psc_variant *variant = &slot->variant;
    int32_t j = first_change(slot, event->layer, batch->n_layers), n;
    for (; j < variant->n_changes; j += n) {
        const psc_change *c = &variant->changes[j];
        const place at = place_of(c, batch->n_layers);
        n = 1;
        if (slot->by_layer && at.layer > event->layer) return 0;
        if ((int32_t)at.point != event->point || at.layer != event->layer ||
            row->position < c->row_begin || row->position >= c->row_end ||
            (event->gradient && c->kind != PSC_CHANGE_FIX))
            continue;
        n = adjacent_cuts(c, variant->n_changes - j);
        if (change_row(c, n, event, i) != 0) return -1;
    }
    return 0;
}

static int on_edit(const psc_event *event, void *payload) {
    for (int32_t i = 0; i < event->n_rows; i++)
        if (change_all(payload, event, i) != 0) return -1;
    return 0;
}

/* Whether a change of the point is read by later rows of the same layer. */
static bool reaches_later_rows(psc_point point) {
    return point == PSC_HOOK_EMBED || point == PSC_HOOK_RESID_PRE || point == PSC_HOOK_LN1_SCALE ||
           point == PSC_HOOK_LN1_NORMALIZED || point == PSC_HOOK_K || point == PSC_HOOK_ROT_K ||
           point == PSC_HOOK_V;
}

int32_t psc_variant_first_rows(const psc_variant_batch *batch, const psc_variant_slot *slot) {
    int32_t end = slot->position;
    for (int32_t j = 0; j < slot->variant.n_changes; j++) {
        const psc_change *c = &slot->variant.changes[j];
        const place at = place_of(c, batch->n_layers);
        if (slot->by_layer && at.layer > batch->first_layer) break;
        if (at.layer > batch->first_layer) continue;
        if (reaches_later_rows(at.point)) return slot->n_rows;
        if (c->row_end > end) end = c->row_end;
    }
    return end > slot->position ? end - slot->position : slot->n_rows;
}

bool psc_variant_begins_at_z(const psc_variant_batch *batch) {
    for (int32_t i = 0; i < batch->n_slots; i++) {
        const psc_variant *variant = &batch->slots[i].variant;
        for (int32_t j = 0; j < variant->n_changes; j++) {
            const place at = place_of(&variant->changes[j], batch->n_layers);
            if (at.layer <= batch->first_layer && at.point != PSC_HOOK_Z &&
                at.point != PSC_HOOK_RESULT && at.point != PSC_HOOK_ATTN_OUT &&
                at.point != PSC_HOOK_MLP_OUT)
                return false;
        }
    }
    return true;
}

/* --- subscriptions --------------------------------------------------------------------------- */

_Static_assert(PSC_POINT_COUNT <= 32, "psc_variant_slot.points has a bit per point");

void psc_variant_place(psc_variant_slot *slot, const psc_variant *variant, int32_t n_layers) {
    int32_t before = INT32_MIN;
    slot->variant = *variant;
    slot->points = 0;
    slot->by_layer = true;
    for (int32_t j = 0; j < variant->n_changes; j++) {
        const place at = place_of(&variant->changes[j], n_layers);
        slot->points |= UINT32_C(1) << at.point;
        if (at.layer < before) slot->by_layer = false;
        before = at.layer;
    }
}

/* Whether a change, or only whether a FIX, is at a point. */
static bool changes_at(
    const psc_variant_batch *batch, psc_point point, int32_t layer, bool only_fixed) {
    for (int32_t i = 0; i < batch->n_slots; i++) {
        const psc_variant_slot *slot = &batch->slots[i];
        if (!(slot->points >> point & 1)) continue;
        int32_t j = first_change(slot, layer, batch->n_layers);
        for (; j < slot->variant.n_changes; j++) {
            const psc_change *c = &slot->variant.changes[j];
            const place at = place_of(c, batch->n_layers);
            if (at.point == point && at.layer == layer &&
                (!only_fixed || c->kind == PSC_CHANGE_FIX))
                return true;
            if (slot->by_layer && at.layer > layer) break;
        }
    }
    return false;
}

psc_status psc_variant_subscribe(psc_registry *registry, psc_context *context,
    const psc_variant_batch *batch, bool of_gradients, psc_error *error) {
    const psc_subscriber subscriber = {.name = context->name, .owner = context, .transient = true};
    psc_registry_end_run(registry);
    for (int32_t p = 0; p < PSC_POINT_COUNT; p++) {
        bool layered = psc_point_has_layer((psc_point)p);
        for (int32_t l = layered ? batch->first_layer : -1; l < (layered ? batch->n_layers : 0);
             l++) {
            if (!changes_at(batch, (psc_point)p, l, of_gradients)) continue;
            psc_filter filter = PSC_FILTER_INIT;
            filter.layers = &l;
            filter.n_layers = layered;
            psc_status status = psc_registry_add(
                registry, (psc_point)p, true, &filter, on_edit, (void *)batch, &subscriber, error);
            if (status != PSC_OK) return status;
        }
    }
    return PSC_OK;
}
