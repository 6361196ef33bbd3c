/* Labels of components and tokens, made once per plugin instance: an open-addressing hash table
 * from (kind, layer, index) to a string in slabs of the instance's memory. */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLAB_BYTES 16384u
#define LABEL_BYTES 256

typedef struct entry {
    uint64_t key; /* 0: free */
    const char *text;
} entry;

struct psc_label_cache {
    entry *entries;
    size_t n, capacity; /* a power of two, at most half full */
    char *slab;
    size_t slab_used;
};

#define MOST_LAYERS 0xffffff /* of a key */

/* The kind of tokens, outside psc_component_kind. */
#define KIND_TOKEN 63

static uint64_t make_key(uint64_t kind, int32_t layer, int32_t index) {
    uint64_t place = ((uint64_t)(uint32_t)layer + 1) & 0xffffff;
    return (kind + 1) << 56 | place << 32 | (uint32_t)index;
}

static entry *slot_of(entry *entries, size_t capacity, uint64_t key) {
    size_t i = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (capacity - 1);
    while (entries[i].key && entries[i].key != key) i = (i + 1) & (capacity - 1);
    return &entries[i];
}

static bool grow(psc_label_cache *cache) {
    size_t capacity = cache->capacity ? 2 * cache->capacity : 256;
    entry *entries = calloc(capacity, sizeof *entries);
    if (!entries) return false;
    for (size_t i = 0; i < cache->capacity; i++)
        if (cache->entries[i].key)
            *slot_of(entries, capacity, cache->entries[i].key) = cache->entries[i];
    free(cache->entries);
    cache->entries = entries;
    cache->capacity = capacity;
    return true;
}

/* The slot that has or will get key; null without memory. */
static entry *find(psc_context *context, uint64_t key) {
    if (!context->labels) context->labels = calloc(1, sizeof *context->labels);
    psc_label_cache *cache = context->labels;
    if (!cache || (2 * cache->n >= cache->capacity && !grow(cache))) return NULL;
    return slot_of(cache->entries, cache->capacity, key);
}

static const char *keep(psc_context *context, entry *e, uint64_t key, const char *text) {
    psc_label_cache *cache = context->labels;
    size_t bytes = strlen(text) + 1;
    if (!cache->slab || cache->slab_used + bytes > SLAB_BYTES) {
        cache->slab = psc_arena_alloc(&context->life_arena, SLAB_BYTES);
        cache->slab_used = 0;
        if (!cache->slab) return NULL;
    }
    char *copy = cache->slab + cache->slab_used;
    memcpy(copy, text, bytes);
    cache->slab_used += bytes;
    e->key = key;
    e->text = copy;
    cache->n++;
    return copy;
}

/* A label is never null, since plugins print it. */
static const char *no_memory(psc_context *context) {
    psc_host_fail(context, PSC_ERROR_MEMORY, "not enough memory for a label");
    return "?";
}

const char *psc_host_token_text(psc_context *context, int32_t token) {
    if (!psc_host_may(&context, "token_text", PSC_IN_ANY)) return "?";
    uint64_t key = make_key(KIND_TOKEN, -1, token);
    entry *e = find(context, key);
    if (e && e->key) return e->text;
    char text[LABEL_BYTES];
    psc_token_label(text, sizeof text, context->session->model, token);
    const char *kept = e ? keep(context, e, key, text) : NULL;
    return kept ? kept : no_memory(context);
}

static void write_label(
    char *out, size_t size, psc_component_kind kind, int32_t layer, int32_t index) {
    int l = (int)layer, i = (int)index;
    switch (kind) {
    case PSC_COMPONENT_EMBED:
        snprintf(out, size, "embed");
        return;
    case PSC_COMPONENT_HEAD:
        snprintf(out, size, "L%dH%d", l, i);
        return;
    case PSC_COMPONENT_ATTN_BIAS:
        snprintf(out, size, "%d_attn_bias", l);
        return;
    case PSC_COMPONENT_ATTN_OUT:
        snprintf(out, size, "%d_attn_out", l);
        return;
    case PSC_COMPONENT_NEURON:
        snprintf(out, size, "L%dN%d", l, i);
        return;
    case PSC_COMPONENT_MLP_BIAS:
        snprintf(out, size, "%d_mlp_bias", l);
        return;
    case PSC_COMPONENT_MLP_OUT:
        snprintf(out, size, "%d_mlp_out", l);
        return;
    case PSC_COMPONENT_EDIT:
        snprintf(out, size, "edit");
        return;
    }
}

const char *psc_host_label(
    psc_context *context, psc_component_kind kind, int32_t layer, int32_t index) {
    if (!psc_host_may(&context, "label", PSC_IN_ANY)) return "?";
    if ((int)kind < 0 || (int)kind > PSC_COMPONENT_EDIT) {
        psc_host_fail(context, PSC_ERROR_INPUT, "label: there is no component kind %d", (int)kind);
        return "?";
    }
    bool alone = kind == PSC_COMPONENT_EMBED || kind == PSC_COMPONENT_EDIT;
    bool indexed = kind == PSC_COMPONENT_HEAD || kind == PSC_COMPONENT_NEURON;
    if (alone) layer = -1;
    if (!indexed) index = 0;
    if ((!alone && (layer < 0 || layer >= MOST_LAYERS)) || index < 0) {
        psc_host_fail(context, PSC_ERROR_INPUT, "label: there is no component %d of layer %d",
            (int)index, (int)layer);
        return "?";
    }
    uint64_t key = make_key((uint64_t)kind, layer, index);
    entry *e = find(context, key);
    if (e && e->key) return e->text;
    char text[64];
    write_label(text, sizeof text, kind, layer, index);
    const char *kept = e ? keep(context, e, key, text) : NULL;
    return kept ? kept : no_memory(context);
}

void psc_host_free_labels(psc_context *context) {
    if (context->labels) free(context->labels->entries);
    free(context->labels);
    context->labels = NULL;
}
