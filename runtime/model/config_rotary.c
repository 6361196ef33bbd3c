/* The rotary embedding of config.json, as transformers (5, modeling_rope_utils.py) reads it:
 *   rotary_dims = int(rotary_pct * d_head), the product in double as in Python
 *   yarn's factor, if absent, = max_position_embeddings / original_max_position_embeddings
 *   yarn's scale of cos and sin, if absent, = m(mscale)/m(mscale_all_dim), or m(1) if one of these
 *   is absent or 0; m(x) = 0.1 x log(factor) + 1, or 1 if factor <= 1 */
#include "config_reader.h"
#include "kernels.h"

#include <string.h>

/* Every number of rope_parameters or rope_scaling. */
typedef struct rope_numbers {
    psc_config_value base, pct, factor, context, scale, beta_fast, beta_slow, mscale, mscale_all;
} rope_numbers;

typedef struct rope_key {
    const char *name, *shown[2]; /* in rope_parameters, in rope_scaling */
    size_t at;
} rope_key;

#define ROPE_KEY(name, member)                                                                     \
    { name, {"rope_parameters." name, "rope_scaling." name}, offsetof(rope_numbers, member) }

static const rope_key rope_keys[] = {
    ROPE_KEY("rope_theta", base),
    ROPE_KEY("partial_rotary_factor", pct),
    ROPE_KEY("factor", factor),
    ROPE_KEY("original_max_position_embeddings", context),
    ROPE_KEY("attention_factor", scale),
    ROPE_KEY("beta_fast", beta_fast),
    ROPE_KEY("beta_slow", beta_slow),
    ROPE_KEY("mscale", mscale),
    ROPE_KEY("mscale_all_dim", mscale_all),
};

static const struct {
    const char *name;
    psc_rope_kind kind;
} rope_kinds[] = {
    {"default", PSC_ROPE_DEFAULT},
    {"linear", PSC_ROPE_LINEAR},
    {"dynamic", PSC_ROPE_DYNAMIC},
    {"yarn", PSC_ROPE_YARN},
};

static psc_status set_kind(
    psc_rope *rope, const psc_config_reader *r, const char *key, const char *type) {
    if (rope->type[0] && strcmp(rope->type, type) != 0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: rope_parameters has type \"%.20s\" and rope_scaling \"%.20s\"; they must be equal",
            r->path, rope->type, type);
    for (size_t i = 0; i < sizeof rope_kinds / sizeof *rope_kinds; i++) {
        if (strcmp(type, rope_kinds[i].name) != 0) continue;
        rope->kind = rope_kinds[i].kind;
        memcpy(rope->type, type, strlen(type) + 1);
        return PSC_OK;
    }
    return psc_fail(r->error, PSC_ERROR_SUPPORT,
        "%s: %s has type \"%.60s\", but only default, linear, dynamic and yarn are supported",
        r->path, key, type);
}

/* rope_parameters (which: 0) or rope_scaling (1): an object, or absent. */
static psc_status read_object(
    psc_rope *rope, rope_numbers *numbers, const psc_config_reader *r, int which) {
    const char *key = which ? "rope_scaling" : "rope_parameters", *type, *name;
    json_t *object = psc_config_get(r->root, key), *value;
    if (!object) return PSC_OK;
    if (!json_is_object(object))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be an object", r->path, key);
    psc_status status = psc_config_string(r, object, "rope_type", &type);
    if (!status && !type) status = psc_config_string(r, object, "type", &type);
    if (!status && type) status = set_kind(rope, r, key, type);
    if (status) return status;
    json_object_foreach(object, name, value) {
        if (json_is_object(value))
            return psc_fail(r->error, PSC_ERROR_SUPPORT,
                "%s: %s contains \"%.60s\", but per-layer rotary embeddings are not supported",
                r->path, key, name);
    }
    for (size_t i = 0; !status && i < sizeof rope_keys / sizeof *rope_keys; i++) {
        const rope_key *k = &rope_keys[i];
        psc_config_value *to = (psc_config_value *)(void *)((char *)numbers + k->at);
        status = psc_config_number(r, object, k->name, k->shown[which], to);
    }
    /* Python takes null for false here. */
    value = json_object_get(object, "truncate");
    if (value) rope->truncate = json_is_true(value);
    return status;
}

