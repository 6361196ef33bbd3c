/* The parts of a pair's line: prompts, tokens, spans, names. */
#include "pairs.h"
#include "session_inside.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAME = 200, MOST_SPANS = 64, MOST_SPAN_NAMES = 1024, MOST_GROUPS = 1024 };

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the pairs");
}

static psc_status check_keys(
    const psc_pairs *pairs, int64_t line, const json_t *object, psc_error *error) {
    static const char *const known[] = {
        "clean", "corrupt", "target", "contrast", "id", "group", "spans"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || strcmp(known[i], key) == 0;
        if (!found)
            return psc_pairs_fail(pairs, line, error,
                "has the unknown key \"%.60s\"; known are clean, corrupt, target, contrast, id, group "
                "and spans",
                key);
    }
    return PSC_OK;
}

/* --- prompts --------------------------------------------------------------------------------- */

/* A prompt is being read: its key, and what it becomes. */
typedef struct prompt {
    const char *key;
    psc_token *tokens;
    int32_t n;
} prompt;

/* Room for n tokens behind a beginning token, which it writes. */
static psc_status make_room(prompt *p, psc_pairs *pairs, int64_t line, size_t n, psc_error *error) {
    const int32_t bos = pairs->options.bos ? psc_model_bos(pairs->model) : -1;
    if (pairs->options.bos && bos < 0)
        return psc_fail(
            error, PSC_ERROR_INPUT, "the model has no beginning token to put before the prompts");
    const size_t all = n + (bos >= 0);
    if (all > (size_t)pairs->model->info.n_ctx)
        return psc_pairs_fail(pairs, line, error,
            "the %s prompt has more tokens than the model's context of %d", p->key,
            (int)pairs->model->info.n_ctx);
    pairs->n_tokens += (int64_t)all;
    if (pairs->n_tokens > PSC_MOST_PAIR_TOKENS)
        return psc_pairs_fail(pairs, line, error,
            "the set has more than %d tokens up to here; split it", PSC_MOST_PAIR_TOKENS);
    p->tokens = psc_arena_alloc(&pairs->own, all * sizeof *p->tokens + 1);
    if (!p->tokens) return no_memory(error);
    if (bos >= 0) p->tokens[p->n++] = (psc_token){bos, 0, 0};
    return PSC_OK;
}

static psc_status take_ids(
    prompt *p, psc_pairs *pairs, int64_t line, const json_t *list, psc_error *error) {
    const int32_t most = pairs->model->info.d_vocab - 1;
    psc_status status = make_room(p, pairs, line, json_array_size(list), error);
    if (status || !p->tokens) return status;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > most)
            return psc_pairs_fail(pairs, line, error,
                "entry %zu of \"%s\" is not a token id; the model's ids are 0 to %d", i, p->key,
                (int)most);
        p->tokens[p->n++] = (psc_token){(int32_t)json_integer_value(id), 0, 0};
    }
    return PSC_OK;
}

static psc_status take_text(
    prompt *p, psc_pairs *pairs, int64_t line, const json_t *text, psc_error *error) {
    psc_token *tokens = NULL;
    int32_t n = 0;
    psc_error own = {PSC_OK, ""};
    psc_status status = psc_model_encode_first(&tokens, &n, pairs->model, json_string_value(text),
        json_string_length(text), false, pairs->model->info.n_ctx, &own);
    if (status == PSC_ERROR_MEMORY) return psc_fail(error, status, "%s", own.message);
    if (status) return psc_pairs_fail(pairs, line, error, "the %s prompt: %s", p->key, own.message);
    status = make_room(p, pairs, line, (size_t)n, error);
    for (int32_t i = 0; p->tokens && i < n; i++)
        p->tokens[p->n++] = (psc_token){tokens[i].id, 0, 0};
    psc_free(tokens);
    return status;
}

static psc_status take_prompt(
    prompt *p, psc_pairs *pairs, int64_t line, const json_t *object, psc_error *error) {
    const json_t *value = json_object_get(object, p->key);
    psc_status status = PSC_OK;
    if (!value) return PSC_OK;
    if (json_is_array(value))
        status = take_ids(p, pairs, line, value, error);
    else if (json_is_string(value))
        status = take_text(p, pairs, line, value, error);
    else
        return psc_pairs_fail(
            pairs, line, error, "\"%s\" is neither a text nor a list of token ids", p->key);
    if (!status && p->n == (pairs->options.bos != 0))
        return psc_pairs_fail(pairs, line, error, "the %s prompt is empty", p->key);
    if (p->n > pairs->longest) pairs->longest = p->n;
    return status;
}

/* --- targets --------------------------------------------------------------------------------- */

