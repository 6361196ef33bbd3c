/* view: a folder that --out wrote before: its summary, its JSON, or its page. */
#undef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* realpath */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "say.h"
#include "setup.h"

extern char **environ;

enum { LEAST_WIDTH = 40, MOST_WIDTH = 1000 };

static const cli_option options[] = {
    {"json", 0, false, "", "print results.json instead of the summary"},
    {"html", 1, false, "FILE",
        "write a page for a browser: one file with figures of\n"
        "all results, which needs no network"},
    {"open", 0, false, "", "open the page of --html in the browser"},
    {"width", 1, false, "N", "columns of the summary, 40 to 1000"},
    {0},
};

/* Older versions wrote no summary into results.json. */
static void note_without_summary(const psc_results *results, const cli_arguments *arguments) {
    const int32_t n = psc_results_section_count(results);
    int32_t items = 0;
    for (int32_t i = 0; i < n; i++) {
        psc_result_section section = PSC_RESULT_SECTION_INIT;
        if (psc_results_section_at(&section, results, i, NULL) == PSC_OK) items += section.n_items;
    }
    if (n > 0 && items == 0 && !cli_has(arguments, "json"))
        cli_say("note: %s has no summary; older versions did not keep it", arguments->operands[0]);
}

#ifdef __APPLE__
static const char opener[] = "open";
#else
static const char opener[] = "xdg-open";
#endif

/* path is a file that exists; an absolute path is never taken for an option. */
static psc_status open_page(const char *path, psc_error *error) {
    char *absolute = realpath(path, NULL);
    pid_t child;
    int state = -1;
    if (!absolute)
        return psc_fail(error, PSC_ERROR_IO, "cannot find %s: %s", path, strerror(errno));
    char *const words[] = {(char *)opener, absolute, NULL};
    fflush(stdout);
    const int failed = posix_spawnp(&child, opener, NULL, NULL, words, environ);
    while (!failed && waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    free(absolute);
    if (failed)
        return psc_fail(error, PSC_ERROR_IO, "cannot start %s (%s); open %s in a browser", opener,
            strerror(failed), path);
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
        return psc_fail(error, PSC_ERROR_IO, "%s failed; open %s in a browser", opener, path);
    return PSC_OK;
}

static psc_status view(const cli_arguments *arguments, int32_t width, psc_error *error) {
    psc_results *read[2] = {NULL, NULL};
    cli_delivery delivery = {.width = width};
    psc_status status = cli_check_out(arguments, error);
    for (int i = 0; !status && i < arguments->n_operands; i++)
        status = psc_results_read_folder(&read[i], arguments->operands[i], error);
    if (read[1]) {
        delivery.beside = read[1];
        delivery.label = arguments->operands[0];
        delivery.beside_label = arguments->operands[1];
    }
    if (!status) note_without_summary(read[0], arguments);
    if (!status) status = cli_deliver_as(&delivery, read[0], arguments, error);
    for (int i = 0; i < 2; i++) psc_results_close(&read[i]);
    if (!status && cli_has(arguments, "open"))
        status = open_page(cli_value(arguments, "html"), error);
    return status;
}

static int run_view(const cli_arguments *arguments) {
    psc_error error = {0};
    long long width = 0;
    if (arguments->n_operands == 0)
        return cli_usage(&cli_verb_view, "no folder; name one that --out wrote");
    if (arguments->n_operands == 2 && !cli_has(arguments, "html"))
        return cli_usage(
            &cli_verb_view, "a second folder is shown beside the first on a page; add --html FILE");
    if (cli_has(arguments, "open") && !cli_has(arguments, "html"))
        return cli_usage(&cli_verb_view, "--open opens a page; add --html FILE");
    const int code = cli_integer(&width, arguments, "width", LEAST_WIDTH, MOST_WIDTH);
    if (code) return code;
    return view(arguments, (int32_t)width, &error) ? cli_fail(&error) : CLI_OK;
}

const cli_verb cli_verb_view = {
    .name = "view",
    .summary = "Shows the results in a folder that --out wrote before.",
    .usage = "FOLDER [FOLDER2] [options]",
    .notes = "FOLDER2 is shown beside FOLDER on the page, with the difference of both.\n"
             "example:\n  pythiascope analyze --text \"the Emerald City of\" --out emerald\n"
             "  pythiascope view emerald --html emerald.html --open",
    .options = options,
    .max_operands = 2,
    .run = run_view,
};