/* The base and the rotated fraction, from all keys of transformers 4 and 5. */
static psc_status set_dims(psc_config *c, const psc_config_reader *r, rope_numbers *numbers) {
    psc_config_value *base = &numbers->base, *pct = &numbers->pct;
    psc_status status = psc_config_number(r, r->root, "rotary_emb_base", "rotary_emb_base", base);
    if (!status) status = psc_config_number(r, r->root, "rope_theta", "rope_theta", base);
    if (!status) status = psc_config_number(r, r->root, "rotary_pct", "rotary_pct", pct);
    if (!status)
        status =
            psc_config_number(r, r->root, "partial_rotary_factor", "partial_rotary_factor", pct);
    if (status) return status;
    if (!base->key) *base = (psc_config_value){"rotary_emb_base", 10000.0};
    if (!pct->key) *pct = (psc_config_value){"rotary_pct", 0.25};
    if (!(base->value >= 1.0 && base->value <= 1e15))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %g; it must be between 1 and 1e15",
            r->path, base->key, base->value);
    if (!(pct->value >= 0.0 && pct->value <= 1.0))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %g; it must be between 0 and 1",
            r->path, pct->key, pct->value);
    c->rotary_base = base->value;
    c->rotary_pct = pct->value;
    c->rotary_dims = (size_t)((double)c->d_head * pct->value);
    if (c->rotary_dims % 2 != 0)
        return psc_fail(r->error, PSC_ERROR_SUPPORT,
            "%s: %s %g with a head of %zu dimensions rotates %zu of them; the number must be even",
            r->path, pct->key, pct->value, c->d_head, c->rotary_dims);
    return PSC_OK;
}

/* m(x) of the head of this file; SLEEF's logarithm has the same bits everywhere. */
static double scale_of(double factor, double x) {
    double log = 0.0;
    if (factor <= 1.0) return 1.0;
    psc_kernels_for(PSC_ISA_REFERENCE)->log_f64(&log, &factor, 1);
    return 0.1 * x * log + 1.0;
}

static psc_status set_yarn(psc_config *c, const psc_config_reader *r, rope_numbers *n) {
    psc_rope *rope = &c->rope;
    psc_config_value top = {0};
    psc_status status = psc_config_number(
        r, r->root, "original_max_position_embeddings", "original_max_position_embeddings", &top);
    if (status) return status;
    /* The key outside the object wins, as in transformers. */
    if (top.key || !n->context.key) n->context = top;
    if (!n->context.key)
        n->context = (psc_config_value){"max_position_embeddings", (double)c->n_ctx};
    rope->context = n->context.value;
    if (!(rope->context >= 1.0 && rope->context <= PSC_MAX_CONTEXT))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %g; it must be between 1 and %d",
            r->path, n->context.key, rope->context, PSC_MAX_CONTEXT);
    if (c->rotary_base <= 1.0)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: the base of the rotary embedding is 1; yarn needs a greater one", r->path);
    if (!n->factor.key) n->factor = (psc_config_value){"factor", (double)c->n_ctx / rope->context};
    rope->beta_fast = n->beta_fast.value != 0.0 ? n->beta_fast.value : 32.0;
    rope->beta_slow = n->beta_slow.value != 0.0 ? n->beta_slow.value : 1.0;
    const double mscale = n->mscale.value, all = n->mscale_all.value, factor = n->factor.value;
    rope->scale = n->scale.key                  ? n->scale.value
                  : mscale != 0.0 && all != 0.0 ? scale_of(factor, mscale) / scale_of(factor, all)
                                                : scale_of(factor, 1.0);
    if (!(rope->beta_fast > 0.0 && rope->beta_slow > 0.0 && rope->scale > 0.0 && rope->scale < 1e6))
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: yarn's beta_fast, beta_slow and attention_factor must be positive", r->path);
    return PSC_OK;
}

psc_status psc_config_read_rotary(psc_config *c, const psc_config_reader *r) {
    rope_numbers numbers = {0};
    psc_rope *rope = &c->rope;
    *rope = (psc_rope){.factor = 1.0, .scale = 1.0, .truncate = true};
    psc_status status = read_object(rope, &numbers, r, 0);
    if (!status) status = read_object(rope, &numbers, r, 1);
    if (!status) status = set_dims(c, r, &numbers);
    if (!status && rope->kind == PSC_ROPE_YARN) status = set_yarn(c, r, &numbers);
    if (status) return status;
    if (!rope->type[0]) memcpy(rope->type, "default", sizeof "default");
    if (rope->kind == PSC_ROPE_DEFAULT) return PSC_OK;
    if (!numbers.factor.key)
        return psc_fail(r->error, PSC_ERROR_INPUT,
            "%s: rotary scaling of type \"%s\" needs a factor", r->path, rope->type);
    rope->factor = numbers.factor.value;
    if (!(rope->factor > 0.0 && rope->factor <= 1e6))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %g; it must be positive", r->path,
            numbers.factor.key, rope->factor);
    return PSC_OK;
}
