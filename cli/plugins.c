/* plugins: the built-in plugins and those of given shared objects, with their options. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "psc.h"
#include "report.h"

static const cli_option options[] = {{0}};

/* A plugin's texts are not ours to trust on a terminal; null prints as nothing. */
static const char *safe(char *out, size_t size, const char *text) {
    psc_report_escape(out, size, text ? text : "", text ? strlen(text) : 0);
    return out;
}

static void print_plugin(const psc_plugin *plugin, const char *origin) {
    char a[512], b[512], c[1024];
    printf("%s %s (%s)\n  %s\n", safe(a, sizeof a, plugin->name),
        safe(b, sizeof b, plugin->version), origin, safe(c, sizeof c, plugin->summary));
    const psc_option_description *option = plugin->options;
    for (; option && option->key; option++)
        printf("    %-12s %s [%s]\n", safe(a, sizeof a, option->key),
            safe(c, sizeof c, option->help), safe(b, sizeof b, option->default_value));
}

static int run_plugins(const cli_arguments *arguments) {
    psc_error error = {0};
    for (int32_t i = 0; i < psc_builtin_count(); i++) {
        if (i > 0) putchar('\n');
        print_plugin(psc_builtin(i), "built in");
    }
    for (int i = 0; i < arguments->n_operands; i++) {
        const psc_plugin *plugin = NULL;
        void *library = NULL;
        char path[1024];
        if (psc_plugin_load(&library, &plugin, arguments->operands[i], &error))
            return cli_fail(&error);
        putchar('\n');
        print_plugin(plugin, safe(path, sizeof path, arguments->operands[i]));
        psc_plugin_unload(&library);
    }
    return CLI_OK;
}

const cli_verb cli_verb_plugins = {
    .name = "plugins",
    .summary = "Lists the built-in plugins and those of the shared objects given, with options.",
    .usage = "[PATH.so]...",
    .notes = "An option's default stands in brackets. Options are given as\n"
             "  pythiascope analyze --plugin NAME:key=value,key=value ...",
    .options = options,
    .max_operands = 1 << 20,
    .run = run_plugins,
};
