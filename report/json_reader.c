/* Typed members of JSON objects. */
#include "json_reader.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

psc_status psc_json_bad(const psc_json_at *at, const char *key, const char *what) {
    return psc_fail(
        at->error, PSC_ERROR_INPUT, "%.400s: %s%.100s %s", at->path, at->place, key, what);
}

psc_status(psc_json_no_room)(const psc_json_at *at) {
    return psc_fail(
        at->error, PSC_ERROR_MEMORY, "not enough memory for the results in %.400s", at->path);
}

static psc_status missing(const psc_json_at *at, const char *key) {
    return psc_json_bad(at, key, "is missing");
}

psc_status psc_json_enter(psc_json_at *out, const psc_json_at *at, const char *key) {
    json_t *value = json_object_get(at->object, key);
    if (!value) return missing(at, key);
    if (!json_is_object(value)) return psc_json_bad(at, key, "is not an object");
    psc_json_at inner = {.path = at->path, .object = value, .error = at->error};
    snprintf(inner.place, sizeof inner.place, "%.100s%.90s.", at->place, key);
    *out = inner;
    return PSC_OK;
}

psc_status psc_json_get_list(json_t **out, const psc_json_at *at, const char *key) {
    *out = json_object_get(at->object, key);
    if (!*out) return missing(at, key);
    return json_is_array(*out) ? PSC_OK : psc_json_bad(at, key, "is not a list");
}

psc_status psc_json_get_integer(
    int64_t *out, const psc_json_at *at, const char *key, int64_t low, int64_t high) {
    const json_t *value = json_object_get(at->object, key);
    if (!value) return missing(at, key);
    *out = json_integer_value(value);
    if (json_is_integer(value) && *out >= low && *out <= high) return PSC_OK;
    char what[100];
    snprintf(what, sizeof what, "is not a whole number from %lld to %lld", (long long)low,
        (long long)high);
    return psc_json_bad(at, key, what);
}

psc_status psc_json_get_count(int32_t *out, const psc_json_at *at, const char *key) {
    int64_t value = 0;
    psc_status status = psc_json_get_integer(&value, at, key, 0, INT32_MAX);
    *out = (int32_t)value;
    return status;
}

psc_status psc_json_get_real(double *out, const psc_json_at *at, const char *key) {
    const json_t *value = json_object_get(at->object, key);
    if (!value) return missing(at, key);
    if (!psc_json_is_real(value)) return psc_json_bad(at, key, "is not a number");
    *out = psc_json_real_of(value);
    return PSC_OK;
}

psc_status psc_json_get_flag(int32_t *out, const psc_json_at *at, const char *key) {
    const json_t *value = json_object_get(at->object, key);
    if (!value) return missing(at, key);
    if (!json_is_boolean(value)) return psc_json_bad(at, key, "is neither true nor false");
    *out = json_is_true(value);
    return PSC_OK;
}

psc_status psc_json_get_text(const char **out, const psc_json_at *at, const char *key) {
    const json_t *value = json_object_get(at->object, key);
    if (!value) return missing(at, key);
    if (!psc_json_is_text(value)) return psc_json_bad(at, key, "is not a text, or has a 0 byte");
    *out = json_string_value(value);
    return PSC_OK;
}

bool psc_json_is_text(const json_t *value) {
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

bool psc_json_is_real(const json_t *value) {
    return json_is_number(value) || json_is_null(value);
}

double psc_json_real_of(const json_t *value) {
    return json_is_null(value) ? NAN : json_number_value(value);
}
