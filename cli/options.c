/* Long options from a table: --name, --name VALUE, --name=VALUE, --name A B; -- ends them. A value
 * may begin with dashes. If it is itself one of the verb's options, the value counts as missing
 * (--text=--json passes such a text). */
#include "cli.h"

#include "report.h"
#include "say.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The option that argument (--name or --name=...) names, or null. */
static const cli_option *find_option(const cli_verb *verb, const char *argument) {
    if (strncmp(argument, "--", 2) != 0) return NULL;
    size_t length = strcspn(argument + 2, "=");
    for (const cli_option *option = verb->options; option->name; option++)
        if (strlen(option->name) == length && strncmp(option->name, argument + 2, length) == 0)
            return option;
    return NULL;
}

static bool is_help(const char *argument) {
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static const char *option_name(const void *list, int32_t i) {
    return ((const cli_option *)list)[i].name;
}

static int refuse_option(const cli_verb *verb, const char *argument) {
    char hint[PSC_REPORT_SUGGESTION];
    const char *name = argument + strspn(argument, "-");
    return cli_usage(verb, "unknown option %s%s", argument,
        psc_report_suggest(hint, name, strcspn(name, "="), "--", option_name, verb->options));
}

/* Reads one option at argv[*i] and its values; leaves *i at the last argument used. */
static int parse_option(cli_arguments *out, int argc, char **argv, int *i) {
    const char *argument = argv[*i], *equals = strchr(argument, '=');
    const cli_option *option = find_option(out->verb, argument);
    if (!option) return refuse_option(out->verb, argument);
    if (equals && option->n_values == 0)
        return cli_usage(out->verb, "--%s takes no value", option->name);
    if (!option->repeatable && cli_has(out, option->name))
        return cli_usage(out->verb, "--%s is given twice", option->name);
    cli_given given = {.option = option};
    for (int k = 0; k < option->n_values; k++) {
        if (k == 0 && equals) {
            given.values[k] = equals + 1;
            continue;
        }
        const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
        if (!next || find_option(out->verb, next) || is_help(next))
            return cli_usage(out->verb, "--%s needs %s", option->name, option->values);
        given.values[k] = next;
        ++*i;
    }
    out->given[out->n_given++] = given;
    return CLI_OK;
}

int cli_parse(cli_arguments *out, const cli_verb *verb, int argc, char **argv) {
    size_t room = argc > 0 ? (size_t)argc : 1;
    *out = (cli_arguments){.verb = verb, .n_typed = argc, .typed = argv};
    out->given = calloc(room, sizeof *out->given);
    out->operands = calloc(room, sizeof *out->operands);
    if (!out->given || !out->operands) {
        cli_say("not enough memory for the arguments");
        return CLI_FAILED;
    }
    bool options_end = false;
    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i];
        int code = CLI_OK;
        if (!options_end && strcmp(argument, "--") == 0)
            options_end = true;
        else if (!options_end && is_help(argument))
            out->help = true;
        else if (!options_end && argument[0] == '-' && argument[1])
            code = parse_option(out, argc, argv, &i);
        else if (out->n_operands == verb->max_operands)
            code = cli_usage(verb, "unexpected argument %s", argument);
        else
            out->operands[out->n_operands++] = argument;
        if (code || out->help) return code;
    }
    return CLI_OK;
}

void cli_free_arguments(cli_arguments *arguments) {
    free(arguments->given);
    free(arguments->operands);
    arguments->given = NULL;
    arguments->operands = NULL;
}

void cli_print_help(const cli_verb *verb) {
    printf("usage: pythiascope %s %s\n\n%s\n", verb->name, verb->usage, verb->summary);
    if (verb->options->name) printf("\noptions:\n");
    for (const cli_option *option = verb->options; option->name; option++) {
        int columns = printf("  --%s%s%s", option->name, option->n_values ? " " : "",
            option->n_values ? option->values : "");
        printf("%*s", columns < 28 ? 28 - columns : 0, columns < 28 ? "" : "\n");
        if (columns >= 28) printf("%28s", "");
        for (const char *c = option->help; *c; c++) {
            putchar(*c);
            if (*c == '\n') printf("%28s", "");
        }
        putchar('\n');
    }
    printf("  %-26s%s\n", "--help", "show this help");
    if (verb->notes) printf("\n%s\n", verb->notes);
}

bool cli_has(const cli_arguments *arguments, const char *name) {
    int cursor = 0;
    return cli_next(arguments, name, &cursor) != NULL;
}

const char *cli_value(const cli_arguments *arguments, const char *name) {
    int cursor = 0;
    const cli_given *given = cli_next(arguments, name, &cursor);
    return given ? given->values[0] : NULL;
}

const cli_given *cli_next(const cli_arguments *arguments, const char *name, int *cursor) {
    while (*cursor < arguments->n_given) {
        const cli_given *given = &arguments->given[(*cursor)++];
        if (strcmp(given->option->name, name) == 0) return given;
    }
    return NULL;
}

int cli_integer(long long *out, const cli_arguments *arguments, const char *name, long long least,
    long long most) {
    const char *text = cli_value(arguments, name);
    if (!text) return CLI_OK;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < least || value > most)
        return cli_usage(arguments->verb, "--%s needs an integer from %lld to %lld, not '%s'", name,
            least, most, text);
    *out = value;
    return CLI_OK;
}

int cli_real(double *out, const cli_arguments *arguments, const char *name, double least) {
    const char *text = cli_value(arguments, name);
    if (!text) return CLI_OK;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < least)
        return cli_usage(
            arguments->verb, "--%s needs a number of at least %g, not '%s'", name, least, text);
    *out = value;
    return CLI_OK;
}