static psc_status take_token(int32_t *id, const psc_pairs *pairs, int64_t line, const char *key,
    const json_t *object, psc_error *error) {
    const json_t *value = json_object_get(object, key);
    const int32_t most = pairs->model->info.d_vocab - 1;
    psc_error own = {PSC_OK, ""};
    psc_status status = PSC_OK;
    *id = -1;
    if (!value) return PSC_OK;
    if (json_is_integer(value)) {
        if (json_integer_value(value) < 0 || json_integer_value(value) > most)
            return psc_pairs_fail(pairs, line, error,
                "\"%s\" is %lld, but the model's ids are 0 to %d", key,
                (long long)json_integer_value(value), (int)most);
        *id = (int32_t)json_integer_value(value);
        return PSC_OK;
    }
    if (!json_is_string(value) || json_string_length(value) != strlen(json_string_value(value)))
        return psc_pairs_fail(
            pairs, line, error, "\"%s\" is neither a text of one token nor a token id", key);
    status = psc_targets_text_id(id, pairs->model, json_string_value(value), &own);
    if (status == PSC_ERROR_MEMORY) return psc_fail(error, status, "%s", own.message);
    return status ? psc_pairs_fail(pairs, line, error, "%s%s",
                        strcmp(key, "contrast") == 0 ? "the contrast: " : "", own.message)
                  : PSC_OK;
}

/* --- names ----------------------------------------------------------------------------------- */

/* A text of 1 to MOST_NAME bytes without a 0 byte; null without the key. */
static psc_status take_name(const char **out, const psc_pairs *pairs, int64_t line, const char *key,
    const json_t *object, psc_error *error) {
    const json_t *value = json_object_get(object, key);
    *out = NULL;
    if (!value) return PSC_OK;
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        json_string_length(value) > MOST_NAME ||
        json_string_length(value) != strlen(json_string_value(value)))
        return psc_pairs_fail(pairs, line, error,
            "\"%s\" is not a text of 1 to %d bytes without a 0 byte", key, MOST_NAME);
    *out = json_string_value(value);
    return PSC_OK;
}

static const char *keep(psc_pairs *pairs, const char *text) {
    const size_t n = strlen(text) + 1;
    char *copy = psc_arena_alloc(&pairs->own, n);
    return copy ? memcpy(copy, text, n) : NULL;
}

/* The index of a name in a list that grows; -1 without memory, -2 beyond `most`. */
static int32_t number_of(
    psc_pairs *pairs, psc_pair_name **names, int32_t *n, const char *text, int32_t most) {
    for (int32_t i = 0; i < *n; i++)
        if (strcmp((*names)[i].text, text) == 0) return i;
    if (*n == most) return -2;
    if ((*n & (*n - 1)) == 0) { /* grows by doubling */
        psc_pair_name *grown = realloc(*names, (*n ? 2 * (size_t)*n : 1) * sizeof *grown);
        if (!grown) return -1;
        *names = grown;
    }
    (*names)[*n] = (psc_pair_name){.text = keep(pairs, text)};
    return (*names)[*n].text ? (*n)++ : -1;
}

static psc_status take_names(
    psc_pairs *pairs, psc_pair_entry *e, const json_t *object, psc_error *error) {
    const json_t *id = json_object_get(object, "id");
    const char *group = NULL, *text = NULL;
    char number[32];
    snprintf(number, sizeof number, "%lld",
        (long long)(json_is_integer(id) ? json_integer_value(id) : e->line));
    psc_status status = take_name(&group, pairs, e->line, "group", object, error);
    if (!status && json_is_real(id))
        status = psc_pairs_fail(pairs, e->line, error,
            "\"id\" is a number with a point or an exponent; give a whole number or a text");
    if (status) return status;
    if (id && !json_is_integer(id))
        status = take_name(&text, pairs, e->line, "id", object, error);
    else
        text = number;
    if (status) return status;
    e->id = text ? keep(pairs, text) : NULL;
    e->group = -1;
    if (!e->id) return no_memory(error);
    if (!group) return PSC_OK;
    e->group = number_of(pairs, &pairs->groups, &pairs->n_groups, group, MOST_GROUPS);
    if (e->group == -1) return no_memory(error);
    return e->group >= 0 ? PSC_OK
                         : psc_pairs_fail(pairs, e->line, error, "the set has more than %d groups",
                               MOST_GROUPS);
}

/* --- spans ----------------------------------------------------------------------------------- */

/* [first, last] in a prompt of n tokens, of which the first `skip` do not count. */
static psc_status take_range(int32_t *first, int32_t *length, const psc_pairs *pairs, int64_t line,
    const char *name, const char *which, const json_t *range, int32_t n, psc_error *error) {
    const int32_t skip = pairs->options.bos != 0;
    const json_t *a = json_array_get(range, 0), *b = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(a) || !json_is_integer(b))
        return psc_pairs_fail(pairs, line, error,
            "the span \"%.60s\" is not [first, last], two positions from 0", name);
    const json_int_t from = json_integer_value(a), to = json_integer_value(b);
    if (from < 0 || to < from || to >= n - skip)
        return psc_pairs_fail(pairs, line, error,
            "the span \"%.60s\" is [%lld, %lld], but the %s prompt has the positions 0 to %d", name,
            (long long)from, (long long)to, which, (int)(n - skip - 1));
    *first = (int32_t)from + skip;
    *length = (int32_t)(to - from + 1);
    return PSC_OK;
}

