/* Plugin files: dlopen, the one symbol, the handshake.
 * A library's start-up code may change the thread's floating-point state (-Ofast turns subnormals
 * off), so this file restores the state after dlopen and dlclose. */
#include "loader.h"

#include "at_work.h"
#include "plugin_file.h"

#include <dlfcn.h>
#include <fenv.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The bytes that every host of this ABI reads; a plugin's structure may be longer, never
 * shorter. */
#define PLUGIN_BYTES (offsetof(psc_plugin, close) + sizeof(((psc_plugin *)0)->close))

/* Letters, digits, '_' and '-': names become parts of file names, keys and "plugin.array". */
static bool is_plain(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return n > 0 && n <= 64 && name[n] == 0;
}

/* What the field of a kind must be aligned to. */
static uint32_t alignment_of(int32_t kind) {
    const bool wide =
        kind == PSC_OPTION_TEXT || kind == PSC_OPTION_NUMBER || kind == PSC_OPTION_ROWS;
    return (uint32_t)(wide ? sizeof(double) : sizeof(int32_t));
}

/* Checks that the host knows the kind, and that it has the words or the range it needs. */
static psc_status check_kind(
    const psc_option_description *option, const char *origin, psc_error *error) {
    const bool words = option->kind == PSC_OPTION_WORD || option->kind == PSC_OPTION_WORDS;
    const bool range = option->kind == PSC_OPTION_COUNT || option->kind == PSC_OPTION_NUMBER;
    int n_words = 0;
    while (words && option->words && option->words[n_words] && n_words < 32) n_words++;
    if (option->kind < PSC_OPTION_TEXT || option->kind > PSC_OPTION_HEADS)
        return psc_fail(error, PSC_ERROR_PLUGIN, "plugin '%s': option '%s' has the unknown kind %d",
            origin, option->key, (int)option->kind);
    if (words && (n_words == 0 || n_words == 32))
        return psc_fail(error, PSC_ERROR_PLUGIN, "plugin '%s': option '%s' needs 1 to 31 words",
            origin, option->key);
    if (range && !(option->low <= option->high))
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "plugin '%s': option '%s' has the range %g..%g, which holds no value", origin,
            option->key, option->low, option->high);
    if (option->offset % alignment_of(option->kind) != 0)
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "plugin '%s': option '%s' has the offset %u, which is not aligned for its kind", origin,
            option->key, option->offset);
    return PSC_OK;
}

static psc_status check_options(const psc_plugin *plugin, const char *origin, psc_error *error) {
    const psc_option_description *list = plugin->options;
    for (int i = 0; list && list[i].key; i++) {
        if (i == PSC_MAX_OPTIONS)
            return psc_fail(error, PSC_ERROR_PLUGIN,
                "plugin '%s' describes more than %d options, or its list does not end with a null key",
                origin, PSC_MAX_OPTIONS);
        if (!is_plain(list[i].key))
            return psc_fail(error, PSC_ERROR_PLUGIN,
                "plugin '%s': option key '%.64s' must have 1 to 64 letters, digits, '_' or '-'",
                origin, list[i].key);
        for (int j = 0; j < i; j++)
            if (strcmp(list[i].key, list[j].key) == 0)
                return psc_fail(error, PSC_ERROR_PLUGIN, "plugin '%s' describes option '%s' twice",
                    origin, list[i].key);
        psc_status status = check_kind(&list[i], origin, error);
        if (status != PSC_OK) return status;
    }
    return PSC_OK;
}

bool psc_plugin_needs_bos(const psc_plugin *plugin) {
    const size_t covered = offsetof(psc_plugin, needs_bos) + sizeof plugin->needs_bos;
    return plugin->struct_size >= covered && plugin->needs_bos;
}

bool psc_plugin_takes_source(const psc_plugin *plugin, psc_context *context, const void *state) {
    const size_t covered = offsetof(psc_plugin, takes_source) + sizeof plugin->takes_source;
    if (!plugin->phases || plugin->phases == PSC_PHASES_COMPARES) return false;
    if (plugin->struct_size < covered || !plugin->takes_source) return true;
    return plugin->takes_source(context, state) != 0;
}

