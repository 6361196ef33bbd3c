/* Names of hook points, and loading of plugin files.
 * Public. psc.h includes it.
 * Threads: reentrant.
 * Ownership: a loaded library belongs to the caller until psc_plugin_unload. */
#ifndef PSC_HOOKS_H
#define PSC_HOOKS_H

#include <stdbool.h>

#include "psc_error.h"
#include "psc_plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Loads a shared object and checks its ABI, names and option table; sessions do this themselves.
 * *plugin lives until psc_plugin_unload. PSC_ERROR_PLUGIN when the file is not a usable plugin.
 * After an error both outputs are null. */
PSC_API psc_status psc_plugin_load(
    void **library, const psc_plugin **plugin, const char *path, psc_error *error);
/* *library may be null and becomes null. */
PSC_API void psc_plugin_unload(void **library);
/* The name of the plugin, or while a file is loaded its path, whose code runs on the calling
 * thread; null for none. Safe in a signal handler: a program can say which plugin ended it. */
PSC_API const char *psc_plugin_at_work(void);
/* psc_plugin.needs_bos; false for a plugin whose struct_size does not cover it. */
PSC_API bool psc_plugin_needs_bos(const psc_plugin *plugin);
/* Whether an instance reads source prompts: psc_plugin.takes_source of its context and state. If
 * struct_size does not cover that, or it is null, whether the plugin asks for phases. */
PSC_API bool psc_plugin_takes_source(
    const psc_plugin *plugin, psc_context *context, const void *state);
/* psc_plugin.corpus; PSC_CORPUS_UNSAID for a plugin whose struct_size does not cover it. */
PSC_API psc_plugin_corpus psc_plugin_over_corpus(const psc_plugin *plugin);
/* The full name of a hook point: "blocks.3.attn.hook_z", with layer -1 "blocks.{l}.attn.hook_z".
 * Writes at most size (> 0) bytes, the last of them 0. */
PSC_API void psc_point_name(char *out, size_t size, psc_point point, int32_t layer);
/* Parses such a name. *layer is -1 for a point without layers and -2 for "blocks.*."; the call does
 * not check it against a model. PSC_ERROR_INPUT if the name is unknown. */
PSC_API psc_status psc_point_parse(
    psc_point *point, int32_t *layer, const char *name, psc_error *error);

#ifdef __cplusplus
}
#endif
#endif