static psc_status take_span(
    psc_pairs *pairs, psc_pair_entry *e, const char *name, const json_t *value, psc_error *error) {
    psc_pair_span span = {.corrupt = -1};
    const bool both = json_is_object(value);
    const json_t *clean = both ? json_object_get(value, "clean") : value;
    const json_t *corrupt = both ? json_object_get(value, "corrupt") : value;
    int32_t n_corrupt = 0;
    if (*name == 0 || strlen(name) > MOST_NAME / 2)
        return psc_pairs_fail(
            pairs, e->line, error, "the name of a span has 1 to %d bytes", MOST_NAME / 2);
    if (both && json_object_size(value) != (clean != NULL) + (size_t)(corrupt != NULL))
        return psc_pairs_fail(pairs, e->line, error,
            "the span \"%.60s\" has another key than clean and corrupt", name);
    psc_status status =
        take_range(&span.clean, &span.n, pairs, e->line, name, "clean", clean, e->n_clean, error);
    if (!status && e->n_corrupt > 0)
        status = take_range(&span.corrupt, &n_corrupt, pairs, e->line, name, "corrupt", corrupt,
            e->n_corrupt, error);
    if (!status && e->n_corrupt > 0 && n_corrupt != span.n)
        status = psc_pairs_fail(pairs, e->line, error,
            "the span \"%.60s\" has %d tokens in the clean prompt and %d in the corrupt one; aligned "
            "spans are equally long",
            name, (int)span.n, (int)n_corrupt);
    if (status) return status;
    span.name = number_of(pairs, &pairs->spans, &pairs->n_spans, name, MOST_SPAN_NAMES);
    if (span.name == -1) return no_memory(error);
    if (span.name < 0)
        return psc_pairs_fail(
            pairs, e->line, error, "the set has more than %d names of spans", MOST_SPAN_NAMES);
    if (span.n > pairs->spans[span.name].most) pairs->spans[span.name].most = span.n;
    e->spans[e->n_spans++] = span;
    return PSC_OK;
}

static psc_status take_spans(
    psc_pairs *pairs, psc_pair_entry *e, const json_t *object, psc_error *error) {
    const json_t *spans = json_object_get(object, "spans");
    const char *name;
    json_t *value;
    psc_status status = PSC_OK;
    if (!spans) return PSC_OK;
    if (!json_is_object(spans) || json_object_size(spans) > MOST_SPANS)
        return psc_pairs_fail(pairs, e->line, error,
            "\"spans\" is not an object of at most %d spans, {\"subject\": [3, 5]}", MOST_SPANS);
    e->spans = psc_arena_alloc(&pairs->own, json_object_size(spans) * sizeof *e->spans + 1);
    if (!e->spans) return no_memory(error);
    json_object_foreach((json_t *)spans, name, value) {
        if (!status) status = take_span(pairs, e, name, value, error);
    }
    return status;
}

/* --- the line -------------------------------------------------------------------------------- */

psc_status psc_pairs_take(
    psc_pairs *pairs, psc_pair_entry *e, const json_t *object, psc_error *error) {
    prompt clean = {.key = "clean"}, corrupt = {.key = "corrupt"};
    psc_status status = check_keys(pairs, e->line, object, error);
    if (!status && !json_object_get(object, "clean"))
        status = psc_pairs_fail(pairs, e->line, error, "has no \"clean\" prompt");
    if (!status && !json_object_get(object, "target"))
        status = psc_pairs_fail(pairs, e->line, error, "has no \"target\"");
    if (!status) status = take_prompt(&clean, pairs, e->line, object, error);
    if (!status) status = take_prompt(&corrupt, pairs, e->line, object, error);
    if (!status) status = take_token(&e->a, pairs, e->line, "target", object, error);
    if (!status) status = take_token(&e->b, pairs, e->line, "contrast", object, error);
    if (status) return status;
    if (e->a == e->b)
        return psc_pairs_fail(pairs, e->line, error,
            "target and contrast are the same token, so their difference is always 0");
    e->clean = clean.tokens;
    e->n_clean = clean.n;
    e->corrupt = corrupt.tokens;
    e->n_corrupt = corrupt.n;
    if (e->n_clean > pairs->longest_clean) pairs->longest_clean = e->n_clean;
    status = take_names(pairs, e, object, error);
    return status ? status : take_spans(pairs, e, object, error);
}
