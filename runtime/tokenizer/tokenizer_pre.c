/* The pre_tokenizer of tokenizer.json: steps that cut the text by a pattern (Split, Digits), then
 * ByteLevel, in Sequences of any shape. */
#include "tokenizer_private.h"

#include <jansson.h>
#include <string.h>

#define MAX_NESTING 8

static psc_status not_supported(const char *type, psc_error *error) {
    return psc_fail(
        error, PSC_ERROR_SUPPORT, "pre_tokenizer of type \"%.80s\" is not supported", type);
}

static psc_status read_flag(
    bool *out, const json_t *item, const char *name, bool is_needed, psc_error *error) {
    const json_t *value = json_object_get(item, name);
    if (json_is_boolean(value)) *out = json_is_true(value);
    if (json_is_boolean(value) || (!value && !is_needed)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT, "pre_tokenizer.%s %s", name,
        value ? "must be true or false" : "is missing");
}

static psc_status load_byte_level(psc_tokenizer *tokenizer, const json_t *item, psc_error *error) {
    tokenizer->use_regex = true;
    psc_status status = read_flag(&tokenizer->prefix_space, item, "add_prefix_space", true, error);
    return status ? status : read_flag(&tokenizer->use_regex, item, "use_regex", false, error);
}

static psc_status load_digits(psc_split_step *step, const json_t *item, psc_error *error) {
    bool is_each = false;
    psc_status status = read_flag(&is_each, item, "individual_digits", true, error);
    step->behavior = is_each ? PSC_SPLIT_ISOLATED : PSC_SPLIT_CONTIGUOUS;
    return status ? status : psc_tk_compile_numbers(&step->pattern, error);
}

static psc_status read_behavior(psc_split_step *step, const json_t *item, psc_error *error) {
    static const struct {
        const char *name;
        psc_split_behavior behavior;
    } known[] = {{"Isolated", PSC_SPLIT_ISOLATED}, {"Contiguous", PSC_SPLIT_CONTIGUOUS},
        {"MergedWithPrevious", PSC_SPLIT_WITH_PREVIOUS}, {"MergedWithNext", PSC_SPLIT_WITH_NEXT}};
    const char *name = json_string_value(json_object_get(item, "behavior"));
    if (!name) return psc_fail(error, PSC_ERROR_INPUT, "pre_tokenizer.behavior is not a string");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) != 0) continue;
        step->behavior = known[i].behavior;
        return PSC_OK;
    }
    return psc_fail(
        error, PSC_ERROR_SUPPORT, "pre_tokenizer.behavior \"%.80s\" is not supported", name);
}

static psc_status load_split(psc_split_step *step, const json_t *item, psc_error *error) {
    const json_t *pattern = json_object_get(item, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex");
    const json_t *text = regex ? regex : json_object_get(pattern, "String");
    if (!json_is_string(text))
        return psc_fail(error, PSC_ERROR_INPUT, "pre_tokenizer.pattern is not a Regex or a String");
    psc_status status = read_behavior(step, item, error);
    if (!status) status = read_flag(&step->invert, item, "invert", false, error);
    if (status) return status;
    return psc_tk_compile_pattern(
        &step->pattern, json_string_value(text), json_string_length(text), !regex, error);
}

/* Loads one part; *done becomes true with ByteLevel, after which nothing may follow: it sees the
 * text's bytes in another alphabet. */
static psc_status load_part(
    psc_tokenizer *tokenizer, bool *done, const json_t *item, int depth, psc_error *error) {
    const char *type = json_string_value(json_object_get(item, "type"));
    if (!type)
        return psc_fail(error, PSC_ERROR_INPUT, "%s is not an object with a type",
            depth ? "a part of pre_tokenizer" : "pre_tokenizer");
    if (!strcmp(type, "Sequence") && depth < MAX_NESTING) {
        const json_t *parts = json_object_get(item, "pretokenizers");
        psc_status status = PSC_OK;
        if (!json_is_array(parts))
            return psc_fail(error, PSC_ERROR_INPUT, "pre_tokenizer.pretokenizers is not an array");
        for (size_t i = 0; i < json_array_size(parts) && !status; i++)
            status = load_part(tokenizer, done, json_array_get(parts, i), depth + 1, error);
        return status;
    }
    const bool is_byte_level = !strcmp(type, "ByteLevel"), is_digits = !strcmp(type, "Digits");
    if (!is_byte_level && !is_digits && strcmp(type, "Split") != 0)
        return not_supported(type, error);
    if (*done)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "pre_tokenizer has %s after ByteLevel, which is not supported", type);
    *done = is_byte_level;
    if (is_byte_level) return load_byte_level(tokenizer, item, error);
    if (tokenizer->n_steps == PSC_TOKENIZER_STEPS)
        return psc_fail(
            error, PSC_ERROR_SUPPORT, "pre_tokenizer has more than %d steps", PSC_TOKENIZER_STEPS);
    psc_split_step *step = &tokenizer->steps[tokenizer->n_steps++];
    return is_digits ? load_digits(step, item, error) : load_split(step, item, error);
}

psc_status psc_tk_load_pre_tokenizer(
    psc_tokenizer *tokenizer, const struct json_t *item, psc_error *error) {
    bool done = false;
    if (!item || json_is_null(item))
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "pre_tokenizer is %s; only ByteLevel, perhaps after Split and Digits, is supported",
            item ? "null" : "missing");
    psc_status status = load_part(tokenizer, &done, item, 0, error);
    if (status || done) return status;
    return psc_fail(error, PSC_ERROR_SUPPORT, "pre_tokenizer has no ByteLevel");
}
