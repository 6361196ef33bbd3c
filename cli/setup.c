/* Plugins as given on the command line; results as --json and --out request them. */
#include "setup.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"

/* "logits:level=head,rows=all": the options start at the first ':' that "key=" follows. */
static const char *plugin_options(const char *argument) {
    const char *colon = strchr(argument, ':');
    for (; colon; colon = strchr(colon + 1, ':')) {
        const char *key = colon + 1;
        while (isalnum((unsigned char)*key) || *key == '_' || *key == '-') key++;
        if (key > colon + 1 && *key == '=') return colon;
    }
    /* A name contains no colon: text after one was meant as options. */
    return strchr(argument, '/') ? NULL : strchr(argument, ':');
}

psc_status cli_add_plugin(psc_session *session, const char *argument, psc_error *error) {
    const char *colon = plugin_options(argument);
    if (!colon) return psc_session_plugin(session, argument, NULL, error);
    size_t length = (size_t)(colon - argument);
    char *name = malloc(length + 1);
    if (!name) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a plugin's name");
    memcpy(name, argument, length);
    name[length] = 0;
    psc_status status = psc_session_plugin(session, name, colon[1] ? colon + 1 : NULL, error);
    free(name);
    return status;
}

cli_plugin cli_plugin_of(
    const cli_arguments *arguments, const char *name, const char *const *keys) {
    cli_plugin plugin = {.name = name};
    for (int i = 0; keys[i]; i++)
        if (cli_has(arguments, keys[i]))
            plugin.options[plugin.n++] = (psc_option){keys[i], cli_value(arguments, keys[i])};
    return plugin;
}

psc_status cli_plugin_load(psc_session *session, const cli_plugin *plugin, psc_error *error) {
    return psc_session_plugin_options(
        session, plugin->name, NULL, plugin->options, plugin->n, error);
}

/* Blocks signals that would end the program until the folder is complete, so that no partial folder
 * remains. */
static psc_status write_folder(const psc_results *results, const char *folder, psc_error *error) {
    sigset_t ending, before;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigprocmask(SIG_BLOCK, &ending, &before);
    cli_progress_start("writing");
    psc_status status = psc_results_write_folder(results, folder, error);
    cli_progress_stop();
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

psc_status cli_deliver(
    const psc_results *results, const cli_arguments *arguments, psc_error *error) {
    const char *folder = cli_value(arguments, "out");
    const bool json = cli_has(arguments, "json");
    psc_status status = folder ? write_folder(results, folder, error) : PSC_OK;
    if (status) return status;
    status =
        psc_results_write(results, json ? PSC_FORMAT_JSON : PSC_FORMAT_TEXT, NULL, stdout, error);
    if (json) return status;
    if (!status && folder)
        printf("\nwrote %s/results.json and %s/tensors.safetensors\n", folder, folder);
    return status;
}

/* --- a setup as text -------------------------------------------------------------------------
 * "KEY BYTES VALUE\n" for each entry; a contrast is two. */

typedef struct setup_text {
    char *text;
    size_t bytes, capacity;
} setup_text;

static bool put(setup_text *setup, const char *key, const char *value) {
    size_t room = strlen(key) + strlen(value) + 32;
    if (setup->bytes + room > setup->capacity) {
        char *more = realloc(setup->text, 2 * (setup->bytes + room));
        if (!more) return false;
        setup->text = more;
        setup->capacity = 2 * (setup->bytes + room);
    }
    setup->bytes += (size_t)snprintf(
        setup->text + setup->bytes, room, "%s %zu %s\n", key, strlen(value), value);
    return true;
}

psc_status cli_setup_write(char **out, const cli_arguments *arguments, psc_error *error) {
    static const char *const defaults[] = {"logits", "ln", "mlp"};
    setup_text setup = {0};
    bool complete = true;
    for (int plugins = 0; plugins <= 1; plugins++) {
        for (int i = 0; complete && i < arguments->n_given; i++) {
            const cli_given *given = &arguments->given[i];
            const char *key = given->option->name;
            if (plugins && strcmp(key, "plugin") == 0)
                complete = put(&setup, key, given->values[0]);
            else if (!plugins && strcmp(key, "target") == 0)
                complete = put(&setup, key, given->values[0]);
            else if (!plugins && strcmp(key, "contrast") == 0)
                complete =
                    put(&setup, "from", given->values[0]) && put(&setup, "minus", given->values[1]);
        }
    }
    for (int i = 0; complete && i < 3 && !cli_has(arguments, "plugin"); i++)
        complete = put(&setup, "plugin", defaults[i]);
    *out = setup.text;
    if (complete) return PSC_OK;
    free(setup.text);
    *out = NULL;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the options");
}

/* One entry; *from keeps the first half of a contrast. */
static psc_status apply(
    psc_session *session, const char *key, char *value, char **from, psc_error *error) {
    if (strcmp(key, "target") == 0) return psc_session_target(session, value, error);
    if (strcmp(key, "plugin") == 0) return cli_add_plugin(session, value, error);
    if (strcmp(key, "minus") == 0 && *from)
        return psc_session_contrast(session, *from, value, error);
    if (strcmp(key, "from") == 0) {
        free(*from);
        *from = strdup(value);
        if (*from) return PSC_OK;
    }
    return psc_fail(error, PSC_ERROR_INPUT, "the state file's options are invalid");
}

psc_status cli_setup_apply(psc_session *session, const char *setup, psc_error *error) {
    psc_status status = PSC_OK;
    char *from = NULL;
    while (*setup && status == PSC_OK) {
        char key[16];
        size_t bytes = 0;
        int begin = -1;
        bool good = sscanf(setup, "%15[a-z] %zu%n", key, &bytes, &begin) == 2 && begin > 0 &&
                    setup[begin] == ' ' && bytes < strlen(setup + begin + 1);
        char *value = good ? malloc(bytes + 1) : NULL;
        if (value) {
            memcpy(value, setup + begin + 1, bytes);
            value[bytes] = 0;
            status = apply(session, key, value, &from, error);
            setup += (size_t)begin + 1 + bytes + 1;
        } else {
            status = psc_fail(error, PSC_ERROR_INPUT, "the state file's options are invalid");
        }
        free(value);
    }
    free(from);
    return status;
}
