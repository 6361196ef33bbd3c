/* Options of a plugin instance: split at commas that no backslash stands before, then at the first
 * '='. */
#include "plugin_options.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the item that starts at text ends: at a bare comma or at the end. */
static const char *item_end(const char *text) {
    while (*text && *text != ',') text += text[0] == '\\' && text[1] ? 2 : 1;
    return text;
}

/* The value between begin and end without its escapes; null without memory. */
static char *unescape(const char *begin, const char *end) {
    char *value = malloc((size_t)(end - begin) + 1), *out = value;
    if (!value) return NULL;
    for (const char *s = begin; s < end; s++) {
        if (s[0] == '\\' && s + 1 < end && (s[1] == ',' || s[1] == '\\')) s++;
        *out++ = *s;
    }
    *out = 0;
    return value;
}

static psc_status refuse_key(
    const psc_plugin *plugin, const char *key, size_t length, psc_error *error) {
    char known[512] = "";
    const psc_option_description *list = plugin->options;
    for (int i = 0; list && list[i].key; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", list[i].key);
    }
    int shown = length < 60 ? (int)length : 60;
    if (!*known)
        return psc_fail(error, PSC_ERROR_INPUT,
            "plugin %s has no option '%.*s'; it takes no options", plugin->name, shown, key);
    return psc_fail(error, PSC_ERROR_INPUT, "plugin %s has no option '%.*s'; its options are %s",
        plugin->name, shown, key, known);
}

static int find_option(const psc_option *options, int32_t n, const char *key, size_t length) {
    for (int32_t i = 0; i < n; i++)
        if (strlen(options[i].key) == length && strncmp(options[i].key, key, length) == 0)
            return (int)i;
    return -1;
}

/* One "key=value" into its place. */
static psc_status set_one(psc_option *options, bool *given, int32_t n, const psc_plugin *plugin,
    const char *item, const char *end, psc_error *error) {
    const char *equals = memchr(item, '=', (size_t)(end - item));
    int shown = end - item < 60 ? (int)(end - item) : 60;
    if (!equals)
        return psc_fail(error, PSC_ERROR_INPUT,
            "plugin %s: option '%.*s' must have the form key=value", plugin->name, shown, item);
    int i = find_option(options, n, item, (size_t)(equals - item));
    if (i < 0) return refuse_key(plugin, item, (size_t)(equals - item), error);
    if (given[i])
        return psc_fail(error, PSC_ERROR_INPUT, "plugin %s: option '%s' is given twice",
            plugin->name, options[i].key);
    given[i] = true;
    char *value = unescape(equals + 1, end);
    if (!value) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for an option");
    free((void *)options[i].value);
    options[i].value = value;
    return PSC_OK;
}

/* Every described option with its default. */
static psc_status fill_defaults(
    psc_option **out, int32_t *n, const psc_plugin *plugin, psc_error *error) {
    const psc_option_description *list = plugin->options;
    int32_t count = 0;
    while (list && list[count].key) count++;
    *n = 0;
    *out = calloc(count ? (size_t)count : 1, sizeof **out);
    for (int32_t i = 0; *out && i < count; i++) {
        (*out)[i].key = list[i].key;
        (*out)[i].value = strdup(list[i].default_value ? list[i].default_value : "");
        *n = i + 1;
        if (!(*out)[i].value) psc_options_free(out, *n);
    }
    return *out ? PSC_OK : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for options");
}

psc_status psc_options_parse(
    psc_option **out, int32_t *n, const psc_plugin *plugin, const char *text, psc_error *error) {
    bool *given = NULL;
    psc_status status = fill_defaults(out, n, plugin, error);
    if (status != PSC_OK || !text || !*text) return status;
    given = calloc(*n ? (size_t)*n : 1, sizeof *given);
    if (!given) status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for options");
    for (const char *item = text; status == PSC_OK;) {
        const char *end = item_end(item);
        status = set_one(*out, given, *n, plugin, item, end, error);
        if (!*end) break;
        item = end + 1;
    }
    free(given);
    if (status != PSC_OK) psc_options_free(out, *n);
    return status;
}

void psc_options_free(psc_option **options, int32_t n) {
    for (int32_t i = 0; *options && i < n; i++) free((void *)(*options)[i].value);
    free(*options);
    *options = NULL;
}
