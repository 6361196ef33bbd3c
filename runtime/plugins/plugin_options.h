/* A plugin's options: keys and values, checked against the plugin's table.
 * Private to runtime/.
 * Threads: reentrant.
 * Ownership: lists and their values belong to the caller, keys to the plugin. */
#ifndef PLUGIN_OPTIONS_H
#define PLUGIN_OPTIONS_H

#include "psc_plugin.h"

#include <stdbool.h>

/* Every described option in the table's order, with the given value or the default. Values come
 * from a text "key=value,key=value" (nullable), then from a list of n_given keys and values. In the
 * text's values "\," is a comma and "\\" a backslash; any other backslash is literal. A key that
 * the plugin lacks, or that is given twice, is PSC_ERROR_INPUT. */
psc_status psc_options_take(psc_option **out, int32_t *n, const psc_plugin *plugin,
    const char *text, const psc_option *given, int32_t n_given, psc_error *error);
void psc_options_free(psc_option **options, int32_t n);

/* The context of a value. */
typedef struct psc_option_setting {
    const psc_model_info *model;
    bool corpus; /* the session accumulates over documents */
} psc_option_setting;

/* Checks every value against its kind and range (psc_option_kind) and writes it to its field of
 * *fields; a null fields only checks. Texts point into options. */
psc_status psc_options_read(void *fields, const psc_option *options, int32_t n,
    const psc_plugin *plugin, const psc_option_setting *setting, psc_error *error);

#endif
