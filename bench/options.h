/* Command-line options of the bench programs, from one list that also prints --help.
 * Private to bench/.
 * Threads: none.
 * Ownership: texts point into argv. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* value: the value's name in the help; null for a switch, which sets number to 1. Either text or
 * number is set; a number is at least `least`. */
typedef struct bench_option {
    const char *name, *value, *help;
    const char **text;
    int *number;
    int least;
} bench_option;

static inline void bench_help(const char *usage, const bench_option *options, int n) {
    printf("usage: %s\n", usage);
    for (int i = 0; i < n; i++) {
        char left[64];
        snprintf(
            left, sizeof left, "%s %s", options[i].name, options[i].value ? options[i].value : "");
        printf("  %-24s %s\n", left, options[i].help);
    }
    exit(0);
}

static inline void bench_refuse(const char *usage, const char *word) {
    fprintf(
        stderr, "bench: invalid arguments: %s; --help lists the options\nusage: %s\n", word, usage);
    exit(2);
}

/* Reads argv: options in any order, and up to n_words other words. Returns the number of words. */
static inline int bench_options(int argc, char **argv, const char *usage,
    const bench_option *options, int n, const char **words, int n_words) {
    int found = 0;
    for (int i = 1; i < argc; i++) {
        const bench_option *o = NULL;
        for (int k = 0; k < n; k++)
            if (strcmp(argv[i], options[k].name) == 0) o = &options[k];
        if (strcmp(argv[i], "--help") == 0) bench_help(usage, options, n);
        if (!o && (argv[i][0] == '-' || found == n_words)) bench_refuse(usage, argv[i]);
        if (!o) {
            words[found++] = argv[i];
        } else if (!o->value) {
            *o->number = 1;
        } else {
            if (++i == argc) bench_refuse(usage, o->name);
            if (o->text) *o->text = argv[i];
            if (o->number) *o->number = atoi(argv[i]);
            if (o->number && *o->number < o->least) bench_refuse(usage, argv[i]);
        }
    }
    return found;
}

#endif
