/* Values of config.json by kind; each error names the file and the key. */
#include "config_reader.h"

json_t *psc_config_get(json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

psc_status psc_config_string(
    const psc_config_reader *r, json_t *object, const char *key, const char **out) {
    json_t *value = psc_config_get(object, key);
    *out = NULL;
    if (value && !json_is_string(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be a string", r->path, key);
    if (value) *out = json_string_value(value);
    return PSC_OK;
}

psc_status psc_config_number(const psc_config_reader *r, json_t *object, const char *key,
    const char *shown, psc_config_value *n) {
    json_t *value = psc_config_get(object, key);
    if (!value) return PSC_OK;
    if (!json_is_number(value))
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s must be a number", r->path, shown);
    double x = json_number_value(value);
    if (n->key && n->value != x)
        return psc_fail(r->error, PSC_ERROR_INPUT, "%s: %s is %g, but %s is %g; they must be equal",
            r->path, n->key, n->value, shown, x);
    *n = (psc_config_value){shown, x};
    return PSC_OK;
}
