/* Options of a plugin instance: a text is split at unescaped commas, each item at its first '='. */
#include "plugin_options.h"

#include "suggest.h"

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
    char known[512] = "", hint[PSC_SUGGEST_TEXT];
    const psc_option_description *list = plugin->options;
    psc_suggestion near = psc_suggest(key, length);
    for (int i = 0; list && list[i].key; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", list[i].key);
        psc_suggest_name(&near, list[i].key);
    }
    int shown = length < 60 ? (int)length : 60;
    if (!*known)
        return psc_fail(error, PSC_ERROR_INPUT,
            "plugin %s has no option '%.*s'; it takes no options", plugin->name, shown, key);
    return psc_fail(error, PSC_ERROR_INPUT, "plugin %s has no option '%.*s'%s%s its options are %s",
        plugin->name, shown, key, psc_suggest_text(hint, &near, ""), near.best ? "" : ";", known);
}

static int find_option(const psc_option *options, int32_t n, const char *key, size_t length) {
    for (int32_t i = 0; i < n; i++)
        if (strlen(options[i].key) == length && strncmp(options[i].key, key, length) == 0)
            return (int)i;
    return -1;
}

/* The options during collection: given values so far, defaults elsewhere. */
typedef struct collection {
    const psc_plugin *plugin;
    psc_option *options;
    bool *given; /* [n] */
    int32_t n;
} collection;

/* Takes over value, also on failure. */
static psc_status set_one(
    collection *c, const char *key, size_t length, char *value, psc_error *error) {
    psc_status status = PSC_OK;
    const int i = find_option(c->options, c->n, key, length);
    if (i < 0)
        status = refuse_key(c->plugin, key, length, error);
    else if (c->given[i])
        status = psc_fail(error, PSC_ERROR_INPUT, "plugin %s: option '%s' is given twice",
            c->plugin->name, c->options[i].key);
    else if (!value)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for an option");
    if (status != PSC_OK) {
        free(value);
        return status;
    }
    c->given[i] = true;
    free((void *)c->options[i].value);
    c->options[i].value = value;
    return PSC_OK;
}

/* Every described option with its default. */
static psc_status collection_open(collection *c, const psc_plugin *plugin, psc_error *error) {
    const psc_option_description *list = plugin->options;
    int32_t count = 0;
    while (list && list[count].key) count++;
    const size_t room = count ? (size_t)count : 1;
    *c = (collection){plugin, calloc(room, sizeof *c->options), calloc(room, sizeof *c->given), 0};
    bool complete = c->options && c->given;
    for (; complete && c->n < count; c->n++) {
        const psc_option_description *option = &list[c->n];
        c->options[c->n].key = option->key;
        c->options[c->n].value = strdup(option->default_value ? option->default_value : "");
        if (!c->options[c->n].value) complete = false;
    }
    return complete ? PSC_OK : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for options");
}

/* Stores one "key=value". */
static psc_status set_item(collection *c, const char *item, const char *end, psc_error *error) {
    const char *equals = memchr(item, '=', (size_t)(end - item));
    const int shown = end - item < 60 ? (int)(end - item) : 60;
    if (!equals)
        return psc_fail(error, PSC_ERROR_INPUT,
            "plugin %s: option '%.*s' must have the form key=value; a comma separates options, so "
            "write / between levels, and \\, for a comma in a value",
            c->plugin->name, shown, item);
    return set_one(c, item, (size_t)(equals - item), unescape(equals + 1, end), error);
}

static psc_status set_text(collection *c, const char *text, psc_error *error) {
    psc_status status = PSC_OK;
    for (const char *item = text; status == PSC_OK && *text;) {
        const char *end = item_end(item);
        status = set_item(c, item, end, error);
        if (!*end) break;
        item = end + 1;
    }
    return status;
}

psc_status psc_options_take(psc_option **out, int32_t *n, const psc_plugin *plugin,
    const char *text, const psc_option *given, int32_t n_given, psc_error *error) {
    collection c;
    psc_status status = collection_open(&c, plugin, error);
    if (status == PSC_OK && text) status = set_text(&c, text, error);
    for (int32_t i = 0; status == PSC_OK && i < n_given; i++) {
        const char *key = given[i].key ? given[i].key : "", *value = given[i].value;
        status = set_one(&c, key, strlen(key), strdup(value ? value : ""), error);
    }
    free(c.given);
    if (status != PSC_OK) psc_options_free(&c.options, c.n);
    *out = c.options;
    *n = status == PSC_OK ? c.n : 0;
    return status;
}

void psc_options_free(psc_option **options, int32_t n) {
    for (int32_t i = 0; *options && i < n; i++) free((void *)(*options)[i].value);
    free(*options);
    *options = NULL;
}