psc_plugin_corpus psc_plugin_over_corpus(const psc_plugin *plugin) {
    const size_t covered = offsetof(psc_plugin, corpus) + sizeof plugin->corpus;
    const bool said = plugin->struct_size >= covered && plugin->corpus >= PSC_CORPUS_YES &&
                      plugin->corpus <= PSC_CORPUS_OVERLAPS;
    return said ? (psc_plugin_corpus)plugin->corpus : PSC_CORPUS_UNSAID;
}

psc_status psc_plugin_check(const psc_plugin *plugin, const char *origin, psc_error *error) {
    if (!plugin)
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "plugin '%s': psc_plugin_entry returned a null pointer", origin);
    if (plugin->abi != PSC_PLUGIN_ABI)
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "plugin '%s' was built for plugin ABI %u, but this program has ABI %u; rebuild the plugin with its psc_plugin.h",
            origin, plugin->abi, (unsigned)PSC_PLUGIN_ABI);
    if (plugin->struct_size < PLUGIN_BYTES)
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "plugin '%s': psc_plugin.struct_size is %u; ABI %u requires at least %u", origin,
            plugin->struct_size, (unsigned)PSC_PLUGIN_ABI, (unsigned)PLUGIN_BYTES);
    if (plugin->struct_size > PSC_MOST_STRUCTURE)
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "plugin '%s': psc_plugin.struct_size is %u, which is not possible; set it to sizeof(psc_plugin)",
            origin, plugin->struct_size);
    if (!plugin->name) return psc_fail(error, PSC_ERROR_PLUGIN, "plugin '%s' has no name", origin);
    if (!is_plain(plugin->name))
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "plugin '%s': its name '%.64s' must have 1 to 64 letters, digits, '_' or '-'", origin,
            plugin->name);
    return check_options(plugin, origin, error);
}

/* Puts "./" before a name without '/', which dlopen would search in the system's folders. Looks at
 * the file first: dlopen would wait for a pipe's writer, read past the end of a cut file, and run
 * the constructors of a library that is no plugin. */
static psc_status open_library(void **library, const char *path, psc_error *error) {
    psc_status status = psc_plugin_file_check(path, error);
    if (status != PSC_OK) return status;
    const size_t bytes = strlen(path) + 3;
    char *named = malloc(bytes);
    if (!named)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to load plugin '%s'", path);
    snprintf(named, bytes, "%s%s", strchr(path, '/') ? "" : "./", path);
    *library = dlopen(named, RTLD_NOW | RTLD_LOCAL);
    free(named);
    if (*library) return PSC_OK;
    const char *why = dlerror();
    return psc_fail(
        error, PSC_ERROR_PLUGIN, "cannot load plugin '%s': %s", path, why ? why : "unknown reason");
}

static psc_status shake_hands(
    const psc_plugin **plugin, void *library, const char *path, psc_error *error) {
    void *symbol = dlsym(library, PSC_PLUGIN_SYMBOL_NAME);
    if (!symbol) return psc_plugin_no_symbol(path, error);
    psc_plugin_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry); /* C has no cast from an object to a function pointer */
    const psc_plugin *found = entry();
    psc_status status = psc_plugin_check(found, path, error);
    if (status == PSC_OK) *plugin = found;
    return status;
}

psc_status psc_plugin_load(
    void **library, const psc_plugin **plugin, const char *path, psc_error *error) {
    *library = NULL;
    *plugin = NULL;
    if (!path || !*path) return psc_fail(error, PSC_ERROR_INPUT, "the plugin's path is empty");
    fenv_t state;
    fegetenv(&state);
    const char *before = psc_at_work_begin(path); /* its start-up code runs */
    psc_status status = open_library(library, path, error);
    if (status == PSC_OK) status = shake_hands(plugin, *library, path, error);
    psc_at_work_end(before);
    fesetenv(&state);
    if (status != PSC_OK) psc_plugin_unload(library);
    return status;
}

void psc_plugin_unload(void **library) {
    if (!library || !*library) return;
    fenv_t state;
    fegetenv(&state);
    dlclose(*library);
    fesetenv(&state);
    *library = NULL;
}
