/* A plugin's options: "key=value,key=value" against what the plugin describes.
 * Private to runtime/.
 * Threads: reentrant.
 * Ownership: the list and its values belong to the caller, keys to the plugin. */
#ifndef PLUGIN_OPTIONS_H
#define PLUGIN_OPTIONS_H

#include "psc_plugin.h"

/* Every described option in order, given values or defaults. text may be null. In a value "\," is a
 * comma and "\\" a backslash; any other backslash stands for itself. */
psc_status psc_options_parse(
    psc_option **out, int32_t *n, const psc_plugin *plugin, const char *text, psc_error *error);
void psc_options_free(psc_option **options, int32_t n);

#endif
