/* plugins: the built-in plugins and those of given shared objects, with their options. */
#include <float.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "psc.h"
#include "report.h"

static const cli_option options[] = {{0}};

/* A plugin's text is untrusted on a terminal; null prints as nothing. */
static const char *safe(char *out, size_t size, const char *text) {
    psc_report_escape(out, size, text ? text : "", text ? strlen(text) : 0);
    return out;
}

static void print_range(const psc_option_description *option) {
    const bool low = option->low > -FLT_MAX, high = option->high < INT32_MAX - 1;
    if (!low)
        printf("a number");
    else if (high)
        printf("%.10g to %.10g", option->low, option->high);
    else
        printf("at least %.10g", option->low);
}

/* The values of an option, from the plugin's table: "last, all or A-B", "1 to 100". */
static void print_values(const psc_option_description *option) {
    static const char *const by_kind[] = {[PSC_OPTION_TEXT] = "text",
        [PSC_OPTION_YES_NO] = "yes or no",
        [PSC_OPTION_ROWS] = "last, all, auto, A or A-B",
        [PSC_OPTION_LAYER] = "a layer",
        [PSC_OPTION_LAYERS] = "none, all, auto or layers A-B",
        [PSC_OPTION_HEADS] = "all or heads A-B"};
    const bool word = option->kind == PSC_OPTION_WORD, words = option->kind == PSC_OPTION_WORDS;
    char text[64];
    for (int i = 0; (word || words) && option->words[i]; i++)
        printf("%s%s", i ? ", " : "", safe(text, sizeof text, option->words[i]));
    if (words) printf(", joined by +");
    if (option->kind == PSC_OPTION_COUNT || option->kind == PSC_OPTION_NUMBER)
        print_range(option);
    else if (!word && !words)
        printf("%s", by_kind[option->kind]);
}

static void print_plugin(const psc_plugin *plugin, const char *origin) {
    char a[512], b[512], c[1024];
    printf("%s %s (%s)\n  %s\n", safe(a, sizeof a, plugin->name),
        safe(b, sizeof b, plugin->version), origin, safe(c, sizeof c, plugin->summary));
    const psc_option_description *option = plugin->options;
    for (; option && option->key; option++) {
        printf("    %-12s ", safe(a, sizeof a, option->key));
        print_values(option);
        printf(" [%s]\n                 %s\n", safe(b, sizeof b, option->default_value),
            safe(c, sizeof c, option->help));
    }
    if (psc_plugin_needs_bos(plugin)) printf("    needs <|endoftext|> in front of the text\n");
    if (plugin->points) printf("    hook points: %s\n", safe(c, sizeof c, plugin->points));
}

/* A library and its plugin. All are loaded before the first is printed, so a bad path prints
 * nothing. */
typedef struct given_plugin {
    void *library;
    const psc_plugin *plugin;
} given_plugin;

static const psc_plugin *find_builtin(const char *name) {
    const psc_plugin *plugin = NULL;
    for (int32_t i = 0; (plugin = psc_builtin(i)); i++)
        if (strcmp(plugin->name, name) == 0) break;
    return plugin;
}

static const char *plugin_name(const void *list, int32_t i) {
    (void)list;
    const psc_plugin *plugin = psc_builtin(i);
    return plugin ? plugin->name : NULL;
}

static psc_status refuse_name(const char *name, psc_error *error) {
    char hint[PSC_REPORT_SUGGESTION];
    psc_report_suggest(hint, name, strlen(name), "", plugin_name, NULL);
    return psc_fail(error, PSC_ERROR_INPUT,
        "unknown built-in plugin '%.60s'%s%s plugins without a name lists them", name, hint,
        hint[0] ? "" : ";");
}

/* A name without '/' and '.' is that of a built-in plugin. */
static psc_status load_all(given_plugin *given, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    for (int i = 0; !status && i < arguments->n_operands; i++) {
        const char *operand = arguments->operands[i];
        given[i].plugin = find_builtin(operand);
        if (given[i].plugin) continue;
        if (!strpbrk(operand, "/.")) return refuse_name(operand, error);
        status = psc_plugin_load(&given[i].library, &given[i].plugin, operand, error);
    }
    return status;
}

/* Without a named one all built-in plugins are printed first. */
static bool names_builtin(const given_plugin *given, int n) {
    for (int i = 0; i < n; i++)
        if (!given[i].library) return true;
    return false;
}

static int run_plugins(const cli_arguments *arguments) {
    psc_error error = {0};
    int n = arguments->n_operands;
    given_plugin *given = calloc(n ? (size_t)n : 1, sizeof *given);
    psc_status status =
        given ? load_all(given, arguments, &error)
              : psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for the plugins");
    const bool all = !status && !names_builtin(given, n);
    for (int32_t i = 0; all && i < psc_builtin_count(); i++) {
        if (i > 0) putchar('\n');
        print_plugin(psc_builtin(i), "built in");
    }
    for (int i = 0; !status && i < n; i++) {
        char path[1024];
        if (all || i > 0) putchar('\n');
        print_plugin(given[i].plugin,
            given[i].library ? safe(path, sizeof path, arguments->operands[i]) : "built in");
    }
    for (int i = 0; given && i < n; i++)
        if (given[i].library) psc_plugin_unload(&given[i].library);
    free(given);
    return status ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_plugins = {
    .name = "plugins",
    .summary = "Lists the built-in plugins, or those that are named, with their options.",
    .usage = "[NAME | PATH.so]...",
    .notes =
        "With PATH.so alone the built-in plugins are listed too.\n"
        "Each option shows the values it takes and, in brackets, its default. Pass options like this:\n"
        "  pythiascope analyze --plugin NAME:key=value,key=value ...",
    .options = options,
    .max_operands = 1 << 20,
    .run = run_plugins,
};
