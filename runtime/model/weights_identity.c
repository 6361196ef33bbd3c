/* A model's identity, version 1: XXH3-128 over the lines of psc_identity_config, then for each
 * tensor in the order of its canonical name a line "name dtype rows cols" and its bytes.
 * The same pass looks for elements that are not finite: all bits of their exponent are ones, so
 * that (bits & exponent) + the exponent's lowest bit carries into the sign's place. */
#include "model_weights.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const char *const dtype_names[] = {"F32", "F16", "BF16"};

struct psc_identity {
    XXH3_state_t *state;
    const psc_checkpoint *checkpoint;
};

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The line of a scaled rotary embedding. Other models have none, so that their identities stay. */
static size_t add_rope(char *text, size_t size, const psc_rope *rope) {
    int n = 0;
    if (rope->kind == PSC_ROPE_LINEAR)
        n = snprintf(text, size, "rope linear %016" PRIx64 "\n", bits_of(rope->factor));
    if (rope->kind == PSC_ROPE_YARN)
        n = snprintf(text, size,
            "rope yarn %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64
            " %d\n",
            bits_of(rope->factor), bits_of(rope->context), bits_of(rope->beta_fast),
            bits_of(rope->beta_slow), bits_of(rope->scale), rope->truncate);
    assert(n >= 0 && (size_t)n < size);
    return (size_t)n;
}

/* The config values that affect numbers. Floats are written as bits, since text forms differ by
 * libc. A change here changes every model's identity and needs a new version in the first line. */
size_t psc_identity_config(char *text, size_t size, const psc_config *c) {
    static const char *const activations[] = {
        [PSC_GELU_ERF] = "gelu", [PSC_GELU_TANH] = "gelu_tanh"};
    uint32_t eps;
    memcpy(&eps, &c->layer_norm_eps, sizeof eps);
    int n = snprintf(text, size,
        "pythiascope gpt_neox 1\n"
        "n_layers %zu\nn_heads %zu\nd_model %zu\nd_mlp %zu\nd_vocab %zu\nn_ctx %zu\n",
        c->n_layers, c->n_heads, c->d_model, c->d_mlp, c->d_vocab, c->n_ctx);
    assert(n > 0 && (size_t)n < size);
    n += snprintf(text + n, size - (size_t)n, /* in two: printf needs memory for long formats */
        "layer_norm_eps %08" PRIx32 "\nrotary_dims %zu\nrotary_base %016" PRIx64 "\n"
        "activation %s\nparallel_residual %d\ntied %d\nattention_bias %d\n",
        eps, c->rotary_dims, bits_of(c->rotary_base), activations[c->gelu], c->parallel_residual,
        c->tied, c->attention_bias);
    assert(n > 0 && (size_t)n < size);
    return (size_t)n + add_rope(text + n, size - (size_t)n, &c->rope);
}

psc_status psc_identity_open(
    psc_identity **out, const psc_checkpoint *checkpoint, psc_error *error) {
    char text[768];
    psc_identity *identity = calloc(1, sizeof *identity);
    *out = NULL;
    if (identity) identity->state = XXH3_createState();
    if (!identity || !identity->state) {
        free(identity);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to hash the model");
    }
    identity->checkpoint = checkpoint;
    XXH3_128bits_reset(identity->state);
    size_t n = psc_identity_config(text, sizeof text, &checkpoint->config);
    XXH3_128bits_update(identity->state, text, n);
    *out = identity;
    return PSC_OK;
}

/* Bytes that are hashed and then checked while they are in the core's cache. */
#define PIECE ((size_t)128 << 10)

/* Whether an element of data [n], of 2 bytes each, has an exponent of ones. The data has any
 * alignment; compilers turn the copies into vector loads. */
static bool has_exponent_16(const unsigned char *data, size_t n, uint16_t exponent) {
    const uint16_t lowest = exponent & (uint16_t)-exponent;
    uint16_t found = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, data + 2 * i, sizeof bits);
        found |= (uint16_t)((bits & exponent) + lowest);
    }
    return found >> 15;
}

static bool has_exponent_32(const unsigned char *data, size_t n) {
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, data + 4 * i, sizeof bits);
        found |= (bits & 0x7f800000u) + 0x00800000u;
    }
    return found >> 31;
}

static bool is_unusable(const unsigned char *data, size_t n, psc_dtype dtype) {
    if (dtype == PSC_DTYPE_F32) return has_exponent_32(data, n);
    return has_exponent_16(data, n, dtype == PSC_DTYPE_F16 ? 0x7c00 : 0x7f80);
}

size_t psc_identity_add(psc_identity *identity, size_t tensor) {
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): callers stop if it did not open
    const psc_checkpoint_tensor *t = &identity->checkpoint->tensors[tensor];
    const psc_weight *w = t->weight;
    char line[160];
    int n = snprintf(
        line, sizeof line, "%s %s %zu %zu\n", t->name, dtype_names[w->dtype], w->rows, w->cols);
    XXH3_128bits_update(identity->state, line, (size_t)n);
    const unsigned char *data = w->data;
    const size_t size = psc_dtype_size(w->dtype), bytes = w->rows * w->cols * size;
    size_t first = SIZE_MAX;
    for (size_t at = 0; at < bytes; at += PIECE) {
        const size_t piece = bytes - at < PIECE ? bytes - at : PIECE;
        XXH3_128bits_update(identity->state, data + at, piece);
        if (first != SIZE_MAX || !is_unusable(data + at, piece / size, w->dtype)) continue;
        for (first = at / size; !is_unusable(data + first * size, 1, w->dtype);) first++;
    }
    return first;
}

void psc_identity_close(char hex[33], psc_identity **identity) {
    XXH128_canonical_t digest;
    if (!*identity) return;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest((*identity)->state));
    for (size_t i = 0; hex && i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", digest.digest[i]);
    XXH3_freeState((*identity)->state);
    free(*identity);
    *identity = NULL;
}

psc_status psc_checkpoint_hash(char hex[33], const psc_checkpoint *checkpoint, psc_error *error) {
    psc_identity *identity;
    psc_status status = psc_identity_open(&identity, checkpoint, error);
    if (status) return status;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const psc_weight *w = checkpoint->tensors[i].weight;
        psc_identity_add(identity, i);
        psc_drop_pages(w->data, w->rows * w->cols * psc_dtype_size(w->dtype));
    }
    psc_identity_close(hex, &identity);
    return PSC_OK;
}
