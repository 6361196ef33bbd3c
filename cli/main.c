/* pythiascope VERB ...: finds the verb, parses its options, runs it. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cache_folder.h"
#include "checkpoints.h"
#include "generated.h"
#include "last_words.h"
#include "report.h"
#include "shards.h"
#include "signals.h"
#include "spread.h"

static const cli_verb *const verbs[] = {&cli_verb_analyze, &cli_verb_sweep, &cli_verb_weights,
    &cli_verb_corpus, &cli_verb_merge, &cli_verb_score, &cli_verb_treebank, &cli_verb_words,
    &cli_verb_forms, &cli_verb_probe, &cli_verb_directions, &cli_verb_generate, &cli_verb_view,
    &cli_verb_pull, &cli_verb_info, &cli_verb_bench, &cli_verb_plugins, &cli_verb_cache};
enum { N_VERBS = sizeof verbs / sizeof verbs[0] };

static void print_overview(FILE *out) {
    fprintf(out, "usage: pythiascope VERB [options]\n\n"
                 "Shows which parts of a Pythia (GPT-NeoX) model make up its next-token logits.\n\n"
                 "verbs:\n");
    for (int i = 0; i < N_VERBS; i++) {
        const char *summary = verbs[i]->summary;
        int first_line = (int)strcspn(summary, "\n");
        fprintf(out, "  %-10s  %.*s\n", verbs[i]->name, first_line, summary);
    }
    fprintf(out,
        "\nexample:\n"
        "  pythiascope analyze --text \"along the yellow brick road to the\"\n\n"
        "See pythiascope VERB --help for a verb's options and pythiascope --version for the version.\n"
        "pythiascope --generate man|bash|zsh|fish prints the man page or a shell's completions.\n");
}

static const cli_verb *find_verb(const char *name) {
    for (int i = 0; i < N_VERBS; i++)
        if (strcmp(verbs[i]->name, name) == 0) return verbs[i];
    return NULL;
}

static const char *verb_name(const void *list, int32_t i) {
    (void)list;
    return i < N_VERBS ? verbs[i]->name : NULL;
}

static const char *option_name(const void *list, int32_t i) {
    static const char *const options[] = {"--help", "--version", "--generate"};
    (void)list;
    return i < 3 ? options[i] : NULL;
}

static int refuse_verb(const char *name) {
    char hint[PSC_REPORT_SUGGESTION];
    if (*name == '-')
        return cli_usage(NULL, "unknown option %s%s", name,
            psc_report_suggest(hint, name, strlen(name), "", option_name, NULL));
    return cli_usage(NULL, "unknown verb %s%s", name,
        psc_report_suggest(hint, name, strlen(name), "", verb_name, NULL));
}

/* A verb with its parsed arguments, and whether they ask for several checkpoints. */
static int run_parsed(void *payload) {
    const cli_arguments *arguments = payload;
    return cli_has_checkpoints(arguments) ? cli_run_checkpoints(arguments)
                                          : arguments->verb->run(arguments);
}

static int run_verb(const cli_verb *verb, int argc, char **argv) {
    cli_arguments arguments;
    cli_spread_prepare(verb);
    int code = cli_parse(&arguments, verb, argc, argv);
    if (!arguments.help) code = cli_spread_begin(&arguments, code);
    if (code == CLI_OK && arguments.help)
        cli_print_help(verb);
    else if (code == CLI_OK && (code = cli_shards_name(&arguments)) == CLI_OK &&
             (code = cli_cache_choose(&arguments)) == CLI_OK)
        code = cli_last_words_around(run_parsed, &arguments);
    cli_free_arguments(&arguments);
    if (code == CLI_OK) return cli_spread_end(cli_flush());
    (void)fflush(stdout); /* the verb has written its sentence */
    return cli_spread_end(code);
}

int main(int argc, char **argv) {
    cli_signals_start();
    cli_last_words();
    setlocale(LC_CTYPE, "");  /* numbers stay in the C locale */
    signal(SIGXFSZ, SIG_IGN); /* a write past the file size limit fails with an error */
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    if (strcmp(name, "--version") == 0) {
        printf("pythiascope %s\n", psc_version());
        return cli_flush();
    }
    if (strcmp(name, "--generate") == 0) {
        const cli_program program = {verbs, N_VERBS};
        if (argc > 3) return cli_usage(NULL, "unexpected argument %s", argv[3]);
        return cli_generate(&program, argv[2]);
    }
    if (strcmp(name, "help") == 0 && argc > 2) {
        const cli_verb *verb = find_verb(argv[2]);
        if (!verb) return refuse_verb(argv[2]);
        cli_print_help(verb);
        return cli_flush();
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_overview(stdout);
        return cli_flush();
    }
    const cli_verb *verb = find_verb(name);
    if (!verb) return refuse_verb(name);
    return run_verb(verb, argc - 2, argv + 2);
}
