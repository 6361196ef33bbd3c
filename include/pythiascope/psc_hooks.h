/* Names of hook points, and loading of plugin files.
 * Public; included by psc.h.
 * Threads: reentrant.
 * Ownership: a loaded library belongs to the caller until psc_plugin_unload. */
#ifndef PSC_HOOKS_H
#define PSC_HOOKS_H

#include "psc_error.h"
#include "psc_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens a shared object and checks its handshake; *plugin lives until psc_plugin_unload. */
PSC_API psc_status psc_plugin_load(
    void **library, const psc_plugin **plugin, const char *path, psc_error *error);
PSC_API void psc_plugin_unload(void **library);
/* The full name of a hook point, "blocks.3.attn.hook_z"; layer -1: "blocks.{l}.attn.hook_z". Writes
 * at most size bytes, always terminated. */
PSC_API void psc_point_name(char *out, size_t size, psc_point point, int32_t layer);
/* Parses such a name; *layer is -1 where there is none, -2 for '*'. PSC_ERROR_INPUT if unknown. */
PSC_API psc_status psc_point_parse(
    psc_point *point, int32_t *layer, const char *name, psc_error *error);

#ifdef __cplusplus
}
#endif
#endif
